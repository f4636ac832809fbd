package custody

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"
)

// fileMagic begins a handover file; the digit is the version of its form.
const fileMagic = "amanat handover 1\n"

// MaxFile bounds a handover file: a chain of the longest kind and its annexes.
const MaxFile = 3 << 20

// Faults of a handover file. What they say is for a person with a memory stick in the hand.
var (
	ErrNoHandover = errors.New("this is no handover file: choose the file that the giving unit exported, with the ending .amanat")
	ErrFileCut    = errors.New("the handover file is damaged or was not copied whole: copy it again from the escort's stick, or ask for it by other means")
)

// EncodeFile writes a handover file: a line that says what it is, a SHA-256 so that a bad copy is known for what it is, the message.
// The sum protects against accidents alone; who wrote what is shown by the signatures in the chain.
func EncodeFile(m proto.Message) ([]byte, error) {
	body, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("marshal the handover file: %w", err)
	}
	sum := sha256.Sum256(body)
	return bytes.Join([][]byte{[]byte(fileMagic), sum[:], body}, nil), nil
}

// DecodeFile reads what EncodeFile wrote.
func DecodeFile(raw []byte, m proto.Message) error {
	rest, ok := bytes.CutPrefix(raw, []byte(fileMagic))
	if !ok || len(raw) > MaxFile {
		return ErrNoHandover
	}
	if len(rest) < sha256.Size {
		return ErrFileCut
	}
	sum, body := rest[:sha256.Size], rest[sha256.Size:]
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return ErrFileCut
	}
	if err := proto.Unmarshal(body, m); err != nil {
		return ErrFileCut
	}
	return nil
}
