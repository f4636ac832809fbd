package custody

import (
	"bytes"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
)

func checkOffered(b *custodyv1.Offered) error {
	switch {
	case b.GetExternal() != nil && checkExternal(b) != nil:
		return checkExternal(b)
	case b.GetExternal() == nil && (b.GetToNode() == "" || nodeOf(unitName, b.GetToUnit()) != b.GetToNode()): // else nobody there would answer for it
		return &Illegal{why: "offer is not possible: it must name a node and a unit of it"}
	case b.GetKind() != placement && b.GetKind() != service:
		return &Illegal{why: "offer is not possible: it is neither for a placement nor for a service"}
	case b.GetNeeds() == nil || !b.GetAnswerBy().IsValid():
		return &Illegal{why: "offer is not possible: it must name needs and an answer time"}
	}
	return nil
}

// foldOffered asks a unit: at first, or from where the person is, to refer on.
func (s *State) foldOffered(l Link, b *custodyv1.Offered) error {
	switch s.State {
	case isSubmitted:
	case isArrived, isInService:
		if s.Submitted.GetKind() == service {
			return illegal(l.Event, "a service is being given")
		}
	default:
		return illegal(l.Event, s.is())
	}
	if s.Care != s.Owner {
		return illegal(l.Event, "its writer does not have the person")
	}
	if b.GetExternal() != nil && s.Owner != s.Origin {
		return illegal(l.Event, "only the first owner asks an agency outside the network")
	}
	if err := checkOffered(b); err != nil {
		return err
	}
	if b.GetKind() != s.Submitted.GetKind() {
		return illegal(l.Event, "it is of another kind than the referral")
	}
	s.Offers = append(s.Offers, &Offer{Hash: l.Hash, By: l.Event.GetOwner(), Offered: b, Time: l.Event.GetTime().AsTime(), State: offerSent})
	return nil
}

// own finds the offer that an event of the owner is about.
func (s *State) own(l Link, hash []byte) (*Offer, error) {
	o := s.Offer(hash)
	if o == nil {
		return nil, illegal(l.Event, "the referral has no such offer")
	}
	return o, nil
}

func notIn(l Link, o *Offer) error { return illegal(l.Event, "the offer is "+OfferStateName(o.State)) }

// foldOfferWithdrawn takes an offer back; one that was chosen too: then the referral is what it was before.
func (s *State) foldOfferWithdrawn(l Link, b *custodyv1.OfferWithdrawn) error {
	o, err := s.own(l, b.GetOffer())
	if err != nil {
		return err
	}
	if !o.Live() {
		return notIn(l, o)
	}
	s.close(o, offerWithdrawn, b.GetReason())
	return nil
}

// close ends an offer; where it was chosen the referral falls back.
func (s *State) close(o *Offer, to custodyv1.OfferState, reason string) {
	if o.State == offerConfirmed || o.State == offerReady {
		s.State = s.fallback
	}
	o.State, o.Reason, o.ReleaseRequested, o.Asked, o.Question = to, reason, nil, nil, nil
}

func (s *State) foldOfferExpired(l Link, b *custodyv1.OfferExpired) error {
	o, err := s.own(l, b.GetOffer())
	if err != nil {
		return err
	}
	switch o.State {
	case offerSent, offerReceived, offerInformation, offerWaitlisted:
		s.close(o, offerExpired, "")
		return nil
	}
	return notIn(l, o)
}

func (s *State) foldAnswered(l Link, b *custodyv1.Answered) error {
	o, err := s.own(l, b.GetOffer())
	switch {
	case err != nil:
		return err
	case o.State != offerInformation:
		return notIn(l, o)
	case !bytes.Equal(o.Asked, b.GetQuestion()):
		return illegal(l.Event, "another question was asked")
	}
	o.State, o.Asked, o.Question, o.Answered = offerReceived, nil, nil, l.Event.GetTime().AsTime()
	return nil
}

func (s *State) foldReleaseRefused(l Link, b *custodyv1.ReleaseRefused) error {
	o, err := s.own(l, b.GetOffer())
	switch {
	case err != nil:
		return err
	case o.ReleaseRequested == nil:
		return illegal(l.Event, "nobody asked for it")
	}
	o.ReleaseRequested = nil
	return nil
}

// foldConfirmed chooses an acceptance. The others must have been taken back, so that each has word of it.
func (s *State) foldConfirmed(l Link, b *custodyv1.Confirmed) error {
	o, err := s.own(l, b.GetOffer())
	if err != nil {
		return err
	}
	switch s.State {
	case isSubmitted, isArrived, isInService:
	case isInTransit:
		if !o.Return { // the road back may be chosen before the person is there
			return illegal(l.Event, s.is())
		}
	default:
		return illegal(l.Event, s.is())
	}
	if o.State != offerAccepted {
		return notIn(l, o)
	}
	if err := s.alone(l, o); err != nil {
		return err
	}
	o.State = offerConfirmed
	s.fallback, s.State = s.State, isConfirmed
	return nil
}
