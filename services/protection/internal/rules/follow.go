package rules

import (
	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
)

// Began says that a referral began at this node: its case was taken in here.
func Began(e *referralv1.ReferralChanged, own string) bool { return e.GetOriginNode() == own }

// Arriving says that a person is in the care of this node, which was asked for a place. Who comes back is in the care of it already.
func Arriving(e *referralv1.ReferralChanged, own string) bool {
	if Service(e.GetKind()) {
		return Serving(e, own)
	}
	return e.GetToNode() == own && e.GetOwnerNode() == own && came(e.GetState()) && !e.GetReturning()
}

// Serving says that this node is chosen to give a service to a person of another node.
func Serving(e *referralv1.ReferralChanged, own string) bool {
	if !Service(e.GetKind()) || e.GetToNode() != own || e.GetOriginNode() == own {
		return false
	}
	switch e.GetState() {
	case custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED, custodyv1.ReferralState_REFERRAL_STATE_READY:
		return true
	}
	return came(e.GetState())
}

// came says that in a state of a referral its person is with the node that was asked, or is served there.
func came(s custodyv1.ReferralState) bool {
	switch s {
	case custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE, custodyv1.ReferralState_REFERRAL_STATE_COMPLETED:
		return true
	}
	return false
}

// Vain says that a referral ended without a place for its person, who can be referred again.
func Vain(s custodyv1.ReferralState) bool {
	switch s {
	case custodyv1.ReferralState_REFERRAL_STATE_CANCELLED, custodyv1.ReferralState_REFERRAL_STATE_EXPIRED, custodyv1.ReferralState_REFERRAL_STATE_RETURNED:
		return true
	}
	return false
}

// New says that an event tells more of a case's referral than is known.
func New(r *protectionv1.CaseRecord, e *referralv1.ReferralChanged) bool {
	return e.GetSequence() > r.GetReferralSequence()
}

// Follow moves a case as its referral went; what is not [New] changes nothing. closed says that the case was closed by it: its person
// is with somebody else, or was served here and is in the care of another node. A person who came back is a case again.
func Follow(r *protectionv1.CaseRecord, e *referralv1.ReferralChanged) (changed, closed bool) {
	if !New(r, e) {
		return false, false
	}
	c := r.GetCase()
	r.ReferralSequence, c.ReferralState = e.GetSequence(), e.GetState()
	if e.GetKind() != 0 {
		c.ReferralKind = e.GetKind()
	}
	if Service(e.GetKind()) {
		return true, followService(c, e)
	}
	if c.GetSource() != protectionv1.Case_SOURCE_INTAKE {
		return true, false
	}
	open := c.GetState() == protectionv1.Case_STATE_ACTIVE || c.GetState() == protectionv1.Case_STATE_FOLLOW_UP
	switch {
	case open && came(e.GetState()) && !e.GetReturning():
		c.State, closed = protectionv1.Case_STATE_CLOSED_REFERRED, true
	case c.GetState() == protectionv1.Case_STATE_CLOSED_REFERRED && e.GetState() == custodyv1.ReferralState_REFERRAL_STATE_RETURNED:
		c.State = protectionv1.Case_STATE_ACTIVE
	}
	if e.GetOutcome() != "" {
		c.Outcome = e.GetOutcome()
	}
	return true, closed
}

// followService: the case goes on where it was taken in, and is over, with the outcome, where the service was given.
func followService(c *protectionv1.Case, e *referralv1.ReferralChanged) (closed bool) {
	if e.GetState() != custodyv1.ReferralState_REFERRAL_STATE_COMPLETED {
		return false
	}
	if e.GetOutcome() != "" {
		c.Outcome = e.GetOutcome()
	}
	if c.GetSource() == protectionv1.Case_SOURCE_REFERRAL && c.GetState() != protectionv1.Case_STATE_CLOSED {
		c.State, closed = protectionv1.Case_STATE_CLOSED, true
	}
	return closed
}

// OwesDossier says that the receiving node is to get the dossier now: the place is promised, and
// it did not go out on this offer yet.
func OwesDossier(r *protectionv1.CaseRecord, e *referralv1.ReferralChanged, own string) bool {
	due := e.GetState() >= custodyv1.ReferralState_REFERRAL_STATE_READY && e.GetState() < custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
	home := Began(e, own) && r.GetCase().GetSource() == protectionv1.Case_SOURCE_INTAKE
	return due && home && !e.GetReturning() && e.GetToNode() != "" && e.GetOffer() != "" && e.GetOffer() != r.GetDossierOffer()
}
