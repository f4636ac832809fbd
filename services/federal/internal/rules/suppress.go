package rules

import (
	"math"

	federalv1 "amanat.example/proto/amanat/federal/v1"
)

// SmallestCount is the smallest count that is published (k): that of the Counter-Trafficking Data Collaborative.
const SmallestCount = 11

// Suppression decides which cells of a table are hidden, and what a later edition may take over.
//
// A table is a tree of sums: a country, its provinces, where they sent. Hidden is every cell below K, zero included, and all that lies below a
// hidden cell. Where that would leave a sum with one unknown, more is hidden beside it, the next smallest first, until whoever reads all
// editions together cannot say more of any hidden cell than that it lies in a range at least K wide. Why that is so, for siblings
// under a shown cell of which some are hidden:
//
//   - Of the hidden ones their sum is published, in each edition. Let l be the least that one of them had in any edition. As much as l can be taken
//     from it and given to another hidden one, the same in all editions: no count falls below zero, every published sum stays, and so does
//     by how much each cell differs from one edition to the next. So nobody can tell the one from the other, not even who knows
//     from elsewhere by how much each cell has changed. A sibling can so go down by its own l and up by those of the others:
//     together a range as wide as the sum of all l, which must be K or more.
//   - Who knows this program also knows that in the first edition all that is hidden is smaller than what is shown beside it and that one of them
//     is below K, and everybody knows how many beds there are. What a sibling is given ends there: the range is what is left (known).
//   - What lies below a hidden cell moves with it, and among itself.
//   - Tables have no cell in common, and months have none. Nor does one bound another: who arrives in a month was referred in any, perhaps to
//     somebody else, and may arrive without having been accepted.
//
// Which cells are hidden is decided with the first edition of a month and stays so. In later ones a cell takes over its new count only
// when that is K or more away from what stands: so a difference is never of fewer than K. It stays as it is where a shown cell would
// come below K, or the least of a hidden one would make a range too narrow. What has become too great to need hiding stays hidden all the
// same: once shown it would tell, by the difference, what was hidden before.
type Suppression struct {
	// K is the smallest count shown.
	K int64
	// Alone hides what is below K and nothing beside it. That is not safe, and is here so that a test can show that it would notice.
	Alone bool
}

// Published is how figures are published.
var Published = Suppression{K: SmallestCount}

// Freeze makes the first edition of a table from the values of the cells without parts: it adds them up and decides what is hidden.
func (s Suppression) Freeze(country *federalv1.FrozenCell) {
	begin(country)
	if country.GetValue() < s.K || !s.hideAmong(country) {
		hide(country)
	}
}

// begin adds up what lies below a cell, as it stands in the first edition.
func begin(c *federalv1.FrozenCell) {
	if len(c.GetParts()) > 0 {
		c.Value = 0
		for _, p := range c.GetParts() {
			begin(p)
			c.Value += p.GetValue()
		}
	}
	c.First, c.Least, c.Most = c.GetValue(), c.GetValue(), c.GetValue()
}

func hide(c *federalv1.FrozenCell) {
	c.Hidden = true
	for _, p := range c.GetParts() {
		hide(p)
	}
}

// hideAmong hides parts of a shown cell, and parts of those that stay shown. It answers false where that does not help: the cell itself is
// to be hidden.
func (s Suppression) hideAmong(c *federalv1.FrozenCell) bool {
	for _, p := range c.GetParts() {
		if p.GetValue() < s.K || !s.hideAmong(p) {
			hide(p)
		}
	}
	for !s.safe(c) {
		next := smallestShown(c)
		if next == nil {
			return false
		}
		// Those that are as great go with it: which of them comes first in the table says nothing then.
		for _, p := range c.GetParts() {
			if !p.GetHidden() && p.GetFirst() == next.GetFirst() {
				hide(p)
			}
		}
	}
	return true
}

// smallestShown is the first of the smallest parts that are shown; nil for none.
func smallestShown(c *federalv1.FrozenCell) (smallest *federalv1.FrozenCell) {
	for _, p := range c.GetParts() {
		if !p.GetHidden() && (smallest == nil || p.GetFirst() < smallest.GetFirst()) {
			smallest = p
		}
	}
	return smallest
}

// safe says whether of no hidden part of a shown cell more can be known than a range K wide, or as wide as everybody knows anyway. So there are two or
// more, and they add up to K at least.
func (s Suppression) safe(c *federalv1.FrozenCell) bool {
	var hidden []*federalv1.FrozenCell
	for _, p := range c.GetParts() {
		if p.GetHidden() {
			hidden = append(hidden, p)
		}
	}
	if len(hidden) == 0 || s.Alone {
		return true
	}
	highest := unbounded
	if next := smallestShown(c); next != nil {
		if next.Ceiling != nil {
			return false // who knows the ceilings could tell from what was hidden beside a small count how small that is: so all is hidden
		}
		highest = next.GetFirst() - 1
	}
	ranges := make([]span, len(hidden))
	var total int64
	for i, p := range hidden {
		ranges[i] = span{p.GetFirst() - p.GetLeast(), max(p.GetFirst(), min(highest, p.GetFirst()+ceiling(p)-p.GetMost()))}
		total += p.GetFirst()
	}
	for i, known := range s.known(ranges, total) {
		if known.high-known.low < min(s.K, ceiling(hidden[i])) {
			return false
		}
	}
	return true
}

// span is what a count may be, both included.
type span struct{ low, high int64 }

// known narrows what each of some counts may be by what they add up to, and by that one of them, nobody knows which, is below K.
func (s Suppression) known(each []span, total int64) []span {
	narrowed := make([]span, len(each))
	for i := range narrowed {
		narrowed[i] = span{unbounded, -unbounded}
	}
	for small := range each {
		bound := func(i int) int64 { // of a count when that one is the small one
			if i == small {
				return min(each[i].high, s.K-1)
			}
			return min(each[i].high, total)
		}
		var low, high int64
		for i, e := range each {
			low, high = low+e.low, high+bound(i)
		}
		if bound(small) < each[small].low || low > total || high < total {
			continue // that one is not it
		}
		for i, e := range each {
			narrowed[i].low = min(narrowed[i].low, max(e.low, total-(high-bound(i))))
			narrowed[i].high = max(narrowed[i].high, min(bound(i), total-(low-e.low)))
		}
	}
	return narrowed
}

// unbounded is more than any count, and counts can be added to it.
const unbounded = int64(math.MaxInt64 / 4)

func ceiling(p *federalv1.FrozenCell) int64 {
	if p.Ceiling == nil {
		return unbounded
	}
	return p.GetCeiling()
}

// Revise makes the next edition of a table: each cell without parts takes over what it counts now, where that may be. Where the country is hidden
// nothing was told and nothing is.
func (s Suppression) Revise(country *federalv1.FrozenCell, now func(path []string) int64) {
	if !country.GetHidden() {
		s.revise(country, nil, nil, now)
		settle(country)
	}
}

// revise goes through the cells below one. family is the shown cell under which the outermost hidden cell around this one lies; nil where none
// is hidden.
func (s Suppression) revise(c, family *federalv1.FrozenCell, path []string, now func(path []string) int64) {
	if len(c.GetParts()) == 0 {
		s.take(c, family, now(path))
		return
	}
	for _, p := range c.GetParts() {
		below := family
		if p.GetHidden() && !c.GetHidden() {
			below = c
		}
		s.revise(p, below, append(path[:len(path):len(path)], p.GetCode()), now)
	}
}

// take has a cell without parts take over a count, where that may be.
func (s Suppression) take(c, family *federalv1.FrozenCell, now int64) {
	if away := now - c.GetValue(); max(away, -away) < s.K {
		return
	}
	if family == nil {
		if now >= s.K {
			c.Value = now
		}
		return
	}
	value, least, most := c.GetValue(), c.GetLeast(), c.GetMost()
	c.Value, c.Least, c.Most = now, min(least, now), max(most, now)
	settle(family)
	if !s.safe(family) {
		c.Value, c.Least, c.Most = value, least, most
		settle(family)
	}
}

// settle adds up again what lies below a cell.
func settle(c *federalv1.FrozenCell) {
	if len(c.GetParts()) == 0 {
		return
	}
	c.Value, c.Least = 0, 0
	for _, p := range c.GetParts() {
		settle(p)
		c.Value += p.GetValue()
		c.Least += p.GetLeast()
	}
}
