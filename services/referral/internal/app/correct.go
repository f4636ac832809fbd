package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/referral/internal/rules"
)

// CorrectReferral says what should have stood in an earlier event. Nothing is undone (I8): the event stays, and what it made of the
// referral too. All who hold the chain hear of it.
func (a *App) CorrectReferral(ctx context.Context, request *referralv1.CorrectReferralRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	if err := rules.CheckCorrection(request, a.Now()); err != nil {
		return nil, err
	}
	annex, err := a.prepareAnnex(ctx, request.GetName(), &custodyv1.AnnexContent{Note: request.GetNote()})
	if err != nil {
		return nil, err
	}
	body := &custodyv1.Corrected{Supersedes: request.GetSupersedes()}
	switch b := request.GetBody().(type) {
	case *referralv1.CorrectReferralRequest_Needs:
		body.Body = &custodyv1.Corrected_Needs{Needs: b.Needs}
	case *referralv1.CorrectReferralRequest_Arrived:
		body.Body = &custodyv1.Corrected_Arrived{Arrived: b.Arrived}
	case *referralv1.CorrectReferralRequest_ServiceStarted:
		body.Body = &custodyv1.Corrected_ServiceStarted{ServiceStarted: b.ServiceStarted}
	case *referralv1.CorrectReferralRequest_Completed:
		body.Body = &custodyv1.Corrected_Completed{Completed: b.Completed}
	case *referralv1.CorrectReferralRequest_NoShow:
		body.Body = &custodyv1.Corrected_NoShow{NoShow: b.NoShow}
	}
	return a.step(ctx, request.GetName(), request.GetEtag(), never, func(w *work) error {
		if _, err := w.append(actor, commitment(annex), &custodyv1.Event{Body: &custodyv1.Event_Corrected{Corrected: body}}); err != nil {
			return err
		}
		return w.attach(annex, w.lane(), w.parties()...)
	})
}
