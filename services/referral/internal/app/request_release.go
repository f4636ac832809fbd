package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/referral/internal/rules"
)

// RequestRelease asks the owner to be let go after the place was promised; until it is, the promise stands. Asking again while
// there is no answer is a no-op; after a refusal it can be asked anew.
func (a *App) RequestRelease(ctx context.Context, request *referralv1.RequestReleaseRequest, actor *custodyv1.Actor) (*referralv1.Offer, error) {
	if err := rules.CheckReason(codes.Decline, request.GetReason(), codes.DeclineOther, request.GetNote()); err != nil {
		return nil, err
	}
	return a.say(ctx, actor, answer{
		name: request.GetName(), etag: request.GetEtag(), what: "released",
		reply: releaseRequested(request.GetReason()), content: &custodyv1.AnnexContent{Note: request.GetNote()},
		again: func(o *received) (bool, error) {
			return o.record.GetState() == custodyv1.OfferState_OFFER_STATE_READY && o.record.GetReleaseRequested(), nil
		},
		keep: func(o *received, _ []byte) error {
			o.record.ReleaseRequested, o.record.ReleaseReason = true, request.GetReason()
			return nil
		},
	})
}

func releaseRequested(reason string) *custodyv1.Reply {
	return &custodyv1.Reply{Body: &custodyv1.Reply_ReleaseRequested{ReleaseRequested: &custodyv1.ReleaseRequested{Reason: reason}}}
}
