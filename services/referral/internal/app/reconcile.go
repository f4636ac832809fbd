package app

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/logging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// Shelter compares live offers with holds.
type Shelter interface {
	BeginReconciliation(ctx context.Context, in *shelterv1.BeginReconciliationRequest, opts ...grpc.CallOption) (*shelterv1.BeginReconciliationResponse, error)
	ReconcileOffers(ctx context.Context, in *shelterv1.ReconcileOffersRequest, opts ...grpc.CallOption) (*shelterv1.ReconcileOffersResponse, error)
}

// livePage is how many live offers stand on one page of the list.
const livePage = 500

// ReconcileShelter sends the shelter service the whole list of live offers, so that no bed is held for nobody and every promise is
// kept, whichever of the two files was restored. It is the shelter that mends; what it cannot is told.
func (a *App) ReconcileShelter(ctx context.Context, shelter Shelter) error {
	// First how far the holds go, then the list: what is placed meanwhile is not judged by a list that cannot have it.
	begun, err := shelter.BeginReconciliation(ctx, &shelterv1.BeginReconciliationRequest{Parent: a.parent()})
	if err != nil {
		return fmt.Errorf("begin to compare with the shelter: %w", err)
	}
	live, err := a.liveOffers(ctx, begun.GetRestored())
	if err != nil {
		return err
	}
	// The shelter judges page by page: what keeps a bed for nobody may stand behind a promise that wants it.
	// With three pages such a bed may be found for somebody who is here in the second run alone: promises come after that.
	again := 0
	if begun.GetRestored() {
		again = min((len(live)-1)/livePage, 2)
	}
	for range again {
		if err := a.sendLive(ctx, shelter, begun.GetFence(), live, true); err != nil {
			return err
		}
	}
	return a.sendLive(ctx, shelter, begun.GetFence(), live, false)
}

// sendLive sends the list once, in pages; again says that it will be sent once more. It does what follows from each bed that is lost.
func (a *App) sendLive(ctx context.Context, shelter Shelter, fence *custodyv1.Fence, live []*shelterv1.LiveOffer, again bool) error {
	from := ""
	for last := false; !last; {
		page, until := live[:min(len(live), livePage)], ""
		if live = live[len(page):]; len(live) > 0 {
			until = page[len(page)-1].GetOffer()
		}
		reply, err := shelter.ReconcileOffers(ctx, &shelterv1.ReconcileOffersRequest{
			Parent: a.parent(), Fence: fence, After: from, Until: until, Offers: page, Again: again,
		})
		if err != nil {
			return fmt.Errorf("compare with the shelter: %w", err)
		}
		for _, live := range page {
			if !slices.Contains(reply.GetLost(), live.GetOffer()) {
				continue
			}
			if err := a.placeLost(ctx, live); err != nil && stops(ctx, err) {
				return err
			} else if err != nil { // it is named again by the next comparison
				a.Log.Error("what follows from a bed that is lost cannot be done now", logging.Resource("offer", live.GetOffer()), logging.Err(err))
			}
		}
		from, last = until, until == ""
	}
	return nil
}

// ShelterRestored says that the shelter service waits for the list.
func (a *App) ShelterRestored(ctx context.Context, shelter Shelter) (bool, error) {
	begun, err := shelter.BeginReconciliation(ctx, &shelterv1.BeginReconciliationRequest{Parent: a.parent()})
	return begun.GetRestored(), err
}

// placeLost does what follows from an accepted or promised place that is not there any more, once; where the person has come, a person is told.
func (a *App) placeLost(ctx context.Context, live *shelterv1.LiveOffer) error {
	return a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		o, _, err := a.getReceived(tx, live.GetOffer())
		if err != nil || o.record.GetHold() != live.GetHold() { // another is held since the list was made
			return err
		}
		if o.record.GetHoldOver() {
			if err := o.stayLost(); err != nil {
				return err
			}
			return o.eachWith((*received).stayLost)
		}
		rests := restsOnBed(o.record.GetState())
		err = o.eachWith(func(other *received) error {
			rests = rests || restsOnBed(other.record.GetState())
			return nil
		})
		if err != nil || !rests {
			return err
		}
		return o.bedLost()
	})
}

// restsOnBed says that another node counts on the bed of an offer. One under confirmation is refused by the shelter itself.
func restsOnBed(state custodyv1.OfferState) bool {
	return state == custodyv1.OfferState_OFFER_STATE_ACCEPTED || rules.Promised(state)
}

// stayLost is placeLost for one whose bed is in a stay by now, since somebody came: the bed of another may be promised still.
func (o *received) stayLost() error {
	known := o.record.GetReleaseRequested() || o.record.GetHoldOf() != "" && o.record.GetHoldOver()
	switch {
	case o.record.GetAdmitted():
		return o.hereWithoutBed()
	case o.record.GetState() == custodyv1.OfferState_OFFER_STATE_READY && !known:
		return o.loseOwn()
	}
	return nil
}

// hereWithoutBed tells a person, once, that somebody is here for whom the shelter has no bed in its books: they must be entered where they lie. There is
// no stay then in which another's bed could be.
func (o *received) hereWithoutBed() error {
	if !o.record.GetAdmitted() {
		return nil
	}
	o.record.Admitted, o.record.HoldOver = false, true
	if err := o.put(); err != nil {
		return err
	}
	return o.tellBedLost()
}

// tellBedLost tells a person that somebody is here without a bed, for whom one may be asked again.
func (o *received) tellBedLost() error {
	if err := noteBed(o.tx, o.event.GetReferral(), false); err != nil {
		return err
	}
	return o.sayBedLost()
}

func (o *received) sayBedLost() error {
	o.Log.Error("somebody is here for whom the shelter service has no bed; enter them where they lie", logging.Resource("offer", o.name))
	return o.Events.Append(o.tx, "referral.offer.bed-lost.v1", o.name, o.Now(), o.changed(o.record.GetState()))
}

// liveOffers are those for which a bed is held or a person has come, in order of name, as they stand at one moment. It reads what is open
// alone; for a restored shelter service every offer, since a person may be there still whose referral is over.
func (a *App) liveOffers(ctx context.Context, restored bool) (live []*shelterv1.LiveOffer, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		live = nil
		leads, err := a.mayHaveBeds(r, restored)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(leads)) {
			record, err := optional(store.Offers.Get(r, store.OfferKey(name)))
			if err != nil {
				return err
			}
			if record == nil { // others had a bed by its hold, and it did not come back to a store that was restored
				continue
			}
			event := &custodyv1.Event{}
			if err := proto.Unmarshal(record.GetOffered().GetEvent(), event); err != nil {
				return fmt.Errorf("a stored offer: %w", err)
			}
			stage, err := a.stage(r, record, event.GetReferral(), restored)
			if err != nil {
				return err
			}
			one := liveOffer(name, stage, record, event)
			if err := a.liveWith(r, one, record, restored); err != nil {
				return err
			}
			switch one.GetStage() {
			case shelterv1.LiveOffer_STAGE_UNSPECIFIED:
				continue
			case shelterv1.LiveOffer_STAGE_TENTATIVE: // no bed is entered anew for it; and what it needs nobody has judged yet
				one.Parts, one.Unplaced = nil, nil
			}
			live = append(live, one)
		}
		return nil
	})
	return live, err
}

// mayHaveBeds are the offers with a hold of their own that may be live: by what they or those they hold for say, by a referral that this
// node owns and that is not over, or by a person who is here and whom the referral has not followed yet. No other has a stage (rules.Stage),
// but where the shelter service was restored: then all.
func (a *App) mayHaveBeds(r kitstore.Reader, restored bool) (map[string]bool, error) {
	leads := map[string]bool{}
	add := func(key kitstore.Key, o *referralv1.OfferRecord) error {
		if o.GetHoldOf() != "" { // it stands with the offer whose hold holds its bed
			leads[o.GetHoldOf()] = true
			return nil
		}
		event := &custodyv1.Event{}
		if err := proto.Unmarshal(o.GetOffered().GetEvent(), event); err != nil {
			return fmt.Errorf("a stored offer: %w", err)
		}
		leads[store.OfferName(event.GetReferral(), custody.HashOf(o.GetOffered().GetEvent()).String())] = true
		return nil
	}
	of := func(referral string) error {
		return store.Offers.Scan(r, kitstore.Range{Prefix: kitstore.K(referral)}, add)
	}
	if restored {
		return leads, store.Offers.Scan(r, kitstore.Range{}, add)
	}
	if err := store.BedsWanted.Scan(r, kitstore.Range{}, add); err != nil {
		return nil, err
	}
	err := store.OpenReferrals.Scan(r, kitstore.Range{}, func(_ kitstore.Key, record *referralv1.ReferralRecord) error {
		if record.GetReferral().GetOwnerNode() != a.Node {
			return nil
		}
		return of(record.GetReferral().GetName())
	})
	if err != nil {
		return nil, err
	}
	return leads, store.WaitingArrivals.Scan(r, kitstore.Range{}, func(_ kitstore.Key, arrival *referralv1.ArrivalRecord) error {
		reply := &custodyv1.Reply{}
		if err := proto.Unmarshal(arrival.GetReply().GetReply(), reply); err != nil {
			return fmt.Errorf("a stored arrival: %w", err)
		}
		return of(reply.GetReferral())
	})
}

// stage is how far an offer made to this node is for its bed.
func (a *App) stage(r kitstore.Reader, record *referralv1.OfferRecord, referral string, restored bool) (shelterv1.LiveOffer_Stage, error) {
	held, err := optional(store.Referrals.Get(r, kitstore.K(referral)))
	if err != nil {
		return 0, err
	}
	arrival, err := optional(store.Arrivals.Get(r, kitstore.K(referral)))
	if err != nil {
		return 0, err
	}
	return rules.Stage(record, held.GetReferral(), a.Node, arrival != nil && !arrival.GetTaken(), restored), nil
}

func liveOffer(name string, stage shelterv1.LiveOffer_Stage, record *referralv1.OfferRecord, event *custodyv1.Event) *shelterv1.LiveOffer {
	o := &shelterv1.LiveOffer{Offer: name, Stage: stage, Hold: record.GetHold()}
	if (record.GetGroup() != "" || record.GetHold() != "") && !record.GetBedEnded() {
		addPart(o, name, record.GetGroup(), event.GetOffered().GetNeeds())
	}
	return o
}

// addPart adds a bed to what a hold takes. Of an offer that was lost and recalled nobody knows the group any more: no reply says it.
func addPart(o *shelterv1.LiveOffer, offer, group string, needs *custodyv1.Needs) {
	if group == "" {
		o.Unplaced = append(o.Unplaced, needs)
		return
	}
	o.Parts = append(o.Parts, &shelterv1.Part{Group: group, Quantity: 1, Needs: needs, Offer: offer})
}

// liveWith adds what a hold holds for others: it lives as long as one of them, and as far as the furthest.
func (a *App) liveWith(r kitstore.Reader, live *shelterv1.LiveOffer, record *referralv1.OfferRecord, restored bool) error {
	for _, name := range record.GetHoldsFor() {
		other, err := store.Offers.Get(r, store.OfferKey(name))
		if err != nil {
			return err
		}
		if other.GetHoldOf() != live.GetOffer() {
			continue
		}
		event := &custodyv1.Event{}
		if err := proto.Unmarshal(other.GetOffered().GetEvent(), event); err != nil {
			return fmt.Errorf("a stored offer: %w", err)
		}
		stage, err := a.stage(r, other, event.GetReferral(), restored)
		if err != nil {
			return err
		}
		live.Stage = max(live.GetStage(), stage)
		if other.GetBedEnded() { // its bed is kept no longer
			continue
		}
		addPart(live, name, other.GetGroup(), event.GetOffered().GetNeeds())
	}
	return nil
}
