package simulation

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/store"
)

// country is five nodes whose services are open for days, driven by one goroutine on a seeded agenda: letters on their way, what falls due, what
// people do, and what breaks. All chance follows from the seed, so the same seed has the same trace, to the byte.
type country struct {
	t      testing.TB
	chance *rand.Rand
	begin  time.Time
	now    time.Time
	agenda agenda
	nodes  []string
	houses []*house
	hub    hubbub
	people []*child
	acting int // number of the child about whom somebody acts
	chains chains
	calm   bool // nothing breaks any more, and people do what is due
	broken string
	trace  hash.Hash
	last   []string // of the trace
	did    map[string]int
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
	if c.last = append(c.last, line); len(c.last) > 4000 {
		c.last = slices.Clone(c.last[2000:])
	}
}

// odds says yes so often.
func (c *country) odds(p float64) bool { return c.chance.Float64() < p }

// about is a time of some length, seldom much longer.
func (c *country) about(mean time.Duration) time.Duration {
	return time.Duration(c.chance.ExpFloat64() * float64(mean))
}

// newCountry makes one in which nothing has happened. keys are made once for all: making them is slow.
func newCountry(t testing.TB, seed uint64, keys []*privacy.Keyring) *country {
	c := &country{
		t: t, chance: rand.New(rand.NewPCG(seed, 1)), begin: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC),
		nodes: []string{"balochistan", "islamabad", "khyber", "punjab", "sindh"}, trace: sha256.New(), did: map[string]int{},
	}
	c.now = c.begin
	c.hub.cut = map[string]bool{}
	c.chains.all = map[[32]byte]*chainFacts{}
	for i, node := range c.nodes {
		for j, service := range []string{"shelter", "referral"} {
			h := &house{c: c, node: node, service: service, engine: store.NewMemory(), keys: keys[2*i+j], number: 2*i + j}
			c.houses = append(c.houses, h)
		}
	}
	for _, h := range c.houses {
		h.open()
	}
	return c
}

// house returns a service.
func (c *country) house(node, service string) *house {
	for _, h := range c.houses {
		if h.node == node && h.service == service {
			return h
		}
	}
	return nil
}

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

// hubbub is the hub: what it has taken it brings, sooner or later, once or more often; what it forgets, nobody tells.
type hubbub struct {
	life int // grows when it is wiped
	cut  map[string]bool
}

var errNoHub = errors.New("no answer from the hub")

// line is the transport of a service.
type line struct {
	house       *house
	boxes       map[postv1.Lane]chan postMessage
	reconnected chan struct{}
}

func newLine(h *house) *line {
	return &line{house: h, boxes: map[postv1.Lane]chan postMessage{
		postv1.Lane_LANE_URGENT: make(chan postMessage, 1), postv1.Lane_LANE_BULK: make(chan postMessage, 1),
	}, reconnected: make(chan struct{}, 1)}
}

// Publish implements post.Transport.
func (l *line) Publish(_ context.Context, subject string, data []byte, done func(error)) {
	c := l.house.c
	if c.hub.cut[l.house.node] {
		done(errNoHub)
		return
	}
	c.did["parcels and receipts"]++
	copies := 1
	if !c.calm {
		switch {
		case c.odds(0.02):
			copies = 0
			c.tell("the hub loses what %s sends", l.house)
		case c.odds(0.03):
			copies = 2
		}
	}
	for range copies {
		wait := 5*time.Millisecond + c.about(300*time.Millisecond)
		if !c.calm && c.odds(0.05) {
			wait += c.about(10 * time.Minute)
		}
		c.bring(wait, c.hub.life, subject, data)
	}
	if !c.calm && c.odds(0.01) { // it has it, and its answer is lost
		done(errNoHub)
		return
	}
	done(nil)
}

// bring delivers a message after a while.
func (c *country) bring(wait time.Duration, life int, subject string, data []byte) {
	c.after(wait, func() {
		if life != c.hub.life {
			return // the hub was wiped
		}
		to, lane := c.addressee(subject)
		if to == nil {
			return
		}
		if to.down() || c.hub.cut[to.node] {
			c.bring(30*time.Second+c.about(time.Minute), life, subject, data)
			return
		}
		to.line.boxes[lane] <- postMessage{
			Subject: subject, Data: data, Ack: func() {}, Nak: func(d time.Duration) { c.bring(d, life, subject, data) },
		}
		to.work()
	})
}

// Mail implements post.Transport.
func (l *line) Mail(lane postv1.Lane) <-chan postMessage { return l.boxes[lane] }

// Reconnected implements post.Transport.
func (l *line) Reconnected() <-chan struct{} { return l.reconnected }

// fellow is the crypto of a service of the country, and its roster.
type fellow struct {
	cheap
	nodes []string
}

func (f fellow) Active(node, service string) bool {
	return slices.Contains(f.nodes, node) && (service == "referral" || service == "shelter") || node == Federal && service == Federal
}

func (f fellow) Member(node string) bool { return slices.Contains(f.nodes, node) || node == Federal }

func (f fellow) Node(name string) (*identityv1.RosterNode, bool) {
	if !slices.Contains(f.nodes, name) {
		return nil, false
	}
	return &identityv1.RosterNode{
		Node: name, Province: "PK-PB", State: identityv1.RosterNode_STATE_ACTIVE,
		Services: []*identityv1.RosterService{{Service: "referral"}, {Service: "shelter"}},
	}, true
}

func (f fellow) Nodes() (all []*identityv1.RosterNode) {
	for _, name := range f.nodes {
		node, _ := f.Node(name)
		all = append(all, node)
	}
	return all
}

// unsteady is the connection to a node's shelter service: it is down when that is, and now and then an answer is lost.
type unsteady struct{ house *house }

func (u unsteady) Invoke(ctx context.Context, method string, request, reply any, options ...grpc.CallOption) error {
	c, to := u.house.c, u.house.c.house(u.house.node, "shelter")
	if to.down() || !c.calm && c.odds(0.01) {
		return errAway
	}
	err := to.shelter.Server.From(u.house.service, nil).Invoke(ctx, method, request, reply, options...)
	if to.failed() {
		return errAway
	}
	to.work()
	if !c.calm && c.odds(0.01) {
		return errAway
	}
	return err
}

func (u unsteady) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errAway
}
