package custody

import (
	"slices"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/kit/mutant"
)

// foldDispatched hands ownership over: to a place that is promised, or to a node that has the person already.
func (s *State) foldDispatched(l Link, b *custodyv1.Dispatched) error {
	if len(b.GetArrival()) > 0 {
		return s.foldDispatchedAfterArrival(l, b)
	}
	o, err := s.own(l, b.GetOffer())
	switch {
	case s.State != isReady && (!mutant.Off("ready") || s.State != isConfirmed):
		return illegal(l.Event, s.is())
	case err != nil:
		return err
	case o.State != offerReady && !mutant.Off("ready"):
		return notIn(l, o)
	case s.Submitted.GetKind() != placement:
		return illegal(l.Event, "nobody moves in a referral for a service")
	case b.GetToNode() != s.receiver(o):
		return illegal(l.Event, "it names another node than the offer")
	case b.GetExpectTime() == nil:
		return illegal(l.Event, "it says no time at which the person should be there")
	}
	from := s.fallback
	o.State, o.ReleaseRequested = offerFulfilled, nil
	s.handOver(l, b, from)
	if o.External() { // nobody is there who could refuse it
		s.Outside, s.Handover = true, nil
	}
	return nil
}

// receiver is the next owner when an offer is fulfilled: the owner itself, where the person goes to an agency outside the network.
func (s *State) receiver(o *Offer) string {
	if o.External() {
		return s.Owner
	}
	return o.Offered.GetToNode()
}

// foldDispatchedAfterArrival follows the person. It needs no promise, and no state of the referral stands in its way.
func (s *State) foldDispatchedAfterArrival(l Link, b *custodyv1.Dispatched) error {
	if len(b.GetArrival()) != len(Hash{}) {
		return illegal(l.Event, "it does not name an event")
	}
	a, ok := s.Assertions[Hash(b.GetArrival())]
	switch {
	case mutant.Off("arr") && s.Terminal():
		return illegal(l.Event, s.is())
	case !ok:
		return illegal(l.Event, "no arrival was asserted there")
	case a.Node != b.GetToNode():
		return illegal(l.Event, "another node asserted the arrival")
	case a.Node == s.Owner:
		return illegal(l.Event, "its writer has the person itself")
	case !s.answers(a):
		return illegal(l.Event, "the arrival was taken into the chain before")
	}
	if err := s.alone(l, nil); err != nil {
		return err
	}
	s.handOver(l, b, s.State)
	return nil
}

// answers says that an assertion still has to be answered.
func (s *State) answers(a Assertion) bool {
	return s.Care != a.Node && (a.Arrival.GetOrdinal() == s.Arrivals[a.Node]+1 || mutant.Off("aid"))
}

func (s *State) handOver(l Link, b *custodyv1.Dispatched, from custodyv1.ReferralState) {
	s.Handover = &Handover{By: s.Owner, Event: l.Hash, from: from, giver: s.Giver, former: slices.Clone(s.Former), before: s.Dispatched, outside: s.Outside}
	s.Giver = s.Owner
	s.Dispatched, s.CheckedIn, s.Outside = b, nil, false
	s.State, s.fallback = isInTransit, isInTransit
	s.Epoch, s.Returns = s.Epoch+1, 0
	s.passTo(b.GetToNode())
}

// passTo makes a node the owner, and the one before it a former one.
func (s *State) passTo(node string) {
	if node == s.Owner {
		return
	}
	s.Former = append(slices.DeleteFunc(s.Former, func(n string) bool { return n == node }), s.Owner)
	s.Owner = node
}

// foldHandoverRefused takes a handover back. Its position says that only the handover's writer writes it, and next to it. Who refused
// it has taken nothing, and is no former owner by it.
func (s *State) foldHandoverRefused() error {
	h := s.Handover
	if o := s.Offer(s.Dispatched.GetOffer()); o != nil && o.State == offerFulfilled {
		o.State = offerDeclined
	}
	s.State, s.fallback, s.Giver = h.from, h.from, h.giver
	s.Epoch, s.Returns = s.Epoch+1, 0
	s.Owner, s.Former, s.Dispatched, s.Outside = h.By, h.former, h.before, h.outside
	return nil
}

// foldArrived takes the duty of care (I6). It outranks all but another handover: a person who came though they were given up, or
// while the road back was being made ready, has come.
func (s *State) foldArrived(l Link, b *custodyv1.Arrived) error {
	back := s.Chosen()
	turning := (s.State == isConfirmed || s.State == isReady) && s.fallback == isInTransit
	if s.State != isInTransit && s.State != isNoShow && !turning {
		return illegal(l.Event, s.is())
	}
	if turning { // the choice falls, the wish to return stays
		back.State, back.Ready, back.ReleaseRequested = offerAccepted, nil, nil
	}
	s.State, s.fallback, s.Arrived, s.NoShow, s.Found = isArrived, isArrived, b, nil, false
	s.Care, s.Outside = s.Owner, false
	s.Arrivals[s.Owner]++
	return nil
}

func (s *State) foldCheckedIn(l Link, b *custodyv1.CheckedIn) error {
	if s.State != isInTransit {
		return illegal(l.Event, s.is())
	}
	s.CheckedIn = b
	return nil
}

func (s *State) foldNoShow(l Link, b *custodyv1.NoShow) error {
	if s.State != isInTransit {
		return illegal(l.Event, s.is())
	}
	if err := s.alone(l, nil); err != nil {
		return err
	}
	s.State, s.NoShow = isNoShow, b
	return nil
}
