package app

import (
	"strings"
	"time"

	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/late"
	"amanat.example/services/referral/internal/store"
)

// Late tells the federal cell how many deadlines of this service are missed.
func (a *App) Late() *late.Reporter {
	return &late.Reporter{DB: a.DB, Table: store.Late, Federal: a.Federal, Now: a.Now, Post: a.Post, Each: late.Rows(store.LateDeadlines, stepDue)}
}

func stepDue(d *referralv1.DeadlineRecord) (step string, due time.Time) {
	return strings.TrimPrefix(d.GetDeadline().GetKind().String(), "KIND_"), d.GetFirstDueTime().AsTime()
}
