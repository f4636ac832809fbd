package app

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/outbox"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/protection/internal/rules"
)

// RecordOutcome asks the referral service to close the loop at the origin, and then closes the case; after a service the case goes on.
func (a *App) RecordOutcome(ctx context.Context, request *protectionv1.RecordOutcomeRequest, actor *custodyv1.Actor) (*protectionv1.Case, error) {
	if err := codes.CheckField("outcome", codes.Outcome, request.GetOutcome()); err != nil {
		return nil, err
	}
	if err := codes.CheckFields("services", codes.Service, request.GetServices()); err != nil {
		return nil, err
	}
	return a.ask(ctx, call{
		verb: "complete", name: request.GetName(), etag: request.GetEtag(), request: request, person: actor.GetPerson(),
		method: referralv1.ReferralService_CompleteReferral_FullMethodName,
		decide: func(r *protectionv1.CaseRecord, _ string, _ time.Time) (proto.Message, error) {
			c := r.GetCase()
			if err := rules.CheckOutcome(c); err != nil {
				return nil, err
			}
			return &referralv1.CompleteReferralRequest{
				Name: c.GetReferral(), Outcome: request.GetOutcome(), Services: request.GetServices(),
				Feedback: request.GetFeedback(), Actor: actor,
			}, nil
		},
	})
}

// TakeCompleted takes in what the referral service answered to RecordOutcome.
func (a *App) TakeCompleted(tx *kitstore.Tx, result outbox.Result) error {
	record, err := a.take(tx, result.Command.Subject, result)
	if record == nil || err != nil {
		return err
	}
	word := ""
	if result.Fault == nil {
		asked, ok := result.Command.Request.(*referralv1.CompleteReferralRequest)
		if !ok {
			return fmt.Errorf("the request of %s is a %T", result.Command.Method, result.Command.Request)
		}
		c := record.GetCase()
		c.Outcome, c.ReferralState = asked.GetOutcome(), custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
		switch {
		case c.GetState() == protectionv1.Case_STATE_CLOSED: // its event came first
		case !rules.Service(c.GetReferralKind()): // after a service the person is in this node's care still
			c.State, word = protectionv1.Case_STATE_CLOSED, "closed"
		}
	}
	_, err = a.putCase(tx, record, word, a.Now())
	return err
}
