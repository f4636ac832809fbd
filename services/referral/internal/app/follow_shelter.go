package app

import (
	"errors"
	"fmt"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	eventsv1 "amanat.example/proto/amanat/events/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/logging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// FollowShelter takes in an event of this node's shelter service, in the transaction that moves the
// mark; it may come twice. A hold that ended without us (it ran out, the shelter was suspended, a
// manager gave it back) takes the acceptance with it that rested on it, so that the origin need not
// confirm in vain. One under confirmation is refused by the shelter itself. A place that is promised
// already is not unsaid: this node asks to be let go, and a person is told to find another bed.
func (a *App) FollowShelter(tx *kitstore.Tx, event *eventsv1.Event) error {
	switch event.GetType() {
	case "shelter.hold.released.v1", "shelter.hold.expired.v1":
		return a.followHold(tx, event)
	case "shelter.stay.discharged.v1":
		return a.followStay(tx, event)
	}
	return nil
}

func (a *App) followHold(tx *kitstore.Tx, event *eventsv1.Event) error {
	e := &shelterv1.HoldChanged{}
	if err := event.GetData().UnmarshalTo(e); err != nil {
		return fmt.Errorf("event %s: %w", event.GetId(), err)
	}
	record, err := store.Offers.Get(tx, store.OfferKey(e.GetOffer()))
	if errors.Is(err, kitstore.ErrNotFound) || err == nil && (record.GetHold() != e.GetHold() || record.GetHoldOver()) {
		return nil
	}
	if err != nil {
		return err
	}
	o, err := a.openReceived(tx, e.GetOffer(), record)
	if err != nil {
		return err
	}
	if waits, err := o.waitShelter(event); waits || err != nil {
		return err
	}
	return o.bedLost()
}

// followStay takes in that a stay has ended. Of those who go together each has one from when the first of them comes: one who has not come yet has
// lost a bed with it.
func (a *App) followStay(tx *kitstore.Tx, event *eventsv1.Event) error {
	e := &shelterv1.StayChanged{}
	if err := event.GetData().UnmarshalTo(e); err != nil {
		return fmt.Errorf("event %s: %w", event.GetId(), err)
	}
	if !e.GetAwaited() {
		return nil
	}
	record, err := optional(store.Offers.Get(tx, store.OfferKey(e.GetOffer())))
	if err != nil || record == nil || record.GetAdmitted() {
		return err
	}
	o, err := a.openReceived(tx, e.GetOffer(), record)
	if err != nil {
		return err
	}
	lead, err := o.lead()
	if err != nil || lead.record.GetHold() != e.GetHold() {
		return err
	}
	if b, err := o.bed(); b != madeBed || err != nil {
		return err
	}
	if waits, err := o.waitShelter(event); waits || err != nil {
		return err
	}
	o.record.BedEnded = true
	return o.loseBed()
}

// bedLost does what follows, once, when the hold is not there any more: for this offer, and for those whose beds were in the same hold.
func (o *received) bedLost() error {
	if err := o.loseBed(); err != nil {
		return err
	}
	return o.eachWith((*received).loseBed)
}

func (o *received) loseBed() error {
	o.record.HoldOver = true
	var err error
	switch o.record.GetState() {
	case custodyv1.OfferState_OFFER_STATE_READY, custodyv1.OfferState_OFFER_STATE_FULFILLED:
		err = o.promiseLost()
	case custodyv1.OfferState_OFFER_STATE_ACCEPTED:
		o.record.State, o.record.DeclineReason = custodyv1.OfferState_OFFER_STATE_LAPSED, codes.DeclineHoldEnded
		err = o.reply(&custodyv1.Reply{Actor: o.self(), Body: &custodyv1.Reply_AcceptanceWithdrawn{
			AcceptanceWithdrawn: &custodyv1.AcceptanceWithdrawn{Reason: codes.DeclineHoldEnded},
		}})
	}
	if err != nil {
		return err
	}
	return o.put()
}

// loseOwn is loseBed for one whose bed was to be in a stay of another. Where the referral stands still, what is to be said of it waits, and holds up no
// word about whoever is here: see goOn.
func (o *received) loseOwn() error {
	if !o.owesWord() {
		return o.loseBed()
	}
	if still, err := o.still(); err != nil || still {
		return errors.Join(err, o.wait())
	}
	return o.loseBed()
}

// owesWord says that the owner is to be told when the bed is gone.
func (o *received) owesWord() bool {
	state := o.record.GetState()
	return state == custodyv1.OfferState_OFFER_STATE_ACCEPTED || state == custodyv1.OfferState_OFFER_STATE_READY && !o.record.GetReleaseRequested()
}

// bedGone says that the bed is gone and the owner was not told, since the referral stood still.
func (o *received) bedGone() (bool, error) {
	if !o.owesWord() {
		return false, nil
	}
	lead, err := o.lead()
	if err != nil || lead.record.GetHold() == "" {
		return false, err
	}
	b, err := o.bed()
	return b == noBed, err
}

// promiseLost tells a person that a promised bed is gone. While the person has not left, the owner is asked to let this node go.
func (o *received) promiseLost() error {
	o.Log.Error("a promised bed is gone; find another", logging.Resource("offer", o.name))
	err := o.Events.Append(o.tx, "referral.offer.bed-lost.v1", o.name, o.Now(), o.changed(o.record.GetState()))
	if err != nil || o.record.GetState() != custodyv1.OfferState_OFFER_STATE_READY || o.record.GetReleaseRequested() {
		return err
	}
	o.record.ReleaseRequested, o.record.ReleaseReason = true, codes.DeclineHoldEnded
	reply := releaseRequested(codes.DeclineHoldEnded)
	reply.Actor = o.self()
	return o.reply(reply)
}
