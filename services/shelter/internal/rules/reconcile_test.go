package rules_test

import (
	"testing"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/shelter/internal/rules"
)

// Every state of a hold against every stage of its offer, in a store as it was left, in one that was restored, and in one that does not know the hold.
func TestReconcileInEveryPairOfStates(t *testing.T) {
	const none, held, confirmed, occupied, released, expired = shelterv1.Hold_STATE_UNSPECIFIED, shelterv1.Hold_STATE_HELD, shelterv1.Hold_STATE_CONFIRMED,
		shelterv1.Hold_STATE_OCCUPIED, shelterv1.Hold_STATE_RELEASED, shelterv1.Hold_STATE_EXPIRED
	const unlisted, tentative, promised, arrived = shelterv1.LiveOffer_STAGE_UNSPECIFIED, shelterv1.LiveOffer_STAGE_TENTATIVE,
		shelterv1.LiveOffer_STAGE_PROMISED, shelterv1.LiveOffer_STAGE_ARRIVED
	type pair struct {
		stage shelterv1.LiveOffer_Stage
		state shelterv1.Hold_State
	}
	type mends struct{ usual, restored rules.Mend }
	unknown := map[shelterv1.LiveOffer_Stage]rules.Mend{tentative: rules.Lost, promised: rules.RenewPromise, arrived: rules.RenewStay}
	keep, back := mends{rules.Keep, rules.Keep}, mends{rules.GiveBack, rules.GiveBack}
	gone, gonePerson := mends{rules.Lost, rules.RenewPromise}, mends{rules.Keep, rules.RenewStay}
	want := map[pair]mends{
		{unlisted, held}: back, {unlisted, confirmed}: back, // a bed for nobody
		{tentative, held}: {rules.Keep, rules.GiveBack}, {tentative, confirmed}: {rules.Keep, rules.GiveBack},
		{promised, held}: {rules.Promise, rules.Promise},
		{promised, none}: gone, {promised, released}: gone, {promised, expired}: gone,
		{arrived, held}: {rules.Fill, rules.Fill}, {arrived, confirmed}: {rules.Fill, rules.Fill},
		{arrived, none}: gonePerson, {arrived, released}: gonePerson, {arrived, expired}: gonePerson,
	}
	for _, stage := range []shelterv1.LiveOffer_Stage{unlisted, tentative, promised, arrived} {
		for _, state := range []shelterv1.Hold_State{none, held, confirmed, occupied, released, expired} {
			expect, ok := want[pair{stage, state}]
			if !ok {
				expect = keep
			}
			h := &shelterv1.Hold{State: state}
			if state == none {
				h = nil
			}
			got := mends{rules.Reconcile(h, stage, false, false), rules.Reconcile(h, stage, true, false)}
			if got != expect {
				t.Errorf("%v, %v: %v, want %v", stage, state, got, expect)
			}
		}
		for _, restored := range []bool{false, true} {
			if got := rules.Reconcile(nil, stage, restored, true); got != unknown[stage] {
				t.Errorf("%v, unknown, restored %t: %v, want %v", stage, restored, got, unknown[stage])
			}
		}
	}
}
