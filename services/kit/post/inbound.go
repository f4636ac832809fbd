package post

import (
	"context"
	"errors"
	"maps"
	"time"

	"google.golang.org/protobuf/proto"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/mutant"
	"amanat.example/services/kit/post/internal/protocol"
	"amanat.example/services/kit/store"
)

const (
	// retryDelay is how soon the broker repeats what could not be applied yet.
	retryDelay = time.Second
	// heldFor is after how long without a delivery what is held back counts as lost at the broker.
	heldFor = redeliver
	// mostHeld bounds what is known of parcels that are held back.
	mostHeld = 1024
)

// parcelKey is the same for a parcel and its repetitions, which may end with a later letter.
type parcelKey struct {
	from               end
	incarnation, first uint64
}

// heldBack is the one message with a parcel that the broker is to deliver again.
type heldBack struct {
	id    uint64
	until time.Time
}

func keyOf(in *parcelIn) parcelKey {
	return parcelKey{in.from, in.header.GetSenderIncarnation(), in.header.GetFirstSequence()}
}

// parcelIn is a verified and opened parcel.
type parcelIn struct {
	from    end
	header  *postv1.ParcelHeader
	letters []*postv1.Letter // as they came
	bodies  [][]byte         // opened; nil for a letter that is not sealed
	closed  []bool           // sealed, and does not open
	chunks  []*storedChunk   // pieces of files; nil for other letters
}

// mailIn is a message that was looked at: exactly one of parcel, receipt and reject is set.
type mailIn struct {
	message Message
	from    end
	parcel  *parcelIn
	receipt *postv1.Receipt
	kind    string // parcel or receipt, for counting
	reject  string // why it is worth nothing
}

// Why mail is thrown away unread. It changes nothing but a counter.
const (
	rejectSubject   = "foreign-subject"
	rejectMalformed = "malformed"
	rejectAddress   = "foreign-address"
	rejectUnknown   = "unknown-sender"
	rejectSignature = "bad-signature"
	rejectSeal      = "does-not-open"
)

// read verifies and opens a message. It touches no state.
func (p *Post) read(m Message) mailIn {
	in := mailIn{message: m, kind: "mail"}
	to, lane, from, ok := parseSubject(m.Subject)
	if !ok || !sameAddress(to, p.self) {
		in.reject = rejectSubject
		return in
	}
	in.from = endOf(from, lane)
	var mail postv1.Mail
	if err := proto.Unmarshal(m.Data, &mail); err != nil {
		in.reject = rejectMalformed
		return in
	}
	if !p.keys.Active(from.GetNode(), from.GetService()) {
		in.reject = rejectUnknown
		return in
	}
	switch content := mail.GetContent().(type) {
	case *postv1.Mail_Parcel:
		in.kind = "parcel"
		in.parcel, in.reject = p.readParcel(in.from, content.Parcel)
	case *postv1.Mail_Receipt:
		in.kind = "receipt"
		in.receipt, in.reject = p.readReceipt(in.from, content.Receipt)
	default:
		in.reject = rejectMalformed
	}
	return in
}

func (p *Post) readParcel(from end, parcel *postv1.Parcel) (*parcelIn, string) {
	in := &parcelIn{from: from, header: &postv1.ParcelHeader{}}
	if err := proto.Unmarshal(parcel.GetHeader(), in.header); err != nil {
		return nil, rejectMalformed
	}
	if !sameLink(in.header.GetLink(), from.address(), p.self, from.lane) {
		return nil, rejectAddress
	}
	signed := digest(parcel.GetHeader(), parcel.GetSealed())
	if err := p.keys.VerifyCurrent(from.node, from.service, parcelDomain, signed, parcel.GetSignature()); err != nil {
		return nil, rejectSignature
	}
	plain, err := p.keys.Open(parcelDomain, parcel.GetHeader(), parcel.GetSealed())
	if err != nil {
		return nil, rejectSeal
	}
	var letters postv1.Letters
	if err := proto.Unmarshal(plain, &letters); err != nil {
		return nil, rejectMalformed
	}
	in.letters = letters.GetLetters()
	if err := checkLetters(in.header, in.letters); err != nil {
		p.log.Error("a signed parcel contradicts itself", logging.Peer(from.node, from.service), logging.Err(err))
		return nil, rejectMalformed
	}
	return in, ""
}

func (p *Post) readReceipt(from end, signed *postv1.SignedReceipt) (*postv1.Receipt, string) {
	receipt := &postv1.Receipt{}
	if err := proto.Unmarshal(signed.GetReceipt(), receipt); err != nil {
		return nil, rejectMalformed
	}
	if !sameLink(receipt.GetLink(), p.self, from.address(), from.lane) {
		return nil, rejectAddress
	}
	if err := p.keys.VerifyCurrent(from.node, from.service, receiptDomain, signed.GetReceipt(), signed.GetSignature()); err != nil {
		return nil, rejectSignature
	}
	if err := checkRefusals(p.keys, receipt); err != nil {
		p.log.Error("a signed receipt contradicts itself", logging.Peer(from.node, from.service), logging.Err(err))
		return nil, rejectMalformed
	}
	return receipt, ""
}

// take applies what was read and then, never before, tells the broker.
func (p *Post) take(ctx context.Context, in mailIn, now time.Time) error {
	if _, err := p.settle(ctx, in, now); err != nil {
		if p.db.Err() != nil || ctx.Err() != nil {
			in.message.Nak(retryDelay)
			return err
		}
		if p.heldBefore(in, now) {
			in.message.Ack()
			return nil
		}
		in.message.Nak(retryDelay)
		p.log.Warn("mail could not be applied; it will be tried again", logging.Peer(in.from.node, in.from.service), logging.Err(err))
		return nil
	}
	if in.parcel != nil {
		p.mu.Lock()
		delete(p.held, keyOf(in.parcel))
		p.mu.Unlock()
	}
	in.message.Ack()
	return nil
}

// heldBefore says that the broker holds a parcel already that cannot be applied now, in another message; else it is noted that it is to hold this
// one. The sender repeats a parcel until it has a receipt, and would all its copies be held, they soon filled its place at the hub, where
// its receipts lie too. One that is let go so is not lost, whatever becomes of the other: it is among what is repeated.
func (p *Post) heldBefore(in mailIn, now time.Time) bool {
	if in.parcel == nil || in.message.ID == 0 {
		return false
	}
	key := keyOf(in.parcel)
	p.mu.Lock()
	defer p.mu.Unlock()
	before, there := p.held[key]
	if there && before.id != in.message.ID && now.Before(before.until) {
		return true
	}
	if !there && len(p.held) >= mostHeld {
		maps.DeleteFunc(p.held, func(_ parcelKey, h heldBack) bool { return !now.Before(h.until) })
		if len(p.held) >= mostHeld {
			return false
		}
	}
	p.held[key] = heldBack{in.message.ID, now.Add(heldFor)}
	return false
}

// settle applies what was read, whoever brought it. An error says that it can be tried again.
func (p *Post) settle(ctx context.Context, in mailIn, now time.Time) (done applied, err error) {
	switch {
	case in.reject != "":
		p.counts.add(in.kind+"-in", in.reject)
	case in.parcel != nil:
		if mutant.Off("commit") { // the receipt leaves before what it says is durable
			h := in.parcel.header
			p.oweReceipt(in.from, &postv1.ReceivingState{Link: h.GetLink(), PeerIncarnation: h.GetSenderIncarnation(), Mark: h.GetLastSequence()}, false)
			if _, err := p.sendReceipts(ctx, now); err != nil {
				return done, err
			}
		}
		done, err = p.apply(ctx, in.parcel, now)
		if done.state != nil {
			p.oweReceipt(in.from, done.state, done.resend)
		}
	default:
		done.verdict, err = p.count(ctx, in.from, in.receipt, now)
	}
	if err != nil && p.db.Err() == nil && ctx.Err() == nil {
		p.counts.add(in.kind+"-in", "put-off")
	}
	return done, err
}

// count takes a receipt into the sending end.
func (p *Post) count(ctx context.Context, by end, receipt *postv1.Receipt, now time.Time) (protocol.Verdict, error) {
	var out protocol.Receipted
	var next *postv1.SendingState
	err := p.db.Update(ctx, func(tx *store.Tx) error {
		state, err := p.sendingState(tx, by)
		if err != nil {
			return err
		}
		atMark, err := p.atMark(tx, by, receipt.GetMark())
		if err != nil {
			return err
		}
		next, out = protocol.Count(state, receipt, atMark, now)
		if out.Verdict == protocol.Counted || out.Verdict == protocol.Repeated {
			// In the order of the commits: of receipts that come by the hub and by hand at once, the flight must not keep the earlier one.
			moved := protocol.Moved{Receipted: next.GetReceiptedSequence(), Reset: out.Reset, Resend: out.Resend}
			tx.AfterCommit(func() { p.note(by, moved) })
		}
		if next == state {
			return nil
		}
		if out.Reset { // on every lane: what an earlier life of the receiver wrote counts no more than its receipts
			all := end{node: by.node, service: by.service}
			if err := p.raise(tx, all, receipt.GetReceiverIncarnation()); err != nil {
				return err
			}
		}
		for _, open := range out.Refusals {
			if err := p.learnRefusal(tx, by, open); err != nil {
				return err
			}
		}
		return p.tables.sending.Put(tx, by.key(), next)
	})
	if err != nil {
		return "", err
	}
	p.counts.add("receipt-in", string(out.Verdict))
	p.mu.Lock()
	p.answered[by] = now
	p.mu.Unlock()
	switch out.Verdict {
	case protocol.Overtaken:
		p.overtaken(by, max(receipt.GetSenderIncarnation(), p.incarnation))
	case protocol.Counted:
		if out.LostTo > 0 {
			p.log.Error("a restored receiver lacks letters that are no longer kept",
				logging.Peer(by.node, by.service), logging.Count("first", out.LostFrom), logging.Count("last", out.LostTo))
			p.counts.add("receipt-in", "letters-lost")
		}
	}
	return out.Verdict, nil
}

// atMark is the id of the letter in the outbox at a sequence; nil when there is no such row.
func (p *Post) atMark(r store.Reader, to end, sequence uint64) ([]byte, error) {
	letter, err := p.tables.outbox.Get(r, to.row(sequence))
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return letter.GetLetterId(), err
}

func (p *Post) learnRefusal(tx *store.Tx, by end, open *postv1.OpenRefusal) error {
	letter, err := p.tables.outbox.Get(tx, by.row(open.GetSequence()))
	if errors.Is(err, store.ErrNotFound) {
		return nil // it was learnt when the letter was still kept
	}
	if err != nil {
		return err
	}
	if !refuses(open.GetRefusal(), letter) {
		p.counts.add("receipt-in", "refusal-of-another-letter")
		return nil
	}
	tx.AfterCommit(func() {
		p.counts.add("receipt-in", "refusal")
		p.log.Error("a receiver refused a letter", logging.Peer(by.node, by.service))
	})
	if err := p.chunkRefused(tx, by, letter, open.GetRefusal()); err != nil {
		return err
	}
	if p.onRefused == nil {
		return nil
	}
	return p.onRefused(tx, by.address(), letter, open.GetRefusal())
}
