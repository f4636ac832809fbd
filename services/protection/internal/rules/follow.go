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
	if Service(e.GetKind()) {
		return Serving(e, own)
	}
	return e.GetToNode() == own && e.GetOwnerNode() == own && e.GetState() >= custodyv1.ReferralState_REFERRAL_STATE_ARRIVED
}

// Serving says that this node is chosen to give a service to a person of another node.
func Serving(e *referralv1.ReferralChanged, own string) bool {
	return Service(e.GetKind()) && e.GetToNode() == own && e.GetOriginNode() != own && e.GetState() >= custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED
}

// Follow moves a case as its referral went. Events may come twice, so nothing goes back. closed
// says that the case was closed by it.
func Follow(c *protectionv1.Case, e *referralv1.ReferralChanged) (changed, closed bool) {
	if e.GetState() > c.GetReferralState() {
		c.ReferralState, changed = e.GetState(), true
	}
	if c.GetReferralKind() != e.GetKind() && e.GetKind() != 0 {
		c.ReferralKind, changed = e.GetKind(), true
	}
	if Service(e.GetKind()) {
		return followService(c, e) || changed, c.GetState() == protectionv1.Case_STATE_CLOSED && changed
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

// followService: the case goes on where it was taken in, and is over, with the outcome, where the service was given.
func followService(c *protectionv1.Case, e *referralv1.ReferralChanged) (changed bool) {
	if e.GetState() != custodyv1.ReferralState_REFERRAL_STATE_COMPLETED {
		return false
	}
	if e.GetOutcome() != "" && c.GetOutcome() == "" {
		c.Outcome, changed = e.GetOutcome(), true
	}
	if c.GetSource() == protectionv1.Case_SOURCE_REFERRAL && c.GetState() != protectionv1.Case_STATE_CLOSED {
		c.State, changed = protectionv1.Case_STATE_CLOSED, true
	}
	return changed
}

// OwesDossier says that the receiving node is to get the dossier now: the place is promised, and
// it did not go out on this offer yet.
func OwesDossier(r *protectionv1.CaseRecord, e *referralv1.ReferralChanged, own string) bool {
	due := e.GetState() >= custodyv1.ReferralState_REFERRAL_STATE_READY && e.GetState() < custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
	home := Began(e, own) && r.GetCase().GetSource() == protectionv1.Case_SOURCE_INTAKE
	return due && home && e.GetToNode() != "" && e.GetOffer() != "" && e.GetOffer() != r.GetDossierOffer()
}
