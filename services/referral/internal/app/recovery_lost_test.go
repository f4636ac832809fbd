package app_test

import (
	"testing"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// An owner that was restored hears of an offer that it has lost also from the node where the referral began, which holds the chain but not
// that end of it: it takes the offer up again, or says that it is void.
func TestOfferToTheOriginThatItsOwnerLost(t *testing.T) {
	for _, another := range []bool{false, true} {
		net := newNetwork(t)
		origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
		name := net.walk(custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE).GetName()
		old := punjab.copy()
		if another { // an event that nobody has any more stands before the offer
			_, err := punjab.ask(name, karachi)
			must(t, err)
			net.sent = nil
		}
		asked, err := punjab.ask(name, "nodes/balochistan/units/hub")
		must(t, err)
		net.settle()
		offer := asked.GetOffers()[len(asked.GetOffers())-1].GetName()
		accept := acceptRequest(offer)
		accept.Group = "nodes/balochistan/shelters/1/groups/1"
		_, err = origin.AcceptOffer(background, accept, actor)
		must(t, err)
		net.settle()
		punjab.restore(old, true, false)
		net.heal()
		if len(net.refused) > 0 {
			t.Errorf("refused: %q", net.refused)
		}
		own, known := origin.offer(offer), punjab.chain(name).State().Offer(hashOf(t, offer))
		switch {
		case another && (known != nil || own.GetState() != custodyv1.OfferState_OFFER_STATE_WITHDRAWN || own.GetDeclineReason() != codes.WithdrawalRecordLost):
			t.Errorf("what comes before it is lost, and the offer is %v", own)
		case !another && (known == nil || !known.Live() || !live(own.GetState()) && own.GetState() != custodyv1.OfferState_OFFER_STATE_READY):
			t.Errorf("nothing comes before it, and the offer is %v, at its owner %v", own, known)
		}
	}
}

// A word about an offer that a restore took away comes when all have answered already: its writer is told once more that the offer is void.
func TestAWordAboutALostOfferComesLate(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	v := net.submit()
	net.settle()
	must(t, origin.withdraw(v.GetOffers()[0].GetName(), "NOT_NEEDED"))
	net.settle()
	old := origin.copy()
	_, err := origin.ask(v.GetName(), karachi) // which nobody hears of
	must(t, err)
	net.sent = nil
	asked, err := origin.ask(v.GetName(), lahore)
	must(t, err)
	offer := asked.GetOffers()[2].GetName()
	for net.sent[0].from == "balochistan" {
		net.deliver(0)
	}
	late := net.sent
	net.sent = nil
	origin.restore(old, true, false)
	net.heal()
	net.sent = late
	net.settle()
	if o := punjab.offer(offer); o.GetDeclineReason() != codes.WithdrawalRecordLost || len(net.refused) > 0 {
		t.Errorf("the offer is %v; refused: %q", o, net.refused)
	}
}

// The same about a referral of which nobody holds anything any more but the offer, and while the others are still asked, when it waits.
func TestAWordAboutALostReferral(t *testing.T) {
	for _, early := range []bool{true, false} {
		net := newNetwork(t)
		origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
		old := origin.copy()
		v := net.submit()
		offer := v.GetOffers()[0].GetName()
		for net.sent[0].from == origin.Node {
			net.deliver(0)
		}
		punjab.accept(offer)
		late := net.sent
		net.sent = nil
		net.suspended["sindh"] = early // its answer is awaited
		origin.restore(old, true, false)
		if early {
			net.settle()
			net.sent = append(net.sent, late...)
			net.settle()
			if waiting := origin.waiting(); waiting == 0 || len(net.refused) > 0 {
				t.Errorf("%d letters wait; refused: %q", waiting, net.refused)
			}
			net.suspended["sindh"] = false
			net.now = net.now.Add(time.Minute)
		}
		net.heal()
		if !early {
			net.sent = late
			net.settle()
		}
		if o := punjab.offer(offer); o.GetDeclineReason() != codes.WithdrawalRecordLost || len(net.refused) > 0 {
			t.Errorf("early %t: the offer is %v; refused: %q", early, o, net.refused)
		}
	}
}

// The same about a referral that began elsewhere, and that its origin has lost too: it was this node's all the same.
func TestAWordAboutALostReferralOfAnother(t *testing.T) {
	net := newNetwork(t)
	origin, punjab, sindh := net.nodes["balochistan"], net.nodes["punjab"], net.nodes["sindh"]
	began, old := origin.copy(), punjab.copy()
	name := net.walk(custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE).GetName()
	asked, err := punjab.ask(name, karachi)
	must(t, err)
	net.settle()
	offer := asked.GetOffers()[len(asked.GetOffers())-1].GetName()
	sindh.accept(offer) // with an annex
	late := net.sent
	net.sent = nil
	origin.restore(began, true, false)
	punjab.restore(old, true, false)
	net.heal()
	net.sent = late
	net.settle()
	if o := sindh.offer(offer); o.GetDeclineReason() != codes.WithdrawalRecordLost || len(late) < 2 || len(net.refused) > 0 {
		t.Errorf("after %d letters the offer is %v; refused: %q", len(late), o, net.refused)
	}
}

// waiting is how many letters wait for a recovery.
func (n *node) waiting() (count uint64) {
	n.t.Helper()
	must(n.t, n.DB.View(background, func(r kitstore.Reader) (err error) {
		count, err = store.Waiting.Count(r)
		return err
	}))
	return count
}

// What comes beside an answer to an offer that a restore took away, of a unit that was asked by nothing else, and the refusal of a handover that
// it took away, are no reason to refuse: what their writer says next would wait behind them.
func TestWhatBelongsToWhatIsLost(t *testing.T) {
	for name, lose := range map[string]func(net *network) (old copied, late []mail){
		"an annex": func(net *network) (copied, []mail) {
			origin, sindh := net.nodes["balochistan"], net.nodes["sindh"]
			v := net.submit()
			net.settle()
			old := origin.copy()
			must(t, origin.withdraw(v.GetOffers()[0].GetName(), "NOT_NEEDED"))
			net.sent = nil // nobody hears of it
			asked, err := origin.ask(v.GetName(), karachi)
			must(t, err)
			net.settle()
			sindh.accept(asked.GetOffers()[1].GetName())
			return old, net.sent
		},
		"a refusal": func(net *network) (copied, []mail) {
			v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
			offer := store.OfferKey(v.GetOffers()[0].GetName())
			origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
			old := origin.copy()
			must(t, origin.dispatch(v.GetName()))
			punjab.spoilt = true
			must(t, punjab.DB.Update(background, func(tx *kitstore.Tx) error { return store.Offers.Delete(tx, offer) }))
			for net.sent[0].from == origin.Node {
				net.deliver(0)
			}
			return old, net.sent
		},
	} {
		t.Run(name, func(t *testing.T) {
			net := newNetwork(t)
			old, late := lose(net)
			if len(late) == 0 {
				t.Fatal("nothing is on its way")
			}
			net.sent = nil
			net.nodes["balochistan"].restore(old, true, false)
			net.heal()
			net.sent = late
			net.settle()
			if len(net.refused) > 0 {
				t.Errorf("refused: %q", net.refused)
			}
		})
	}
}

// An answer that was given after the restored node was told all, and that comes before what is said again there, waits behind that: nobody says
// it once more.
func TestAnAnswerThatOvertakesWhatIsSaidAgain(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	v := net.submit()
	for net.sent[0].from == origin.Node {
		net.deliver(0)
	}
	old := origin.copy() // which does not know that the offer was received
	net.settle()
	origin.restore(old, true, false)
	for len(net.sent) > 0 {
		net.deliver(0)
	}
	_, err := punjab.Recover(background)
	must(t, err)
	told := len(net.sent)
	punjab.accept(v.GetOffers()[0].GetName())
	net.sent = append(net.sent[told:], net.sent[:told]...) // the other lane is quicker
	net.heal()
	if state := origin.get(v.GetName()).GetState(); state != custodyv1.ReferralState_REFERRAL_STATE_READY || len(net.refused) > 0 {
		t.Errorf("the referral is %v; refused: %q", state, net.refused)
	}
}

// What others tell a restored node of a referral waits behind nothing that lies in its quarantine: when all have answered it goes on with what it
// has, and would write a second event where one stands.
func TestWhatIsToldWaitsBehindNoQuarantine(t *testing.T) {
	net := newNetwork(t)
	origin := net.nodes["balochistan"]
	v := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	old := origin.copy()
	must(t, origin.dispatch(v.GetName()))
	net.settle()
	origin.parked["punjab"+v.GetName()] = []*postv1.Letter{{Kind: "custody.later.v1", Subject: v.GetName()}}
	origin.restore(old, true, false)
	net.heal()
	if owner := origin.get(v.GetName()).GetOwnerNode(); owner != "punjab" {
		t.Errorf("the owner that it knows is %s", owner)
	}
}

// A child that travelled first and came back is with the origin again. That a restore took the return away is no reason to take from the others
// the places that were promised to them meanwhile.
func TestWhoTravelledFirstAndCameBackTakesNoPlace(t *testing.T) {
	for first := range 3 { // whichever goes on first
		net, origin, punjab, _ := newOwnerNetwork(t)
		net.again = false // an arrival asserted again is answered again
		family := net.family()
		net.acceptAll(punjab, family)
		gone := family[first].GetName()
		net.says("punjab", "balochistan", gone, "", &custodyv1.Reply{
			Body: &custodyv1.Reply_ArrivalAsserted{ArrivalAsserted: &custodyv1.ArrivalAsserted{Ordinal: 1, Unit: "nodes/punjab/units/lahore"}},
		})
		net.settle()
		must(t, punjab.arrive(gone))
		net.settle()
		must(t, origin.askBack(gone))
		net.settle()
		net.bringBack(punjab, origin, gone)
		old := origin.copy()
		_, err := origin.RecordReturn(background, &referralv1.RecordReturnRequest{Name: gone, Reason: "FAMILY_TRACED", Note: theNote}, actor)
		must(t, err)
		net.settle()
		origin.restore(old, true, false)
		net.heal()
		net.checkState(gone, returned, "balochistan", "punjab")
		for i, v := range family {
			if i != first {
				net.checkState(v.GetName(), promised, "balochistan")
			}
		}
	}
}
