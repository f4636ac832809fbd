package simulation

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/soaktest"
	"amanat.example/services/kit/store"
)

// judgeEvery is how often all is judged; what somebody does is judged at once.
const judgeEvery = 12 * time.Hour

// calmDays are how long it is calm at the end; longestCalm, where a child is still on the way then.
const (
	calmDays    = 4
	longestCalm = 8
)

// live has a country live by its plan; keep is how many lines of the trace are kept.
func live(t testing.TB, p plan, keys []*privacy.Keyring, keep int) *country {
	c := newCountry(t, p, keys)
	c.keep = keep
	for until := c.begin.Add(time.Duration(p.days) * 24 * time.Hour); c.broken == "" && c.now.Before(until); {
		c.run(judgeEvery)
		c.judgeAll()
		c.goOn()
	}
	c.calmDown()
	onTheirWay := func(n *child) bool { return c.settled(n) != "" }
	for half := 0; c.broken == "" && (half < 2*calmDays || half < 2*longestCalm && slices.ContainsFunc(c.people, onTheirWay)); half++ {
		c.run(12 * time.Hour)
		c.judgeAll()
		c.goOn()
	}
	if c.broken == "" {
		c.agree()
	}
	return c
}

// size of a country: how many children in how many days of storm.
type size struct{ children, days int }

// What a seed has: most are small, since a fault that needs few children is met sooner in many small countries than in few large ones.
var (
	smallSize = size{5, 2}
	usualSize = size{25, 7}
	monthSize = size{300, 30}
)

// Seeds of `make test`, the first of which are of the usual size; and of a soak, at least.
const (
	seedsTest  = 300
	seedsUsual = 4
	seedsSoak  = 10_000
)

// One seed in so many signs and seals in earnest, from this one on.
const earnestEvery, earnestFirst = 50, 25

// planOf is the plan of a seed; the first ones are of the usual size. In a soak each fiftieth is so too, and of each five thousand one
// is a month with 300.
func planOf(seed, usual int, soak bool) plan {
	s := smallSize
	switch {
	case soak && seed%5000 == 0:
		s = monthSize
	case seed <= usual, soak && seed%50 == 0:
		s = usualSize
	}
	p := newPlan(uint64(seed), s.children, s.days)
	p.real = seed%earnestEvery == earnestFirst
	return p
}

// storms are what must have been there in all the countries together, and what must have been judged.
var storms = []string{
	"messages lost", "messages doubled", "messages late", "cuts", "cut ins", "cut outs", "slow links", "crashes", "commits not synced", "restores", "rollbacks", "found rolled back", "hub wipes",
	"restores of referral", "restores of shelter", "restores of protection", "rollbacks of referral", "rollbacks of shelter", "rollbacks of protection", "rollbacks of federal",
	"rollbacks of whole nodes", "goes first (done)", "flows compared",
	"hub rollbacks", "clock jumps", "illegal", "letters applied", "submits (done)", "submits together (done)", "answers to submissions lost", "events had again", "completes", "facts reconciled",
	"judged while all knew what they knew", "judged whether siblings were parted", "offers seen for which no bed was free", "dossiers received", "dossiers closed", "days compared", "beds in use", "beds of those who came",

	"confirms a hold by an older fence", "accepts what has ended", "asks about what has ended", "sends whom it does not own", "sends where nobody has promised",
	"calls off what it does not own", "begins a service for whom it does not own", "asks another by an old etag", "sends without a role", "chooses who has not accepted",
}

// Countries live for days in a storm and then in calm: all invariants hold as they go, and in the end all agree. Two live beside each other.
func TestDays(t *testing.T) {
	const lanes = 2
	var mu sync.Mutex
	sum, begun, seeds, next := map[string]int{}, time.Now(), 0, 0
	most := soaktest.Alone(seedsTest, 2)
	t.Cleanup(func() {
		t.Logf("%d seeds in %v: %s", seeds, time.Since(begun).Round(time.Second), counted(sum))
		for _, what := range storms {
			if sum[what] == 0 && seeds >= seedsTest && !t.Failed() {
				t.Errorf("in %d countries there was none of %q: nothing is shown by them", seeds, what)
			}
		}
	})
	for lane := range lanes {
		t.Run(fmt.Sprint("lane ", lane), func(t *testing.T) {
			t.Parallel()
			keys := countryKeys(t)
			for range soaktest.Rounds(t, most/lanes, seedsSoak/lanes) {
				mu.Lock()
				next++
				seed := next
				mu.Unlock()
				c := live(t, planOf(seed, soaktest.Alone(seedsUsual, 0), soaktest.Soak()), keys, 0)
				mu.Lock()
				for what, times := range c.did {
					sum[what] += times
				}
				seeds++
				mu.Unlock()
				if c.broken != "" {
					t.Fatal(c.explain(t, keys, shrinkFor(t)))
				}
			}
		})
	}
}

// The same plan has the same trace, to the byte, with every message that is sent; with and without cases, and, but for the messages, signed and sealed
// in earnest.
func TestDaysRepeat(t *testing.T) {
	for _, seed := range soaktest.Alone([]uint64{1, casesEvery, earnestFirst}, []uint64{1}) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			keys := countryKeys(t)
			p := newPlan(seed, soaktest.Alone(10, 2), soaktest.Alone(3, 1))
			p.real = seed == earnestFirst
			p.bytes = !p.real // keys made anew sign otherwise
			first, second := live(t, p, keys, 100000), live(t, p, keys, 100000)
			if first.broken != "" || len(first.last) < 10 {
				t.Errorf("broken %q after %d lines", first.broken, len(first.last))
			}
			if bytes.Equal(first.trace.Sum(nil), second.trace.Sum(nil)) {
				return
			}
			for i, line := range first.last {
				if i >= len(second.last) || second.last[i] != line {
					t.Fatalf("the traces part at line %d:\n%s\n%s", i, line, strings.Join(second.last[min(i, len(second.last)):min(i+1, len(second.last))], ""))
				}
			}
			t.Error("the second trace is longer")
		})
	}
}

// A referral service that is put back to an older copy, without a crash or a word, is found out: a chain that was seen there has become shorter, or
// is gone; and one that never has it back, too.
func TestWhatIsUndoneIsSeen(t *testing.T) {
	keys := countryKeys(t)
	p := newPlan(2, 1, 2)
	p.mishaps = nil
	for events, want := range map[int]string{0: "KEPT (acknowledged)", 1: "I8 (nothing is undone)"} {
		c := newCountry(t, p, keys)
		h := c.house(p.arrivals[0].origin, "referral")
		seen := func() (n int) {
			if len(c.people) == 0 || c.people[0].referral == "" {
				return 0
			}
			if f := c.chain(h.node, c.people[0].referral); f != nil {
				n = len(f.chain.Links())
			}
			return n
		}
		for seen() < events {
			c.run(time.Minute)
		}
		old := h.engine.Clone()
		c.run(p.arrivals[0].at + 24*time.Hour)
		c.judgeAll()
		if c.broken != "" {
			t.Fatal(c.broken)
		}
		h.close()
		h.engine, h.promised = old, nil
		h.open()
		c.judge(c.people[0])
		if name := c.invariant(); name != want {
			t.Errorf("with a copy of at least %d events, %q is broken, want %q", events, name, want)
		}
		c.broken = "" // as if it had been restored, and given nothing back
		if c.hasBack(c.people[0]); c.invariant() != "BACK (events)" {
			t.Errorf("with a copy of at least %d events, and no more ever after, %q is broken", events, c.invariant())
		}
	}
}

// shrinkFor is how long a smaller plan is looked for.
func shrinkFor(t *testing.T) time.Duration {
	if soaktest.Soak() {
		return 5 * time.Minute
	}
	return 30 * time.Second
}

// counted are the counts that say how much was tried.
func counted(sum map[string]int) string {
	var all []string
	for _, what := range slices.Sorted(maps.Keys(sum)) {
		if !strings.HasSuffix(what, "(done)") || what == "submits (done)" || what == "submits together (done)" {
			all = append(all, fmt.Sprintf("%s %d", what, sum[what]))
		}
	}
	return strings.Join(all, ", ")
}

func countryKeys(t testing.TB) (all []*privacy.Keyring) {
	for i := range 2*len(nodesOf) + 1 {
		keys, err := privacy.OpenKeyring(t.Context(), privacy.Options{
			Dir: t.TempDir(), Engine: store.NewMemory(), Inline: true, Clock: func() time.Time { return time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC) }, Rand: &lot{seed: mark("keys", fmt.Sprint(i))},
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, keys)
	}
	return all
}

// A month of 300 children, and a week of 25, as they are lived in a soak and in `make test`.
func BenchmarkDays(b *testing.B) {
	keys := countryKeys(b)
	for name, s := range map[string]size{"month": monthSize, "week": usualSize} {
		b.Run(name, func(b *testing.B) {
			seed := uint64(0)
			for b.Loop() {
				seed++
				c := live(b, newPlan(seed, s.children, s.days), keys, 0)
				if c.broken != "" {
					b.Fatalf("seed %d: %s", seed, c.broken)
				}
				b.ReportMetric(float64(c.did["submits (done)"]+2*c.did["submits together (done)"]), "referrals")
				b.ReportMetric(float64(c.did["parcels and receipts"]), "messages")
			}
		})
	}
}
