package rules

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/codes"
)

// Dossier is what the receiving unit may learn of a case: only what consent covers now. A field
// that no scope names stays here. The consent goes with it, for it binds whoever hands the person on.
func Dossier(c *protectionv1.Case, referral, offer string, now time.Time) *protectionv1.Dossier {
	d := &protectionv1.Dossier{Referral: referral, Offer: offer, Urgency: c.GetUrgency()}
	if given := c.GetConsent(); Holds(given, now) {
		d.Consent = &protectionv1.DossierConsent{
			Basis: given.GetBasis(), Purposes: given.GetPurposes(), Scopes: given.GetScopes(),
			RecordTime: given.GetRecordTime(), ExpireTime: given.GetExpireTime(), Commitment: given.GetCommitment(),
		}
	}
	from, to := c.GetPerson(), &protectionv1.Person{}
	covered := func(scope string) bool {
		return Holds(c.GetConsent(), now) && slices.Contains(c.GetConsent().GetScopes(), scope)
	}
	if covered(codes.ConsentScopeIdentity) {
		to.GivenName, to.FatherName, to.FamilyName, to.Cnic = from.GetGivenName(), from.GetFatherName(), from.GetFamilyName(), from.GetCnic()
	}
	if covered(codes.ConsentScopeBirth) {
		to.Gender, to.Languages = from.GetGender(), slices.Clone(from.GetLanguages())
		to.BirthDate, to.AgeFrom, to.AgeTo, to.AgeAsOf = from.GetBirthDate(), from.GetAgeFrom(), from.GetAgeTo(), from.GetAgeAsOf()
	}
	if covered(codes.ConsentScopeHomePlace) {
		to.HomePlace, d.FoundDistrict = from.GetHomePlace(), c.GetFoundDistrict()
	}
	if covered(codes.ConsentScopeHealth) {
		to.Health, d.Exploitation = from.GetHealth(), slices.Clone(c.GetExploitation())
	}
	if covered(codes.ConsentScopeNarrative) {
		d.Narrative = c.GetNarrative()
	}
	if proto.Size(to) > 0 {
		d.Person = to
	}
	return proto.CloneOf(d)
}

// ConsentOf is the consent that came with a dossier, as the receiving case has it: who gave it stays with the node that recorded it.
func ConsentOf(d *protectionv1.Dossier) *protectionv1.Consent {
	given := d.GetConsent()
	if given == nil {
		return nil
	}
	return &protectionv1.Consent{
		Decision: protectionv1.Consent_DECISION_GIVEN, Basis: given.GetBasis(), Purposes: given.GetPurposes(), Scopes: given.GetScopes(),
		RecordTime: given.GetRecordTime(), ExpireTime: given.GetExpireTime(), Commitment: given.GetCommitment(),
	}
}
