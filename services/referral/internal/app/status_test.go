package app_test

import (
	"maps"
	"slices"
	"testing"

	referralv1 "amanat.example/proto/amanat/referral/v1"
)

// The operator sees whose answers a restored node awaits, and nobody any more once all have answered or were excused.
func TestStatusNamesTheAwaited(t *testing.T) {
	net := newNetwork(t)
	n := net.nodes["balochistan"]
	check := func(when string, want ...string) {
		t.Helper()
		if got := n.awaited(); !slices.Equal(got, want) {
			t.Errorf("%s: %v are awaited, want %v", when, got, want)
		}
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
