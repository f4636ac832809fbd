// Package backoff says how long to wait before trying again: a little at first, then longer, and
// never all at the same moment.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Range of the delays between tries.
type Range struct {
	Min time.Duration // before the second try
	Max time.Duration // at most, however many tries there were
}

// Delay is how long to wait after that many failed tries (1 or more): Min, doubled for each
// further one, up to Max, less up to a half of it by chance. random gives a number in [0, 1);
// nil is math/rand/v2.
func (r Range) Delay(failures int, random func() float64) time.Duration {
	if random == nil {
		random = rand.Float64
	}
	delay := r.Min
	for range min(failures-1, 62) {
		if delay *= 2; delay >= r.Max || delay <= 0 {
			delay = r.Max
			break
		}
	}
	return delay - time.Duration(random()*float64(delay)/2)
}
