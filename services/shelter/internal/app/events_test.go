package app_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// said is what has been said since the last call, without the first two words of each kind.
func (r *recorder) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	kinds := strings.Join(r.kinds, " ")
	r.kinds = nil
	return strings.NewReplacer("shelter.", "", ".v1", "").Replace(kinds)
}

// Each change is an event, once; what changes nothing is none.
func TestEveryChangeIsAnEvent(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	in := func(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(b.clock.Now().Add(d)) }
	said := func(what, want string) {
		t.Helper()
		if got := b.events.said(); got != want {
			t.Errorf("%s: said %q, want %q", what, got, want)
		}
	}
	due := func() {
		t.Helper()
		b.clock.Add(25 * time.Hour)
		must(b.FireDue(ctx))
	}
	b.shelter(t, 5)
	b.events.said()
	must(b.CreateGroup(ctx, &shelterv1.CreateGroupRequest{Parent: shelterName, GroupId: "older", Group: anotherGroup()}, manager))
	must(b.UpdateGroup(ctx, &shelterv1.UpdateGroupRequest{Group: &shelterv1.Group{Name: groupName, Total: 6}}, manager))
	said("groups", "group.created group.updated")

	outage := func(key string, until *timestamppb.Timestamp) *shelterv1.Outage {
		t.Helper()
		o, err := b.CreateOutage(ctx, &shelterv1.CreateOutageRequest{Parent: groupName, RequestId: key, Outage: &shelterv1.Outage{Quantity: 1, Reason: "REPAIR", UntilTime: until}})
		must(o, err)
		return o
	}
	first, same := outage("outage-1", nil), outage("outage-1", nil)
	if first.GetName() != same.GetName() {
		t.Errorf("the same call made %v after %v", same, first)
	}
	must(b.EndOutage(ctx, &shelterv1.EndOutageRequest{Name: first.GetName()}))
	must(b.EndOutage(ctx, &shelterv1.EndOutageRequest{Name: first.GetName()}))
	outage("outage-2", in(time.Hour))
	due()
	said("outages", "outage.started outage.ended outage.started outage.ended")

	count, err := b.CreateHeadcount(ctx, &shelterv1.CreateHeadcountRequest{Parent: shelterName, RequestId: "count-01", Headcount: &shelterv1.Headcount{Counts: []*shelterv1.Count{{Group: "girls-6-12", Present: 1}}}})
	must(count, err)
	for range 2 {
		must(b.ExplainHeadcount(ctx, &shelterv1.ExplainHeadcountRequest{Name: count.GetName(), Group: "girls-6-12", Explanation: "GUEST"}))
	}
	said("a headcount", "headcount.recorded headcount.explained")

	entry, err := b.CreateWaitlistEntry(ctx, &shelterv1.CreateWaitlistEntryRequest{Parent: groupName, RequestId: "entry-01", WaitlistEntry: &shelterv1.WaitlistEntry{Quantity: 1, Needs: girl(), ReviewTime: in(24 * time.Hour)}})
	must(entry, err)
	due()
	due() // it is told once
	must(b.ReviewWaitlistEntry(ctx, &shelterv1.ReviewWaitlistEntryRequest{Name: entry.GetName(), ReviewTime: in(24 * time.Hour)}))
	due()
	for range 2 {
		must(b.CloseWaitlistEntry(ctx, &shelterv1.CloseWaitlistEntryRequest{Name: entry.GetName(), Reason: "WITHDRAWN"}))
	}
	due()
	said("a waitlist", "waitlist.entered waitlist.review-due waitlist.reviewed waitlist.review-due waitlist.closed")

	stay, err := b.AdmitWalkIn(ctx, &shelterv1.AdmitWalkInRequest{Group: groupName, Quantity: 1, Needs: girl(), RequestId: "walk-in-1"})
	must(stay, err)
	must(b.StartAbsence(ctx, &shelterv1.StartAbsenceRequest{Name: stay.GetName(), Reason: "COURT", ReturnTime: in(time.Hour)}))
	must(b.EndAbsence(ctx, &shelterv1.EndAbsenceRequest{Name: stay.GetName()}))
	must(b.MoveStay(ctx, &shelterv1.MoveStayRequest{Name: stay.GetName(), ToGroup: shelterName + "/groups/older"}))
	for range 2 {
		must(b.DischargeStay(ctx, &shelterv1.DischargeStayRequest{Name: stay.GetName(), Reason: "REUNIFIED"}))
	}
	said("a stay", "stay.admitted stay.absent stay.returned stay.moved stay.discharged")

	b.mustPlace(t, 1, "lost-1")
	b.mustPlace(t, 1, "lost-2")
	for range 2 {
		must(b.SuspendShelter(ctx, &shelterv1.SuspendShelterRequest{Name: shelterName, Reason: "REPAIR"}, true))
	}
	for range 2 {
		must(b.ReopenShelter(ctx, &shelterv1.ReopenShelterRequest{Name: shelterName}, true))
	}
	must(b.DeclareFull(ctx, &shelterv1.DeclareFullRequest{Name: shelterName}, true))
	for range 2 {
		must(b.WithdrawFull(ctx, &shelterv1.WithdrawFullRequest{Name: shelterName}, true))
	}
	said("a shelter", "hold.placed hold.placed hold.released hold.released suspended reopened declared-full withdrawn-full")
}

// A shelter that keeps people for so many days says when each is due to leave, however they came.
func TestTheLongestStayIsNoted(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	b.shelter(t, 2)
	must(b.UpdateShelter(ctx, &shelterv1.UpdateShelterRequest{Shelter: &shelterv1.Shelter{Name: shelterName, LongestStayDays: 3}}, true))
	walkIn, err := b.AdmitWalkIn(ctx, &shelterv1.AdmitWalkInRequest{Group: groupName, Quantity: 1, Needs: girl(), RequestId: "walk-in-1"})
	must(walkIn, err)
	h := b.mustPlace(t, 1, "a")
	must(b.ConfirmHold(ctx, &shelterv1.ConfirmHoldRequest{Name: h.GetName()}))
	referred, err := b.AdmitHold(ctx, &shelterv1.AdmitHoldRequest{Name: h.GetName()})
	must(referred, err)
	for _, s := range []*shelterv1.Stay{walkIn, referred} {
		if !s.GetDueTime().AsTime().Equal(b.clock.Now().AddDate(0, 0, 3)) {
			t.Errorf("due at %v: %v", s.GetDueTime().AsTime(), s)
		}
	}
}
