package simulation

import (
	"cmp"
	"container/heap"
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"
	"testing"
	"time"

	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
)

// country is five nodes and the federal cell, whose services are open for days, driven by one goroutine on an agenda: letters on their way, what
// falls due, what people do, and what breaks. All chance follows from the seed, so the same plan has the same trace, to the byte.
type country struct {
	t      testing.TB
	plan   plan
	begin  time.Time
	now    time.Time
	skew   map[string]time.Duration // how far a node's clocks are off
	agenda agenda
	nodes  []string
	houses []*house
	byName map[[2]string]*house
	hub    hubbub
	real   map[string]party // by house, where the plan is in earnest
	people []*child
	acting int // number of the child about whom somebody acts
	chains chains
	seen   map[[2]string]sight
	most   map[[2]string]*chainFacts // the longest chain that a node ever had of a referral, in any life
	// receipts are the marks that were ever told.
	receipts map[believed]uint64
	files    files
	rounds   int  // of judging
	calm     bool // nothing breaks any more, and people do what is due
	broken   string
	trace    hash.Hash
	last     []string // of the trace
	keep     int      // how many lines of it are kept
	did      map[string]int
}

// entry of the agenda.
type entry struct {
	at    time.Time
	order int
	do    func()
}

type agenda struct {
	entries []entry
	order   int
}

func (a *agenda) Len() int { return len(a.entries) }

func (a *agenda) Less(i, j int) bool {
	x, y := a.entries[i], a.entries[j]
	return cmp.Or(x.at.Compare(y.at), cmp.Compare(x.order, y.order)) < 0
}
func (a *agenda) Swap(i, j int) { a.entries[i], a.entries[j] = a.entries[j], a.entries[i] }
func (a *agenda) Push(e any)    { a.entries = append(a.entries, e.(entry)) }
func (a *agenda) Pop() any {
	last := len(a.entries) - 1
	e := a.entries[last]
	a.entries[last] = entry{}
	a.entries = a.entries[:last]
	return e
}

// after puts something on the agenda.
func (c *country) after(wait time.Duration, do func()) {
	c.agenda.order++
	heap.Push(&c.agenda, entry{c.now.Add(max(wait, 0)), c.agenda.order, do})
}

// tell adds a line to the trace.
func (c *country) tell(format string, values ...any) {
	line := c.now.Format("02 15:04:05.000 ") + fmt.Sprintf(format, values...)
	_, _ = fmt.Fprintln(c.trace, line)
	if c.keep > 0 {
		if c.last = append(c.last, line); len(c.last) > 2*c.keep {
			c.last = slices.Clone(c.last[c.keep:])
		}
	}
}

// newCountry makes one in which nothing has happened. keys are made once for all: making them is slow.
func newCountry(t testing.TB, p plan, keys []*privacy.Keyring) *country {
	c := &country{
		t: t, plan: p, begin: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC), nodes: nodesOf, trace: sha256.New(), did: map[string]int{},
		skew: map[string]time.Duration{}, byName: map[[2]string]*house{}, seen: map[[2]string]sight{}, most: map[[2]string]*chainFacts{}, receipts: map[believed]uint64{},
	}
	c.now = c.begin
	c.hub.cut, c.hub.slow = map[string]int{}, map[string]time.Time{}
	if p.real {
		c.real = inEarnest(t, c.nodes, c.servicesOf())
	}
	add := func(node, service string) {
		h := &house{c: c, node: node, service: service, name: node + "/" + service, engine: store.NewMemory(), chance: stream(p.seed, node+"/"+service)}
		if len(c.houses) < len(keys) {
			h.keys = keys[len(c.houses)]
		}
		c.houses = append(c.houses, h)
		c.byName[[2]string{node, service}] = h
	}
	for _, node := range c.nodes {
		add(node, "shelter")
		add(node, "referral")
	}
	add(Federal, Federal)
	if p.cases {
		c.addProtection(add)
	}
	for _, h := range c.houses {
		h.open()
	}
	c.chains = chains{map[[32]byte]*chainFacts{}, c.houses[1].party().roster}
	c.furnish(p.beds)
	if p.cases {
		c.furnishUnits()
	}
	for _, a := range p.arrivals {
		c.after(a.at, func() { c.arrive(a) })
	}
	for _, m := range p.mishaps {
		c.after(m.at, func() { c.strike(m) })
	}
	return c
}

// house returns a service.
func (c *country) house(node, service string) *house { return c.byName[[2]string{node, service}] }

// run lets time pass for so long, or until something is broken.
func (c *country) run(long time.Duration) {
	end := c.now.Add(long)
	for c.broken == "" && len(c.agenda.entries) > 0 && !c.agenda.entries[0].at.After(end) {
		e := heap.Pop(&c.agenda).(entry)
		c.now = e.at
		e.do()
	}
	c.now = end
}

// breaks notes an invariant that does not hold.
func (c *country) breaks(format string, values ...any) {
	if c.broken == "" {
		c.broken = fmt.Sprintf(format, values...)
		c.tell("%s", c.broken)
	}
}
