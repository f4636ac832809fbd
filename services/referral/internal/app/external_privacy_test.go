package app_test

import (
	"context"
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/referral/internal/store"
)

// written are all that a node can read of what people wrote in a referral.
func (n *node) written(name string) (all []*custodyv1.AnnexContent) {
	n.t.Helper()
	for _, commitment := range n.annexes(name) {
		content, err := n.GetAnnex(context.Background(), store.AnnexName(name, commitment))
		must(n.t, err)
		all = append(all, content)
	}
	return all
}

// What is written of an agency, and beside its answers, stays at the origin: a unit that takes the person afterwards, or had the person
// before, gets none of it, by no file and by no recovery.
func TestWhatIsWrittenOfAnAgencyStays(t *testing.T) {
	const theEntry = "Canary-Entry-Panah"
	t.Run("by the escort's file", func(t *testing.T) {
		net, origin, punjab, _ := newOwnerNetwork(t)
		name, offer := net.outside(placement)
		must(t, origin.enter(offer, saysNo()))
		_, err := origin.ask(name, lahore)
		must(t, err)
		net.settle()
		punjab.accept(origin.lastOffer(name).GetName())
		net.settle()
		_, err = punjab.imports(origin.export(name))
		must(t, err)
		net.settle()
		all := punjab.written(name)
		if len(all) == 0 {
			t.Error("punjab can read nothing at all")
		}
		for _, content := range all {
			if content.GetAgency() != nil {
				t.Errorf("punjab can read %v", content)
			}
		}
	})
	t.Run("nor what is for the first owner alone", func(t *testing.T) {
		net := newNetwork(t)
		origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
		copied := punjab.copy()
		name, _ := net.servedBy(punjab)
		_, err := origin.CompleteReferral(context.Background(), completeRequest(name))
		must(t, err)
		net.settle()
		punjab.restore(copied, false, false)
		net.heal()
		net.checkState(name, completed, "balochistan", "punjab")
		for _, content := range punjab.written(name) {
			if content.GetNote() == theFeedback {
				t.Error("the unit that gave a service can read the feedback to the first owner")
			}
		}
	})
	t.Run("by a recovery", func(t *testing.T) {
		net := newNetwork(t)
		origin, punjab := net.nodes["balochistan"], net.nodes["punjab"]
		name := net.walk(promised).GetName()
		must(t, origin.withdraw(origin.lastOffer(name).GetName(), "NEEDS_CHANGED"))
		_, err := punjab.assert(name) // without an escort of ours
		must(t, err)
		net.settle()
		must(t, origin.askBack(name))
		net.settle()
		net.bringBack(punjab, origin, name)
		copied, before := punjab.copy(), len(punjab.written(name))
		must(t, origin.askAgency(name))
		offer := origin.lastOffer(name).GetName()
		for _, says := range []*said{saysYes(), saysReady(), saysCame()} {
			if says.GetReady() != nil || says.GetArrived() != nil {
				says.Note = theEntry
			}
			must(t, origin.enter(offer, says))
			if says.GetReady() != nil {
				must(t, origin.dispatch(name))
			}
		}
		net.settle()
		net.checkState(name, hasCome, "balochistan", "punjab")
		punjab.restore(copied, false, false)
		net.heal()
		net.checkState(name, hasCome, "balochistan", "punjab")
		if after := punjab.written(name); len(after) != before { // nor how the person travelled there
			t.Errorf("punjab can read %v", after)
		}
	})
}
