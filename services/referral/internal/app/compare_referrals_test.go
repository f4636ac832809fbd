package app_test

import (
	"slices"
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
)

// A store is restored to before two submissions, of one of which no other node holds the chain. While it asks, nothing is missing; then
// the one is that nobody gives back, and the key that began it begins it anew, once.
func TestWhatNobodyGivesBackIsMissing(t *testing.T) {
	net := newNetworkOn(t, true)
	origin := net.nodes["balochistan"]
	old := origin.copy()
	back := net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	request := submitRequest()
	request.RequestId = "request-2"
	gone, err := origin.SubmitReferral(background, request)
	must(t, err)
	names := []string{back.GetName(), gone.GetName()}
	compare := func(names ...string) *referralv1.CompareReferralsResponse {
		t.Helper()
		answer, err := origin.CompareReferrals(background, &referralv1.CompareReferralsRequest{Parent: "nodes/balochistan", Referrals: names})
		must(t, err)
		return answer
	}
	before := compare(names...)
	if before.GetRecovering() || len(before.GetMissing()) > 0 || before.GetIncarnation() != origin.DB.Incarnation() {
		t.Fatalf("before: %v", before)
	}
	origin.restore(old, true, false)
	if asking := compare(names...); !asking.GetRecovering() || len(asking.GetMissing()) > 0 || asking.GetIncarnation() == before.GetIncarnation() {
		t.Errorf("while it asks: %v", asking)
	}
	net.heal()
	if after := compare(names...); after.GetRecovering() || !slices.Equal(after.GetMissing(), []string{gone.GetName()}) {
		t.Errorf("when all have answered: %v", after)
	}
	again, err := origin.SubmitReferral(background, request)
	must(t, err)
	same, err := origin.SubmitReferral(background, request)
	must(t, err)
	if again.GetName() == gone.GetName() || same.GetName() != again.GetName() || len(compare(back.GetName(), again.GetName()).GetMissing()) > 0 {
		t.Errorf("submitted anew: %s, then %s", again.GetName(), same.GetName())
	}
	_, err = origin.CompareReferrals(background, &referralv1.CompareReferralsRequest{Parent: "nodes/punjab"})
	wrong(t, err, fault.Missing, "")
	net.settle()
}

// Events of a referral name the key that began it, at the node where it began, in whatever state it is: by it a case knows it again. A
// chain that came back from another node has none.
func TestEventsNameTheKey(t *testing.T) {
	net := newNetworkOn(t, true)
	origin, dest := net.nodes["balochistan"], net.nodes["punjab"]
	old := origin.copy()
	net.walk(custodyv1.ReferralState_REFERRAL_STATE_READY)
	keys := func(n *node) (all []string) {
		for _, kind := range []string{"submitted", "confirmed", "ready"} {
			for _, e := range n.eventsOf("referral.referral." + kind + ".v1") {
				all = append(all, e.(*referralv1.ReferralChanged).GetRequestId())
			}
		}
		return all
	}
	if got := keys(origin); !slices.Equal(got, []string{"request-1", "request-1", "request-1"}) {
		t.Errorf("at the origin: %q", got)
	}
	if got := keys(dest); slices.Contains(got, "request-1") || len(got) == 0 {
		t.Errorf("at the destination: %q", got)
	}
	origin.events = nil
	origin.restore(old, true, false)
	net.heal()
	if got := keys(origin); slices.Contains(got, "request-1") || len(got) == 0 {
		t.Errorf("of a chain that came back: %q", got)
	}
}
