package rules

import (
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
)

// Began says that a referral began at this node: its case was taken in here.
func Began(e *referralv1.ReferralChanged, own string) bool { return e.GetOriginNode() == own }

// Arriving says that a person is in the care of this node, which was asked for a place.
func Arriving(e *referralv1.ReferralChanged, own string) bool {
	return e.GetToNode() == own && e.GetOwnerNode() == own && e.GetState() >= custodyv1.ReferralState_REFERRAL_STATE_ARRIVED
}

// Follow moves a case as its referral went. Events may come twice, so nothing goes back. closed
// says that the case was closed by it.
func Follow(c *protectionv1.Case, e *referralv1.ReferralChanged) (changed, closed bool) {
	if e.GetState() > c.GetReferralState() {
		c.ReferralState, changed = e.GetState(), true
	}
	if c.GetSource() != protectionv1.Case_SOURCE_INTAKE {
		return changed, false
	}
	open := c.GetState() == protectionv1.Case_STATE_ACTIVE || c.GetState() == protectionv1.Case_STATE_FOLLOW_UP
	if open && e.GetState() >= custodyv1.ReferralState_REFERRAL_STATE_ARRIVED {
		c.State, changed, closed = protectionv1.Case_STATE_CLOSED_REFERRED, true, true
	}
	if e.GetOutcome() != "" && c.GetOutcome() == "" {
		c.Outcome, changed = e.GetOutcome(), true
	}
	return changed, closed
}

// OwesDossier says that the receiving node is to get the dossier now: the place is promised, and
// it did not go out on this offer yet.
func OwesDossier(r *protectionv1.CaseRecord, e *referralv1.ReferralChanged, own string) bool {
	due := e.GetState() >= custodyv1.ReferralState_REFERRAL_STATE_READY && e.GetState() < custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
	home := Began(e, own) && r.GetCase().GetSource() == protectionv1.Case_SOURCE_INTAKE
	return due && home && e.GetToNode() != "" && e.GetOffer() != "" && e.GetOffer() != r.GetDossierOffer()
}
