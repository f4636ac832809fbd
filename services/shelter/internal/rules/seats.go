package rules

import (
	"math/bits"
	"slices"
	"strings"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

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

// assignOne is assign for one person, in a kind that can be counted: one of whose groups in the row is open.
func (f *finder) assignOne(v *verdict, r *row) hit {
	h := hit{site: r.site, kind: v, placed: 1}
	best := -1
	for left := r.open & v.masks[0]; left != 0; left &= left - 1 {
		g := bits.TrailingZeros64(left)
		b := &r.site.beds[g]
		amid, class := f.alone != 0 && v.mothers>>g&1 == 1, f.class(b.vouched)
		if best >= 0 {
			than := &r.site.beds[best]
			switch {
			case amid != h.amid:
				if amid {
					continue
				}
			case class != h.fresh:
				if class > h.fresh {
					continue
				}
			case b.free != than.free:
				if b.free < than.free {
					continue
				}
			case b.name > than.name:
				continue
			}
		}
		best, h.amid, h.fresh, h.left = g, amid, class, b.free-1
	}
	for i := range h.goes {
		h.goes[i] = parted
	}
	h.goes[0] = int16(best)
	h.key = f.key(&h, f.tens[r.site.ward.district], few(h.left))
	return h
}

// few is what a key says of how many beds are left.
func few(left int32) uint64 { return uint64(4095 - min(left, 4095)) }

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
		if m.seen == nil {
			m.seen = make([]bool, len(r.site.beds))
		}
		clear(m.seen)
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
		group := h.kind.kind.groups[g]
		if n := quantity(group, h.in(g)); n > 0 {
			h.left += b.free - n
			h.fresh = max(h.fresh, f.class(b.vouched))
			h.amid = h.amid || group.GetWithMother() && h.who(g)&f.alone != 0
		}
	}
	h.key = f.key(h, f.tens[r.site.ward.district], few(h.left))
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
	seen   []bool
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
		fit := m.site.beds[g].free >= quantity(m.v.kind.groups[g], n)
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
		if quantity(m.v.kind.groups[g], m.hit.in(g)+1) <= m.site.beds[g].free {
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
