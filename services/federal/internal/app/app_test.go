package app_test

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/app"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
)

func newApp(t *testing.T) *app.App {
	t.Helper()
	db, err := kitstore.Open(t.Context(), kitstore.Options{Path: filepath.Join(t.TempDir(), "federal.db"), Schema: store.Schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		report, err := db.Check(context.Background())
		if err == nil {
			err = report.Err()
		}
		if err != nil {
			t.Errorf("the store is damaged: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &app.App{
		DB: db, Tokens: paging.New([]byte("test")), Now: func() time.Time { return time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC) },
		Member: func(node string) bool { return node == "sindh" || node == "punjab" },
	}
}

func fact(flow byte, stage federalv1.Stage, to string, minute int) *federalv1.FlowFact {
	return &federalv1.FlowFact{
		FlowId: bytes.Repeat([]byte{flow}, 16), Stage: stage, FromNode: "sindh", ToNode: to,
		Time: timestamppb.New(time.Date(2026, 3, 1, 8, minute, 0, 0, time.UTC)),
	}
}

func take(t *testing.T, a *app.App, node string, body []byte) error {
	t.Helper()
	return a.DB.Update(t.Context(), func(tx *kitstore.Tx) error {
		return a.TakeFact(tx, &postv1.Address{Node: node, Service: "referral"}, &postv1.Letter{Kind: app.FlowKind, Body: body})
	})
}

// What goes to an agency outside the network goes to no node, and is counted so.
func TestFlowsOutOfTheNetwork(t *testing.T) {
	a := newApp(t)
	for stage := federalv1.Stage_STAGE_REFERRED; stage <= federalv1.Stage_STAGE_COMPLETED; stage++ {
		for range 2 {
			if err := take(t, a, "sindh", marshal(t, fact(1, stage, "", int(stage)))); err != nil {
				t.Fatalf("%v: %v", stage, err)
			}
		}
	}
	corridors := list(t, a, nil)
	for i, c := range corridors {
		if c.GetFlows() != 1 || c.GetToNode() != "" || c.GetStage() != federalv1.Stage_STAGE_REFERRED+federalv1.Stage(i) {
			t.Errorf("corridor %d: %v", i, c)
		}
	}
	if len(corridors) != 5 {
		t.Errorf("%d corridors", len(corridors))
	}
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func list(t *testing.T, a *app.App, filter *federalv1.ListCorridorsRequest_Filter) []*federalv1.Corridor {
	t.Helper()
	var all []*federalv1.Corridor
	request := &federalv1.ListCorridorsRequest{Filter: filter, PageSize: 1}
	for range 100 {
		response, err := a.ListCorridors(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, response.GetCorridors()...)
		if request.PageToken = response.GetNextPageToken(); request.PageToken == "" {
			return all
		}
	}
	t.Fatal("the list does not end")
	return nil
}

const (
	identified = federalv1.Stage_STAGE_IDENTIFIED
	referred   = federalv1.Stage_STAGE_REFERRED
	arrived    = federalv1.Stage_STAGE_ARRIVED
)

// fill takes six facts in, out of order and partly twice.
func fill(t *testing.T, a *app.App) {
	t.Helper()
	for _, f := range []*federalv1.FlowFact{
		fact(1, referred, "punjab", 20), fact(1, identified, "", 10), fact(2, referred, "punjab", 5), fact(2, referred, "punjab", 5),
		fact(3, referred, "punjab", 40), fact(3, arrived, "punjab", 50), fact(4, referred, "balochistan", 1), fact(1, identified, "", 10),
	} {
		if err := take(t, a, "sindh", marshal(t, f)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCountsOnceWithFirstAndLastTime(t *testing.T) {
	a := newApp(t)
	fill(t, a)
	got := list(t, a, nil)
	want := []*federalv1.Corridor{
		{FromNode: "sindh", Stage: identified, Flows: 1, FirstTime: fact(1, 1, "", 10).Time, LastTime: fact(1, 1, "", 10).Time},
		{FromNode: "sindh", ToNode: "balochistan", Stage: referred, Flows: 1, FirstTime: fact(1, 1, "", 1).Time, LastTime: fact(1, 1, "", 1).Time},
		{FromNode: "sindh", ToNode: "punjab", Stage: referred, Flows: 3, FirstTime: fact(1, 1, "", 5).Time, LastTime: fact(1, 1, "", 40).Time},
		{FromNode: "sindh", ToNode: "punjab", Stage: arrived, Flows: 1, FirstTime: fact(1, 1, "", 50).Time, LastTime: fact(1, 1, "", 50).Time},
	}
	same(t, got, want)
}

func same(t *testing.T, got, want []*federalv1.Corridor) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d corridors, want %d: %v", len(got), len(want), got)
	}
	for i := range want {
		if !proto.Equal(got[i], want[i]) {
			t.Errorf("corridor %d: %v, want %v", i, got[i], want[i])
		}
	}
}

func TestRebuildGivesTheSameCounts(t *testing.T) {
	a := newApp(t)
	fill(t, a)
	want := list(t, a, nil)
	// Counts that went wrong are put right, and those that should not be there go.
	err := a.DB.Update(t.Context(), func(tx *kitstore.Tx) error {
		wrong := &federalv1.Corridor{FromNode: "nowhere", Stage: arrived, Flows: 7}
		if err := store.Corridors.Put(tx, store.CorridorKey("nowhere", "", arrived), wrong); err != nil {
			return err
		}
		return store.Corridors.Delete(tx, store.CorridorKey("sindh", "punjab", referred))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	same(t, list(t, a, nil), want)
}

func TestFilters(t *testing.T) {
	a := newApp(t)
	fill(t, a)
	for _, c := range []struct {
		filter *federalv1.ListCorridorsRequest_Filter
		want   int
	}{
		{&federalv1.ListCorridorsRequest_Filter{FromNode: "sindh"}, 4},
		{&federalv1.ListCorridorsRequest_Filter{FromNode: "sin"}, 0},
		{&federalv1.ListCorridorsRequest_Filter{ToNode: "punjab"}, 2},
		{&federalv1.ListCorridorsRequest_Filter{Stage: referred}, 2},
		{&federalv1.ListCorridorsRequest_Filter{FromNode: "sindh", ToNode: "punjab", Stage: arrived}, 1},
	} {
		if got := list(t, a, c.filter); len(got) != c.want {
			t.Errorf("%v: %v", c.filter, got)
		}
	}
}

// A token carried to another filter is refused, and the error names the field.
func TestForeignPageToken(t *testing.T) {
	a := newApp(t)
	fill(t, a)
	first, err := a.ListCorridors(t.Context(), &federalv1.ListCorridorsRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.ListCorridors(t.Context(), &federalv1.ListCorridorsRequest{
		PageToken: first.GetNextPageToken(), Filter: &federalv1.ListCorridorsRequest_Filter{ToNode: "punjab"},
	})
	if fault.ReasonOf(err) != fault.Field || !strings.Contains(err.Error(), "page_token") {
		t.Fatalf("%v", err)
	}
}

// Each refusal leaves facts and counts as they were.
func TestRefusals(t *testing.T) {
	a := newApp(t)
	fill(t, a)
	want := list(t, a, nil)
	changed := func(change func(*federalv1.FlowFact)) []byte {
		f := fact(9, referred, "punjab", 0)
		change(f)
		return marshal(t, f)
	}
	for name, c := range map[string]struct {
		node   string
		body   []byte
		reason string
	}{
		"sender not in the roster":  {"nowhere", marshal(t, fact(9, referred, "punjab", 0)), "unknown-sender"},
		"no message":                {"sindh", []byte{0xff}, "invalid-fact"},
		"short flow id":             {"sindh", changed(func(f *federalv1.FlowFact) { f.FlowId = []byte{1} }), "invalid-fact"},
		"no stage":                  {"sindh", changed(func(f *federalv1.FlowFact) { f.Stage = 0 }), "invalid-fact"},
		"unknown stage":             {"sindh", changed(func(f *federalv1.FlowFact) { f.Stage = 99 }), "invalid-fact"},
		"no origin":                 {"sindh", changed(func(f *federalv1.FlowFact) { f.FromNode = "" }), "invalid-fact"},
		"a destination's bad name":  {"sindh", changed(func(f *federalv1.FlowFact) { f.ToNode = "Ali Khan" }), "invalid-fact"},
		"no time":                   {"sindh", changed(func(f *federalv1.FlowFact) { f.Time = nil }), "invalid-fact"},
		"a time that is none":       {"sindh", changed(func(f *federalv1.FlowFact) { f.Time.Nanos = -1 }), "invalid-fact"},
		"identified on the way":     {"sindh", changed(func(f *federalv1.FlowFact) { f.Stage = identified }), "invalid-fact"},
		"another fact for this key": {"sindh", marshal(t, fact(1, referred, "balochistan", 20)), "conflicting-fact"},
		"another time for this key": {"punjab", marshal(t, fact(1, referred, "punjab", 21)), "conflicting-fact"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := take(t, a, c.node, c.body); err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("%v, want %s", err, c.reason)
			}
			same(t, list(t, a, nil), want)
		})
	}
}

// No type of the service can hold personal data, and a field this program does not know is not kept.
func TestNoPersonalData(t *testing.T) {
	messages := federalv1.File_amanat_federal_v1_federal_proto.Messages()
	for i := range messages.Len() {
		if err := privacy.CheckUnmarked(messages.Get(i)); err != nil {
			t.Error(err)
		}
	}
	a := newApp(t)
	f := fact(1, referred, "punjab", 0)
	body := append(marshal(t, f), 0xfa, 0x07, 6) // field 127, six bytes
	if err := take(t, a, "sindh", append(body, "canary"...)); err != nil {
		t.Fatal(err)
	}
	err := a.DB.View(t.Context(), func(r kitstore.Reader) error {
		kept, err := store.Flows.Get(r, store.FlowKey(f))
		if err == nil && (!proto.Equal(kept.GetFact(), f) || kept.GetSourceNode() != "sindh") {
			t.Errorf("kept: %v", kept)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
