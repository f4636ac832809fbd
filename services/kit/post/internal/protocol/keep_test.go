package protocol

import (
	"slices"
	"testing"
	"time"

	postv1 "amanat.example/proto/amanat/post/v1"
)

// keeper has a link keep house every ten minutes of its clock.
type keeper struct {
	state *postv1.SendingState
	now   time.Time
}

const keepTime = 48 * time.Hour

// look keeps house once, and says whether letters went.
func (k *keeper) look() bool {
	next, _ := Keep(k.state, keepTime, 100, k.now)
	gone := next.GetFloorSequence() > k.state.GetFloorSequence()
	k.state = next
	return gone
}

// kept is for how long, from now on, nothing is let go.
func (k *keeper) kept(t *testing.T) time.Duration {
	t.Helper()
	begin := k.now
	for !k.look() {
		k.now = k.now.Add(10 * time.Minute)
		if k.now.Sub(begin) > 3*keepTime {
			t.Fatalf("nothing is ever let go: %v", k.state)
		}
	}
	return k.now.Sub(begin)
}

// However a clock leaps, and however long the service was off: what was receipted lately is there for a receiver that is restored.
func TestLettersAreKeptWhateverTheClockDoes(t *testing.T) {
	const most = keepTime + keepTime/8 // that a look comes up to ten minutes late each time makes it longer
	for name, leaps := range map[string][]time.Duration{
		"none":                          nil,
		"months ahead":                  {90 * 24 * time.Hour},
		"months ahead, and right again": {90 * 24 * time.Hour, -90 * 24 * time.Hour},
		"months back":                   {-90 * 24 * time.Hour},
		"back, and right again":         {-90 * 24 * time.Hour, 90 * 24 * time.Hour},
		"the time for which it was off": {72 * time.Hour},
		"a year ahead, a while later":   {0, 365 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			k := &keeper{
				state: &postv1.SendingState{NextSequence: 11, FloorSequence: 1, ReceiptedSequence: 10},
				now:   time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC),
			}
			if k.look() {
				t.Fatal("letters go that were never kept")
			}
			for range 6 {
				k.now = k.now.Add(10 * time.Minute)
				k.look()
			}
			ahead := 0
			for _, leap := range leaps {
				k.now = k.now.Add(leap)
				if leap > 0 {
					ahead++
				}
				if k.look() {
					t.Fatalf("letters go that were receipted lately: %v", k.state)
				}
			}
			least := keepTime - time.Hour - time.Duration(ahead)*keepTime/keepLooks
			if kept := k.kept(t); kept < least || kept > most {
				t.Errorf("kept for %v, want %v to %v", kept, least, most)
			}
			if k.state.GetFloorSequence() != 11 {
				t.Errorf("what was receipted stays: %v", k.state)
			}
		})
	}
}

// What is too much for one time is let go in the next, and then the time of keeping begins anew.
func TestLettersGoAFewAtATime(t *testing.T) {
	k := &keeper{state: &postv1.SendingState{NextSequence: 251, FloorSequence: 1, ReceiptedSequence: 250}, now: time.Unix(1_800_000_000, 0)}
	k.kept(t)
	if more := []bool{k.look(), k.look(), k.look()}; !slices.Equal(more, []bool{true, true, false}) || k.state.GetFloorSequence() != 251 {
		t.Errorf("250 letters do not go at once, 100 each time: %v", k.state)
	}
	k.state.NextSequence, k.state.ReceiptedSequence = 301, 300
	if kept := k.kept(t); kept < keepTime-keepTime/keepLooks {
		t.Errorf("the next are kept for %v", kept)
	}
}
