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
	// WipeBus removes what each node's own NATS stores, once.
	WipeBus bool
	// WipeHub removes what the hub stores, once.
	WipeHub bool
	// RollBackHub puts an older copy in the place of what the hub stores, once.
	RollBackHub bool
}

// Cut is a cut of a node's link to the hub.
type Cut struct {
	Node string
	For  time.Duration
}

// kind of a fault.
type kind string

const (
	cutLink     kind = "cut"
	killProcess kind = "kill"
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
	// lasts is how long a cut lasts.
	lasts time.Duration
}

func (f fault) String() string {
	switch f.kind {
	case cutLink:
		return fmt.Sprintf("the link of %s to the hub is cut for %s", f.part.Node, f.lasts)
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
			kind: cutLink, part: network.Part{Node: c.Node}, at: between(float64(i)/n, float64(i+1)/n), lasts: c.For,
		})
	}
	add := func(k kind, p network.Part) {
		f := fault{kind: k, part: p, at: between(0, 1)}
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
