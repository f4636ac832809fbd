package rules

import (
	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/mutant"
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
	if mutant.Off("ended") {
		return false, nil
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

// MaxAsked is how many units can be asked at once.
const MaxAsked = 8

// Ask says whether the owner can ask one more unit; unit is empty for an agency outside the network.
func Ask(s *custody.State, unit string) error {
	live := s.LiveOffers()
	for _, o := range live {
		if !o.Return && unit != "" && o.Offered.GetToUnit() == unit {
			return fault.New(fault.WrongState, "This unit is being asked already. Wait for its answer, or ask another.",
				"offer", s.Referral+"/offers/"+o.Hash.String())
		}
	}
	switch {
	case len(live) >= MaxAsked:
		return fault.New(fault.WrongState, "Eight units are being asked already. Take an offer back, then ask another.", "state", custody.StateName(s.State))
	case s.ConsentEnded && s.Submitted.GetOverride() == nil:
		return fault.New(fault.ConsentMissing, "The consent has ended, so nobody more may be asked. Cancel the referral, or begin another on a new consent or a legal basis.")
	}
	return nil
}

// Cancel says whether a node can cancel a referral.
func Cancel(s *custody.State, node string) error {
	switch {
	case s.Terminal():
		return nil // the chain says it better
	case s.Owner != node && s.Origin == node && !mutant.Off("cancel"):
		return fault.New(fault.NotOwner, "The person was handed over, so the referral cannot be cancelled any more. Ask for the person's return (requestReturn).")
	case s.Owner == node && s.Owner != s.Origin:
		return fault.New(fault.WrongState, "Only the first owner cancels. Refer the person on, or complete the referral.", "state", custody.StateName(s.State))
	case s.Owner == node && s.Outside:
		return fault.New(fault.WrongState, "The person went to an agency outside the network, so the referral cannot be cancelled any more. When the person is back, assert the arrival (assertArrival) if they did not come there, else record the return (recordReturn).",
			"state", custody.StateName(s.State))
	case s.Owner == node && s.Dispatched != nil && !s.Leaves():
		return fault.New(fault.WrongState, "The person has left, so the referral cannot be cancelled any more. Once the person is back, record the return (recordReturn).",
			"state", custody.StateName(s.State))
	}
	return nil
}

// AskBack says whether a node can ask for the person's return. waits: it has asked, and has no answer yet. again: it has asked in
// this ownership, and its request stands.
func AskBack(s *custody.State, node string, waits bool) (again bool, err error) {
	for _, o := range s.LiveOffers() {
		waits = waits || o.Return && o.Offered.GetToNode() == node
	}
	switch {
	case s.Owner == node:
		return false, fault.New(fault.WrongState, "This node owns the referral, so there is nobody to ask. Cancel it, or record the return.", "state", custody.StateName(s.State))
	case s.Origin != node:
		return false, fault.New(fault.WrongState, "Only the first owner asks for a return.", "state", custody.StateName(s.State))
	case waits:
		return true, nil
	case s.Terminal():
		return false, fault.New(fault.WrongState, "The referral is over ("+custody.StateName(s.State)+"), so there is no return to ask for.", "state", custody.StateName(s.State))
	}
	return false, nil
}

// SameEpoch says that a request for return was made in the ownership that the chain is in.
func SameEpoch(request *custodyv1.SignedReply, s *custody.State) bool {
	reply := &custodyv1.Reply{}
	return proto.Unmarshal(request.GetReply(), reply) == nil && reply.GetReturnRequested().GetEpoch() == s.Epoch
}

// WithdrawAcceptance says whether an acceptance can be taken back now. again: it was already. Before it was accepted an offer is
// declined, and after the promise there is only the request to be let go.
func WithdrawAcceptance(state custodyv1.OfferState) (again bool, err error) {
	switch state {
	case custodyv1.OfferState_OFFER_STATE_ACCEPTING, custodyv1.OfferState_OFFER_STATE_ACCEPTED, custodyv1.OfferState_OFFER_STATE_CONFIRMED:
		return false, nil
	case custodyv1.OfferState_OFFER_STATE_LAPSED:
		return true, nil
	case custodyv1.OfferState_OFFER_STATE_READY:
		return false, fault.New(fault.WrongState, "The place is promised already. Ask to be released.", "state", custody.OfferStateName(state))
	}
	return false, closed("taken back", state)
}

// Promised says that this node has promised a place on an offer, or has kept that promise.
func Promised(state custodyv1.OfferState) bool {
	return state == custodyv1.OfferState_OFFER_STATE_READY || state == custodyv1.OfferState_OFFER_STATE_FULFILLED
}

// Assert says what follows when a person is at a node that holds the chain: write, as its owner, the arrival; or tell the owner. It is
// refused where the chain says that the node has the person already.
func Assert(s *custody.State, node string) (write bool, err error) {
	onTheRoad := s.Care != node || s.State == custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT || s.State == custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW
	switch {
	case s.Submitted.GetKind() != custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT:
		return false, fault.New(fault.WrongState, "Nobody moves in a referral for a service. Say what was given on its offer.")
	case s.Owner == node && onTheRoad:
		return true, nil
	case s.Owner == node && s.Outside:
		return false, fault.New(fault.WrongState, "By the referral the person is with an agency outside the network. Did the person come back, record the return (recordReturn).",
			"state", custody.StateName(s.State))
	case s.Owner == node:
		return false, fault.New(fault.WrongState, "By the referral the person is here already. Read it again.", "state", custody.StateName(s.State))
	case s.Care == node:
		return false, fault.New(fault.WrongState, "This node has the duty of care still. Tell the owner that the person was found here.", "owner_node", s.Owner)
	}
	return false, nil
}

// Arrive refuses to record as an arrival here what is said of an agency outside the network.
func Arrive(s *custody.State) error {
	if !s.Outside {
		return nil
	}
	return fault.New(fault.WrongState, "The person went to an agency outside the network. Enter what it says of the arrival (recordExternalAnswer); if the person is here, assert the arrival (assertArrival).",
		"state", custody.StateName(s.State))
}

// Return refuses to record the return of a person who, by the referral, did not come to the agency outside the network yet.
func Return(s *custody.State) error {
	if !s.Outside || s.State != custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT && s.State != custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW {
		return nil
	}
	return fault.New(fault.WrongState, "By the referral the person did not come to the agency outside the network. If the person is here, assert the arrival (assertArrival), then record the return.",
		"state", custody.StateName(s.State))
}

// Say is the state in which a reply leaves an offer made to this node, by the rules that its owner's chain goes by too. That an
// acceptance waits for the shelter is known to this node alone: to all others the offer is what it was before.
func Say(what string, own custodyv1.OfferState, r *custodyv1.Reply) (custodyv1.OfferState, error) {
	if own == custodyv1.OfferState_OFFER_STATE_ACCEPTING && r.GetAcceptanceWithdrawn() != nil {
		own = custodyv1.OfferState_OFFER_STATE_RECEIVED
	}
	next, ok := custody.Answer(own, r)
	if !ok {
		return own, closed(what, own)
	}
	return next, nil
}

// Unheld is the state to which an acceptance falls back when the shelter refuses the bed.
func Unheld(r *referralv1.OfferRecord) custodyv1.OfferState {
	if r.GetReviewTime() != nil {
		return custodyv1.OfferState_OFFER_STATE_WAITLISTED
	}
	return custodyv1.OfferState_OFFER_STATE_RECEIVED
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
