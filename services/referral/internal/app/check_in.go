package app

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/referral/internal/rules"
)

// CheckIn notes that somebody on the road was heard of. When they are not heard of again at the time agreed, it is an alarm here and
// at all who had the person.
func (a *App) CheckIn(ctx context.Context, request *referralv1.CheckInRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	heard, err := rules.CheckIn(request, a.Now())
	if err != nil {
		return nil, err
	}
	annex, err := a.prepareAnnex(ctx, request.GetName(), &custodyv1.AnnexContent{Note: request.GetNote()})
	if err != nil {
		return nil, err
	}
	return a.step(ctx, request.GetName(), request.GetEtag(), never, func(w *work) error {
		_, err := w.append(actor, commitment(annex), &custodyv1.Event{Body: &custodyv1.Event_CheckedIn{CheckedIn: &custodyv1.CheckedIn{
			CheckTime: timestamppb.New(heard), District: request.GetDistrict(), NextTime: request.GetNextTime(),
		}}})
		if err != nil {
			return err
		}
		return w.attach(annex, w.lane(), w.others()...)
	})
}
