package process

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
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
