package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/referral/internal/rules"
)

// RefuseRelease holds a unit to its promise.
func (a *App) RefuseRelease(ctx context.Context, request *referralv1.RefuseReleaseRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	if err := rules.CheckReason(codes.ReleaseRefusal, request.GetReason(), codes.ReleaseRefusalOther, request.GetNote()); err != nil {
		return nil, err
	}
	return a.onOffer(ctx, request.GetName(), request.GetEtag(), request.GetNote(), neverOffer, func(w *work, o *custody.Offer, annex []byte) error {
		if err := releaseAsked(o); err != nil {
			return err
		}
		_, err := w.append(actor, annex, &custodyv1.Event{Body: &custodyv1.Event_ReleaseRefused{
			ReleaseRefused: &custodyv1.ReleaseRefused{Offer: o.Hash.Bytes(), Reason: request.GetReason()},
		}})
		return err
	})
}
