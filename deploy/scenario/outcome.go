package scenario

import (
	"time"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/codes"
)

const reunified = "REUNIFIED"

// What becomes of children who do not go back to their parents, and of women. Assumed; that children do is published by province.
var (
	otherwise      = []weighed{{"ENTRUSTED", 30}, {"IN_PLACEMENT", 38}, {"REFERRED_ON", 12}, {"ABSCONDED", 12}, {"MOVED_ON", 4}, {"OTHER", 4}}
	outcomesWomen  = []weighed{{"SAFE_RETURN", 40}, {reunified, 24}, {"INDEPENDENT_LIVING", 14}, {"IN_PLACEMENT", 9}, {"MOVED_ON", 8}, {"ABSCONDED", 3}, {"REFERRED_ON", 2}}
	placedServices = []weighed{{"HEALTH", 45}, {"LEGAL", 30}, {"BASIC_ITEMS", 40}, {"FOOD", 60}}
)

// outcome of a placement: those of one family have it in common.
func (m *maker) outcome(h *household) string {
	c := h.cases[0]
	switch {
	case c.Woman:
		return draw(m.chance, outcomesWomen)
	case m.steady("returned, "+c.Node, m.data.returned(provinceOf(c.Node)), len(h.cases)):
		return reunified
	}
	return draw(m.chance, otherwise)
}

// served is what becomes of who got a service, and what was given.
func (m *maker) served(c *Case, service string) (outcome string, given []string) {
	given = []string{service}
	if service != "PSYCHOSOCIAL" && m.chance.Float64() < counselled/3 {
		given = append(given, "PSYCHOSOCIAL")
	}
	family := service == "FAMILY_TRACING" || service == "REUNIFICATION"
	switch {
	case family && m.steady("returned by a service, "+c.Node, m.data.returned(provinceOf(c.Node)), 1):
		return reunified, given
	case m.chance.Float64() < 0.1:
		return "REFERRED_ON", given
	}
	return "SERVICE_GIVEN", given
}

// stay is how long a placement lasts, as long as the place allows at most.
func (m *maker) stay(outcome string, h *house) time.Duration {
	median := 12 * 24 * time.Hour
	switch outcome {
	case reunified:
		median = 6 * 24 * time.Hour
	case "IN_PLACEMENT", "ENTRUSTED":
		median = 45 * 24 * time.Hour
	}
	longest := longestStay
	if h.stay > 0 {
		longest = h.stay
	}
	return max(skewed(m.chance, median, 0.9, longest), 6*time.Hour)
}

// provided are the services that somebody got in a placement.
func (m *maker) provided(c *Case, outcome string) []string {
	all := []string{codes.ServiceShelter}
	if m.chance.Float64() < counselled {
		all = append(all, "PSYCHOSOCIAL")
	}
	for _, s := range placedServices {
		if m.chance.Float64()*100 < s.weight {
			all = append(all, s.code)
		}
	}
	if !c.Woman && m.chance.Float64() < 0.3 {
		all = append(all, "EDUCATION")
	}
	if outcome == reunified {
		all = append(all, "REUNIFICATION")
	}
	return all
}

// Consent, assumed: how often it is refused of those not referred, that a trusted adult stands in for the caregiver of a child alone, and how often more
// than names and birth may be shared.
const (
	refusing   = 0.07
	standingIn = 0.25
	implicated = 0.5 // of the caregivers for whom somebody stands in
	sharesHome = 0.85
	sharesMore = 0.55
)

// basis is who consents, by age as the worker takes it: the youngest it can be.
func basis(p *protectionv1.Person) string {
	switch age := p.GetAgeFrom(); {
	case age >= 18:
		return codes.ConsentBasisAdult
	case age >= 15:
		return codes.ConsentBasisOlderChild
	case age >= 12:
		return codes.ConsentBasisWrittenAssent
	case age >= 6:
		return codes.ConsentBasisOralAssent
	}
	return codes.ConsentBasisCaregiver
}

// consent is given for what the referral is for.
func (m *maker) consent(h *household, c *Case, purpose string) {
	p := c.Case.GetPerson()
	c.Consent = &protectionv1.Consent{
		Decision: protectionv1.Consent_DECISION_GIVEN, Basis: basis(p), GivenBy: p.GetFatherName(), Purposes: []string{purpose},
		Scopes: []string{codes.ConsentScopeIdentity, codes.ConsentScopeBirth},
	}
	switch {
	case p.GetAgeFrom() >= 15:
		c.Consent.GivenBy = p.GetGivenName()
	case c.Woman:
		c.Consent.GivenBy = h.cases[0].Case.GetPerson().GetGivenName()
	case h.standIn:
		c.Consent.Basis, c.Consent.GivenBy, c.Consent.Note = codes.ConsentBasisTrustedAdult, "case worker", "The caregiver cannot be reached."
		if h.implicated {
			c.Consent.Note = "The caregiver is implicated."
		}
	}
	if !c.Woman {
		c.Consent.Purposes = append(c.Consent.Purposes, "FAMILY_TRACING", "REUNIFICATION")
	}
	if m.chance.Float64() < sharesHome {
		c.Consent.Scopes = append(c.Consent.Scopes, codes.ConsentScopeHomePlace)
	}
	if m.chance.Float64() < sharesMore {
		c.Consent.Scopes = append(c.Consent.Scopes, codes.ConsentScopeHealth, codes.ConsentScopeNarrative)
	}
}

// refuse records that a family does not want anything shared, which is why it is not referred.
func (m *maker) refuse(h *household) {
	for _, c := range h.cases {
		m.consent(h, c, "SERVICES")
		c.Consent.Decision, c.Consent.Scopes = protectionv1.Consent_DECISION_REFUSED, nil
	}
}
