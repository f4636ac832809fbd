package app

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/store"
	kitstore "amanat.example/services/kit/store"
)

// BeginLife notes which life the store is in, before anything is published. In a new one, months that are over stand still (ResumePublications). It
// answers whether any do.
func (a *App) BeginLife(ctx context.Context) (withheld bool, err error) {
	incarnation := a.DB.Incarnation()
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		publishing, err := store.ReadPublishing(tx)
		if err != nil {
			return err
		}
		// Also a store that is older than this row says so whether it was ever restored.
		first := a.DB.FirstLife()
		if publishing.GetIncarnation() != incarnation {
			publishing.Incarnation = incarnation
			if !first {
				publishing.BeginTime, publishing.Withheld = timestamppb.New(a.Now()), true
			}
			err = store.Publishing.Put(tx, store.PublishingKey, publishing)
		}
		withheld = publishing.GetWithheld()
		return err
	})
	return withheld, err
}

// editable are the months that may have an edition now, in order.
func editable(r kitstore.Reader) (months []string, err error) {
	publishing, err := store.ReadPublishing(r)
	if err != nil {
		return nil, err
	}
	all, err := figuredMonths(r)
	if err != nil {
		return nil, err
	}
	for _, month := range all {
		at, err := settled(month)
		if err != nil {
			continue // no month; nothing of ours counts in it
		}
		if still, err := standsStill(publishing, month, at); err != nil {
			return nil, err
		} else if !still {
			months = append(months, month)
		}
	}
	return months, nil
}

// standsStill says whether a month that settles at a time may have no edition now: it may have been published in a life that is lost, or has been.
func standsStill(publishing *federalv1.PublishingRecord, month string, at time.Time) (bool, error) {
	if publishing.GetWithheld() && !at.After(publishing.GetBeginTime().AsTime()) {
		return true, nil
	}
	for _, name := range publishing.GetLost() {
		lost, _, err := editionOf(name)
		if err != nil || lost == month {
			return true, err
		}
	}
	return false, nil
}
