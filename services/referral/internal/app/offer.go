package app

import (
	"context"
	"errors"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/fault"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
)

// OfferReferral asks one more unit: before the person leaves, several at once, or from where the person is, to refer on. It is asked
// for all who go together.
func (a *App) OfferReferral(ctx context.Context, request *referralv1.OfferReferralRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	if request.GetEtag() == "" {
		return nil, fault.InvalidField("etag", "must be that of the referral as you read it")
	}
	if err := a.checkAsked(request.GetToUnit()); err != nil {
		return nil, err
	}
	return a.step(ctx, request.GetName(), request.GetEtag(), never, func(w *work) error {
		answerBy, err := rules.AnswerBy(request.GetAnswerBy(), w.chain.State().Submitted.GetUrgency(), w.now, a.Limits)
		if err != nil {
			return err
		}
		group, err := w.bound()
		if err != nil {
			return err
		}
		for _, one := range group {
			if err := one.ask(actor, request.GetToUnit(), answerBy, namesOf(group, one)); err != nil {
				return err
			}
		}
		return nil
	})
}

// ask asks one more unit, which gets the note of the submission too.
func (w *work) ask(actor *custodyv1.Actor, unit string, answerBy time.Time, together []string) error {
	if s := w.chain.State(); s.Owner == w.Node {
		if err := rules.Ask(s, unit); err != nil {
			return err
		}
	}
	annex, err := w.submittedNote()
	if err != nil {
		return err
	}
	if err := w.offer(actor, unit, answerBy, annex, together); err != nil {
		return err
	}
	return w.attach(annex, w.lane(), rules.UnitNode(unit))
}

// submittedNote is the annex of the submission, which every asked unit gets; nil for none, or
// when it was erased.
func (w *work) submittedNote() (*custodyv1.AnnexLetter, error) {
	first := w.chain.Links()[0].Event
	if len(first.GetAnnexCommitment()) != len(custody.Hash{}) {
		return nil, nil
	}
	annex, err := w.Annexes.Get(w.tx, first.GetReferral(), custody.Hash(first.GetAnnexCommitment()).String())
	if errors.Is(err, kitstore.ErrNotFound) {
		return nil, nil
	}
	return annex, err
}
