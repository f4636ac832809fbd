package e2e

import (
	"crypto/sha256"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"amanat.example/deploy/network"
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
)

// viaOwner has the owner take offers back, let a unit go and correct what stands, the first owner ask a person back, a person not
// come, and two asked for as one.
func (r *canaries) viaOwner() {
	r.t.Helper()
	_, offer := r.begun("submit-0005", placement, "SHELTER")
	r.asks(home, &referralv1.WithdrawOfferRequest{Name: offer, Reason: "OTHER"})
	r.letGo()
	r.thereAndBack()
	referral := r.onTheRoad("submit-0008")
	r.send(there, network.Gateway, func() proto.Message {
		return &referralv1.RecordNoShowRequest{Name: referral, Etag: r.read(there, referral).GetEtag()}
	})
	r.together()
}

const placement = custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT

func (r *canaries) read(node, referral string) *referralv1.Referral {
	r.t.Helper()
	return ask[*referralv1.Referral](r, node, &referralv1.GetReferralRequest{Name: referral})
}

// promised is a referral whose place at Lahore is promised.
func (r *canaries) promised(id string) (referral, offer string) {
	r.t.Helper()
	referral, offer = r.begun(id, placement, "SHELTER")
	r.asks(there, &referralv1.AcceptOfferRequest{Name: offer, Group: beds, Worker: &identityv1.WorkerContact{}})
	r.state(home, referral, custodyv1.ReferralState_REFERRAL_STATE_READY)
	return referral, offer
}

// letGo: Lahore wants to be let go, is not, and is; then nobody is needed.
func (r *canaries) letGo() {
	r.t.Helper()
	referral, offer := r.promised("submit-0006")
	release := &referralv1.RequestReleaseRequest{Name: offer, Reason: "NO_CAPACITY"}
	ask[*referralv1.Offer](r, there, release)
	r.asks(home, &referralv1.RefuseReleaseRequest{Name: offer, Reason: "OTHER"})
	eventually(r.t, "the refusal at Lahore", func() bool {
		return ask[*referralv1.Offer](r, there, &referralv1.GetOfferRequest{Name: offer}).GetReleaseReason() == ""
	})
	ask[*referralv1.Offer](r, there, release)
	r.asks(home, &referralv1.GrantReleaseRequest{Name: offer})
	r.send(home, network.Gateway, func() proto.Message {
		return &referralv1.CancelReferralRequest{Name: referral, Reason: "OTHER", Etag: r.read(home, referral).GetEtag()}
	})
}

// onTheRoad is a referral whose person is on the way to Lahore.
func (r *canaries) onTheRoad(id string) string {
	r.t.Helper()
	referral, _ := r.promised(id)
	r.asks(home, &referralv1.DispatchReferralRequest{Name: referral, ExpectTime: timestamppb.New(time.Now().Add(24 * time.Hour))})
	r.state(there, referral, custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT)
	return referral
}

// thereAndBack: heard of on the road, arrived, corrected, and sent back to the first owner.
func (r *canaries) thereAndBack() {
	r.t.Helper()
	referral := r.onTheRoad("submit-0007")
	r.asks(there, &referralv1.CheckInRequest{Name: referral, District: "PK617", NextTime: timestamppb.New(time.Now().Add(6 * time.Hour))})
	r.asks(there, &referralv1.RecordArrivalRequest{Name: referral, Identification: []string{"OWN_STATEMENT"}})
	r.state(home, referral, custodyv1.ReferralState_REFERRAL_STATE_ARRIVED)
	chain := ask[*custodyv1.Chain](r, home, &referralv1.GetCustodyChainRequest{Name: referral}).GetEvents()
	arrived := sha256.Sum256(chain[len(chain)-1].GetEvent())
	r.send(there, network.Gateway, func() proto.Message {
		return &referralv1.CorrectReferralRequest{
			Name: referral, Supersedes: arrived[:], Etag: r.read(there, referral).GetEtag(),
			Body: &referralv1.CorrectReferralRequest_Arrived{Arrived: &custodyv1.Arrived{
				Identification: []string{"REFERRAL_SLIP"}, ArriveTime: timestamppb.New(time.Now().Add(-time.Second)),
			}},
		}
	})
	r.asks(home, &referralv1.RequestReturnRequest{Name: referral, Reason: "OTHER", Unit: homeUnit})
	back := ""
	eventually(r.t, "the wish to return at Lahore", func() bool {
		for _, o := range r.read(there, referral).GetOffers() {
			if o.GetReturn() && o.GetState() == custodyv1.OfferState_OFFER_STATE_ACCEPTED {
				back = o.GetName()
			}
		}
		return back != ""
	})
	ask[*referralv1.Referral](r, there, &referralv1.ConfirmOfferRequest{Name: back})
	eventually(r.t, "home is ready to take the person back", func() bool {
		return r.read(there, referral).GetState() == custodyv1.ReferralState_REFERRAL_STATE_READY
	})
	r.asks(there, &referralv1.DispatchReferralRequest{Name: referral, ExpectTime: timestamppb.New(time.Now().Add(24 * time.Hour))})
	eventually(r.t, "the handover back at home", func() bool { return r.read(home, referral).GetOwnerNode() == home })
	r.asks(home, &referralv1.RecordArrivalRequest{Name: referral, Identification: []string{"OWN_STATEMENT"}})
	r.asks(home, &referralv1.EndConsentRequest{Name: referral})
	r.send(home, network.Gateway, func() proto.Message {
		return &referralv1.RecordReturnRequest{Name: referral, Reason: "OTHER", Etag: r.read(home, referral).GetEtag()}
	})
}

// together: two go together, and are accepted as one.
func (r *canaries) together() {
	r.t.Helper()
	one := func(id string) *referralv1.SubmitReferralRequest {
		s := r.submission(id, placement, "SHELTER")
		s.Note = "The court orders it."
		return s
	}
	begun := r.send(home, network.Protection, func() proto.Message {
		return &referralv1.SubmitReferralsRequest{Parent: "nodes/" + home, Requests: []*referralv1.SubmitReferralRequest{one("submit-0009"), one("submit-0010")}}
	}).(*referralv1.SubmitReferralsResponse).GetReferrals()
	first, second := begun[0].GetName(), begun[1].GetName()
	r.asks(there, &referralv1.AcceptOfferRequest{
		Name: r.offer(first).GetName(), Group: beds, Worker: &identityv1.WorkerContact{},
		Also: []*referralv1.AcceptedWith{{Offer: r.offer(second).GetName(), Group: beds}},
	})
	r.state(home, first, custodyv1.ReferralState_REFERRAL_STATE_READY)
	r.state(home, second, custodyv1.ReferralState_REFERRAL_STATE_READY)
	// One of them is there before anybody is sent, in the bed that was held for both.
	r.asks(there, &referralv1.AssertArrivalRequest{Name: second, Unit: awayUnit, Identification: []string{"OWN_STATEMENT"}})
	r.state(home, second, custodyv1.ReferralState_REFERRAL_STATE_ARRIVED)
	r.asks(home, &referralv1.DispatchReferralRequest{Name: first, ExpectTime: timestamppb.New(time.Now().Add(24 * time.Hour))})
	r.state(there, first, custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT)
}
