package custody

import (
	"bytes"
	"slices"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
)

// State is what a chain amounts to.
type State struct {
	// Referral is its name, such as `nodes/balochistan/referrals/0192…`.
	Referral string
	// Submitted is what it began with, as corrected.
	Submitted *custodyv1.Submitted
	// State of the referral.
	State custodyv1.ReferralState
	// Origin is the node it began at; it never changes.
	Origin string
	// Owner is the one node that may write the next event.
	Owner string
	// Care is the node that has the duty of care by this chain (I6): the origin, then whoever last wrote Arrived. The giver keeps
	// the duty until it holds that event.
	Care string
	// Giver is the node that handed it over last; empty before a handover.
	Giver string
	// Former are the nodes that owned it before, oldest first, the current owner not among them.
	Former []string
	// Epoch counts ownerships, from 1.
	Epoch uint32
	// Returns counts the requests for the person's return that this ownership has recorded.
	Returns uint32
	// Sequence is the number of events.
	Sequence uint64
	// Head is the hash of the last event.
	Head Hash
	// Offers are the units asked, in order; also a first owner that asked for the person's return.
	Offers []*Offer
	// Dispatched is the last handover that was not refused; nil before it.
	Dispatched *custodyv1.Dispatched
	// Handover is the last handover while its receiver has written nothing: it may still be refused.
	Handover *Handover
	// Assertions are arrivals asserted and recorded, by the hash of the event that recorded them.
	Assertions map[Hash]Assertion
	// Arrivals counts those at each node.
	Arrivals map[string]uint32
	// Arrived is the last arrival, as corrected; nil before it.
	Arrived *custodyv1.Arrived
	// CheckedIn is the last that was heard of the road; nil for nothing.
	CheckedIn *custodyv1.CheckedIn
	// NoShow says that the person did not come; nil while that was not so.
	NoShow *custodyv1.NoShow
	// Found says that a person who did not come was found after all.
	Found bool
	// ServiceStarted names services that began; nil before.
	ServiceStarted *custodyv1.ServiceStarted
	// Completed is the outcome, as corrected; nil before.
	Completed *custodyv1.Completed
	// Reason is why it was cancelled or returned, a code.
	Reason string
	// Outside says that the person is with an agency outside the network, or on the way to it. Owner and Care are the origin then.
	Outside bool
	// ConsentEnded says that nothing more of the person's data may be shared.
	ConsentEnded bool
	// Begin and Last are the times of the first and the last event, as their writers said.
	Begin, Last time.Time

	fallback custodyv1.ReferralState // what the referral is when the chosen offer falls
	events   map[Hash]*custodyv1.Event
	wrong    map[Hash]bool // superseded by a correction
	late     bool          // a service given was recorded after the completion, which may be said anew
}

// Handover is a handover that may still be refused.
type Handover struct {
	// By wrote it.
	By string
	// Event is its hash.
	Event Hash
	// from is what the referral was before the offer was chosen.
	from custodyv1.ReferralState
	// giver is who had handed it over before.
	giver string
	// former are the former owners before it, and before the last handover before it.
	former []string
	before *custodyv1.Dispatched
	// outside says that the person was with an agency outside the network.
	outside bool
}

// Assertion is an arrival that was asserted.
type Assertion struct {
	// Node that asserts it.
	Node string
	// Arrival it asserts.
	Arrival *custodyv1.ArrivalAsserted
}

// Offer is one asked unit's part.
type Offer struct {
	// Hash names it: that of the Offered event, or of the event that recorded a request to return.
	Hash Hash
	// By is the owner that made it, or that recorded the request to return: who is answered.
	By string
	// Offered is what was asked. For a return it names node and unit that take the person back.
	Offered *custodyv1.Offered
	// Return: a first owner asked for the person's return; this counts as its acceptance.
	Return bool
	// State of the offer.
	State custodyv1.OfferState
	// Accepted is the acceptance that stands or stood.
	Accepted *custodyv1.Accepted
	// Ready is the promise that stands or stood.
	Ready *custodyv1.Ready
	// Waitlisted is when a place is looked for again; nil for never.
	Waitlisted *custodyv1.Waitlisted
	// Listed is when that was recorded; zero for never.
	Listed time.Time
	// Asked is the SHA-256 of the question that is not answered; nil for none.
	Asked []byte
	// Question is that question.
	Question *custodyv1.Question
	// Answered is when a question was last answered; zero for never.
	Answered time.Time
	// Proposed is when the person can be met; nil where nothing was proposed.
	Proposed *custodyv1.ScheduleProposed
	// ReleaseRequested: the destination asks to be let go, and has no answer yet; nil for no.
	ReleaseRequested *custodyv1.ReleaseRequested
	// Outcome is what the destination of a referral for a service reported; nil before.
	Outcome *custodyv1.OutcomeReported
	// Reason is why it is over, a code; empty where none was given.
	Reason string
	// Time is when it was made.
	Time time.Time
}

// States of offers and referrals, short.
const (
	offerSent        = custodyv1.OfferState_OFFER_STATE_SENT
	offerReceived    = custodyv1.OfferState_OFFER_STATE_RECEIVED
	offerAccepted    = custodyv1.OfferState_OFFER_STATE_ACCEPTED
	offerConfirmed   = custodyv1.OfferState_OFFER_STATE_CONFIRMED
	offerReady       = custodyv1.OfferState_OFFER_STATE_READY
	offerFulfilled   = custodyv1.OfferState_OFFER_STATE_FULFILLED
	offerDeclined    = custodyv1.OfferState_OFFER_STATE_DECLINED
	offerWithdrawn   = custodyv1.OfferState_OFFER_STATE_WITHDRAWN
	offerInformation = custodyv1.OfferState_OFFER_STATE_INFORMATION_REQUESTED
	offerWaitlisted  = custodyv1.OfferState_OFFER_STATE_WAITLISTED
	offerLapsed      = custodyv1.OfferState_OFFER_STATE_LAPSED
	offerExpired     = custodyv1.OfferState_OFFER_STATE_EXPIRED

	isSubmitted = custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED
	isConfirmed = custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED
	isReady     = custodyv1.ReferralState_REFERRAL_STATE_READY
	isInTransit = custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT
	isArrived   = custodyv1.ReferralState_REFERRAL_STATE_ARRIVED
	isInService = custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE
	isCompleted = custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
	isCancelled = custodyv1.ReferralState_REFERRAL_STATE_CANCELLED
	isExpired   = custodyv1.ReferralState_REFERRAL_STATE_EXPIRED
	isNoShow    = custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW
	isReturned  = custodyv1.ReferralState_REFERRAL_STATE_RETURNED

	placement = custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT
	service   = custodyv1.ReferralKind_REFERRAL_KIND_SERVICE
)

// Live says that the offer can still lead to a placement or a service.
func (o *Offer) Live() bool {
	switch o.State {
	case offerSent, offerReceived, offerInformation, offerWaitlisted, offerAccepted, offerConfirmed, offerReady:
		return true
	}
	return false
}

// Terminal says that the owner is done with the referral. An arrival outranks even that, and corrections may follow.
func (s *State) Terminal() bool {
	switch s.State {
	case isCompleted, isCancelled, isExpired, isNoShow, isReturned:
		return true
	}
	return false
}

// Leaves says that the person still has to leave the place where the referral began: nobody was handed over, or each handover was
// refused.
func (s *State) Leaves() bool {
	return s.State == isSubmitted || (s.State == isConfirmed || s.State == isReady) && s.fallback == isSubmitted
}

// Offer finds an offer by its hash; nil when the chain has none such.
func (s *State) Offer(h []byte) *Offer {
	for _, o := range s.Offers {
		if bytes.Equal(o.Hash[:], h) {
			return o
		}
	}
	return nil
}

// Chosen is the offer that is confirmed or ready, or else the last that was fulfilled; nil where there is none.
func (s *State) Chosen() *Offer {
	var fulfilled *Offer
	for _, o := range s.Offers {
		switch o.State {
		case offerConfirmed, offerReady:
			return o
		case offerFulfilled:
			fulfilled = o
		}
	}
	return fulfilled
}

// LiveOffers are those that can still lead somewhere, in order.
func (s *State) LiveOffers() (live []*Offer) {
	for _, o := range s.Offers {
		if o.Live() {
			live = append(live, o)
		}
	}
	return live
}

// Unit is the unit that answers for the referral at its owner: the one whose offer was fulfilled there last, the one that
// asserted the arrival there, else the one that submitted it.
func (s *State) Unit() string { return s.UnitAt(s.Owner) }

// UnitAt is the unit of a node that answers for its part in the referral; empty where the node has none.
func (s *State) UnitAt(node string) string {
	if node == s.Owner || node != s.Origin {
		if hash := s.Dispatched.GetArrival(); s.Dispatched.GetToNode() == node && len(hash) == len(Hash{}) {
			return s.Assertions[Hash(hash)].Arrival.GetUnit()
		}
		for _, o := range slices.Backward(s.Offers) {
			if o.State == offerFulfilled && o.Offered.GetToNode() == node {
				return o.Offered.GetToUnit()
			}
		}
		if unit := s.unitOfArrival(node); unit != "" {
			return unit
		}
	}
	if node == s.Origin {
		return s.Submitted.GetUnit()
	}
	return ""
}

// unitOfArrival is the unit of a node that asserted an arrival there last; empty where none did.
func (s *State) unitOfArrival(node string) string {
	var last *custodyv1.ArrivalAsserted
	for _, a := range s.Assertions {
		if a.Node == node && a.Arrival.GetOrdinal() > last.GetOrdinal() {
			last = a.Arrival
		}
	}
	return last.GetUnit()
}

// Asked says that a node was ever asked, or asked for a return.
func (s *State) Asked(node string) bool {
	return slices.ContainsFunc(s.Offers, func(o *Offer) bool { return o.Offered.GetToNode() == node })
}

// Owned says that a node began the referral, owns it or owned it before.
func (s *State) Owned(node string) bool {
	return node == s.Origin || node == s.Owner || slices.Contains(s.Former, node)
}
