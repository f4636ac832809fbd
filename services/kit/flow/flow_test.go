package flow_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
)

var (
	schema = store.NewSchema("flow", 1)
	tables = flow.Declare(schema)
)

var at = time.Date(2026, 3, 1, 18, 59, 59, 0, time.UTC)

func fact() *federalv1.Fact {
	return &federalv1.Fact{
		FlowId: bytes.Repeat([]byte{1}, 16), Kind: facts.Referred, FromNode: "sindh", ToNode: "punjab", EventTime: timestamppb.New(at), Code: "SERVICE",
		CaseFlowId: bytes.Repeat([]byte{2}, 16), Corrects: bytes.Repeat([]byte{3}, 16),
	}
}

// Every part of a fact, and who tells it, makes another id; the parts do not run into each other.
func TestIDs(t *testing.T) {
	seen := map[string]string{}
	add := func(what, node, service string, change func(*federalv1.Fact)) {
		t.Helper()
		f := fact()
		change(f)
		id := facts.ID(node, service, f)
		if len(id) != 16 {
			t.Fatalf("%d bytes", len(id))
		}
		if other := seen[string(id)]; other != "" {
			t.Errorf("%s and %s have one id", what, other)
		}
		seen[string(id)] = what
	}
	add("the fact", "sindh", "referral", func(*federalv1.Fact) {})
	add("another node", "punjab", "referral", func(*federalv1.Fact) {})
	add("another service", "sindh", "protection", func(*federalv1.Fact) {})
	add("another cut between the two", "sindhr", "eferral", func(*federalv1.Fact) {})
	add("another flow", "sindh", "referral", func(f *federalv1.Fact) { f.FlowId[3]++ })
	add("another kind", "sindh", "referral", func(f *federalv1.Fact) { f.Kind = facts.Accepted })
	add("another origin", "sindh", "referral", func(f *federalv1.Fact) { f.FromNode = "khyber" })
	add("another destination", "sindh", "referral", func(f *federalv1.Fact) { f.ToNode = "" })
	add("another second", "sindh", "referral", func(f *federalv1.Fact) { f.EventTime.Seconds++ })
	add("another nanosecond", "sindh", "referral", func(f *federalv1.Fact) { f.EventTime.Nanos++ })
	add("another code", "sindh", "referral", func(f *federalv1.Fact) { f.Code = "PLACEMENT" })
	add("another case", "sindh", "referral", func(f *federalv1.Fact) { f.CaseFlowId = nil })
	add("another correction", "sindh", "referral", func(f *federalv1.Fact) { f.Corrects = nil })
	if !bytes.Equal(facts.ID("sindh", "referral", fact()), facts.ID("sindh", "referral", fact())) {
		t.Error("the same fact has two ids")
	}
}

// Days and months are those of Karachi, where midnight is at seven in the evening.
func TestDays(t *testing.T) {
	if got := facts.Day(at); got != "2026-03-01" {
		t.Error(got)
	}
	if got := facts.Day(at.Add(time.Second)); got != "2026-03-02" {
		t.Error(got)
	}
	if got := facts.Month(time.Date(2026, 3, 31, 20, 0, 0, 0, time.UTC)); got != "2026-04" {
		t.Error(got)
	}
	a, b := facts.Add(nil, "d", []byte{1}), facts.Add(nil, "d", []byte{2})
	if x, y := facts.Add(a, "d", []byte{2}), facts.Add(b, "d", []byte{1}); !proto.Equal(x, y) || x.GetFacts() != 2 || bytes.Equal(x.GetDigest(), a.GetDigest()) {
		t.Errorf("in one order %v, in the other %v", x, y)
	} else if twice := facts.Add(a, "d", []byte{1}); facts.Same(twice, &federalv1.FlowDay{Digest: make([]byte, 32)}) {
		t.Error("days with one digest and not as many facts are taken for the same")
	} else if !facts.Same(x, y) || facts.Same(x, a) || facts.Same(a, b) || facts.Same(nil, nil) || facts.Same(a, nil) || facts.Same(nil, a) {
		t.Error("days are taken for the same that are not, or for others that are the same")
	}
}

type sent struct {
	letters []post.Outgoing
	fails   error
}

func (s *sent) Queue(tx *store.Tx, o post.Outgoing) error {
	if err := errors.Join(s.fails, o.Check()); err != nil {
		return err
	}
	tx.AfterCommit(func() { s.letters = append(s.letters, o) })
	return nil
}

// openStore is an empty store, which is sound in the end.
func openStore(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "flow.db"), Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		report, err := db.Check(context.Background())
		if err := errors.Join(err, report.Err(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	return db
}

// Nobody but the federal cell asks and gives back; what is no message changes nothing.
func TestRefusals(t *testing.T) {
	db := openStore(t)
	out := &sent{}
	teller := &flow.Teller{DB: db, Tables: tables, Node: "sindh", Service: "referral", Federal: "federal", Now: func() time.Time { return at }, Post: out}
	body := func(m proto.Message) []byte {
		raw, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	bad := fact()
	bad.Kind = "a name"
	for name, c := range map[string]struct {
		node, service, kind string
		body                []byte
		reason              string
	}{
		"a province asks":             {"punjab", "referral", flow.WantedKind, body(&federalv1.FlowsWanted{AllDays: true}), "not-the-federal-cell"},
		"another service asks":        {"federal", "gateway", flow.WantedKind, body(&federalv1.FlowsWanted{AllDays: true}), "not-the-federal-cell"},
		"a province gives back":       {"punjab", "federal", flow.FactsKind, body(&federalv1.Facts{Facts: []*federalv1.Fact{fact()}}), "not-the-federal-cell"},
		"what is asked is no message": {"federal", "federal", flow.WantedKind, []byte{0xff}, "invalid-flows"},
		"a day that is none":          {"federal", "federal", flow.WantedKind, body(&federalv1.FlowsWanted{Days: []string{"today"}}), "invalid-flows"},
		"a fact that is none":         {"federal", "federal", flow.FactsKind, body(&federalv1.Facts{Facts: []*federalv1.Fact{bad}}), "invalid-flows"},
	} {
		t.Run(name, func(t *testing.T) {
			err := db.Update(t.Context(), func(tx *store.Tx) error {
				return flow.Handlers(func() *flow.Teller { return teller })[c.kind](tx, &postv1.Address{Node: c.node, Service: c.service}, &postv1.Letter{Kind: c.kind, Body: c.body})
			})
			if err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("%v, want %s", err, c.reason)
			}
			if _, err := teller.Report(t.Context()); err != nil || len(out.letters) != 0 {
				t.Errorf("%v, %d letters", err, len(out.letters))
			}
		})
	}
}

// However many facts a day has, and however many days there are, each letter holds no more than it may; and all of them are told.
func TestLettersAreNoLongerThanTheyMayBe(t *testing.T) {
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "flow.db"), Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	out := &sent{}
	teller := &flow.Teller{DB: db, Tables: tables, Node: "sindh", Service: "protection", Federal: "federal", Now: func() time.Time { return at }, Post: out}
	const days, busy = 801, 1001 // more than two letters hold
	tell := func(n int, day time.Time) {
		f := fact()
		f.EventTime = timestamppb.New(day.Add(-time.Duration(n) * time.Second))
		if err := db.Update(t.Context(), func(tx *store.Tx) error { return teller.Tell(tx, f) }); err != nil {
			t.Fatal(err)
		}
	}
	for n := range busy {
		tell(n, at)
	}
	for n := range days - 1 {
		tell(0, at.AddDate(0, 0, n+1))
	}
	report := func() (told int) {
		t.Helper()
		for before := -1; before != len(out.letters); {
			before = len(out.letters)
			if next, err := teller.Report(t.Context()); err != nil || !next.After(at) {
				t.Fatalf("it looks again at %v, %v", next, err)
			}
		}
		for _, o := range out.letters {
			if err := protovalidate.Validate(o.Body); err != nil {
				t.Errorf("%s: %v", o.Kind, err)
			}
			if d, ok := o.Body.(*federalv1.FlowDays); ok {
				told += len(d.GetDays())
			}
		}
		return told
	}
	ask := func(wanted *federalv1.FlowsWanted) {
		t.Helper()
		out.letters = nil
		body, err := proto.Marshal(wanted)
		if err == nil {
			err = db.Update(t.Context(), func(tx *store.Tx) error {
				return flow.Handlers(func() *flow.Teller { return teller })[flow.WantedKind](tx, &postv1.Address{Node: "federal", Service: "federal"}, &postv1.Letter{Body: body})
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if told := report(); told != days {
		t.Errorf("%d days told", told)
	}
	if ask(&federalv1.FlowsWanted{AllDays: true}); report() != days || len(out.letters) != 3 {
		t.Errorf("all days were asked for, %d letters", len(out.letters))
	}
	ask(&federalv1.FlowsWanted{Days: []string{facts.Day(at), "2020-01-01"}}) // of the latter nothing is known
	seen := map[string]bool{}
	var whole *federalv1.FlowDay
	for _, o := range out.letters {
		if o.Lane != postv1.Lane_LANE_BULK {
			t.Errorf("%s goes before letters about persons", o.Kind)
		}
		for _, f := range o.Body.(*federalv1.Facts).GetFacts() {
			id := facts.ID("sindh", "protection", f)
			seen[string(id)], whole = true, facts.Add(whole, facts.Day(at), id)
		}
	}
	if told := report(); len(seen) != busy || told != 2 {
		t.Errorf("a day was asked for: %d facts, %d days", len(seen), told)
	}
	for _, o := range out.letters {
		if d, ok := o.Body.(*federalv1.FlowDays); ok && (d.GetDays()[0].GetFacts() != 0 || !proto.Equal(d.GetDays()[1], whole)) {
			t.Errorf("the days are told as %v", d)
		}
	}
}

// Links are told at the start and every hour, those to other nodes alone; also after a clock was set back.
func TestLinks(t *testing.T) {
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "flow.db"), Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	out, now := &sent{}, at
	here, there := &postv1.Address{Node: "sindh", Service: "referral"}, &postv1.Address{Node: "punjab", Service: "referral"}
	teller := &flow.LinkTeller{
		DB: db, Federal: "federal", Now: func() time.Time { return now }, Post: out,
		Links: func(context.Context) ([]post.LinkStatus, error) {
			return []post.LinkStatus{
				{Link: &postv1.Link{From: here, To: here}, Mark: 1},
				{Link: &postv1.Link{From: here, To: there, Lane: postv1.Lane_LANE_URGENT}, Outgoing: true, Mark: 4, Gap: 2, Oldest: at.Add(-time.Hour)},
				{Link: &postv1.Link{From: there, To: here, Lane: postv1.Lane_LANE_BULK}, Mark: 9, Heard: at, Quarantined: 3},
			}, nil
		},
	}
	for _, step := range []struct {
		after   time.Duration
		letters int
	}{{0, 1}, {59 * time.Minute, 1}, {time.Minute, 2}, {-24 * time.Hour, 3}} {
		now = now.Add(step.after)
		next, err := teller.Report(t.Context())
		if err != nil || len(out.letters) != step.letters || !next.After(now) {
			t.Fatalf("after %v: %d letters, next %v, %v", step.after, len(out.letters), next, err)
		}
	}
	now, out.fails = now.Add(time.Hour), errors.New("the disk is full")
	if _, err := teller.Report(t.Context()); !errors.Is(err, out.fails) {
		t.Errorf("on a full disk: %v", err)
	}
	out.fails = nil
	if _, err := teller.Report(t.Context()); err != nil || len(out.letters) != 4 {
		t.Errorf("what could not be told is told an hour later: %d letters, %v", len(out.letters), err)
	}
	states := out.letters[0].Body.(*federalv1.LinkStates)
	want := &federalv1.LinkStates{LookTime: timestamppb.New(at), Links: []*federalv1.LinkState{
		{Node: "punjab", Service: "referral", Urgent: true, Outgoing: true, Mark: 4, Gap: 2, OldestTime: timestamppb.New(at.Add(-time.Hour))},
		{Node: "punjab", Service: "referral", Mark: 9, HearTime: timestamppb.New(at), Quarantined: 3},
	}}
	if !proto.Equal(states, want) {
		t.Errorf("told %v", states)
	}
}

// A roster that no longer names the cell's service keeps nobody from what the facts are about: they are told as days once it does again.
func TestWithoutTheCell(t *testing.T) {
	db := openStore(t)
	out := &sent{fails: post.ErrAbsent}
	teller := &flow.Teller{DB: db, Tables: tables, Node: "sindh", Service: "referral", Federal: "federal", Now: func() time.Time { return at }, Post: out}
	if err := db.Update(t.Context(), func(tx *store.Tx) error { return teller.Tell(tx, fact()) }); err != nil {
		t.Fatal(err)
	}
	if next, err := teller.Report(t.Context()); err != nil || !next.Equal(at.Add(time.Minute)) {
		t.Errorf("without the cell the service ends, or looks again at %v: %v", next, err)
	}
	links := &flow.LinkTeller{
		DB: db, Federal: "federal", Now: func() time.Time { return at }, Post: out, Links: func(context.Context) ([]post.LinkStatus, error) { return nil, nil },
	}
	if next, err := links.Report(t.Context()); err != nil || !next.Equal(at.Add(time.Minute)) {
		t.Errorf("of links it looks again at %v, %v", next, err)
	}
	out.fails = nil
	if _, err := teller.Report(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(out.letters) != 1 || out.letters[0].Kind != flow.DaysKind || out.letters[0].Body.(*federalv1.FlowDays).GetDays()[0].GetFacts() != 1 {
		t.Errorf("told when the cell is there again: %v", out.letters)
	}
	if next, err := links.Report(t.Context()); err != nil || len(out.letters) != 2 || !next.Equal(at.Add(time.Hour)) {
		t.Errorf("%d letters after the links, next at %v, %v", len(out.letters), next, err)
	}
}

// What a life begins with is told once the cell is there, also where it was absent at the start.
func TestALifeBeginsWithoutTheCell(t *testing.T) {
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "flow.db"), Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := db.RaiseIncarnation(t.Context(), db.Incarnation()); err != nil {
		t.Fatal(err)
	}
	out := &sent{fails: post.ErrAbsent}
	work := flow.Reports(func() *flow.Teller {
		return &flow.Teller{DB: db, Tables: tables, Node: "sindh", Service: "referral", Federal: "federal", Now: func() time.Time { return at }, Post: out}
	})
	for range 2 {
		if next, err := work(t.Context()); err != nil || !next.Equal(at.Add(time.Minute)) {
			t.Errorf("it looks again at %v, %v", next, err)
		}
	}
	out.fails = nil
	for range 2 {
		if _, err := work(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(out.letters) != 1 || out.letters[0].Body.(*federalv1.FlowDays).GetThroughDay() != "9999-12-31" {
		t.Errorf("told when the cell is there: %v", out.letters)
	}
	out.fails = errors.New("the disk is full")
	again := flow.Reports(func() *flow.Teller {
		return &flow.Teller{DB: db, Tables: tables, Node: "sindh", Service: "referral", Federal: "federal", Now: func() time.Time { return at }, Post: out}
	})
	if _, err := again(t.Context()); !errors.Is(err, out.fails) {
		t.Errorf("on a full disk: %v", err)
	}
}
