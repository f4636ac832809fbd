package process

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"amanat.example/services/kit/config"
)

func TestDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var looked []time.Duration
		var next atomic.Pointer[time.Time]
		set := func(after time.Duration) { at := begin.Add(after); next.Store(&at) }
		set(30 * time.Second)
		d := NewDue("test", func(context.Context) (time.Time, error) {
			looked = append(looked, time.Since(begin))
			if time.Since(begin) >= 50*time.Second {
				return time.Time{}, errors.New("done")
			}
			return *next.Load(), nil
		})
		ended := make(chan error, 1)
		go func() { ended <- d.Run(t.Context()) }()
		time.Sleep(time.Second)
		set(50 * time.Second)
		d.Wake() // what comes next has changed: the half minute is forgotten
		if err := <-ended; err == nil || err.Error() != "test: done" {
			t.Fatal(err)
		}
		if len(looked) != 3 || looked[0] != 0 || looked[1] != time.Second || looked[2] != 50*time.Second {
			t.Fatalf("looked at %v", looked)
		}
	})
}

// A clock that is set forward while it waits is noticed within a minute; while nothing is to come nobody looks.
func TestDueWhenTheClockIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var looked atomic.Int64
		d := NewDue("test", func(context.Context) (time.Time, error) {
			if looked.Add(1) == 3 {
				return time.Time{}, nil
			}
			return begin.Add(24 * time.Hour), nil
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		time.Sleep(2*time.Minute + time.Second)
		if n := looked.Load(); n != 3 {
			t.Errorf("looked %d times in two minutes", n)
		}
		time.Sleep(time.Hour)
		if stop(); <-ended != nil || looked.Load() != 3 {
			t.Errorf("looked %d times while nothing was to come", looked.Load())
		}
	})
}

// jumping is a clock that is behind the machine's.
type jumping struct {
	behind atomic.Int64
	jumped chan struct{}
}

func (j *jumping) Now() time.Time { return time.Now().Add(-time.Duration(j.behind.Load())) }

func (j *jumping) Watch(ctx context.Context, jumped func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.jumped:
			jumped()
		}
	}
}

// By the clock of the use cases: what is due on a day is done when that day has come, by a jump or in its own time.
func TestDueByAnotherClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &jumping{jumped: make(chan struct{})}
		clock.behind.Store(int64(365 * 24 * time.Hour))
		p := &Process{Config: config.Service{Clock: clock}}
		due := p.Now().Add(30 * time.Second)
		var looked []time.Duration
		d := p.NewDue("test", func(context.Context) (time.Time, error) {
			looked = append(looked, p.Now().Sub(due))
			if !p.Now().Before(due) {
				due = due.Add(48 * time.Hour)
			}
			return due, nil
		})
		ctx, stop := context.WithCancel(t.Context())
		go p.watchClock(ctx)
		ended := make(chan error, 1)
		go func() { ended <- d.Run(ctx) }()
		time.Sleep(31 * time.Second) // in its own time
		clock.behind.Add(-int64(48 * time.Hour))
		clock.jumped <- struct{}{}
		synctest.Wait()
		if stop(); <-ended != nil || len(looked) != 3 || looked[0] != -30*time.Second || looked[1] != 0 || looked[2] != time.Second {
			t.Errorf("looked at %v", looked)
		}
	})
}

// Without another clock the use cases have the machine's.
func TestTheMachinesClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if got := (&Process{}).Now(); !got.Equal(time.Now()) {
			t.Error(got)
		}
	})
}
