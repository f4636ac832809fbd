package app_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/app"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
)

// begin is when what the tests tell began.
var begin = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// bench is the federal service's use cases over a real store, with what they write to nodes.
type bench struct {
	*app.App
	t       testing.TB
	now     time.Time
	letters []post.Outgoing
	flows   int    // that many has made
	absent  string // a node that the roster does not name any more
}

func (b *bench) Queue(tx *kitstore.Tx, o post.Outgoing) error {
	if err := o.Check(); err != nil {
		return err
	}
	if o.To.GetNode() == b.absent {
		return post.ErrAbsent
	}
	tx.AfterCommit(func() { b.letters = append(b.letters, o) })
	return nil
}

func newBench(t testing.TB) *bench {
	t.Helper()
	return newBenchOn(t, kitstore.Options{Engine: kitstore.NewMemory(), Schema: store.Schema})
}

func newBenchOn(t testing.TB, options kitstore.Options) *bench {
	t.Helper()
	db, err := kitstore.Open(t.Context(), options)
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
	b := &bench{t: t, now: begin.Add(time.Hour)}
	provinces := map[string]string{"sindh": "PK-SD", "punjab": "PK-PB", "balochistan": "PK-BA"}
	now := func() time.Time { return b.now }
	b.App = &app.App{
		DB: db, Node: "federal", Tokens: paging.New([]byte("test")), Now: now, Clock: now, Post: b,
		Member: func(node string) bool { return node == "federal" || provinces[node] != "" },
		Tellers: func() (all []*postv1.Address) {
			for _, node := range slices.Sorted(maps.Keys(provinces)) {
				all = append(all, &postv1.Address{Node: node, Service: "protection"}, &postv1.Address{Node: node, Service: "referral"})
			}
			return all
		},
		Province: func(node string) string { return provinces[node] },
		OwnLinks: func(context.Context) (*federalv1.LinkStates, error) {
			return &federalv1.LinkStates{LookTime: timestamppb.New(b.now)}, nil
		},
	}
	return b
}

func flowID(n int) []byte { return bytes.Repeat([]byte{byte(n)}, 16) }

// fact is one of sindh's: it happened so many minutes after the beginning.
func fact(n int, kind, to string, minutes int) *federalv1.Fact {
	return &federalv1.Fact{
		FlowId: flowID(n), Kind: kind, FromNode: "sindh", ToNode: to, EventTime: timestamppb.New(begin.Add(time.Duration(minutes) * time.Minute)),
	}
}

// deliver hands a letter to its handler, as the post does.
func (b *bench) deliver(node, service, kind string, body []byte) error {
	b.t.Helper()
	return b.DB.Update(b.t.Context(), func(tx *kitstore.Tx) error {
		return b.Handlers()[kind](tx, &postv1.Address{Node: node, Service: service}, &postv1.Letter{Kind: kind, Body: body})
	})
}

func (b *bench) tell(facts ...*federalv1.Fact) {
	b.t.Helper()
	for _, f := range facts {
		if err := b.deliver("sindh", "referral", flow.FactsKind, marshal(b.t, &federalv1.Facts{Facts: []*federalv1.Fact{f}})); err != nil {
			b.t.Fatal(err)
		}
	}
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// counts are all counts, as text.
func (b *bench) counts() (all []string) {
	b.t.Helper()
	err := b.DB.View(b.t.Context(), func(r kitstore.Reader) error {
		return store.Counts.Scan(r, kitstore.Range{}, func(_ kitstore.Key, c *federalv1.Count) error {
			all = append(all, fmt.Sprintf("%s %s %s>%s %s %d", c.GetFigure(), c.GetMonth(), c.GetFromNode(), c.GetToNode(), c.GetDetail(), c.GetValue()))
			return nil
		})
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

func (b *bench) figures(months string) *federalv1.Figures {
	b.t.Helper()
	f, err := b.GetFigures(b.t.Context(), &federalv1.GetFiguresRequest{Name: "figures/" + months})
	if err != nil {
		b.t.Fatal(err)
	}
	return f
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

// year is the way of one child, who is referred twice: declined, then accepted.
func year() []*federalv1.Fact {
	referred := fact(2, facts.Referred, "punjab", 60)
	referred.Code, referred.CaseFlowId = "PLACEMENT", flowID(1)
	declined := fact(2, facts.Declined, "punjab", 100)
	declined.Code = "NO_CAPACITY"
	cancelled := fact(2, facts.Cancelled, "", 110)
	cancelled.Code = "OTHER"
	again := fact(3, facts.Referred, "balochistan", 120)
	again.Code, again.CaseFlowId = "PLACEMENT", flowID(1)
	completed := fact(3, facts.Completed, "balochistan", 60*24*40)
	completed.Code = "REUNIFIED"
	service := fact(3, facts.Service, "balochistan", 60*24*40)
	service.Code = "PSYCHOSOCIAL"
	return []*federalv1.Fact{
		fact(1, facts.Identified, "", 0), referred, declined, cancelled, again, fact(3, facts.Accepted, "balochistan", 180),
		fact(3, facts.Dispatched, "balochistan", 240), fact(3, facts.Arrived, "balochistan", 60*30), completed, service, fact(4, facts.Identified, "", 30),
	}
}

// What facts add up to.
func TestFigures(t *testing.T) {
	b := newBench(t)
	b.tell(year()...)
	b.tell(year()...) // and again
	f := b.figures("all")
	if got := f.GetTotal(); got.GetIdentified() != 2 || got.GetReferred() != 1 || got.GetAccepted() != 1 || got.GetArrived() != 1 || got.GetCompleted() != 1 {
		t.Errorf("the funnel: %v", got)
	}
	if len(f.GetFunnel()) != 1 || f.GetFunnel()[0].GetProvince() != "PK-SD" || len(f.GetTrend()) != 1 || f.GetTrend()[0].GetMonth() != "2026-03" {
		t.Errorf("by node %v, by month %v", f.GetFunnel(), f.GetTrend())
	}
	corridors := fmt.Sprint(f.GetCorridors())
	want := fmt.Sprint([]*federalv1.CorridorRow{
		{FromNode: "sindh", ToNode: "balochistan", Referred: 1, Accepted: 1, Dispatched: 1, Arrived: 1, Completed: 1},
		{FromNode: "sindh", ToNode: "punjab", Referred: 1},
	})
	if corridors != want {
		t.Errorf("corridors %s", corridors)
	}
	if d := f.GetDeclines(); len(d) != 1 || d[0].GetToNode() != "punjab" || d[0].GetCode() != "NO_CAPACITY" || d[0].GetFlows() != 1 {
		t.Errorf("declines %v", d)
	}
	if o, s := f.GetOutcomes(), f.GetServices(); len(o) != 1 || o[0].GetCode() != "REUNIFIED" || len(s) != 1 || s[0].GetCode() != "PSYCHOSOCIAL" {
		t.Errorf("outcomes %v, services %v", o, s)
	}
	if e := f.GetEnded(); len(e) != 1 || e[0].GetCode() != facts.Cancelled {
		t.Errorf("ended %v", e)
	}
	// One who was identified is referred nowhere yet; nothing else stands.
	if s := f.GetStanding(); len(s) != 1 || s[0].GetStage() != federalv1.Stage_STAGE_IDENTIFIED || s[0].GetAge() != federalv1.LateAge_LATE_AGE_UNDER_A_DAY {
		t.Errorf("standing %v", s)
	}
	b.now = begin.Add(80 * time.Hour)
	if s := b.figures("all").GetStanding(); len(s) != 1 || s[0].GetAge() != federalv1.LateAge_LATE_AGE_UNDER_A_WEEK {
		t.Errorf("three days later: %v", s)
	}
	times := map[string]time.Duration{}
	for _, row := range f.GetTimes() {
		if row.GetFromNode() == "" {
			times[row.GetFromStage().String()+">"+row.GetToStage().String()] = row.GetP50().AsDuration()
		}
	}
	for span, want := range map[string]time.Duration{
		"STAGE_IDENTIFIED>STAGE_REFERRED": time.Hour, "STAGE_REFERRED>STAGE_ACCEPTED": time.Hour, "STAGE_IDENTIFIED>STAGE_ARRIVED": 30 * time.Hour,
		"STAGE_REFERRED>STAGE_ARRIVED": 28 * time.Hour,
	} {
		if got := times[span]; got < want*97/100 || got > want*103/100 {
			t.Errorf("%s: %v, want %v", span, got, want)
		}
	}
	if later := b.figures("2026-04..2026-12"); later.GetTotal().GetIdentified() != 0 || len(later.GetOutcomes()) != 1 || len(later.GetDeclines()) != 0 {
		t.Errorf("from April on: %v", later)
	}
	if _, err := b.GetFigures(t.Context(), &federalv1.GetFiguresRequest{Name: "figures/2026-04..2026-03"}); fault.ReasonOf(err) != fault.Field {
		t.Errorf("a span that ends before it begins: %v", err)
	}
}

// Facts add up to the same in whatever order they come, with corrections and kinds that are not known; and when they are counted anew.
func TestFiguresDoNotDependOnOrder(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	var want []string
	for round := range 30 {
		b := newBench(t)
		all := year()
		wrong := all[8] // the outcome
		right := proto.CloneOf(wrong)
		right.Code, right.Corrects = "ENTRUSTED", facts.ID("sindh", "referral", wrong)
		gone := fact(3, facts.Retracted, "", 60*24*41)
		gone.Corrects = facts.ID("sindh", "referral", all[9])
		all = append(all, right, gone, fact(3, "MOVED_TO_THE_MOON", "punjab", 500))
		if round > 0 {
			chance.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		}
		b.tell(all...)
		got := b.counts()
		if round == 0 {
			want = got
			if lines := strings.Join(got, "\n"); !strings.Contains(lines, "outcome 2026-04 sindh>balochistan ENTRUSTED 1") || strings.Contains(lines, "REUNIFIED") || strings.Contains(lines, "service") {
				t.Fatalf("after the corrections:\n%s", lines)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: %v\nwant %v", round, got, want)
		}
		if err := b.Rebuild(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got = b.counts(); !slices.Equal(got, want) {
			t.Fatalf("counted anew in round %d: %v\nwant %v", round, got, want)
		}
	}
}

// Counts that went wrong, or that were counted otherwise, are put right from the facts at a start.
func TestRecount(t *testing.T) {
	b := newBench(t)
	if err := b.Recount(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.tell(year()...)
	want := b.counts()
	spoil := func() error {
		return b.DB.Update(t.Context(), func(tx *kitstore.Tx) error {
			wrong := store.CountKey(rules.FigureStage, "2026-03", "nowhere", "", facts.Arrived)
			if err := store.Counts.Put(tx, wrong, &federalv1.Count{Figure: rules.FigureStage, Month: "2026-03", FromNode: "nowhere", Value: 7}); err != nil {
				return err
			}
			return store.Counted.Delete(tx, store.CountedKey)
		})
	}
	if err := spoil(); err != nil || slices.Equal(b.counts(), want) {
		t.Fatalf("%v: nothing is wrong", err)
	}
	for range 2 {
		if err := b.Recount(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := b.counts(); !slices.Equal(got, want) {
			t.Errorf("%v\nwant %v", got, want)
		}
	}
}

const (
	identified = federalv1.Stage_STAGE_IDENTIFIED
	referred   = federalv1.Stage_STAGE_REFERRED
	arrived    = federalv1.Stage_STAGE_ARRIVED
)

// fill takes six facts in, out of order and partly twice.
func fill(b *bench) {
	b.t.Helper()
	b.tell(
		fact(1, facts.Referred, "punjab", 20), fact(5, facts.Identified, "", 10), fact(2, facts.Referred, "punjab", 5), fact(2, facts.Referred, "punjab", 5),
		fact(3, facts.Referred, "punjab", 40), fact(3, facts.Arrived, "punjab", 50), fact(4, facts.Referred, "balochistan", 1), fact(5, facts.Identified, "", 10),
	)
}

func TestCorridors(t *testing.T) {
	b := newBench(t)
	fill(b)
	same(t, list(t, b.App, nil), []*federalv1.Corridor{
		{FromNode: "sindh", Stage: identified, Flows: 1},
		{FromNode: "sindh", ToNode: "balochistan", Stage: referred, Flows: 1},
		{FromNode: "sindh", ToNode: "punjab", Stage: arrived, Flows: 1},
		{FromNode: "sindh", ToNode: "punjab", Stage: referred, Flows: 3},
	})
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

func TestFilters(t *testing.T) {
	b := newBench(t)
	fill(b)
	a := b.App
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
	b := newBench(t)
	fill(b)
	a := b.App
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
	b := newBench(t)
	fill(b)
	want := b.counts()
	changed := func(change func(*federalv1.Fact)) []byte {
		f := fact(9, facts.Referred, "punjab", 0)
		change(f)
		return marshal(t, &federalv1.Facts{Facts: []*federalv1.Fact{fact(8, facts.Referred, "punjab", 0), f}})
	}
	day := func(change func(*federalv1.FlowDay)) []byte {
		d := &federalv1.FlowDay{Day: "2026-03-01", Facts: 1, Digest: make([]byte, 32)}
		change(d)
		return marshal(t, &federalv1.FlowDays{Days: []*federalv1.FlowDay{d}})
	}
	old := func(change func(*federalv1.FlowFact)) []byte {
		f := &federalv1.FlowFact{FlowId: flowID(9), Stage: referred, FromNode: "sindh", ToNode: "punjab", Time: timestamppb.New(begin)}
		change(f)
		return marshal(t, f)
	}
	for name, c := range map[string]struct {
		node, kind string
		body       []byte
		reason     string
	}{
		"sender not in the roster":   {"nowhere", flow.FactsKind, changed(func(*federalv1.Fact) {}), "unknown-sender"},
		"no message":                 {"sindh", flow.FactsKind, []byte{0xff}, "invalid-fact"},
		"no facts":                   {"sindh", flow.FactsKind, nil, "invalid-fact"},
		"short flow id":              {"sindh", flow.FactsKind, changed(func(f *federalv1.Fact) { f.FlowId = []byte{1} }), "invalid-fact"},
		"no kind":                    {"sindh", flow.FactsKind, changed(func(f *federalv1.Fact) { f.Kind = "" }), "invalid-fact"},
		"a kind that is a name":      {"sindh", flow.FactsKind, changed(func(f *federalv1.Fact) { f.Kind = "Ali Khan" }), "invalid-fact"},
		"a code that is a text":      {"sindh", flow.FactsKind, changed(func(f *federalv1.Fact) { f.Code = "seen at Hub" }), "invalid-fact"},
		"no origin":                  {"sindh", flow.FactsKind, changed(func(f *federalv1.Fact) { f.FromNode = "" }), "invalid-fact"},
		"a destination's bad name":   {"sindh", flow.FactsKind, changed(func(f *federalv1.Fact) { f.ToNode = "Ali Khan" }), "invalid-fact"},
		"no time":                    {"sindh", flow.FactsKind, changed(func(f *federalv1.Fact) { f.EventTime = nil }), "invalid-fact"},
		"a time that is none":        {"sindh", flow.FactsKind, changed(func(f *federalv1.Fact) { f.EventTime.Nanos = -1 }), "invalid-fact"},
		"identified on the way":      {"sindh", flow.FactsKind, changed(func(f *federalv1.Fact) { f.Kind = facts.Identified }), "invalid-fact"},
		"another's person":           {"punjab", flow.FactsKind, marshal(t, &federalv1.Facts{Facts: []*federalv1.Fact{fact(9, facts.Identified, "", 0)}}), "invalid-fact"},
		"another's flow begins":      {"punjab", flow.FactsKind, changed(func(*federalv1.Fact) {}), "invalid-fact"},
		"half a case's flow":         {"sindh", flow.FactsKind, changed(func(f *federalv1.Fact) { f.CaseFlowId = []byte{1} }), "invalid-fact"},
		"half an id":                 {"sindh", flow.FactsKind, changed(func(f *federalv1.Fact) { f.Corrects = []byte{1} }), "invalid-fact"},
		"nothing is retracted":       {"sindh", flow.FactsKind, changed(func(f *federalv1.Fact) { f.Kind = facts.Retracted }), "invalid-fact"},
		"the older form, no stage":   {"sindh", app.OldFlowKind, old(func(f *federalv1.FlowFact) { f.Stage = 0 }), "invalid-fact"},
		"the older form, of another": {"punjab", app.OldFlowKind, old(func(*federalv1.FlowFact) {}), "invalid-fact"},
		"a day that is none":         {"sindh", flow.DaysKind, day(func(d *federalv1.FlowDay) { d.Day = "2026-02-31" }), "invalid-days"},
		"half a digest":              {"sindh", flow.DaysKind, day(func(d *federalv1.FlowDay) { d.Digest = d.Digest[1:] }), "invalid-days"},
		"beds of another service":    {"sindh", flow.SheltersKind, marshal(t, &federalv1.ShelterDay{Day: "2026-03-01", CountTime: timestamppb.New(begin)}), "invalid-shelters"},
		"links without a time":       {"sindh", flow.LinksKind, marshal(t, &federalv1.LinkStates{}), "invalid-links"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := b.deliver(c.node, "referral", c.kind, c.body); err == nil || !strings.Contains(err.Error(), c.reason) {
				t.Errorf("%v, want %s", err, c.reason)
			}
			if got := b.counts(); !slices.Equal(got, want) {
				t.Errorf("counts %v", got)
			}
		})
	}
}

// A node that was not upgraded yet tells facts in the older form; what goes to an agency outside the network goes to no node.
func TestTheOlderForm(t *testing.T) {
	b := newBench(t)
	for stage := referred; stage <= federalv1.Stage_STAGE_COMPLETED; stage++ {
		body := marshal(t, &federalv1.FlowFact{FlowId: flowID(1), Stage: stage, FromNode: "sindh", Time: timestamppb.New(begin.Add(time.Duration(stage) * time.Minute))})
		for range 2 {
			if err := b.deliver("sindh", "referral", app.OldFlowKind, body); err != nil {
				t.Fatalf("%v: %v", stage, err)
			}
		}
	}
	corridors := list(t, b.App, nil)
	for _, c := range corridors {
		if c.GetFlows() != 1 || c.GetToNode() != "" {
			t.Errorf("%v", c)
		}
	}
	if len(corridors) != 5 {
		t.Errorf("%d corridors", len(corridors))
	}
}

// No type of the service can hold personal data, and a field this program does not know is not kept.
func TestNoPersonalData(t *testing.T) {
	for _, file := range []protoreflect.FileDescriptor{
		federalv1.File_amanat_federal_v1_federal_proto, federalv1.File_amanat_federal_v1_facts_proto, federalv1.File_amanat_federal_v1_figures_proto,
		federalv1.File_amanat_federal_v1_late_proto,
	} {
		for i := range file.Messages().Len() {
			if err := privacy.CheckUnmarked(file.Messages().Get(i)); err != nil {
				t.Error(err)
			}
		}
	}
	b := newBench(t)
	f := fact(1, facts.Referred, "punjab", 0)
	with := proto.CloneOf(f)
	with.ProtoReflect().SetUnknown(append([]byte{0xfa, 0x07, 6}, "canary"...)) // field 127, six bytes
	b.tell(with)
	err := b.DB.View(t.Context(), func(r kitstore.Reader) error {
		id := facts.ID("sindh", "referral", f)
		kept, err := store.Facts.Get(r, store.FactKey(f.GetFlowId(), id))
		if err == nil && (!proto.Equal(kept.GetFact(), f) || kept.GetSourceNode() != "sindh") {
			t.Errorf("kept: %v", kept)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
