package limit

import (
	"testing"
	"time"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func taken[K comparable](l *Limiter[K], key K, at time.Time, times int) (done int) {
	for range times {
		if l.Take(key, at) == 0 {
			done++
		}
	}
	return done
}

func TestEachKeyHasItsOwnRate(t *testing.T) {
	l := New[string](5)
	if got := taken(l, "a", start, 30); got != 10 {
		t.Errorf("at once: %d", got)
	}
	if got := l.Take("a", start); got != 200*time.Millisecond {
		t.Errorf("wait %v", got)
	}
	if got := taken(l, "b", start, 30); got != 10 {
		t.Errorf("another: %d", got)
	}
	if got := taken(l, "a", start.Add(time.Second), 30); got != 5 {
		t.Errorf("a second later: %d", got)
	}
	if got := taken(l, "a", start.Add(time.Hour), 30); got != 10 {
		t.Errorf("after a pause: %d", got)
	}
}

func TestManyKeysTakeNoMoreMemoryAndGainNothing(t *testing.T) {
	l := New[int](5)
	taken(l, -1, start, 10)
	done := 0
	for key := range 10 * MaxKeys {
		done += taken(l, key, start, 1)
	}
	if len(l.buckets) != MaxKeys || l.order.Len() != MaxKeys {
		t.Fatalf("%d buckets, %d in order", len(l.buckets), l.order.Len())
	}
	if want := MaxKeys - 1 + 10; done != want {
		t.Errorf("those without a bucket were given %d, and one rate is theirs", done-want+10)
	}
	if got := taken(l, -1, start, 10); got != 0 {
		t.Errorf("an empty bucket was forgotten: %d", got)
	}
	later := start.Add(2 * time.Second) // All are full again, but the one just used.
	if got := taken(l, -2, later, 30); got != 10 || len(l.buckets) != MaxKeys {
		t.Errorf("a newcomer was given %d, there are %d buckets", got, len(l.buckets))
	}
}

func TestAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:4711":                "192.0.2.7/32",
		"[::ffff:192.0.2.7]:4711":       "192.0.2.7/32",
		"[2001:db8:1:2:3:4:5:6]:4711":   "2001:db8:1:2::/64",
		"[fe80::1%eth0]:4711":           "fe80::/64",
		"what is this, and who sent it": "invalid Prefix",
	} {
		if got := Address(remote).String(); got != want {
			t.Errorf("%s: %s, want %s", remote, got, want)
		}
	}
}
