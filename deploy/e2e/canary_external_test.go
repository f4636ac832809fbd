package e2e

import (
	"google.golang.org/protobuf/proto"

	"amanat.example/deploy/network"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
)

// viaAgency asks agencies outside the network, in each way in which one can be asked, and enters what one of them says.
func (r *canaries) viaAgency() {
	r.t.Helper()
	agency := func() *custodyv1.Agency { return &custodyv1.Agency{Kind: "NGO"} }
	c := r.send(home, network.Gateway, func() proto.Message {
		return &protectionv1.CreateCaseRequest{
			Parent: "nodes/" + home, RequestId: "intake-0002", Case: &protectionv1.Case{Unit: homeUnit, Urgency: custodyv1.Urgency_URGENCY_HIGH, Consent: consent()},
		}
	}).(*protectionv1.Case)
	fresh := func() *protectionv1.Case {
		return ask[*protectionv1.Case](r, home, &protectionv1.GetCaseRequest{Name: c.GetName()})
	}
	r.send(home, network.Gateway, func() proto.Message {
		return &protectionv1.ReferCaseRequest{
			Name: c.GetName(), Etag: fresh().GetEtag(), Kind: placement, Service: "SHELTER", Reasons: []string{"NO_LOCAL_BED"}, External: agency(), Needs: needs(),
			Override: &custodyv1.ConsentOverride{LegalBasis: "COURT_ORDER", Approver: "nodes/balochistan/workers/everyone"},
		}
	})
	var referral string
	eventually(r.t, "the referral to an agency", func() bool {
		referral = fresh().GetReferral()
		return referral != ""
	})
	r.send(home, network.Gateway, func() proto.Message {
		return &referralv1.OfferReferralRequest{Name: referral, External: agency(), Etag: r.read(home, referral).GetEtag()}
	})
	r.asks(home, &referralv1.RecordExternalAnswerRequest{
		Name: r.read(home, referral).GetOffers()[0].GetName(), Means: "PHONE",
		Answer: &referralv1.RecordExternalAnswerRequest_Accepted{Accepted: &referralv1.ExternalAcceptance{Worker: &identityv1.WorkerContact{}}},
	})
	outside := func(id string) *referralv1.SubmitReferralRequest {
		s := r.submission(id, placement, "SHELTER")
		s.ToUnit, s.External, s.Note = "", agency(), "The court orders it."
		return s
	}
	r.send(home, network.Protection, func() proto.Message { return outside("submit-0011") })
	r.send(home, network.Protection, func() proto.Message {
		both := &referralv1.SubmitReferralsRequest{Parent: "nodes/" + home, Requests: []*referralv1.SubmitReferralRequest{outside("submit-0012"), outside("submit-0013")}}
		r.f.plant(r.t, both) // one agency is asked for both
		both.Requests[1].External = both.GetRequests()[0].GetExternal()
		return both
	})
}
