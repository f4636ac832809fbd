package app_test

import (
	"bytes"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/app"
	"amanat.example/services/kit/late"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
)

func lateCounts(minute int, counts ...*federalv1.LateCount) *federalv1.LateCounts {
	return &federalv1.LateCounts{Counts: counts, CountTime: timestamppb.New(time.Date(2026, 3, 1, 8, minute, 0, 0, time.UTC))}
}

func oneLate(step string, n int64) *federalv1.LateCount {
	return &federalv1.LateCount{Step: step, Age: federalv1.LateAge_LATE_AGE_UNDER_A_DAY, Count: n}
}

func takeLate(t *testing.T, a *app.App, node, service string, body []byte) error {
	t.Helper()
	return a.DB.Update(t.Context(), func(tx *kitstore.Tx) error {
		return a.TakeLate(tx, &postv1.Address{Node: node, Service: service}, &postv1.Letter{Kind: late.Kind, Body: body})
	})
}

func lateReports(t *testing.T, a *app.App, node string) (all []*federalv1.LateReport) {
	t.Helper()
	request := &federalv1.ListLateReportsRequest{PageSize: 1, Filter: &federalv1.ListLateReportsRequest_Filter{Node: node}}
	for range 100 {
		response, err := a.ListLateReports(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, response.GetLateReports()...)
		if request.PageToken = response.GetNextPageToken(); request.PageToken == "" {
			return all
		}
	}
	t.Fatal("the list does not end")
	return nil
}

// Of each node and service the newest report stands, whatever comes again or late; nothing late is a report too.
func TestTheNewestLateReportStands(t *testing.T) {
	a := newBench(t).App
	for _, l := range []struct {
		node, service string
		counts        *federalv1.LateCounts
	}{
		{"sindh", "referral", lateCounts(1, oneLate("ANSWER", 3))},
		{"sindh", "referral", lateCounts(5, oneLate("ANSWER", 7), oneLate("SERVE", 1))},
		{"sindh", "referral", lateCounts(3)},
		{"sindh", "protection", lateCounts(2, oneLate("FIR", 1))},
		{"punjab", "referral", lateCounts(4)},
	} {
		for range 2 {
			if err := takeLate(t, a, l.node, l.service, marshal(t, l.counts)); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := []*federalv1.LateReport{
		{Node: "punjab", Service: "referral", CountTime: lateCounts(4).GetCountTime()},
		{Node: "sindh", Service: "protection", CountTime: lateCounts(2).GetCountTime(), Counts: []*federalv1.LateCount{oneLate("FIR", 1)}},
		{Node: "sindh", Service: "referral", CountTime: lateCounts(5).GetCountTime(), Counts: []*federalv1.LateCount{oneLate("ANSWER", 7), oneLate("SERVE", 1)}},
	}
	got := lateReports(t, a, "")
	if len(got) != len(want) {
		t.Fatalf("%v", got)
	}
	for i := range want {
		if !proto.Equal(got[i], want[i]) {
			t.Errorf("%v, want %v", got[i], want[i])
		}
	}
	if only := lateReports(t, a, "punjab"); len(only) != 1 || len(lateReports(t, a, "pun")) != 0 {
		t.Errorf("of punjab: %v", only)
	}
}

// A node whose clock ran ahead is heard again as soon as it is right, and not a year later.
func TestLateCountsOfAClockThatRanAhead(t *testing.T) {
	a := newBench(t).App
	now := lateCounts(30).GetCountTime()
	a.Now = now.AsTime
	ahead := lateCounts(1, oneLate("ANSWER", 1))
	ahead.CountTime = timestamppb.New(now.AsTime().AddDate(1, 0, 0))
	if err := takeLate(t, a, "sindh", "referral", marshal(t, ahead)); err != nil {
		t.Fatal(err)
	}
	if got := lateReports(t, a, ""); len(got) != 1 || !proto.Equal(got[0].GetCountTime(), now) {
		t.Errorf("while the clock runs ahead: %v", got)
	}
	a.Now = lateCounts(40).GetCountTime().AsTime
	if err := takeLate(t, a, "sindh", "referral", marshal(t, lateCounts(35, oneLate("ANSWER", 2)))); err != nil {
		t.Fatal(err)
	}
	if got := lateReports(t, a, ""); len(got) != 1 || got[0].GetCounts()[0].GetCount() != 2 {
		t.Errorf("when it is right again: %v", got)
	}
}

// What is no count is refused, and nothing of it is kept: no name can come in as a kind of deadline.
func TestRefusedLateCounts(t *testing.T) {
	a := newBench(t).App
	same := lateCounts(1, oneLate("ANSWER", 1), oneLate("ANSWER", 2))
	unknown := marshal(t, lateCounts(1, oneLate("ANSWER", 1)))
	unknown = append(unknown, 0xa2, 0x06, 4, 'G', 'u', 'l', 'i') // field 100
	for name, c := range map[string]struct {
		node   string
		body   []byte
		reason string
	}{
		"sender not in the roster": {"nowhere", marshal(t, lateCounts(1)), "unknown-sender"},
		"no message":               {"sindh", []byte{0xff}, "invalid-late-counts"},
		"no time":                  {"sindh", marshal(t, &federalv1.LateCounts{}), "invalid-late-counts"},
		"a name for a step":        {"sindh", marshal(t, lateCounts(1, oneLate("GULMINA", 1))), "invalid-late-counts"},
		"words for a step":         {"sindh", marshal(t, lateCounts(1, oneLate("A girl of Hub", 1))), "invalid-late-counts"},
		"none":                     {"sindh", marshal(t, lateCounts(1, oneLate("ANSWER", 0))), "invalid-late-counts"},
		"no age":                   {"sindh", marshal(t, lateCounts(1, &federalv1.LateCount{Step: "ANSWER", Count: 1})), "invalid-late-counts"},
		"the same twice":           {"sindh", marshal(t, same), "invalid-late-counts"},
	} {
		if err := takeLate(t, a, c.node, "referral", c.body); err == nil || !bytes.Contains([]byte(err.Error()), []byte(c.reason)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := lateReports(t, a, ""); len(got) != 0 {
		t.Fatalf("kept: %v", got)
	}
	if err := takeLate(t, a, "sindh", "referral", unknown); err != nil {
		t.Fatal(err)
	}
	if raw := marshal(t, lateReports(t, a, "")[0]); bytes.Contains(raw, []byte("Guli")) {
		t.Error("a field that is not known was kept")
	}
	if privacy.Marked((&federalv1.LateReport{}).ProtoReflect().Descriptor()) {
		t.Error("a report can name somebody")
	}
}
