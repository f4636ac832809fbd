package custody

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
)

// State is what a chain amounts to.
type State struct {
	// Referral is its name, such as `nodes/balochistan/referrals/0192…`.
	Referral string
	// Submitted is what it began with.
	Submitted *custodyv1.Submitted
	// State of the referral.
	State custodyv1.ReferralState
	// Origin is the node it began at; it never changes.
	Origin string
	// Owner is the one node that may write the next event.
	Owner string
	// Former are the nodes that owned it before, oldest first, the current owner not among them.
	Former []string
	// Epoch counts ownerships, from 1.
	Epoch uint32
	// Sequence is the number of events.
	Sequence uint64
	// Head is the hash of the last event.
	Head Hash
	// Offers are the units asked, in order.
	Offers []*Offer
	// Dispatched is the last handover; nil before it.
	Dispatched *custodyv1.Dispatched
	// Arrived is the last arrival; nil before it.
	Arrived *custodyv1.Arrived
	// ServiceStarted names services that began; nil before.
	ServiceStarted *custodyv1.ServiceStarted
	// Completed is the end; nil before it.
	Completed *custodyv1.Completed
	// Begin and Last are the times of the first and the last event, as their writers said.
	Begin, Last time.Time
}

// Offer is one asked unit's part.
type Offer struct {
	// Hash names it.
	Hash Hash
	// Offered is what was asked.
	Offered *custodyv1.Offered
	// State of the offer.
	State custodyv1.OfferState
	// Accepted is the acceptance that stands or stood.
	Accepted *custodyv1.Accepted
	// Ready is the promise that stands or stood.
	Ready *custodyv1.Ready
	// Reason is why it was declined, code of the list `decline`.
	Reason string
	// Time is when it was made.
	Time time.Time
}

// Live says that the offer can still lead to a placement.
func (o *Offer) Live() bool {
	switch o.State {
	case custodyv1.OfferState_OFFER_STATE_SENT, custodyv1.OfferState_OFFER_STATE_RECEIVED,
		custodyv1.OfferState_OFFER_STATE_ACCEPTED, custodyv1.OfferState_OFFER_STATE_CONFIRMED,
		custodyv1.OfferState_OFFER_STATE_READY:
		return true
	}
	return false
}

// Terminal says that nothing can follow.
func (s *State) Terminal() bool {
	return s.State == custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
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

// Chosen is the offer that is confirmed, ready or fulfilled; nil while none is.
func (s *State) Chosen() *Offer {
	for _, o := range s.Offers {
		switch o.State {
		case custodyv1.OfferState_OFFER_STATE_CONFIRMED, custodyv1.OfferState_OFFER_STATE_READY,
			custodyv1.OfferState_OFFER_STATE_FULFILLED:
			return o
		}
	}
	return nil
}

// Unit is the unit that answers for the referral at its owner: the origin's while the origin
// owns it, then the one whose offer was fulfilled.
func (s *State) Unit() string {
	if s.Owner != s.Origin {
		for _, o := range slices.Backward(s.Offers) {
			if o.State == custodyv1.OfferState_OFFER_STATE_FULFILLED && o.Offered.GetToNode() == s.Owner {
				return o.Offered.GetToUnit()
			}
		}
	}
	return s.Submitted.GetUnit()
}

// Name is an event's kind in the field's words, for errors and logs.
func Name(e *custodyv1.Event) string {
	switch b := e.GetBody().(type) {
	case *custodyv1.Event_Submitted:
		return "submit"
	case *custodyv1.Event_Offered:
		return "offer"
	case *custodyv1.Event_ReplyRecorded:
		return "reply"
	case *custodyv1.Event_Confirmed:
		return "confirm"
	case *custodyv1.Event_Dispatched:
		return "dispatch"
	case *custodyv1.Event_Arrived:
		return "arrival"
	case *custodyv1.Event_ServiceStarted:
		return "start of service"
	case *custodyv1.Event_Completed:
		return "completion"
	case nil:
		return "an event of a later version"
	default:
		return fmt.Sprintf("%T", b)
	}
}

// fold takes one event whose position is checked. It checks all before it changes anything.
func (s *State) fold(l Link) error {
	var err error
	switch b := l.Event.GetBody().(type) {
	case *custodyv1.Event_Submitted:
		err = s.foldSubmitted(l, b.Submitted)
	case *custodyv1.Event_Offered:
		err = s.foldOffered(l, b.Offered)
	case *custodyv1.Event_ReplyRecorded:
		err = s.foldReply(l, b.ReplyRecorded)
	case *custodyv1.Event_Confirmed:
		err = s.foldConfirmed(l, b.Confirmed)
	case *custodyv1.Event_Dispatched:
		err = s.foldDispatched(l, b.Dispatched)
	case *custodyv1.Event_Arrived:
		err = s.foldStep(l, custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT, custodyv1.ReferralState_REFERRAL_STATE_ARRIVED)
		if err == nil {
			s.Arrived = b.Arrived
		}
	case *custodyv1.Event_ServiceStarted:
		err = s.foldStep(l, custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE)
		if err == nil {
			s.ServiceStarted = b.ServiceStarted
		}
	case *custodyv1.Event_Completed:
		err = s.foldStep(l, custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE, custodyv1.ReferralState_REFERRAL_STATE_COMPLETED)
		if err == nil {
			s.Completed = b.Completed
		}
	default:
		err = illegal(l.Event, "this version does not know it")
	}
	if err != nil {
		return err
	}
	s.Sequence, s.Head, s.Last = l.Event.GetSequence(), l.Hash, l.Event.GetTime().AsTime()
	return nil
}

// foldStep is a plain step of the owner from one state to the next.
func (s *State) foldStep(l Link, from, to custodyv1.ReferralState) error {
	if s.State != from {
		return illegal(l.Event, s.is())
	}
	s.State = to
	return nil
}

// is says in which state the referral is, as part of a sentence.
func (s *State) is() string {
	if s.State == custodyv1.ReferralState_REFERRAL_STATE_UNSPECIFIED {
		return "the referral has not begun"
	}
	return "the referral is " + StateName(s.State)
}

func (s *State) foldSubmitted(l Link, b *custodyv1.Submitted) error {
	if s.Submitted != nil {
		return illegal(l.Event, s.is())
	}
	switch {
	case l.Event.GetOwner() == "":
		return illegal(l.Event, "it has no owner")
	case b.GetConsent() == nil && b.GetOverride() == nil:
		return illegal(l.Event, "it has neither consent nor a legal basis")
	case len(b.GetFlowId()) != 16:
		return illegal(l.Event, "it has no flow id")
	case b.GetKind() != custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT:
		return illegal(l.Event, "only placements are served by this version")
	}
	s.Referral, s.Submitted = l.Event.GetReferral(), b
	s.Origin, s.Owner, s.Epoch = l.Event.GetOwner(), l.Event.GetOwner(), 1
	s.State = custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED
	s.Begin = l.Event.GetTime().AsTime()
	return nil
}

func checkOffered(b *custodyv1.Offered) error {
	if b.GetToNode() == "" || b.GetToUnit() == "" || b.GetNeeds() == nil || b.GetAnswerBy() == nil {
		return &Illegal{why: "offer is not possible: it must name node, unit, needs and an answer time"}
	}
	return nil
}

func (s *State) foldOffered(l Link, b *custodyv1.Offered) error {
	if s.State != custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED {
		return illegal(l.Event, s.is())
	}
	if err := checkOffered(b); err != nil {
		return err
	}
	s.Offers = append(s.Offers, &Offer{
		Hash: l.Hash, Offered: b, Time: l.Event.GetTime().AsTime(),
		State: custodyv1.OfferState_OFFER_STATE_SENT,
	})
	return nil
}

func (s *State) foldConfirmed(l Link, b *custodyv1.Confirmed) error {
	offer := s.Offer(b.GetOffer())
	switch {
	case s.State != custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED:
		return illegal(l.Event, s.is())
	case offer == nil:
		return illegal(l.Event, "the referral has no such offer")
	case offer.State != custodyv1.OfferState_OFFER_STATE_ACCEPTED:
		return illegal(l.Event, "the offer is "+OfferStateName(offer.State))
	}
	for _, other := range s.Offers {
		if other != offer && other.Live() {
			other.State = custodyv1.OfferState_OFFER_STATE_WITHDRAWN
		}
	}
	offer.State = custodyv1.OfferState_OFFER_STATE_CONFIRMED
	s.State = custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED
	return nil
}

func (s *State) foldDispatched(l Link, b *custodyv1.Dispatched) error {
	offer := s.Offer(b.GetOffer())
	switch {
	case s.State != custodyv1.ReferralState_REFERRAL_STATE_READY:
		return illegal(l.Event, s.is())
	case offer == nil:
		return illegal(l.Event, "the referral has no such offer")
	case offer.State != custodyv1.OfferState_OFFER_STATE_READY:
		return illegal(l.Event, "the offer is "+OfferStateName(offer.State))
	case b.GetToNode() != offer.Offered.GetToNode():
		return illegal(l.Event, "it names another node than the offer")
	case b.GetExpectTime() == nil:
		return illegal(l.Event, "it says no time at which the person should be there")
	}
	offer.State = custodyv1.OfferState_OFFER_STATE_FULFILLED
	s.Dispatched = b
	s.State = custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT
	s.Epoch++
	if b.GetToNode() != s.Owner {
		s.Former = append(slices.DeleteFunc(s.Former, func(n string) bool { return n == b.GetToNode() }), s.Owner)
		s.Owner = b.GetToNode()
	}
	return nil
}

func (s *State) foldReply(l Link, b *custodyv1.ReplyRecorded) error {
	reply, err := decodeReply(b.GetReply())
	if err != nil {
		return err
	}
	return s.takeReply(l.Event, reply)
}

// takeReply moves the offer a reply names. It is the one place that says which reply an offer
// in a given state may get.
func (s *State) takeReply(e *custodyv1.Event, r *custodyv1.Reply) error {
	offer := s.Offer(r.GetOffer())
	switch {
	case s.Submitted == nil || r.GetReferral() != s.Referral:
		return illegal(e, "it belongs to another referral")
	case offer == nil:
		return illegal(e, "the referral has no such offer")
	case r.GetNode() != offer.Offered.GetToNode():
		return illegal(e, "its writer was not asked")
	}
	next, ok := replyMoves[replyKind(r)][offer.State]
	if !ok {
		return illegal(e, fmt.Sprintf("%s is no answer to an offer that is %s", ReplyName(r), OfferStateName(offer.State)))
	}
	wasChosen := s.Chosen() == offer
	offer.State = next
	switch body := r.GetBody().(type) {
	case *custodyv1.Reply_Accepted:
		offer.Accepted = body.Accepted
	case *custodyv1.Reply_Declined:
		offer.Reason = body.Declined.GetReason()
	case *custodyv1.Reply_AcceptanceWithdrawn:
		offer.Reason = body.AcceptanceWithdrawn.GetReason()
		if wasChosen {
			s.State = custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED
		}
	case *custodyv1.Reply_Ready:
		offer.Ready = body.Ready
		s.State = custodyv1.ReferralState_REFERRAL_STATE_READY
	}
	return nil
}
