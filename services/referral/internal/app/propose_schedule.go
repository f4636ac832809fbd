package app

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/referral/internal/rules"
)

// ProposeSchedule says when and where the person can be met, once the place is promised. The same time and place again is a no-op,
// another replaces it.
func (a *App) ProposeSchedule(ctx context.Context, request *referralv1.ProposeScheduleRequest, actor *custodyv1.Actor) (*referralv1.Offer, error) {
	if strings.TrimSpace(request.GetPlace()) == "" {
		return nil, fault.InvalidField("place", "must say where the person is met")
	}
	reply := &custodyv1.Reply{Body: &custodyv1.Reply_ScheduleProposed{
		ScheduleProposed: &custodyv1.ScheduleProposed{MeetTime: request.GetMeetTime()},
	}}
	return a.say(ctx, actor, answer{
		name: request.GetName(), etag: request.GetEtag(), what: "scheduled", reply: reply,
		content: &custodyv1.AnnexContent{Note: request.GetPlace()},
		again: func(o *received) (bool, error) {
			if o.record.GetState() != custodyv1.OfferState_OFFER_STATE_READY || !proto.Equal(o.record.GetMeetTime(), request.GetMeetTime()) {
				return false, nil
			}
			return o.sameText(o.record.GetPlaceCommitment(), request.GetPlace())
		},
		keep: func(o *received, place []byte) error {
			o.record.MeetTime, o.record.PlaceCommitment = request.GetMeetTime(), place
			return rules.MeetTime(request.GetMeetTime(), a.Now())
		},
	})
}
