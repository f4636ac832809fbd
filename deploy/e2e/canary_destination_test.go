package e2e

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/deploy/network"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
)

// begun is a referral that protection at home began, with its offer at Lahore.
func (r *canaries) begun(id string, kind custodyv1.ReferralKind, service string) (referral, offer string) {
	r.t.Helper()
	referral = r.send(home, network.Protection, func() proto.Message { return r.submission(id, kind, service) }).(*referralv1.Referral).GetName()
	return referral, r.offer(referral).GetName()
}

func (r *canaries) submission(id string, kind custodyv1.ReferralKind, service string) *referralv1.SubmitReferralRequest {
	return &referralv1.SubmitReferralRequest{
		Parent: "nodes/" + home, Kind: kind, Service: service, Urgency: custodyv1.Urgency_URGENCY_HIGH, Reasons: []string{"NO_LOCAL_BED"},
		Needs: needs(), Unit: homeUnit, ToUnit: awayUnit,
		Ground: &referralv1.SubmitReferralRequest_Override{Override: &custodyv1.ConsentOverride{
			LegalBasis: "COURT_ORDER", Approver: "nodes/balochistan/workers/everyone",
		}},
		RequestId: id, Actor: &custodyv1.Actor{Person: "nodes/" + home + "/workers/everyone", Unit: homeUnit, Service: network.Protection},
	}
}

// asks sends a request that a person makes, as it is.
func (r *canaries) asks(node string, request proto.Message) {
	r.t.Helper()
	r.send(node, network.Gateway, func() proto.Message { return proto.Clone(request) })
}

// viaDestination has the asked unit ask, wait, promise and tell, and a person come before the message.
func (r *canaries) viaDestination() {
	r.t.Helper()
	soon := timestamppb.New(time.Now().Add(time.Hour))
	referral, offer := r.begun("submit-0002", placement, "SHELTER")
	r.asks(there, &referralv1.AskQuestionRequest{Name: offer, Topic: "OTHER"})
	r.asks(home, &referralv1.AnswerQuestionRequest{Name: offer})
	r.offer(referral)
	r.asks(there, &referralv1.WaitlistOfferRequest{Name: offer, ReviewTime: soon})
	r.asks(there, &referralv1.AcceptOfferRequest{Name: offer, Group: beds, Worker: &identityv1.WorkerContact{}})
	r.state(home, referral, custodyv1.ReferralState_REFERRAL_STATE_READY)
	r.asks(there, &referralv1.ProposeScheduleRequest{Name: offer, MeetTime: soon})
	r.asks(there, &referralv1.RequestReleaseRequest{Name: offer, Reason: "OTHER"})
	r.asks(there, &referralv1.ReportSafetyRequest{Name: referral, Code: "OTHER"})
	r.asks(there, &referralv1.WithdrawConsentRequest{Name: referral})
	head := ask[*referralv1.Referral](r, there, &referralv1.GetReferralRequest{Name: referral}).GetHead()
	r.asks(there, &referralv1.RequestCorrectionRequest{Name: referral, Event: head})
	r.asks(there, &referralv1.AssertArrivalRequest{Name: referral, Unit: awayUnit, Identification: []string{"OWN_STATEMENT"}})
	r.state(home, referral, custodyv1.ReferralState_REFERRAL_STATE_ARRIVED)

	// Two units are asked, so that none is chosen by itself.
	referral, offer = r.begun("submit-0003", placement, "SHELTER")
	r.send(home, network.Gateway, func() proto.Message {
		return &referralv1.OfferReferralRequest{
			Name: referral, ToUnit: "nodes/sindh/units/karachi", Etag: ask[*referralv1.Referral](r, home, &referralv1.GetReferralRequest{Name: referral}).GetEtag(),
		}
	})
	r.asks(there, &referralv1.AcceptOfferRequest{Name: offer, Group: beds, Worker: &identityv1.WorkerContact{}})
	r.asks(there, &referralv1.WithdrawAcceptanceRequest{Name: offer, Reason: "OTHER"})

	referral, offer = r.begun("submit-0004", custodyv1.ReferralKind_REFERRAL_KIND_SERVICE, "LEGAL")
	r.asks(there, &referralv1.AcceptOfferRequest{Name: offer, Worker: &identityv1.WorkerContact{}})
	r.state(home, referral, custodyv1.ReferralState_REFERRAL_STATE_READY)
	r.asks(there, &referralv1.GiveServiceRequest{Name: offer, Services: []string{"LEGAL"}})
	r.asks(there, &referralv1.ReportOutcomeRequest{Name: offer, Outcome: "SERVICE_GIVEN", Services: []string{"LEGAL"}})
	r.state(home, referral, custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE)
}
