package simulation

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"amanat.example/services/custody"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
)

func TestDays(t *testing.T) {
	begin := time.Now()
	seed, children, days := uint64(envInt("SEED", 1)), envInt("CHILDREN", 30), envInt("DAYS", 10)
	c := newCountry(t, seed, countryKeys(t, 10))
	c.furnish(40)
	c.storm()
	c.arrive(children, time.Duration(days)*24*time.Hour*2/3)
	for range days {
		c.run(24 * time.Hour)
		c.judgeBeds(40)
	}
	c.calmDown()
	for range 12 {
		c.run(12 * time.Hour)
		c.judgeBeds(40)
	}
	if c.broken == "" {
		for _, n := range c.people {
			if wrong := c.settled(n); wrong != "" {
				for _, node := range c.nodes {
					if f := c.chain(node, n.referral); f != nil {
						var names []string
						for _, l := range f.chain.Links() {
							names = append(names, custody.Name(l.Event)+"@"+l.Event.GetOwner())
						}
						c.tell("%s has %v: %s", node, names, knows(f))
					}
				}
				c.breaks("HEAL: child %d (%s): %s", n.number, n.referral, wrong)
			}
		}
	}
	if os.Getenv("TRACE") != "" {
		for _, l := range c.last {
			fmt.Println(l)
		}
	}
	t.Logf("seed %d: %v, broken %q, trace %x, %v", seed, time.Since(begin), c.broken, c.trace.Sum(nil)[:8], c.did)
	if c.broken != "" {
		for _, l := range c.last[max(0, len(c.last)-4000):] {
			fmt.Println(l)
		}
		t.Error(c.broken)
	}
}

func envInt(name string, usual int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return usual
}

func countryKeys(t testing.TB, n int) (all []*privacy.Keyring) {
	for i := range n {
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
