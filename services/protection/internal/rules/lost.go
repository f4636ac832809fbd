package rules

import (
	"strconv"
	"strings"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	"amanat.example/services/kit/fault"
)

// What people are told to look at when one of the two services was restored, codes of the list `deadline`.
const (
	// StepReferralRepeated: a referral that nobody held any more was asked for again.
	StepReferralRepeated = "REFERRAL_REPEATED"
	// StepReferralLost: nobody holds it, and it cannot be asked for again without a person.
	StepReferralLost = "REFERRAL_LOST"
	// StepCaseLost: a referral goes on whose case is not here any more.
	StepCaseLost = "CASE_LOST"
)

// Ended says that a referral is over: what it was asked with is not needed again.
func Ended(s custodyv1.ReferralState) bool {
	return s == custodyv1.ReferralState_REFERRAL_STATE_COMPLETED || s == custodyv1.ReferralState_REFERRAL_STATE_NO_SHOW || Vain(s)
}

// Left says that a person has left, by what is known of their referral: to ask for a place again would be to ask for one too many.
func Left(s custodyv1.ReferralState) bool {
	switch s {
	case custodyv1.ReferralState_REFERRAL_STATE_UNSPECIFIED, custodyv1.ReferralState_REFERRAL_STATE_SUBMITTED,
		custodyv1.ReferralState_REFERRAL_STATE_CONFIRMED, custodyv1.ReferralState_REFERRAL_STATE_READY:
		return false
	}
	return true
}

// Repeat is what the referral of a case is asked for with again, under the same key; nil where a person has to decide. The ground is the
// consent as it is now, and an answer that is overdue by now has the risk's own time.
func Repeat(r *protectionv1.CaseRecord, now time.Time) *referralv1.SubmitReferralRequest {
	c, request := r.GetCase(), r.GetSubmission().GetRequest()
	if request == nil || c.GetState() != protectionv1.Case_STATE_ACTIVE || Left(c.GetReferralState()) {
		return nil
	}
	if request.GetOverride() == nil {
		if !Holds(c.GetConsent(), now) {
			return nil
		}
		request.Ground = &referralv1.SubmitReferralRequest_Consent{Consent: Receipt(c.GetConsent())}
	}
	if at := request.GetAnswerBy(); at != nil && !at.AsTime().After(now) {
		request.AnswerBy = nil
	}
	return request
}

// Forget takes a referral that nobody holds from its case, which can be referred again.
func Forget(r *protectionv1.CaseRecord) {
	c := r.GetCase()
	c.Referral, c.ReferralKind, c.ReferralState, c.Outside = "", 0, 0, false
	r.Submission = nil
	anew(r)
}

// Refers notes which referral a case has. What is known of the one before, if any, is over.
func Refers(r *protectionv1.CaseRecord, referral string, kind custodyv1.ReferralKind, state custodyv1.ReferralState, sequence uint64) {
	c := r.GetCase()
	if c.GetReferral() != referral {
		anew(r)
	}
	c.Referral, c.ReferralKind = referral, kind
	if sequence > r.GetReferralSequence() { // the event that made it so is still to be heard
		c.ReferralState, r.ReferralSequence = state, sequence-1
	}
}

// There is the referral that a case has already, as the referral service says which refuses to begin another; nil where it refuses for another
// reason. The case then has it, by the key that began it, and hears the rest from its events; how that one was asked for is not known any more.
func There(r *protectionv1.CaseRecord, why *fault.Error) *referralv1.Referral {
	says := why.Metadata()
	if says["referral"] == "" || says["request_id"] != r.GetSubmittedAs() {
		return nil
	}
	if c := r.GetCase(); c.GetReferral() != says["referral"] {
		c.ReferralState, c.Outside, r.Submission = 0, false, nil
	}
	r.SubmittedAs = says["begun_by"]
	return &referralv1.Referral{Name: says["referral"]}
}

func anew(r *protectionv1.CaseRecord) {
	r.ReferralSequence, r.DossierOffer, r.DossierNode, r.HolderNode, r.HolderOffer = 0, "", "", "", ""
}

// Forgotten says that a case has forgotten a referral which its key says is its own: the store was restored to before it was asked for, or
// before it was asked for again. An earlier referral of the case is no such.
func Forgotten(r *protectionv1.CaseRecord, e *referralv1.ReferralChanged) bool {
	known := r.GetSubmittedAs()
	switch {
	case r.GetAsked().GetPending() || r.GetCase().GetSource() != protectionv1.Case_SOURCE_INTAKE:
		return false // the answer says it
	case known == e.GetRequestId():
		return true
	case known == "": // of before keys were kept, where there is one
		return r.GetCase().GetReferral() == ""
	}
	return versionIn(e.GetRequestId()) > versionIn(known)
}

// versionIn is the version of the case in the key of a call about it, which grows.
func versionIn(key string) uint64 {
	n, _ := strconv.ParseUint(key[strings.LastIndexByte(key, '-')+1:], 10, 64)
	return n
}
