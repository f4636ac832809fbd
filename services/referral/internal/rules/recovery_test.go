package rules_test

import (
	"slices"
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/referral/internal/rules"
)

// Answers count when all have come and name the same incarnations; who was excused is neither waited for nor believed.
func TestJudgeAnswers(t *testing.T) {
	type lives map[string]uint64
	answer := func(node string, known lives) *referralv1.PeerRecord {
		p := &referralv1.PeerRecord{Peer: &referralv1.RecoveryPeer{Node: node}, Answered: known != nil}
		for name, incarnation := range known {
			p.Known = append(p.Known, &custodyv1.Incarnation{Node: name, Incarnation: incarnation})
		}
		return p
	}
	excused := func(p *referralv1.PeerRecord) *referralv1.PeerRecord {
		p.Peer.ExcusedBy = &custodyv1.Actor{Person: "nodes/balochistan/workers/1"}
		return p
	}
	names := func(peers []*referralv1.PeerRecord) (all []string) {
		for _, p := range peers {
			all = append(all, p.GetPeer().GetNode())
		}
		return all
	}
	for name, c := range map[string]struct {
		peers             []*referralv1.PeerRecord
		known             lives
		restored          map[string]bool
		waiting, disagree []string
	}{
		"nobody has answered": {
			peers:   []*referralv1.PeerRecord{answer("punjab", nil), answer("sindh", nil)},
			waiting: []string{"punjab", "sindh"},
		},
		"one has": {
			peers:   []*referralv1.PeerRecord{answer("punjab", lives{"punjab": 3, "sindh": 5}), answer("sindh", nil)},
			waiting: []string{"sindh"},
		},
		"all name the same": {
			peers: []*referralv1.PeerRecord{answer("punjab", lives{"punjab": 3, "sindh": 5}), answer("sindh", lives{"punjab": 3, "sindh": 5})},
			known: lives{"punjab": 3, "sindh": 5},
		},
		"one names an earlier life of another": {
			peers:    []*referralv1.PeerRecord{answer("punjab", lives{"punjab": 3, "sindh": 4}), answer("sindh", lives{"punjab": 3, "sindh": 5})},
			disagree: []string{"punjab"},
		},
		"one was restored since it answered, which this node has heard": {
			peers:    []*referralv1.PeerRecord{answer("punjab", lives{"punjab": 3, "sindh": 5}), answer("sindh", lives{"punjab": 3, "sindh": 5})},
			known:    lives{"sindh": 6},
			disagree: []string{"punjab", "sindh"},
		},
		"one has never heard of another": {
			peers: []*referralv1.PeerRecord{answer("punjab", lives{"punjab": 3}), answer("sindh", lives{"punjab": 3, "sindh": 5})},
		},
		"one has never heard of another that was restored": {
			peers:    []*referralv1.PeerRecord{answer("punjab", lives{"punjab": 3}), answer("sindh", lives{"punjab": 3, "sindh": 5})},
			restored: map[string]bool{"sindh": true},
			disagree: []string{"punjab"},
		},
		"who is excused is not waited for": {
			peers: []*referralv1.PeerRecord{answer("punjab", lives{"punjab": 3}), excused(answer("sindh", nil))},
		},
		"who is excused is not believed, and what others say of it is no matter": {
			peers: []*referralv1.PeerRecord{answer("punjab", lives{"punjab": 3, "sindh": 4}), excused(answer("sindh", lives{"punjab": 9, "sindh": 5}))},
		},
	} {
		waiting, disagree := rules.JudgeAnswers(&referralv1.RecoveryRecord{Peers: c.peers}, c.known, c.restored)
		if !slices.Equal(names(waiting), c.waiting) || !slices.Equal(names(disagree), c.disagree) {
			t.Errorf("%s: it waits for %v, and asks %v again", name, names(waiting), names(disagree))
		}
	}
}

// An older copy of a store ended a hold that ran out, since it knew of no promise: where the promise comes back, the hold is looked after again. One
// that was made a stay is none.
func TestAPromiseThatIsRecalledHasItsHold(t *testing.T) {
	said := []rules.Said{
		{Reply: &custodyv1.Reply{Body: &custodyv1.Reply_Accepted{Accepted: &custodyv1.Accepted{Hold: "a hold"}}}},
		{Event: &custodyv1.Event{Body: &custodyv1.Event_Confirmed{Confirmed: &custodyv1.Confirmed{}}}},
		{Reply: &custodyv1.Reply{Body: &custodyv1.Reply_Ready{Ready: &custodyv1.Ready{}}}},
	}
	for _, admitted := range []bool{false, true} {
		r := &referralv1.OfferRecord{State: custodyv1.OfferState_OFFER_STATE_LAPSED, Hold: "a hold", HoldOver: true, Admitted: admitted}
		rules.Recall(r, said)
		if r.GetState() != custodyv1.OfferState_OFFER_STATE_READY || r.GetHoldOver() != admitted {
			t.Errorf("admitted: %t; recalled is %v", admitted, r)
		}
	}
}
