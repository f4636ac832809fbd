package app

import (
	"errors"
	"fmt"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// FollowShelter takes in an event of this node's shelter service, in the transaction that moves the
// mark; it may come twice. A hold that ended without us (it ran out, the shelter was suspended, a
// manager gave it back) takes the acceptance with it that rested on it, so that the origin need not
// confirm in vain. One under confirmation is refused by the shelter itself. A place that is promised
// already is not unsaid: people must find another bed.
func (a *App) FollowShelter(tx *kitstore.Tx, event *eventsv1.Event) error {
	if event.GetType() != "shelter.hold.released.v1" && event.GetType() != "shelter.hold.expired.v1" {
		return nil
	}
	e := &shelterv1.HoldChanged{}
	if err := event.GetData().UnmarshalTo(e); err != nil {
		return fmt.Errorf("event %s: %w", event.GetId(), err)
	}
	record, err := store.Offers.Get(tx, store.OfferKey(e.GetOffer()))
	if errors.Is(err, kitstore.ErrNotFound) || err == nil && record.GetHold() != e.GetHold() {
		return nil
	}
	if err != nil {
		return err
	}
	switch record.GetState() {
	case custodyv1.OfferState_OFFER_STATE_READY:
		a.placeLost(e.GetOffer())
		return nil
	case custodyv1.OfferState_OFFER_STATE_ACCEPTED:
	default:
		return nil
	}
	o, err := a.openReceived(tx, e.GetOffer(), record)
	if err != nil {
		return err
	}
	if err := o.bedLost(); err != nil {
		return err
	}
	return o.eachWith(func(other *received) error { // their beds were in the same hold
		if other.record.GetState() != custodyv1.OfferState_OFFER_STATE_ACCEPTED {
			return nil
		}
		return other.bedLost()
	})
}

// bedLost takes an acceptance back whose bed is not held any more.
func (o *received) bedLost() error {
	o.record.State, o.record.DeclineReason = custodyv1.OfferState_OFFER_STATE_DECLINED, codes.DeclineHoldEnded
	err := o.reply(&custodyv1.Reply{Actor: o.self(), Body: &custodyv1.Reply_AcceptanceWithdrawn{
		AcceptanceWithdrawn: &custodyv1.AcceptanceWithdrawn{Reason: codes.DeclineHoldEnded},
	}})
	if err != nil {
		return err
	}
	return o.put()
}
