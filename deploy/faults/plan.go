package faults

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"amanat.example/deploy/network"
)

// Options say what is to break.
type Options struct {
	// Seed from which the moments follow.
	Seed uint64
	// Cuts of links to the hub, each once.
	Cuts []Cut
	// Kill kills every process once (SIGKILL).
	Kill bool
	// Freeze is for how long every process is stopped once (SIGSTOP), before it goes on; 0 freezes none.
	Freeze time.Duration
	// WipeBus removes what each node's own NATS stores, once.
	WipeBus bool
	// WipeHub removes what the hub stores, once.
	WipeHub bool
	// RollBackHub puts an older copy in the place of what the hub stores, once.
	RollBackHub bool
}

// Cut is a time in which a node's link to the hub is cut, or not as it should be.
type Cut struct {
	Node string
	For  time.Duration
	How  How
}

// How a link is broken.
type How string

const (
	// Full is cut both ways.
	Full How = ""
	// Out lets nothing go from the node to the hub, In nothing from the hub to the node. The other way is open.
	Out How = "out"
	In  How = "in"
	// Flap is cut and mended again and again.
	Flap How = "flap"
	// Slow delays what is sent and lets little through.
	Slow How = "slow"
)

// A flapping link is up and down in turn for so long, and a slow one has so much latency one way, and so few bytes a second.
const (
	flapUp, flapDown = 300 * time.Millisecond, 200 * time.Millisecond
	slowLatency      = 300 * time.Millisecond
	slowRate         = 8 << 10
)

// kind of a fault.
type kind string

const (
	cutLink     kind = "cut"
	killProcess kind = "kill"
	freeze      kind = "freeze"
	wipeBus     kind = "wipe-bus"
	copyHub     kind = "copy-hub"
	wipeHub     kind = "wipe-hub"
	rollBackHub kind = "roll-back-hub"
)

// fault is one thing that breaks.
type fault struct {
	kind kind
	part network.Part // of a cut the node alone is set
	// at is the share of the work, from 0 to 1, at which it happens; after is how much later still.
	at    float64
	after time.Duration
	// lasts is how long a cut lasts, or a process is frozen; how is of a cut.
	lasts time.Duration
	how   How
}

func (f fault) String() string {
	switch f.kind {
	case cutLink:
		return fmt.Sprintf("the link of %s to the hub %s for %s", f.part.Node, map[How]string{
			Full: "is cut", Out: "lets nothing out", In: "lets nothing in", Flap: "flaps", Slow: "is slow and narrow",
		}[f.how], f.lasts)
	case freeze:
		return fmt.Sprintf("%s is frozen for %s", f.part, f.lasts)
	case killProcess:
		return fmt.Sprintf("%s is killed", f.part)
	case wipeBus:
		return fmt.Sprintf("what the NATS of %s stores is wiped", f.part.Node)
	case copyHub:
		return "what the hub stores is copied, for later"
	case wipeHub:
		return "what the hub stores is wiped"
	default:
		return "the hub is rolled back to the older copy"
	}
}

// The part of a run in which things break: the network is up, and there is work left afterwards.
const begin, end = 0.05, 0.9

// plan spreads what is to break over a run. Each cut has a stretch of the run for itself. Of all else about half happens while a
// link is cut, since people then wait and the work done would not bring it about; the rest at any moment.
func plan(parts []network.Part, o Options) []fault {
	chance := rand.New(rand.NewPCG(o.Seed, 0))
	between := func(from, to float64) float64 { return begin + (end-begin)*(from+(to-from)*chance.Float64()) }
	var all, cuts []fault
	for i, c := range o.Cuts {
		n := float64(len(o.Cuts))
		cuts = append(cuts, fault{
			kind: cutLink, part: network.Part{Node: c.Node}, at: between(float64(i)/n, float64(i+1)/n), lasts: c.For, how: c.How,
		})
	}
	add := func(k kind, p network.Part) {
		f := fault{kind: k, part: p, at: between(0, 1)}
		if k == freeze {
			f.lasts = o.Freeze
		}
		if len(cuts) > 0 && chance.IntN(2) == 0 {
			during := cuts[chance.IntN(len(cuts))]
			f.at, f.after = during.at, time.Duration(chance.Int64N(int64(during.lasts)))
		}
		all = append(all, f)
	}
	for _, p := range parts {
		if o.Kill {
			add(killProcess, p)
		}
		if o.Freeze > 0 {
			add(freeze, p)
		}
		if o.WipeBus && p.Name == network.Bus {
			add(wipeBus, p)
		}
	}
	if o.WipeHub {
		add(wipeHub, hub)
	}
	if o.RollBackHub { // the copy is taken early, so that much has happened since
		all = append(all, fault{kind: copyHub, part: hub, at: between(0, 0.5)}, fault{kind: rollBackHub, part: hub, at: between(0.6, 1)})
	}
	all = append(all, cuts...)
	slices.SortStableFunc(all, func(a, b fault) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.after, b.after)) })
	return all
}

var hub = network.Part{Node: network.FederalNode, Name: network.Hub}
