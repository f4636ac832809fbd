package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
)

// AnswerQuestion answers what an asked unit wants to know; the answer travels sealed, to that unit alone.
func (a *App) AnswerQuestion(ctx context.Context, request *referralv1.AnswerQuestionRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	return a.onOffer(ctx, request.GetName(), request.GetEtag(), request.GetNote(), neverOffer, func(w *work, o *custody.Offer, annex []byte) error {
		_, err := w.append(actor, annex, &custodyv1.Event{Body: &custodyv1.Event_Answered{
			Answered: &custodyv1.Answered{Offer: o.Hash.Bytes(), Question: o.Asked},
		}})
		return err
	})
}
