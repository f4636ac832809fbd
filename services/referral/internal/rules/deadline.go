package rules

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
)

// Kinds, short.
const (
	receive  = referralv1.Deadline_KIND_RECEIVE
	answer   = referralv1.Deadline_KIND_ANSWER
	confirm  = referralv1.Deadline_KIND_CONFIRM
	ready    = referralv1.Deadline_KIND_READY
	dispatch = referralv1.Deadline_KIND_DISPATCH
	arrive   = referralv1.Deadline_KIND_ARRIVE
	serve    = referralv1.Deadline_KIND_SERVE
	complete = referralv1.Deadline_KIND_COMPLETE
	askAgain = referralv1.Deadline_KIND_ASK_AGAIN
	watch    = referralv1.Deadline_KIND_WATCH
)

// Next is what a node must do or watch for next in a referral (invariant I7): a step if it owns
// it, a watch if it began or owned it before; nil when it is neither, or when nothing can follow.
// held is the deadline that stands; it stays, with its missed count, while the same step of the
// owner is due. A watch begins anew whenever the chain grew, for then the owner was heard.
func Next(s *custody.State, node string, held *referralv1.DeadlineRecord, now time.Time, limits Limits) *referralv1.DeadlineRecord {
	if s.Submitted == nil || s.Terminal() {
		return nil
	}
	var kind referralv1.Deadline_Kind
	var due time.Time
	limit := limits.of(s.Submitted.GetUrgency())
	switch {
	case node == s.Owner:
		kind, due = ownerStep(s, now, limit)
	case node == s.Origin || formerOwner(s, node):
		kind, due = watchStep(s, now, limit)
	default:
		return nil
	}
	if kind != watch && held.GetDeadline().GetKind() == kind {
		return held
	}
	return &referralv1.DeadlineRecord{
		Urgency: s.Submitted.GetUrgency(), FirstDueTime: timestamppb.New(due), Reference: s.Submitted.GetReference(),
		Deadline: &referralv1.Deadline{
			Referral: s.Referral, Kind: kind, DueTime: timestamppb.New(due), Unit: Unit(s, node),
		},
	}
}

func ownerStep(s *custody.State, now time.Time, l Limit) (referralv1.Deadline_Kind, time.Time) {
	switch s.State {
	case custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED:
		return askedStep(s, now, l)
	case custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED:
		return ready, now.Add(l.Acknowledge)
	case custodyv1.ReferralState_REFERRAL_STATE_READY:
		return dispatch, now.Add(l.Seen)
	case custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT:
		return arrive, later(now, s.Dispatched.GetExpectTime().AsTime()).Add(Overdue)
	case custodyv1.ReferralState_REFERRAL_STATE_ARRIVED:
		return serve, now.Add(l.Seen)
	default:
		return complete, now.Add(l.FollowUp)
	}
}

// askedStep is due while no acceptance is chosen.
func askedStep(s *custody.State, now time.Time, l Limit) (referralv1.Deadline_Kind, time.Time) {
	kind, due := askAgain, now.Add(l.Acknowledge)
	for _, o := range s.Offers {
		switch o.State {
		case custodyv1.OfferState_OFFER_STATE_ACCEPTED:
			return confirm, now.Add(l.Acknowledge)
		case custodyv1.OfferState_OFFER_STATE_RECEIVED:
			kind, due = answer, o.Offered.GetAnswerBy().AsTime()
		case custodyv1.OfferState_OFFER_STATE_SENT:
			if kind == askAgain {
				kind, due = receive, now.Add(l.Acknowledge)
			}
		}
	}
	return kind, due
}

func watchStep(s *custody.State, now time.Time, l Limit) (referralv1.Deadline_Kind, time.Time) {
	if s.State == custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT {
		return watch, later(now, s.Dispatched.GetExpectTime().AsTime()).Add(Overdue)
	}
	return watch, now.Add(l.FollowUp)
}

func formerOwner(s *custody.State, node string) bool {
	for _, f := range s.Former {
		if f == node {
			return true
		}
	}
	return false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// NextOffer is what must happen next in an offer made to this node; nil when it is over.
func NextOffer(name string, offered *custodyv1.Event, state custodyv1.OfferState, held *referralv1.DeadlineRecord, now time.Time, limits Limits) *referralv1.DeadlineRecord {
	o := offered.GetOffered()
	l := limits.of(o.GetUrgency())
	var kind referralv1.Deadline_Kind
	var due time.Time
	switch state {
	case custodyv1.OfferState_OFFER_STATE_RECEIVED, custodyv1.OfferState_OFFER_STATE_ACCEPTING:
		kind, due = answer, o.GetAnswerBy().AsTime()
	case custodyv1.OfferState_OFFER_STATE_ACCEPTED:
		kind, due = confirm, now.Add(l.Answer)
	case custodyv1.OfferState_OFFER_STATE_CONFIRMED:
		kind, due = ready, now.Add(l.Acknowledge)
	case custodyv1.OfferState_OFFER_STATE_READY:
		kind, due = dispatch, now.Add(l.Seen)
	default:
		return nil
	}
	if held.GetDeadline().GetKind() == kind {
		return held
	}
	return &referralv1.DeadlineRecord{
		Urgency: o.GetUrgency(), FirstDueTime: timestamppb.New(due), Reference: o.GetReference(),
		Deadline: &referralv1.Deadline{
			Referral: offered.GetReferral(), Offer: name, Kind: kind, DueTime: timestamppb.New(due), Unit: o.GetToUnit(),
		},
	}
}

// Due says whether a deadline has passed.
func Due(d *referralv1.DeadlineRecord, now time.Time) bool {
	return !now.Before(d.GetDeadline().GetDueTime().AsTime())
}

// escalated is when the provincial focal point has been told: there is no higher step.
const escalated = 3

// Miss moves a deadline that has passed to its next step: worker, supervisor, provincial focal
// point, and then again and again, more slowly. The next due time counts from now, so that a node
// that was off for days speaks once and not once per missed hour.
func Miss(d *referralv1.DeadlineRecord, now time.Time, limits Limits) {
	l := limits.of(d.GetUrgency())
	step := l.Acknowledge
	if d.GetDeadline().GetMissed()+1 >= escalated {
		step = l.Answer
	}
	d.Deadline.Missed++
	d.Deadline.DueTime = timestamppb.New(now.Add(step))
}

// Unit is the unit of a node that answers for its part in a referral: the one its offer was
// fulfilled for once it was handed over to it, else, at the origin, the one that submitted it.
func Unit(s *custody.State, node string) string {
	if node == s.Owner || node != s.Origin {
		for i := len(s.Offers) - 1; i >= 0; i-- {
			o := s.Offers[i]
			if o.State == custodyv1.OfferState_OFFER_STATE_FULFILLED && o.Offered.GetToNode() == node {
				return o.Offered.GetToUnit()
			}
		}
	}
	if node == s.Origin {
		return s.Submitted.GetUnit()
	}
	return ""
}
