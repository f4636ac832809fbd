package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/outbox"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
	"amanat.example/services/protection/internal/store"
)

// ReferCase asks the referral service to begin a referral of a case, on its consent or on a legal
// basis; of those who go together, one for each by one command.
func (a *App) ReferCase(ctx context.Context, request *protectionv1.ReferCaseRequest, actor *custodyv1.Actor) (*protectionv1.Case, error) {
	if len(request.GetOthers()) > 0 {
		return a.referTogether(ctx, request, actor)
	}
	return a.ask(ctx, call{
		verb: "refer", name: request.GetName(), etag: request.GetEtag(), request: request, person: actor.GetPerson(),
		method: referralv1.ReferralService_SubmitReferral_FullMethodName,
		decide: func(r *protectionv1.CaseRecord, id string, now time.Time) (proto.Message, error) {
			if err := rules.CheckCodes(request, now); err != nil {
				return nil, err
			}
			if err := rules.CheckRefer(r.GetCase(), request.GetOverride(), now); err != nil {
				return nil, err
			}
			submit := a.submission(request, r, id, actor)
			r.Submission, r.SubmittedAs = &protectionv1.Submission{Request: submit, Before: r.GetSubmittedAs()}, id
			return submit, nil
		},
	})
}

// submission is what is asked of the referral service for one case.
func (a *App) submission(request *protectionv1.ReferCaseRequest, r *protectionv1.CaseRecord, id string, actor *custodyv1.Actor) *referralv1.SubmitReferralRequest {
	c := r.GetCase()
	submit := &referralv1.SubmitReferralRequest{
		Parent: a.parent(), Kind: request.GetKind(), Service: request.GetService(), Urgency: c.GetUrgency(),
		Reasons: request.GetReasons(), Needs: request.GetNeeds(), Unit: c.GetUnit(), ToUnit: request.GetToUnit(), External: request.GetExternal(),
		AnswerBy: request.GetAnswerBy(), Note: request.GetNote(), RequestId: id, Actor: actor, CaseFlowId: r.GetFlowId(),
	}
	if request.GetOverride() != nil {
		submit.Ground = &referralv1.SubmitReferralRequest_Override{Override: request.GetOverride()}
	} else {
		submit.Ground = &referralv1.SubmitReferralRequest_Consent{Consent: rules.Receipt(c.GetConsent())}
	}
	return submit
}

// TakeReferred takes in what the referral service answered to ReferCase.
func (a *App) TakeReferred(tx *kitstore.Tx, result outbox.Result) error {
	referral, ok := result.Reply.(*referralv1.Referral)
	if !ok && result.Fault == nil {
		return fmt.Errorf("the reply to %s is a %T", result.Command.Method, result.Reply)
	}
	return a.takeReferred(tx, result.Command.Subject, referral, result)
}

// takeReferred takes in the referral of one case, or that there is none.
func (a *App) takeReferred(tx *kitstore.Tx, name string, referral *referralv1.Referral, result outbox.Result) error {
	record, err := a.take(tx, name, result)
	if record == nil || err != nil {
		return err
	}
	now := a.Now()
	if result.Fault != nil {
		if referral = rules.There(record, result.Fault); referral == nil {
			return a.referralRefused(tx, record, result.Fault)
		}
		a.Log.Warn("a case was referred again which had forgotten its referral, and follows that one", logging.Referral(referral.GetName()))
	}
	rules.Refers(record, referral.GetName(), referral.GetKind(), referral.GetState(), referral.GetSequence())
	if err := a.tellWithdrawn(tx, record, result.Command.OnBehalfOf); err != nil { // consent may have been refused meanwhile
		return err
	}
	if _, err := a.putCase(tx, record, "referred", now); err != nil {
		return err
	}
	// Events may have overtaken the answer.
	heard, err := store.Heard.Get(tx, kitstore.K(referral.GetName()))
	if errors.Is(err, kitstore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := store.Heard.Delete(tx, kitstore.K(referral.GetName())); err != nil {
		return err
	}
	if err := a.advance(tx, record, heard); err != nil {
		return err
	}
	return a.sendOwed(tx, heard)
}

// referralRefused notes that there is no referral, and why. One that was asked for again, since nobody held it, is lost now.
func (a *App) referralRefused(tx *kitstore.Tx, record *protectionv1.CaseRecord, why *fault.Error) error {
	c := record.GetCase()
	if c.GetReferral() != "" && !rules.Ended(c.GetReferralState()) {
		if err := a.referralLost(tx, record); err != nil {
			return err
		}
	}
	c.ReferFailure, record.SubmittedAs, record.Submission = why.Reason().String(), record.GetSubmission().GetBefore(), nil
	_, err := a.putCase(tx, record, "", a.Now())
	return err
}
