package app_test

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/late"
)

// What is late is told to the federal cell as it becomes late, and that nothing is any more when the referral is over.
func TestLateCountsOfReferrals(t *testing.T) {
	net, origin, _, _ := newOwnerNetwork(t)
	told := func() (all []*federalv1.LateCounts) {
		_, err := origin.Late().Report(background)
		must(t, err)
		for _, m := range append(net.history, net.sent...) {
			if m.out.Kind == late.Kind && m.from == "balochistan" {
				all = append(all, m.out.Body.(*federalv1.LateCounts))
			}
		}
		return all
	}
	v := net.submit() // the offer does not get through
	if got := told(); len(got) != 0 {
		t.Fatalf("told %v", got)
	}
	net.now = net.now.Add(2 * time.Hour)
	origin.fire()
	got := told()
	want := []*federalv1.LateCount{{Step: "RECEIVE", Age: federalv1.LateAge_LATE_AGE_UNDER_A_DAY, Count: 1}}
	if len(got) != 1 || len(got[0].GetCounts()) != 1 || !proto.Equal(got[0].GetCounts()[0], want[0]) {
		t.Fatalf("told %v, want %v", got, want)
	}
	must(t, origin.cancel(v.GetName()))
	if got = told(); len(got) != 2 || len(got[1].GetCounts()) != 0 {
		t.Fatalf("in the end told %v", got)
	}
}
