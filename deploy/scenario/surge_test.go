package scenario_test

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"amanat.example/deploy/scenario"
	"amanat.example/services/kit/soaktest"
)

// surge is a year with one, made once.
type surge struct {
	*scenario.Year
	took  time.Duration
	bytes uint64 // held by each case
}

var withSurge = sync.OnceValues(func() (s surge, err error) {
	before, begin := heap(), time.Now()
	if s.Year, err = scenario.Make(scenario.Options{Seed: 7, Referrals: 500, Surge: true}); err == nil {
		s.took, s.bytes = time.Since(begin), (heap()-before)/uint64(len(s.Cases))
	}
	return s, err
})

func makeSurge(t *testing.T) surge {
	t.Helper()
	s, err := withSurge()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSurge(t *testing.T) {
	y := makeSurge(t)
	t.Logf("%d cases in %v, %d bytes for each, %d in all", len(y.Cases), y.took, y.bytes, y.bytes*uint64(len(y.Cases)))
	if y.bytes > 1000 {
		t.Errorf("a case takes %d bytes, so that the surge takes more than 80 million", y.bytes)
	}
	found, families, alone, first := map[string]int{}, map[int]int{}, 0, time.Time{}
	total := 0
	for _, c := range y.Cases {
		if c.Kind != "kilns" {
			continue
		}
		if total++; first.IsZero() {
			first = c.Time
		}
		if c.Referral != nil || c.Consent != nil || c.Node != "punjab" || c.Time.Sub(first) > 30*24*time.Hour || c.Case.GetPerson().GetAgeTo() > 17 {
			t.Fatalf("case %d at %s at %v, referred %v: not of the kilns", c.Number, c.Node, c.Time, c.Referral != nil)
		}
		found[c.Case.GetFoundDistrict()]++
		if c.Family == 0 {
			alone++
		} else {
			families[c.Family]++
		}
	}
	if total != 79000 || len(found) != 36 || found["PK617"] < 3*found["PK631"] {
		t.Errorf("%d children in %d districts, %d in Lahore and %d in Sahiwal", total, len(found), found["PK617"], found["PK631"])
	}
	if first.Format(time.DateOnly) != "2025-11-01" {
		t.Errorf("it begins on %v, and the kilns burn from November on", first)
	}
	if households := alone + len(families); households < total/3 || households > total/2 || alone < households/5 {
		t.Errorf("%d households of %d children, %d of one", households, total, alone)
	}
	for _, row := range rows(t, y.Year) {
		if !row.OK {
			t.Errorf("%s, %s: %.4f and not %.4f", row.Of, row.What, row.Made, row.Published)
		}
		if strings.HasPrefix(row.Of, "surge") {
			total = 0
		}
	}
	if total != 0 {
		t.Error("the table says nothing of the surge")
	}
}

// A surge is whole in every year, whenever that begins.
func TestSurgeOfAnyYear(t *testing.T) {
	starts := []time.Time{time.Date(2025, time.November, 2, 0, 0, 0, 0, time.UTC), time.Date(2024, time.October, 20, 0, 0, 0, 0, time.UTC)}
	for _, start := range starts[:soaktest.Alone(2, 1)] {
		y, err := scenario.Make(scenario.Options{Start: start, Referrals: 1, Surge: true})
		if err != nil {
			t.Fatal(err)
		}
		kilns, last := 0, time.Time{}
		for _, c := range y.Cases {
			if c.Kind == "kilns" {
				kilns, last = kilns+1, c.Time
			}
		}
		if kilns != 79000 || last.After(y.End) {
			t.Errorf("a year from %v: %d children, the last at %v", start, kilns, last)
		}
	}
}

func rows(t *testing.T, y *scenario.Year) []scenario.Row {
	t.Helper()
	all, err := scenario.Table(y)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// heap is what is held, bytes.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
