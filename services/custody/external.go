package custody

import (
	"bytes"
	"encoding/hex"
	"fmt"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
)

// An agency outside the network has no node. The origin asks it, enters what it says, and goes on as owner (I1); in the record the duty
// of care stays with the origin, also while the person is there (I6).

// externalMoves says to which state an answer that is entered for an agency moves its offer. Who answers has received; nobody can hold it
// to its promise, so that it may take back what is ready.
var externalMoves = map[kind]moves{
	received:   {offerSent: offerReceived},
	waitlisted: {offerSent: offerWaitlisted, offerReceived: offerWaitlisted, offerWaitlisted: offerWaitlisted},
	accepted:   {offerSent: offerAccepted, offerReceived: offerAccepted, offerWaitlisted: offerAccepted},
	declined:   {offerSent: offerDeclined, offerReceived: offerDeclined, offerWaitlisted: offerDeclined},
	acceptanceWithdrawn: {
		offerAccepted: offerLapsed, offerConfirmed: offerLapsed, offerReady: offerLapsed,
	},
	ready:           {offerConfirmed: offerReady},
	serviceGiven:    {offerReady: offerFulfilled, offerFulfilled: offerFulfilled},
	outcomeReported: {offerFulfilled: offerFulfilled},
}

// External says that the offer was made to an agency outside the network.
func (o *Offer) External() bool { return o.Offered.GetExternal() != nil }

// Place is what is asked, as those who go together tell it: the unit, or the asking of an agency outside the network.
func (o *Offer) Place() string {
	if e := o.Offered.GetExternal(); e != nil {
		return "asking " + hex.EncodeToString(e.GetAsking())
	}
	return o.Offered.GetToUnit()
}

// Entered is what an event enters for an agency outside the network, as the reply that it would be; nil for all other events, and for
// an arrival, which is no reply to an offer.
func Entered(e *custodyv1.Event) *custodyv1.Reply {
	b := e.GetExternalAnswered()
	r := &custodyv1.Reply{Referral: e.GetReferral(), Offer: b.GetOffer()}
	switch b := b.GetBody().(type) {
	case *custodyv1.ExternalAnswered_Received:
		r.Body = &custodyv1.Reply_Received{Received: b.Received}
	case *custodyv1.ExternalAnswered_Accepted:
		r.Body = &custodyv1.Reply_Accepted{Accepted: b.Accepted}
	case *custodyv1.ExternalAnswered_Declined:
		r.Body = &custodyv1.Reply_Declined{Declined: b.Declined}
	case *custodyv1.ExternalAnswered_AcceptanceWithdrawn:
		r.Body = &custodyv1.Reply_AcceptanceWithdrawn{AcceptanceWithdrawn: b.AcceptanceWithdrawn}
	case *custodyv1.ExternalAnswered_Ready:
		r.Body = &custodyv1.Reply_Ready{Ready: b.Ready}
	case *custodyv1.ExternalAnswered_Waitlisted:
		r.Body = &custodyv1.Reply_Waitlisted{Waitlisted: b.Waitlisted}
	case *custodyv1.ExternalAnswered_ServiceGiven:
		r.Body = &custodyv1.Reply_ServiceGiven{ServiceGiven: b.ServiceGiven}
	case *custodyv1.ExternalAnswered_OutcomeReported:
		r.Body = &custodyv1.Reply_OutcomeReported{OutcomeReported: b.OutcomeReported}
	default:
		return nil
	}
	return r
}

// entryName is what is entered for an agency, in the field's words.
func entryName(e *custodyv1.Event) string {
	what := "arrived"
	if r := Entered(e); r != nil {
		what = ReplyName(r)
	} else if e.GetExternalAnswered().GetArrived() == nil {
		what = replyNames[unknown]
	}
	return fmt.Sprintf("entry of %q for an agency outside the network", what)
}

func checkExternal(b *custodyv1.Offered) error {
	e := b.GetExternal()
	if b.GetToNode() != "" || b.GetToUnit() != "" || e.GetKind() == "" || len(e.GetAsking()) != 16 {
		return &Illegal{why: "offer is not possible: to an agency outside the network it names its kind and the asking, and no node"}
	}
	return nil
}

// foldExternalAnswered takes in what an agency said, on the owner's word.
func (s *State) foldExternalAnswered(l Link, b *custodyv1.ExternalAnswered) error {
	o, err := s.own(l, b.GetOffer())
	switch {
	case err != nil:
		return err
	case !o.External():
		return illegal(l.Event, "the unit asked is in the network, and answers for itself")
	case !b.GetSayTime().IsValid() || b.GetMeans() == "":
		return illegal(l.Event, "it does not say when and how it was said")
	case b.GetArrived() != nil:
		return s.foldArrivedOutside(l, o, b.GetArrived())
	}
	r := Entered(l.Event)
	next, ok := externalMoves[replyKind(r)][o.State]
	if r == nil || !ok {
		return notIn(l, o)
	}
	if err := s.checkGiven(l, o, r); err != nil {
		return err
	}
	s.move(l, o, next, r, l.Hash)
	return nil
}

// checkGiven holds that a service is given where the person is, and that its outcome is said once.
func (s *State) checkGiven(l Link, o *Offer, r *custodyv1.Reply) error {
	given, came := replyKind(r) == serviceGiven, replyKind(r) == outcomeReported
	if !given && !came {
		return nil
	}
	begins := s.State == isReady && s.Submitted.GetKind() == service || s.State == isArrived && s.with(o)
	goesOn := s.State == isInService && (s.Submitted.GetKind() == service || s.with(o))
	switch {
	case !goesOn && !(given && begins):
		return illegal(l.Event, s.is())
	case o.Outcome != nil:
		return illegal(l.Event, "the outcome was said before")
	}
	return nil
}

// with says that the person is with the agency of an offer, or on the way to it.
func (s *State) with(o *Offer) bool {
	return s.Outside && bytes.Equal(s.Dispatched.GetOffer(), o.Hash[:])
}

// foldArrivedOutside notes that the person is with the agency. The duty of care does not move.
func (s *State) foldArrivedOutside(l Link, o *Offer, b *custodyv1.Arrived) error {
	if s.State != isInTransit && s.State != isNoShow || !s.with(o) {
		return illegal(l.Event, s.is())
	}
	s.State, s.fallback, s.Arrived, s.NoShow, s.Found = isArrived, isArrived, b, nil, false
	return nil
}
