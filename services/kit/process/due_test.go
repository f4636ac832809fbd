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
		set(time.Minute)
		d := NewDue("test", func(context.Context) (time.Time, error) {
			looked = append(looked, time.Since(begin))
			if time.Since(begin) >= time.Hour {
				return time.Time{}, errors.New("done")
			}
			return *next.Load(), nil
		})
		ended := make(chan error, 1)
		go func() { ended <- d.Run(t.Context()) }()
		time.Sleep(time.Second)
		set(time.Hour)
		d.Wake() // what comes next has changed: the minute is forgotten
		if err := <-ended; err == nil || err.Error() != "test: done" {
			t.Fatal(err)
		}
		if len(looked) != 3 || looked[0] != 0 || looked[1] != time.Second || looked[2] != time.Hour {
			t.Fatalf("looked at %v", looked)
		}
	})
}
