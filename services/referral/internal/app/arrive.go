package app

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/referral/internal/rules"
)

// RecordArrival says that the person is there. The new owner has the duty of care from now on;
// the giver's ends when it holds this event, so it goes out on the urgent lane (I6).
func (a *App) RecordArrival(ctx context.Context, request *referralv1.RecordArrivalRequest, actor *custodyv1.Actor) (*referralv1.Referral, error) {
	if err := codes.CheckFields("identification", codes.Identification, request.GetIdentification()); err != nil {
		return nil, err
	}
	annex, err := a.prepareAnnex(ctx, request.GetName(), &custodyv1.AnnexContent{Note: request.GetNote()})
	if err != nil {
		return nil, err
	}
	return a.step(ctx, request.GetName(), request.GetEtag(), never, func(w *work) error {
		came, err := rules.ArriveTime(request.GetArriveTime(), w.now)
		if err != nil {
			return err
		}
		if err := rules.Arrive(w.chain.State()); err != nil {
			return err
		}
		_, err = w.append(actor, commitment(annex), &custodyv1.Event{Body: &custodyv1.Event_Arrived{Arrived: &custodyv1.Arrived{
			Identification: request.GetIdentification(), ArriveTime: timestamppb.New(came),
		}}})
		if err != nil {
			return err
		}
		return w.attach(annex, postv1.Lane_LANE_URGENT, w.others()...)
	})
}
