package app_test

import (
	"testing"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
)

// A headcount that differs stays open until every difference is explained; the stays are as they were, and so is what was counted.
func TestAHeadcountIsOpenUntilAllIsExplained(t *testing.T) {
	b, ctx := newApp(t), t.Context()
	b.shelter(t, 5)
	for _, id := range []string{"older", "oldest"} {
		if _, err := b.CreateGroup(ctx, &shelterv1.CreateGroupRequest{Parent: shelterName, GroupId: id, Group: anotherGroup()}, manager); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.AdmitWalkIn(ctx, &shelterv1.AdmitWalkInRequest{Group: groupName, Quantity: 2, Needs: girl(), RequestId: "walk-in-1"}); err != nil {
		t.Fatal(err)
	}
	count := func(key string, present ...int32) *shelterv1.Headcount {
		t.Helper()
		h := &shelterv1.Headcount{}
		for i, id := range []string{"girls-6-12", "older", "oldest"} {
			h.Counts = append(h.Counts, &shelterv1.Count{Group: id, Present: present[i]})
		}
		counted, err := b.CreateHeadcount(ctx, &shelterv1.CreateHeadcountRequest{Parent: shelterName, RequestId: key, Headcount: h})
		if err != nil {
			t.Fatal(err)
		}
		return counted
	}
	open := func(what string, want int) {
		t.Helper()
		list, err := b.ListHeadcounts(ctx, &shelterv1.ListHeadcountsRequest{Parent: shelterName, Filter: &shelterv1.ListHeadcountsRequest_Filter{Open: true}})
		if err != nil || len(list.GetHeadcounts()) != want {
			t.Errorf("%s: %d are open, %v", what, len(list.GetHeadcounts()), err)
		}
	}
	if h := count("count-01", 2, 0, 0); h.GetOpen() {
		t.Errorf("nothing differs: %v", h)
	}
	open("nothing differs", 0)
	h := count("count-02", 1, 1, 0)
	open("two groups differ", 1)
	explain := func(group, explanation string) error {
		changed, err := b.ExplainHeadcount(ctx, &shelterv1.ExplainHeadcountRequest{Name: h.GetName(), Group: group, Explanation: explanation})
		if err == nil {
			h = changed
		}
		return err
	}
	want(t, "what does not differ", explain("oldest", "GUEST"), fault.WrongState)
	if err := explain("girls-6-12", "ABSENCE_NOT_NOTED"); err != nil || !h.GetOpen() {
		t.Errorf("one is explained: %v, %v", h, err)
	}
	open("one is explained", 1)
	if err := explain("older", "GUEST"); err != nil || h.GetOpen() {
		t.Errorf("all is explained: %v, %v", h, err)
	}
	open("all is explained", 0)
	if c := h.GetCounts()[0]; c.GetPresent() != 1 || c.GetExpected() != 2 || c.GetDifference() != -1 || c.GetExplanation() != "ABSENCE_NOT_NOTED" {
		t.Errorf("what was counted has become %v", c)
	}
	if got := b.free(t); got != "0 2 3" {
		t.Errorf("the stays have become %s", got)
	}
}
