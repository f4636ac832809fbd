package app

import (
	"context"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// Shelter compares live offers with holds.
type Shelter interface {
	BeginReconciliation(ctx context.Context, in *shelterv1.BeginReconciliationRequest, opts ...grpc.CallOption) (*shelterv1.BeginReconciliationResponse, error)
	ReconcileOffers(ctx context.Context, in *shelterv1.ReconcileOffersRequest, opts ...grpc.CallOption) (*shelterv1.ReconcileOffersResponse, error)
}

// livePage is how many stored offers one page of the list covers.
const livePage = 500

// ReconcileShelter sends the shelter service the whole list of live offers, so that no bed is held for nobody and every promise is
// kept, whichever of the two files was restored. It is the shelter that mends; what it cannot is told.
func (a *App) ReconcileShelter(ctx context.Context, shelter Shelter) error {
	// First how far the holds go, then the list: what is placed meanwhile is not judged by a list that cannot have it.
	begun, err := shelter.BeginReconciliation(ctx, &shelterv1.BeginReconciliationRequest{Parent: a.parent()})
	if err != nil {
		return fmt.Errorf("begin to compare with the shelter: %w", err)
	}
	var after kitstore.Key
	from := ""
	for {
		page, until, next, err := a.liveOffers(ctx, after)
		if err != nil {
			return err
		}
		reply, err := shelter.ReconcileOffers(ctx, &shelterv1.ReconcileOffersRequest{
			Parent: a.parent(), Fence: begun.GetFence(), After: from, Until: until, Offers: page,
		})
		if err != nil {
			return fmt.Errorf("compare with the shelter: %w", err)
		}
		for _, offer := range reply.GetLost() {
			if err := a.placeLost(ctx, offer); err != nil {
				return err
			}
		}
		if next == nil {
			return nil
		}
		after, from = next, until
	}
}

// ShelterRestored says that the shelter service waits for the list.
func (a *App) ShelterRestored(ctx context.Context, shelter Shelter) (bool, error) {
	begun, err := shelter.BeginReconciliation(ctx, &shelterv1.BeginReconciliationRequest{Parent: a.parent()})
	return begun.GetRestored(), err
}

// placeLost does what follows from a promised place that is not there any more, once.
func (a *App) placeLost(ctx context.Context, offer string) error {
	return a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		o, _, err := a.getReceived(tx, offer)
		if err != nil || o.record.GetHoldOver() {
			return err
		}
		promised := rules.Promised(o.record.GetState())
		err = o.eachWith(func(other *received) error {
			promised = promised || rules.Promised(other.record.GetState())
			return nil
		})
		if err != nil || !promised {
			return err
		}
		return o.bedLost()
	})
}

// liveOffers are those among some stored offers for which a bed is held or a person has come, in order of name. until is the last
// name that was looked at; empty at the end.
func (a *App) liveOffers(ctx context.Context, after kitstore.Key) (live []*shelterv1.LiveOffer, until string, next kitstore.Key, err error) {
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		rows, n, err := store.Offers.Page(r, kitstore.Range{After: after}, livePage)
		if err != nil {
			return err
		}
		next = n
		for i, row := range rows {
			event := &custodyv1.Event{}
			if err := proto.Unmarshal(row.Value.GetOffered().GetEvent(), event); err != nil {
				return fmt.Errorf("a stored offer: %w", err)
			}
			name := rules.Received(row.Value, event).GetName()
			if i == len(rows)-1 && n != nil {
				until = name
			}
			if row.Value.GetHoldOf() != "" {
				continue // it stands with the offer whose hold holds its bed
			}
			stage, err := a.stage(r, row.Value, event.GetReferral())
			if err != nil {
				return err
			}
			one := liveOffer(name, stage, row.Value, event)
			if err := a.liveWith(r, one, row.Value); err != nil {
				return err
			}
			if one.GetStage() != shelterv1.LiveOffer_STAGE_UNSPECIFIED {
				live = append(live, one)
			}
		}
		return nil
	})
	return live, until, next, err
}

// stage is how far an offer made to this node is for its bed.
func (a *App) stage(r kitstore.Reader, record *referralv1.OfferRecord, referral string) (shelterv1.LiveOffer_Stage, error) {
	held, err := optional(store.Referrals.Get(r, kitstore.K(referral)))
	if err != nil {
		return 0, err
	}
	arrival, err := optional(store.Arrivals.Get(r, kitstore.K(referral)))
	if err != nil {
		return 0, err
	}
	return rules.Stage(record, held.GetReferral(), a.Node, arrival != nil && !arrival.GetTaken()), nil
}

func liveOffer(name string, stage shelterv1.LiveOffer_Stage, record *referralv1.OfferRecord, event *custodyv1.Event) *shelterv1.LiveOffer {
	o := &shelterv1.LiveOffer{Offer: name, Stage: stage, Hold: record.GetHold()}
	if record.GetGroup() != "" {
		o.Parts = []*shelterv1.Part{{Group: record.GetGroup(), Quantity: 1, Needs: event.GetOffered().GetNeeds()}}
	}
	return o
}

// liveWith adds what a hold holds for others: it lives as long as one of them, and as far as the furthest.
func (a *App) liveWith(r kitstore.Reader, live *shelterv1.LiveOffer, record *referralv1.OfferRecord) error {
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
		stage, err := a.stage(r, other, event.GetReferral())
		if err != nil {
			return err
		}
		live.Stage = max(live.GetStage(), stage)
		live.Parts = append(live.Parts, &shelterv1.Part{Group: other.GetGroup(), Quantity: 1, Needs: event.GetOffered().GetNeeds()})
	}
	return nil
}
