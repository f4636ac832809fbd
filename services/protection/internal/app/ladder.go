package app

import (
	"context"
	"errors"

	"google.golang.org/protobuf/types/known/timestamppb"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/fieldmask"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/store"
)

// GetLadder reads who the node's focal point is.
func (a *App) GetLadder(ctx context.Context, name string) (ladder *protectionv1.Ladder, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		ladder, err = getLadder(r)
		if err == nil && ladder.GetName() != name {
			err = fault.NotFound("ladder")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return ladder, nil
}

// getLadder is the node's ladder; without a name while there is none.
func getLadder(r kitstore.Reader) (*protectionv1.Ladder, error) {
	row, err := store.Ladders.Row(r, store.LadderKey)
	if errors.Is(err, kitstore.ErrNotFound) {
		return &protectionv1.Ladder{}, nil
	}
	if err != nil {
		return nil, err
	}
	row.Value.Etag = etag(row.Version)
	return row.Value, nil
}

// UpdateLadder names the node's focal point. Notices that nobody could be told of are given to them.
func (a *App) UpdateLadder(ctx context.Context, request *protectionv1.UpdateLadderRequest) (ladder *protectionv1.Ladder, err error) {
	name := a.parent() + "/ladder"
	if request.GetLadder().GetName() != name {
		return nil, fault.InvalidField("ladder.name", "must be the ladder of this node, such as nodes/balochistan/ladder")
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		stored, err := getLadder(tx)
		if err != nil {
			return err
		}
		if request.GetEtag() != "" && request.GetEtag() != stored.GetEtag() {
			return fault.StaleEtag()
		}
		if err := fieldmask.Merge(stored, request.GetLadder(), request.GetUpdateMask()); err != nil {
			return err
		}
		people := a.people(tx)
		w := people.worker(stored.GetFocalPoint())
		if people.err != nil {
			return people.err
		}
		if w == nil || w.GetSuspended() {
			return fault.InvalidField("ladder.focal_point", "must be a worker of this node who is not suspended")
		}
		stored.Name, stored.Etag, stored.UpdateTime = name, "", timestamppb.New(a.Now())
		if err := store.Ladders.Put(tx, store.LadderKey, stored); err != nil {
			return err
		}
		tx.AfterCommit(a.Wake)
		ladder, err = getLadder(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ladder, nil
}
