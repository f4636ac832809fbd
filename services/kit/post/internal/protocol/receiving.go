package protocol

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/mutant"
)

// MaxOpenRefusals bounds the refusals of which the sender may not know, per link: they all must
// fit into one receipt. Beyond it nothing more is applied until the sender shows that it knows some.
const MaxOpenRefusals = 64

// Accepted is the effect of a parcel's header on the receiving end.
type Accepted struct {
	// Verdict is Counted when there are letters to apply, else Repeated, Gap, Stale or Overtaken.
	Verdict Verdict
	// First is the sequence of the first letter to apply when the verdict is Counted.
	First uint64
	// MissedFrom and MissedTo bound letters this end lost by a restore and the sender no longer
	// keeps; both 0 when there are none.
	MissedFrom, MissedTo uint64
}

// Accept takes the header of a verified parcel into the receiving end, whose service runs in
// incarnation own. It returns the new state; the one given is not changed. The letters follow, one
// by one, through [Settle].
func Accept(state *postv1.ReceivingState, own uint64, header *postv1.ParcelHeader, now time.Time) (*postv1.ReceivingState, Accepted) {
	if header.GetReceiverIncarnation() > own && !mutant.Off("life") {
		return state, Accepted{Verdict: Overtaken}
	}
	if header.GetSenderIncarnation() < state.GetPeerIncarnation() && !mutant.Off("fence") {
		return state, Accepted{Verdict: Stale}
	}
	next := proto.CloneOf(state)
	next.HeardTime = timestamppb.New(now)
	if header.GetSenderIncarnation() > state.GetPeerIncarnation() {
		next.PeerIncarnation = header.GetSenderIncarnation()
		next.Mark, next.MarkLetterId = 0, nil
		next.OpenRefusals = nil
	}
	next.OpenRefusals = dropKnown(next.GetOpenRefusals(), header.GetReceiptedSequence())
	out := Accepted{Verdict: Counted}
	if floor := header.GetFloorSequence(); floor > next.GetMark()+1 {
		out.MissedFrom, out.MissedTo = next.GetMark()+1, floor-1
		next.Mark, next.MarkLetterId = floor-1, nil
	}
	// What the sender holds receipted it has from this end's own receipts, in the lives both are in: beyond the mark it is of letters that
	// this end has lost.
	if header.GetReceiverIncarnation() == own && header.GetReceiptedSequence() > next.GetMark() && !mutant.Off("life") {
		return state, Accepted{Verdict: Overtaken}
	}
	if mutant.Off("gap") && header.GetFirstSequence() > next.GetMark()+1 { // what is missing is passed over
		next.Mark, next.MarkLetterId = header.GetFirstSequence()-1, nil
	}
	switch {
	case header.GetFirstSequence() > next.GetMark()+1:
		out.Verdict = Gap
	case header.GetLastSequence() <= next.GetMark():
		out.Verdict = Repeated
	default:
		out.First = next.GetMark() + 1
	}
	return next, out
}

// TookOther says that the sender of a parcel has taken in, of the life in which this end runs, a letter that this end has not queued: this
// end was put back to an older copy, and what the parcel holds may answer what it has lost. sent is of the mark's lane, which need not be the
// parcel's. The id of the outbox letter at that sequence is atMark, nil when there is no such row.
func TookOther(sent *postv1.SendingState, taken *postv1.TakenMark, atMark []byte) bool {
	return taken.GetIncarnation() == sent.GetOwnIncarnation() && notQueued(sent, taken.GetSequence(), taken.GetLetterId(), atMark) && !mutant.Off("life")
}

// Full says whether no letter may be applied before the sender shows that it knows refusals.
func Full(state *postv1.ReceivingState) bool { return len(state.GetOpenRefusals()) >= MaxOpenRefusals }

// Settle moves the mark of an accepted state over the next letter, which was applied, or known
// already, or refused. It changes the state given. A sequence at or below the mark (a repeated
// letter) only has its refusal told again.
func Settle(state *postv1.ReceivingState, sequence uint64, letterID []byte, refusal *postv1.SignedRefusal) {
	if sequence == state.GetMark()+1 {
		state.Mark, state.MarkLetterId = sequence, letterID
	}
	if refusal == nil || sequence > state.GetMark() || Full(state) {
		return
	}
	for _, open := range state.GetOpenRefusals() {
		if open.GetSequence() == sequence {
			return
		}
	}
	state.OpenRefusals = append(state.OpenRefusals, &postv1.OpenRefusal{Sequence: sequence, Refusal: refusal})
}

// Receipt writes the receipt that a receiving end owes at any time.
func Receipt(state *postv1.ReceivingState, own uint64, resend bool, now time.Time) *postv1.Receipt {
	return &postv1.Receipt{
		Link:                state.GetLink(),
		SenderIncarnation:   state.GetPeerIncarnation(),
		ReceiverIncarnation: own,
		Mark:                state.GetMark(),
		MarkLetterId:        state.GetMarkLetterId(),
		Refusals:            state.GetOpenRefusals(),
		Resend:              resend,
		Time:                timestamppb.New(now),
	}
}

// dropKnown removes refusals the sender has shown that it knows.
func dropKnown(open []*postv1.OpenRefusal, receipted uint64) []*postv1.OpenRefusal {
	var left []*postv1.OpenRefusal
	for _, o := range open {
		if o.GetSequence() > receipted {
			left = append(left, o)
		}
	}
	return left
}
