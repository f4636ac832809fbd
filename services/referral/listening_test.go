package referral

import (
	"context"
	"errors"
	"testing"
	"time"

	"amanat.example/services/referral/internal/app"
)

func TestAServiceThatStartsListensFirst(t *testing.T) {
	start := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	broken := errors.New("the store is broken")
	for _, c := range []struct {
		after time.Duration
		heard bool
		err   error
		fires bool
	}{
		{0, false, nil, false},
		{0, true, nil, true},
		{0, true, broken, false},
		{listensAtMost - 1, false, nil, false},
		{listensAtMost, false, nil, true},
		{time.Hour, false, nil, true},
		{-time.Hour, false, nil, true},
	} {
		now, fired, heard := start.Add(c.after), false, c.heard
		l := &listener{
			begun: start, now: func() time.Time { return now }, heard: func(context.Context) (bool, error) { return heard, c.err },
			fire: func(context.Context) (time.Time, error) { fired = true; return time.Time{}, nil },
		}
		next, err := l.work(t.Context())
		if fired != c.fires || c.err != nil && !errors.Is(err, c.err) || !c.fires && !next.Equal(now.Add(lookEvery)) {
			t.Errorf("%+v: fired %t, next %v, %v", c, fired, next, err)
		}
		if !c.fires {
			continue
		}
		now, fired, heard = start, false, false // what has listened does not begin again
		if _, err := l.work(t.Context()); !fired || err != nil {
			t.Errorf("%+v: it listens again: %v", c, err)
		}
	}
}

// A list of live offers that an older copy makes lacks those that came later: the shelter would give their beds to others.
func TestAServiceThatListensTellsTheShelterNothing(t *testing.T) {
	listened := false
	c := &comparison{app: &app.App{Listened: func() bool { return listened }}} // and no shelter to call
	before := time.Now()
	if next, err := c.work(t.Context()); err != nil || next.Before(before.Add(lookEvery)) || next.After(time.Now().Add(lookEvery)) {
		t.Errorf("it looks again at %v: %v", next, err)
	}
	listened = true
	defer func() {
		if recover() == nil {
			t.Error("it has listened, and calls nobody")
		}
	}()
	_, _ = c.work(t.Context())
}
