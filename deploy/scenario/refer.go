package scenario

import (
	"math/rand/v2"
	"slices"
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

// way is how a household is to be helped, as it is planned before its people are made: where family is the reason, they are people of there.
type way struct {
	// to is the node that is asked, the own one included; empty: nobody is referred.
	to string
	// place: for a place to stay, else for a service.
	place           bool
	service, reason string
}

// plan draws a way: to another province, or within the own one.
func (m *maker) plan(node string, away bool) way {
	share := placedHere
	if away {
		share = placedAway
	}
	if m.chance.Float64() >= share {
		return m.planService(node, away)
	}
	w := way{to: node, place: true, service: codes.ServiceShelter, reason: draw(m.chance, reasonsHere)}
	if away {
		w.reason = draw(m.chance, reasonsAway[node])
		w.to = m.destination(node, w.reason)
	}
	return w
}

func (m *maker) planService(node string, away bool) way {
	w := way{to: node, service: draw(m.chance, services)}
	w.reason = serviceReason[w.service]
	if away {
		w.to = m.destination(node, w.reason)
	}
	return w
}

// destination is another node: where more people live, more have family. To Balochistan nobody goes for a bed, or to be safe.
func (m *maker) destination(node, reason string) string {
	var nodes []string
	var weights []float64
	for _, p := range provinces {
		barren := p.node == "balochistan" && reason != familyThere && reason != "COURT_ORDER" && reason != "JURISDICTION_OF_OFFENCE"
		if p.node == node || barren {
			continue
		}
		people := 0
		for _, d := range m.data.in(p.node) {
			people += d.people
		}
		nodes, weights = append(nodes, p.node), append(weights, float64(people))
	}
	return nodes[pick(m.chance, weights...)]
}

// asked is a unit that can be asked, with the place it has for the people; none for a service.
type asked struct {
	*office
	house *house
}

// refer says how a household is referred, and what comes of it: for a service where no unit has a place for all of them.
func (m *maker) refer(from *office, h *household, w way) {
	if w.place && m.place(from, h, w) {
		return
	}
	if w.place {
		to := w.to
		for w.place || w.reason == familyThere && h.home.node != to { // whose family is there is decided by now
			w = m.planService(from.node, false)
		}
		w.to = to
	}
	for _, c := range h.cases {
		m.serve(from, h, c, w)
	}
}

// place refers a household for a place to stay; false where no unit has one for all of them.
func (m *maker) place(from *office, h *household, w way) bool {
	needs := make([]*custodyv1.Needs, len(h.cases))
	for i, c := range h.cases {
		needs[i] = m.needs(c, len(h.cases))
	}
	units := m.candidates(from, w.to, near(w.reason, from, h.home), func(o *office) (asked, bool) {
		house := o.place(m.chance, needs)
		return asked{o, house}, house != nil
	})
	if len(units) == 0 {
		return false
	}
	risk := h.cases[0].Case.GetUrgency()
	common := Referral{After: m.after(risk), Answers: m.answers(units, risk, len(needs), true)}
	house := units[len(common.Answers)-1].house
	accepted := common.accepted()
	if accepted {
		common.Road, common.NoShow = m.road(from, units[len(common.Answers)-1].office), m.chance.Float64() < noShow
		common.Outcome = m.outcome(h)
		common.Stay = m.stay(common.Outcome, house)
	}
	for i, c := range h.cases {
		own := common
		own.Request = &protectionv1.ReferCaseRequest{
			Kind: custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT, Service: w.service, Reasons: []string{w.reason}, Needs: needs[i], ToUnit: own.Answers[0].Unit,
		}
		if accepted {
			own.Answers = slices.Clone(own.Answers)
			own.Answers[len(own.Answers)-1].Group = house.groups(needs)[i]
			own.Services = m.provided(c, own.Outcome)
		}
		c.Referral = &own
		m.consent(h, c, "PLACEMENT")
	}
	return true
}

// accepted says that the last unit asked accepts.
func (r *Referral) accepted() bool {
	last := r.Answers[len(r.Answers)-1]
	return !last.Silent && last.Decline == ""
}

// serve refers somebody for a service, to which the person goes and comes back.
func (m *maker) serve(from *office, h *household, c *Case, w way) {
	units := m.candidates(from, w.to, near(w.reason, from, h.home), func(o *office) (asked, bool) { return asked{o, nil}, o.serves(c.Woman) })
	needs, risk := m.needs(c, 1), c.Case.GetUrgency()
	needs.Services = []string{w.service}
	c.Referral = &Referral{After: m.after(risk), Answers: m.answers(units, risk, 1, false)}
	c.Referral.Request = &protectionv1.ReferCaseRequest{
		Kind: custodyv1.ReferralKind_REFERRAL_KIND_SERVICE, Service: w.service, Reasons: []string{w.reason}, Needs: needs, ToUnit: c.Referral.Answers[0].Unit,
	}
	if c.Referral.accepted() {
		c.Referral.Stay = skewed(m.chance, 6*24*time.Hour, 0.9, longestStay)
		c.Referral.Outcome, c.Referral.Services = m.served(c, w.service)
	}
	m.consent(h, c, "SERVICES")
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

// near weighs units by how near they are: to home where family is the reason, else to the unit that asks; but by how far where it is safety.
func near(reason string, from *office, home district) func(o *office) float64 {
	return func(o *office) float64 {
		switch reason {
		case familyThere:
			km, _ := codes.Distance(home.code, o.district)
			return 1 / float64(25+km)
		case "SAFETY_RELOCATION":
			km, _ := codes.Distance(from.district, o.district)
			return float64(50 + km)
		}
		km, _ := codes.Distance(from.district, o.district)
		return 1 / float64(50+km)
	}
}

// candidates are units of a node that can be asked, other than the one that asks, in the order in which they are.
func (m *maker) candidates(from *office, node string, near func(o *office) float64, can func(o *office) (asked, bool)) []asked {
	var all []asked
	var weights []float64
	for _, o := range m.offices {
		if o.node != node || o == from {
			continue
		}
		a, ok := can(o)
		if !ok {
			continue
		}
		w := near(o)
		if a.house != nil {
			w *= float64(a.house.beds())
		}
		all, weights = append(all, a), append(weights, w)
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
