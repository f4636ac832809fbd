package app_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
)

var (
	tellerSchema = kitstore.NewSchema("teller", 1)
	tellerTables = flow.Declare(tellerSchema)
)

// pair is the federal cell and a province's service that tells it facts: both with real stores, and letters between them that can be lost.
type pair struct {
	*bench
	teller  *flow.Teller
	told    []post.Outgoing // by the province, under way
	lose    func(o post.Outgoing) bool
	handled int
}

// tellerPost queues what the province writes.
type tellerPost struct{ *pair }

func (p tellerPost) Queue(tx *kitstore.Tx, o post.Outgoing) error {
	if err := o.Check(); err != nil {
		return err
	}
	tx.AfterCommit(func() { p.told = append(p.told, o) })
	return nil
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{bench: newBench(t), lose: func(post.Outgoing) bool { return false }}
	db, err := kitstore.Open(t.Context(), kitstore.Options{Engine: kitstore.NewMemory(), Schema: tellerSchema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		report, err := db.Check(context.Background())
		if err := errors.Join(err, report.Err(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	p.teller = &flow.Teller{
		DB: db, Tables: tellerTables, Node: "sindh", Service: "referral", Federal: "federal", Now: func() time.Time { return p.now }, Post: tellerPost{p},
	}
	return p
}

// writes has the province tell facts in one transaction.
func (p *pair) writes(facts ...*federalv1.Fact) {
	p.t.Helper()
	if err := p.teller.DB.Update(p.t.Context(), func(tx *kitstore.Tx) error { return p.teller.Tell(tx, facts...) }); err != nil {
		p.t.Fatal(err)
	}
}

// settle reports and delivers until nobody has anything to say; a letter that is to be lost is.
func (p *pair) settle() {
	p.t.Helper()
	for {
		if _, err := p.teller.Report(p.t.Context()); err != nil {
			p.t.Fatal(err)
		}
		if len(p.told) == 0 && len(p.letters) == 0 {
			return
		}
		for len(p.told) > 0 {
			o := p.told[0]
			p.told = p.told[1:]
			if p.lose(o) {
				continue
			}
			if p.handled++; p.handled > 1000 {
				p.t.Fatal("the two ends never come to an end")
			}
			if err := p.deliver("sindh", "referral", o.Kind, marshal(p.t, o.Body)); err != nil {
				p.t.Fatalf("%s: %v", o.Kind, err)
			}
		}
		for len(p.letters) > 0 {
			o := p.letters[0]
			p.letters = p.letters[1:]
			if o.To.GetNode() != "sindh" || o.To.GetService() != "referral" {
				continue
			}
			body := marshal(p.t, o.Body)
			err := p.teller.DB.Update(p.t.Context(), func(tx *kitstore.Tx) error {
				return flow.Handlers(func() *flow.Teller { return p.teller })[o.Kind](tx, &postv1.Address{Node: "federal", Service: "federal"}, &postv1.Letter{Kind: o.Kind, Body: body})
			})
			if err != nil {
				p.t.Fatalf("%s: %v", o.Kind, err)
			}
		}
	}
}

func (p *pair) days(differing bool) (all []*federalv1.DayRecord) {
	p.t.Helper()
	request := &federalv1.ListDaysRequest{Filter: &federalv1.ListDaysRequest_Filter{Node: "sindh", Differing: differing}, PageSize: 1}
	for {
		page, err := p.ListDays(p.t.Context(), request)
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, page.GetDays()...)
		if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
			return all
		}
	}
}

// whole says that both ends have the same, with so many facts.
func (p *pair) whole(facts int64) {
	p.t.Helper()
	if got := p.days(true); len(got) != 0 {
		p.t.Errorf("differing: %v", got)
	}
	var all int64
	for _, d := range p.days(false) {
		all += d.GetKept().GetFacts()
		if d.GetTold().GetFacts() != d.GetKept().GetFacts() || string(d.GetTold().GetDigest()) != string(d.GetKept().GetDigest()) {
			p.t.Errorf("told and kept: %v", d)
		}
	}
	if all != facts {
		p.t.Errorf("%d facts, want %d", all, facts)
	}
}

// Both ends count the same, day by day, to the last fact; telling again changes nothing.
func TestBothEndsCountTheSame(t *testing.T) {
	p := newPair(t)
	p.writes(year()...)
	p.settle()
	p.whole(int64(len(year())))
	letters := p.handled
	p.writes(year()...)
	p.settle()
	if p.handled != letters {
		t.Error("what was told was told again")
	}
	if err := p.AskForDays(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.settle()
	p.whole(int64(len(year())))
	if p.handled != letters+1 {
		t.Errorf("asked for all days, %d letters came", p.handled-letters)
	}
}

// A fact that the federal cell lost is an alarm that names the day, and heals when the day is told again; the figures are then what they
// should be.
func TestWhatTheCellLostComesAgain(t *testing.T) {
	p := newPair(t)
	lost := 0
	p.lose = func(o post.Outgoing) bool {
		f, ok := o.Body.(*federalv1.Facts)
		if !ok || f.GetFacts()[0].GetKind() != facts.Arrived || lost > 0 {
			return false
		}
		lost++
		return true
	}
	for _, f := range year() {
		p.writes(f)
	}
	for len(p.told) > 0 && p.told[0].Kind == flow.FactsKind { // all facts, but not yet their days
		o := p.told[0]
		if p.told = p.told[1:]; p.lose(o) {
			continue
		}
		if err := p.deliver("sindh", "referral", o.Kind, marshal(t, o.Body)); err != nil {
			t.Fatal(err)
		}
	}
	if lost != 1 || p.figures("all").GetTotal().GetCompleted() != 1 || len(p.days(true)) != 0 {
		t.Fatalf("lost %d, %v", lost, p.days(true))
	}
	if _, err := p.teller.Report(t.Context()); err != nil {
		t.Fatal(err)
	}
	o := p.told[0]
	p.told = nil
	if err := p.deliver("sindh", "referral", o.Kind, marshal(t, o.Body)); err != nil {
		t.Fatal(err)
	}
	differing := p.days(true)
	if len(differing) != 1 || differing[0].GetKept().GetDay() != "2026-03-02" || differing[0].GetDifferTime() == nil || differing[0].GetAsked() != 1 {
		t.Fatalf("the alarm: %v", differing)
	}
	p.settle()
	p.whole(int64(len(year())))
	want := newBench(t)
	want.tell(year()...)
	if got := p.counts(); !slices.Equal(got, want.counts()) {
		t.Errorf("%v\nwant %v", got, want.counts())
	}
}

// A service that was put back to before it told anything, or was lost with its store, has it all again from the cell, also of days on which nothing
// happens any more: in a new life it tells all its days, and of others that it knows nothing.
func TestWhatTheServiceLostComesBack(t *testing.T) {
	p := newPair(t)
	p.writes(year()...)
	p.settle()
	want := p.counts()
	kept := len(p.days(false))
	if kept < 2 {
		t.Fatalf("%d days", kept)
	}
	for name, left := range map[string]int{"all is lost": 0, "all but a part is lost": 1, "nothing is lost": len(year())} {
		engine := kitstore.NewMemory()
		db, err := kitstore.Open(t.Context(), kitstore.Options{Engine: engine, Schema: tellerSchema})
		if err != nil {
			t.Fatal(err)
		}
		p.teller.DB = db
		p.writes(year()[:left]...)
		p.told = nil // of a life that is lost
		if err := p.teller.BeginLife(t.Context()); err != nil || len(p.told) != 0 {
			t.Errorf("%s: the first life tells %d letters: %v", name, len(p.told), err)
		}
		err = errors.Join(db.RaiseIncarnation(t.Context(), db.Incarnation()), db.Close())
		if err == nil {
			p.teller.DB, err = kitstore.Open(t.Context(), kitstore.Options{Engine: engine, Schema: tellerSchema})
		}
		if err != nil {
			t.Fatal(err)
		}
		p.now = p.now.Add(24 * time.Hour)
		if err := p.teller.BeginLife(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.settle()
		p.whole(int64(len(year())))
		facts := 0
		err = errors.Join(engine.In("flow_facts", func(_, _ []byte) { facts++ }), p.teller.DB.Close())
		if err != nil || facts != len(year()) {
			t.Errorf("%s: the service has %d facts: %v", name, facts, err)
		}
		if got := p.counts(); !slices.Equal(got, want) {
			t.Errorf("%s: %v\nwant %v", name, got, want)
		}
	}
}

// Whatever either end lost, or has alone, both have all of it after they compared: random facts over many days, of which each end loses some.
func TestRandomLossesHeal(t *testing.T) {
	for seed := range uint64(4) {
		chance := rand.New(rand.NewPCG(seed, 1))
		p := newPair(t)
		p.lose = func(o post.Outgoing) bool { return o.Kind == flow.FactsKind && chance.IntN(3) == 0 }
		var all []*federalv1.Fact
		for n := range 400 {
			f := fact(n%200, facts.Referred, "punjab", n*21)
			f.FlowId = fmt.Appendf(nil, "%016d", n)
			all = append(all, f)
			p.writes(f)
		}
		p.settle()
		p.lose = func(post.Outgoing) bool { return false }
		// The cell is put back to an older copy: it has lost some more, and asks for all days.
		err := p.DB.Update(t.Context(), func(tx *kitstore.Tx) error {
			for _, f := range all[:50] {
				if chance.IntN(2) == 0 {
					continue
				}
				id := facts.ID("sindh", "referral", f)
				if there, err := store.Facts.Has(tx, store.FactKey(f.GetFlowId(), id)); err != nil || !there {
					return err
				}
				if err := store.Facts.Delete(tx, store.FactKey(f.GetFlowId(), id)); err != nil {
					return err
				}
				day := facts.Day(f.GetEventTime().AsTime())
				d, err := store.Days.Get(tx, kitstore.K("sindh", "referral", day))
				if err != nil {
					return err
				}
				kept := facts.Add(d.GetKept(), day, id) // exclusive or takes away what it added
				d.Kept.Digest, d.Kept.Facts = kept.GetDigest(), d.GetKept().GetFacts()-1
				if err := store.Days.Put(tx, kitstore.K("sindh", "referral", day), d); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			p.now = p.now.Add(2 * time.Hour)
			if err := p.AskForDays(t.Context()); err != nil {
				t.Fatal(err)
			}
			p.settle()
		}
		p.whole(int64(len(all)))
	}
}

// What a province lost in a restore it takes back from the cell, and it stays.
func TestWhatTheProvinceLostComesBack(t *testing.T) {
	p := newPair(t)
	p.writes(year()...)
	p.settle()
	other := newPair(t) // the same province with an empty store
	other.bench = p.bench
	other.teller.Now = func() time.Time { return p.now }
	f := fact(7, facts.Referred, "punjab", 33)
	other.writes(f)
	other.settle()
	other.whole(int64(len(year()) + 1))
	if got := other.figures("all").GetTotal().GetIdentified(); got != 2 {
		t.Errorf("%d identified", got)
	}
}

// Also a day of more facts than one letter holds.
func TestABusyDayComesBack(t *testing.T) {
	const busy = 2*flow.PerLetter + 1
	var all []*federalv1.Fact
	for n := range busy {
		f := fact(1, facts.Referred, "punjab", 0)
		f.FlowId = fmt.Appendf(nil, "%016d", n)
		all = append(all, f)
	}
	p := newPair(t)
	for some := range slices.Chunk(all, flow.PerLetter) { // no letter is longer
		p.writes(some...)
	}
	p.settle()
	other := newPair(t)
	other.bench = p.bench
	other.teller.Now = func() time.Time { return p.now }
	other.writes(fact(7, facts.Referred, "punjab", 33))
	other.settle()
	other.whole(busy + 1)
}

// A day that nobody can make equal is asked for once an hour, not without end, and stays an alarm.
func TestADayThatStaysDifferent(t *testing.T) {
	b := newBench(t)
	b.tell(fact(1, facts.Identified, "", 0))
	say := func() {
		t.Helper()
		days := &federalv1.FlowDays{Days: []*federalv1.FlowDay{{Day: "2026-03-01", Facts: 9, Digest: make([]byte, 32)}}}
		if err := b.deliver("sindh", "referral", flow.DaysKind, marshal(t, days)); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		say()
	}
	if len(b.letters) != 2 { // what is kept, and the question
		t.Errorf("%d letters", len(b.letters))
	}
	b.now = b.now.Add(time.Hour)
	say()
	if page, err := b.ListDays(t.Context(), &federalv1.ListDaysRequest{Filter: &federalv1.ListDaysRequest_Filter{Differing: true}}); err != nil || len(b.letters) != 4 ||
		len(page.GetDays()) != 1 || !page.GetDays()[0].GetDifferTime().AsTime().Equal(begin.Add(time.Hour)) || page.GetDays()[0].GetAsked() != 2 {
		t.Errorf("%v, %v, %d letters", page, err, len(b.letters))
	}
}

// A day that was told again and still differs is asked for again though its teller says no more: what was lost the second time, too, heals. The wait
// grows, and what was asked for in a future that the clock had run into is not waited for.
func TestADayIsAskedForUntilItIsWhole(t *testing.T) {
	p := newPair(t)
	jumps := 0
	p.Now = func() time.Time { jumps++; return p.now.AddDate(0, 0, jumps) } // the clock of people, who play a year: letters go no faster
	ask := func(at time.Time, asked int32) time.Time {
		t.Helper()
		p.now = at
		next, err := p.AskAgain(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		p.settle()
		if d := p.days(true); len(d) != 1 || d[0].GetAsked() != asked {
			t.Fatalf("at %v: %v", at, d)
		}
		return next
	}
	p.lose = func(o post.Outgoing) bool { return o.Kind == flow.FactsKind }
	start := p.now
	p.writes(year()[0])
	p.settle()
	if next := ask(start.Add(59*time.Minute), 1); !next.Equal(start.Add(time.Hour)) {
		t.Errorf("it looks again at %v", next)
	}
	at := start
	for n, hours := range []int{1, 2, 4, 8, 8} {
		ask(at.Add(time.Duration(hours)*time.Hour-time.Second), int32(n+1))
		at = at.Add(time.Duration(hours) * time.Hour)
		ask(at, int32(n+2))
	}
	ask(start, 7)
	p.lose = func(post.Outgoing) bool { return false }
	p.now = start.Add(8 * time.Hour)
	if _, err := p.AskAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.settle()
	p.whole(1)
	if all := p.days(false); all[0].GetAsked() != 0 {
		t.Errorf("it is whole, and asked for %d times", all[0].GetAsked())
	}
}

// Every service is asked for its days, and it is looked again when the first of them is due.
func TestTheFirstThatIsDueIsLookedFor(t *testing.T) {
	b := newBench(t)
	start := b.now
	tell := func(minutes int, node, service, day string, facts int64) {
		t.Helper()
		b.now = start.Add(time.Duration(minutes) * time.Minute)
		body := marshal(t, &federalv1.FlowDays{Days: []*federalv1.FlowDay{{Day: day, Facts: facts, Digest: make([]byte, 32)}}})
		if err := b.deliver(node, service, flow.DaysKind, body); err != nil {
			t.Fatal(err)
		}
	}
	look := func(minutes, next int, asked string) {
		t.Helper()
		b.now, b.letters = start.Add(time.Duration(minutes)*time.Minute), nil
		at, err := b.AskAgain(t.Context())
		if err != nil || !at.Equal(start.Add(time.Duration(next)*time.Minute)) {
			t.Errorf("after %d minutes it looks again at %v, %v", minutes, at, err)
		}
		var got []string
		for _, o := range b.letters {
			got = append(got, fmt.Sprint(o.To.GetNode(), "/", o.To.GetService(), " ", o.Body.(*federalv1.FlowsWanted).GetDays()))
		}
		if fmt.Sprint(got) != asked {
			t.Errorf("after %d minutes asked: %v, want %s", minutes, got, asked)
		}
	}
	tell(0, "balochistan", "protection", "2026-03-01", 3)
	tell(5, "sindh", "referral", "2026-03-02", 3)
	tell(10, "sindh", "referral", "2026-03-01", 3)
	look(20, 60, "[]")
	look(60, 65, "[balochistan/protection [2026-03-01]]")
	tell(61, "balochistan", "protection", "2026-03-01", 0) // it has none after all
	look(62, 65, "[]")
	look(65, 70, "[sindh/referral [2026-03-02]]")
	look(70, 130, "[sindh/referral [2026-03-01]]")
}

// One that the roster names no more by the time it is written to ends nothing, and keeps no other from being asked.
func TestWhoIsAbsentKeepsNobodyFromBeingAsked(t *testing.T) {
	b := newBench(t)
	body := marshal(t, &federalv1.FlowDays{Days: []*federalv1.FlowDay{{Day: "2026-03-01", Facts: 3, Digest: make([]byte, 32)}}})
	for _, node := range []string{"balochistan", "sindh"} {
		if err := b.deliver(node, "referral", flow.DaysKind, body); err != nil {
			t.Fatal(err)
		}
	}
	asked := func(node string) (n int) {
		for _, o := range b.letters {
			if o.To.GetNode() == node {
				n++
			}
		}
		return n
	}
	b.now, b.absent, b.letters = b.now.Add(time.Hour), "balochistan", nil
	if next, err := b.AskAgain(t.Context()); err != nil || asked("sindh") != 1 || !next.After(b.now) {
		t.Errorf("sindh is asked %d times, next %v, %v", asked("sindh"), next, err)
	}
	if err := b.AskForDays(t.Context()); err != nil || asked("sindh") < 2 {
		t.Errorf("sindh is asked %d times: %v", asked("sindh"), err)
	}
	b.absent = ""
	if _, err := b.AskAgain(t.Context()); err != nil || asked("balochistan") != 1 {
		t.Errorf("balochistan is asked %d times when it is there again: %v", asked("balochistan"), err)
	}
}

// Beds and links: the last word of each day and of each service.
func TestShelterDaysAndLinks(t *testing.T) {
	b := newBench(t)
	b.now = begin.AddDate(0, 2, 0)
	beds := func(day string, minutes int, occupied int64) {
		t.Helper()
		body := marshal(t, &federalv1.ShelterDay{
			Day: day, CountTime: timestamppb.New(begin.Add(time.Duration(minutes) * time.Minute)), Shelters: 2, Total: 50, OutOfService: 4, Occupied: occupied, Held: 3,
		})
		if err := b.deliver("punjab", "shelter", flow.SheltersKind, body); err != nil {
			t.Fatal(err)
		}
	}
	beds("2026-03-01", 10, 20)
	beds("2026-03-31", 50, 30)
	beds("2026-03-31", 40, 99) // older
	beds("2026-04-02", 90, 25)
	f := b.figures("all")
	if now := f.GetShelters(); len(now) != 1 || now[0].GetDay().GetOccupied() != 25 || now[0].GetFree() != 18 || now[0].GetProvince() != "PK-PB" {
		t.Errorf("now %v", now)
	}
	if trend := f.GetShelterTrend(); len(trend) != 2 || trend[0].GetMonth() != "2026-03" || trend[0].GetDay().GetOccupied() != 30 || trend[1].GetDay().GetOccupied() != 25 {
		t.Errorf("by month %v", trend)
	}
	links := func(minutes int, mark uint64) {
		t.Helper()
		body := marshal(t, &federalv1.LinkStates{
			LookTime: timestamppb.New(begin.Add(time.Duration(minutes) * time.Minute)), Links: []*federalv1.LinkState{{Node: "sindh", Service: "referral", Mark: mark}},
		})
		if err := b.deliver("punjab", "referral", flow.LinksKind, body); err != nil {
			t.Fatal(err)
		}
	}
	links(20, 2)
	links(10, 1)
	page, err := b.ListLinks(t.Context(), &federalv1.ListLinksRequest{})
	if err != nil || len(page.GetLinks()) != 2 || page.GetLinks()[0].GetNode() != "federal" || page.GetLinks()[1].GetStates().GetLinks()[0].GetMark() != 2 {
		t.Errorf("%v, %v", page, err)
	}
	if page, err = b.ListLinks(t.Context(), &federalv1.ListLinksRequest{Filter: &federalv1.ListLinksRequest_Filter{Node: "punjab"}}); err != nil || len(page.GetLinks()) != 1 {
		t.Errorf("%v, %v", page, err)
	}
}

// Facts that a file of version 1 had are of no day yet when they are first counted: they are put into theirs, and a province that tells one of them
// again tells nothing that differs.
func TestDaysOfFactsFromAnOlderFile(t *testing.T) {
	p := newPair(t)
	f := fact(3, facts.Arrived, "punjab", 50)
	err := p.DB.Update(t.Context(), func(tx *kitstore.Tx) error {
		id := facts.ID("sindh", store.OldService, f)
		return store.Facts.Insert(tx, store.FactKey(f.GetFlowId(), id), &federalv1.FactRecord{Fact: f, FactId: id, SourceNode: "sindh", SourceService: store.OldService})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Recount(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.writes(f, fact(3, facts.Completed, "punjab", 60))
	p.settle()
	p.whole(2)
	before := p.days(false)
	if err := p.Rebuild(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := p.days(false); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("%v\nwant %v", after, before)
	}
}

// Quantiles are within 2.3 % of what they are of.
func TestQuantile(t *testing.T) {
	for _, d := range []time.Duration{2 * time.Minute, time.Hour, 26 * time.Hour, 40 * 24 * time.Hour, 5 * 365 * 24 * time.Hour} {
		got := rules.Quantile([]*federalv1.Count{{Detail: rules.Bucket(d), Value: 1}}, 0.5)
		if off := float64(got-d) / float64(d); off > 0.023 || off < -0.023 {
			t.Errorf("%v is told as %v", d, got)
		}
	}
	var buckets []*federalv1.Count
	for minutes := range 100 {
		buckets = append(buckets, &federalv1.Count{Detail: rules.Bucket(time.Duration(minutes+1) * time.Hour), Value: 1})
	}
	for share, want := range map[float64]time.Duration{0.5: 50 * time.Hour, 0.9: 90 * time.Hour} {
		if got := rules.Quantile(buckets, share); got < want*97/100 || got > want*103/100 {
			t.Errorf("%v: %v, want %v", share, got, want)
		}
	}
	if got := rules.Quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	if rules.Bucket(-time.Hour) != rules.Bucket(0) {
		t.Error("a time before its beginning is not none")
	}
}
