package process

import (
	"context"
	"fmt"
	"time"

	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/store"
)

const (
	// tendEvery is how often a process looks after its files.
	tendEvery = time.Hour
	// turnOverAfter is the age at which the wrapping key is replaced, a day before the week that
	// DESIGN section 6 allows: from then on no backup of the key file undoes an erasure.
	turnOverAfter = 6 * 24 * time.Hour
	// scrubEvery is how often every row is read and compared with what the store counts.
	scrubEvery = 24 * time.Hour
	// scrubRows are read in one step, which holds the committer up for about a millisecond, and
	// scrubPause lies between the steps.
	scrubRows  = 200
	scrubPause = 10 * time.Millisecond
)

// tend looks after the process's files until ctx ends. Damage found by the scrub stops the service.
func (p *Process) tend(ctx context.Context) error {
	tick := time.NewTicker(tendEvery)
	defer tick.Stop()
	var scrubbed time.Time // an hour after the start comes the first: some machines are switched off every night
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			p.turnOver(ctx, now)
			if now.Sub(scrubbed) < scrubEvery {
				continue
			}
			if err := p.scrub(ctx); err != nil && ctx.Err() == nil {
				return err
			}
			scrubbed = now
		}
	}
}

// turnOver replaces a wrapping key that is old. A failure is told and tried again an hour later.
func (p *Process) turnOver(ctx context.Context, now time.Time) {
	// A key made in the future was made while the clock was wrong; waiting for that day would break the week.
	if age := now.Sub(p.Keys.LastTurnOver()); age >= 0 && age < turnOverAfter {
		return
	}
	if err := p.Keys.TurnOver(ctx); err != nil && ctx.Err() == nil {
		p.Log.Error("the wrapping key could not be turned over", logging.Err(err))
		return
	}
	p.Log.Info("the wrapping key was turned over")
}

// scrub reads every row of the store and of the key file, without which what the store has sealed is lost.
func (p *Process) scrub(ctx context.Context) error {
	for _, db := range []*store.DB{p.Keys.Store(), p.DB} {
		if err := scrubStore(ctx, db); err != nil {
			return err
		}
	}
	return nil
}

func scrubStore(ctx context.Context, db *store.DB) error {
	for {
		done, err := db.Scrub(ctx, scrubRows)
		if err != nil {
			return fmt.Errorf("the scrub found the store damaged: %w", err)
		}
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(scrubPause):
		}
	}
}
