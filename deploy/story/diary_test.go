package story

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"amanat.example/deploy/calendar"
)

const day = 24 * time.Hour

// inAYear runs a test with a calendar that is a year behind, and a diary to its present.
func inAYear(t *testing.T, test func(t *testing.T, begin time.Time, d *diary)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "calendar")
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now().Add(-365 * day)
		if err := calendar.Create(path, begin); err != nil {
			t.Fatal(err)
		}
		clock, err := calendar.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		d := newDiary(clock, time.Now())
		d.slots = 10
		test(t, begin, d)
	})
}

// list is what was done, in order.
type list struct {
	mu   sync.Mutex
	done []string
}

func (l *list) add(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = append(l.done, what)
}

func (l *list) is(t *testing.T, want ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.done, want) {
		t.Errorf("%v was done, want %v", l.done, want)
	}
}

// People act when their time has come on the calendar, in that order, whoever was entered first; after the last day nobody does.
func TestDiaryInOrder(t *testing.T) {
	inAYear(t, func(t *testing.T, begin time.Time, d *diary) {
		var l list
		act := func(what string, at time.Time, then ...time.Time) {
			d.begin(at, func(h *hand) {
				for _, next := range append([]time.Time{at}, then...) {
					if err := h.until(next); err != nil {
						if !errors.Is(err, errOver) {
							t.Error(err)
						}
						l.add(what + " is over")
						return
					}
					if h.now().Before(next) {
						t.Errorf("%s at %v, before %v", what, h.now(), next)
					}
					l.add(what)
				}
			})
		}
		act("b", begin.Add(30*day), begin.Add(60*day))
		act("a", begin.Add(20*day), begin.Add(50*day))
		act("c", begin.Add(10*day), d.end.Add(day))
		act("never", d.end.Add(day))
		if err := d.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.is(t, "c", "a", "b", "a", "b", "c is over")
		if behind := d.clock.Behind(); behind > 305*day || behind < 304*day {
			t.Errorf("the calendar is %v behind, and was left at the last action", behind)
		}
	})
}

// Who is busy holds the others up, but not within the slack.
func TestDiaryWaits(t *testing.T) {
	inAYear(t, func(t *testing.T, begin time.Time, d *diary) {
		var l list
		within, busy := make(chan struct{}), make(chan struct{})
		d.begin(begin.Add(day), func(*hand) { <-within; <-busy; l.add("busy") })
		d.begin(begin.Add(day+d.slack), func(*hand) { l.add("within"); close(within) })
		d.begin(begin.Add(day+d.slack+1), func(*hand) { l.add("beyond") })
		go func() {
			time.Sleep(time.Second)
			l.add("a second later")
			close(busy)
		}()
		if err := d.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.is(t, "within", "a second later", "busy", "beyond")
	})
}

// No more act at once than there are slots, and none longer than patience lasts.
func TestDiarySlotsAndPatience(t *testing.T) {
	inAYear(t, func(t *testing.T, begin time.Time, d *diary) {
		d.slots, d.patience = 2, 3*time.Second
		var mu sync.Mutex
		acting, most := 0, 0
		for range 6 {
			d.begin(begin.Add(day), func(h *hand) {
				mu.Lock()
				acting++
				most = max(most, acting)
				mu.Unlock()
				<-h.ctx.Done()
				if !errors.Is(h.ctx.Err(), context.DeadlineExceeded) {
					t.Error(h.ctx.Err())
				}
				mu.Lock()
				acting--
				mu.Unlock()
			})
		}
		began := time.Now()
		if err := d.run(t.Context()); err != nil || most != 2 || time.Since(began) < 9*time.Second {
			t.Errorf("%d at once, %v, %v", most, time.Since(began), err)
		}
	})
}

// A year that is watched goes by at its pace, also where nobody does anything.
func TestDiaryPace(t *testing.T) {
	inAYear(t, func(t *testing.T, begin time.Time, d *diary) {
		d.pace = float64(day / time.Second) // a day in a second
		var at []time.Duration
		began := time.Now()
		for _, n := range []time.Duration{10, 200} {
			d.begin(begin.Add(n*day), func(*hand) { at = append(at, time.Since(began)) })
		}
		if err := d.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, want := range []time.Duration{10 * time.Second, 200 * time.Second} {
			if late := at[i] - want; late < -tick || late > 2*tick {
				t.Errorf("day %d after %v", i, at[i])
			}
		}
		if took := time.Since(began); took < 364*time.Second || took > 366*time.Second {
			t.Errorf("the year took %v", took)
		}
	})
}

// A diary that is begun again where the calendar is does what is overdue at once; one that is broken off leaves nobody behind.
func TestDiaryGoesOn(t *testing.T) {
	inAYear(t, func(t *testing.T, begin time.Time, d *diary) {
		d.clock.JumpTo(begin.Add(100 * day))
		var l list
		next := make(chan struct{})
		d.begin(begin.Add(day), func(*hand) { l.add("overdue"); <-next }) // who is late holds nobody up by it
		d.begin(begin.Add(100*day+d.slack/2), func(h *hand) {
			l.add("next")
			close(next)
			<-h.ctx.Done()
			if h.until(begin.Add(102*day)) == nil {
				t.Error("it goes on after it was broken off")
			}
		})
		ctx, stop := context.WithCancel(t.Context())
		go func() {
			time.Sleep(time.Second)
			stop()
		}()
		if err := d.run(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		slices.Sort(l.done) // they act at once
		l.is(t, "next", "overdue")
	})
}

// Who waits for letters while a link is cut does so by the calendar, in the order of all others: else the cut's end would wait for them.
func TestACutIsWaitedForByTheCalendar(t *testing.T) {
	inAYear(t, func(t *testing.T, begin time.Time, d *diary) {
		var l list
		p := &Player{clock: d.clock, diary: d, cut: map[string]bool{"sindh": true}}
		d.begin(begin.Add(day), func(h *hand) {
			for p.isCut("punjab", "sindh") {
				if err := p.rest(h, firstPause, "punjab", "sindh"); err != nil {
					t.Error(err)
					return
				}
			}
			l.add("heard")
		})
		d.begin(begin.Add(day), func(h *hand) {
			if err := h.until(begin.Add(4 * day)); err != nil {
				t.Error(err)
			}
			p.setCut("sindh", false)
			l.add("mended")
		})
		if err := d.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.is(t, "mended", "heard")
	})
}

// The year is not over while somebody turns from one thing to the next, be it the only one who is left.
func TestDiaryWaitsForTheLast(t *testing.T) {
	inAYear(t, func(t *testing.T, begin time.Time, d *diary) {
		const steps = 20000
		done := 0
		d.begin(begin, func(h *hand) {
			for done < steps && h.until(begin.Add(time.Duration(done)*time.Minute)) == nil {
				done++
			}
		})
		if err := d.run(t.Context()); err != nil || done != steps {
			t.Errorf("%d of %d steps were done: %v", done, steps, err)
		}
	})
}
