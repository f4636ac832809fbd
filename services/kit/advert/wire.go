package advert

import (
	"fmt"
	"strings"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/hub"
)

const (
	domain      = "amanat.capacity.advert.v1"
	subjectRoot = "amanat.capacity"
)

// Keys are how a shelter service signs as itself and verifies others.
type Keys interface {
	// Sign signs for a domain with the own service's key.
	Sign(domain string, message []byte) []byte
	// VerifyCurrent checks what another service signed, with the key that the newest roster has of it.
	VerifyCurrent(node, service, domain string, message, signature []byte) error
	// Active says whether the newest roster names this service at an active node.
	Active(node, service string) bool
}

// Sign makes of an advert what travels, and says on which subject.
func Sign(keys Keys, a *shelterv1.Advert) (subject string, data []byte, err error) {
	signed := &shelterv1.SignedAdvert{}
	if signed.Advert, err = proto.Marshal(a); err != nil {
		return "", nil, fmt.Errorf("marshal the advert: %w", err)
	}
	signed.Signature = keys.Sign(domain, signed.GetAdvert())
	if data, err = proto.Marshal(signed); err != nil {
		return "", nil, fmt.Errorf("marshal the signed advert: %w", err)
	}
	if len(data) > MaxBytes {
		return "", nil, fmt.Errorf("the advert has %d bytes, more than %d", len(data), MaxBytes)
	}
	return subjectOf(a), data, nil
}

// subjectOf is amanat.capacity.<node>.<last part of the shelter's name>.
func subjectOf(a *shelterv1.Advert) string {
	return strings.Join([]string{subjectRoot, a.GetNode(), a.GetShelter()[strings.LastIndexByte(a.GetShelter(), '/')+1:]}, ".")
}

// Verdict is what became of a message.
type Verdict string

// What a message is. All but Good and Own is worth nothing, and changes nothing but a counter.
const (
	Good         Verdict = "good"
	Own          Verdict = "own"
	TooLarge     Verdict = "too-large"
	BadSubject   Verdict = "foreign-subject"
	Unknown      Verdict = "unknown-sender"
	Malformed    Verdict = "malformed"
	BadSignature Verdict = "bad-signature"
	BadName      Verdict = "foreign-shelter"
	BadRules     Verdict = "breaks-rules"
)

// Heard is an advert that is believed.
type Heard struct {
	Advert *shelterv1.Advert
	// Signed is the advert as it came.
	Signed *shelterv1.SignedAdvert
}

// Reader believes adverts or does not.
type Reader struct {
	node  string
	keys  Keys
	rules protovalidate.Validator
}

// NewReader is the reader of a node. An error is a fault of the contract.
func NewReader(node string, keys Keys) (*Reader, error) {
	rules, err := protovalidate.New(protovalidate.WithMessages(&shelterv1.SignedAdvert{}, &shelterv1.Advert{}))
	if err != nil {
		return nil, fmt.Errorf("rules of adverts: %w", err)
	}
	return &Reader{node: node, keys: keys, rules: rules}, nil
}

// Read says what a message is, and what it holds where it is Good. It touches no state.
func (r *Reader) Read(m hub.Message) (*Heard, Verdict) {
	if len(m.Data) > MaxBytes {
		return nil, TooLarge
	}
	node, ok := strings.CutPrefix(m.Subject, subjectRoot+".")
	if !ok {
		return nil, BadSubject
	}
	node, shelter, ok := strings.Cut(node, ".")
	switch {
	case !ok || node == "" || shelter == "" || strings.Contains(shelter, "."):
		return nil, BadSubject
	case node == r.node:
		return nil, Own
	case !r.keys.Active(node, Service):
		return nil, Unknown
	}
	heard := &Heard{Advert: &shelterv1.Advert{}, Signed: &shelterv1.SignedAdvert{}}
	if proto.Unmarshal(m.Data, heard.Signed) != nil || r.rules.Validate(heard.Signed) != nil {
		return nil, Malformed
	}
	if r.keys.VerifyCurrent(node, Service, domain, heard.Signed.GetAdvert(), heard.Signed.GetSignature()) != nil {
		return nil, BadSignature
	}
	// From here on it is the node's own word; it may still be nonsense.
	if proto.Unmarshal(heard.Signed.GetAdvert(), heard.Advert) != nil {
		return nil, Malformed
	}
	if a := heard.Advert; a.GetNode() != node || a.GetShelter() != "nodes/"+node+"/shelters/"+shelter {
		return nil, BadName
	}
	if r.rules.Validate(heard.Advert) != nil || !sane(heard.Advert) {
		return nil, BadRules
	}
	return heard, Good
}

// Times that can be reckoned with.
var (
	earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)
)

// sane says that every time of an advert can be reckoned with, and no group stands twice.
func sane(a *shelterv1.Advert) bool {
	times := []*timestamppb.Timestamp{a.GetPublishTime(), a.GetFullUntilTime()}
	groups := map[string]bool{}
	for _, g := range a.GetGroups() {
		times = append(times, g.GetVouchTime())
		groups[g.GetGroup()] = true
	}
	for _, t := range times {
		if t != nil && (t.CheckValid() != nil || t.AsTime().Before(earliest) || t.AsTime().After(latest)) {
			return false
		}
	}
	return len(groups) == len(a.GetGroups())
}
