package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	"amanat.example/services/referral/internal/store"
)

// ConfirmOffer chooses an accepted offer. Choosing the same again is a no-op.
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
		return w.confirm(actor, offer)
	})
}

// confirm chooses an acceptance and tells its unit, which now gets the whole chain.
func (w *work) confirm(actor *custodyv1.Actor, offer *custody.Offer) error {
	_, err := w.append(actor, nil, &custodyv1.Event{Body: &custodyv1.Event_Confirmed{
		Confirmed: &custodyv1.Confirmed{Offer: offer.Hash.Bytes()},
	}})
	if err != nil {
		return err
	}
	return w.sendChain(w.lane(), offer.Offered.GetToNode())
}
