package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
)

// CompleteReferral closes the loop at the origin. The same outcome again is a no-op.
func (a *App) CompleteReferral(ctx context.Context, request *referralv1.CompleteReferralRequest) (*referralv1.Referral, error) {
	if err := codes.CheckField("outcome", codes.Outcome, request.GetOutcome()); err != nil {
		return nil, err
	}
	if err := codes.CheckFields("services", codes.Service, request.GetServices()); err != nil {
		return nil, err
	}
	annex, err := a.prepareAnnex(ctx, request.GetName(), &custodyv1.AnnexContent{Note: request.GetFeedback()})
	if err != nil {
		return nil, err
	}
	again := func(s *custody.State) bool {
		return s.Completed != nil && s.Owner == a.Node && s.Completed.GetOutcome() == request.GetOutcome()
	}
	return a.step(ctx, request.GetName(), "", again, func(w *work) error {
		_, err := w.append(request.GetActor(), commitment(annex), &custodyv1.Event{Body: &custodyv1.Event_Completed{
			Completed: &custodyv1.Completed{Outcome: request.GetOutcome(), Services: request.GetServices()},
		}})
		if err != nil {
			return err
		}
		return w.attach(annex, w.lane(), w.others()...)
	})
}
