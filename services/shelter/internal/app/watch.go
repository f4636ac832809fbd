package app

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

// Watchers are told which shelters a commit has touched.
type Watchers struct {
	mu  sync.Mutex
	all map[*watcher]bool
}

// watcher is one who watches. What it has not looked at yet is kept as a set, so that it can be slow
// without anything growing.
type watcher struct {
	only  string // a shelter; empty for all
	dirty map[string]bool
	wake  chan struct{} // capacity 1
}

// NewWatchers observes a store.
func NewWatchers(db *kitstore.DB) *Watchers {
	w := &Watchers{all: map[*watcher]bool{}}
	db.Observe(w.note)
	return w
}

func (w *Watchers) note(set kitstore.ChangeSet) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.all) == 0 {
		return
	}
	touched := map[string]bool{}
	for _, c := range set.Changes {
		if shelter := shelterOf(c); shelter != "" {
			touched[shelter] = true
		}
	}
	for one := range w.all {
		for shelter := range touched {
			if one.only == "" || one.only == shelter {
				one.dirty[shelter] = true
			}
		}
		if len(one.dirty) > 0 {
			select {
			case one.wake <- struct{}{}:
			default:
			}
		}
	}
}

// shelterOf is the shelter whose numbers a change may have moved; empty for none. A row that cannot be
// read is found by whoever reads it.
func shelterOf(c kitstore.Change) string {
	row := c.New
	if row == nil {
		row = c.Old
	}
	switch c.Table {
	case store.Holds.Name():
		if r, err := store.Holds.Decode(row); err == nil {
			return store.ShelterOf(r.GetHold().GetGroup())
		}
	case store.Stays.Name():
		if s, err := store.Stays.Decode(row); err == nil {
			return store.ShelterOf(s.GetGroup())
		}
	case store.Groups.Name():
		if g, err := store.Groups.Decode(row); err == nil {
			return store.ShelterOf(g.GetName())
		}
	case store.Outages.Name():
		if o, err := store.Outages.Decode(row); err == nil {
			return store.ShelterOf(o.GetName())
		}
	case store.Shelters.Name():
		return store.ShelterOfKey(c.Key)
	}
	return ""
}

func (w *Watchers) add(only string) *watcher {
	one := &watcher{only: only, dirty: map[string]bool{}, wake: make(chan struct{}, 1)}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all[one] = true
	return one
}

func (w *Watchers) remove(one *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.all, one)
}

// take is what one has not looked at yet.
func (w *Watchers) take(one *watcher) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	shelters := slices.Sorted(maps.Keys(one.dirty))
	clear(one.dirty)
	return shelters
}

// WatchCapacity tells every group as it stands, then whenever its numbers change, until ctx ends or
// send fails. A change that is undone before anybody looks is not told.
func (a *App) WatchCapacity(ctx context.Context, request *shelterv1.WatchCapacityRequest, send func(*shelterv1.CapacityChange) error) error {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return err
	}
	one := a.Watchers.add(request.GetShelter())
	defer a.Watchers.remove(one)
	told := map[string]*shelterv1.Group{}
	shelters, err := a.shelterNames(ctx, request.GetShelter())
	if err != nil {
		return err
	}
	var again <-chan time.Time // when all are looked at; changes of some do not put it off
	for due := (time.Time{}); ; {
		changed, until, err := a.capacityOf(ctx, shelters, told)
		if err != nil {
			return err
		}
		for _, c := range changed {
			if err := send(c); err != nil {
				return err
			}
		}
		// "We are full" ends by the clock alone, and so does a claim's freshness.
		if at := a.Now().Add(until); again == nil || at.Before(due) {
			again, due = a.After(until), at
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-one.wake:
			shelters = a.Watchers.take(one)
		case <-again:
			again = nil
			if shelters, err = a.shelterNames(ctx, request.GetShelter()); err != nil {
				return err
			}
		}
	}
}

// shelterNames are the shelters to look at.
func (a *App) shelterNames(ctx context.Context, only string) (names []string, err error) {
	if only != "" {
		return []string{only}, nil
	}
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		var after kitstore.Key
		for {
			rows, next, err := store.Shelters.PagePublic(r, kitstore.Range{After: after}, 500)
			if err != nil {
				return err
			}
			for _, row := range rows {
				names = append(names, row.Value.GetName())
			}
			if after = next; next == nil {
				return nil
			}
		}
	})
	return names, err
}

// lookAgain is when a watcher looks again though nothing was written.
const lookAgain = time.Minute

// capacityOf is what differs from what was told, and for how long it holds if nothing is written.
func (a *App) capacityOf(ctx context.Context, shelters []string, told map[string]*shelterv1.Group) (changed []*shelterv1.CapacityChange, until time.Duration, err error) {
	until = lookAgain
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		now := a.Now()
		for _, name := range shelters {
			row, err := store.Shelters.GetPublic(r, kitstore.K(name))
			if err != nil {
				return found(err, "shelter")
			}
			if rules.Full(row, now) {
				until = min(until, row.GetFullUntilTime().AsTime().Sub(now))
			}
			s, err := a.complete(r, row, 0)
			if err != nil {
				return err
			}
			for _, g := range s.GetGroups() {
				if last := told[g.GetName()]; last != nil && sameNumbers(last, g) {
					continue
				}
				told[g.GetName()] = g
				changed = append(changed, &shelterv1.CapacityChange{Group: proto.CloneOf(g), LookTime: timestamppb.New(now)})
			}
		}
		return nil
	})
	return changed, until, err
}

func sameNumbers(a, b *shelterv1.Group) bool {
	return a.GetEtag() == b.GetEtag() && a.GetHeld() == b.GetHeld() && a.GetOccupied() == b.GetOccupied() &&
		a.GetOutOfService() == b.GetOutOfService() && a.GetAvailable() == b.GetAvailable() && a.GetFreshness() == b.GetFreshness()
}
