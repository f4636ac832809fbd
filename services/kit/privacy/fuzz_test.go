package privacy

import (
	"bytes"
	"context"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"amanat.example/services/kit/store"
)

// told fails where an error repeats of the keys of a file what would help to guess them.
func told(t *testing.T, err error, file []byte) {
	t.Helper()
	for _, word := range strings.Fields(string(file)) {
		if len(word) >= 16 && strings.Contains(err.Error(), word) {
			t.Errorf("the error repeats what the file of keys holds: %v", err)
		}
	}
}

// FuzzWrappingKeys: a file of wrapping keys is taken for all that it says, to the last byte, or refused, and no error repeats a key.
func FuzzWrappingKeys(f *testing.F) {
	one, two := strings.Repeat("a1", chacha20poly1305.KeySize), strings.Repeat("b2", chacha20poly1305.KeySize)
	for _, file := range []string{
		"1 1767225600 " + one + "\n", "1 0 " + one + "\n2 5 " + two + "\n", "4294967295 -1 " + one, "1 0 " + one + "\r\n",
		"", "\n", "1 0 " + one[2:] + "\n", "1 0 " + one + two + "\n", "4294967296 0 " + one, "1 99999999999999999999 " + one, "-1 0 " + one,
		"1 0 " + one + " " + two + "\n", "1 0 " + one + "\n\n", "1 0\n" + one, "1 0 " + strings.ToUpper(one), "\xff 0 " + one,
		"1 0 " + one + "\v2 5 " + two + "\n", "2 0 " + one + "\n2 0 " + two + "\n", "1 0 " + one + "\n1 0 " + one[:40],
	} {
		f.Add([]byte(file))
	}
	path := filepath.Join(f.TempDir(), wrappingFile)
	f.Fuzz(func(t *testing.T, file []byte) {
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		keys, err := readWrappingKeys(path)
		if err != nil {
			if !strings.Contains(err.Error(), path) || keys != nil {
				t.Errorf("refused with %v, and %d keys", err, len(keys))
			}
			told(t, err, file)
			return
		}
		for _, k := range keys {
			if len(k.key) != chacha20poly1305.KeySize {
				t.Errorf("a key of %d bytes", len(k.key))
			}
		}
		if !bytes.Equal(encodeWrappingKeys(keys), file) {
			t.Errorf("%q is taken for %d keys, and something is passed over", file, len(keys))
		}
	})
}

// FuzzRestoreKeys: whatever comes in place of a backup of keys, or of the wrapping keys in it, what is restored reads what was sealed and can
// be turned over; all else is refused, and nothing is written outside the folder.
func FuzzRestoreKeys(f *testing.F) {
	k, err := OpenKeyring(context.Background(), Options{
		Dir: f.TempDir(), Engine: store.NewMemory(), Clock: func() time.Time { return time.Unix(1767225600, 0) }, Rand: rand.NewChaCha8([32]byte{}), // as in every process of a run
	})
	if err != nil {
		f.Fatal(err)
	}
	defer k.Close()
	if err := k.Prepare(context.Background(), "person/1"); err != nil {
		f.Fatal(err)
	}
	sealed, err := k.Seal("person/1", "note", []byte("plain"))
	if err != nil {
		f.Fatal(err)
	}
	var backup bytes.Buffer
	if err := k.Backup(context.Background(), &backup); err != nil {
		f.Fatal(err)
	}
	wrapping := encodeWrappingKeys(k.wrapping)
	rows := backup.Bytes()[len(binary.AppendUvarint([]byte(keysMagic), uint64(len(wrapping))))+len(wrapping):]
	other := "2 0 " + strings.Repeat("00", chacha20poly1305.KeySize) + "\n"
	f.Add(backup.Bytes(), false)
	f.Add(backup.Bytes()[:backup.Len()-1], false)
	f.Add(backup.Bytes()[:len(keysMagic)+3], false)
	f.Add(append([]byte(keysMagic), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01), false)
	f.Add(append([]byte(keysMagic), rows...), false)
	f.Add([]byte{}, true)
	f.Add(wrapping, true)
	f.Add(append([]byte(other), wrapping...), true)
	f.Add(append(bytes.Clone(wrapping), other...), true)
	f.Add(append(bytes.Clone(wrapping), []byte("1 0 "+strings.Repeat("00", chacha20poly1305.KeySize)+"\n")...), true)
	f.Add([]byte(other), true)
	f.Fuzz(func(t *testing.T, content []byte, within bool) {
		if within { // with good rows behind them
			content = slices.Concat(binary.AppendUvarint([]byte(keysMagic), uint64(len(content))), content, rows)
		}
		outer := t.TempDir()
		dir := filepath.Join(outer, "keys")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		err := RestoreKeys(t.Context(), dir, bytes.NewReader(content))
		if beside, _ := os.ReadDir(outer); len(beside) != 1 {
			t.Errorf("something is written beside the folder: %v", beside)
		}
		if err != nil {
			told(t, err, content)
			return
		}
		k, err := OpenKeyring(t.Context(), Options{Dir: dir})
		if err != nil {
			t.Fatalf("restored, and it does not open: %v", err)
		}
		defer k.Close()
		for range 2 {
			if plain, err := k.Open("person/1", "note", sealed); err != nil || string(plain) != "plain" {
				t.Errorf("restored, and what was sealed reads %q, %v", plain, err)
			}
			if err := k.TurnOver(t.Context()); err != nil {
				t.Errorf("restored, and it cannot be turned over: %v", err)
			}
			clear(k.cache) // so that the keys on disk are what opens it
		}
	})
}
