package app

import (
	"context"
	"errors"

	"google.golang.org/protobuf/proto"
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
		publishing, err := readPublishing(tx)
		if err != nil {
			return err
		}
		// Also a store that is older than this row says so whether it was ever restored.
		first := incarnation == uint64(a.DB.Created().UnixNano())
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

// readPublishing is the row of Publishing, or an empty one.
func readPublishing(r kitstore.Reader) (*federalv1.PublishingRecord, error) {
	publishing, err := store.Publishing.Get(r, store.PublishingKey)
	if errors.Is(err, kitstore.ErrNotFound) {
		return &federalv1.PublishingRecord{}, nil
	}
	return proto.CloneOf(publishing), err
}

// standsStill says whether a month may have no edition now: it may have been published in a life that is lost, or has been.
func standsStill(publishing *federalv1.PublishingRecord, month string) (bool, error) {
	at, err := settled(month)
	if err != nil {
		return true, nil // no month; nothing of ours counts in it
	}
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
