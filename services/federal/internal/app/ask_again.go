package app

import (
	"context"
	"errors"
	"time"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/post"
	kitstore "amanat.example/services/kit/store"
)

// perAsking is how many days of a service are asked for in one transaction.
const perAsking = 100

// AskAgain asks once more for days that still differ, and answers when to look again. A letter of what was asked for may have been refused, or lost
// in a restore, and nobody tells a day of its own accord that changes no more.
func (a *App) AskAgain(ctx context.Context) (next time.Time, err error) {
	now := a.Clock()
	next = now.Add(askAgain)
	for _, teller := range a.Tellers() {
		at, err := a.askTeller(ctx, teller, now)
		if errors.Is(err, post.ErrAbsent) { // since its name was read; when it is there again it is asked
			continue
		}
		if err != nil {
			return time.Time{}, err
		}
		if !at.IsZero() && at.Before(next) {
			next = at
		}
	}
	return next, nil
}

// askTeller asks one service for its days that are due, and answers when the next one is; zero for none.
func (a *App) askTeller(ctx context.Context, teller *postv1.Address, now time.Time) (next time.Time, err error) {
	var due []*federalv1.DayRecord
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		rows, _, err := store.DifferingDays.Page(r, kitstore.Range{Prefix: kitstore.K(teller.GetNode(), teller.GetService())}, perAsking)
		for _, row := range rows {
			switch at := askTime(row.Value, now); {
			case !at.After(now):
				due = append(due, row.Value)
			case next.IsZero() || at.Before(next):
				next = at
			}
		}
		return err
	})
	if err != nil || len(due) == 0 {
		return next, err
	}
	return next, a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		wanted := &federalv1.FlowsWanted{}
		for _, seen := range due {
			d, err := dayOf(tx, teller.GetNode(), teller.GetService(), seen.GetKept().GetDay())
			if err != nil {
				return err
			}
			if d.GetDifferTime() == nil || askTime(d, now).After(now) { // a letter came in between
				continue
			}
			if err := a.ask(tx, teller, d, wanted, now); err != nil {
				return err
			}
			if err := a.putDay(tx, d); err != nil {
				return err
			}
		}
		if len(wanted.GetDays()) == 0 {
			return nil
		}
		return a.write(tx, teller, flow.WantedKind, wanted)
	})
}
