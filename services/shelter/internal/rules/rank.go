package rules

import (
	"math"
	"slices"
	"strings"
)

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

const unknown = 511 // tens of kilometres: farther than anything

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

// worst is the key that a place must not exceed to be among those shown.
func (f *finder) worst() uint64 {
	if len(f.hits) < f.limit {
		return math.MaxUint64
	}
	return f.hits[len(f.hits)-1].key
}

// keep puts a place among those shown, if it is good enough.
func (f *finder) keep(h hit) {
	if h.key > f.worst() {
		return
	}
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
