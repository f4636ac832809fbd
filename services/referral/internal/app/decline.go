package app

import (
	"context"
	"strings"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/outbox"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/rules"
	"amanat.example/services/referral/internal/store"
)

// DeclineOffer says no to an offer made to this node. Declining again for the same reason is a
// no-op.
func (a *App) DeclineOffer(ctx context.Context, request *referralv1.DeclineOfferRequest, actor *custodyv1.Actor) (*referralv1.Offer, error) {
	if err := codes.CheckField("reason", codes.Decline, request.GetReason()); err != nil {
		return nil, err
	}
	if request.GetReason() == codes.DeclineOther && strings.TrimSpace(request.GetNote()) == "" {
		return nil, fault.InvalidField("note", "must say why, since the reason is OTHER")
	}
	referral, _ := store.SplitOffer(request.GetName())
	annex, err := a.prepareAnnex(ctx, referral, &custodyv1.AnnexContent{Note: request.GetNote()})
	if err != nil {
		return nil, err
	}
	err = a.DB.Update(ctx, func(tx *kitstore.Tx) error {
		o, version, err := a.getReceived(tx, request.GetName())
		if err != nil {
			return err
		}
		again, err := rules.Decline(o.record.GetState())
		if err != nil || again && o.record.GetDeclineReason() == request.GetReason() {
			return err
		}
		if again {
			return fault.New(fault.WrongState, "The offer was declined for another reason; that stands.", "state", "declined")
		}
		if request.GetEtag() != "" && request.GetEtag() != etag(version) {
			return fault.StaleEtag()
		}
		o.record.State, o.record.DeclineReason = custodyv1.OfferState_OFFER_STATE_DECLINED, request.GetReason()
		err = o.reply(&custodyv1.Reply{
			Actor: actor, AnnexCommitment: commitment(annex),
			Body: &custodyv1.Reply_Declined{Declined: &custodyv1.Declined{Reason: request.GetReason()}},
		})
		if err != nil {
			return err
		}
		if err := a.sendAnnex(tx, lane(o.event.GetOffered().GetUrgency()), annex, o.event.GetOwner()); err != nil {
			return err
		}
		return o.put()
	})
	if err != nil {
		return nil, err
	}
	return a.GetOffer(ctx, request.GetName())
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
