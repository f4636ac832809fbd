package custody

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/kit/mutant"
)

// Domains separate the signatures of events and of replies, so that neither can stand for the
// other.
const (
	DomainEvent = "amanat.custody.event.v1"
	DomainReply = "amanat.custody.reply.v1"
)

// maxReference bounds a reference that comes from outside, in bytes: by it a referral is found in every node's file, where a key has its limit.
// BA-26-04173-K has 13.
const maxReference = 100

// signing is whose key stands under chains: every node's referral service.
const signing = "referral"

// Hash is the SHA-256 of an event's bytes. An offer is named by the hash of its Offered event.
type Hash [sha256.Size]byte

// String is the hash in hex, as it stands in offer names.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Bytes is the hash as a message field.
func (h Hash) Bytes() []byte { return h[:] }

// HashOf is the hash of an event's bytes.
func HashOf(event []byte) Hash { return sha256.Sum256(event) }

// ParseHash reads what [Hash.String] wrote.
func ParseHash(s string) (Hash, error) {
	var h Hash
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(h) {
		return h, errors.New("an event's hash is 64 hexadecimal digits")
	}
	return Hash(raw), nil
}

// Signer signs as this node's referral service (Ed25519, 64 bytes, domain-separated).
type Signer interface {
	Sign(domain string, message []byte) []byte
}

// Verifier checks a service's signature by the roster, old versions included.
type Verifier interface {
	Verify(node, service, domain string, message, signature []byte) error
}

// Link is one event of a chain, decoded beside its bytes.
type Link struct {
	// Signed holds the bytes as they were written.
	Signed *custodyv1.SignedEvent
	// Event is what the bytes say.
	Event *custodyv1.Event
	// Hash is the SHA-256 of the bytes.
	Hash Hash
}

// Chain is a referral's events and what they amount to. The zero value is an empty chain.
type Chain struct {
	links []Link
	state State
}

// Load folds a chain from this node's own store. It checks structure and legality, not
// signatures: those were checked before the events were stored.
func Load(events ...*custodyv1.SignedEvent) (*Chain, error) {
	c := &Chain{}
	for _, signed := range events {
		if err := c.take(signed); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Verify folds a chain that came from outside, and checks every signature in it: of each event
// by the owner of its epoch, of each recorded reply by the node that replied. Links that known
// holds already, byte for byte, were verified when they came and are not verified again; known
// may be nil.
func Verify(v Verifier, events []*custodyv1.SignedEvent, known *Chain) (*Chain, error) {
	c := &Chain{}
	for i, signed := range events {
		if err := c.take(signed); err != nil {
			return nil, err
		}
		if known != nil && i < len(known.links) && sameLink(known.links[i].Signed, signed) {
			continue
		}
		if err := verifyLink(v, c.links[i]); err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
	}
	if len(c.links) == 0 {
		return nil, errors.New("the chain is empty")
	}
	return c, nil
}

func sameLink(a, b *custodyv1.SignedEvent) bool {
	return bytes.Equal(a.GetEvent(), b.GetEvent()) && bytes.Equal(a.GetSignature(), b.GetSignature())
}

func verifyLink(v Verifier, l Link) error {
	if len(l.Event.GetSubmitted().GetReference()) > maxReference {
		return errors.New("its reference is too long")
	}
	if err := v.Verify(l.Event.GetOwner(), signing, DomainEvent, l.Signed.GetEvent(), l.Signed.GetSignature()); err != nil {
		return fmt.Errorf("signature of %s: %w", l.Event.GetOwner(), err)
	}
	for _, reply := range []*custodyv1.SignedReply{l.Event.GetReplyRecorded().GetReply(), l.Event.GetHandoverRefused().GetRefusal()} {
		if reply == nil {
			continue
		}
		if _, err := OpenReply(v, reply); err != nil {
			return err
		}
	}
	return nil
}

// VerifyAlone checks an event that came without its chain, as an offer does to the unit asked, and what the owner says of it
// later: signed by the node that the event names as owner, which is the referral's creator or a later owner.
func VerifyAlone(v Verifier, signed *custodyv1.SignedEvent) (Link, error) {
	l, err := decode(signed)
	if err != nil {
		return Link{}, err
	}
	if CreatedAt(l.Event.GetReferral()) == "" {
		err = errors.New("the event is of no referral")
	} else if offered := l.Event.GetOffered(); offered != nil {
		err = checkOffered(offered)
	} else if len(OfferOf(l.Event)) != len(Hash{}) {
		err = errors.New("the event does not stand alone")
	}
	if err != nil {
		return Link{}, err
	}
	if err := verifyLink(v, l); err != nil {
		return Link{}, err
	}
	return l, nil
}

// OfferOf is the offer that an event which stands alone is about; nil for an offer itself, and for all others.
func OfferOf(e *custodyv1.Event) []byte {
	switch b := e.GetBody().(type) {
	case *custodyv1.Event_OfferWithdrawn:
		return b.OfferWithdrawn.GetOffer()
	case *custodyv1.Event_OfferExpired:
		return b.OfferExpired.GetOffer()
	case *custodyv1.Event_Answered:
		return b.Answered.GetOffer()
	case *custodyv1.Event_ReleaseRefused:
		return b.ReleaseRefused.GetOffer()
	}
	return nil
}

func decode(signed *custodyv1.SignedEvent) (Link, error) {
	event := &custodyv1.Event{}
	if err := proto.Unmarshal(signed.GetEvent(), event); err != nil {
		return Link{}, fmt.Errorf("the event's bytes are not an event: %w", err)
	}
	return Link{Signed: signed, Event: event, Hash: HashOf(signed.GetEvent())}, nil
}

// take folds one more event; on an error the chain is as it was.
func (c *Chain) take(signed *custodyv1.SignedEvent) error {
	l, err := decode(signed)
	if err != nil {
		return err
	}
	if err := c.checkPosition(l.Event); err != nil {
		return err
	}
	if err := c.state.fold(l); err != nil {
		return err
	}
	c.links = append(c.links, l)
	return nil
}

// checkPosition holds I1 and I2: the event continues this chain, by its owner.
func (c *Chain) checkPosition(e *custodyv1.Event) error {
	want, err := c.next(e)
	switch {
	case err != nil:
		return err
	case e.GetReferral() == "":
		return illegal(e, "it names no referral")
	case len(c.links) > 0 && e.GetReferral() != want.Referral:
		return illegal(e, "it belongs to another referral")
	case e.GetSequence() != want.Sequence:
		return illegal(e, fmt.Sprintf("it has sequence %d where %d comes next", e.GetSequence(), want.Sequence))
	case !bytes.Equal(e.GetPreviousHash(), want.PreviousHash):
		return illegal(e, "it does not follow the event before it")
	case e.GetEpoch() != want.Epoch:
		return illegal(e, fmt.Sprintf("it has epoch %d where %d is current", e.GetEpoch(), want.Epoch))
	case len(c.links) > 0 && e.GetOwner() != want.Owner && !(mutant.Off("cancel") && e.GetCancelled() != nil):
		return illegal(e, "its writer does not own the referral")
	case e.GetTime() == nil || !e.GetTime().IsValid():
		return illegal(e, "it has no time")
	}
	return nil
}

// next is the frame in which an event may come now: the owner's, but for the refusal of a handover, which belongs to whoever
// wrote that, and begins an epoch.
func (c *Chain) next(e *custodyv1.Event) (*custodyv1.Event, error) {
	if len(c.links) == 0 {
		return &custodyv1.Event{Epoch: 1, Sequence: 1}, nil
	}
	frame := &custodyv1.Event{
		Referral:     c.state.Referral,
		Epoch:        c.state.Epoch,
		Sequence:     c.state.Sequence + 1,
		PreviousHash: c.state.Head.Bytes(),
		Owner:        c.state.Owner,
	}
	if refused := e.GetHandoverRefused(); refused != nil {
		if err := c.checkRefusal(e, refused); err != nil {
			return nil, err
		}
		frame.Epoch, frame.Owner = frame.Epoch+1, c.state.Handover.By
	}
	return frame, nil
}

// checkRefusal refuses what is not the refusal of the handover that stands at the head.
func (c *Chain) checkRefusal(e *custodyv1.Event, refused *custodyv1.HandoverRefused) error {
	h := c.state.Handover
	if h == nil {
		return illegal(e, "there is no handover that could still be refused")
	}
	reply, err := decodeReply(refused.GetRefusal())
	switch {
	case err != nil:
		return err
	case reply.GetReferral() != c.state.Referral || reply.GetNode() != c.state.Owner || reply.GetRefused() == nil:
		return illegal(e, "it is not refused by the node it was handed to")
	case !bytes.Equal(reply.GetRefused().GetDispatched(), h.Event.Bytes()):
		return illegal(e, "another handover was refused")
	}
	return nil
}

// Append writes one event as its owner: node must own the current epoch. The caller fills
// actor, time, annex commitment and body (and, for the first event, the referral); position,
// epoch, hash and owner are set here. On an error nothing changes.
func (c *Chain) Append(s Signer, node string, e *custodyv1.Event) (Link, error) {
	frame, err := c.next(e)
	if err != nil {
		return Link{}, err
	}
	if len(c.links) > 0 {
		e.Referral = frame.GetReferral()
		if node != frame.GetOwner() && !(mutant.Off("cancel") && e.GetCancelled() != nil) {
			return Link{}, &Illegal{NotOwner: true, why: fmt.Sprintf("the referral is owned by %s", frame.GetOwner())}
		}
	}
	e.Epoch, e.Sequence, e.PreviousHash, e.Owner = frame.GetEpoch(), frame.GetSequence(), frame.GetPreviousHash(), node
	raw, err := proto.Marshal(e)
	if err != nil {
		return Link{}, fmt.Errorf("marshal the event: %w", err)
	}
	if err := c.take(&custodyv1.SignedEvent{Event: raw}); err != nil {
		return Link{}, err
	}
	last := &c.links[len(c.links)-1]
	last.Signed.Signature = s.Sign(DomainEvent, raw)
	return *last, nil
}

// Clone is a chain that can be continued without touching the first. They share their events, which never change.
func (c *Chain) Clone() *Chain { return &Chain{links: slices.Clone(c.links), state: c.state.clone()} }

// State is what the chain amounts to. The caller must not change what it points to.
func (c *Chain) State() *State { return &c.state }

// Links are the events in order. The caller must not change them.
func (c *Chain) Links() []Link { return c.links }

// Message is the chain as it is shipped.
func (c *Chain) Message() *custodyv1.Chain {
	m := &custodyv1.Chain{Events: make([]*custodyv1.SignedEvent, len(c.links))}
	for i, l := range c.links {
		m.Events[i] = l.Signed
	}
	return m
}

// Relation says how a chain that came stands to the one that is held.
type Relation int

// The relations.
const (
	// Same: nothing new.
	Same Relation = iota
	// Ahead: what came continues what is held.
	Ahead
	// Behind: what is held continues what came.
	Behind
	// Forked: two different events stand at one position. It is proof that a rule was broken;
	// a person decides.
	Forked
)

// Compare tells how came stands to held; held may be nil.
func Compare(held, came *Chain) Relation {
	if held == nil {
		held = &Chain{}
	}
	shared := min(len(held.links), len(came.links))
	for i := range shared {
		if held.links[i].Hash != came.links[i].Hash {
			return Forked
		}
	}
	switch {
	case len(came.links) > len(held.links):
		return Ahead
	case len(came.links) < len(held.links):
		return Behind
	}
	return Same
}

// Illegal is an event that the rules do not allow in the state the chain is in.
type Illegal struct {
	// NotOwner: the writer is not the owner of the current epoch.
	NotOwner bool
	why      string
}

// Error says what is wrong, without any content of the event.
func (i *Illegal) Error() string { return i.why }

func illegal(e *custodyv1.Event, why string) *Illegal {
	return &Illegal{why: fmt.Sprintf("%s is not possible: %s", Name(e), why)}
}
