// Package limit keeps one asker from taking what all need: a rate for each key, such as an
// address, in memory that does not grow with the number of keys.
//
// Invariants: a Limiter holds at most [MaxKeys] buckets, whoever asks; a bucket is forgotten only
// when it is full again, so that nobody gains by being forgotten; while none can be forgotten,
// those who have no bucket share one.
package limit

import (
	"container/list"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// MaxKeys is how many buckets one Limiter holds, about 5 MB.
const MaxKeys = 16384

// Limiter is safe for concurrent use.
type Limiter[K comparable] struct {
	rate   rate.Limit
	burst  int
	refill time.Duration // from empty to full

	mu      sync.Mutex
	buckets map[K]*list.Element
	order   list.List // of *bucket, the one used last in front
	others  *rate.Limiter
}

type bucket[K comparable] struct {
	key  K
	last time.Time
	*rate.Limiter
}

// New lets each key do perSecond things a second, and twice as many at once after a pause.
// perSecond must be positive.
func New[K comparable](perSecond int) *Limiter[K] {
	l := &Limiter[K]{rate: rate.Limit(perSecond), burst: 2 * perSecond, buckets: make(map[K]*list.Element)}
	l.refill = time.Duration(float64(l.burst) / float64(l.rate) * float64(time.Second))
	l.others = rate.NewLimiter(l.rate, l.burst)
	return l
}

// Take counts one thing done by key at now; the answer is 0, or how long to wait before the next
// can be done: then nothing was counted.
func (l *Limiter[K]) Take(key K, now time.Time) (wait time.Duration) {
	reservation := l.of(key, now).ReserveN(now, 1)
	if wait = reservation.DelayFrom(now); wait > 0 {
		reservation.CancelAt(now)
	}
	return wait
}

func (l *Limiter[K]) of(key K, now time.Time) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.buckets[key]; ok {
		b := e.Value.(*bucket[K])
		b.last = now
		l.order.MoveToFront(e)
		return b.Limiter
	}
	if len(l.buckets) >= MaxKeys {
		oldest := l.order.Back()
		b := oldest.Value.(*bucket[K])
		if now.Sub(b.last) < l.refill {
			return l.others
		}
		l.order.Remove(oldest)
		delete(l.buckets, b.key)
	}
	b := &bucket[K]{key: key, last: now, Limiter: rate.NewLimiter(l.rate, l.burst)}
	l.buckets[key] = l.order.PushFront(b)
	return b.Limiter
}

// Address is the key of who connects from remote (host:port): the address, or of IPv6 the /64,
// which is what one customer of a provider has.
func Address(remote string) netip.Prefix {
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{} // All of whom nothing is known share a bucket.
	}
	address, bits := from.Addr().Unmap().WithZone(""), 64
	if address.Is4() {
		bits = 32
	}
	prefix, _ := address.Prefix(bits) // The bits fit.
	return prefix
}
