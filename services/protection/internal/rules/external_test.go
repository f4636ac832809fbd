package rules_test

import (
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/protection/internal/rules"
)

// Who goes to an agency outside the network stays a case here, until the outcome is recorded; no dossier is owed to anybody, and nobody's
// reading begins or ends.
func TestAnAgencyInEveryState(t *testing.T) {
	for number := range custodyv1.ReferralState_name {
		state := custodyv1.ReferralState(number)
		outside := state >= custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT && state <= completed || state == custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW
		e := &referralv1.ReferralChanged{
			OriginNode: "balochistan", OwnerNode: "balochistan", CareNode: "balochistan", GiverNode: "balochistan", OwnerNodes: []string{"balochistan"},
			Offer: "offer", State: state, Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Sequence: 1, Outside: outside,
		}
		r := &protectionv1.CaseRecord{Case: full()}
		r.Case.Referral = "nodes/balochistan/referrals/1"
		stays := protectionv1.Case_STATE_ACTIVE
		if state == completed {
			stays = protectionv1.Case_STATE_CLOSED
		}
		if _, closed := rules.Follow(r, e); closed != (state == completed) || r.GetCase().GetState() != stays || r.GetCase().GetOutside() != outside {
			t.Errorf("%v: the case is %v", state, r.GetCase())
		}
		if node, offer, owed := rules.Owes(r, e, "balochistan"); owed {
			t.Errorf("%v: a dossier is owed to %q on %q", state, node, offer)
		}
		if err := rules.CheckOutcome(r.GetCase()); (err == nil) != (state == custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE) {
			t.Errorf("%v: the outcome: %v", state, err)
		}
		for _, node := range []string{"balochistan", "punjab"} {
			d := &protectionv1.ReceivedDossier{}
			if why, _ := rules.Hear(d, e, node); d.GetDuty() != 0 || why != "" {
				t.Errorf("%v: at %s the duty is %v, reading ends for %q", state, node, d.GetDuty(), why)
			}
		}
	}
}

// Whoever is with the first owner again, though the way back was not chosen, is a case there still: who turned round on the road to an agency,
// or ran away from the road to a province. Who went to another unit of the same node is that unit's case.
func TestWhoTurnedRoundIsACaseStill(t *testing.T) {
	for name, c := range map[string]struct {
		toNode string
		closed bool
	}{"from an agency": {"", false}, "from a province": {"punjab", false}, "to a unit of this node": {"balochistan", true}} {
		r := &protectionv1.CaseRecord{Case: full()}
		e := &referralv1.ReferralChanged{
			OriginNode: "balochistan", OwnerNode: "balochistan", CareNode: "balochistan", GiverNode: "balochistan", ToNode: c.toNode, Offer: "offer",
			State: custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Sequence: 1,
		}
		if _, closed := rules.Follow(r, e); closed != c.closed || (r.GetCase().GetState() == protectionv1.Case_STATE_CLOSED_REFERRED) != c.closed {
			t.Errorf("%s: the case is %v", name, r.GetCase())
		}
	}
}

// A unit or an agency is asked, and one of them.
func TestWhoIsReferredTo(t *testing.T) {
	for name, c := range map[string]struct {
		unit   string
		agency *custodyv1.Agency
		want   fault.Reason
	}{
		"a unit":          {"nodes/punjab/units/lahore", nil, 0},
		"an agency":       {"", &custodyv1.Agency{Kind: "NGO", Address: "One street"}, 0},
		"nobody":          {"", nil, fault.Field},
		"both":            {"nodes/punjab/units/lahore", &custodyv1.Agency{Kind: "NGO", Phone: "+923001234567"}, fault.Field},
		"out of reach":    {"", &custodyv1.Agency{Kind: "NGO"}, fault.Field},
		"of no such kind": {"", &custodyv1.Agency{Kind: "ZOO", Phone: "+923001234567"}, fault.UnknownCode},
	} {
		err := rules.CheckCodes(&protectionv1.ReferCaseRequest{
			Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: "SHELTER", Reasons: []string{"NO_LOCAL_BED"},
			Needs: &custodyv1.Needs{Gender: "Feminine"}, ToUnit: c.unit, External: c.agency,
		}, now)
		if fault.ReasonOf(err) != c.want || (c.want == 0) != (err == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
