package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/referral/internal/store"
)

// ConfirmOffer chooses an accepted offer, for all who go together. Choosing the same again is a no-op.
func (a *App) ConfirmOffer(ctx context.Context, request *referralv1.ConfirmOfferRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	referral, hex := store.SplitOffer(request.GetName())
	hash, err := custody.ParseHash(hex)
	if err != nil {
		return nil, fault.NotFound("offer")
	}
	again := func(s *custody.State) bool {
		chosen := s.Chosen()
		return chosen != nil && chosen.Hash == hash
	}
	return a.step(ctx, referral, request.GetEtag(), again, func(w *work) error {
		offer := w.chain.State().Offer(hash.Bytes())
		if offer == nil {
			return fault.NotFound("offer")
		}
		return w.confirmAll(actor, offer)
	})
}

// confirmAll chooses an acceptance, and with it those of all who go together: all of one place, or none.
func (w *work) confirmAll(actor *custodyv1.Actor, offer *custody.Offer) error {
	group, err := w.bound()
	if err != nil {
		return err
	}
	if len(group) == 1 {
		return w.confirm(actor, offer)
	}
	offers, err := chainsOf(group).Confirmable(offer.Place())
	if err != nil {
		return err
	}
	for i, one := range group {
		if err := one.confirm(actor, offers[i]); err != nil {
			return err
		}
	}
	return nil
}

// confirm chooses an acceptance; the other units that were asked get word that they are not needed.
func (w *work) confirm(actor *custodyv1.Actor, offer *custody.Offer) error {
	if !offer.External() {
		if err := w.checkTakesPart("name", offer.Offered.GetToUnit()); err != nil {
			return err
		}
	}
	if offer.State == custodyv1.OfferState_OFFER_STATE_ACCEPTED {
		if err := w.withdrawOthers(actor, offer, codes.WithdrawalOtherChosen); err != nil {
			return err
		}
	}
	_, err := w.append(actor, nil, &custodyv1.Event{Body: &custodyv1.Event_Confirmed{
		Confirmed: &custodyv1.Confirmed{Offer: offer.Hash.Bytes()},
	}})
	return err
}

// withdrawOthers takes back every live offer but one, which may be nil.
func (w *work) withdrawOthers(actor *custodyv1.Actor, but *custody.Offer, reason string) error {
	for _, o := range w.chain.State().LiveOffers() {
		if o == but {
			continue
		}
		if err := w.withdraw(actor, o, nil, reason); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) withdraw(actor *custodyv1.Actor, o *custody.Offer, annex []byte, reason string) error {
	_, err := w.append(actor, annex, &custodyv1.Event{Body: &custodyv1.Event_OfferWithdrawn{
		OfferWithdrawn: &custodyv1.OfferWithdrawn{Offer: o.Hash.Bytes(), Reason: reason},
	}})
	return err
}
