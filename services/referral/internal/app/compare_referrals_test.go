package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/fault"
)

// A store is restored to before two submissions, of one of which no other node holds the chain. While it asks, nothing is missing; then
// the one is that nobody gives back, and the key that began it begins it anew, once.
func TestWhatNobodyGivesBackIsMissing(t *testing.T) {
	net := newNetwork(t)
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

// Events of a referral name the key that began it, at the node where it began, in whatever state it is: by it a case knows it again. So
// does a chain that came back to its origin from another node.
func TestEventsNameTheKey(t *testing.T) {
	net := newNetwork(t)
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
	if got := keys(origin); !slices.Equal(got, []string{"request-1", "request-1", "request-1"}) {
		t.Errorf("of a chain that came back: %q", got)
	}
}

// A case has one referral, whatever was restored: with a store that holds it, a second call about the case is refused and told which it is; a store
// that lost it has it back from another node, with the call that began it and the case; and one that nobody gives back is begun again by
// the same call in the same flow. When it has ended in vain the case is referred again, in another flow.
func TestACaseHasOneReferral(t *testing.T) {
	of := func(n int) *referralv1.SubmitReferralRequest {
		request := submitRequest()
		request.RequestId, request.CaseFlowId = fmt.Sprintf("request-%d", n), []byte("the flow of one.")
		return request
	}
	there := func(t *testing.T, err error, name string, asked string) {
		t.Helper()
		f, _ := errors.AsType[*fault.Error](err)
		wrong(t, err, fault.WrongState, "")
		if says := f.Metadata(); says["referral"] != name || says["begun_by"] != "request-1" || says["request_id"] != asked {
			t.Errorf("refused with %v", says)
		}
	}
	for name, shared := range map[string]bool{"another node has it": true, "nobody has it": false} {
		t.Run(name, func(t *testing.T) {
			net := newNetwork(t)
			origin := net.nodes["balochistan"]
			old := origin.copy()
			first, err := origin.SubmitReferral(background, of(1))
			must(t, err)
			flow := origin.chain(first.GetName()).State().Submitted.GetFlowId()
			if shared {
				net.settle()
				net.nodes["punjab"].accept(first.GetOffers()[0].GetName())
				net.settle()
			}
			_, err = origin.SubmitReferral(background, of(2))
			there(t, err, first.GetName(), "request-2")
			spoilt := of(2)
			spoilt.ToUnit = "nodes/nowhere/units/none"
			_, err = origin.SubmitReferral(background, spoilt)
			there(t, err, first.GetName(), "request-2")
			_, err = origin.SubmitReferrals(background, &referralv1.SubmitReferralsRequest{Parent: "nodes/balochistan", Requests: []*referralv1.SubmitReferralRequest{
				func() *referralv1.SubmitReferralRequest { r := of(3); r.CaseFlowId = nil; return r }(), of(4),
			}})
			there(t, err, first.GetName(), "request-4")

			origin.restore(old, true, false)
			net.heal()
			if shared {
				_, err = origin.SubmitReferral(background, of(2))
				there(t, err, first.GetName(), "request-2")
			}
			again, err := origin.SubmitReferral(background, of(1))
			must(t, err)
			if (again.GetName() == first.GetName()) != shared || !bytes.Equal(origin.chain(again.GetName()).State().Submitted.GetFlowId(), flow) {
				t.Errorf("at first %s, then %s", first.GetName(), again.GetName())
			}
			ids, told := map[string]bool{}, 0
			for _, f := range net.toldBy() {
				if f.GetKind() == facts.Referred {
					ids[string(facts.ID("balochistan", "referral", f))], told = true, told+1
				}
			}
			if shared && (len(ids) != 1 || told != 2) {
				t.Errorf("told %d times, %d of them different: the same fact is counted once", told, len(ids))
			}
			must(t, origin.cancel(again.GetName()))
			next, err := origin.SubmitReferral(background, of(2))
			must(t, err)
			if bytes.Equal(origin.chain(next.GetName()).State().Submitted.GetFlowId(), flow) {
				t.Error("two referrals are one flow")
			}
			net.settle()
		})
	}
}
