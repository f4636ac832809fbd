package backoff_test

import (
	"testing"
	"time"

	"amanat.example/services/kit/backoff"
)

func TestDelayGrowsToItsMaximum(t *testing.T) {
	r := backoff.Range{Min: 50 * time.Millisecond, Max: 30 * time.Second}
	least := func() float64 { return 0 }
	for failures, want := range map[int]time.Duration{
		1: 50 * time.Millisecond, 2: 100 * time.Millisecond, 3: 200 * time.Millisecond,
		10: 25600 * time.Millisecond, 11: 30 * time.Second, 1000: 30 * time.Second,
	} {
		if got := r.Delay(failures, least); got != want {
			t.Errorf("after %d failures: %v, want %v", failures, got, want)
		}
	}
}

func TestDelayIsSpread(t *testing.T) {
	r := backoff.Range{Min: time.Second, Max: time.Second}
	if got := r.Delay(1, func() float64 { return 0.5 }); got != 750*time.Millisecond {
		t.Errorf("got %v", got)
	}
	for range 100 {
		if got := r.Delay(5, nil); got <= 500*time.Millisecond || got > time.Second {
			t.Fatalf("%v is not between a half and the whole of a second", got)
		}
	}
}
