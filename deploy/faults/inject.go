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
	// Cuts of links to the hub.
	Cuts int `json:"cuts"`
	// Kills of processes, beside those that wiping and rolling back need.
	Kills int `json:"kills"`
	// BusWipes of a node's own NATS.
	BusWipes int `json:"bus_wipes"`
	// HubWipes and HubRollBacks of the hub.
	HubWipes     int `json:"hub_wipes"`
	HubRollBacks int `json:"hub_roll_backs"`
}

// All is how many that are.
func (d Done) All() int { return d.Cuts + d.Kills + d.BusWipes + d.HubWipes + d.HubRollBacks }

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
	files sync.Mutex // one process after the other is killed or has its files changed
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
		older: filepath.Join(l.Root, "hub-older"),
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
	i.tell(f.String())
	if err := i.act(f); err != nil {
		return fmt.Errorf("%s: %w", f, err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	switch f.kind {
	case cutLink:
		i.done.Cuts++
	case killProcess:
		i.done.Kills++
	case wipeBus:
		i.done.BusWipes++
	case wipeHub:
		i.done.HubWipes++
	case rollBackHub:
		i.done.HubRollBacks++
	}
	return nil
}

func (i *Injector) act(f fault) error {
	store := filepath.Join(i.layout.Root, f.part.Node, f.part.Name, "jetstream")
	switch f.kind {
	case cutLink:
		link := i.links[f.part.Node]
		link.Cut()
		defer link.Mend()
		return i.sleep(f.lasts)
	case killProcess:
		return i.kill(f.part)
	case wipeBus, wipeHub:
		return i.while(f.part, func() error { return os.RemoveAll(store) })
	case copyHub:
		return i.while(f.part, func() error { return replace(i.older, store) })
	default:
		return i.while(f.part, func() error { return replace(store, i.older) })
	}
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

// kill kills a process, as soon as it runs.
func (i *Injector) kill(p network.Part) error {
	i.files.Lock()
	defer i.files.Unlock()
	for !i.supervisor.Kill(p) {
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
