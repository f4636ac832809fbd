package app_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/soaktest"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/kit/store/storetest"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// What is done each hour and each quarter of an hour reads what is open alone: ten open referrals cost as many calls of the engine beside
// ten thousand that are over as by themselves, at who sends a digest, who compares it, who lists, who looks a list through, and with the shelter.
func TestWhatIsOverCostsNothing(t *testing.T) {
	net := newNetwork(t)
	origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
	for i := range 11 {
		request := submitRequest()
		request.RequestId = fmt.Sprintf("request-of-%d", i)
		v, err := origin.SubmitReferral(background, request)
		must(t, err)
		net.settle()
		dest.accept(v.GetOffers()[0].GetName())
		net.settle()
		must(t, origin.dispatch(v.GetName()))
		net.settle()
		must(t, dest.arrive(v.GetName()))
		net.settle()
		if i == 0 {
			must(t, dest.serve(v.GetName()))
			_, err := dest.CompleteReferral(background, completeRequest(v.GetName()))
			must(t, err)
			net.settle()
		}
	}
	tallies := map[string]*storetest.Tally{}
	for _, n := range net.nodes {
		engine := &storetest.Tally{Engine: n.engine}
		must(t, n.DB.Close())
		db, err := kitstore.Open(background, kitstore.Options{Engine: engine, Inline: true, Schema: store.Schema})
		must(t, err)
		n.DB, tallies[n.Node] = db, engine
	}
	costs := func() map[string]int {
		cost := map[string]int{}
		of := func(what string, n *node, do func()) {
			before := tallies[n.Node].Calls
			do()
			cost[what] = tallies[n.Node].Calls - before
		}
		deliver := func(what, kind string, to *node) {
			i := slices.IndexFunc(net.sent, func(m mail) bool { return m.out.Kind == kind && m.out.To.GetNode() == to.Node })
			if i < 0 {
				t.Fatalf("%s: no %s to %s", what, kind, to.Node)
			}
			of(what, to, func() { net.deliver(i) })
		}
		of("a digest is made", dest, func() { must(t, dest.CompareHeads(background)) })
		deliver("a digest is compared", "custody.head.digest.v1", origin)
		if slices.ContainsFunc(net.sent, func(m mail) bool { return m.out.Kind == "custody.head.list.v1" }) {
			t.Error("the digests differ, and nothing is lost")
		}
		must(t, dest.DB.Update(background, func(tx *kitstore.Tx) error {
			return dest.Post.Queue(tx, post.Outgoing{
				To: &postv1.Address{Node: origin.Node, Service: "referral"}, Lane: postv1.Lane_LANE_BULK, Kind: "custody.head.digest.v1", Body: &custodyv1.HeadDigest{},
			})
		}))
		deliver("heads are listed", "custody.head.digest.v1", origin)
		deliver("a list is looked through", "custody.head.list.v1", dest)
		shelter := &listed{whole: true}
		of("beds are compared", dest, func() { must(t, dest.ReconcileShelter(background, shelter)) })
		if len(shelter.pages) != 1 || len(shelter.pages[0].GetOffers()) != 10 {
			t.Errorf("%d pages, the first with %d offers", len(shelter.pages), len(shelter.pages[0].GetOffers()))
		}
		net.sent = nil
		return cost
	}
	alone := costs()
	for _, n := range []*node{origin, dest} {
		n.spoilt = true
		n.addOver(soaktest.Alone(10_000, 500))
	}
	if beside := costs(); !maps.Equal(alone, beside) {
		t.Errorf("alone %v, beside ten thousand that are over %v", alone, beside)
	}
	t.Log(alone)
}

// addOver adds copies of the referral of this node that is over, with its offers, under other names.
func (n *node) addOver(count int) {
	n.t.Helper()
	must(n.t, n.DB.Update(background, func(tx *kitstore.Tx) error {
		var over *referralv1.ReferralRecord
		err := store.Referrals.Scan(tx, kitstore.Range{}, func(_ kitstore.Key, r *referralv1.ReferralRecord) error {
			if r.GetReferral().GetState() == custodyv1.ReferralState_REFERRAL_STATE_COMPLETED {
				over = r
			}
			return nil
		})
		if err != nil {
			return err
		}
		offers := map[string]*referralv1.OfferRecord{}
		err = store.Offers.Scan(tx, kitstore.Range{Prefix: kitstore.K(over.GetReferral().GetName())}, func(_ kitstore.Key, o *referralv1.OfferRecord) error {
			offers[custody.HashOf(o.GetOffered().GetEvent()).String()] = o
			return nil
		})
		if err != nil {
			return err
		}
		over.Request = nil
		for range count {
			id, err := n.NewID()
			if err != nil {
				return err
			}
			over.Referral.Name = "nodes/balochistan/referrals/" + id
			if err := store.Referrals.Put(tx, kitstore.K(over.GetReferral().GetName()), over); err != nil {
				return err
			}
			if err := store.Arrivals.Put(tx, kitstore.K(over.GetReferral().GetName()), &referralv1.ArrivalRecord{Taken: true}); err != nil {
				return err
			}
			for hash, o := range offers {
				if err := store.Offers.Put(tx, kitstore.K(over.GetReferral().GetName(), hash), o); err != nil {
					return err
				}
			}
		}
		return nil
	}))
}

// No offer has a stage that the search for live ones would not come upon: by its own state, by a referral that this node owns and that is
// open, or by a person who waits for the referral to follow.
func TestEveryStageIsFound(t *testing.T) {
	stages := 0
	for offer := range custodyv1.OfferState_name {
		for referral := range custodyv1.ReferralState_name {
			for bits := range 1 << 7 {
				bit := func(n int) bool { return bits>>n&1 == 1 }
				node := func(n int) string { return map[bool]string{true: "punjab", false: "sindh"}[bit(n)] }
				o := &referralv1.OfferRecord{State: custodyv1.OfferState(offer), HoldOver: bit(0), Admitted: bit(1), Admitting: bit(6)}
				held := &referralv1.Referral{State: custodyv1.ReferralState(referral), OwnerNode: node(2), CareNode: node(3), Outside: bit(4)}
				waiting := bit(5)
				if rules.Stage(o, held, "punjab", waiting, false) == shelterv1.LiveOffer_STAGE_UNSPECIFIED {
					continue
				}
				stages++
				if !store.WantsBed(o) && !waiting && (held.GetOwnerNode() != "punjab" || store.Over(held.GetState())) {
					t.Errorf("an offer that is %v, of a referral that is %v, is never found: %v %v", o.GetState(), held.GetState(), o, held)
				}
			}
		}
	}
	if stages == 0 {
		t.Error("no offer has a stage")
	}
}

// A person is here whom the referral has not followed yet: the bed is listed, though the offer is over and the referral is another's. The
// hold of one who goes together with others is listed with the one whose hold it is.
func TestListOfLiveOffersHasWhoWaits(t *testing.T) {
	for name, bed := range map[string]string{"a bed of their own": "", "a bed by another's hold": "lead"} {
		t.Run(name, func(t *testing.T) {
			net := newNetwork(t)
			dest := net.nodes["punjab"]
			referral, offer := net.asked()
			dest.spoilt = true
			var want string
			must(t, dest.DB.Update(background, func(tx *kitstore.Tx) error {
				record, err := store.Offers.Get(tx, store.OfferKey(offer))
				if err != nil {
					return err
				}
				record.State, record.HoldOver, record.Admitted = custodyv1.OfferState_OFFER_STATE_WITHDRAWN, true, true
				want = offer
				if bed != "" {
					lead := proto.CloneOf(record)
					event := &custodyv1.Event{}
					if err := proto.Unmarshal(record.GetOffered().GetEvent(), event); err != nil {
						return err
					}
					event.Referral += bed
					raw, err := proto.Marshal(event)
					if err != nil {
						return err
					}
					want = offerNameOf(raw, event.GetReferral())
					lead.Offered, lead.Admitted, lead.HoldsFor = &custodyv1.SignedEvent{Event: raw}, false, []string{offer}
					record.HoldOf = want
					if err := store.Offers.Put(tx, store.OfferKey(want), lead); err != nil {
						return err
					}
				}
				reply, err := proto.Marshal(&custodyv1.Reply{Referral: referral})
				if err != nil {
					return err
				}
				if err := store.Arrivals.Put(tx, kitstore.K(referral), &referralv1.ArrivalRecord{Reply: &custodyv1.SignedReply{Reply: reply}}); err != nil {
					return err
				}
				return store.Offers.Put(tx, store.OfferKey(offer), record)
			}))
			shelter := &listed{whole: true}
			must(t, dest.ReconcileShelter(context.Background(), shelter))
			if live := shelter.pages[0].GetOffers(); len(live) != 1 || live[0].GetOffer() != want || live[0].GetStage() != shelterv1.LiveOffer_STAGE_ARRIVED {
				t.Errorf("listed %v", live)
			}
		})
	}
}
