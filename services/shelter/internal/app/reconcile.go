package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/privacy"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/rules"
	"amanat.example/services/shelter/internal/store"
)

// BeginReconciliation says how far the holds go now.
func (a *App) BeginReconciliation(ctx context.Context, request *shelterv1.BeginReconciliationRequest) (*shelterv1.BeginReconciliationResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	response := &shelterv1.BeginReconciliationResponse{Restored: a.Gate.Closed() != nil, Fence: &custodyv1.Fence{Incarnation: a.DB.Incarnation()}}
	err := a.DB.View(ctx, func(r kitstore.Reader) error {
		last, err := store.Fences.Get(r, store.FenceKey)
		response.Fence.Number = last.GetValue()
		if errors.Is(err, kitstore.ErrNotFound) {
			return nil
		}
		return err
	})
	return response, err
}

// ReconcileOffers compares a page of the list of live offers with the holds that serve offers, and mends what differs. Local holds
// and people who walked in are no part of it. Repeating a page is a no-op. Of a list that comes again nothing is lost yet, and no promise is entered anew:
// its beds may be kept for nobody by a hold on a later page.
func (a *App) ReconcileOffers(ctx context.Context, request *shelterv1.ReconcileOffersRequest) (*shelterv1.ReconcileOffersResponse, error) {
	if err := a.checkNode("parent", request.GetParent()); err != nil {
		return nil, err
	}
	listed, err := a.listedOffers(request)
	if err != nil {
		return nil, err
	}
	c := &comparison{App: a, request: request, listed: listed, restored: a.Gate.Closed() != nil}
	whole := !request.GetAgain() && a.Gate.covers(request.GetFence(), request.GetAfter(), request.GetUntil())
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		c.tx, c.now, c.lost = tx, a.Now(), nil
		if err := c.compare(); err != nil {
			return err
		}
		if !whole || !c.restored {
			return nil
		}
		tx.AfterCommit(a.Gate.open)
		if err := store.Fences.Put(tx, store.ReconciledKey, wrapperspb.UInt64(a.DB.Incarnation())); err != nil {
			return err
		}
		return c.endSuspended()
	})
	if err != nil {
		return nil, err
	}
	if request.GetAgain() {
		c.lost = nil
	}
	return &shelterv1.ReconcileOffersResponse{Lost: c.lost}, nil
}

// listedOffers are the page's offers by name. A list that was begun in another life of the store says nothing about this one.
func (a *App) listedOffers(request *shelterv1.ReconcileOffersRequest) (map[string]*shelterv1.LiveOffer, error) {
	if request.GetFence().GetIncarnation() != a.DB.Incarnation() {
		return nil, fault.New(fault.StaleFence, "The list was begun before the shelter's store was restored. Begin again.")
	}
	if request.GetUntil() != "" && request.GetUntil() <= request.GetAfter() {
		return nil, fault.InvalidField("until", "must come behind after, or be empty for the last page")
	}
	listed := map[string]*shelterv1.LiveOffer{}
	for i, o := range request.GetOffers() {
		if o.GetOffer() <= request.GetAfter() || request.GetUntil() != "" && o.GetOffer() > request.GetUntil() {
			return nil, fault.InvalidField("offers", "must lie behind after and not behind until")
		}
		if listed[o.GetOffer()] != nil {
			return nil, fault.InvalidField("offers", "must name each offer once")
		}
		listed[o.GetOffer()] = o
		for j, part := range o.GetParts() {
			field := fmt.Sprintf("offers[%d].parts[%d]", i, j)
			if err := a.checkNode(field+".group", part.GetGroup()); err != nil {
				return nil, fault.InvalidField(field+".group", "must be a bed group of this node")
			}
			if err := codes.CheckNeeds(field+".needs", part.GetNeeds()); err != nil {
				return nil, err
			}
		}
		for j, needs := range o.GetUnplaced() {
			if err := codes.CheckNeeds(fmt.Sprintf("offers[%d].unplaced[%d]", i, j), needs); err != nil {
				return nil, err
			}
		}
	}
	return listed, nil
}

// comparison is one page being compared.
type comparison struct {
	*App
	request  *shelterv1.ReconcileOffersRequest
	listed   map[string]*shelterv1.LiveOffer
	restored bool
	tx       *kitstore.Tx
	now      time.Time
	lost     []string
}

func (c *comparison) compare() error {
	last, err := store.Fences.Get(c.tx, store.FenceKey)
	if err != nil && !errors.Is(err, kitstore.ErrNotFound) {
		return err
	}
	if c.request.GetFence().GetNumber() > last.GetValue() {
		return fault.InvalidField("fence.number", "must be what BeginReconciliation said: no hold has that number yet")
	}
	if c.restored { // the clock has stood still for it
		if err := c.expireLocal(c.tx, c.now); err != nil {
			return err
		}
	}
	live, err := c.liveHolds()
	if err != nil {
		return err
	}
	// What serves nothing first: its beds may be wanted for what was promised. An offer has one hold.
	chosen := map[string]*shelterv1.HoldRecord{}
	for _, record := range live {
		h := record.GetHold()
		o := c.listed[h.GetOffer()]
		if o != nil && (o.GetHold() == h.GetName() || o.GetHold() == "" && chosen[h.GetOffer()] == nil) {
			chosen[h.GetOffer()] = record
			continue
		}
		if c.later(h) {
			continue
		}
		if err := c.mend(nil, record, rules.Reconcile(h, shelterv1.LiveOffer_STAGE_UNSPECIFIED, c.restored, false)); err != nil {
			return err
		}
	}
	// Then people who are there, then promises.
	for _, stage := range []shelterv1.LiveOffer_Stage{shelterv1.LiveOffer_STAGE_TENTATIVE, shelterv1.LiveOffer_STAGE_ARRIVED, shelterv1.LiveOffer_STAGE_PROMISED} {
		for _, o := range c.request.GetOffers() {
			if o.GetStage() != stage {
				continue
			}
			record := chosen[o.GetOffer()]
			if record == nil && o.GetHold() != "" {
				row, err := getHold(c.tx, o.GetHold())
				if err != nil && fault.ReasonOf(err) != fault.Missing {
					return err
				}
				record = row.Value
			}
			unknown := record == nil && o.GetHold() != ""
			if err := c.mend(o, record, rules.Reconcile(record.GetHold(), stage, c.restored, unknown)); err != nil {
				return err
			}
		}
	}
	return nil
}

// endSuspended ends what is promised in shelters that were suspended while the comparison was waited for.
func (c *comparison) endSuspended() error {
	var suspended []string
	err := store.Shelters.ScanPublic(c.tx, kitstore.Range{}, func(row privacy.Row[*shelterv1.Shelter]) error {
		since, err := store.SuspendedSince(c.tx, c.DB.Incarnation(), row.Value)
		if since {
			suspended = append(suspended, row.Value.GetName())
		}
		return err
	})
	for _, name := range suspended {
		err = errors.Join(err, c.endHolds(c.tx, name, c.now))
	}
	return err
}

// later says that a hold was placed after the list was begun.
func (c *comparison) later(h *shelterv1.Hold) bool {
	return h.GetFence().GetIncarnation() == c.request.GetFence().GetIncarnation() && h.GetFence().GetNumber() > c.request.GetFence().GetNumber()
}

// liveHolds are the holds that serve the offers the page covers.
func (c *comparison) liveHolds() (live []*shelterv1.HoldRecord, err error) {
	covered := kitstore.Range{}
	if after := c.request.GetAfter(); after != "" {
		covered.After = kitstore.K(after)
	}
	if until := c.request.GetUntil(); until != "" {
		covered.Before = kitstore.K(until + "\x01") // behind every entry of that name
	}
	for {
		rows, next, err := store.HoldsByOffer.Page(c.tx, covered, 500)
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			if row.Value.GetHold().GetOffer() > c.request.GetAfter() {
				live = append(live, row.Value)
			}
		}
		if covered.After = next; next == nil {
			return live, nil
		}
	}
}

func (c *comparison) mend(o *shelterv1.LiveOffer, record *shelterv1.HoldRecord, how rules.Mend) error {
	switch how {
	case rules.GiveBack:
		if err := rules.Release(record.GetHold(), rules.ByHolder, c.now); err != nil {
			return err
		}
		_, err := c.put(c.tx, record, c.now)
		return err
	case rules.Promise:
		return c.promise(record)
	case rules.Fill:
		return c.fill(record)
	case rules.RenewPromise, rules.RenewStay:
		if how == rules.RenewPromise && c.request.GetAgain() {
			return nil
		}
		renewed, err := c.renew(o, record)
		if renewed == nil || err != nil {
			return err
		}
		if how == rules.RenewStay {
			return c.fill(renewed)
		}
		return c.promise(renewed)
	case rules.Lost:
		c.lost = append(c.lost, o.GetOffer())
	}
	return nil
}

func (c *comparison) promise(record *shelterv1.HoldRecord) error {
	if _, err := rules.Confirm(record.GetHold(), nil, c.now); err != nil {
		return err
	}
	_, err := c.put(c.tx, record, c.now)
	return err
}

// fill makes a stay of a hold, whether it was promised or not: the person is there.
func (c *comparison) fill(record *shelterv1.HoldRecord) error {
	h := record.GetHold()
	if _, err := rules.Confirm(h, nil, c.now); err != nil {
		return err
	}
	s, err := store.Shelters.GetPublic(c.tx, kitstore.K(store.ShelterOf(h.GetGroup())))
	if err != nil {
		return found(err, "shelter")
	}
	parts := store.Parts(h)
	names := make([]string, len(parts))
	for i := range names {
		if names[i], err = c.newName("stays"); err != nil {
			return err
		}
	}
	stays, err := rules.Admit(h, parts, names, s.GetLongestStayDays(), c.now)
	if err != nil {
		return err
	}
	for _, one := range stays {
		if err := c.putStay(c.tx, one, "admitted", c.now); err != nil {
			return err
		}
	}
	_, err = c.put(c.tx, record, c.now)
	return err
}

// renew enters a hold anew that the restored store does not know, or knows as ended; nil where its beds are not there, or a promise is of a shelter that
// is suspended: then the place is lost, and people must find another.
func (c *comparison) renew(o *shelterv1.LiveOffer, record *shelterv1.HoldRecord) (*shelterv1.HoldRecord, error) {
	known := record != nil
	if !known {
		parts, err := c.place(o)
		if err != nil {
			return nil, err
		}
		if o.GetHold() == "" || len(parts) == 0 {
			c.lost = append(c.lost, o.GetOffer())
			return nil, nil
		}
		record = &shelterv1.HoldRecord{Hold: &shelterv1.Hold{
			Name: o.GetHold(), Group: parts[0].GetGroup(), Quantity: parts[0].GetQuantity(), Offer: o.GetOffer(),
			RequestId: "reconciled-" + o.GetHold()[len(o.GetHold())-36:], CreateTime: timestamppb.New(c.now),
		}}
		if len(parts) > 1 {
			record.Hold.Parts = parts
		}
	}
	h := record.GetHold()
	if refused, err := c.refuses(o, h.GetGroup(), known); refused || err != nil {
		c.lost = append(c.lost, o.GetOffer())
		return nil, err
	}
	asked := map[string]int32{}
	for _, part := range store.Parts(h) {
		row, err := store.Groups.Get(c.tx, store.GroupKey(part.GetGroup()))
		if errors.Is(err, kitstore.ErrNotFound) {
			c.lost = append(c.lost, o.GetOffer())
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		taken, err := count(c.tx, part.GetGroup())
		if err != nil {
			return nil, err
		}
		if asked[part.GetGroup()] += part.GetQuantity(); rules.Room(row, taken, asked[part.GetGroup()]) != nil {
			c.lost = append(c.lost, o.GetOffer())
			return nil, nil
		}
	}
	// A hold that the store knows keeps its fence, as one does that is still held: it was given to this hold alone, and whoever asks for its confirmation
	// at this moment knows it by that. What number a hold had that is lost the store cannot tell.
	if !known {
		fence, err := c.nextFence(c.tx)
		if err != nil {
			return nil, err
		}
		h.Fence = fence
	}
	h.State, h.ReleaseReason, h.UpdateTime = shelterv1.Hold_STATE_HELD, "", timestamppb.New(c.now)
	h.ExpireTime = timestamppb.New(c.now.Add(rules.UsualHold)) // until it is promised, in this very transaction
	return record, nil
}
