package rules_test

import (
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/referral/internal/rules"
)

// Whether an offer needs its bed, in every state of the offer and, once it is fulfilled, of the referral.
func TestStage(t *testing.T) {
	const tentative, promised, arrived = shelterv1.LiveOffer_STAGE_TENTATIVE, shelterv1.LiveOffer_STAGE_PROMISED, shelterv1.LiveOffer_STAGE_ARRIVED
	want := map[custodyv1.OfferState]shelterv1.LiveOffer_Stage{accepting: tentative, accepted: tentative, confirmed: tentative, ready: promised}
	whole := map[custodyv1.ReferralState]bool{isConfirmed: true, isReady: true, onTheRoad: true, custodyv1.ReferralState_REFERRAL_STATE_ARRIVED: true, inService: true}
	for _, state := range offerStates {
		o := &referralv1.OfferRecord{State: state}
		if got := rules.Stage(o, nil, "punjab", false, false); got != want[state] {
			t.Errorf("%v: %v, want %v", state, got, want[state])
		}
	}
	o := &referralv1.OfferRecord{State: fulfilled}
	for number := range custodyv1.ReferralState_name {
		state := custodyv1.ReferralState(number)
		for care, stage := range map[string]shelterv1.LiveOffer_Stage{"punjab": arrived, "balochistan": promised} {
			if !whole[state] {
				stage = shelterv1.LiveOffer_STAGE_UNSPECIFIED
			}
			if got := rules.Stage(o, &referralv1.Referral{State: state, OwnerNode: "punjab", CareNode: care}, "punjab", false, false); got != stage {
				t.Errorf("%v, in the care of %s: %v, want %v", state, care, got, stage)
			}
		}
		outside := &referralv1.Referral{State: state, OwnerNode: "punjab", CareNode: "punjab", Outside: true}
		if got := rules.Stage(o, outside, "punjab", false, false); got != shelterv1.LiveOffer_STAGE_UNSPECIFIED {
			t.Errorf("%v and at an agency outside the network: %v", state, got)
		}
		if got := rules.Stage(o, &referralv1.Referral{State: state, OwnerNode: "sindh"}, "punjab", false, false); got != shelterv1.LiveOffer_STAGE_UNSPECIFIED {
			t.Errorf("%v and moved on: %v", state, got)
		}
	}
	// For a shelter service that was restored, whoever came stays until somebody says that they left.
	for care, stage := range map[string]shelterv1.LiveOffer_Stage{"punjab": arrived, "balochistan": shelterv1.LiveOffer_STAGE_UNSPECIFIED} {
		over := &referralv1.Referral{State: custodyv1.ReferralState_REFERRAL_STATE_COMPLETED, OwnerNode: "punjab", CareNode: care}
		for _, o := range []*referralv1.OfferRecord{o, {State: fulfilled, HoldOver: true, Admitted: true}} {
			if got := rules.Stage(o, over, "punjab", false, true); got != stage {
				t.Errorf("over, in the care of %s: %v, want %v", care, got, stage)
			}
		}
	}
	// A bed in which a person is, whom the referral has not followed yet; and one that is given back, or lost.
	for _, state := range offerStates {
		taken := &referralv1.OfferRecord{State: state, HoldOver: true, Admitted: true}
		if got := rules.Stage(taken, nil, "punjab", true, false); got != arrived {
			t.Errorf("%v, with a person in it: %v", state, got)
		}
		// A place further on is being made ready: the person is in the bed until they leave.
		onward := &referralv1.Referral{State: isReady, OwnerNode: "punjab", CareNode: "punjab"}
		if got := rules.Stage(taken, onward, "punjab", false, false); got != arrived {
			t.Errorf("%v, before the person moves on: %v", state, got)
		}
		elsewhere := &referralv1.Referral{State: custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, OwnerNode: "sindh"}
		if got := rules.Stage(taken, elsewhere, "punjab", false, false); got != shelterv1.LiveOffer_STAGE_UNSPECIFIED {
			t.Errorf("%v, after the person moved on: %v", state, got)
		}
		if got := rules.Stage(&referralv1.OfferRecord{State: state, HoldOver: true}, nil, "punjab", true, false); got != shelterv1.LiveOffer_STAGE_UNSPECIFIED {
			t.Errorf("%v, without its bed: %v", state, got)
		}
	}
	// A bed that is asked for, and no answer yet: what an offer that is over asked for is kept for whoever is here.
	for _, state := range offerStates {
		asked, here := &referralv1.OfferRecord{State: state, Group: "nodes/punjab/shelters/a1/groups/b1"}, want[state]
		if here == shelterv1.LiveOffer_STAGE_UNSPECIFIED && state != fulfilled {
			here = tentative
		}
		if got := rules.Stage(asked, nil, "punjab", true, false); got != here {
			t.Errorf("%v, with a person who waits for its bed: %v, want %v", state, got, here)
		}
		if got := rules.Stage(asked, nil, "punjab", false, false); got != want[state] {
			t.Errorf("%v, with a bed that is asked for: %v, want %v", state, got, want[state])
		}
	}
}
