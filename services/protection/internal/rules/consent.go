// Package rules decides about cases, consent and dossiers: pure functions over the proto messages,
// with `now` as an argument. No I/O, no clock, no ids.
package rules

import (
	"crypto/sha256"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
)

// SaltBytes is the length of a consent's salt.
const SaltBytes = 32

// domain tells commitments to consent from all other hashes.
const domain = "amanat.consent.v1\x00"

// CheckConsent holds what the proto's own rules cannot: codes, and an end that lies ahead.
func CheckConsent(c *protectionv1.Consent, now time.Time) error {
	if err := codes.CheckField("consent.basis", codes.ConsentBasis, c.GetBasis()); err != nil {
		return err
	}
	if err := codes.CheckFields("consent.purposes", codes.ConsentPurpose, c.GetPurposes()); err != nil {
		return err
	}
	if err := codes.CheckFields("consent.scopes", codes.ConsentScope, c.GetScopes()); err != nil {
		return err
	}
	if c.GetExpireTime() != nil && !c.GetExpireTime().AsTime().After(now) {
		return fault.InvalidField("consent.expire_time", "must lie in the future; leave it out for consent without an end")
	}
	return nil
}

// Record completes a consent as a person gave it: when, and the commitment that stands for it in
// the custody chain.
func Record(given *protectionv1.Consent, salt []byte, now time.Time) (*protectionv1.Consent, error) {
	c := proto.CloneOf(given)
	c.EndTime = nil
	commitment, err := Commit(c, salt)
	if err != nil {
		return nil, err
	}
	c.Salt, c.Commitment, c.RecordTime = salt, commitment, timestamppb.New(now)
	return c, nil
}

// Commit is SHA-256 over domain, salt and the consent as given: without salt, commitment and the
// times of recording and withdrawal.
func Commit(c *protectionv1.Consent, salt []byte) ([]byte, error) {
	bare := proto.CloneOf(c)
	bare.Salt, bare.Commitment, bare.RecordTime, bare.EndTime = nil, nil, nil, nil
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(bare)
	if err != nil {
		return nil, fmt.Errorf("marshal the consent: %w", err)
	}
	sum := sha256.New()
	sum.Write([]byte(domain))
	sum.Write(salt)
	sum.Write(raw)
	return sum.Sum(nil), nil
}

// Holds says whether consent was given and has not ended.
func Holds(c *protectionv1.Consent, now time.Time) bool {
	return c.GetDecision() == protectionv1.Consent_DECISION_GIVEN && c.GetEndTime() == nil &&
		(c.GetExpireTime() == nil || c.GetExpireTime().AsTime().After(now))
}

// EndConsent notes, once for a referral, that its chain says consent has ended. What is recorded later is another consent.
func EndConsent(r *protectionv1.CaseRecord, now time.Time) {
	c := r.GetCase()
	if c.GetReferral() == "" || r.GetConsentEndedReferral() == c.GetReferral() {
		return
	}
	r.ConsentEndedReferral = c.GetReferral()
	if c.GetConsent() != nil && c.GetConsent().GetEndTime() == nil {
		c.Consent.EndTime = timestamppb.New(now)
	}
}

// Withdraws says that a consent as recorded now ends what a referral of the case goes by: it was refused while the referral goes on,
// and the chain does not say so yet.
func Withdraws(r *protectionv1.CaseRecord) bool {
	c := r.GetCase()
	if c.GetConsent().GetDecision() != protectionv1.Consent_DECISION_REFUSED || c.GetReferral() == "" || r.GetConsentEndedReferral() == c.GetReferral() {
		return false
	}
	return GoesOn(c.GetReferralState())
}

// GoesOn says that a referral goes by consent in a state: also of a person who did not come, for they may still.
func GoesOn(s custodyv1.ReferralState) bool {
	return !Vain(s) && s != custodyv1.ReferralState_REFERRAL_STATE_COMPLETED
}

// Receipt proves consent to other nodes without saying by whom or for whom.
func Receipt(c *protectionv1.Consent) *custodyv1.ConsentReceipt {
	return &custodyv1.ConsentReceipt{
		Commitment: c.GetCommitment(), Basis: c.GetBasis(), Purposes: c.GetPurposes(),
		RecordTime: c.GetRecordTime(), ExpireTime: c.GetExpireTime(),
	}
}
