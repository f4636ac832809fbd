package scenario

import (
	"sync"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/limits"
)

// How units answer. Published studies of referral systems find a quarter to a half of referrals never answered; taken is the quarter, since this
// network asks again. All else is assumed.
const (
	neverAnswered = 0.25 // of units asked that are not the last that can be
	declining     = 0.18 // likewise
	inVain        = 0.30 // of the last that can be asked: it declines too, and the referral ends without anyone
	asking        = 0.12 // of the answers: a question comes first
	mostAsked     = 4
	// spread of the delays: with a median at 0.28 of the limit, one answer in ten is later than the limit.
	spread, medianOfLimit = 1.0, 0.28
)

// answerLimit is by when an offer is to be answered, by risk.
var answerLimit = sync.OnceValue(func() map[custodyv1.Urgency]time.Duration {
	all := map[custodyv1.Urgency]time.Duration{}
	for _, risk := range limits.Default().Risks {
		all[risk.Urgency] = risk.Answer
	}
	return all
})

var (
	declines = []weighed{
		{codes.DeclineNoCapacity, 48},
		{"CANNOT_MEET_NEEDS", 13},
		{"DOCUMENTS_OR_ORDER_MISSING", 10},
		{"INELIGIBLE_AGE", 8},
		{"OUT_OF_AREA", 7},
		{"INELIGIBLE_SEX", 5},
		{"TOO_FAR", 5},
		{"SAFETY_CONFLICT", 4},
	}
	declinesFamily  = append([]weighed{{"FAMILY_TOO_LARGE", 40}}, declines...)
	declinesService = []weighed{{codes.DeclineNoCapacity, 30}, {"CANNOT_MEET_NEEDS", 20}, {"OUT_OF_AREA", 20}, {"INAPPROPRIATE", 15}, {"DOCUMENTS_OR_ORDER_MISSING", 15}}
	questions       = []weighed{{"HEALTH", 25}, {"SAFETY", 18}, {"FAMILY", 25}, {"DOCUMENTS", 22}, {"TRAVEL", 10}}
)

// answers are what the units say, one after the other, until one accepts or none is left.
func (m *maker) answers(units []asked, risk custodyv1.Urgency, family int, place bool) []Answer {
	reasons := declines
	switch {
	case !place:
		reasons = declinesService
	case family > 1:
		reasons = declinesFamily
	}
	limit := answerLimit()[risk]
	var all []Answer
	for i, unit := range units {
		a := Answer{Unit: unit.name}
		last := i == len(units)-1
		said := m.chance.Float64()
		switch {
		case !last && said < neverAnswered:
			a.Silent = true
			a.Delay = limit + skewed(m.chance, limit/6, spread, limit) // until the origin asks the next
		case !last && said < neverAnswered+declining, last && said < inVain:
			a.Decline = draw(m.chance, reasons)
		}
		if !a.Silent {
			a.Delay = max(skewed(m.chance, time.Duration(medianOfLimit*float64(limit)), spread, 6*limit), time.Minute)
			if m.chance.Float64() < asking {
				a.Question = draw(m.chance, questions)
			}
		}
		all = append(all, a)
		if !a.Silent && a.Decline == "" {
			break
		}
	}
	return all
}

// after is how long a case is worked on before it is referred: a high risk is not left for a day.
func (m *maker) after(risk custodyv1.Urgency) time.Duration {
	median := map[custodyv1.Urgency]time.Duration{
		custodyv1.Urgency_URGENCY_HIGH: 2 * time.Hour, custodyv1.Urgency_URGENCY_MEDIUM: 18 * time.Hour, custodyv1.Urgency_URGENCY_LOW: 48 * time.Hour,
	}[risk]
	return max(skewed(m.chance, median, 0.7, 10*24*time.Hour), 15*time.Minute)
}

// road is how long the way takes: a third longer than as the crow flies, at 40 km in an hour, with what it takes to set out.
func (m *maker) road(from, to *office) time.Duration {
	km, _ := codes.Distance(from.district, to.district)
	way := time.Duration(float64(km)*1.33/40*60) * time.Minute
	return way + max(skewed(m.chance, 3*time.Hour, 0.6, 48*time.Hour), 30*time.Minute)
}
