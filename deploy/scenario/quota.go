package scenario

import (
	"cmp"
	"math/rand/v2"
	"slices"
)

// apportion shares a whole number out by weights, by largest remainder: each share is less than one off.
func apportion(whole int, weights []float64) []int {
	total := 0.0
	for _, w := range weights {
		total += w
	}
	shares, rest := make([]int, len(weights)), whole
	if total == 0 {
		return shares
	}
	order, left := make([]int, len(weights)), make([]float64, len(weights))
	for i, w := range weights {
		exact := float64(whole) * w / total
		shares[i] = int(exact)
		order[i], left[i] = i, exact-float64(shares[i])
		rest -= shares[i]
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(left[b], left[a]) })
	for _, i := range order[:rest] {
		shares[i]++
	}
	return shares
}

// urn holds how many of each are still to be made. Drawing from it makes exactly as many as were put in.
type urn struct {
	left  []int
	total int
}

func newUrn(counts ...int) *urn {
	u := &urn{left: counts}
	for _, n := range counts {
		u.total += n
	}
	return u
}

// draw names one at random, by how many are left; take takes it out.
func (u *urn) draw(chance *rand.Rand) int {
	n := chance.IntN(u.total)
	for i, left := range u.left {
		if n -= left; n < 0 {
			return i
		}
	}
	return len(u.left) - 1
}

func (u *urn) take(i, n int) { u.left[i] -= n; u.total -= n }

// ledger is how many people a share owed so far, and how many it was given.
type ledger struct{ owed, given float64 }

// steady says whether a share falls on so many people who have it in common. It is drawn, and yet what falls on all is never further from the share than
// the most who had it in common.
func (l *ledger) steady(chance *rand.Rand, share float64, size int) bool {
	l.owed += share * float64(size)
	if l.owed-l.given > chance.Float64()*float64(size) {
		l.given += float64(size)
		return true
	}
	return false
}

// pick is the number of a weight drawn at random.
func pick(chance *rand.Rand, weights ...float64) int {
	total := 0.0
	for _, w := range weights {
		total += w
	}
	at := chance.Float64() * total
	for i, w := range weights {
		if at -= w; at < 0 {
			return i
		}
	}
	return len(weights) - 1
}

// weighed is a code with how often it is drawn.
type weighed struct {
	code   string
	weight float64
}

func draw(chance *rand.Rand, of []weighed) string {
	weights := make([]float64, len(of))
	for i, w := range of {
		weights[i] = w.weight
	}
	return of[pick(chance, weights...)].code
}
