package app

import (
	"context"

	"google.golang.org/protobuf/proto"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/referral/internal/rules"
)

// WaitlistOffer says that there is no place now, and when one is looked for again; that date is the offer's deadline. Another date
// renews it; the same date again is a no-op.
func (a *App) WaitlistOffer(ctx context.Context, request *referralv1.WaitlistOfferRequest, actor *custodyv1.Actor) (*referralv1.Offer, error) {
	return a.say(ctx, actor, answer{
		name: request.GetName(), etag: request.GetEtag(), what: "put on the waiting list",
		reply: &custodyv1.Reply{Body: &custodyv1.Reply_Waitlisted{
			Waitlisted: &custodyv1.Waitlisted{ReviewTime: request.GetReviewTime()},
		}},
		content: &custodyv1.AnnexContent{Note: request.GetNote()},
		again: func(o *received) (bool, error) {
			return o.record.GetState() == custodyv1.OfferState_OFFER_STATE_WAITLISTED && proto.Equal(o.record.GetReviewTime(), request.GetReviewTime()), nil
		},
		keep: func(o *received, _ []byte) error {
			o.record.ReviewTime = request.GetReviewTime()
			return rules.ReviewTime(request.GetReviewTime(), a.Now())
		},
	})
}
