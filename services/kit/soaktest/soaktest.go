// Package soaktest says how long the tests go on that are repeated: a fixed number of rounds in `make test`, and a time in
// `make soak`. It is used by tests alone.
package soaktest

import (
	"iter"
	"os"
	"strconv"
	"testing"
	"time"
)

// Variable of the environment that makes a soak: how many minutes each repeated test goes on. It does not begin with
// AMANAT_, since the services, some of which such tests start, refuse a setting that they do not know.
const Variable = "SOAK_MINUTES"

// Rounds yields 0, 1, 2 and so on: usual times; in a soak at least longest times, and until its minutes are over; with -short
// once.
func Rounds(t *testing.T, usual, longest int) iter.Seq[int] {
	t.Helper()
	n := 0
	return func(yield func(int) bool) {
		for round := range Until(t, usual, longest, func() int { return n }) {
			n++
			if !yield(round) {
				return
			}
		}
	}
}

// Until is Rounds where not the rounds are counted but what was done in them, such as operations: it ends when done has come to
// usual; in a soak when it has come to longest and the minutes are over; with -short after one round.
func Until(t *testing.T, usual, longest int, done func() int) iter.Seq[int] {
	t.Helper()
	minutes := minutes(t)
	switch {
	case minutes > 0:
		usual = longest
	case testing.Short():
		usual = 1
	}
	until := time.Now().Add(time.Duration(minutes) * time.Minute)
	return func(yield func(int) bool) {
		for n := 0; done() < usual || minutes > 0 && time.Now().Before(until); n++ {
			if !yield(n) {
				return
			}
		}
	}
}

// Alone is how much one goroutine does that works by itself: the whole, or a part under the race detector, which makes it five to
// ten times as slow and has nothing to find in it. `make test` runs each such test a second time without the detector, whole.
func Alone[N any](whole, part N) N {
	if raceDetector {
		return part
	}
	return whole
}

// Soak says that this is one.
func Soak() bool { return os.Getenv(Variable) != "" }

// Count is how much of something one round has: usual, and longest in a soak.
func Count(t *testing.T, usual, longest int) int {
	t.Helper()
	if minutes(t) > 0 {
		return longest
	}
	return usual
}

// minutes are those of a soak; 0 where this is none.
func minutes(t *testing.T) (minutes int) {
	t.Helper()
	if text := os.Getenv(Variable); text != "" {
		var err error
		if minutes, err = strconv.Atoi(text); err != nil || minutes < 1 {
			t.Fatalf("%s=%q: give a number of minutes, such as 10", Variable, text)
		}
	}
	return minutes
}
