package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/referral/internal/rules"
)

// RecordReturn ends a referral whose person is back with the first owner, which has the duty of care again. Recording it again for the
// same reason is a no-op.
func (a *App) RecordReturn(ctx context.Context, request *referralv1.RecordReturnRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	if err := rules.CheckReason(codes.Return, request.GetReason(), codes.ReturnOther, request.GetNote()); err != nil {
		return nil, err
	}
	annex, err := a.prepareAnnex(ctx, request.GetName(), &custodyv1.AnnexContent{Note: request.GetNote()})
	if err != nil {
		return nil, err
	}
	again := func(s *custody.State) bool {
		return s.State == custodyv1.ReferralState_REFERRAL_STATE_RETURNED && s.Owner == a.Node && s.Reason == request.GetReason()
	}
	return a.step(ctx, request.GetName(), request.GetEtag(), again, func(w *work) error {
		if err := rules.Return(w.chain.State()); err != nil {
			return err
		}
		_, err := w.append(actor, commitment(annex), &custodyv1.Event{Body: &custodyv1.Event_Returned{
			Returned: &custodyv1.Returned{Reason: request.GetReason()},
		}})
		if err != nil {
			return err
		}
		return w.attach(annex, w.lane(), w.others()...)
	})
}
