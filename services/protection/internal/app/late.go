package app

import (
	"time"

	"amanat.example/services/kit/late"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

// Late tells the federal cell how many deadlines of cases are missed.
func (a *App) Late() *late.Reporter {
	return &late.Reporter{DB: a.DB, Table: store.Late, Federal: a.Federal, Now: a.Now, Post: a.Post, Each: eachLate}
}

func eachLate(r kitstore.Reader, fn func(step string, due time.Time) error) error {
	for after := kitstore.Key(nil); ; {
		rows, next, err := store.LateDeadlines.Page(r, kitstore.Range{After: after}, 500)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := fn(row.Value.GetStep(), row.Value.GetDueTime().AsTime()); err != nil {
				return err
			}
		}
		if after = next; next == nil {
			return nil
		}
	}
}
