package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/referral/internal/rules"
)

// WithdrawAcceptance takes an acceptance back before the place is promised, also one that still waits for the shelter, and gives
// the bed back. Doing so again for the same reason is a no-op.
func (a *App) WithdrawAcceptance(ctx context.Context, request *referralv1.WithdrawAcceptanceRequest, actor *custodyv1.Actor) (*referralv1.Offer, error) {
	if err := rules.CheckReason(codes.Decline, request.GetReason(), codes.DeclineOther, request.GetNote()); err != nil {
		return nil, err
	}
	return a.say(ctx, actor, answer{
		name: request.GetName(), etag: request.GetEtag(), what: "taken back",
		reply: &custodyv1.Reply{Body: &custodyv1.Reply_AcceptanceWithdrawn{
			AcceptanceWithdrawn: &custodyv1.AcceptanceWithdrawn{Reason: request.GetReason()},
		}},
		content: &custodyv1.AnnexContent{Note: request.GetNote()},
		again: func(o *received) (bool, error) {
			again, err := rules.WithdrawAcceptance(o.record.GetState())
			if again && o.record.GetDeclineReason() != request.GetReason() {
				return false, fault.New(fault.WrongState, "The acceptance was taken back for another reason; that stands.", "state", "lapsed")
			}
			return again, err
		},
		keep: func(o *received, _ []byte) error { return o.lapse(request.GetReason()) },
	})
}

// lapse ends an offer before the promise, and gives the bed back.
func (o *received) lapse(reason string) error {
	o.record.State, o.record.DeclineReason = custodyv1.OfferState_OFFER_STATE_LAPSED, reason
	return o.release()
}
