package app

import (
	"context"
	"errors"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/mutant"
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
	if err := checkParts(request); err != nil {
		return nil, err
	}
	name, err := a.newName("holds")
	if err != nil {
		return nil, err
	}
	if mutant.Off("idem") {
		request = proto.CloneOf(request)
		request.RequestId = name
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

// checkParts holds what the proto's own rules cannot: codes, and that all is held in one shelter.
func checkParts(request *shelterv1.PlaceHoldRequest) error {
	if err := codes.CheckNeeds("needs", request.GetNeeds()); err != nil {
		return err
	}
	for i, part := range request.GetAlso() {
		field := "also[" + strconv.Itoa(i) + "]"
		if store.ShelterOf(part.GetGroup()) != store.ShelterOf(request.GetGroup()) {
			return fault.InvalidField(field+".group", "must be a group of the same shelter; people who belong together are not torn apart")
		}
		if err := codes.CheckNeeds(field+".needs", part.GetNeeds()); err != nil {
			return err
		}
	}
	return nil
}

// partsOf is all that a request asks to hold.
func partsOf(request *shelterv1.PlaceHoldRequest) []*shelterv1.Part {
	first := &shelterv1.Part{Group: request.GetGroup(), Quantity: request.GetQuantity(), Needs: request.GetNeeds(), Offer: request.GetOffer()}
	return append([]*shelterv1.Part{first}, request.GetAlso()...)
}

func (a *App) place(tx *kitstore.Tx, request *shelterv1.PlaceHoldRequest, name string, now time.Time) (*shelterv1.Hold, error) {
	if err := a.expireDue(tx, now); err != nil {
		return nil, err
	}
	parts := partsOf(request)
	if err := a.room(tx, parts, now); err != nil {
		return nil, err
	}
	until, err := rules.HoldUntil(request.GetExpireTime(), now)
	if err != nil {
		return nil, err
	}
	fence, err := a.nextFence(tx)
	if err != nil {
		return nil, err
	}
	h := &shelterv1.Hold{
		Name: name, Group: request.GetGroup(), Quantity: request.GetQuantity(), Offer: request.GetOffer(),
		State: shelterv1.Hold_STATE_HELD, ExpireTime: timestamppb.New(until), Fence: fence,
		RequestId: request.GetRequestId(), CreateTime: timestamppb.New(now), UpdateTime: timestamppb.New(now),
	}
	if len(parts) > 1 {
		h.Parts = parts
	}
	return a.put(tx, &shelterv1.HoldRecord{Request: request, Hold: h}, now)
}

// room refuses parts that a shelter does not take, or has no room for: all of them, or none.
func (a *App) room(tx *kitstore.Tx, parts []*shelterv1.Part, now time.Time) error {
	asked, family := map[string]int32{}, int32(0)
	for _, part := range parts {
		s, row, err := a.group(tx, part.GetGroup())
		if err != nil {
			return err
		}
		if err := rules.LetsIn(s, now); err != nil {
			return err
		}
		if err := rules.Fits(s, row.Value, part.GetNeeds()); err != nil {
			return err
		}
		taken, err := count(tx, part.GetGroup())
		if err != nil {
			return err
		}
		asked[part.GetGroup()] += part.GetQuantity()
		if err := rules.Room(row.Value, taken, asked[part.GetGroup()]); err != nil {
			return err
		}
		family += part.GetQuantity()
		if err := rules.FamilyFits(s, family); err != nil {
			return err
		}
	}
	return nil
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
