package simulation

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"amanat.example/services/kit/privacy"
)

// invariant is the name of what is broken; empty for nothing.
func (c *country) invariant() string {
	name, _, _ := strings.Cut(c.broken, ":")
	name, _, _ = strings.Cut(name, " (child")
	return name
}

// explain finds the shortest trace there is time for, and shows it with its plan.
func (c *country) explain(t testing.TB, keys []*privacy.Keyring, long time.Duration) string {
	smaller, tries := shrink(t, c.plan, c.invariant(), keys, long)
	small := live(t, smaller, keys, 4000)
	var told strings.Builder
	fmt.Fprintf(&told, "seed %d: %s\n", c.plan.seed, c.broken)
	fmt.Fprintf(&told, "smallest of %d plans, of %d days with %d of %d arrivals and %d of %d mishaps: %s\n", tries, smaller.days,
		len(smaller.arrivals), len(c.plan.arrivals), len(smaller.mishaps), len(c.plan.mishaps), small.broken)
	for _, a := range smaller.arrivals {
		fmt.Fprintf(&told, "  %v\n", a)
	}
	for _, m := range smaller.mishaps {
		fmt.Fprintf(&told, "  %v\n", m)
	}
	about := regexp.MustCompile(`child \d+\b`).FindString(small.broken)
	lines := slices.DeleteFunc(small.last, func(line string) bool {
		return about != "" && strings.Contains(line, "(child ") && !strings.Contains(line, "("+about)
	})
	told.WriteString(strings.Join(lines[max(0, len(lines)-200):], "\n"))
	return told.String()
}

// shrink takes arrivals and mishaps away from a plan, ever smaller parts of them, as long as the same invariant does not hold without them,
// while there is time.
func shrink(t testing.TB, p plan, name string, keys []*privacy.Keyring, long time.Duration) (_ plan, tries int) {
	until := time.Now().Add(long)
	still := func(q plan) bool {
		tries++
		return time.Now().Before(until) && live(t, q, keys, 0).invariant() == name
	}
	if q := p; p.days > 2 { // what is broken in the storm is so on some day
		for q.days = 2; q.days < p.days; q.days *= 2 {
			if still(q) {
				p = q
				break
			}
		}
	}
	without := func(from, to int) plan {
		q, n := p, len(p.mishaps)
		if from < n {
			q.mishaps = slices.Delete(slices.Clone(p.mishaps), from, min(to, n))
		}
		if to > n {
			q.arrivals = slices.Delete(slices.Clone(p.arrivals), max(from-n, 0), to-n)
		}
		return q
	}
	for part := (len(p.mishaps) + len(p.arrivals)) / 2; part > 0 && time.Now().Before(until); part /= 2 {
		for from := 0; from < len(p.mishaps)+len(p.arrivals) && time.Now().Before(until); {
			if q := without(from, min(from+part, len(p.mishaps)+len(p.arrivals))); still(q) {
				p = q
			} else {
				from += part
			}
		}
	}
	return p, tries
}
