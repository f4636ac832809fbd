package rules

import (
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
)

// Accept says whether an offer made to this node can be accepted now. again: it is accepted
// already or about to be, and answers as it stands.
func Accept(state custodyv1.OfferState) (again bool, err error) {
	switch state {
	case custodyv1.OfferState_OFFER_STATE_RECEIVED, custodyv1.OfferState_OFFER_STATE_WAITLISTED:
		return false, nil
	case custodyv1.OfferState_OFFER_STATE_ACCEPTING, custodyv1.OfferState_OFFER_STATE_ACCEPTED,
		custodyv1.OfferState_OFFER_STATE_CONFIRMED, custodyv1.OfferState_OFFER_STATE_READY,
		custodyv1.OfferState_OFFER_STATE_FULFILLED:
		return true, nil
	}
	return false, closed("accepted", state)
}

// Decline says whether an offer made to this node can be declined now. again: it is declined
// already.
func Decline(state custodyv1.OfferState) (again bool, err error) {
	switch state {
	case custodyv1.OfferState_OFFER_STATE_RECEIVED, custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED, custodyv1.OfferState_OFFER_STATE_WAITLISTED:
		return false, nil
	case custodyv1.OfferState_OFFER_STATE_DECLINED:
		return true, nil
	}
	return false, closed("declined", state)
}

func closed(what string, state custodyv1.OfferState) error {
	return fault.New(fault.WrongState,
		"The offer cannot be "+what+": it is "+custody.OfferStateName(state)+". Read it again to see what can be done.",
		"state", custody.OfferStateName(state))
}

// Follow is the state an offer made to this node takes when the owner's chain says what became of it: chosen, fulfilled, or over.
// What this node said itself last stays: the owner will hear of it.
func Follow(own, chain custodyv1.OfferState) custodyv1.OfferState {
	switch chain {
	case custodyv1.OfferState_OFFER_STATE_CONFIRMED:
		if own == custodyv1.OfferState_OFFER_STATE_ACCEPTED {
			return chain
		}
	case custodyv1.OfferState_OFFER_STATE_FULFILLED, custodyv1.OfferState_OFFER_STATE_WITHDRAWN, custodyv1.OfferState_OFFER_STATE_EXPIRED:
		if Open(own) {
			return chain
		}
	}
	return own
}

// Open says that an offer made to this node is not over.
func Open(state custodyv1.OfferState) bool {
	o := custody.Offer{State: state}
	return o.Live() || state == custodyv1.OfferState_OFFER_STATE_ACCEPTING
}

// Hear is the state an offer made to this node takes with an event of its owner that stands alone.
func Hear(own custodyv1.OfferState, e *custodyv1.Event) custodyv1.OfferState {
	switch {
	case e.GetOfferWithdrawn() != nil:
		return Follow(own, custodyv1.OfferState_OFFER_STATE_WITHDRAWN)
	case e.GetOfferExpired() != nil:
		return Follow(own, custodyv1.OfferState_OFFER_STATE_EXPIRED)
	case e.GetAnswered() != nil && own == custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED:
		return custodyv1.OfferState_OFFER_STATE_RECEIVED
	}
	return own
}
