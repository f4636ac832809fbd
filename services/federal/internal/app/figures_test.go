package app_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/flow"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/kit/store/storetest"
)

// The etag of figures is the same while they are, whenever they are counted.
func TestEtagOfFigures(t *testing.T) {
	b := newBench(t)
	b.tell(year()[0])
	first := b.figures("all").GetEtag()
	b.now = b.now.Add(time.Minute)
	if again := b.figures("all"); first == "" || again.GetEtag() != first || !again.GetCountTime().AsTime().Equal(b.now) {
		t.Errorf("%q, then %v", first, again)
	}
	if b.tell(year()[1]); b.figures("all").GetEtag() == first {
		t.Error("a referral more, and the same etag")
	}
}

// dying is a context that ends after so many looks at it, as a process does that is killed in the middle.
type dying struct {
	context.Context
	left int
}

func (d *dying) Err() error {
	if d.left--; d.left < 0 {
		return context.Canceled
	}
	return nil
}

// Counting anew may be broken off anywhere: the next start begins it again. So does one with a program that counts otherwise.
func TestCountingAnewThatIsBrokenOff(t *testing.T) {
	b := newBench(t)
	if err := b.Recount(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.tell(year()...)
	want := b.counts()
	broken := 0
	for looks := 0; ; looks++ {
		err := b.Rebuild(&dying{t.Context(), looks})
		if err == nil {
			break
		}
		if !slices.Equal(b.counts(), want) {
			broken++
		}
		if err := b.Recount(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := b.counts(); !slices.Equal(got, want) {
			t.Fatalf("broken off after %d looks: %v\nwant %v", looks, got, want)
		}
	}
	if broken == 0 {
		t.Error("it was never broken off in the middle")
	}
	for _, counted := range []uint64{0, rules.Counting - 1, rules.Counting + 1} {
		err := b.DB.Update(t.Context(), func(tx *kitstore.Tx) error {
			_, err := store.Counts.Get(tx, store.CountKey(rules.FigureCohort, "2026-03", "sindh", "", facts.Identified))
			if err == nil {
				err = store.Counts.Delete(tx, store.CountKey(rules.FigureCohort, "2026-03", "sindh", "", facts.Identified))
			}
			if err == nil {
				err = store.Counted.Put(tx, store.CountedKey, wrapperspb.UInt64(counted))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Recount(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := b.counts(); !slices.Equal(got, want) {
			t.Errorf("counted by version %d: %v\nwant %v", counted, got, want)
		}
	}
}

// Beds by month are of the months asked for, also where both ends are the same; beds now are of no month.
func TestBedsOfMonths(t *testing.T) {
	b := newBench(t)
	b.now = begin.AddDate(1, 0, 0)
	for month := range 4 {
		at := begin.AddDate(0, month, 0)
		body := marshal(t, &federalv1.ShelterDay{Day: facts.Day(at), CountTime: timestamppb.New(at), Total: 50, Occupied: int64(month)})
		if err := b.deliver("punjab", "shelter", flow.SheltersKind, body); err != nil {
			t.Fatal(err)
		}
	}
	for months, want := range map[string]string{
		"all": "2026-03 2026-04 2026-05 2026-06", "2026-04": "2026-04", "2026-04..2026-05": "2026-04 2026-05", "2027-01": "",
	} {
		f := b.figures(months)
		var got []string
		for _, row := range f.GetShelterTrend() {
			got = append(got, row.GetMonth())
		}
		if strings.Join(got, " ") != want || len(f.GetShelters()) != 1 || f.GetShelters()[0].GetDay().GetOccupied() != 3 {
			t.Errorf("%s: %v, now %v", months, got, f.GetShelters())
		}
	}
}

// Beds are found without all days that are over: with years before and behind, two months cost as many calls of the
// engine and say the same.
func TestBedsOfDaysThatAreOverCostNothing(t *testing.T) {
	engine := &storetest.Tally{Engine: kitstore.NewMemory()}
	b := newBenchOn(t, kitstore.Options{Engine: engine, Inline: true, Schema: store.Schema})
	b.now = begin.AddDate(3, 0, 0)
	tell := func(from, to int) {
		err := b.DB.Update(t.Context(), func(tx *kitstore.Tx) error {
			for day := from; day < to; day++ {
				for i, node := range []string{"balochistan", "punjab", "sindh"} {
					at := begin.AddDate(0, 0, day)
					r := &federalv1.ShelterRecord{Node: node, Day: &federalv1.ShelterDay{
						Day: facts.Day(at), CountTime: timestamppb.New(at), Total: 900, Occupied: int64(100*i + at.Day()),
					}}
					if err := store.Shelters.Put(tx, kitstore.K(node, r.GetDay().GetDay()), r); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	cost := func() (calls int, beds string) {
		before := engine.Calls
		f := b.figures("2028-01..2028-02")
		calls = engine.Calls - before
		return calls, fmt.Sprint(f.GetShelterTrend())
	}
	tell(640, 760) // December to March
	few, said := cost()
	tell(0, 640)
	tell(760, 1000)
	if many, same := cost(); few != many || said != same || !strings.Contains(said, "2028-01-31") {
		t.Errorf("%d calls, with years before and behind %d; %s and %s", few, many, said, same)
	}
	if trend := b.figures("all").GetShelterTrend(); len(trend) != 3*33 || trend[0].GetMonth() != "2026-03" || trend[0].GetDay().GetOccupied() != 31 {
		t.Errorf("%d months, the first %v", len(trend), trend[0])
	}
}

// Beds and times of several nodes: each has rows of its own, in order; more beds taken than there are leave none free. Nothing makes no rows.
func TestFiguresOfSeveralNodes(t *testing.T) {
	b := newBench(t)
	if f := b.figures("all"); len(f.GetTimes())+len(f.GetShelters())+len(f.GetShelterTrend()) != 0 {
		t.Errorf("of nothing: %v", f)
	}
	b.now = begin.AddDate(1, 0, 0)
	nodes := []string{"balochistan", "punjab", "sindh"}
	for _, node := range []string{"sindh", "balochistan", "punjab"} {
		for month := range 2 {
			at := begin.AddDate(0, month, 0)
			body := marshal(t, &federalv1.ShelterDay{Day: facts.Day(at), CountTime: timestamppb.New(at), Total: 50, Occupied: int64(len(node) + 50*month)})
			if err := b.deliver(node, "shelter", flow.SheltersKind, body); err != nil {
				t.Fatal(err)
			}
		}
		b.many(2, node+">punjab", 1, facts.Referred, facts.Accepted)
	}
	if trend := b.figures("2026-03").GetShelterTrend(); len(trend) != 3 {
		t.Errorf("of one month: %v", trend)
	}
	for range 10 {
		f := b.figures("all")
		var beds, trend, times []string
		for _, r := range f.GetShelters() {
			if beds = append(beds, r.GetNode()); r.GetFree() != 0 || r.GetDay().GetOccupied() != int64(len(r.GetNode())+50) {
				t.Errorf("beds now: %v", r)
			}
		}
		for _, r := range f.GetShelterTrend() {
			trend = append(trend, r.GetMonth()+" "+r.GetNode())
		}
		for _, r := range f.GetTimes() {
			times = append(times, fmt.Sprint(r.GetFromNode(), " ", r.GetFlows()))
		}
		if !slices.Equal(beds, nodes) || strings.Join(trend, ", ") != "2026-03 balochistan, 2026-03 punjab, 2026-03 sindh, 2026-04 balochistan, 2026-04 punjab, 2026-04 sindh" ||
			strings.Join(times, ", ") != " 6, balochistan 2, punjab 2, sindh 2" {
			t.Fatalf("beds %v, by month %v, times %q", beds, trend, times)
		}
	}
}

// Of a flow with two outcomes, neither of which corrects the other, the one that was told last counts.
func TestTheLastOutcomeCounts(t *testing.T) {
	b := newBench(t)
	for n, code := range []string{"REUNIFIED", "ENTRUSTED", "OTHER"} {
		f := fact(1, facts.Completed, "punjab", 100*n)
		f.Code = code
		b.tell(f)
	}
	if got := fmt.Sprint(b.figures("all").GetOutcomes()); !strings.Contains(got, "OTHER") || len(b.figures("all").GetOutcomes()) != 1 {
		t.Error(got)
	}
}

// A service that is told twice of one flow counts once; an outcome that is not said, as in the older form, is none of the list.
func TestWhatOneFlowAddsOnce(t *testing.T) {
	b := newBench(t)
	for n, code := range []string{"LEGAL", "LEGAL", "SHELTER"} {
		f := fact(1, facts.Service, "punjab", 40*24*60*n) // another month
		f.Code = code
		b.tell(f)
	}
	b.tell(fact(1, facts.Completed, "punjab", 300))
	f := b.figures("all")
	if got := f.GetServices(); len(got) != 2 || got[0].GetFlows() != 1 || got[1].GetFlows() != 1 || len(f.GetOutcomes()) != 0 {
		t.Errorf("services %v, outcomes %v", got, f.GetOutcomes())
	}
}

// A flow stands at the furthest stage it has reached, until it has an outcome or has ended. Who did not come is counted, and is still waited for.
func TestWhatEndsAFlow(t *testing.T) {
	for kind, c := range map[string]struct{ stands, ended bool }{
		"": {true, false}, facts.NoShow: {true, true}, facts.Declined: {true, false}, facts.Completed: {false, false},
		facts.Cancelled: {false, true}, facts.Expired: {false, true}, facts.Returned: {false, true},
	} {
		b := newBench(t)
		b.tell(fact(1, facts.Referred, "punjab", 1), fact(1, facts.Accepted, "punjab", 2), fact(1, facts.Dispatched, "punjab", 3))
		if kind != "" {
			b.tell(fact(1, kind, "punjab", 4))
		}
		f := b.figures("all")
		if stands := len(f.GetStanding()) == 1 && f.GetStanding()[0].GetStage() == federalv1.Stage_STAGE_DISPATCHED; stands != c.stands || len(f.GetStanding()) > 1 {
			t.Errorf("%s: standing %v", kind, f.GetStanding())
		}
		if ended := len(f.GetEnded()) == 1 && f.GetEnded()[0].GetCode() == kind; ended != c.ended || len(f.GetEnded()) > 1 {
			t.Errorf("%s: ended %v", kind, f.GetEnded())
		}
	}
}

// Whoever has no referral that leads anywhere waits, since the last one ended; whoever has one that does, or an outcome, does not.
func TestWhoWaitsForAReferral(t *testing.T) {
	refer := func(n, minutes int) *federalv1.Fact {
		f := fact(n, facts.Referred, "punjab", minutes)
		f.CaseFlowId = flowID(1)
		return f
	}
	for name, c := range map[string]struct {
		told  []*federalv1.Fact
		waits time.Duration // since so long after the beginning; below zero: nobody waits
	}{
		"never referred":           {nil, 0},
		"referred":                 {[]*federalv1.Fact{refer(2, 60)}, -1},
		"cancelled":                {[]*federalv1.Fact{refer(2, 60), fact(2, facts.Cancelled, "", 600)}, 10 * time.Hour},
		"expired, and tried again": {[]*federalv1.Fact{refer(2, 60), fact(2, facts.Expired, "", 600), refer(3, 660)}, -1},
		"twice in vain":            {[]*federalv1.Fact{refer(2, 60), fact(2, facts.Expired, "", 600), refer(3, 660), fact(3, facts.Cancelled, "", 1200)}, 20 * time.Hour},
		"the first ends last":      {[]*federalv1.Fact{refer(2, 60), fact(2, facts.Expired, "", 1200), refer(3, 660), fact(3, facts.Cancelled, "", 900)}, 20 * time.Hour},
		"came back":                {[]*federalv1.Fact{refer(2, 60), fact(2, facts.Arrived, "punjab", 120), fact(2, facts.Returned, "punjab", 300)}, 5 * time.Hour},
		"an outcome":               {[]*federalv1.Fact{refer(2, 60), fact(2, facts.Completed, "punjab", 120), refer(3, 180), fact(3, facts.Cancelled, "", 240)}, -1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.tell(append(c.told, fact(1, facts.Identified, "", 0))...)
			b.now = begin.Add(c.waits + 71*time.Hour) // one day to three, if it counts from then
			want := fmt.Sprint(c.waits >= 0)
			got := "false"
			for _, row := range b.figures("all").GetStanding() {
				if row.GetStage() == identified {
					if got = "true"; row.GetAge() != federalv1.LateAge_LATE_AGE_UNDER_THREE_DAYS || row.GetFlows() != 1 {
						t.Errorf("waits %v", row)
					}
				}
			}
			if got != want {
				t.Errorf("waits: %s, want %s", got, want)
			}
		})
	}
}
