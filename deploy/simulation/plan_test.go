package simulation

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// plan is what comes to a country from outside: who is to be referred, and what breaks. All that people do then, and what the network does with
// each message, follows from the seed too, each from a stream of its own: so that where a part of the plan is taken away, the rest stays alike.
type plan struct {
	seed     uint64
	days     int   // of storm; the calm comes behind them
	real     bool  // letters are signed and sealed in earnest
	bytes    bool  // each message that is sent stands in the trace
	cases    bool  // children are taken in by protection services, which refer them
	beds     int32 // of each node's shelter
	arrivals []arrival
	mishaps  []mishap
}

// arrival is a child, or children who go together, who are to be referred.
type arrival struct {
	at         time.Duration
	number     int
	origin, to string
	siblings   int // others, who go together with the first
}

// mishap is something that breaks.
type mishap struct {
	at   time.Duration
	kind string
	node string
	// service of the node; empty for both.
	service string
	long    time.Duration // how long it stays broken, how far a clock is off, or how far back it goes
	pick    int           // which copy
	keeps   bool          // what was written and not synced outlives the crash
}

func (m mishap) String() string {
	return fmt.Sprintf("%s %s %s %s (%v, %d, %v)", day(m.at), m.kind, m.node, m.service, m.long.Round(time.Minute), m.pick, m.keeps)
}

func (a arrival) String() string {
	return fmt.Sprintf("%s child %d and %d more, of %s, first asked is %s", day(a.at), a.number, a.siblings, a.origin, a.to)
}

func day(at time.Duration) string {
	return fmt.Sprintf("%d. %s", 1+at/(24*time.Hour), time.Time{}.Add(at).Format("15:04"))
}

var nodesOf = []string{"balochistan", "islamabad", "khyber", "punjab", "sindh"}

// weather is how often something breaks, in the mean between two times of it in the whole country.
type weather struct {
	kind    string
	every   time.Duration
	service []string // of one of which
	long    time.Duration
}

var weathers = []weather{
	{"crash", 8 * time.Hour, []string{"referral", "shelter"}, 10 * time.Minute},
	{"crash", 3 * 24 * time.Hour, []string{"referral", "shelter", "shelter"}, 20 * time.Hour}, // one of a node is away for long, and the others go on
	{"crash", 4 * 24 * time.Hour, []string{""}, time.Hour},
	{"crash", 5 * 24 * time.Hour, []string{Federal}, time.Hour},
	{"commit", 8 * time.Hour, []string{"referral", "referral", "shelter"}, 10 * time.Minute},
	{"commit", 24 * time.Hour, []string{Federal}, 10 * time.Minute},
	{"cut", 12 * time.Hour, []string{""}, 4 * time.Hour},
	{"cut", 6 * 24 * time.Hour, []string{""}, 30 * time.Hour},
	{"cut out", 36 * time.Hour, []string{""}, 3 * time.Hour},
	{"cut in", 36 * time.Hour, []string{""}, 3 * time.Hour},
	{"slow", 24 * time.Hour, []string{""}, 6 * time.Hour},
	{"wipe hub", 5 * 24 * time.Hour, []string{""}, 0},
	{"roll hub back", 5 * 24 * time.Hour, []string{""}, 2 * time.Hour},
	{"copy", 6 * time.Hour, []string{""}, 0},
	{"copy", 24 * time.Hour, []string{Federal}, 0},
	{"restore", 5 * 24 * time.Hour, []string{"referral", "shelter", ""}, 0},
	{"roll back", 36 * time.Hour, []string{"referral", "shelter", ""}, 0},
	{"roll back", 5 * 24 * time.Hour, []string{Federal}, 0},
	{"clock forward", 5 * 24 * time.Hour, []string{""}, 30 * time.Hour},
	{"clock back", 5 * 24 * time.Hour, []string{""}, 3 * time.Hour},
}

// plenty are more beds than a node ever needs; one country in so many has few, so that some are refused for want of one.
const (
	plenty      = 40
	scarceEvery = 3
)

// newPlan draws one.
func newPlan(seed uint64, children, days int) plan {
	p := plan{seed: seed, days: days, cases: seed%casesEvery == 0, beds: plenty}
	if seed%scarceEvery == 1 {
		p.beds = max(2, int32(children/5)) // enough for all, though not where each is sent first
	}
	long := time.Duration(days) * 24 * time.Hour
	chance := stream(seed, "plan")
	for n := 0; n < children; {
		a := arrival{number: n, at: time.Duration(chance.Int64N(int64(long * 4 / 5))), origin: nodesOf[chance.IntN(len(nodesOf))]}
		if n+1 < children && chance.Float64() < 0.08 {
			a.siblings = 1
		}
		for a.to = a.origin; a.to == a.origin; {
			a.to = nodesOf[chance.IntN(len(nodesOf))]
		}
		n += 1 + a.siblings
		p.arrivals = append(p.arrivals, a)
	}
	for i, w := range p.weathers() {
		chance := stream(seed, fmt.Sprint("weather ", i))
		for at := about(chance, w.every); at < long; at += about(chance, w.every) {
			m := mishap{at: at, kind: w.kind, service: w.service[chance.IntN(len(w.service))], pick: chance.IntN(100), keeps: chance.Float64() < 0.5}
			m.node, m.long = nodesOf[chance.IntN(len(nodesOf))], about(chance, w.long)
			if m.service == Federal {
				m.node = Federal
			}
			p.mishaps = append(p.mishaps, m)
		}
	}
	slices.SortStableFunc(p.mishaps, func(a, b mishap) int { return cmp.Compare(a.at, b.at) })
	return p
}

// stream is a source of chance of its own.
func stream(seed uint64, of string) *rand.Rand {
	h := mark("stream", of)
	var n uint64
	for _, b := range h[:8] {
		n = n<<8 | uint64(b)
	}
	return rand.New(rand.NewPCG(seed, n))
}

// about is a time of some length, seldom much longer.
func about(chance *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(chance.ExpFloat64() * float64(mean))
}
