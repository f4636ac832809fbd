package post

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"testing"
)

func sealed(t *testing.T, content, key []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := sealFile(&out, bytes.NewReader(content), key, []byte("sealed key"), 1<<20); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func opened(file, key []byte) ([]byte, error) {
	in := io.NopCloser(bytes.NewReader(file))
	if _, err := readSealedKey(in); err != nil {
		return nil, err
	}
	o, err := newOpenedFile(in, key)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(o)
}

// What was sealed opens as it was, whatever its size; changed, cut at a frame, with frames swapped, left out or added, it does not,
// and what came before the fault is what was sealed.
func TestSealedFile(t *testing.T) {
	key := make([]byte, fileKeyBytes)
	content := make([]byte, 4*frameBytes)
	if _, err := rand.Read(append(key, content...)); err != nil {
		t.Fatal(err)
	}
	for i := range content {
		content[i] = byte(i * i >> 7)
	}
	for _, size := range []int{0, 1, frameBytes - 1, frameBytes, frameBytes + 1, 3 * frameBytes, 4*frameBytes - 5} {
		got, err := opened(sealed(t, content[:size], key), key)
		if err != nil || !bytes.Equal(got, content[:size]) {
			t.Errorf("%d bytes: %v, %d came back", size, err, len(got))
		}
	}
	file := sealed(t, content, key)
	head, frame := 2+len("sealed key"), frameBytes+16
	at := func(n int) []byte { return file[head+n*frame:][:frame] }
	begin := file[:head]
	for name, bad := range map[string][]byte{
		"cut at a frame":     file[:head+3*frame],
		"cut within a frame": file[:head+3*frame+100],
		"cut to nothing":     begin,
		"a frame left out":   bytes.Join([][]byte{begin, at(0), at(2), at(3)}, nil),
		"frames swapped":     bytes.Join([][]byte{begin, at(1), at(0), at(2), at(3)}, nil),
		"a frame repeated":   bytes.Join([][]byte{begin, at(0), at(1), at(1), at(2), at(3)}, nil),
		"a byte added":       append(bytes.Clone(file), 0),
		"a byte changed":     append(append(bytes.Clone(file[:head+2*frame+7]), file[head+2*frame+7]^1), file[head+2*frame+8:]...),
	} {
		got, err := opened(bad, key)
		if !errors.Is(err, errFileSeal) || !bytes.HasPrefix(content, got) {
			t.Errorf("%s: %v, %d bytes were given out", name, err, len(got))
		}
	}
	if err := sealFile(io.Discard, bytes.NewReader(content), key, nil, int64(len(content))-1); !errors.Is(err, errTooLong) {
		t.Errorf("a content that is too long: %v", err)
	}
}

// Whatever bytes are given as a sealed file, nothing is given out that was not sealed with its key.
func FuzzOpenedFile(f *testing.F) {
	key := make([]byte, fileKeyBytes)
	var good bytes.Buffer
	if err := sealFile(&good, bytes.NewReader(make([]byte, frameBytes+9)), key, []byte("key"), 1<<20); err != nil {
		f.Fatal(err)
	}
	f.Add(good.Bytes())
	f.Add(good.Bytes()[:200])
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := opened(file, key)
		if err == nil && !bytes.Equal(file[2+int(file[0])<<8+int(file[1]):], good.Bytes()[5:]) || len(got) > 0 && got[0] != 0 {
			t.Fatalf("%d bytes were given out: %v", len(got), err)
		}
	})
}
