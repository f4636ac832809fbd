//go:build mutants

package app_test

import (
	"testing"

	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/mutant"
)

// The rule `doss` of the models, taken away, is missed: a dossier can be read at a node whose offer was taken back.
func TestMutants(t *testing.T) {
	readable := func() bool {
		b := newApp(t, away)
		must(t, b.deliver(fromHome, aDossier()))
		b.upTo(confirmed)
		b.event("referral.offer.withdrawn.v1", &referralv1.OfferChanged{Offer: theOffer, Referral: referral, FromNode: home, ToNode: away})
		return b.dossier().GetReceiveTime() != nil
	}
	if readable() {
		t.Error("DOSSIER: read at a node whose offer was taken back")
	}
	mutant.Set("doss")
	defer mutant.Set("")
	if !readable() {
		t.Error("without the rule `doss` nobody misses it")
	}
}
