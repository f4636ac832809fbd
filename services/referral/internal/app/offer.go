package app

import (
	"context"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/referral/internal/rules"
)

// OfferReferral asks one more unit, or an agency outside the network: before the person leaves, several at once, or from where the person is, to refer on. It is asked
// for all who go together.
func (a *App) OfferReferral(ctx context.Context, request *referralv1.OfferReferralRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	if request.GetEtag() == "" {
		return nil, fault.InvalidField("etag", "must be that of the referral as you read it")
	}
	id, err := a.newAsking(request.GetExternal())
	if err != nil {
		return nil, err
	}
	asked, err := a.checkAsked(request.GetToUnit(), request.GetExternal(), id)
	if err != nil {
		return nil, err
	}
	if asked.annex, err = a.prepareAnnex(ctx, request.GetName(), &custodyv1.AnnexContent{Agency: request.GetExternal()}); err != nil {
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
			if one != w && asked.annex != nil {
				if asked.annex, err = a.copyAnnex(ctx, one.chain.State().Referral, asked.annex); err != nil {
					return err
				}
			}
			if err := one.ask(actor, asked, answerBy, namesOf(group, one)); err != nil {
				return err
			}
		}
		return nil
	})
}

// ask asks one more unit, which gets the note of the submission too, or an agency outside the network.
func (w *work) ask(actor *custodyv1.Actor, q asking, answerBy time.Time, together []string) error {
	if s := w.chain.State(); s.Owner == w.Node {
		if err := rules.Ask(s, q.unit); err != nil {
			return err
		}
	}
	if q.external != nil {
		return w.askAgency(actor, q, answerBy, together)
	}
	note, err := w.submittedNote()
	if err != nil {
		return err
	}
	q.annex = note
	if err := w.offer(actor, q, answerBy, together); err != nil {
		return err
	}
	return w.attach(note, w.lane(), q.node())
}

// submittedNote is the annex of the submission, which every asked unit gets; nil as annexBeside has it.
func (w *work) submittedNote() (*custodyv1.AnnexLetter, error) {
	first := w.chain.Links()[0].Event
	return w.annexBeside(w.tx, first.GetReferral(), first.GetAnnexCommitment())
}
