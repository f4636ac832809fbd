package identity

import (
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"

	identityv1 "amanat.example/proto/amanat/identity/v1"
)

const (
	pemRequest = "AMANAT JOIN REQUEST"
	pemRoster  = "AMANAT ROSTER"
	// MaxFile bounds a file that came from elsewhere: about a thousand versions of a network of ten nodes.
	MaxFile = 64 << 20
)

// EncodeRequest writes a request as text that survives e-mail.
func EncodeRequest(request *identityv1.NodeRequest) ([]byte, error) {
	return encodeFile(pemRequest, request)
}

// DecodeRequest reads what EncodeRequest wrote. It verifies nothing: OpenRequest does.
func DecodeRequest(data []byte) (*identityv1.NodeRequest, error) {
	request := &identityv1.NodeRequest{}
	return request, decodeFile(pemRequest, data, request)
}

// EncodeRoster writes a roster, complete or still to be signed, as text that survives e-mail.
func EncodeRoster(file *identityv1.RosterFile) ([]byte, error) {
	return encodeFile(pemRoster, file)
}

// DecodeRoster reads what EncodeRoster wrote. It verifies nothing: Examine, VerifyLog and InstallRoster do.
func DecodeRoster(data []byte) (*identityv1.RosterFile, error) {
	file := &identityv1.RosterFile{}
	return file, decodeFile(pemRoster, data, file)
}

func encodeFile(kind string, m proto.Message) ([]byte, error) {
	data, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write the %s: %w", strings.ToLower(kind), err)
	}
	return encodePEM(kind, data), nil
}

func decodeFile(kind string, data []byte, m proto.Message) error {
	if len(data) > MaxFile {
		return fmt.Errorf("the file has %d bytes, at most %d are read; ask for it again", len(data), MaxFile)
	}
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return fmt.Errorf("there is no whole block %q in the file: it is another file, or was cut or changed on the way; ask for it again", kind)
	case block.Type != kind:
		return fmt.Errorf("the file holds %.40q where %q is needed; name the other file", block.Type, kind)
	}
	if again, _ := pem.Decode(rest); again != nil {
		return fmt.Errorf("the file holds more than one block; leave one %q in it", kind)
	}
	if err := proto.Unmarshal(block.Bytes, m); err != nil {
		return errors.New("the file's content cannot be read: it was changed on the way; ask for it again")
	}
	return nil
}
