package app

import (
	"strings"
	"time"

	"amanat.example/services/kit/late"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// Late tells the federal cell how many deadlines of this service are missed.
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
			if err := fn(strings.TrimPrefix(row.Value.GetDeadline().GetKind().String(), "KIND_"), row.Value.GetFirstDueTime().AsTime()); err != nil {
				return err
			}
		}
		if after = next; next == nil {
			return nil
		}
	}
}
