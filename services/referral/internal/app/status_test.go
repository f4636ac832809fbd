package app_test

import (
	"maps"
	"slices"
	"testing"

	referralv1 "amanat.example/proto/amanat/referral/v1"
	statusv1 "amanat.example/proto/amanat/status/v1"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// The operator sees whose answers a restored node awaits, and nobody any more once all have answered or were excused.
func TestStatusNamesTheAwaited(t *testing.T) {
	net := newNetwork(t)
	n := net.nodes["balochistan"]
	check := func(when string, want ...string) {
		t.Helper()
		must(t, n.DB.View(t.Context(), func(r kitstore.Reader) error {
			var s statusv1.Status
			err := store.Status(r, &s)
			if !slices.Equal(s.GetAwaitedNodes(), want) {
				t.Errorf("%s: %v are awaited, want %v", when, s.GetAwaitedNodes(), want)
			}
			return err
		}))
	}
	old := n.copy()
	net.submit()
	net.settle()
	check("before")
	n.restore(old, true, true)
	others := slices.DeleteFunc(slices.Sorted(maps.Keys(net.nodes)), func(name string) bool { return name == n.Node })
	check("after the restore", others...)
	_, err := n.ExcusePeer(t.Context(), &referralv1.ExcusePeerRequest{
		Name: "nodes/balochistan/recovery", Node: others[0], Reason: referralv1.ExcuseReason_EXCUSE_REASON_ENDED,
	}, actor)
	must(t, err)
	check("one is excused", others[1:]...)
	net.heal()
	check("all have answered")
}
