package post

import (
	"context"
	"sync"
	"time"

	postv1 "amanat.example/proto/amanat/post/v1"
)

// Run sends and receives until ctx ends or the store fails, and returns why. Run and Step are never
// used together.
func (p *Post) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	start := func(loop func(context.Context) error) {
		all.Go(func() {
			if err := loop(ctx); err != nil {
				cancel(err)
			}
		})
	}
	start(func(ctx context.Context) error { return p.relayLoop(ctx, false, p.wakeRelay) })
	start(func(ctx context.Context) error { return p.relayLoop(ctx, true, p.wakeSelf) })
	start(p.receiptLoop)
	start(p.tendLoop)
	for _, lane := range lanes {
		opened := make(chan mailIn, 2) // the next parcel is opened while the last one commits
		start(func(ctx context.Context) error { return p.readLoop(ctx, lane, opened) })
		start(func(ctx context.Context) error { return p.takeLoop(ctx, opened) })
	}
	<-ctx.Done()
	all.Wait()
	return context.Cause(ctx)
}

func (p *Post) relayLoop(ctx context.Context, self bool, woken <-chan struct{}) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		did, next, err := p.relayOnce(ctx, self, p.clock())
		if err != nil {
			return err
		}
		if did {
			continue
		}
		timer.Stop()
		if !next.IsZero() {
			timer.Reset(next.Sub(p.clock()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-woken:
		case <-timer.C:
		}
	}
}

func (p *Post) receiptLoop(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.wakeReceipts:
		}
		if _, err := p.sendReceipts(ctx, p.clock()); err != nil {
			return err
		}
	}
}

// tendLoop notices reconnections, compares marks and keeps house.
func (p *Post) tendLoop(ctx context.Context) error {
	for {
		next, err := p.tend(ctx, p.clock())
		if err != nil {
			return err
		}
		timer := time.NewTimer(next.Sub(p.clock()))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-p.wakeTend:
		case <-p.transport.Reconnected():
			err = p.reconnect(ctx, p.clock())
		}
		timer.Stop()
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
}

func (p *Post) readLoop(ctx context.Context, lane postv1.Lane, opened chan<- mailIn) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-p.transport.Mail(lane):
			select {
			case <-ctx.Done():
				return nil
			case opened <- p.read(m):
			}
		}
	}
}

func (p *Post) takeLoop(ctx context.Context, opened <-chan mailIn) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case in := <-opened:
			if err := p.take(ctx, in, p.clock()); err != nil {
				return err
			}
		}
	}
}

// Step does what there is to do at now, in the caller's goroutine: at most one message of each
// lane, the receipts that are owed, one parcel. It says whether it did anything; when it did not,
// nothing happens until mail comes, a letter is queued or it is next.
func (p *Post) Step(ctx context.Context, now time.Time) (didWork bool, next time.Time, err error) {
	select {
	case <-p.transport.Reconnected():
		didWork = true
		if err := p.reconnect(ctx, now); err != nil {
			return true, next, err
		}
	default:
	}
	for _, lane := range lanes {
		select {
		case m := <-p.transport.Mail(lane):
			didWork = true
			if err := p.take(ctx, p.read(m), now); err != nil {
				return true, next, err
			}
		default:
		}
	}
	if _, err = p.tend(ctx, now); err != nil {
		return didWork, next, err
	}
	next = p.nextComparison() // house is kept whenever there is a step: nothing waits for it
	did, err := p.sendReceipts(ctx, now)
	didWork = didWork || did
	for _, self := range []bool{false, true} {
		if err == nil {
			var wake time.Time
			did, wake, err = p.relayOnce(ctx, self, now)
			didWork = didWork || did
			if !wake.IsZero() && wake.Before(next) {
				next = wake
			}
		}
	}
	return didWork, next, err
}
