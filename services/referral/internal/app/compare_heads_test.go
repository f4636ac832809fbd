package app_test

import (
	"bytes"
	"context"
	"slices"
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
)

// compare has every node compare heads with every other.
func (net *network) compare() {
	net.t.Helper()
	for _, n := range net.nodes {
		must(net.t, n.CompareHeads(context.Background()))
	}
	net.settle()
}

// count is how many letters of a kind were delivered.
func (net *network) count(kind string) (n int) {
	for _, m := range net.history {
		if m.out.Kind == kind {
			n++
		}
	}
	return n
}

// A chain that was lost on the way is noticed when heads are compared, whichever letters were lost, and sent once.
func TestALostChainIsNoticed(t *testing.T) {
	for state := custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT; state <= custodyv1.ReferralState_REFERRAL_STATE_COMPLETED; state++ {
		t.Run(state.String(), func(t *testing.T) {
			net := newNetwork(t)
			v := net.walk(state - 1)
			origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
			net.compare()
			if net.count("custody.head.list.v1") > 0 {
				t.Fatal("nothing is lost, and yet lists are sent")
			}
			switch state {
			case custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT:
				must(t, origin.dispatch(v.GetName()))
			case custodyv1.ReferralState_REFERRAL_STATE_ARRIVED:
				must(t, dest.arrive(v.GetName()))
			case custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE:
				must(t, dest.serve(v.GetName()))
			case custodyv1.ReferralState_REFERRAL_STATE_COMPLETED:
				_, err := dest.CompleteReferral(context.Background(), completeRequest(v.GetName()))
				must(t, err)
			}
			net.sent = slices.DeleteFunc(net.sent, func(m mail) bool { return m.out.To.GetNode() != "federal" })
			net.compare()
			if state != custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE && !bytes.Equal(origin.head(v.GetName()), dest.head(v.GetName())) {
				t.Errorf("the origin sees %v, the destination %v", origin.get(v.GetName()).GetState(), dest.get(v.GetName()).GetState())
			}
			lists, chains := net.count("custody.head.list.v1"), net.count("custody.chain.v1")
			net.compare()
			if net.count("custody.head.list.v1") != lists || net.count("custody.chain.v1") != chains {
				t.Error("what is mended is sent again")
			}
			if len(net.refused) > 0 {
				t.Errorf("letters were refused: %v", net.refused)
			}
		})
	}
}
