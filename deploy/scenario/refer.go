package scenario

import (
	"math/rand/v2"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/codes"
)

// What is assumed of referrals; no figure says it.
const (
	placedAway  = 0.72 // of those referred to another province who need a place to stay
	placedHere  = 0.60 // of those referred within their own
	pregnant    = 0.04 // of women
	impaired    = 0.015
	noShow      = 0.05 // of placements
	counselled  = 0.60 // get psychosocial support in a placement
	longestStay = 150 * 24 * time.Hour
)

// Reasons, by what they lead to. For another province: family lives there above all; of Balochistan, that it has no bed. Within a province the bed.
var (
	reasonsAway = map[string][]weighed{
		"sindh":       {{familyThere, 45}, {noBed, 18}, {"NOT_SERVED_LOCALLY", 8}, {"SAFETY_RELOCATION", 11}, {"COURT_ORDER", 9}, {"JURISDICTION_OF_OFFENCE", 9}},
		"punjab":      {{familyThere, 60}, {noBed, 4}, {"NOT_SERVED_LOCALLY", 3}, {"SAFETY_RELOCATION", 13}, {"COURT_ORDER", 10}, {"JURISDICTION_OF_OFFENCE", 10}},
		"balochistan": {{familyThere, 22}, {noBed, 45}, {"NOT_SERVED_LOCALLY", 17}, {"SAFETY_RELOCATION", 7}, {"COURT_ORDER", 5}, {"JURISDICTION_OF_OFFENCE", 4}},
	}
	reasonsHere = []weighed{{noBed, 40}, {"NOT_SERVED_LOCALLY", 17}, {familyThere, 23}, {"SAFETY_RELOCATION", 8}, {"COURT_ORDER", 12}}
	// services asked where nobody moves, each with its reason.
	services = []weighed{
		{"FAMILY_TRACING", 26}, {"REUNIFICATION", 20}, {"PSYCHOSOCIAL", 14}, {"LEGAL", 12}, {"HEALTH", 8}, {"MEDICO_LEGAL", 7}, {"REGISTRATION_DOCUMENTS", 7}, {"POLICE", 6},
	}
	serviceReason = map[string]string{
		"FAMILY_TRACING": familyThere, "REUNIFICATION": familyThere, "REGISTRATION_DOCUMENTS": familyThere, "PSYCHOSOCIAL": "SPECIALIST_SERVICE",
		"HEALTH": "SPECIALIST_SERVICE", "MEDICO_LEGAL": "SPECIALIST_SERVICE", "LEGAL": "JURISDICTION_OF_OFFENCE", "POLICE": "JURISDICTION_OF_OFFENCE",
	}
)

const (
	familyThere = "FAMILY_LIVES_THERE"
	noBed       = "NO_LOCAL_BED"
)

// asked is a unit that can be asked, with the place it has for the people; none for a service.
type asked struct {
	*office
	house *house
}

// refer says how a family is referred, to another province or within its own, and what comes of it.
func (m *maker) refer(from *office, h *household, away bool) {
	share := placedHere
	if away {
		share = placedAway
	}
	if m.chance.Float64() < share && m.place(from, h, away) {
		return
	}
	for _, c := range h.cases {
		m.serve(from, h, c, away)
	}
}

// place refers a family for a place to stay; false where no unit has one for all of them.
func (m *maker) place(from *office, h *household, away bool) bool {
	family := h.cases
	needs := make([]*custodyv1.Needs, len(family))
	for i, c := range family {
		needs[i] = m.needs(c, len(family))
	}
	reason := draw(m.chance, reasonsHere)
	if away {
		reason = draw(m.chance, reasonsAway[from.node])
	}
	to := m.destination(from, h, reason, away)
	units := m.candidates(from, to, func(o *office) (asked, bool) {
		house := o.place(m.chance, needs)
		return asked{o, house}, house != nil
	}, near(reason, from, h.home))
	if len(units) == 0 {
		return false
	}
	answers := m.answers(units, family[0].Case.GetUrgency(), len(family), true)
	last := answers[len(answers)-1]
	after, road, absent := m.after(family[0].Case.GetUrgency()), m.road(from, units[len(answers)-1].office), m.chance.Float64() < noShow
	outcome := m.outcome(family[0])
	stay := m.stay(outcome, units[len(answers)-1].house)
	for i, c := range family {
		own := append([]Answer(nil), answers...)
		if !last.Silent && last.Decline == "" {
			own[len(own)-1].Group = units[len(answers)-1].house.groups(needs)[i]
		}
		c.Referral = &Referral{
			After: after, Answers: own, Road: road, NoShow: absent, Stay: stay, Outcome: outcome, Services: m.given(c, outcome),
			Request: &protectionv1.ReferCaseRequest{
				Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: codes.ServiceShelter, Reasons: []string{reason}, Needs: needs[i], ToUnit: answers[0].Unit,
			},
		}
		m.consent(c, family, "PLACEMENT")
	}
	return true
}

// serve refers somebody for a service, to which the person goes and comes back.
func (m *maker) serve(from *office, h *household, c *Case, away bool) {
	service := draw(m.chance, services)
	reason := serviceReason[service]
	to := m.destination(from, h, reason, away)
	units := m.candidates(from, to, func(o *office) (asked, bool) {
		return asked{o, nil}, o.serves(c.Woman) || o.node == "punjab" && c.Woman
	}, near(reason, from, h.home))
	needs := m.needs(c, 1)
	needs.WithMother, needs.Services = false, []string{service}
	outcome := "SERVICE_GIVEN"
	switch {
	case (service == "FAMILY_TRACING" || service == "REUNIFICATION") && m.chance.Float64() < m.data.returned(provinceOf(c.Node)):
		outcome = reunified
	case m.chance.Float64() < 0.1:
		outcome = "REFERRED_ON"
	}
	given := []string{service}
	if service != "PSYCHOSOCIAL" && m.chance.Float64() < counselled/3 {
		given = append(given, "PSYCHOSOCIAL")
	}
	c.Referral = &Referral{
		After: m.after(c.Case.GetUrgency()), Answers: m.answers(units, c.Case.GetUrgency(), 1, false),
		Stay: skewed(m.chance, 6*24*time.Hour, 0.9, longestStay), Outcome: outcome, Services: given,
		Request: &protectionv1.ReferCaseRequest{
			Kind: custodyv1.ReferralKind_REFERRAL_KIND_SERVICE, Service: service, Reasons: []string{reason}, Needs: needs,
		},
	}
	c.Referral.Request.ToUnit = c.Referral.Answers[0].Unit
	m.consent(c, h.cases, "SERVICES")
}

// needs of somebody in a family of so many.
func (m *maker) needs(c *Case, size int) *custodyv1.Needs {
	p := c.Case.GetPerson()
	n := &custodyv1.Needs{
		Gender: p.GetGender(), AgeFrom: p.GetAgeFrom(), AgeTo: p.GetAgeTo(), Languages: p.GetLanguages(), Services: []string{"PSYCHOSOCIAL"},
		WithMother: c.Woman && size > 1,
	}
	adult := p.GetAgeFrom() >= 18
	if !adult && !c.Woman {
		n.Services = append(n.Services, "EDUCATION")
	}
	switch {
	case p.GetAgeTo() == 0:
		n.SpecialNeeds = []string{"INFANT"}
	case adult && m.chance.Float64() < pregnant:
		n.SpecialNeeds = []string{"PREGNANCY"}
	case !adult && p.GetAgeFrom() >= 4 && !c.Woman && m.chance.Float64() < impaired:
		n.SpecialNeeds = []string{[]string{"HEARING", "VISION"}[m.chance.IntN(2)]}
	}
	return n
}

// destination is the node that is asked. Where family is the reason it is where the family lives, which is then so; to Balochistan nobody goes for a bed.
func (m *maker) destination(from *office, h *household, reason string, away bool) string {
	if !away {
		return from.node
	}
	var nodes []string
	var weights []float64
	for _, p := range provinces {
		if p.node == from.node || p.node == "balochistan" && (reason == noBed || reason == "NOT_SERVED_LOCALLY" || reason == "SAFETY_RELOCATION" || reason == "SPECIALIST_SERVICE") {
			continue
		}
		people := 0
		for _, d := range m.data.in(p.node) {
			people += d.people
		}
		nodes, weights = append(nodes, p.node), append(weights, float64(people))
	}
	to := nodes[pick(m.chance, weights...)]
	if reason == familyThere {
		m.moves(h, m.lives(to))
	}
	return to
}

// near weighs units by how near they are to where the reason points.
func near(reason string, from *office, home district) func(a asked) float64 {
	return func(a asked) float64 {
		switch reason {
		case familyThere:
			km, _ := codes.Distance(home.code, a.district)
			return 1 / float64(25+km)
		case noBed, "NOT_SERVED_LOCALLY":
			km, _ := codes.Distance(from.district, a.district)
			return 1 / float64(50+km)
		case "SAFETY_RELOCATION": // far away
			km, _ := codes.Distance(from.district, a.district)
			return float64(50 + km)
		}
		return 1
	}
}

// candidates are the units of a node that can be asked, other than the one that asks, in the order in which they are.
func (m *maker) candidates(from *office, node string, can func(o *office) (asked, bool), weigh func(a asked) float64) []asked {
	var all []asked
	var weights []float64
	for _, o := range m.offices {
		if o.node != node || o == from {
			continue
		}
		if a, ok := can(o); ok {
			w := weigh(a)
			if a.house != nil {
				w *= float64(a.house.beds())
			}
			all, weights = append(all, a), append(weights, w)
		}
	}
	return order(m.chance, all, weights)
}

// order draws units one after the other, as many as are asked at most.
func order(chance *rand.Rand, all []asked, weights []float64) []asked {
	drawn := make([]asked, 0, mostAsked)
	for len(drawn) < min(mostAsked, len(all)) {
		i := pick(chance, weights...)
		if weights[i] > 0 {
			drawn = append(drawn, all[i])
		}
		weights[i] = 0
	}
	return drawn
}
