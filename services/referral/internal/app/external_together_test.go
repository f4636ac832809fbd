package app_test

import (
	"context"
	"testing"

	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
)

// Those who go together are asked for, chosen and sent as one, to one agency; where one is not taken, nobody goes.
func TestAnAgencyTakesThoseWhoGoTogether(t *testing.T) {
	begin := func(t *testing.T) (*network, *node, []*referralv1.Referral) {
		net, origin, _, _ := newOwnerNetwork(t)
		request := familyRequest()
		for _, one := range request.GetRequests() {
			one.ToUnit, one.External = "", agency()
		}
		response, err := origin.SubmitReferrals(context.Background(), request)
		must(t, err)
		again, err := origin.SubmitReferrals(context.Background(), request)
		must(t, err)
		if again.GetReferrals()[0].GetName() != response.GetReferrals()[0].GetName() {
			t.Error("the same keys began others")
		}
		return net, origin, response.GetReferrals()
	}
	all := func(origin *node, family []*referralv1.Referral, what func() *said) {
		for _, v := range family {
			must(origin.t, origin.enter(origin.lastOffer(v.GetName()).GetName(), what()))
		}
	}
	t.Run("all go", func(t *testing.T) {
		net, origin, family := begin(t)
		for i, v := range family {
			must(t, origin.enter(v.GetOffers()[0].GetName(), saysYes()))
			want := submitted
			if i == len(family)-1 {
				want = confirmed // with the last of them
			}
			net.checkState(family[0].GetName(), want, "balochistan")
		}
		must(t, origin.enter(family[0].GetOffers()[0].GetName(), saysReady()))
		if err := origin.dispatch(family[0].GetName()); fault.ReasonOf(err) != fault.WrongState {
			t.Errorf("one is sent before all are ready: %v", err)
		}
		for _, v := range family[1:] {
			must(t, origin.enter(v.GetOffers()[0].GetName(), saysReady()))
		}
		must(t, origin.dispatch(family[1].GetName()))
		each(family, func(name string) { net.checkState(name, inTransit, "balochistan") })
		all(origin, family, saysCame)
		each(family, func(name string) { net.checkState(name, hasCome, "balochistan") })
	})
	t.Run("one is not taken", func(t *testing.T) {
		net, origin, family := begin(t)
		must(t, origin.enter(family[0].GetOffers()[0].GetName(), saysYes()))
		must(t, origin.enter(family[1].GetOffers()[0].GetName(), saysNo()))
		if o := origin.get(family[0].GetName()).GetOffers()[0]; o.GetState() != offerWithdrawn || o.GetDeclineReason() != "TOGETHER" {
			t.Errorf("the other's offer: %v", o)
		}
		v := origin.get(family[0].GetName())
		_, err := origin.OfferReferral(context.Background(), &referralv1.OfferReferralRequest{Name: v.GetName(), External: agency(), Etag: v.GetEtag()}, actor)
		must(t, err)
		each(family, func(name string) { // who is asked now stands in the referral of each
			asked := 0
			for _, content := range origin.written(name) {
				if content.GetAgency().GetDisplayName() == theAgency {
					asked++
				}
			}
			if asked != 2 {
				t.Errorf("%s names %d agencies", name, asked)
			}
		})
		all(origin, family, saysYes)
		each(family, func(name string) { net.checkState(name, confirmed, "balochistan") })
	})
	t.Run("two agencies are not taken for one", func(t *testing.T) {
		net, origin, family := begin(t)
		origin.AutoConfirm = false
		v := origin.get(family[0].GetName())
		_, err := origin.OfferReferral(context.Background(), &referralv1.OfferReferralRequest{Name: v.GetName(), External: agency(), Etag: v.GetEtag()}, actor)
		must(t, err)
		must(t, origin.enter(family[0].GetOffers()[0].GetName(), saysYes()))
		all(origin, family[1:], saysYes)
		if err := origin.confirm(family[0].GetOffers()[0].GetName()); fault.ReasonOf(err) != fault.WrongState {
			t.Errorf("places at two agencies were chosen: %v", err)
		}
		each(family, func(name string) { net.checkState(name, submitted, "balochistan") })
	})
}
