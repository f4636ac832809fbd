package rules

import (
	"cmp"
	"iter"
	"math/bits"
	"slices"
	"sync"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
)

// UsualPlaces is how many places a search shows that does not say how many it wants.
const UsualPlaces = 20

// MostPeople is how many people can be looked for at once.
const MostPeople = 12

// finder is a search under way.
type finder struct {
	request *shelterv1.FindPlacesRequest
	people  []*custodyv1.Needs
	now     int64
	lost    int64 // what was not heard of since is not relied on
	minute  int   // of the week
	limit   int
	alone   uint16 // who of the people is a child that comes without its mother
	all     uint16 // all the people

	near     int32            // number of the district asked for; -1: none, or no shelter was ever there
	outlook                   // from there
	excluded map[int32]uint16 // by district: who must not be brought there
	avoided  []int32          // districts whose shelters are left out for that, whatever they are
	services []string

	say                    *tongue
	out                    [outKinds]outs // fits: those that were found
	hits                   []hit
	room                   *room
	shelters, sheltersNear int
}

// verdict is what a search thinks of a kind of shelter.
type verdict struct {
	kind    *kind
	masks   []uint64 // by person: bit i: group i takes it; of the first 64 groups
	able    uint16   // who of the people is taken at all
	mothers uint64   // bit i: group i is one of mothers with children
	never   out      // why, if nobody is taken, or not all who stay together; else fits
	shared  bool     // a language of each person who has one is spoken
	spoken  string   // what is said of that, once it was
	missing []string
	closed  bool   // nobody is let in now
	opens   int    // minute of the week from which people are let in again
	base    uint64 // what the kind adds to the key of its places
}

// Find ranks the places for the people of a request that is valid, and says of all others why not.
func (p *Places) Find(request *shelterv1.FindPlacesRequest, now time.Time) *shelterv1.FindPlacesResponse {
	f := &finder{
		request: request, people: request.GetPeople(), now: now.UnixNano(), lost: now.Add(-LostAfter).UnixNano(), minute: minuteOf(now), limit: int(request.GetPageSize()),
		all: 1<<len(request.GetPeople()) - 1, near: -1, say: tongueOf(request.GetLanguageCode()),
	}
	if f.limit == 0 {
		f.limit = UsualPlaces
	}
	pad := pads.Get().(*pad)
	defer pad.done()
	pad.verdicts = slices.Grow(pad.verdicts, len(p.kinds))[:len(p.kinds)]
	pad.masks = slices.Grow(pad.masks, len(p.kinds)*len(f.people))[:len(p.kinds)*len(f.people)]
	f.hits = slices.Grow(pad.hits, f.limit)
	f.ask()
	f.measure(p)
	for i, k := range p.kinds {
		v := &pad.verdicts[i]
		v.kind, v.masks = k, pad.masks[i*len(f.people):][:len(f.people)]
		if v.never = f.fitting(v); v.never != fits {
			f.countNever(v)
			continue
		}
		f.rate(v)
		pad.ranked = append(pad.ranked, v)
	}
	// The best kinds first, so that most places of the others are seen to be no better without a closer look.
	slices.SortFunc(pad.ranked, func(a, b *verdict) int { return cmp.Compare(a.base, b.base) })
	if len(f.people) == 1 {
		f.findForOne(pad.ranked)
	} else {
		for _, v := range pad.ranked {
			f.lookForAll(v)
		}
	}
	pad.hits = f.hits
	return f.answer()
}

// findForOne goes through the kinds that take the one person: the freshest claims of all of them, then the ageing ones, then the stale.
func (f *finder) findForOne(ranked []*verdict) {
	for _, v := range ranked {
		if v.countable() {
			f.countForOne(v)
		} else {
			f.lookForAll(v)
		}
	}
	for class := range int64(3) {
		for _, v := range ranked {
			if v.countable() {
				f.lookForOne(v, class)
			}
		}
	}
}

func (v *verdict) countable() bool { return len(v.kind.groups) <= mostCounted }

// pad is what searches write on, one after the other.
type pad struct {
	verdicts []verdict
	masks    []uint64
	ranked   []*verdict
	hits     []hit
}

var pads = sync.Pool{New: func() any { return &pad{} }}

// done wipes the pad for the next search.
func (p *pad) done() {
	clear(p.verdicts)
	clear(p.masks)
	clear(p.ranked)
	clear(p.hits)
	p.verdicts, p.masks, p.ranked, p.hits = p.verdicts[:0], p.masks[:0], p.ranked[:0], p.hits[:0]
	pads.Put(p)
}

// ask reads what the people need together.
func (f *finder) ask() {
	for i, n := range f.people {
		if n.GetAgeTo() < 18 && !n.GetWithMother() {
			f.alone |= 1 << i
		}
		for _, s := range n.GetServices() {
			if s != codes.ServiceShelter && !slices.Contains(f.services, s) {
				f.services = append(f.services, s)
			}
		}
	}
}

// measure prepares what a search needs to know of the districts.
func (f *finder) measure(p *Places) {
	f.shelters = len(p.shelters)
	if n, ok := p.numbers[f.request.GetNearDistrict()]; ok {
		f.near, f.sheltersNear = n, p.rows[n]
	}
	f.outlook = p.outlook(f.request.GetNearDistrict())
	for i, needs := range f.people {
		for _, district := range needs.GetExcludedDistricts() {
			for _, n := range p.ground[district] {
				if f.excluded == nil {
					f.excluded = map[int32]uint16{}
				}
				f.excluded[n] |= 1 << i
			}
		}
	}
	for n, people := range f.excluded {
		if people == f.all || !f.request.GetApart() {
			f.avoided = append(f.avoided, n)
		}
	}
}

// count counts shelters of one district.
func (f *finder) count(why out, district, n int32) {
	f.out[why].all += n
	if district == f.near {
		f.out[why].near += n
	}
}

// countNever counts the shelters of a kind that does not take the people.
func (f *finder) countNever(v *verdict) {
	left := v.kind.tally.rows
	for _, district := range f.avoided {
		if w := v.kind.ward(district); w != nil {
			n := int32(len(w.rows))
			f.count(outExcluded, district, n)
			left -= n
		}
	}
	f.out[v.never].all += left
	if w := v.kind.ward(f.near); w != nil && !slices.Contains(f.avoided, f.near) {
		f.out[v.never].near += int32(len(w.rows))
	}
}

// countForOne counts the shelters of a kind that takes the one person. It reads the rows of the district asked for, of those to
// keep away from, of shelters that have declared themselves full, which time alone ends, and of those not heard of for long; all
// others from the tally.
func (f *finder) countForOne(v *verdict) {
	k, mask := v.kind, v.masks[0]
	var n [outKinds]int32
	n[outSuspended] = k.tally.suspended
	for _, c := range k.tally.open {
		if c.open&mask == 0 {
			n[outFull] += c.rows
		} else {
			n[fits] += c.rows
		}
	}
	for _, s := range k.declared {
		n[f.said(s.row(), mask)]++
	}
	for _, s := range k.heard[:k.heardBefore(f.lost)] {
		n[f.said(s.row(), mask)]--
		n[outUnheard]++
	}
	for _, district := range f.avoided {
		if w := k.ward(district); w != nil {
			f.count(outExcluded, district, int32(len(w.rows)))
			for i := range w.rows {
				n[f.state(&w.rows[i], mask)]--
			}
		}
	}
	for why, rows := range n {
		f.out[why].all += rows
	}
	if w := k.ward(f.near); w != nil && !slices.Contains(f.avoided, f.near) {
		for i := range w.rows {
			f.out[f.state(&w.rows[i], mask)].near++
		}
	}
}

// state is why a shelter, of whose groups those of the mask take the person, has no place now.
func (f *finder) state(r *row, mask uint64) out {
	if r.heard < f.lost {
		return outUnheard
	}
	return f.said(r, mask)
}

// said is state as it was last heard of.
func (f *finder) said(r *row, mask uint64) out {
	switch {
	case r.suspended:
		return outSuspended
	case r.full > f.now:
		return outDeclaredFull
	case r.open&mask == 0:
		return outFull
	}
	return fits
}

// lookForOne keeps the best shelters of a kind that takes the one person, of those whose freshest claim is of a class. It passes by
// what can be no better than those it has.
func (f *finder) lookForOne(v *verdict, class int64) {
	k, mask := v.kind, v.masks[0]
	if f.class(k.freshest) > class {
		return
	}
	best := hit{kind: v, placed: 1, fresh: class, amid: f.alone != 0 && mask&^v.mothers == 0}
	for w := range f.nearest(k) {
		if f.key(&best, f.tens[w.district], 0) > f.worst() {
			return // the next are no nearer
		}
		if f.class(w.freshest) > class || slices.Contains(f.avoided, w.district) {
			continue
		}
		for i := range w.rows {
			if r := &w.rows[i]; f.class(r.vouched) == class && f.state(r, mask) == fits {
				f.keep(f.assignOne(v, r))
			}
		}
	}
}

// nearest are the wards of a kind, the nearest first.
func (f *finder) nearest(k *kind) iter.Seq[*ward] {
	return func(yield func(*ward) bool) {
		if len(k.wards) == 1 {
			yield(k.wards[0])
			return
		}
		for _, district := range f.order {
			if w := k.ward(district); w != nil && !yield(w) {
				return
			}
		}
	}
}

// lookForAll counts the shelters of a kind that takes the people and keeps the best.
func (f *finder) lookForAll(v *verdict) {
	if f.room == nil {
		f.room = &room{}
	}
	f.room.of(v)
	for _, w := range v.kind.wards {
		asked := f.all &^ f.excluded[w.district]
		people := v.able & asked
		if people == 0 || asked != f.all && !f.request.GetApart() { // whom it would take must not be brought there
			f.count(outExcluded, w.district, int32(len(w.rows)))
			continue
		}
		best := hit{kind: v, placed: bits.OnesCount16(people)} // as if all found room together, in the freshest group
		for i := range w.rows {
			r := &w.rows[i]
			why := f.state(r, ^uint64(0))
			if why == fits && !f.room.enough(f, r, people) {
				why = outFull
			}
			f.count(why, w.district, 1)
			if best.fresh = f.class(r.vouched); why != fits || f.key(&best, f.tens[w.district], 0) > f.worst() {
				continue
			}
			if h, ok := f.assign(v, r, people); ok {
				f.keep(h)
			}
		}
	}
}

// room remembers which numbers of free beds are enough, since like shelters often have like numbers. What shares a slot with
// something newer is forgotten.
type room struct {
	verdict *verdict
	groups  []int // that take anybody
	known   [256]known
}

// known is whether a shelter has room for these people, with this free: four bits a group, at most as many as there are people.
type known struct {
	free   uint64
	people uint16 // 0: nothing is known
	enough bool
}

// of turns to a kind of shelter.
func (m *room) of(v *verdict) {
	m.verdict, m.groups = v, m.groups[:0]
	clear(m.known[:])
	for g := range v.kind.groups {
		if slices.ContainsFunc(v.masks, func(mask uint64) bool { return mask>>g&1 == 1 }) {
			m.groups = append(m.groups, g)
		}
	}
}

// enough says whether a shelter has room for the people.
func (m *room) enough(f *finder, r *row, people uint16) bool {
	if len(m.verdict.kind.groups) > mostPacked {
		_, ok := f.assign(m.verdict, r, people)
		return ok
	}
	free, most := uint64(0), uint64(len(f.people))
	for _, g := range m.groups {
		free = free<<4 | min(r.free>>(4*g)&packed, most)
	}
	slot := &m.known[free*0x9e3779b97f4a7c15>>56] // Fibonacci hashing
	if slot.people != people || slot.free != free {
		_, ok := f.assign(m.verdict, r, people)
		*slot = known{free: free, people: people, enough: ok}
	}
	return slot.enough
}

// fitting finds the groups that take each of the people. Where nobody, or not everybody who stays together, is taken it
// says why.
func (f *finder) fitting(v *verdict) out {
	s := v.kind.shelter
	switch {
	case s.GetSecurity() < f.request.GetSecurity():
		return outSecurity
	case s.GetMedicalCover() < f.request.GetMedicalCover():
		return outMedical
	case s.GetPsychosocialCover() < f.request.GetPsychosocialCover():
		return outPsychosocial
	case !f.request.GetApart() && FamilyFits(s, int32(len(f.people))) != nil:
		return outFamily
	}
	for j, g := range v.kind.groups {
		if g.GetWithMother() {
			v.mothers |= 1 << j
		}
	}
	worst := len(obstacles)
	for i, needs := range f.people {
		nearest := 0
		for j, g := range v.kind.groups {
			got := passed(s, g, needs)
			if nearest = max(nearest, got); got == len(obstacles) {
				v.masks[i] |= 1 << j // nothing beyond 64
				v.able |= 1 << i
			}
		}
		worst = min(worst, nearest)
	}
	if worst == len(obstacles) || f.request.GetApart() && v.able != 0 {
		return fits
	}
	if why := obstacles[worst].out; why != outGender {
		return why
	}
	return takesOnly(v.kind.groups)
}

// takes says whether a group of the kind takes one of the people; of their own: a child that comes alone only in a group that is not
// one of mothers with children.
func (v *verdict) takes(f *finder, person, group int, own bool) bool {
	g := v.kind.groups[group]
	if own && g.GetWithMother() && f.alone>>person&1 == 1 {
		return false
	}
	if group < 64 {
		return v.masks[person]>>group&1 == 1
	}
	return passed(v.kind.shelter, g, f.people[person]) == len(obstacles)
}

// rate weighs what like shelters have in common: languages, services, security, a court's order.
func (f *finder) rate(v *verdict) {
	s := v.kind.shelter
	v.shared = !slices.ContainsFunc(f.people, func(n *custodyv1.Needs) bool {
		return len(n.GetLanguages()) > 0 && !slices.ContainsFunc(n.GetLanguages(), func(l string) bool { return slices.Contains(s.GetLanguages(), l) })
	})
	for _, service := range f.services {
		if !slices.Contains(s.GetServices(), service) {
			v.missing = append(v.missing, service)
		}
	}
	soft := uint64(min(len(v.missing), 15)) << 2
	if f.request.GetSecurity() != shelterv1.Security_SECURITY_UNSPECIFIED { // else a guarded house far away would come before one nearby
		soft |= uint64(shelterv1.Security_SECURITY_HIGH-s.GetSecurity()) & 3
	}
	if !v.shared {
		soft |= 1 << 6
	}
	v.base = soft << 12
	v.opens, v.closed = v.kind.hours.closed(f.minute)
	if f.request.GetUrgent() && s.GetCourtOrderRequired() {
		v.base |= courtOrder
	}
	if f.request.GetUrgent() && v.closed {
		v.base |= closedNow
	}
}
