package post

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	postv1 "amanat.example/proto/amanat/post/v1"
)

// A sealed file begins with a key of its own, sealed to the receiving service (HPKE) and preceded by its length in
// two bytes. Frames of the content follow, each sealed under that key (AES-256-GCM) with its number as nonce and
// a mark on the last, so that none can be left out, moved or cut off.
const (
	attachmentInfo = "amanat.post.attachment.v1"
	frameBytes     = 64 << 10
	fileKeyBytes   = 32
	maxSealedKey   = 4096
)

var errFileSeal = errors.New("the file does not open: it was changed, or sealed to other keys")

// attachmentAAD ties a file to its sender, receiver and purpose.
func attachmentAAD(from, to *postv1.Address, c *postv1.AttachmentChunk) []byte {
	return digest([]byte(from.GetNode()), []byte(from.GetService()), []byte(to.GetNode()), []byte(to.GetService()),
		c.GetAttachmentId(), []byte(c.GetKind()), []byte(c.GetAbout()))
}

func frameNonce(number uint64, last bool) []byte {
	nonce := make([]byte, 12)
	binary.BigEndian.PutUint64(nonce[3:], number)
	if last {
		nonce[11] = 1
	}
	return nonce
}

func fileCipher(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

var errTooLong = errors.New("the content is too long")

// sealFile writes content to out, sealed; at most most bytes of content.
func sealFile(out io.Writer, content io.Reader, key, sealedKey []byte, most int64) error {
	aead, err := fileCipher(key)
	if err != nil {
		return err
	}
	if _, err := out.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(sealedKey))), sealedKey...)); err != nil {
		return err
	}
	plain, next := make([]byte, frameBytes), make([]byte, frameBytes)
	n, err := readFrame(content, plain)
	if err != nil {
		return err
	}
	for number := uint64(0); ; number++ {
		if most -= int64(n); most < 0 {
			return errTooLong
		}
		following := 0
		if n == frameBytes {
			if following, err = readFrame(content, next); err != nil {
				return err
			}
		}
		if _, err := out.Write(aead.Seal(nil, frameNonce(number, following == 0), plain[:n], nil)); err != nil {
			return err
		}
		if following == 0 {
			return nil
		}
		plain, next, n = next, plain, following
	}
}

// readFrame fills a frame as far as there is content.
func readFrame(in io.Reader, frame []byte) (int, error) {
	n, err := io.ReadFull(in, frame)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return n, err
}

// readSealedKey reads the beginning of a sealed file.
func readSealedKey(in io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(size[:])
	if n > maxSealedKey {
		return nil, errFileSeal
	}
	sealed := make([]byte, n)
	_, err := io.ReadFull(in, sealed)
	return sealed, err
}

// openedFile reads the content of a sealed file, of which nothing is given out before it is verified.
type openedFile struct {
	file   io.ReadCloser
	aead   cipher.AEAD
	number uint64
	left   []byte
	frame  []byte // the next one, sealed; it must be known whether it is the last
	done   bool
}

func newOpenedFile(file io.ReadCloser, key []byte) (*openedFile, error) {
	aead, err := fileCipher(key)
	if err != nil {
		return nil, err
	}
	o := &openedFile{file: file, aead: aead}
	o.frame, err = o.sealedFrame()
	return o, err
}

func (o *openedFile) sealedFrame() ([]byte, error) {
	frame := make([]byte, frameBytes+o.aead.Overhead())
	n, err := readFrame(o.file, frame)
	return frame[:n], err
}

// Read implements io.Reader. io.EOF comes only after the last frame, verified as such.
func (o *openedFile) Read(into []byte) (int, error) {
	for len(o.left) == 0 {
		if o.done {
			return 0, io.EOF
		}
		following, err := o.sealedFrame()
		if err != nil {
			return 0, err
		}
		o.done = len(following) == 0
		if o.left, err = o.aead.Open(o.frame[:0], frameNonce(o.number, o.done), o.frame, nil); err != nil {
			return 0, fmt.Errorf("frame %d: %w", o.number, errFileSeal)
		}
		o.number++
		o.frame = following
	}
	n := copy(into, o.left)
	o.left = o.left[n:]
	return n, nil
}

// Close closes the file.
func (o *openedFile) Close() error { return o.file.Close() }
