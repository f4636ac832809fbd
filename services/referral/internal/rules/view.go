// Package rules holds what the referral service decides beyond the custody chain's own rules:
// the view over a chain, the deadlines, what a request must be, and what may be done with an
// offer made to this node. Which step a chain allows is decided by the custody package alone.
//
// All is pure: `now` comes in as an argument.
package rules

import (
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
)

// View is a referral as its chain shows it, without etag, deadline and annexes.
func View(s *custody.State, updated time.Time) *referralv1.Referral {
	b := s.Submitted
	v := &referralv1.Referral{
		Name: s.Referral, Reference: b.GetReference(), Kind: b.GetKind(), State: s.State,
		Urgency: b.GetUrgency(), Service: b.GetService(), Reasons: b.GetReasons(), Needs: b.GetNeeds(),
		OriginNode: s.Origin, OwnerNode: s.Owner, ResponsibleUnit: s.Unit(),
		Epoch: s.Epoch, Sequence: s.Sequence, Head: s.Head.Bytes(),
		Outcome:    s.Completed.GetOutcome(),
		SubmitTime: timestamppb.New(s.Begin), UpdateTime: timestamppb.New(updated),
		CareNode: s.Care, EndReason: s.Reason, ConsentEnded: s.ConsentEnded, CheckedIn: s.CheckedIn,
		NoShow: s.NoShow, Found: s.Found, Together: b.GetTogether(), Outside: s.Outside,
	}
	v.ServicesGiven = s.ServiceStarted.GetServices()
	if s.Completed != nil {
		v.ServicesGiven = s.Completed.GetServices()
	}
	for _, o := range s.Offers {
		shown := offer(s.Referral, o.By, o.Hash, o.Offered, o.Time)
		shown.State, shown.Hold, shown.Return = o.State, o.Accepted.GetHold(), o.Return
		shown.DeclineReason, shown.ReleaseReason = o.Reason, o.ReleaseRequested.GetReason()
		shown.QuestionTopic, shown.MeetTime, shown.Outcome = o.Question.GetTopic(), o.Proposed.GetMeetTime(), o.Outcome.GetOutcome()
		if o.State == custodyv1.OfferState_OFFER_STATE_WAITLISTED {
			shown.ReviewTime = o.Waitlisted.GetReviewTime()
		}
		v.Offers = append(v.Offers, shown)
	}
	return v
}

func offer(referral, from string, hash custody.Hash, b *custodyv1.Offered, made time.Time) *referralv1.Offer {
	return &referralv1.Offer{
		Name: referral + "/offers/" + hash.String(), FromNode: from,
		ToNode: b.GetToNode(), ToUnit: b.GetToUnit(), Reference: b.GetReference(), Kind: b.GetKind(),
		Service: b.GetService(), Urgency: b.GetUrgency(), Reasons: b.GetReasons(), Needs: b.GetNeeds(),
		AnswerBy: b.GetAnswerBy(), CreateTime: timestamppb.New(made), Together: b.GetTogether(), External: b.GetExternal(),
	}
}

// Received is an offer made to this node, as it is shown, without etag.
func Received(r *referralv1.OfferRecord, event *custodyv1.Event) *referralv1.Offer {
	shown := offer(event.GetReferral(), event.GetOwner(), custody.HashOf(r.GetOffered().GetEvent()), event.GetOffered(), event.GetTime().AsTime())
	shown.State, shown.Hold = r.GetState(), r.GetHold()
	shown.DeclineReason, shown.AcceptFailure = r.GetDeclineReason(), r.GetAcceptFailure()
	shown.QuestionTopic, shown.ReleaseReason = r.GetQuestionTopic(), r.GetReleaseReason()
	shown.MeetTime, shown.Outcome = r.GetMeetTime(), r.GetOutcome()
	if r.GetState() == custodyv1.OfferState_OFFER_STATE_WAITLISTED {
		shown.ReviewTime = r.GetReviewTime()
	}
	return shown
}
