package process

import (
	"context"
	"fmt"
	"time"
)

// lookAgain is how long Run waits at most while something is to come. A timer counts the time that passes here: it hears nothing of a
// clock that was set, nor of a machine that slept.
const lookAgain = time.Minute

// Due does what falls due, such as the expiry of holds or a missed deadline: when a commit has
// changed what comes next, else when its time has come.
type Due struct {
	what string
	now  func() time.Time
	work func(context.Context) (next time.Time, err error)
	wake chan struct{} // capacity 1
}

// NewDue makes one by the machine's clock. what says what cannot be done when work fails, such as "expire holds". work
// does all that is due now and answers when the next is; zero when nothing is.
func NewDue(what string, work func(context.Context) (time.Time, error)) *Due {
	return &Due{what: what, now: time.Now, work: work, wake: make(chan struct{}, 1)}
}

// NewDue makes one by the clock of the use cases: a jump of that clock wakes it.
func (p *Process) NewDue(what string, work func(context.Context) (time.Time, error)) *Due {
	d := NewDue(what, work)
	d.now = p.Now
	p.dues = append(p.dues, d)
	return d
}

// Now is the time of the use cases.
func (p *Process) Now() time.Time {
	if p.Config.Clock != nil {
		return p.Config.Clock.Now()
	}
	return time.Now()
}

// watchClock wakes all that is due by the clock of the use cases when it has jumped.
func (p *Process) watchClock(ctx context.Context) {
	p.Config.Clock.Watch(ctx, func() {
		for _, d := range p.dues {
			d.Wake()
		}
	})
}

// Wake has Run look again. It does not block, so that it may follow a commit.
func (d *Due) Wake() {
	select {
	case d.wake <- struct{}{}:
	default: // There is one waiting already.
	}
}

// Run looks at once, then whenever something is due, and every minute while something is to come, until ctx ends or work fails.
func (d *Due) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
		case <-timer.C:
		}
		next, err := d.work(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w", d.what, err)
		case !next.IsZero():
			timer.Reset(min(next.Sub(d.now()), lookAgain))
		}
	}
}
