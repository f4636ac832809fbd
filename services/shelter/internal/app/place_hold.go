package app

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

// PlaceHold holds beds of one group, all or none. The same key with the same body answers with
// the hold it placed, for ever, in whatever state that is by now.
func (a *App) PlaceHold(ctx context.Context, request *shelterv1.PlaceHoldRequest) (placed *shelterv1.Hold, err error) {
	if err := a.checkNode("group", request.GetGroup()); err != nil {
		return nil, err
	}
	if err := codes.CheckNeeds("needs", request.GetNeeds()); err != nil {
		return nil, err
	}
	name, err := a.newName("holds")
	if err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		now := a.Now()
		placed, err = a.placed(tx, request)
		if placed != nil || err != nil {
			return err
		}
		placed, err = a.place(tx, request, name, now)
		return err
	})
	if err != nil {
		return nil, err
	}
	return placed, nil
}

// placed is the hold that this key placed before; nil when it is new.
func (a *App) placed(tx *kitstore.Tx, request *shelterv1.PlaceHoldRequest) (*shelterv1.Hold, error) {
	row, err := store.HoldsByRequest.First(tx, kitstore.Range{Prefix: kitstore.K(request.GetRequestId())})
	if errors.Is(err, kitstore.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !proto.Equal(row.Value.GetRequest(), request) {
		return nil, fault.New(fault.IdempotencyMismatch, "This request_id placed another hold. Use a new one for a new hold.", "hold", row.Value.GetHold().GetName())
	}
	return hold(row), nil
}

func (a *App) place(tx *kitstore.Tx, request *shelterv1.PlaceHoldRequest, name string, now time.Time) (*shelterv1.Hold, error) {
	if err := a.expireDue(tx, now); err != nil {
		return nil, err
	}
	shelter, group, err := a.open(tx, request.GetGroup())
	if err != nil {
		return nil, err
	}
	if err := rules.Fits(shelter, group, request.GetNeeds()); err != nil {
		return nil, err
	}
	until, err := rules.HoldUntil(request.GetExpireTime(), now)
	if err != nil {
		return nil, err
	}
	taken, err := count(tx, group.GetName())
	if err != nil {
		return nil, err
	}
	if rules.Available(group, taken) < request.GetQuantity() {
		return nil, fault.New(fault.NoCapacity, "Not enough beds are free in this group. Choose another group, or ask again later.", "group", group.GetName())
	}
	fence, err := a.nextFence(tx)
	if err != nil {
		return nil, err
	}
	return a.put(tx, &shelterv1.HoldRecord{
		Request: request,
		Hold: &shelterv1.Hold{
			Name: name, Group: group.GetName(), Quantity: request.GetQuantity(), Offer: request.GetOffer(),
			State: shelterv1.Hold_STATE_HELD, ExpireTime: timestamppb.New(until), Fence: fence,
			RequestId: request.GetRequestId(), CreateTime: timestamppb.New(now), UpdateTime: timestamppb.New(now),
		},
	}, now)
}

// open finds a group of a shelter that takes people in.
func (a *App) open(tx *kitstore.Tx, name string) (*shelterv1.Shelter, *shelterv1.Group, error) {
	group, err := store.Groups.Get(tx, store.GroupKey(name))
	if errors.Is(err, kitstore.ErrNotFound) {
		return nil, nil, fault.NotFound("group")
	}
	if err != nil {
		return nil, nil, err
	}
	shelter, err := store.Shelters.GetPublic(tx, kitstore.K(store.ShelterOf(name)))
	if err != nil {
		return nil, nil, err
	}
	if shelter.GetState() != shelterv1.Shelter_STATE_ACTIVE {
		return nil, nil, fault.New(fault.WrongState, "The shelter takes nobody in at present. Choose another shelter.", "state", "SUSPENDED")
	}
	return shelter, group, nil
}

// nextFence grows with every hold of this store; the incarnation tells a restored store's
// numbers from those it gave before.
func (a *App) nextFence(tx *kitstore.Tx) (*custodyv1.Fence, error) {
	last, err := store.Fences.Get(tx, store.FenceKey)
	if err != nil && !errors.Is(err, kitstore.ErrNotFound) {
		return nil, err
	}
	number := last.GetValue() + 1
	if err := store.Fences.Put(tx, store.FenceKey, wrapperspb.UInt64(number)); err != nil {
		return nil, err
	}
	return &custodyv1.Fence{Incarnation: a.DB.Incarnation(), Number: number}, nil
}
