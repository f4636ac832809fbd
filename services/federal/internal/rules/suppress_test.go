package rules_test

import (
	"fmt"
	"strings"
	"testing"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/rules"
)

// A reader who knows the program and tries every country, one after the other, whether it would have been published so: of no hidden cell does
// he find fewer than K values that it may have. Small numbers, so that all can be tried.
func TestWhoTriesEveryCountry(t *testing.T) {
	s := rules.Suppression{K: 3}
	for _, c := range []struct {
		parts []int // each with so many parts of its own; 0 for none
		most  int64
	}{{[]int{0, 0}, 14}, {[]int{0, 0, 0}, 12}, {[]int{0, 0, 0, 0}, 9}, {[]int{2, 2}, 8}, {[]int{1, 3}, 8}, {[]int{2, 2, 2}, 5}} {
		t.Run(fmt.Sprint(c.parts), func(t *testing.T) {
			g := guesser{k: s.K, most: c.most}
			g.each(sum(c.parts), nil, func(counts []int64) {
				country := tree(c.parts, counts)
				s.Freeze(country)
				g.learn(shown(country), values(country), hidden(country), unknown(country) > c.most)
			})
			g.judge(t)
		})
	}
}

// So does one who knows how many beds there are, down to provinces that have fewer than K.
func TestWhoKnowsTheBeds(t *testing.T) {
	s := rules.Suppression{K: 3}
	for _, beds := range [][]int64{{4, 4}, {6, 9}, {3, 5, 8}, {2, 6, 7}, {0, 5, 5}, {1, 1, 12}, {2, 4, 6, 8}} {
		t.Run(fmt.Sprint(beds), func(t *testing.T) {
			g := guesser{k: s.K, most: 100}
			g.each(len(beds), beds, func(counts []int64) {
				country := tree(make([]int, len(beds)), counts)
				for i, p := range country.GetParts() {
					p.Ceiling = &beds[i]
				}
				s.Freeze(country)
				g.ceilings = append([]int64{sum(beds)}, beds...)
				g.learn(shown(country), values(country), hidden(country), false)
			})
			g.judge(t)
		})
	}
}

// So does one who has two editions, or three.
func TestWhoTriesEveryRevision(t *testing.T) {
	s := rules.Suppression{K: 3}
	for _, c := range []struct {
		parts    []int
		most     int64
		editions int
	}{{[]int{0, 0, 0}, 6, 2}, {[]int{0, 0}, 6, 3}, {[]int{2, 2}, 3, 2}} {
		t.Run(fmt.Sprint(c.parts, c.editions), func(t *testing.T) {
			g := guesser{k: s.K, most: c.most}
			n := sum(c.parts)
			g.each(n*c.editions, nil, func(counts []int64) {
				country := tree(c.parts, counts[:n])
				s.Freeze(country)
				published, had, hide, unknowns := shown(country), values(country), hidden(country), unknown(country)
				for e := 1; e < c.editions; e++ {
					now := tree(c.parts, counts[e*n:(e+1)*n])
					s.Revise(country, func(path []string) int64 { return at(now, path) })
					published += "; " + shown(country)
					had, hide, unknowns = append(had, values(country)...), append(hide, hidden(country)...), max(unknowns, unknown(country))
				}
				g.learn(published, had, hide, unknowns > c.most)
			})
			g.judge(t)
		})
	}
}

// Without what is hidden beside small counts, the guesser finds them: so the tests above can fail.
func TestWhoTriesEveryCountryOfABadRule(t *testing.T) {
	s := rules.Suppression{K: 3, Alone: true}
	g := guesser{k: s.K, most: 9}
	g.each(3, nil, func(counts []int64) {
		country := tree([]int{0, 0, 0}, counts)
		s.Freeze(country)
		g.learn(shown(country), values(country), hidden(country), unknown(country) > g.most)
	})
	if _, narrow, _ := g.found(); narrow == 0 {
		t.Error("nothing was found out")
	}
}

// guesser has tried countries whose counts are at most so many.
type guesser struct {
	k, most  int64
	ceilings []int64 // of all cells, where everybody knows them
	seen     map[string]*meaning
}

// meaning is what one publication can mean.
type meaning struct {
	hidden      []bool
	least, most []int64
	incomplete  bool // greater counts than were tried would be possible
}

// each tries all counts up to most, or up to a bound for each.
func (g *guesser) each(n int, bounds []int64, do func([]int64)) {
	g.seen = map[string]*meaning{}
	counts := make([]int64, n)
	var next func(i int)
	next = func(i int) {
		if i == n {
			do(counts)
			return
		}
		bound := g.most
		if bounds != nil {
			bound = bounds[i]
		}
		for counts[i] = 0; counts[i] <= bound; counts[i]++ {
			next(i + 1)
		}
	}
	next(0)
}

func (g *guesser) learn(published string, had []int64, hidden []bool, incomplete bool) {
	n := g.seen[published]
	if n == nil {
		n = &meaning{hidden: hidden, least: append([]int64(nil), had...), most: append([]int64(nil), had...)}
		g.seen[published] = n
	}
	for i, c := range had {
		n.least[i], n.most[i] = min(n.least[i], c), max(n.most[i], c)
	}
	n.incomplete = n.incomplete || incomplete
}

// found is how many hidden cells there are in what was tried to the end, how many have fewer values than K, and the fewest.
func (g *guesser) found() (cells, narrow int, first string) {
	for published, n := range g.seen {
		for i, hidden := range n.hidden {
			if !hidden || n.incomplete {
				continue
			}
			cells++
			values := n.most[i] - n.least[i] + 1
			if values < g.k && (g.ceilings == nil || values <= g.ceilings[i%len(g.ceilings)]) {
				narrow++
				first = fmt.Sprintf("%s: cell %d has one of %d to %d", published, i, n.least[i], n.most[i])
			}
		}
	}
	return cells, narrow, first
}

func (g *guesser) judge(t *testing.T) {
	t.Helper()
	cells, narrow, first := g.found()
	t.Logf("%d publications, %d hidden cells, of %d too much can be known", len(g.seen), cells, narrow)
	if narrow > 0 {
		t.Errorf("of %d cells too much can be known, such as %s", narrow, first)
	}
	if cells == 0 {
		t.Error("nothing was hidden")
	}
}

// tree is a country of parts a, b, c…, of which each has so many parts a, b, c… of its own.
func tree(parts []int, counts []int64) *federalv1.FrozenCell {
	country := &federalv1.FrozenCell{}
	for i, n := range parts {
		part := &federalv1.FrozenCell{Code: letter(i)}
		if n == 0 {
			part.Value, counts = counts[0], counts[1:]
		}
		for j := range n {
			part.Parts = append(part.Parts, &federalv1.FrozenCell{Code: letter(j), Value: counts[j]})
		}
		counts = counts[n:]
		country.Parts = append(country.Parts, part)
	}
	return country
}

func letter(i int) string { return string(rune('a' + i)) }

// at is the count of a cell without parts.
func at(c *federalv1.FrozenCell, path []string) int64 {
	for _, code := range path {
		c = c.GetParts()[code[0]-'a']
	}
	return c.GetValue()
}

func sum[N int | int64](counts []N) (all N) {
	for _, c := range counts {
		all += max(c, 0)
	}
	if all == 0 {
		return N(len(counts))
	}
	return all
}

// cellsOf are a cell and all below it.
func cellsOf(c *federalv1.FrozenCell) []*federalv1.FrozenCell {
	all := []*federalv1.FrozenCell{c}
	for _, p := range c.GetParts() {
		all = append(all, cellsOf(p)...)
	}
	return all
}

func values(country *federalv1.FrozenCell) (all []int64) {
	for _, c := range cellsOf(country) {
		all = append(all, c.GetValue())
	}
	return all
}

func hidden(country *federalv1.FrozenCell) (all []bool) {
	for _, c := range cellsOf(country) {
		all = append(all, c.GetHidden())
	}
	return all
}

// unknown is how many there are in hidden cells.
func unknown(c *federalv1.FrozenCell) (n int64) {
	if c.GetHidden() {
		return c.GetValue()
	}
	for _, p := range c.GetParts() {
		n += unknown(p)
	}
	return n
}

// shown is what is published of a cell and those below it.
func shown(c *federalv1.FrozenCell) string {
	text := "c"
	if !c.GetHidden() {
		text = fmt.Sprint(c.GetValue())
	}
	var parts []string
	for _, p := range c.GetParts() {
		parts = append(parts, shown(p))
	}
	if parts == nil {
		return text
	}
	return text + "(" + strings.Join(parts, " ") + ")"
}
