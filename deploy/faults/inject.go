package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"amanat.example/deploy/network"
)

// Done counts what was broken.
type Done struct {
	// Seed of the plan.
	Seed uint64 `json:"seed"`
	// Cuts of links to the hub, both ways.
	Cuts int `json:"cuts"`
	// OneWayCuts of links, that let nothing through one way; Flaps and Slowed are links that flapped or were slow for a time.
	OneWayCuts int `json:"one_way_cuts"`
	Flaps      int `json:"flaps"`
	Slowed     int `json:"slowed"`
	// Kills of processes, beside those that wiping and rolling back need.
	Kills int `json:"kills"`
	// Freezes of processes, that went on afterwards.
	Freezes int `json:"freezes"`
	// BusWipes of a node's own NATS.
	BusWipes int `json:"bus_wipes"`
	// HubWipes and HubRollBacks of the hub.
	HubWipes     int `json:"hub_wipes"`
	HubRollBacks int `json:"hub_roll_backs"`
}

// All is how many that are.
func (d Done) All() int {
	return d.Cuts + d.OneWayCuts + d.Flaps + d.Slowed + d.Kills + d.Freezes + d.BusWipes + d.HubWipes + d.HubRollBacks
}

// Injector breaks a network by its plan.
type Injector struct {
	layout     *network.Layout
	supervisor *network.Supervisor
	links      map[string]*network.Link
	tell       func(string)
	plan       []fault
	older      string // where the copy of the hub's store lies

	ctx     context.Context
	running *errgroup.Group

	mu    sync.Mutex
	next  int // of plan
	done  Done
	files sync.Mutex             // one process after the other is killed or has its files changed
	lines map[string]*sync.Mutex // by node: one way after the other in which its link is broken
}

// New readies an injector; links are those of the nodes that are to be cut. tell gets a sentence for each fault as it
// happens. Nothing breaks before Progress says that work is done; ctx ends it early.
func New(ctx context.Context, l *network.Layout, s *network.Supervisor, links map[string]*network.Link, o Options, tell func(string)) (*Injector, error) {
	for _, c := range o.Cuts {
		if links[c.Node] == nil {
			return nil, fmt.Errorf("no link of node %q is known that could be cut", c.Node)
		}
	}
	i := &Injector{
		layout: l, supervisor: s, links: links, tell: tell, plan: plan(l.Parts(), o), done: Done{Seed: o.Seed},
		older: filepath.Join(l.Root, "hub-older"), lines: map[string]*sync.Mutex{},
	}
	for node := range links {
		i.lines[node] = &sync.Mutex{}
	}
	i.running, i.ctx = errgroup.WithContext(ctx)
	return i, nil
}

// Planned is how many faults there are to be.
func (i *Injector) Planned() int {
	return len(slices.DeleteFunc(slices.Clone(i.plan), func(f fault) bool { return f.kind == copyHub }))
}

// Progress says which share of the work is done, from 0 to 1. It begins what is due, and does not wait.
func (i *Injector) Progress(share float64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for ; i.next < len(i.plan) && i.plan[i.next].at <= share; i.next++ {
		f := i.plan[i.next]
		i.running.Go(func() error { return i.happen(f) })
	}
}

// Done is what was broken so far.
func (i *Injector) Done() Done {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.done
}

// Wait waits until all that was begun is over: links are mended, and what was stopped may run again. It fails if anything could not
// be broken, or was not reached.
func (i *Injector) Wait() (Done, error) {
	if err := i.running.Wait(); err != nil {
		return i.Done(), err
	}
	if err := os.RemoveAll(i.older); err != nil {
		return i.Done(), err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if left := len(i.plan) - i.next; left > 0 {
		return i.done, fmt.Errorf("the work ended before %d of %d faults", left, len(i.plan))
	}
	return i.done, nil
}

func (i *Injector) happen(f fault) error {
	if err := i.sleep(f.after); err != nil {
		return err
	}
	if line := i.lines[f.part.Node]; f.kind == cutLink {
		line.Lock()
		defer line.Unlock()
	}
	i.tell(f.String())
	if err := i.act(f); err != nil {
		return fmt.Errorf("%s: %w", f, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	switch f.kind {
	case cutLink:
		i.done.addCut(f.how)
	case killProcess:
		i.done.Kills++
	case freeze:
		i.done.Freezes++
	case wipeBus:
		i.done.BusWipes++
	case wipeHub:
		i.done.HubWipes++
	case rollBackHub:
		i.done.HubRollBacks++
	}
	return nil
}

func (d *Done) addCut(how How) {
	switch how {
	case Out, In:
		d.OneWayCuts++
	case Flap:
		d.Flaps++
	case Slow:
		d.Slowed++
	default:
		d.Cuts++
	}
}

func (i *Injector) act(f fault) error {
	store := filepath.Join(i.layout.Root, f.part.Node, f.part.Name, "jetstream")
	switch f.kind {
	case cutLink:
		return i.cut(i.links[f.part.Node], f)
	case killProcess:
		return i.signal(f.part, i.supervisor.Kill)
	case freeze:
		if err := i.signal(f.part, i.supervisor.Freeze); err != nil {
			return err
		}
		defer i.supervisor.Thaw(f.part) // where it was killed meanwhile, another runs
		return i.sleep(f.lasts)
	case wipeBus, wipeHub:
		return i.while(f.part, func() error { return os.RemoveAll(store) })
	case copyHub:
		return i.while(f.part, func() error { return replace(i.older, store) })
	default:
		return i.while(f.part, func() error { return replace(store, i.older) })
	}
}

// cut breaks a link for a time, and mends it.
func (i *Injector) cut(link *network.Link, f fault) error {
	switch f.how {
	case Out, In:
		way := map[How]network.Way{Out: network.Out, In: network.In}[f.how]
		link.Hold(way)
		defer link.LetGo(way)
	case Slow:
		link.Slow(slowLatency, slowRate)
		defer link.Slow(0, 0)
	case Flap:
		for end := time.Now().Add(f.lasts); time.Now().Before(end); {
			link.Cut()
			err := i.sleep(flapDown)
			link.Mend()
			if err = errors.Join(err, i.sleep(flapUp)); err != nil {
				return err
			}
		}
		return nil
	default:
		link.Cut()
		defer link.Mend()
	}
	return i.sleep(f.lasts)
}

// replace makes a folder the same as another, which may be none: the hub was wiped and has not started again.
func replace(folder, by string) error {
	if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(by, 0o700)); err != nil {
		return err
	}
	return os.CopyFS(folder, os.DirFS(by))
}

// lookAgain is how soon a process that is down already is looked for again.
const lookAgain = 20 * time.Millisecond

// signal kills or freezes a process, as soon as it runs.
func (i *Injector) signal(p network.Part, send func(network.Part) bool) error {
	i.files.Lock()
	defer i.files.Unlock()
	for !send(p) {
		if err := i.sleep(lookAgain); err != nil {
			return err
		}
	}
	return nil
}

// while does something to the files of a part that was killed, and lets it start again.
func (i *Injector) while(p network.Part, work func() error) error {
	i.files.Lock()
	defer i.files.Unlock()
	i.supervisor.Hold(p)
	defer i.supervisor.Release(p)
	return work()
}

func (i *Injector) sleep(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-i.ctx.Done():
		return i.ctx.Err()
	case <-timer.C:
		return nil
	}
}
