// Package paging makes the opaque tokens of lists: a MAC over the last key and the filter, so
// that a token can be neither guessed nor carried to another list (DESIGN section 8a).
package paging

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"

	"google.golang.org/protobuf/proto"
)

// ErrToken says that a page token is not one this list gave for this filter.
var ErrToken = errors.New("the page token is not from this list with this filter; start again without it")

// Tokens makes and reads page tokens. It is safe for concurrent use.
type Tokens struct{ key []byte }

// New takes a secret of the service that outlives a restart, such as what its signing key makes
// of a fixed text.
func New(secret []byte) *Tokens {
	sum := sha256.Sum256(append([]byte("amanat.paging.v1\x00"), secret...))
	return &Tokens{key: sum[:]}
}

// Make is the token for the page after a key of the list; empty for an empty key. list names
// the list, filter is what narrows it (nil for none).
func (t *Tokens) Make(list string, filter proto.Message, key []byte) (string, error) {
	if len(key) == 0 {
		return "", nil
	}
	mac, err := t.mac(list, filter, key)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(mac, key...)), nil
}

// Read is the key that a token stands for; nil for an empty token. It fails with [ErrToken].
func (t *Tokens) Read(list string, filter proto.Message, token string) ([]byte, error) {
	if token == "" {
		return nil, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	// The decoder passes over line breaks and spare bits: what was not made here, byte for byte, is no token.
	if err != nil || len(raw) <= sha256.Size || base64.RawURLEncoding.EncodeToString(raw) != token {
		return nil, ErrToken
	}
	want, err := t.mac(list, filter, raw[sha256.Size:])
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(want, raw[:sha256.Size]) {
		return nil, ErrToken
	}
	return raw[sha256.Size:], nil
}

func (t *Tokens) mac(list string, filter proto.Message, key []byte) ([]byte, error) {
	var narrowed []byte
	if filter != nil && filter.ProtoReflect().IsValid() {
		var err error
		if narrowed, err = (proto.MarshalOptions{Deterministic: true}).Marshal(filter); err != nil {
			return nil, err
		}
	}
	listed, filtered := sha256.Sum256([]byte(list)), sha256.Sum256(narrowed)
	h := hmac.New(sha256.New, t.key)
	h.Write(listed[:])
	h.Write(filtered[:])
	h.Write(key)
	return h.Sum(nil), nil
}

// Size is how many rows a page has: the size asked, or usual when none was asked.
func Size(asked int32, usual int) int {
	if asked <= 0 {
		return usual
	}
	return int(asked)
}
