package privacy

import (
	"crypto/cipher"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"amanat.example/services/kit/durable"
)

// errBroken is what opening something sealed answers when the key, the associated data or the
// bytes are not what they were.
var errBroken = errors.New("the sealed bytes do not open")

func newAEAD(key []byte) (cipher.AEAD, error) { return chacha20poly1305.NewX(key) }

// seal prepends a random nonce, which at 24 bytes does not repeat.
func seal(random io.Reader, key, aad, plaintext []byte) ([]byte, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	out := make([]byte, aead.NonceSize(), aead.NonceSize()+len(plaintext)+aead.Overhead())
	if _, err := io.ReadFull(random, out); err != nil {
		return nil, fmt.Errorf("make a nonce: %w", err)
	}
	return aead.Seal(out, out, plaintext, aad), nil
}

func open(key, aad, sealed []byte) ([]byte, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	if len(sealed) < aead.NonceSize() {
		return nil, errBroken
	}
	plaintext, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], aad)
	if err != nil {
		return nil, errBroken
	}
	return plaintext, nil
}

// joined puts parts together so that no two different lists give the same bytes.
func joined(parts ...string) []byte {
	var b []byte
	for _, part := range parts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(part)))
		b = append(b, part...)
	}
	return b
}

// wrappingKey seals data keys. Its file has one line per key, `<id> <unix seconds> <hex>`: one key,
// or two and more while a turnover is under way.
type wrappingKey struct {
	id   uint32
	made time.Time
	key  []byte
}

func (w wrappingKey) aad(row []byte) []byte {
	return joined("amanat.data-key.v1", string(row), fmt.Sprint(w.id))
}

func newWrappingKey(random io.Reader, id uint32, now time.Time) (wrappingKey, error) {
	key := make([]byte, chacha20poly1305.KeySize)
	if _, err := io.ReadFull(random, key); err != nil {
		return wrappingKey{}, fmt.Errorf("make a wrapping key: %w", err)
	}
	return wrappingKey{id: id, made: now, key: key}, nil
}

// readWrappingKeys answers the keys of the file in order; the last one is current. None without
// an error when there is no file.
func readWrappingKeys(path string) ([]wrappingKey, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var keys []wrappingKey
	for line := range strings.Lines(string(data)) {
		var id uint32
		var made int64
		var text string
		if _, err := fmt.Sscanf(line, "%d %d %s", &id, &made, &text); err != nil {
			return nil, fmt.Errorf("%s: line %d is not `<id> <unix seconds> <hex>`", path, len(keys)+1)
		}
		key, err := hex.DecodeString(text)
		if err != nil || len(key) != chacha20poly1305.KeySize {
			return nil, fmt.Errorf("%s: line %d holds no key of %d bytes", path, len(keys)+1, chacha20poly1305.KeySize)
		}
		read := wrappingKey{id: id, made: time.Unix(made, 0).UTC(), key: key}
		// What is passed over may be a second key, which the next turnover would then destroy.
		if read.line() != line {
			return nil, fmt.Errorf("%s: line %d is not as it was written", path, len(keys)+1)
		}
		keys = append(keys, read)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s holds no key; restore it together with the key file", path)
	}
	return keys, nil
}

func (w wrappingKey) line() string {
	return fmt.Sprintf("%d %d %s\n", w.id, w.made.Unix(), hex.EncodeToString(w.key))
}

func encodeWrappingKeys(keys []wrappingKey) (file []byte) {
	for _, k := range keys {
		file = append(file, k.line()...)
	}
	return file
}

// replaceWrappingKeys writes the file anew and then overwrites the bytes of the file it replaced.
// On disks that write elsewhere than where they are told, the old bytes last until the disk
// reuses them: such a disk needs encryption of its own.
func replaceWrappingKeys(path string, keys []wrappingKey) error {
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	err = durable.Replace(path, encodeWrappingKeys(keys))
	if err == nil {
		err = blank(old)
	}
	return errors.Join(err, old.Close())
}

func blank(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(make([]byte, info.Size()), 0); err != nil {
		return err
	}
	return f.Sync()
}
