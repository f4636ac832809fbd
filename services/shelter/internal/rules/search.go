package rules

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strings"
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
	request  *shelterv1.FindPlacesRequest
	people   []*custodyv1.Needs
	now      int64
	minute   int // of the week
	limit    int
	alone    uint16  // who of the people is a child that comes without its mother
	near     int32   // number of the district asked for; -1: none, or no shelter is there
	tens     []int32 // from the district asked for, by district: tens of kilometres; unknown: none
	excluded []uint16
	services []string

	say                                      *tongue
	out                                      [outKinds]outs
	hits                                     []hit
	total, totalNear, shelters, sheltersNear int32
}

const unknown = 511 // tens of kilometres: farther than anything

// hit is a place that was found. A smaller key is better; equal ones stand in order of name.
type hit struct {
	key    uint64
	site   *site
	kind   *verdict
	goes   [MostPeople]int16 // by person: the position of the group, or parted
	placed int
	amid   bool  // a child that comes alone goes to a group of mothers with children
	left   int32 // units that stay free in the groups used
	fresh  int64 // class of the oldest claim it rests on
}

const parted = -1

// verdict is what a search thinks of a kind of shelter.
type verdict struct {
	kind    *kind
	masks   [MostPeople]uint64 // by person: bit i: group i takes it; of the first 64 groups
	able    uint16             // who of the people is taken at all
	mothers uint64             // bit i: group i is one of mothers with children
	never   out                // why, if nobody is, or not all who stay together; else 0
	shared  bool               // a language of each person who has one is spoken
	missing []string
	closed  bool   // nobody is let in now
	opens   int    // minute of the week from which people are let in again
	base    uint64 // what the kind adds to the key of its places
}

// Find ranks the places for the people of a request that is valid, and says of all others why not.
func (p *Places) Find(request *shelterv1.FindPlacesRequest, now time.Time) *shelterv1.FindPlacesResponse {
	f := &finder{request: request, people: request.GetPeople(), now: now.UnixNano(), minute: minuteOf(now), limit: int(request.GetPageSize()), near: -1, say: tongueOf(request.GetLanguageCode())}
	if f.limit == 0 {
		f.limit = UsualPlaces
	}
	f.measure(p.districts)
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
	// The best kinds first, so that most places of the others are seen to be no better without a closer look.
	verdicts := make([]verdict, 0, len(p.kinds))
	for _, k := range p.kinds {
		verdicts = append(verdicts, f.judge(k))
	}
	slices.SortFunc(verdicts, func(a, b verdict) int { return cmp.Compare(a.base, b.base) })
	for i := range verdicts {
		f.look(&verdicts[i])
	}
	return f.answer()
}

// measure prepares what a search needs to know of each district.
func (f *finder) measure(districts map[string]int32) {
	f.tens, f.excluded = make([]int32, len(districts)), make([]uint16, len(districts))
	for i := range f.tens {
		f.tens[i] = unknown
	}
	if near := f.request.GetNearDistrict(); near != "" {
		if n, ok := districts[near]; ok {
			f.near = n
		}
		for district, n := range districts {
			if km, known := codes.Distance(near, district); known {
				f.tens[n] = min((km+5)/10, unknown-1)
			}
		}
	}
	for i, needs := range f.people {
		if len(needs.GetExcludedDistricts()) == 0 {
			continue
		}
		for district, n := range districts {
			if keepsAway(needs, district) {
				f.excluded[n] |= 1 << i
			}
		}
	}
}

func (f *finder) leave(why out, r *row) {
	f.out[why].all++
	if r.district == f.near {
		f.out[why].near++
	}
}

// judge decides what a kind of shelter is worth to the search.
func (f *finder) judge(k *kind) verdict {
	v := verdict{kind: k}
	if v.never = f.fitting(&v); v.never == fits {
		f.rate(&v)
	}
	return v
}

// look goes through the shelters of a kind.
func (f *finder) look(v *verdict) {
	k := v.kind
	all := uint16(1)<<len(f.people) - 1
	f.shelters += int32(len(k.rows))
	if v.never == fits && len(f.people) == 1 && len(k.shelter.GetGroups()) <= 64 {
		f.lookForOne(v)
		return
	}
	for i := range k.rows {
		r := &k.rows[i]
		if r.district == f.near {
			f.sheltersNear++
		}
		asked := all &^ f.excluded[r.district]
		people := v.able & asked
		switch {
		case asked == 0, asked != all && !f.request.GetApart():
			f.leave(outExcluded, r)
		case v.never != fits:
			f.leave(v.never, r)
		case people == 0:
			f.leave(outExcluded, r) // whom it would take must not be brought there
		case r.suspended:
			f.leave(outSuspended, r)
		case r.full > f.now:
			f.leave(outDeclaredFull, r)
		default:
			h, ok := f.assign(v, r, people)
			if !ok {
				f.leave(outFull, r)
				continue
			}
			f.found(r)
			f.keep(h)
		}
	}
}

// lookForOne is look for one person whom the kind takes. There may be tens of thousands of rows, and all but a few only
// count, so it reads nothing but them.
func (f *finder) lookForOne(v *verdict) {
	mask, near, now := v.masks[0], f.near, f.now
	ageing, stale := now-int64(FreshFor), now-int64(AgeingFor)
	base, shift := f.key(&hit{kind: v, placed: 1, amid: f.alone != 0 && mask&^v.mothers == 0}, 0, 0), 12
	if f.request.GetUrgent() {
		shift = 19
	}
	worst := f.worst()
	var full, found outs
	for i := range v.kind.rows {
		r := &v.kind.rows[i]
		at := int32(0)
		if r.district == near {
			at = 1
		}
		f.sheltersNear += at
		switch {
		case f.excluded[r.district] != 0:
			f.leave(outExcluded, r)
		case r.suspended:
			f.leave(outSuspended, r)
		case r.full > now:
			f.leave(outDeclaredFull, r)
		case r.open&mask == 0:
			full.all++
			full.near += at
		default:
			found.all++
			found.near += at
			bound := base | uint64(f.tens[r.district])<<shift // as if its freshest beds were those, and without end
			if r.vouched < stale {
				bound |= 2 << 28
			} else if r.vouched <= ageing {
				bound |= 1 << 28
			}
			if bound > worst {
				continue
			}
			if h, ok := f.assign(v, r, 1); ok {
				f.keep(h)
				worst = f.worst()
			}
		}
	}
	f.out[outFull].all += full.all
	f.out[outFull].near += full.near
	f.total += found.all
	f.totalNear += found.near
}

// worst is the key that a place must not exceed to be among those shown.
func (f *finder) worst() uint64 {
	if len(f.hits) < f.limit {
		return math.MaxUint64
	}
	return f.hits[len(f.hits)-1].key
}

func (f *finder) found(r *row) {
	f.total++
	if r.district == f.near {
		f.totalNear++
	}
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
	for j, g := range s.GetGroups() {
		if g.GetWithMother() {
			v.mothers |= 1 << j
		}
	}
	worst := len(obstacles)
	for i, needs := range f.people {
		nearest := 0
		for j, g := range s.GetGroups() {
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
	return takesOnly(s.GetGroups())
}

// takes says whether a group of the kind takes one of the people; of their own: a child that comes alone only in a group that is not
// one of mothers with children.
func (v *verdict) takes(f *finder, person, group int, own bool) bool {
	g := v.kind.shelter.GetGroups()[group]
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

// key ranks a place, the smallest first. From the highest bit: how many have to go elsewhere (4 bits); in an emergency, whether it is
// closed now (1) and whether a court's order is needed (1); whether a child alone goes among mothers (1); freshness (2); then language (1),
// services (4) and, where it is asked for, security (2), distance (9), and in an emergency distance before those; few is how few beds are
// left (12).
func (f *finder) key(h *hit, away int32, few uint64) uint64 {
	base := h.kind.base
	key := uint64(len(f.people)-h.placed)<<33 | base&urgently | uint64(h.fresh)<<28
	if h.amid {
		key |= 1 << 30
	}
	soft, tens := base>>12&127, uint64(away)
	if f.request.GetUrgent() {
		return key | tens<<19 | soft<<12 | few
	}
	return key | soft<<21 | tens<<12 | few
}

// What counts in an emergency alone, in a key.
const (
	courtOrder = 1 << 31
	closedNow  = 1 << 32
	urgently   = courtOrder | closedNow
)

// class is 0 for a fresh claim, 1 for an ageing, 2 for a stale one.
func (f *finder) class(vouched int64) int64 {
	switch age := f.now - vouched; {
	case vouched == 0 || age > int64(AgeingFor):
		return 2
	case age >= int64(FreshFor):
		return 1
	}
	return 0
}

// assign says where each of the people would go in a shelter: together all or none, apart as many as it can. A child that comes alone
// goes among mothers with their children only where there is no other room.
func (f *finder) assign(v *verdict, r *row, people uint16) (hit, bool) {
	own := f.seats(v, r, people, true)
	if v.mothers == 0 || f.alone == 0 || own.placed == bits.OnesCount16(people) {
		return own, f.weigh(&own, r)
	}
	if h := f.seats(v, r, people, false); h.placed > own.placed {
		return h, f.weigh(&h, r)
	}
	return own, f.weigh(&own, r)
}

// seats puts the people into groups that take them; nobody, where not all who stay together have room.
func (f *finder) seats(v *verdict, r *row, people uint16, own bool) hit {
	h := hit{site: r.site, kind: v}
	for i := range h.goes {
		h.goes[i] = parted
	}
	m := match{f: f, v: v, site: r.site, hit: &h, own: own}
	var order [64]int
	m.groups = m.order(people, order[:0])
	if m.together(people) {
		return h
	}
	for left := people; left != 0; left &= left - 1 {
		m.seen = map[int]bool{}
		if m.seat(bits.TrailingZeros16(left)) {
			h.placed++
		} else if !f.request.GetApart() {
			h.placed = 0
			return h
		}
	}
	return h
}

// weigh adds up what is left in the groups that are used, and how old the oldest claim is. It says whether anybody found room.
func (f *finder) weigh(h *hit, r *row) bool {
	if h.placed == 0 {
		return false
	}
	for g, b := range r.site.beds {
		group := h.kind.kind.shelter.GetGroups()[g]
		if n := quantity(group, h.in(g)); n > 0 {
			h.left += b.free - n
			h.fresh = max(h.fresh, f.class(b.vouched))
			h.amid = h.amid || group.GetWithMother() && h.who(g)&f.alone != 0
		}
	}
	h.key = f.key(h, f.tens[r.district], uint64(4095-min(h.left, 4095)))
	return true
}

// who of the people go to a group.
func (h *hit) who(group int) (people uint16) {
	for person, g := range h.goes {
		if g == int16(group) {
			people |= 1 << person
		}
	}
	return people
}

// in is how many of the people go to a group.
func (h *hit) in(group int) int32 { return int32(bits.OnesCount16(h.who(group))) }

// quantity is how many units of a group so many people need: a family has a unit for itself, whatever its size.
func quantity(g *shelterv1.Group, people int32) int32 {
	if g.GetUnitKind() == shelterv1.Group_UNIT_KIND_FAMILY_UNIT {
		return min(people, 1)
	}
	return people
}

// match seats people in groups, moving those who sit already where that makes room (augmenting paths, after Kuhn).
type match struct {
	f      *finder
	v      *verdict
	groups []int
	site   *site
	hit    *hit
	seen   map[int]bool
	own    bool
}

// order is the groups that take any of the people and have something free, the best first: fresh claims, then most free,
// then by name.
func (m *match) order(people uint16, groups []int) []int {
	for g, b := range m.site.beds {
		if b.free <= 0 {
			continue
		}
		for left := people; left != 0; left &= left - 1 {
			if m.v.takes(m.f, bits.TrailingZeros16(left), g, m.own) {
				groups = append(groups, g)
				break
			}
		}
	}
	slices.SortFunc(groups, func(a, b int) int {
		x, y := &m.site.beds[a], &m.site.beds[b]
		if d := m.f.class(x.vouched) - m.f.class(y.vouched); d != 0 {
			return int(d)
		}
		if x.free != y.free {
			return int(y.free - x.free)
		}
		return strings.Compare(x.name, y.name)
	})
	return groups
}

// together puts all into the first group that has room for them, if there is one.
func (m *match) together(people uint16) bool {
	n := int32(bits.OnesCount16(people))
	for _, g := range m.groups {
		fit := m.site.beds[g].free >= quantity(m.v.kind.shelter.GetGroups()[g], n)
		for left := people; left != 0 && fit; left &= left - 1 {
			fit = m.v.takes(m.f, bits.TrailingZeros16(left), g, m.own)
		}
		if !fit {
			continue
		}
		for left := people; left != 0; left &= left - 1 {
			m.hit.goes[bits.TrailingZeros16(left)] = int16(g)
		}
		m.hit.placed = int(n)
		return true
	}
	return false
}

func (m *match) seat(person int) bool {
	for _, g := range m.groups {
		if m.seen[g] || !m.v.takes(m.f, person, g, m.own) {
			continue
		}
		m.seen[g] = true
		if quantity(m.v.kind.shelter.GetGroups()[g], m.hit.in(g)+1) <= m.site.beds[g].free {
			m.hit.goes[person] = int16(g)
			return true
		}
		for other := range m.hit.goes {
			if m.hit.goes[other] == int16(g) && m.seat(other) {
				m.hit.goes[person] = int16(g)
				return true
			}
		}
	}
	return false
}

// keep puts a place among those shown, if it is good enough.
func (f *finder) keep(h hit) {
	at, _ := slices.BinarySearchFunc(f.hits, h, func(a, b hit) int {
		switch {
		case a.key < b.key:
			return -1
		case a.key > b.key:
			return 1
		}
		return strings.Compare(a.site.name, b.site.name)
	})
	if at == f.limit {
		return
	}
	if len(f.hits) == f.limit {
		f.hits = f.hits[:f.limit-1]
	}
	f.hits = slices.Insert(f.hits, at, h)
}
