package app_test

import (
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// Who refused a handover never had the person: the first owner goes on as before it, may cancel, and the refuser hears no more.
func TestAfterARefusedHandover(t *testing.T) {
	for _, cancels := range []bool{true, false} {
		net := newNetwork(t)
		referral, _ := net.refusing(custodyv1.OfferState_OFFER_STATE_DECLINED)
		origin, sindh := net.nodes["balochistan"], net.nodes["sindh"]
		net.settle()
		net.checkState(referral, submitted, "balochistan")
		if s := net.chain(origin, referral).State(); s.Owned("punjab") || s.Party("punjab") {
			t.Error("by the chain the refuser is a party")
		}
		if cancels {
			must(t, origin.cancel(referral))
			net.settle()
			continue
		}
		_, err := origin.ask(referral, karachi)
		must(t, err)
		net.settle()
		sindh.accept(origin.lastOffer(referral).GetName())
		net.settle()
		sent := len(net.history)
		must(t, origin.dispatch(referral))
		net.settle()
		must(t, sindh.arrive(referral))
		net.settle()
		for _, m := range net.history[sent:] {
			if m.out.To.GetNode() == "punjab" {
				t.Errorf("the refuser gets %s", m.out.Kind)
			}
		}
		net.checkState(referral, hasCome, "balochistan", "sindh")
		for _, n := range net.nodes {
			due, err := n.ListDeadlines(background, &referralv1.ListDeadlinesRequest{Parent: "nodes/" + n.Node})
			must(t, err)
			for _, d := range due.GetDeadlines() {
				if d.GetUnit() == "" {
					t.Errorf("at %s nobody answers for %v", n.Node, d)
				}
			}
		}
		if len(net.refused) > 0 {
			t.Errorf("refused %v", net.refused)
		}
	}
}

// All of those who go together are refused: they are bound to each other as before.
func TestThoseWhoAreRefusedTogetherStayTogether(t *testing.T) {
	net := newNetwork(t)
	origin, punjab, sindh := net.nodes["balochistan"], net.nodes["punjab"], net.nodes["sindh"]
	family := net.family()
	net.acceptAll(punjab, family)
	punjab.spoilt = true
	each(family, func(name string) { punjab.loseOffer(origin.lastOffer(name).GetName()) })
	must(t, origin.dispatch(family[0].GetName()))
	net.settle()
	each(family, func(name string) { net.checkState(name, submitted, "balochistan") })
	_, err := origin.ask(family[1].GetName(), karachi) // one call asks for all
	must(t, err)
	net.settle()
	net.acceptAll(sindh, family)
	must(t, origin.dispatch(family[2].GetName()))
	net.settle()
	each(family, func(name string) { net.checkState(name, inTransit, "balochistan", "sindh") })
}

// loseOffer drops an offer, as a node restored from an older copy does.
func (n *node) loseOffer(offer string) {
	n.t.Helper()
	must(n.t, n.DB.Update(background, func(tx *kitstore.Tx) error { return store.Offers.Delete(tx, store.OfferKey(offer)) }))
}

// losePromise has an offer be over that the node has promised a place on, as an older copy of another order of events has it.
func (n *node) losePromise(offer string) {
	n.t.Helper()
	n.spoilt = true
	must(n.t, n.DB.Update(background, func(tx *kitstore.Tx) error {
		record, err := store.Offers.Get(tx, store.OfferKey(offer))
		if err != nil {
			return err
		}
		record.State = custodyv1.OfferState_OFFER_STATE_LAPSED
		return store.Offers.Put(tx, store.OfferKey(offer), record)
	}))
}

// Who refused a handover is put back to when it had promised to take it, and the chain that it refused comes once more: it has its refusal again,
// owns nothing, and keeps no bed.
func TestARefusedHandoverStaysRefusedAfterARestore(t *testing.T) {
	for _, heard := range []bool{true, false} {
		net := newNetwork(t)
		origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
		v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
		referral, offer := v.GetName(), v.GetOffers()[0].GetName()
		old := punjab.copy()
		punjab.losePromise(offer)
		_, err := origin.DispatchReferral(background, net.dispatchRequest(referral), actor)
		must(t, err)
		net.settle()
		if got := origin.get(referral); got.GetOwnerNode() != origin.Node {
			t.Fatalf("it was not refused: %v", got)
		}
		punjab.spoilt = false
		punjab.restore(old, true, heard)
		links := origin.chain(referral).Links()
		net.brings("sindh", punjab.Node, "custody.recovery.part.v1", &custodyv1.RecoveryPart{Referral: referral, Steps: []*custodyv1.RecoveryStep{{
			Step: &custodyv1.RecoveryStep_Refused{Refused: &custodyv1.RefusedHandover{ // another than punjab refused
				Dispatched: links[0].Signed, Refusal: links[len(links)-1].Event.GetHandoverRefused().GetRefusal(),
			}},
		}}})
		if o := punjab.maybeOffer(offer); len(net.refused) != 1 || o.GetState() != custodyv1.OfferState_OFFER_STATE_READY {
			t.Errorf("a word that proves nothing: refused %q, and the offer is %v", net.refused, o.GetState())
		}
		net.refused = nil
		net.heal()
		if s := punjab.chain(referral).State(); s.Owner == punjab.Node || len(net.refused) > 0 {
			t.Errorf("the chain again: %t; by who refused, %s owns it; refused %q", heard, s.Owner, net.refused)
		}
		if told := punjab.eventsOf("referral.handover.refused.v1"); len(told) != 2 { // who follows may have lost it too
			t.Errorf("the chain again: %t; who follows is told %d times", heard, len(told))
		}
		if o := punjab.maybeOffer(offer); o.GetState() != custodyv1.OfferState_OFFER_STATE_LAPSED || punjab.calls[len(punjab.calls)-1] != "ReleaseHold" {
			t.Errorf("the chain again: %t; the offer is %v, and the shelter was asked %v", heard, o.GetState(), punjab.calls)
		}
	}
}

// Who refused a handover is put back, and hears the handover of a node that does not know yet that it was refused, or of its writer, who was put
// back as well: whoever tells the refusal later, and whenever, one node owns the referral.
func TestARefusedHandoverIsTakenBackWhoeverTellsItLast(t *testing.T) {
	from := func(node, to string) func(mail) bool {
		return func(m mail) bool { return m.from == node && (to == "" || m.out.To.GetNode() == to) }
	}
	for _, both := range []bool{false, true} {
		net := newNetwork(t)
		punjab, sindh := net.nodes["punjab"], net.nodes["sindh"]
		referral := net.walk(hasCome).GetName()
		_, err := punjab.ask(referral, karachi)
		must(t, err)
		net.settle()
		offer := punjab.lastOffer(referral).GetName()
		sindh.accept(offer)
		net.settle()
		promised := sindh.copy()
		sindh.losePromise(offer)
		must(t, punjab.dispatch(referral))
		net.settleBut(from("sindh", ""))
		handedOn := punjab.copy()
		late, unheard := from("punjab", ""), from("punjab", "balochistan")
		if both {
			late, unheard = from("balochistan", ""), func(mail) bool { return false }
		}
		net.settleBut(unheard)
		if owner := punjab.chain(referral).State().Owner; owner != "punjab" {
			t.Fatalf("it was not refused: %s owns it", owner)
		}
		if both {
			punjab.restore(handedOn, true, false)
		}
		sindh.restore(promised, true, false)
		sindh.spoilt = false
		net.settleBut(late)
		if owner := sindh.chain(referral).State().Owner; owner != "sindh" {
			t.Fatalf("the handover did not come again: %s owns it", owner)
		}
		net.heal()
		for _, n := range net.nodes {
			if owner := n.chain(referral).State().Owner; owner != "punjab" {
				t.Errorf("the writer put back too: %t; by %s, %s owns the referral", both, n.Node, owner)
			}
		}
		if len(net.refused) > 0 {
			t.Errorf("the writer put back too: %t; refused %q", both, net.refused)
		}
		_, err = punjab.ask(referral, karachi) // and goes on from there
		must(t, err)
		net.settle()
		sindh.accept(punjab.lastOffer(referral).GetName())
		net.settle()
		must(t, punjab.dispatch(referral))
		net.settle()
		net.checkState(referral, inTransit, "punjab", "sindh")
	}
}
