package custody

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/kit/mutant"
)

// Name is an event's kind in the field's words, for errors and logs.
func Name(e *custodyv1.Event) string {
	switch e.GetBody().(type) {
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
	case *custodyv1.Event_OfferWithdrawn:
		return "withdrawal of an offer"
	case *custodyv1.Event_OfferExpired:
		return "expiry of an offer"
	case *custodyv1.Event_Answered:
		return "answer"
	case *custodyv1.Event_ReleaseRefused:
		return "refusal of a release"
	case *custodyv1.Event_Cancelled:
		return "cancellation"
	case *custodyv1.Event_Expired:
		return "expiry"
	case *custodyv1.Event_HandoverRefused:
		return "refusal of a handover"
	case *custodyv1.Event_CheckedIn:
		return "check-in"
	case *custodyv1.Event_NoShow:
		return "no-show"
	case *custodyv1.Event_Returned:
		return "return"
	case *custodyv1.Event_ConsentEnded:
		return "end of consent"
	case *custodyv1.Event_Corrected:
		return "correction"
	case *custodyv1.Event_ExternalAnswered:
		return entryName(e)
	}
	return "an event of a later version"
}

// fold takes one event whose position is checked. It checks all before it changes anything.
func (s *State) fold(l Link) error {
	if s.Submitted == nil && l.Event.GetSubmitted() == nil {
		return illegal(l.Event, s.is())
	}
	if err := s.foldBody(l); err != nil {
		return err
	}
	if l.Event.GetDispatched() == nil {
		s.Handover = nil // its receiver has taken it, or it is taken back
	}
	s.Sequence, s.Head, s.Last = l.Event.GetSequence(), l.Hash, l.Event.GetTime().AsTime()
	s.events[l.Hash] = l.Event
	return nil
}

func (s *State) foldBody(l Link) error {
	switch b := l.Event.GetBody().(type) {
	case *custodyv1.Event_Submitted:
		return s.foldSubmitted(l, b.Submitted)
	case *custodyv1.Event_Offered:
		return s.foldOffered(l, b.Offered)
	case *custodyv1.Event_OfferWithdrawn:
		return s.foldOfferWithdrawn(l, b.OfferWithdrawn)
	case *custodyv1.Event_OfferExpired:
		return s.foldOfferExpired(l, b.OfferExpired)
	case *custodyv1.Event_Answered:
		return s.foldAnswered(l, b.Answered)
	case *custodyv1.Event_ReleaseRefused:
		return s.foldReleaseRefused(l, b.ReleaseRefused)
	case *custodyv1.Event_ReplyRecorded:
		return s.foldReply(l, b.ReplyRecorded)
	case *custodyv1.Event_Confirmed:
		return s.foldConfirmed(l, b.Confirmed)
	case *custodyv1.Event_Dispatched:
		return s.foldDispatched(l, b.Dispatched)
	case *custodyv1.Event_HandoverRefused:
		return s.foldHandoverRefused()
	case *custodyv1.Event_Arrived:
		return s.foldArrived(l, b.Arrived)
	case *custodyv1.Event_CheckedIn:
		return s.foldCheckedIn(l, b.CheckedIn)
	case *custodyv1.Event_NoShow:
		return s.foldNoShow(l, b.NoShow)
	case *custodyv1.Event_ServiceStarted:
		return s.foldServiceStarted(l, b.ServiceStarted)
	case *custodyv1.Event_Completed:
		return s.foldCompleted(l, b.Completed)
	case *custodyv1.Event_Cancelled:
		return s.foldEnd(l, isCancelled, b.Cancelled.GetReason())
	case *custodyv1.Event_Expired:
		return s.foldEnd(l, isExpired, "")
	case *custodyv1.Event_Returned:
		return s.foldReturned(l, b.Returned)
	case *custodyv1.Event_ConsentEnded:
		s.ConsentEnded = true
		return nil
	case *custodyv1.Event_Corrected:
		return s.foldCorrected(l, b.Corrected)
	case *custodyv1.Event_ExternalAnswered:
		return s.foldExternalAnswered(l, b.ExternalAnswered)
	}
	return illegal(l.Event, "this version does not know it")
}

// is says in which state the referral is, as part of a sentence.
func (s *State) is() string {
	if s.Submitted == nil {
		return "the referral has not begun"
	}
	return "the referral is " + StateName(s.State)
}

// maxOriginSeal bounds what an origin seals into a chain for itself, in bytes.
const maxOriginSeal = 256

func (s *State) foldSubmitted(l Link, b *custodyv1.Submitted) error {
	if s.Submitted != nil {
		return illegal(l.Event, s.is())
	}
	switch {
	case l.Event.GetOwner() == "" || CreatedAt(l.Event.GetReferral()) != l.Event.GetOwner():
		return illegal(l.Event, "its owner gives no referral such a name")
	case b.GetConsent() == nil && b.GetOverride() == nil:
		return illegal(l.Event, "it has neither consent nor a legal basis")
	case len(b.GetFlowId()) != 16:
		return illegal(l.Event, "it has no flow id")
	case len(b.GetOriginSeal()) > maxOriginSeal:
		return illegal(l.Event, "what it seals for its origin is too long")
	case b.GetKind() != placement && b.GetKind() != service:
		return illegal(l.Event, "it is neither a placement nor a service")
	case slices.Contains(b.GetTogether(), l.Event.GetReferral()):
		return illegal(l.Event, "it names itself among those that go together with it")
	}
	s.Referral, s.Submitted = l.Event.GetReferral(), b
	s.Origin, s.Owner, s.Care, s.Epoch = l.Event.GetOwner(), l.Event.GetOwner(), l.Event.GetOwner(), 1
	s.State, s.fallback = isSubmitted, isSubmitted
	s.Begin = l.Event.GetTime().AsTime()
	s.Assertions, s.Arrivals = map[Hash]Assertion{}, map[string]uint32{}
	s.events, s.wrong = map[Hash]*custodyv1.Event{}, map[Hash]bool{}
	return nil
}

// alone refuses where an offer still lives: each is taken back first, so that the asked unit has word of it.
func (s *State) alone(l Link, but *Offer) error {
	for _, o := range s.LiveOffers() {
		if o != but {
			return illegal(l.Event, "another unit is still asked")
		}
	}
	return nil
}

func (s *State) foldServiceStarted(l Link, b *custodyv1.ServiceStarted) error {
	if s.State != isArrived {
		return illegal(l.Event, s.is())
	}
	if s.Outside {
		return illegal(l.Event, "the person is with an agency outside the network, whose word is entered for it")
	}
	s.State, s.ServiceStarted = isInService, b
	return nil
}

// foldCompleted closes the loop. A referral for a service is closed with the destination's own word, and so is one whose person is with an
// agency outside the network: with that the duty of care of the origin ends.
func (s *State) foldCompleted(l Link, b *custodyv1.Completed) error {
	if s.State != isInService && !s.late {
		return illegal(l.Event, s.is())
	}
	if err := s.alone(l, nil); err != nil {
		return err
	}
	if (s.Submitted.GetKind() == service || s.Outside) && s.Chosen().Outcome == nil {
		return illegal(l.Event, "whoever gives the service has not said what came of it")
	}
	s.State, s.Completed, s.late = isCompleted, b, false
	return nil
}

// foldEnd ends a referral that nobody was handed: the origin owns it, has the person, and asks nobody any more.
func (s *State) foldEnd(l Link, to custodyv1.ReferralState, reason string) error {
	if (s.State != isSubmitted || s.Owner != s.Origin || s.Care != s.Origin) && !(mutant.Off("cancel") && to == isCancelled) {
		return illegal(l.Event, s.is())
	}
	if err := s.alone(l, nil); err != nil {
		return err
	}
	s.State, s.Reason = to, reason
	return nil
}

// foldReturned ends a referral whose person is back: a handover to the origin like any other has come before, or the person was with another
// unit of the origin, or with an agency outside the network, and nothing was handed over.
func (s *State) foldReturned(l Link, b *custodyv1.Returned) error {
	switch {
	case s.State != isArrived && s.State != isInService:
		return illegal(l.Event, s.is())
	case (s.Owner != s.Origin || s.Care != s.Origin || s.Dispatched == nil) && !mutant.Off("ret"):
		return illegal(l.Event, "the person is not back with the origin")
	}
	if err := s.alone(l, nil); err != nil {
		return err
	}
	s.State, s.Reason, s.Outside = isReturned, b.GetReason(), false
	if mutant.Off("ret") {
		s.Care = s.Origin
	}
	return nil
}

// foldCorrected says what should have stood in an event. Nothing is undone (I8): state and ownership stay as they are.
func (s *State) foldCorrected(l Link, b *custodyv1.Corrected) error {
	if len(b.GetSupersedes()) != len(Hash{}) || s.events[Hash(b.GetSupersedes())] == nil {
		return illegal(l.Event, "the chain has no such event")
	}
	hash := Hash(b.GetSupersedes())
	if s.wrong[hash] {
		return illegal(l.Event, "the event was corrected before; correct the correction")
	}
	was := s.events[hash]
	stands := s.stands(was)
	if c := was.GetCorrected(); c != nil { // a correction of a correction is one of the same thing
		was = &custodyv1.Event{}
		if err := setBody(was, c); err != nil {
			return illegal(l.Event, err.Error())
		}
	}
	switch c := b.GetBody().(type) {
	case *custodyv1.Corrected_Needs:
		if was.GetSubmitted() == nil || c.Needs == nil {
			return illegal(l.Event, "the event has no needs")
		}
		s.Submitted = proto.CloneOf(s.Submitted)
		s.Submitted.Needs = c.Needs
	case *custodyv1.Corrected_Arrived:
		if was.GetArrived() == nil && was.GetExternalAnswered().GetArrived() == nil {
			return illegal(l.Event, "the event is no arrival")
		}
		if stands {
			s.Arrived = c.Arrived
		}
	case *custodyv1.Corrected_ServiceStarted:
		if was.GetServiceStarted() == nil {
			return illegal(l.Event, "the event is no start of service")
		}
		if stands {
			s.ServiceStarted = c.ServiceStarted
		}
	case *custodyv1.Corrected_Completed:
		if was.GetCompleted() == nil {
			return illegal(l.Event, "the event is no completion")
		}
		s.Completed = c.Completed
	case *custodyv1.Corrected_NoShow:
		if was.GetNoShow() == nil {
			return illegal(l.Event, "the event is no no-show")
		}
		if stands && s.NoShow != nil {
			s.NoShow = c.NoShow
		}
	default:
		return illegal(l.Event, "it does not say what should have stood there")
	}
	s.wrong[hash] = true
	return nil
}

// stands says that what an event said, or what it corrects, is the last of its kind: of an earlier arrival, say, a correction is kept, and
// the state goes by the last.
func (s *State) stands(e *custodyv1.Event) bool {
	for e.GetCorrected() != nil {
		e = s.events[Hash(e.GetCorrected().GetSupersedes())]
	}
	for _, other := range s.events {
		if other.GetSequence() > e.GetSequence() && sameFact(other, e) {
			return false
		}
	}
	return true
}

// sameFact says that two events tell the same kind of thing. An arrival is one, whoever said it.
func sameFact(a, b *custodyv1.Event) bool {
	came := func(e *custodyv1.Event) bool {
		return e.GetArrived() != nil || e.GetExternalAnswered().GetArrived() != nil
	}
	return came(a) && came(b) || Name(a) == Name(b)
}

// setBody makes an event of the kind that a correction corrects.
func setBody(e *custodyv1.Event, c *custodyv1.Corrected) error {
	switch c.GetBody().(type) {
	case *custodyv1.Corrected_Needs:
		e.Body = &custodyv1.Event_Submitted{Submitted: &custodyv1.Submitted{}}
	case *custodyv1.Corrected_Arrived:
		e.Body = &custodyv1.Event_Arrived{Arrived: &custodyv1.Arrived{}}
	case *custodyv1.Corrected_ServiceStarted:
		e.Body = &custodyv1.Event_ServiceStarted{ServiceStarted: &custodyv1.ServiceStarted{}}
	case *custodyv1.Corrected_Completed:
		e.Body = &custodyv1.Event_Completed{Completed: &custodyv1.Completed{}}
	case *custodyv1.Corrected_NoShow:
		e.Body = &custodyv1.Event_NoShow{NoShow: &custodyv1.NoShow{}}
	default:
		return fmt.Errorf("it corrects nothing")
	}
	return nil
}

// clone is a state that can be folded further without touching the first.
func (s *State) clone() State {
	c := *s
	c.Former = slices.Clone(s.Former)
	c.Offers = make([]*Offer, len(s.Offers))
	for i, o := range s.Offers {
		copied := *o
		c.Offers[i] = &copied
	}
	if s.Handover != nil {
		h := *s.Handover
		h.former = slices.Clone(h.former)
		c.Handover = &h
	}
	c.Assertions, c.Arrivals = maps.Clone(s.Assertions), maps.Clone(s.Arrivals)
	c.events, c.wrong = maps.Clone(s.events), maps.Clone(s.wrong)
	return c
}
