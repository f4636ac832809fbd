package app_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// spoil writes an offer that does not open, and gives what puts it right.
func (n *node) spoil(offer string) (mend func()) {
	n.t.Helper()
	put := func(change func(o *referralv1.OfferRecord)) {
		must(n.t, n.DB.Update(background, func(tx *kitstore.Tx) error {
			o, err := store.Offers.Get(tx, store.OfferKey(offer))
			if err != nil {
				return err
			}
			change(o)
			return store.Offers.Put(tx, store.OfferKey(offer), o)
		}))
	}
	var whole []byte
	n.spoilt = true
	put(func(o *referralv1.OfferRecord) { whole, o.Offered.Event = o.GetOffered().GetEvent(), []byte{0xff} })
	return func() { put(func(o *referralv1.OfferRecord) { o.Offered.Event = whole }) }
}

// tellAll has all others answer a restored node, one of them first where it is named. What waits there was not looked at since.
func (net *network) tellAll(restored, first *node) {
	net.t.Helper()
	for range 20 {
		if len(restored.awaited()) == 0 {
			return
		}
		slices.SortStableFunc(net.sent, func(a, b mail) int {
			return cmp.Compare(order(a, first), order(b, first))
		})
		for len(net.sent) > 0 {
			net.deliver(0)
		}
		for _, n := range net.nodes {
			if n == restored {
				continue
			}
			_, err := n.Recover(background)
			must(net.t, err)
		}
	}
	net.t.Fatal("somebody does not answer")
}

func order(m mail, first *node) int {
	if first != nil && m.from == first.Node {
		return 0
	}
	return 1
}

// What cannot be done for one referral of all that waits, whatever the reason, holds up nothing of another, and does not stop the service.
func TestWhatCannotBeDoneInARecoveryHoldsUpNothingElse(t *testing.T) {
	for name, jam := range map[string]func(n *node, offer string) (mend func()){
		"an offer that does not open": (*node).spoil,
		"a letter that is not taken": func(n *node, offer string) func() {
			referral, _ := store.SplitOffer(offer)
			n.stuck = func(o post.Outgoing) bool { return o.Subject == referral }
			return func() { n.stuck = nil }
		},
	} {
		t.Run(name, func(t *testing.T) {
			net := newNetwork(t)
			punjab := net.nodes["punjab"]
			old := punjab.copy()
			jammed, request := net.submit(), submitRequest()
			request.RequestId = "request-2"
			other, err := net.nodes["balochistan"].SubmitReferral(background, request)
			must(t, err)
			for len(net.sent) > 0 && net.sent[0].from != punjab.Node { // what it says of the offers is lost
				net.deliver(0)
			}
			punjab.restore(old, true, false)
			net.tellAll(punjab, nil)
			if punjab.Told() {
				t.Error("what waits is said to be done")
			}
			mend := jam(punjab, jammed.GetOffers()[0].GetName())
			net.settle()
			if !punjab.Told() {
				t.Error("a shelter service that was restored too waits for what cannot be done")
			}
			next, err := punjab.Recover(background)
			if must(t, err); !punjab.Recovering() || !next.After(net.now) || punjab.status().GetStuckInRecovery() == 0 {
				t.Errorf("it recovers: %t, looks again at %v, and says %v", punjab.Recovering(), next, punjab.status())
			}
			if _, err := punjab.AcceptOffer(background, acceptRequest(other.GetOffers()[0].GetName()), actor); err != nil {
				t.Errorf("accepted: %v", err)
			}
			mend()
			if _, err := punjab.AcceptOffer(background, acceptRequest(jammed.GetOffers()[0].GetName()), actor); fault.ReasonOf(err) != fault.Recovering {
				t.Errorf("accepted before it was said to be received: %v", err)
			}
			net.heal()
			if _, err := punjab.AcceptOffer(background, acceptRequest(jammed.GetOffers()[0].GetName()), actor); err != nil || len(net.refused) > 0 {
				t.Errorf("accepted in the end: %v; refused: %q", err, net.refused)
			}
		})
	}
}

// Two offers of one referral come back in the wrong order, from two nodes, and cannot be written: they are not lost for that. Those of another
// referral are written, and nothing else is written where they may stand.
func TestAnOfferThatCannotBeWrittenAgainHoldsUpNothingElse(t *testing.T) {
	net := newNetwork(t)
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	var family []string
	for _, key := range []string{"request-1", "request-2"} {
		request := submitRequest()
		request.RequestId = key
		v, err := origin.SubmitReferral(background, request)
		must(t, err)
		net.settle()
		_, err = punjab.AcceptOffer(background, acceptRequest(v.GetOffers()[0].GetName()), actor)
		must(t, err)
		net.settle()
		must(t, origin.dispatch(v.GetName()))
		net.settle()
		must(t, punjab.arrive(v.GetName()))
		net.settle()
		family = append(family, v.GetName())
	}
	old := punjab.copy()
	var last []string
	for _, name := range family {
		_, err := punjab.ask(name, karachi)
		must(t, err)
		asked, err := punjab.ask(name, "nodes/balochistan/units/hub")
		must(t, err)
		last = append(last, asked.GetOffers()[len(asked.GetOffers())-1].GetName())
	}
	net.settle()
	punjab.restore(old, true, false)
	net.tellAll(punjab, origin) // what follows comes before what it follows
	if _, err := punjab.ask(family[0], lahore); fault.ReasonOf(err) != fault.Recovering {
		t.Errorf("asked before what was asked last is written again: %v", err)
	}
	mend := punjab.spoil(punjab.get(family[0]).GetOffers()[0].GetName())
	net.settle()
	if known := punjab.chain(family[1]).State().Offer(hashOf(t, last[1])); known == nil || !known.Live() || !punjab.Recovering() {
		t.Errorf("the other's offer is %v; it recovers: %t", known, punjab.Recovering())
	}
	if _, err := punjab.ask(family[0], lahore); fault.ReasonOf(err) != fault.Recovering {
		t.Errorf("asked while what was asked last is not written again: %v", err)
	}
	mend()
	net.heal()
	if known := punjab.chain(family[0]).State().Offer(hashOf(t, last[0])); known == nil || !known.Live() || len(net.refused) > 0 {
		t.Errorf("in the end the offer is %v; refused: %q", known, net.refused)
	}
}

// A store that has failed is nothing that cannot be done for one referral: the service stops.
func TestARecoveryOfAStoreThatHasFailed(t *testing.T) {
	net := newNetwork(t)
	punjab := net.nodes["punjab"]
	old := punjab.copy()
	net.submit()
	for len(net.sent) > 0 && net.sent[0].from != punjab.Node {
		net.deliver(0)
	}
	punjab.restore(old, true, false)
	net.tellAll(punjab, nil)
	punjab.engine.FailNextCommit(errors.New("no space left"))
	if _, err := punjab.Recover(background); !errors.Is(err, kitstore.ErrFatal) {
		t.Errorf("%v", err)
	}
	_ = punjab.DB.Close() // it says again why it failed
	punjab.open()
}

// More letters about a referral that still stands still, when all have answered, than are read at once keep their places: nobody looks at them
// without end, and in the end they are taken in as they came.
func TestManyLettersAboutWhatStandsStill(t *testing.T) {
	net := newNetwork(t)
	punjab := net.nodes["punjab"]
	name := net.walk(custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE).GetName()
	punjab.restore(punjab.copy(), true, false)
	var want []string
	for i := range 70 {
		unit := fmt.Sprintf("nodes/balochistan/units/u%d", i)
		net.says("balochistan", "punjab", name, "", &custodyv1.Reply{
			Actor: &custodyv1.Actor{Unit: unit}, Body: &custodyv1.Reply_SafetyInformation{SafetyInformation: &custodyv1.SafetyInformation{}},
		})
		want = append(want, unit)
	}
	net.tellAll(punjab, net.nodes["balochistan"])
	mend := punjab.spoil(punjab.get(name).GetOffers()[0].GetName())
	net.settle()
	if stuck := punjab.status().GetStuckInRecovery(); stuck < 70 {
		t.Errorf("%d wait", stuck)
	}
	mend()
	net.heal()
	var got []string
	for _, l := range punjab.chain(name).Links() {
		reply := &custodyv1.Reply{}
		must(t, proto.Unmarshal(l.Event.GetReplyRecorded().GetReply().GetReply(), reply))
		if reply.GetSafetyInformation() != nil {
			got = append(got, reply.GetActor().GetUnit())
		}
	}
	if !slices.Equal(got, want) || len(net.refused) > 0 {
		t.Errorf("it heard %q; refused: %q", got, net.refused)
	}
}
