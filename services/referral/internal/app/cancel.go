package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/referral/internal/rules"
)

// CancelReferral ends a referral that nobody was handed, at every moment before the handover. Units that are still asked hear of it
// first. Those who go together with this one fall back, for they were asked for as one, and can be asked for without it. Cancelling again for the same reason is a no-op. After the handover the first owner can only ask for a return.
func (a *App) CancelReferral(ctx context.Context, request *referralv1.CancelReferralRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	if err := rules.CheckReason(codes.Cancellation, request.GetReason(), codes.CancellationOther, request.GetNote()); err != nil {
		return nil, err
	}
	annex, err := a.prepareAnnex(ctx, request.GetName(), &custodyv1.AnnexContent{Note: request.GetNote()})
	if err != nil {
		return nil, err
	}
	again := func(s *custody.State) bool {
		return s.State == custodyv1.ReferralState_REFERRAL_STATE_CANCELLED && s.Owner == a.Node && s.Reason == request.GetReason()
	}
	return a.step(ctx, request.GetName(), request.GetEtag(), again, func(w *work) error {
		if err := rules.Cancel(w.chain.State(), a.Node); err != nil {
			return err
		}
		reason := codes.WithdrawalNotNeeded
		if request.GetReason() == codes.CancellationConsentEnded {
			reason = codes.WithdrawalConsentEnded
		}
		if err := w.withdrawOthers(actor, nil, reason); err != nil {
			return err
		}
		_, err := w.append(actor, commitment(annex), &custodyv1.Event{Body: &custodyv1.Event_Cancelled{
			Cancelled: &custodyv1.Cancelled{Reason: request.GetReason()},
		}})
		if err != nil {
			return err
		}
		return w.attach(annex, w.lane(), w.others()...)
	})
}
