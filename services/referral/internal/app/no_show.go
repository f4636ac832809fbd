package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	"amanat.example/services/kit/codes"
	"amanat.example/services/referral/internal/rules"
)

// RecordNoShow says that the person did not come. It is an alarm on both sides; whoever has the duty of care looks for the person
// until somebody says that they are found, or they arrive after all. Recording it again is a no-op.
func (a *App) RecordNoShow(ctx context.Context, request *referralv1.RecordNoShowRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	body := &custodyv1.NoShow{LastContactTime: request.GetLastContactTime()}
	if err := rules.CheckNoShow("last_contact_time", body, a.Now()); err != nil {
		return nil, err
	}
	annex, err := a.prepareAnnex(ctx, request.GetName(), &custodyv1.AnnexContent{Note: request.GetNote()})
	if err != nil {
		return nil, err
	}
	again := func(s *custody.State) bool {
		return s.State == custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW && s.Owner == a.Node
	}
	return a.step(ctx, request.GetName(), request.GetEtag(), again, func(w *work) error {
		if w.chain.State().State == custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT { // nobody can be asked about a person who is lost
			if err := w.withdrawOthers(actor, nil, codes.WithdrawalNotNeeded); err != nil {
				return err
			}
		}
		if _, err := w.append(actor, commitment(annex), &custodyv1.Event{Body: &custodyv1.Event_NoShow{NoShow: body}}); err != nil {
			return err
		}
		return w.attach(annex, postv1.Lane_LANE_URGENT, w.others()...)
	})
}
