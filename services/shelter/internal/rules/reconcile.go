package rules

import (
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/mutant"
)

// Mend is what is done to a hold that serves an offer, so that both files say the same.
type Mend int

// The ways to mend.
const (
	// Keep: nothing is wrong, or it is not for us to say.
	Keep Mend = iota
	// GiveBack: the hold serves nothing any more, or is a tentative one that a restore has made doubtful.
	GiveBack
	// Promise: the place is promised, and the hold is to say so.
	Promise
	// Fill: the person has come, and the bed is to say so.
	Fill
	// RenewPromise: the place is promised, and the hold is gone with the restore: it is entered anew, if there is room.
	RenewPromise
	// RenewStay is RenewPromise for a person who has come.
	RenewStay
	// Lost: another node counts on the place, and its hold was ended here, or is unknown.
	Lost
)

// Reconcile says what becomes of a hold, nil for none, by the stage of its offer; STAGE_UNSPECIFIED for an offer that is not on the
// list of live ones. A restored store keeps promises and people, and no tentative holds: meanwhile the beds may have been given to
// others (DESIGN section 4). unknown says that the list names a hold that the store does not have. No hold is ever removed: the store is an
// older copy, though nobody has said so; and no event will say that a tentative hold is gone.
func Reconcile(h *shelterv1.Hold, stage shelterv1.LiveOffer_Stage, restored, unknown bool) Mend {
	state := h.GetState() // unspecified where there is none
	restored = restored || unknown
	held, confirmed, occupied := state == shelterv1.Hold_STATE_HELD, state == shelterv1.Hold_STATE_CONFIRMED, state == shelterv1.Hold_STATE_OCCUPIED
	live := held || confirmed
	switch stage {
	case shelterv1.LiveOffer_STAGE_TENTATIVE:
		if live && restored && !mutant.Off("drop") {
			return GiveBack
		}
		if unknown {
			return Lost
		}
	case shelterv1.LiveOffer_STAGE_PROMISED:
		switch {
		case held:
			return Promise
		case confirmed, occupied:
		case restored:
			return RenewPromise
		default:
			return Lost
		}
	case shelterv1.LiveOffer_STAGE_ARRIVED:
		switch {
		case live:
			return Fill
		case !occupied && restored:
			return RenewStay
		}
	default:
		if live && !mutant.Off("given up") {
			return GiveBack
		}
	}
	return Keep
}
