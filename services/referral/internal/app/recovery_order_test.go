package app_test

import (
	"context"
	"testing"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// When all have answered, nobody's answer overtakes one that the restored node still owes: an acceptance that came before the word that
// the offer was received would be refused by the owner.
func TestNothingOvertakesWhatIsOwed(t *testing.T) {
	net := newNetworkOn(t, true)
	ctx := context.Background()
	punjab := net.nodes["punjab"]
	old := punjab.copy()
	offer := net.submit().GetOffers()[0].GetName()
	for len(net.sent) > 0 && net.sent[0].from != "punjab" {
		net.deliver(0)
	}
	punjab.restore(old, true, false)
	for range 3 {
		for len(net.sent) > 0 {
			net.deliver(0)
		}
		for _, name := range []string{"balochistan", "sindh"} {
			_, err := net.nodes[name].Recover(ctx)
			must(t, err)
		}
	}
	if _, err := punjab.AcceptOffer(ctx, acceptRequest(offer), actor); fault.ReasonOf(err) != fault.Recovering {
		t.Errorf("accepted before it was said to be received: %v", err)
	}
	net.settle()
	_, err := punjab.AcceptOffer(ctx, acceptRequest(offer), actor)
	must(t, err)
	net.heal()
	if len(net.refused) > 0 {
		t.Errorf("refused: %q", net.refused)
	}
}

// A restored node that was chosen once, and is not any more, is told what became of its offer, without the chain.
func TestRestoredNodeThatWasChosenOnce(t *testing.T) {
	net := newNetworkOn(t, true)
	ctx := context.Background()
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	v := net.submit()
	net.settle()
	offer := v.GetOffers()[0].GetName()
	_, err := punjab.AcceptOffer(ctx, acceptRequest(offer), actor)
	must(t, err)
	old := punjab.copy()
	net.settle() // it is chosen, and promises
	must(t, origin.withdraw(offer, "NOT_NEEDED"))
	net.settle()
	punjab.restore(old, true, false)
	net.heal()
	o, err := punjab.GetOffer(ctx, offer)
	must(t, err)
	if o.GetState() != custodyv1.OfferState_OFFER_STATE_WITHDRAWN || len(net.refused) > 0 {
		t.Errorf("the offer is %v; refused: %q", o.GetState(), net.refused)
	}
}

// A letter that waits at a restored node is of an earlier life of its writer once that was restored too: it is not applied behind the
// answer that the writer has counted, or two events would stand at one position. A chain in it is in the answer.
func TestLetterOfEarlierLifeThatWaits(t *testing.T) {
	net := newNetworkOn(t, true)
	ctx := context.Background()
	origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
	v := net.submit()
	net.settle()
	offer := v.GetOffers()[0].GetName()
	_, err := punjab.AcceptOffer(ctx, acceptRequest(offer), actor)
	must(t, err)
	oldPunjab, oldOrigin := punjab.copy(), origin.copy()
	for len(net.sent) > 0 && net.sent[0].from == "punjab" { // the origin chooses; the chain is on its way
		net.deliver(0)
	}
	punjab.restore(oldPunjab, true, false)
	for i := 0; i < len(net.sent); i++ {
		if net.sent[i].from == "balochistan" && net.sent[i].out.To.GetNode() == "punjab" { // it waits
			net.deliver(i)
			i--
		}
	}
	must(t, origin.cancel(v.GetName()))
	net.now = net.now.Add(time.Minute) // what it writes again is another event
	origin.restore(oldOrigin, true, false)
	net.heal()
	chosen := origin.get(v.GetName()).GetState() != custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED
	forks := uint64(0)
	for _, n := range net.nodes {
		must(t, n.DB.View(ctx, func(r kitstore.Reader) error {
			count, err := store.Forks.Count(r)
			forks += count
			return err
		}))
	}
	if !chosen || forks > 0 || len(net.refused) > 0 {
		t.Errorf("the choice was kept: %v; %d forks; refused: %q", chosen, forks, net.refused)
	}
}
