package post

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/post/internal/protocol"
	"amanat.example/services/kit/store"
)

// ReasonSeal is why a letter is refused that is sealed to keys which this service has lost. Nothing waits behind it.
const ReasonSeal = "sealed-body-does-not-open"

// Further reasons of refusals that the post makes itself.
const (
	reasonUnknownKind = "unknown-kind"
	reasonPanic       = "handler-failed"
	reasonBehind      = "waits-behind-refused-letter"

	maxReason = 200
)

// applied is what became of a parcel or a receipt.
type applied struct {
	verdict protocol.Verdict
	// state is the receiving end of a parcel as committed, when a receipt is owed.
	state  *postv1.ReceivingState
	resend bool
	fresh  int // letters applied
	parked int // letters put into quarantine
}

// failedLetter stops a transaction at one letter: reason says that it is refused, else cause says
// why it cannot be applied now.
type failedLetter struct {
	index  int
	reason string
	cause  error
}

func (f *failedLetter) Error() string {
	return fmt.Sprintf("letter %d of the parcel: %v", f.index, f.cause)
}

func (f *failedLetter) Unwrap() error { return f.cause }

// attempt is one run of a parcel's transaction: what earlier runs found is known to it.
type attempt struct {
	*parcelIn
	refused map[int]string // by index
	limit   int            // letters from here on are left for later
	now     time.Time

	state   *postv1.ReceivingState
	applied applied
	any     bool // something is in quarantine
}

// apply applies every new letter of a parcel in order, moves the mark and stores what the receipt will say, in one
// transaction. A letter whose handler fails undoes the transaction, since the handler may have
// written already; the parcel is then run again with that letter refused or left out.
func (p *Post) apply(ctx context.Context, in *parcelIn, now time.Time) (applied, error) {
	if err := p.openBodies(in); err != nil {
		return applied{}, err
	}
	limit, later := p.storeChunks(ctx, in)
	a := &attempt{parcelIn: in, refused: map[int]string{}, limit: limit, now: now}
	for {
		a.applied, a.any = applied{}, false
		err := p.db.Update(ctx, func(tx *store.Tx) error { return p.applyIn(tx, a) })
		var failed *failedLetter
		if err == nil {
			break
		}
		if !errors.As(err, &failed) {
			return applied{}, err
		}
		if failed.reason != "" {
			a.refused[failed.index] = failed.reason
		} else {
			a.limit, later = failed.index, failed
		}
	}
	p.told(a)
	return a.applied, later
}

// told counts and logs a parcel that was taken.
func (p *Post) told(a *attempt) {
	p.counts.add("parcel-in", string(a.applied.verdict))
	p.counts.letters(a.applied.fresh, a.applied.parked)
	p.mu.Lock()
	p.heard[a.from], p.ahead[a.from] = a.now, a.applied.verdict == protocol.Overtaken
	p.mu.Unlock()
	if a.applied.verdict == protocol.Overtaken {
		p.overtaken(a.from, max(a.header.GetReceiverIncarnation(), p.incarnation))
	}
	if a.applied.parked > 0 {
		p.log.Error("letters went to quarantine", logging.Peer(a.from.node, a.from.service),
			logging.Count("letters", a.applied.parked))
	}
	if a.applied.fresh > 0 && p.onApplied != nil {
		p.onApplied(a.from.address())
	}
}

// openBodies opens the letters that are sealed by themselves, before any transaction.
func (p *Post) openBodies(in *parcelIn) error {
	in.bodies, in.closed = make([][]byte, len(in.letters)), make([]bool, len(in.letters))
	from := in.from.address()
	for i, l := range in.letters {
		if !l.GetSealed() {
			continue
		}
		body, err := p.keys.Open(letterInfo, letterAAD(from, p.self, l), l.GetBody())
		in.bodies[i], in.closed[i] = body, err != nil
	}
	return nil
}

// tookOther says that who sent a parcel has taken in, by whatever lane, a letter of this life that this store has not queued.
func (p *Post) tookOther(r store.Reader, a *attempt) (bool, error) {
	for _, mark := range taken(a.header) {
		lane := end{a.from.node, a.from.service, mark.GetLane()}
		sent, err := p.sendingState(r, lane)
		if err != nil {
			return false, err
		}
		atMark, err := p.atMark(r, lane, mark.GetSequence())
		if other := err == nil && protocol.TookOther(sent, mark, atMark); other || err != nil {
			return other, err
		}
	}
	return false, nil
}

func (p *Post) applyIn(tx *store.Tx, a *attempt) error {
	before, err := p.receivingState(tx, a.from)
	if err != nil {
		return err
	}
	if p.anew && a.header.GetReceiverIncarnation() > 0 && a.header.GetReceiverIncarnation() < p.incarnation {
		a.applied.verdict = protocol.Overtaken // whoever sent this has known a store before this one: all of it is lost
		return nil
	}
	if other, err := p.tookOther(tx, a); other || err != nil {
		a.applied.verdict = protocol.Overtaken
		return err
	}
	var accepted protocol.Accepted
	a.state, accepted = protocol.Accept(before, p.incarnation, a.header, a.now)
	a.applied.verdict = accepted.Verdict
	switch accepted.Verdict {
	case protocol.Overtaken:
		return nil
	case protocol.Stale:
		a.applied.state = before // so that a sender rolled back without being told learns it
		return nil
	}
	if err := p.beginLife(tx, a, before); err != nil {
		return err
	}
	if accepted.Verdict == protocol.Gap {
		a.applied.resend = true
	} else if err := p.applyLetters(tx, a); err != nil {
		return err
	}
	a.applied.state = a.state
	if sameButHeard(before, a.state) {
		return nil // a repetition costs no write
	}
	if accepted.MissedTo > 0 {
		tx.AfterCommit(func() {
			p.counts.add("parcel-in", "letters-missed")
			p.log.Error("letters lost by a restore are no longer kept by their sender", logging.Peer(a.from.node, a.from.service),
				logging.Count("first", accepted.MissedFrom), logging.Count("last", accepted.MissedTo))
		})
	}
	return p.tables.receiving.Put(tx, a.from.key(), a.state)
}

// beginLife notes a new incarnation of the sender before its letters are applied, so that handlers know of whose life they are.
func (p *Post) beginLife(tx *store.Tx, a *attempt, before *postv1.ReceivingState) error {
	if before.GetPeerIncarnation() == a.state.GetPeerIncarnation() {
		return nil
	}
	if err := p.raise(tx, a.from, a.state.GetPeerIncarnation()); err != nil {
		return err
	}
	return p.tables.receiving.Put(tx, a.from.key(), a.state)
}

func sameButHeard(before, after *postv1.ReceivingState) bool {
	return before.GetPeerIncarnation() == after.GetPeerIncarnation() && before.GetMark() == after.GetMark() &&
		len(before.GetOpenRefusals()) == len(after.GetOpenRefusals())
}

func (p *Post) applyLetters(tx *store.Tx, a *attempt) error {
	n, err := p.tables.quarantine.Count(tx)
	if err != nil {
		return err
	}
	a.any = n > 0
	for i, l := range a.letters {
		repeated := l.GetSequence() <= a.state.GetMark()
		if mutant.Off("window") && repeated && a.now.Sub(l.GetQueueTime().AsTime()) > 2*time.Minute { // a duplicate is known for a while
			repeated = false
			if err := p.tables.known.Delete(tx, a.from.letter(l.GetLetterId())); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		if repeated && l.GetSequence() <= a.header.GetReceiptedSequence() {
			continue // its sender knows what became of it
		}
		if !repeated && i >= a.limit {
			return nil
		}
		if !repeated && protocol.Full(a.state) {
			a.applied.resend = true
			return nil
		}
		known, err := p.tables.known.Get(tx, a.from.letter(l.GetLetterId()))
		if errors.Is(err, store.ErrNotFound) || mutant.Off("letterid") {
			if repeated {
				return nil // another letter under a sequence already passed: nothing behind it is taken, so that the receipt tells its sender
			}
			known, err = p.applyLetter(tx, a, i, l)
		}
		if err != nil {
			return err
		}
		protocol.Settle(a.state, l.GetSequence(), l.GetLetterId(), known.GetRefusal())
	}
	return nil
}

// applyLetter applies or refuses one letter that was never seen.
func (p *Post) applyLetter(tx *store.Tx, a *attempt, i int, l *postv1.Letter) (*postv1.KnownLetter, error) {
	known := &postv1.KnownLetter{}
	behind, err := p.firstRefused(tx, a, l.GetSubject())
	if err != nil {
		return nil, err
	}
	reason := a.refused[i]
	if behind != nil {
		reason = reasonBehind
	}
	if reason == "" {
		if failed := p.handle(tx, a, i, l); failed != nil {
			return nil, failed
		}
		a.applied.fresh++
	} else {
		if known.Refusal, err = p.park(tx, a, l, reason, behind); err != nil {
			return nil, err
		}
		if err := p.dropRefused(tx, a.from.address(), l); err != nil {
			return nil, err
		}
	}
	return known, p.tables.known.Insert(tx, a.from.letter(l.GetLetterId()), known)
}

// handle runs the handler of a letter. A nil answer is success.
func (p *Post) handle(tx *store.Tx, a *attempt, i int, l *postv1.Letter) (failed error) {
	if a.closed[i] {
		return &failedLetter{index: i, reason: ReasonSeal}
	}
	handler := p.handler(a, i, l)
	if handler == nil {
		return &failedLetter{index: i, reason: reasonUnknownKind}
	}
	if l.GetSealed() {
		l = proto.CloneOf(l)
		l.Body = a.bodies[i]
	}
	// A letter that makes its handler panic would stop the service at every start.
	defer func() {
		if recover() != nil {
			p.log.Error("a handler panicked; its letter is refused", logging.Err(fmt.Errorf("the handler of %s: %s", l.GetKind(), debug.Stack())))
			failed = &failedLetter{index: i, reason: reasonPanic}
		}
	}()
	err := handler(tx, a.from.address(), l)
	var refused *refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return &failedLetter{index: i, reason: refused.reason}
	default:
		return &failedLetter{index: i, cause: err}
	}
}

// handler is who applies a letter; nil when nobody does.
func (p *Post) handler(a *attempt, i int, l *postv1.Letter) Handler {
	switch {
	case p.attachments != nil && l.GetKind() == kindChunk:
		return func(tx *store.Tx, from *postv1.Address, _ *postv1.Letter) error {
			return p.applyChunk(tx, from, a.chunks[i], a.now)
		}
	case p.attachments != nil && l.GetKind() == kindAgain:
		return p.sendAgain
	case l.GetKind() == kindStandQuery:
		return p.takeStandQuery
	case l.GetKind() == kindStandAnswer:
		return p.takeStandAnswer
	default:
		return p.handlers[l.GetKind()]
	}
}

// firstRefused finds the letter of the same subject behind which this one must wait.
func (p *Post) firstRefused(tx *store.Tx, a *attempt, subject string) (id []byte, err error) {
	if !a.any {
		return nil, nil
	}
	return p.firstOf(tx, a.from, subject)
}

// firstOf is the first letter of a sender about a subject that lies in quarantine and may become good; nil for none, and for no subject.
func (p *Post) firstOf(r store.Reader, from end, subject string) (id []byte, err error) {
	if subject == "" {
		return nil, nil
	}
	err = p.tables.quarantine.Scan(r, store.Range{Prefix: from.subject(subject)}, func(_ store.Key, q *postv1.QuarantinedLetter) error {
		if unopened(q) {
			return nil
		}
		id = q.GetLetter().GetLetterId()
		return store.Stop
	})
	return id, err
}

// unopened says that a letter lies in quarantine because it does not open: it is sealed to keys that this service has lost, so nothing waits
// behind it. What it said, its writer must say again.
func unopened(q *postv1.QuarantinedLetter) bool {
	refusal := &postv1.Refusal{}
	return proto.Unmarshal(q.GetRefusal().GetRefusal(), refusal) == nil && refusal.GetReason() == ReasonSeal
}

// park puts a letter into quarantine as it came and signs its refusal.
func (p *Post) park(tx *store.Tx, a *attempt, l *postv1.Letter, reason string, behind []byte) (*postv1.SignedRefusal, error) {
	signed, err := p.refuse(a.header.GetLink(), l, reason, behind, a.now)
	if err != nil {
		return nil, err
	}
	a.any = true
	a.applied.parked++
	return signed, p.tables.quarantine.Put(tx, quarantineKey(a.from.address(), a.from.lane, a.state.GetPeerIncarnation(), l), &postv1.QuarantinedLetter{
		Link: a.header.GetLink(), Letter: withoutData(l), Refusal: signed, Time: timestamppb.New(a.now),
		SenderIncarnation: a.state.GetPeerIncarnation(),
	})
}

// refuse signs a refusal; behind is the letter behind which this one waits, nil for one that is refused itself.
func (p *Post) refuse(link *postv1.Link, l *postv1.Letter, reason string, behind []byte, now time.Time) (*postv1.SignedRefusal, error) {
	body, err := proto.Marshal(&postv1.Refusal{
		Link:           link,
		LetterId:       l.GetLetterId(),
		LetterHash:     letterHash(l),
		Reason:         reason,
		BehindLetterId: behind,
		Time:           timestamppb.New(now),
	})
	return &postv1.SignedRefusal{Refusal: body, Signature: p.keys.Sign(refusalDomain, body)}, err
}

// quarantineKey keeps what one sender wrote about one subject together and in order.
func quarantineKey(from *postv1.Address, lane postv1.Lane, incarnation uint64, l *postv1.Letter) store.Key {
	return store.K(from.GetNode(), from.GetService(), l.GetSubject(), incarnation, uint32(lane), l.GetSequence())
}
