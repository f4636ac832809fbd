package rules

import (
	"bytes"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
)

// Entry is what is entered for an agency outside the network, as it stands in the chain.
func Entry(r *referralv1.RecordExternalAnswerRequest, now time.Time) (*custodyv1.ExternalAnswered, error) {
	if err := codes.CheckField("means", codes.Means, r.GetMeans()); err != nil {
		return nil, err
	}
	said, err := past("say_time", r.GetSayTime(), now)
	if err != nil {
		return nil, err
	}
	e := &custodyv1.ExternalAnswered{SayTime: timestamppb.New(said), Means: r.GetMeans()}
	switch b := r.GetAnswer().(type) {
	case *referralv1.RecordExternalAnswerRequest_Received:
		e.Body = &custodyv1.ExternalAnswered_Received{Received: &custodyv1.Received{}}
	case *referralv1.RecordExternalAnswerRequest_Waitlisted:
		e.Body = &custodyv1.ExternalAnswered_Waitlisted{Waitlisted: &custodyv1.Waitlisted{ReviewTime: b.Waitlisted.GetReviewTime()}}
		return e, within("waitlisted.review_time", b.Waitlisted.GetReviewTime().AsTime(), now, MaxReview, "must lie ahead, at most 90 days")
	case *referralv1.RecordExternalAnswerRequest_Accepted:
		e.Body = &custodyv1.ExternalAnswered_Accepted{Accepted: &custodyv1.Accepted{}}
	case *referralv1.RecordExternalAnswerRequest_Declined:
		e.Body = &custodyv1.ExternalAnswered_Declined{Declined: &custodyv1.Declined{Reason: b.Declined.GetReason()}}
		return e, CheckCode("declined.reason", codes.Decline, b.Declined.GetReason(), codes.DeclineOther, r.GetNote())
	case *referralv1.RecordExternalAnswerRequest_AcceptanceWithdrawn:
		e.Body = &custodyv1.ExternalAnswered_AcceptanceWithdrawn{AcceptanceWithdrawn: &custodyv1.AcceptanceWithdrawn{Reason: b.AcceptanceWithdrawn.GetReason()}}
		return e, CheckCode("acceptance_withdrawn.reason", codes.Decline, b.AcceptanceWithdrawn.GetReason(), codes.DeclineOther, r.GetNote())
	case *referralv1.RecordExternalAnswerRequest_Ready:
		e.Body = &custodyv1.ExternalAnswered_Ready{Ready: &custodyv1.Ready{}}
	case *referralv1.RecordExternalAnswerRequest_Arrived:
		came := said
		if b.Arrived.GetArriveTime() != nil {
			if came, err = past("arrived.arrive_time", b.Arrived.GetArriveTime(), now); err != nil {
				return nil, err
			}
		}
		e.Body = &custodyv1.ExternalAnswered_Arrived{Arrived: &custodyv1.Arrived{
			Identification: b.Arrived.GetIdentification(), ArriveTime: timestamppb.New(came),
		}}
		return e, codes.CheckFields("arrived.identification", codes.Identification, b.Arrived.GetIdentification())
	case *referralv1.RecordExternalAnswerRequest_ServiceGiven:
		e.Body = &custodyv1.ExternalAnswered_ServiceGiven{ServiceGiven: &custodyv1.ServiceGiven{Services: b.ServiceGiven.GetServices()}}
		return e, codes.CheckFields("service_given.services", codes.Service, b.ServiceGiven.GetServices())
	case *referralv1.RecordExternalAnswerRequest_OutcomeReported:
		e.Body = &custodyv1.ExternalAnswered_OutcomeReported{OutcomeReported: &custodyv1.OutcomeReported{
			Outcome: b.OutcomeReported.GetOutcome(), Services: b.OutcomeReported.GetServices(),
		}}
		if err := codes.CheckField("outcome_reported.outcome", codes.Outcome, b.OutcomeReported.GetOutcome()); err != nil {
			return nil, err
		}
		return e, codes.CheckFields("outcome_reported.services", codes.Service, b.OutcomeReported.GetServices())
	}
	return e, nil
}

// LastEntry is the event that entered an agency's last answer to an offer; nil for none.
func LastEntry(c *custody.Chain, offer []byte) (last *custodyv1.Event) {
	for _, l := range c.Links() {
		if b := l.Event.GetExternalAnswered(); b != nil && bytes.Equal(b.GetOffer(), offer) {
			last = l.Event
		}
	}
	return last
}

// SameEntry says that an answer, entered by a call, is the one that was entered last. A time that the call does not name is not compared:
// when it was said, and when a person came, which goes by it.
func SameEntry(last, e *custodyv1.ExternalAnswered, r *referralv1.RecordExternalAnswerRequest) bool {
	last, e = proto.CloneOf(last), proto.CloneOf(e)
	if r.GetSayTime() == nil {
		last.SayTime, e.SayTime = nil, nil
		if came := last.GetArrived(); came != nil && e.GetArrived() != nil && r.GetArrived().GetArriveTime() == nil {
			came.ArriveTime, e.GetArrived().ArriveTime = nil, nil
		}
	}
	return proto.Equal(last, e)
}

// External says that an answer is entered for an offer to an agency outside the network: a unit of the network answers for itself.
func External(o *custody.Offer) error {
	if !o.External() {
		return fault.New(fault.WrongState, "A unit of the network was asked, which answers for itself. Wait for its answer, or take the offer back.",
			"to_unit", o.Offered.GetToUnit())
	}
	return nil
}
