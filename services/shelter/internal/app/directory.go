package app

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

// Directory has the shelters, their groups, what is taken of them and what other nodes advertise in memory, for searches. It is built from the tables
// at start and kept by the store's change sets, which come before the transactions return: so a search sees all that was
// committed before it began. It never holds an address.
type Directory struct {
	node string

	// Change sets wait here for the next search, so that a commit never waits for a search.
	waiting sync.Mutex
	changes []kitstore.Change
	changed chan struct{} // capacity 1: something of this node's waits

	lock     sync.RWMutex
	places   *rules.Places
	shelters map[string]*listed
	touched  map[string]bool // shelters of this node that changed since they were last asked for
	broken   error           // a row that could not be read: told to every search
}

// listed is a shelter and its groups as the tables have them, and what the rows take of each group.
type listed struct {
	shelter *shelterv1.Shelter
	groups  map[string]*shelterv1.Group
	taken   map[string]int32
}

// mostWaiting bounds the changes that wait while nobody searches.
const mostWaiting = 4096

// OpenDirectory builds the directory of a store. Nothing may be written before it returns.
func OpenDirectory(ctx context.Context, db *kitstore.DB, node string) (*Directory, error) {
	d := &Directory{
		node: node, places: rules.NewPlaces(), shelters: map[string]*listed{}, touched: map[string]bool{}, changed: make(chan struct{}, 1),
	}
	err := db.View(ctx, func(r kitstore.Reader) error {
		all := kitstore.Range{}
		if err := store.Shelters.ScanPublic(r, all, func(row privacy.Row[*shelterv1.Shelter]) error {
			d.of(row.Value.GetName()).shelter = row.Value
			return nil
		}); err != nil {
			return err
		}
		if err := store.Groups.Scan(r, all, func(_ kitstore.Key, g *shelterv1.Group) error {
			d.of(store.ShelterOf(g.GetName())).groups[g.GetName()] = g
			return nil
		}); err != nil {
			return err
		}
		if err := store.LiveHolds.Scan(r, all, func(_ kitstore.Key, h *shelterv1.HoldRecord) error {
			d.hold(h, 1)
			return nil
		}); err != nil {
			return err
		}
		if err := store.CurrentStays.Scan(r, all, func(_ kitstore.Key, s *shelterv1.Stay) error {
			d.stay(s, 1)
			return nil
		}); err != nil {
			return err
		}
		if err := store.Outages.Scan(r, all, func(_ kitstore.Key, o *shelterv1.Outage) error {
			d.outage(o, 1)
			return nil
		}); err != nil {
			return err
		}
		return store.Adverts.Scan(r, all, func(_ kitstore.Key, a *shelterv1.AdvertRecord) error {
			d.advert(a)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	for name := range d.shelters {
		d.list(name)
	}
	db.Observe(d.observe)
	return d, nil
}

// observe keeps the changes that matter to a search. It runs in the committer.
func (d *Directory) observe(set kitstore.ChangeSet) {
	d.waiting.Lock()
	own := false
	for _, c := range set.Changes {
		switch c.Table {
		case store.Shelters.Name(), store.Groups.Name(), store.Holds.Name(), store.Stays.Name(), store.Outages.Name():
			own = true
			d.changes = append(d.changes, c)
		case store.Adverts.Name():
			d.changes = append(d.changes, c)
		}
	}
	many := len(d.changes) > mostWaiting
	d.waiting.Unlock()
	if own {
		select {
		case d.changed <- struct{}{}:
		default: // whoever asks for what was touched will find this too
		}
	}
	if many {
		d.catchUp()
	}
}

// catchUp applies the changes that wait, in the order of their commits.
func (d *Directory) catchUp() {
	d.waiting.Lock()
	none := len(d.changes) == 0
	d.waiting.Unlock()
	if none {
		// Whoever took the last of them holds the lock until they are applied, and a reader waits for it.
		return
	}
	d.lock.Lock()
	defer d.lock.Unlock()
	d.waiting.Lock()
	changes := d.changes
	d.changes = nil
	d.waiting.Unlock()
	for _, c := range changes {
		if err := d.apply(c); err != nil && d.broken == nil {
			d.broken = err
		}
	}
}

func (d *Directory) apply(c kitstore.Change) error {
	switch c.Table {
	case store.Shelters.Name():
		s, err := store.Shelters.DecodePublic(c.New)
		if err != nil {
			return err
		}
		d.of(s.GetName()).shelter = s
		d.list(s.GetName())
		return nil
	case store.Groups.Name():
		g, err := store.Groups.Decode(c.New)
		if err != nil {
			return err
		}
		shelter := store.ShelterOf(g.GetName())
		d.of(shelter).groups[g.GetName()] = g
		d.list(shelter)
		return nil
	case store.Holds.Name():
		return replace(store.Holds, c, d.hold)
	case store.Stays.Name():
		return replace(store.Stays, c, d.stay)
	case store.Outages.Name():
		return replace(store.Outages, c, d.outage)
	case store.Adverts.Name():
		before, err := store.Adverts.Decode(c.Old)
		if err != nil {
			return err
		}
		after, err := store.Adverts.Decode(c.New)
		if err != nil {
			return err
		}
		if after == nil {
			d.places.Remove(store.Advert(before).GetShelter())
			return nil
		}
		d.advert(after)
	}
	return nil
}

// advert enters what another node offers, or replaces it.
func (d *Directory) advert(r *shelterv1.AdvertRecord) {
	d.places.Put(rules.CandidateOf(store.Advert(r), r.GetHearTime().AsTime()))
}

// replace gives back what the row took before and takes what it takes now.
func replace[M any](table interface{ Decode([]byte) (M, error) }, c kitstore.Change, take func(M, int32)) error {
	for _, side := range []struct {
		payload []byte
		sign    int32
	}{{c.Old, -1}, {c.New, 1}} {
		if side.payload == nil {
			continue
		}
		m, err := table.Decode(side.payload)
		if err != nil {
			return err
		}
		take(m, side.sign)
	}
	return nil
}

func (d *Directory) hold(r *shelterv1.HoldRecord, sign int32) {
	if store.Live(r.GetHold()) {
		for _, part := range store.Parts(r.GetHold()) {
			d.take(part.GetGroup(), sign*part.GetQuantity())
		}
	}
}

func (d *Directory) stay(s *shelterv1.Stay, sign int32) {
	if store.Current(s) {
		d.take(s.GetGroup(), sign*s.GetQuantity())
	}
}

func (d *Directory) outage(o *shelterv1.Outage, sign int32) {
	if o.GetEndTime() == nil {
		d.take(store.GroupOf(o.GetName()), sign*o.GetQuantity())
	}
}

func (d *Directory) take(group string, quantity int32) {
	shelter := store.ShelterOf(group)
	d.touched[shelter] = true
	d.of(shelter).taken[group] += quantity
	d.places.Take(group, quantity)
}

func (d *Directory) of(shelter string) *listed {
	l, ok := d.shelters[shelter]
	if !ok {
		l = &listed{groups: map[string]*shelterv1.Group{}, taken: map[string]int32{}}
		d.shelters[shelter] = l
	}
	return l
}

// list enters a shelter anew among the places.
func (d *Directory) list(name string) {
	d.touched[name] = true
	l := d.shelters[name]
	if l.shelter == nil {
		return // its row comes later in the same change set
	}
	c := rules.Candidate{Shelter: l.shelter, Node: d.node}
	for group, g := range l.groups {
		c.Beds = append(c.Beds, rules.Beds{Group: g, Free: rules.Free(g, rules.Count{Occupied: l.taken[group]})})
	}
	d.places.Put(c)
}

// takeTouched are the shelters of this node that changed since the last call; at first all of them.
func (d *Directory) takeTouched() []string {
	d.catchUp()
	d.lock.Lock()
	defer d.lock.Unlock()
	touched := slices.Collect(maps.Keys(d.touched))
	clear(d.touched)
	return touched
}

func (d *Directory) find(request *shelterv1.FindPlacesRequest, now time.Time) (*shelterv1.FindPlacesResponse, error) {
	d.catchUp()
	d.lock.RLock()
	defer d.lock.RUnlock()
	if d.broken != nil {
		return nil, d.broken
	}
	return d.places.Find(request, now), nil
}
