package post

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/post/internal/protocol"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
)

const (
	letterIDSize = 16
	maxSubject   = 200
)

// ErrAbsent says that the newest roster names no such service at an active node: nothing can be written to it now.
var ErrAbsent = errors.New("the roster names no such service at an active node")

// lookForAbsent is when it is looked again for who is absent.
const lookForAbsent = time.Minute

// OnceThere is the answer of work that falls due and wrote to one service alone: that this one is absent now ends no service. The transaction
// is undone, so that nothing counts as told, and the work looks again in a minute.
func OnceThere(now, next time.Time, err error) (time.Time, error) {
	if errors.Is(err, ErrAbsent) {
		return now.Add(lookForAbsent), nil
	}
	return next, err
}

var kindPattern = regexp.MustCompile(`^[a-z][a-z0-9_.]{2,60}$`)

// Outgoing is a letter to be queued.
type Outgoing struct {
	// To is the receiving service; it may be the own one.
	To *postv1.Address
	// Lane: urgent for high risk, arrivals and withdrawals of consent.
	Lane postv1.Lane
	// Kind is what the receiver's table of handlers is keyed by, such as `custody.offer.v1`.
	Kind string
	// Subject is what it is about: when a letter is refused, those of the same subject behind it wait
	// with it. At most 200 bytes; no person's data. Empty: nothing waits.
	Subject string
	// Body is the message. At most MaxBody bytes when marshalled.
	Body proto.Message
	// Sealed seals the body to the receiving service before it is stored. Required when the
	// body's type has fields marked as personal.
	Sealed bool
	// ID of 16 bytes, when the letter can be written again from the sender's own records, for example
	// the first half of a hash: the receiver applies an id once, for ever. Nil: a random one.
	ID []byte
}

// Check judges what can be judged of a letter by itself.
func (o Outgoing) Check() error {
	switch {
	case laneNames[o.Lane] == "":
		return fmt.Errorf("field lane: %v is none; use LANE_URGENT or LANE_BULK", o.Lane)
	case !kindPattern.MatchString(o.Kind):
		return fmt.Errorf("field kind: %q does not match %s", o.Kind, kindPattern)
	case len(o.Subject) > maxSubject:
		return fmt.Errorf("field subject: it has %d bytes, at most %d are allowed", len(o.Subject), maxSubject)
	case o.Body == nil:
		return errors.New("field body: it is missing")
	case !o.Sealed && privacy.Marked(o.Body.ProtoReflect().Descriptor()):
		return fmt.Errorf("field sealed: %s has fields marked as personal; set it", o.Body.ProtoReflect().Descriptor().FullName())
	}
	return nil
}

// SealBody gives the body of a letter that came, as its handler may put it into the store: that of one which is sealed by itself is sealed
// again, to this service. OpenBody is the way back, and Park takes a letter so.
func (p *Post) SealBody(from *postv1.Address, l *postv1.Letter) ([]byte, error) {
	if !l.GetSealed() {
		return l.GetBody(), nil
	}
	return p.keys.Seal(p.self.GetNode(), p.self.GetService(), letterInfo, letterAAD(from, p.self, l), l.GetBody())
}

// OpenBody gives what SealBody was given. An error says that the keys for it are lost: such a letter is refused for [ReasonSeal].
func (p *Post) OpenBody(from *postv1.Address, l *postv1.Letter) ([]byte, error) {
	if !l.GetSealed() {
		return l.GetBody(), nil
	}
	return p.keys.Open(letterInfo, letterAAD(from, p.self, l), l.GetBody())
}

// Prepared is a letter ready to be queued: checked, marshalled and, where asked, sealed.
type Prepared struct {
	to     end
	letter *postv1.Letter
}

// Prepare does all that needs no transaction. The error is ErrAbsent where the roster does not name the receiver now. Sealing takes about 0.2 ms, which is why it is done
// here and not while others wait for the store.
func (p *Post) Prepare(o Outgoing) (Prepared, error) {
	if err := o.Check(); err != nil {
		return Prepared{}, err
	}
	if !p.keys.Active(o.To.GetNode(), o.To.GetService()) {
		return Prepared{}, fmt.Errorf("field to: %s at %s: %w", o.To.GetService(), o.To.GetNode(), ErrAbsent)
	}
	l := &postv1.Letter{LetterId: o.ID, Kind: o.Kind, Subject: o.Subject, Sealed: o.Sealed}
	if l.LetterId == nil {
		l.LetterId = make([]byte, letterIDSize)
		if err := p.newLetterID(l.LetterId); err != nil {
			return Prepared{}, err
		}
	}
	if len(l.LetterId) != letterIDSize {
		return Prepared{}, fmt.Errorf("field id: it has %d bytes, %d are needed", len(l.LetterId), letterIDSize)
	}
	var err error
	if l.Body, err = (proto.MarshalOptions{Deterministic: true}).Marshal(o.Body); err != nil {
		return Prepared{}, fmt.Errorf("field body: %w", err)
	}
	if o.Sealed {
		if l.Body, err = p.keys.Seal(o.To.GetNode(), o.To.GetService(), letterInfo, letterAAD(p.self, o.To, l), l.GetBody()); err != nil {
			return Prepared{}, fmt.Errorf("seal the letter: %w", err)
		}
	}
	if len(l.GetBody()) > MaxBody {
		return Prepared{}, fmt.Errorf("field body: it has %d bytes, at most %d are allowed", len(l.GetBody()), MaxBody)
	}
	return Prepared{to: endOf(o.To, o.Lane), letter: l}, nil
}

// Queue prepares a letter and queues it in the transaction of the state it reports. Letters that are
// sealed are better prepared before the transaction.
func (p *Post) Queue(tx *store.Tx, o Outgoing) error {
	prepared, err := p.Prepare(o)
	if err != nil {
		return err
	}
	return p.QueuePrepared(tx, prepared)
}

// QueuePrepared queues a prepared letter: it is sent if and only if the transaction commits, after
// all letters queued earlier to the same service on the same lane.
func (p *Post) QueuePrepared(tx *store.Tx, l Prepared) error {
	state, err := p.sendingState(tx, l.to)
	if err != nil {
		return err
	}
	sequence := state.GetNextSequence()
	letter := proto.CloneOf(l.letter) // the transaction may be run again by its caller
	letter.Sequence = sequence
	letter.QueueTime = timestamppb.New(p.clock())
	if err := p.tables.outbox.Insert(tx, l.to.row(sequence), letter); err != nil {
		return err
	}
	state.NextSequence++
	if err := p.tables.sending.Put(tx, l.to.key(), state); err != nil {
		return err
	}
	tx.AfterCommit(func() { p.note(l.to, protocol.Queued{Last: sequence}) })
	return nil
}

func (p *Post) sendingState(r store.Reader, to end) (*postv1.SendingState, error) {
	state, err := p.tables.sending.Get(r, to.key())
	if errors.Is(err, store.ErrNotFound) {
		return &postv1.SendingState{
			Link:           &postv1.Link{From: p.self, To: to.address(), Lane: to.lane},
			OwnIncarnation: p.incarnation,
			NextSequence:   1,
			FloorSequence:  1,
		}, nil
	}
	return state, err
}

// newLetterID fills an id with the time in milliseconds (6 bytes), so that the receiver's table of known
// letters grows at one place, and randomness (10 bytes).
func (p *Post) newLetterID(id []byte) error {
	if err := p.random(id); err != nil {
		return err
	}
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(p.clock().UnixMilli()))
	copy(id, ms[2:])
	return nil
}

func (p *Post) random(b []byte) error {
	p.randomMu.Lock()
	defer p.randomMu.Unlock()
	if _, err := io.ReadFull(p.rand, b); err != nil {
		return fmt.Errorf("read randomness: %w", err)
	}
	return nil
}
