package referral

import (
	"context"
	"testing"
	"time"
)

func TestAServiceThatStartsListensFirst(t *testing.T) {
	start := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		after time.Duration
		fires bool
	}{{0, false}, {Listens - 1, false}, {Listens, true}, {time.Hour, true}, {-time.Hour, true}} {
		now, fired := start, false
		fire := listening(func() time.Time { return now }, func(context.Context) (time.Time, error) { fired = true; return time.Time{}, nil })
		now = start.Add(c.after)
		next, err := fire(t.Context())
		if fired != c.fires || err != nil || !c.fires && !next.Equal(start.Add(Listens)) {
			t.Errorf("%v after the start: fired %t, next %v, %v", c.after, fired, next, err)
		}
	}
}
