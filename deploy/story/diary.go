package story

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"

	"amanat.example/deploy/calendar"
)

// errOver ends what people do after the last day of the diary.
var errOver = errors.New("the year is over")

// diary has people act in the order of the calendar: the next action begins when its time has come, which it has when all that comes before
// is done. Many act at once: who is still busy holds the calendar up no earlier than slack after the time at which they began.
type diary struct {
	clock *calendar.Calendar
	// end of the year; what is later is not done.
	end time.Time
	// slots are how many act at once.
	slots int
	slack time.Duration
	// pace of the calendar to the machine's clock, at most; 0: as fast as it goes.
	pace float64
	// patience is how long one action may take, by the machine's clock.
	patience time.Duration

	mu      sync.Mutex
	waiting waiting
	acting  map[*hand]bool
	order   int
	over    bool
	changed chan struct{} // capacity 1
	ctx     context.Context
	all     sync.WaitGroup
}

// hand is one line of the diary: somebody and what they do, one after the other.
type hand struct {
	diary *diary
	at    time.Time
	// ctx is that of the action which goes on.
	ctx    context.Context
	cancel context.CancelFunc
}

// entry is an action that waits for its time.
type entry struct {
	at    time.Time
	order int
	// begin is called when its time has come, with mu held; it must not block. over: the year ended before.
	begin func(over bool)
}

type waiting []*entry

func (w waiting) Len() int { return len(w) }
func (w waiting) Less(a, b int) bool {
	return w[a].at.Before(w[b].at) || w[a].at.Equal(w[b].at) && w[a].order < w[b].order
}
func (w waiting) Swap(a, b int) { w[a], w[b] = w[b], w[a] }
func (w *waiting) Push(e any)   { *w = append(*w, e.(*entry)) }
func (w *waiting) Pop() any {
	last := len(*w) - 1
	e := (*w)[last]
	*w = (*w)[:last]
	return e
}

func newDiary(clock *calendar.Calendar, end time.Time) *diary {
	return &diary{
		clock: clock, end: end, slots: 1, slack: time.Hour, patience: time.Minute, acting: map[*hand]bool{}, changed: make(chan struct{}, 1),
	}
}

// begin enters somebody whose first action is at a time.
func (d *diary) begin(at time.Time, do func(*hand)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.enter(at, func(over bool) {
		if over {
			return
		}
		h := &hand{diary: d}
		d.start(h, at)
		d.all.Go(func() {
			do(h)
			d.mu.Lock()
			defer d.mu.Unlock()
			d.stop(h)
		})
	})
}

func (d *diary) enter(at time.Time, begin func(over bool)) {
	d.order++
	heap.Push(&d.waiting, &entry{at, d.order, begin})
	d.wake()
}

func (d *diary) wake() {
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// start is called with mu held. Who is late holds nobody up by it.
func (d *diary) start(h *hand, at time.Time) {
	if h.at = at; at.Before(d.clock.Now()) {
		h.at = d.clock.Now()
	}
	h.ctx, h.cancel = context.WithTimeout(d.ctx, d.patience)
	d.acting[h] = true
}

// stop is called with mu held.
func (d *diary) stop(h *hand) {
	h.cancel()
	delete(d.acting, h)
	d.wake()
}

// until waits until the calendar shows a time.
func (h *hand) until(at time.Time) error {
	d := h.diary
	told := make(chan bool, 1)
	d.mu.Lock()
	d.stop(h) // and enters at once: who does neither is not waited for
	if d.over {
		d.mu.Unlock()
		return errOver
	}
	d.enter(at, func(over bool) {
		if !over {
			d.start(h, at)
		}
		told <- over
	})
	d.mu.Unlock()
	if <-told {
		return errOver
	}
	return nil
}

// now is the time on the calendar.
func (h *hand) now() time.Time { return h.diary.clock.Now() }

// tick is how often the calendar moves on where it has a pace.
const tick = 50 * time.Millisecond

// run has all that was entered done, until nothing is left or the year is over; ctx ends it early, which is its error.
func (d *diary) run(ctx context.Context) error {
	d.ctx = ctx
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	reached, looked := d.reach(d.clock.Now(), 0), time.Now()
	for d.advance(reached) {
		select {
		case <-ctx.Done():
		case <-d.changed:
		case <-ticker.C:
		}
		if ctx.Err() != nil {
			break
		}
		reached, looked = d.reach(reached, time.Since(looked)), time.Now()
	}
	d.finish()
	return ctx.Err()
}

// reach is the day up to which the pace lets the calendar go after a while. What could not be done meanwhile is not made up for.
func (d *diary) reach(before time.Time, while time.Duration) time.Time {
	if d.pace == 0 {
		return d.end
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	next := before.Add(time.Duration(d.pace * float64(while)))
	if busy, ok := d.oldest(); ok && next.After(busy.Add(d.slack)) {
		next = busy.Add(d.slack)
	}
	if now := d.clock.Now(); next.Before(now) {
		next = now
	}
	if next.After(d.end) {
		next = d.end
	}
	return next
}

// oldest is the earliest time at which somebody began who still acts.
func (d *diary) oldest() (at time.Time, ok bool) {
	for h := range d.acting {
		if !ok || h.at.Before(at) {
			at, ok = h.at, true
		}
	}
	return at, ok
}

// advance begins what may begin, and moves the calendar; false when nothing is left to do.
func (d *diary) advance(reached time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for len(d.waiting) > 0 && len(d.acting) < d.slots {
		next := d.waiting[0].at
		if busy, ok := d.oldest(); next.After(d.end) || next.After(reached) || ok && next.After(busy.Add(d.slack)) {
			break
		}
		d.clock.JumpTo(next)
		heap.Pop(&d.waiting).(*entry).begin(false)
	}
	if d.pace > 0 && (len(d.waiting) == 0 || d.waiting[0].at.After(reached)) {
		d.clock.JumpTo(reached)
	}
	if len(d.acting) > 0 {
		return true
	}
	if d.pace > 0 && reached.Before(d.end) && d.clock.Behind() > 0 {
		return true
	}
	return len(d.waiting) > 0 && !d.waiting[0].at.After(d.end)
}

// finish ends what is left undone, and waits for all.
func (d *diary) finish() {
	d.mu.Lock()
	d.over = true
	for _, e := range d.waiting {
		e.begin(true)
	}
	d.waiting = nil
	d.mu.Unlock()
	d.all.Wait()
}
