package app

import (
	"context"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/outbox"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
)

// DeclineOffer says no to an offer made to this node. Declining again for the same reason is a
// no-op.
func (a *App) DeclineOffer(ctx context.Context, request *referralv1.DeclineOfferRequest, actor *custodyv1.Actor) (*referralv1.Offer, error) {
	if err := rules.CheckReason(codes.Decline, request.GetReason(), codes.DeclineOther, request.GetNote()); err != nil {
		return nil, err
	}
	return a.say(ctx, actor, answer{
		name: request.GetName(), etag: request.GetEtag(), what: "declined",
		reply:   &custodyv1.Reply{Body: &custodyv1.Reply_Declined{Declined: &custodyv1.Declined{Reason: request.GetReason()}}},
		content: &custodyv1.AnnexContent{Note: request.GetNote()},
		again: func(o *received) (bool, error) {
			again, err := rules.Decline(o.record.GetState())
			if again && o.record.GetDeclineReason() != request.GetReason() {
				return false, fault.New(fault.WrongState, "The offer was declined for another reason; that stands.", "state", "declined")
			}
			return again, err
		},
		keep: func(o *received, _ []byte) error {
			o.record.DeclineReason, o.record.QuestionTopic = request.GetReason(), ""
			return nil
		},
	})
}

// noted takes in the result of a command on which nothing depends here. A refusal means that
// beds and referrals disagree, which a person must see; the person's arrival stands.
func (a *App) noted(_ *kitstore.Tx, r outbox.Result) error {
	if r.Fault != nil && r.Fault.Reason() == fault.HoldEnded && r.Command.Method == shelterv1.ShelterService_ReleaseHold_FullMethodName {
		return nil // it ran out, or was found to serve nothing, before we gave it back
	}
	if r.Fault != nil {
		a.Log.Error("the shelter service refused a command; compare its beds with the referral",
			logging.Resource("offer", r.Command.Subject), logging.RPC(r.Command.Method), logging.Enum("reason", r.Fault.Reason()))
	}
	return nil
}
