package rules

import (
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// Stage is how far an offer made to this node is for its bed; unspecified where it needs none any more. held is the referral as this
// node knows it; nil for not at all. waiting says that a person is here whom the referral has not followed yet. restored says that the
// shelter's store may be older than the list: whoever came on a referral that is over may have come since, and nobody has said that they left.
func Stage(o *referralv1.OfferRecord, held *referralv1.Referral, node string, waiting, restored bool) shelterv1.LiveOffer_Stage {
	live, care := false, held.GetCareNode() == node
	if held.GetOwnerNode() == node && !held.GetOutside() { // else the person has moved on
		switch held.GetState() {
		case custodyv1.ReferralState_REFERRAL_STATE_IN_TRANSIT, custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE,
			// A place further on, or the way back, is being made ready: until they leave, the person is where they are.
			custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED, custodyv1.ReferralState_REFERRAL_STATE_READY:
			live = true
		case custodyv1.ReferralState_REFERRAL_STATE_COMPLETED:
			live = restored && care
		}
	}
	if o.GetHoldOver() {
		if o.GetAdmitting() || o.GetAdmitted() && (waiting || live && care) {
			return shelterv1.LiveOffer_STAGE_ARRIVED
		}
		return shelterv1.LiveOffer_STAGE_UNSPECIFIED
	}
	switch o.GetState() {
	case custodyv1.OfferState_OFFER_STATE_ACCEPTING, custodyv1.OfferState_OFFER_STATE_ACCEPTED, custodyv1.OfferState_OFFER_STATE_CONFIRMED:
		return shelterv1.LiveOffer_STAGE_TENTATIVE
	case custodyv1.OfferState_OFFER_STATE_READY:
		return shelterv1.LiveOffer_STAGE_PROMISED
	case custodyv1.OfferState_OFFER_STATE_FULFILLED:
		switch {
		case live && care:
			return shelterv1.LiveOffer_STAGE_ARRIVED
		case live:
			return shelterv1.LiveOffer_STAGE_PROMISED
		}
	default: // it is over, and the shelter has not answered yet what it was asked for: whoever is here gets that bed
		if o.GetGroup() != "" && o.GetHold() == "" && (waiting || live && care) {
			return shelterv1.LiveOffer_STAGE_TENTATIVE
		}
	}
	return shelterv1.LiveOffer_STAGE_UNSPECIFIED
}
