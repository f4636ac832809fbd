package simulation

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	identityv1 "amanat.example/proto/amanat/identity/v1"
)

// cheap is the crypto of a service: a keyed hash for a signature, and a seal that hides nothing. What it accepts was made by the
// service named, for this domain and content.
type cheap struct{ node, service string }

// Federal is the node that takes facts of flows; nobody answers for it here.
const Federal = "federal"

// Nodes are the provinces. A referral begins at the first.
var Nodes = [3]string{"balochistan", "punjab", "sindh"}

var provinces = map[string]string{"balochistan": "PK-BA", "punjab": "PK-PB", "sindh": "PK-SD"}

func mark(parts ...any) []byte {
	h := sha256.New()
	for _, part := range parts {
		switch p := part.(type) {
		case string:
			_ = binary.Write(h, binary.BigEndian, uint32(len(p)))
			_, _ = io.WriteString(h, p)
		case []byte:
			_ = binary.Write(h, binary.BigEndian, uint32(len(p)))
			_, _ = h.Write(p)
		}
	}
	return h.Sum(nil)[:16]
}

func (c cheap) Sign(domain string, message []byte) []byte {
	return mark(c.node, c.service, domain, message)
}

func (c cheap) Verify(node, service, domain string, message, signature []byte) error {
	if !bytes.Equal(signature, mark(node, service, domain, message)) {
		return fmt.Errorf("no signature of %s at %s", service, node)
	}
	return nil
}

func (c cheap) VerifyCurrent(node, service, domain string, message, signature []byte) error {
	return c.Verify(node, service, domain, message, signature)
}

func (c cheap) Seal(node, service, info string, aad, plaintext []byte) ([]byte, error) {
	return append(mark("seal", node, service, info, aad), plaintext...), nil
}

func (c cheap) Open(info string, aad, sealed []byte) ([]byte, error) {
	seal := mark("seal", c.node, c.service, info, aad)
	if !bytes.HasPrefix(sealed, seal) {
		return nil, errors.New("it was sealed to somebody else")
	}
	return sealed[len(seal):], nil
}

func (c cheap) Active(node, service string) bool {
	return provinces[node] != "" && (service == "referral" || service == "shelter") || node == Federal && service == Federal
}

func (c cheap) Member(node string) bool { return provinces[node] != "" || node == Federal }

func (c cheap) Node(name string) (*identityv1.RosterNode, bool) {
	if provinces[name] == "" {
		return nil, false
	}
	return &identityv1.RosterNode{
		Node: name, Province: provinces[name], State: identityv1.RosterNode_STATE_ACTIVE,
		Services: []*identityv1.RosterService{{Service: "referral"}, {Service: "shelter"}},
	}, true
}

func (c cheap) Nodes() (all []*identityv1.RosterNode) {
	for _, name := range slices.Sorted(maps.Keys(provinces)) {
		node, _ := c.Node(name)
		all = append(all, node)
	}
	return all
}

// lot is a stream of bytes that follows from a seed.
type lot struct {
	seed  []byte
	drawn uint64
	rest  []byte
}

func (l *lot) Read(p []byte) (int, error) {
	for n := 0; n < len(p); {
		if len(l.rest) == 0 {
			l.drawn++
			block := sha256.Sum256(binary.BigEndian.AppendUint64(bytes.Clone(l.seed), l.drawn))
			l.rest = block[:]
		}
		k := copy(p[n:], l.rest)
		n, l.rest = n+k, l.rest[k:]
	}
	return len(p), nil
}

// newID is a UUID of version 7 in form.
func (l *lot) newID() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(l, b[:]); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0f|0x70, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}
