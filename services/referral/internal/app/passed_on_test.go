package app_test

import (
	"slices"
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
)

// A third node has the person, whatever became of the referral, and knows the slip alone: the origin passes its word on. Every letter
// comes twice, and the word that the owner has recorded is a no-op for ever: it answers nobody again, and writes to nobody.
func TestAWordPassedOnComesTwice(t *testing.T) {
	for state := custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT; state <= custodyv1.ReferralState_REFERRAL_STATE_COMPLETED; state++ {
		t.Run(state.String(), func(t *testing.T) {
			net := newNetwork(t)
			v := net.walk(state)
			net.again = true
			_, err := net.nodes["sindh"].assert(v.GetName())
			must(t, err)
			for len(net.sent) > 0 {
				net.deliver(0)
			}
			net.settle()
			net.came(v.GetName(), "sindh")
			passed := slices.DeleteFunc(slices.Clone(net.history), func(m mail) bool {
				return m.out.Kind != "custody.reply.v1" || m.from != "balochistan" || m.out.To.GetNode() != "punjab"
			})
			if len(passed) == 0 {
				t.Fatal("nothing was passed on")
			}
			for _, m := range passed {
				net.apply(m)
			}
			if len(net.sent) > 0 {
				t.Errorf("a word that was answered long ago has %d letters sent", len(net.sent))
			}
		})
	}
}
