package rules

import (
	"strings"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
)

// Began says that a referral began at this node: its case was taken in here.
func Began(e *referralv1.ReferralChanged, own string) bool { return e.GetOriginNode() == own }

// came says that in a state of a referral its person is with the node that was asked, or is served there.
func came(s custodyv1.ReferralState) bool {
	switch s {
	case custodyv1.ReferralState_REFERRAL_STATE_ARRIVED, custodyv1.ReferralState_REFERRAL_STATE_IN_SERVICE, custodyv1.ReferralState_REFERRAL_STATE_COMPLETED:
		return true
	}
	return false
}

// remains says that a person is with the first owner, though the way back was not chosen: who turned round, or came by themselves; or is with
// an agency outside the network, where the duty of care, and the case, stay until the outcome is recorded here.
func remains(e *referralv1.ReferralChanged) bool {
	return e.GetOwnerNode() == e.GetOriginNode() && e.GetToNode() != e.GetOwnerNode()
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

// Past says that word of a refused handover is of before what is known of the referral: it is heard again, and ends nothing. One without
// a position is of before there was one.
func Past(e *referralv1.HandoverRefused, known uint64) bool {
	return e.GetSequence() > 0 && e.GetSequence() < known
}

// Follow moves a case as its referral went; what is not [New] changes nothing. closed says that the case was closed by it: its person
// is with somebody else, was served here and is in the care of another node, or was helped here and the referral is completed. A person who came back
// is a case again.
func Follow(r *protectionv1.CaseRecord, e *referralv1.ReferralChanged) (changed, closed bool) {
	if !New(r, e) {
		return false, false
	}
	c := r.GetCase()
	r.ReferralSequence, c.ReferralState = e.GetSequence(), e.GetState()
	r.HolderNode, r.HolderOffer = Holder(e)
	if e.GetState() == custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW { // the dossier was closed there: who comes after all needs it once more
		r.DossierNode, r.DossierOffer = "", ""
	}
	c.Outside = e.GetOutside()
	if Ended(e.GetState()) {
		r.Submission = nil
	}
	if e.GetKind() != 0 {
		c.ReferralKind = e.GetKind()
	}
	if Service(e.GetKind()) {
		return true, followService(c, e)
	}
	if e.GetOutcome() != "" {
		c.Outcome = e.GetOutcome()
	}
	open := c.GetState() == protectionv1.Case_STATE_ACTIVE || c.GetState() == protectionv1.Case_STATE_FOLLOW_UP
	switch {
	case open && e.GetState() == custodyv1.ReferralState_REFERRAL_STATE_COMPLETED && helped(c, e):
		c.State, closed = protectionv1.Case_STATE_CLOSED, true
	case c.GetSource() != protectionv1.Case_SOURCE_INTAKE:
	case open && came(e.GetState()) && !e.GetReturning() && !remains(e):
		c.State, closed = protectionv1.Case_STATE_CLOSED_REFERRED, true
	case c.GetState() == protectionv1.Case_STATE_CLOSED_REFERRED && e.GetState() == custodyv1.ReferralState_REFERRAL_STATE_RETURNED:
		c.State = protectionv1.Case_STATE_ACTIVE
	}
	return true, closed
}

// helped says that it is this case whose person was helped in a referral that is completed: it was received by the node that owns the referral, or
// its person went to an agency. Its outcome was recorded here, also where this store has lost that.
func helped(c *protectionv1.Case, e *referralv1.ReferralChanged) bool {
	if c.GetSource() == protectionv1.Case_SOURCE_INTAKE {
		return c.GetOutside() && e.GetOwnerNode() == e.GetOriginNode()
	}
	return strings.HasPrefix(c.GetName(), "nodes/"+e.GetOwnerNode()+"/")
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

// Owes says that a node gives a person, and to whom its case is owed as a dossier, on which offer: the place is promised, or the person
// is there already, and it did not go out to that place yet. An event that is not the last its case heard of owes nothing.
func Owes(r *protectionv1.CaseRecord, e *referralv1.ReferralChanged, own string) (node, offer string, owed bool) {
	node, offer = Holder(e)
	if r.GetCase().GetSource() == protectionv1.Case_SOURCE_REFERRAL && node == own {
		return "", "", false // within this node: it is the case that is there
	}
	if node == "" || e.GetGiverNode() != own || e.GetSequence() != r.GetReferralSequence() {
		return "", "", false
	}
	return node, offer, node != r.GetDossierNode() || offer != r.GetDossierOffer()
}
