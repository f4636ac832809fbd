package protocol

import (
	"bytes"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/mutant"
)

// Verdict is what became of a parcel or a receipt; the shell counts them.
type Verdict string

// Verdicts of this package. The shell adds its own for mail that never gets so far.
const (
	// Counted is a receipt that moved the link, or a parcel with letters to apply.
	Counted Verdict = "counted"
	// Repeated says what was known already.
	Repeated Verdict = "repeated"
	// Gap is a parcel that begins beyond the next letter.
	Gap Verdict = "gap"
	// Stale names an incarnation that is no longer current.
	Stale Verdict = "stale"
	// Overtaken knows more of this end than this end does itself: this end was rolled back without
	// being told. Nothing is applied or believed; a person must restore it properly.
	Overtaken Verdict = "overtaken"
)

// Receipted is the effect of a receipt on the sending end.
type Receipted struct {
	// Verdict is Counted, Repeated, Stale or Overtaken. Counted and the first Overtaken changed the
	// state.
	Verdict Verdict
	// Refusals are those the sender learns now, with the letters' sequences.
	Refusals []*postv1.OpenRefusal
	// Reset is set when the receiver has a new incarnation: its mark may be lower than before.
	Reset bool
	// Resend is set when the receiver saw letters beyond its mark.
	Resend bool
	// LostFrom and LostTo bound the letters that a restored receiver lacks and the outbox no longer
	// keeps; both 0 when there are none. Whoever wrote them must write them again.
	LostFrom, LostTo uint64
}

// notQueued says that this end has queued no letter at a mark, or another one.
func notQueued(state *postv1.SendingState, mark uint64, id, atMark []byte) bool {
	return mark >= state.GetNextSequence() || len(id) > 0 && atMark != nil && !bytes.Equal(id, atMark)
}

// Count takes a verified receipt into the sending end and returns the new state. The state given
// is not changed. The id of the outbox letter at the receipt's mark is atMark, nil when there is no
// such row.
func Count(state *postv1.SendingState, receipt *postv1.Receipt, atMark []byte, now time.Time) (*postv1.SendingState, Receipted) {
	current := receipt.GetSenderIncarnation() == state.GetOwnIncarnation()
	unknown := notQueued(state, receipt.GetMark(), receipt.GetMarkLetterId(), atMark)
	switch {
	case state.GetOvertaken():
		return state, Receipted{Verdict: Overtaken}
	case mutant.Off("life") && current && unknown:
		return state, Receipted{Verdict: Stale}
	case receipt.GetSenderIncarnation() > state.GetOwnIncarnation(),
		current && unknown:
		next := proto.CloneOf(state)
		next.Overtaken = true
		return next, Receipted{Verdict: Overtaken}
	case !current && !mutant.Off("rcptinc"), receipt.GetReceiverIncarnation() < state.GetPeerIncarnation():
		return state, Receipted{Verdict: Stale}
	}
	out := Receipted{Verdict: Counted, Resend: receipt.GetResend(), Refusals: receipt.GetRefusals()}
	if receipt.GetReceiverIncarnation() > state.GetPeerIncarnation() {
		out.Reset = true
	} else if receipt.GetMark() < state.GetReceiptedSequence() {
		return state, Receipted{Verdict: Stale}
	} else if receipt.GetMark() == state.GetReceiptedSequence() {
		return state, Receipted{Verdict: Repeated, Resend: receipt.GetResend()}
	}
	next := proto.CloneOf(state)
	next.PeerIncarnation = receipt.GetReceiverIncarnation()
	next.ReceiptedSequence = receipt.GetMark()
	next.HeardTime = timestamppb.New(now)
	floor := state.GetFloorSequence()
	if mutant.Off("retain") || mutant.Off("resync") { // nothing is kept; without resync, since long enough ago
		floor = max(floor, state.GetReceiptedSequence()+1)
	}
	if receipt.GetMark()+1 < floor {
		out.LostFrom, out.LostTo = receipt.GetMark()+1, floor-1
		next.ReceiptedSequence = floor - 1
		if mutant.Off("resync") {
			next.FloorSequence = floor
		}
	}
	return next, out
}

// keepLooks is in how many parts the time of keeping is counted. A longer time between two looks, whether a clock leapt or the service was
// off, counts as one part: what was receipted lately stays, however far ahead the clock says that it is.
const keepLooks = 16

// Keep decides which receipted letters have been kept long enough: those receipted a full keep ago, as far as time was seen to pass by calls
// of Keep, each within a sixteenth of it after the one before. It raises the floor by at most most letters at once and returns the new state and
// whether anything changed; the caller deletes the rows below the new floor.
func Keep(state *postv1.SendingState, keep time.Duration, most uint64, now time.Time) (*postv1.SendingState, bool) {
	checkpoint, floor := state.GetCheckpointSequence(), state.GetFloorSequence()
	if state.GetReceiptedSequence() < floor {
		return state, false // nothing is kept
	}
	next := proto.CloneOf(state)
	if at := state.GetCheckpointTime(); at != nil && state.GetCheckpointAge().AsDuration() < keep {
		part, passed := keep/keepLooks, now.Sub(at.AsTime())
		if -keep <= passed && passed < part {
			return state, false
		}
		age := state.GetCheckpointAge().AsDuration() + min(max(passed, 0), part) // nothing where a clock that was far ahead was set back
		next.CheckpointTime, next.CheckpointAge = timestamppb.New(now), durationpb.New(age)
		if age < keep {
			return next, true
		}
	}
	// After a restore of the receiver the receipts may stand lower than they once did.
	if checkpoint = min(checkpoint, state.GetReceiptedSequence()); checkpoint >= floor {
		next.FloorSequence = min(checkpoint+1, floor+most)
	}
	if next.GetFloorSequence() > checkpoint {
		next.CheckpointSequence = state.GetReceiptedSequence()
		next.CheckpointTime, next.CheckpointAge = timestamppb.New(now), nil
	}
	return next, true
}

// Begin readies the sending end for a new incarnation, which counts from 1 again: the caller
// renumbers the rows that the outbox still keeps, in their order. So a restored sender tells all it
// still has, and the receiver knows the letters by their ids.
func Begin(state *postv1.SendingState, own, kept uint64) *postv1.SendingState {
	return &postv1.SendingState{
		Link:            state.GetLink(),
		OwnIncarnation:  own,
		PeerIncarnation: state.GetPeerIncarnation(),
		NextSequence:    kept + 1,
		FloorSequence:   1,
		HeardTime:       state.GetHeardTime(),
	}
}
