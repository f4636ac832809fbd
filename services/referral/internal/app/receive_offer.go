package app

import (
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/custody"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/referral/internal/store"
)

// receiveOffer stores an offer made to a unit of this node, and answers that it is stored.
func (a *App) receiveOffer(tx *kitstore.Tx, from string, letter *custodyv1.OfferLetter) error {
	link, err := custody.VerifyAlone(a.Roster, letter.GetOffered())
	if err != nil {
		return refuse(reasonOffer)
	}
	switch offered := link.Event.GetOffered(); {
	case link.Event.GetOwner() != from:
		return refuse(reasonSender)
	case offered.GetToNode() != a.Node:
		return refuse(reasonReceiver)
	case !validOffer(link.Event):
		return refuse(reasonOffer)
	}
	name := store.OfferName(link.Event.GetReferral(), link.Hash.String())
	if known, err := store.Offers.Has(tx, store.OfferKey(name)); known || err != nil {
		return err
	}
	o, err := a.openReceived(tx, name, &referralv1.OfferRecord{
		Offered: letter.GetOffered(), State: custodyv1.OfferState_OFFER_STATE_RECEIVED,
		ReceiveTime: timestamppb.New(a.Now()),
	})
	if err != nil {
		return err
	}
	err = o.reply(&custodyv1.Reply{Actor: a.self(), Body: &custodyv1.Reply_Received{Received: &custodyv1.Received{}}})
	if err != nil {
		return err
	}
	return o.put()
}

// validOffer refuses what no later step could use.
func validOffer(e *custodyv1.Event) bool {
	return e.GetReferral() != "" && e.GetTime().IsValid() && e.GetOffered().GetAnswerBy().IsValid() &&
		e.GetOffered().GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT
}
