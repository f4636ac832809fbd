package app

import (
	"time"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/late"
	"amanat.example/services/protection/internal/store"
)

// Late tells the federal cell how many deadlines of cases are missed.
func (a *App) Late() *late.Reporter {
	return &late.Reporter{DB: a.DB, Table: store.Late, Federal: a.Federal, Now: a.Now, Post: a.Post, Each: late.Rows(store.LateDeadlines, stepDue)}
}

func stepDue(d *protectionv1.CaseDeadline) (step string, due time.Time) {
	return d.GetStep(), d.GetDueTime().AsTime()
}
