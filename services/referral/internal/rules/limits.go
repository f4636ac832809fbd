package rules

import (
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/kit/limits"
)

// Limit is how long things may take at one risk. Acknowledge is also the time of an owner's own
// small steps, and of the first steps of an escalation.
type Limit = limits.Limit

// Limits are the limits by risk.
type Limits map[custodyv1.Urgency]Limit

// LimitsOf are the limits of a table that hold at a place: those by risk, with the laws laid over them.
func LimitsOf(t *limits.Table, at limits.Place) Limits {
	all := Limits{}
	for _, r := range t.Risks {
		all[r.Urgency] = t.ByRisk(r.Urgency, at)
	}
	return all
}

// DefaultLimits are those of the embedded table, where no law is laid over them.
func DefaultLimits() Limits { return LimitsOf(limits.Default(), limits.Place{}) }

// of is the limit at a risk. One that this version does not know is high: nobody waits because
// of an old program.
func (l Limits) of(u custodyv1.Urgency) Limit {
	if limit, ok := l[u]; ok {
		return limit
	}
	return l[custodyv1.Urgency_URGENCY_HIGH]
}

// Road times. The longest journey between two provincial capitals takes two days; a person who
// is not there six hours after the time agreed is looked for.
const (
	// Overdue is how long after the time agreed a person on the road is missed.
	Overdue = 6 * time.Hour
	// MaxRoad is how far ahead a person can be expected.
	MaxRoad = 14 * 24 * time.Hour
	// MaxAnswer is how far ahead an answer can be due.
	MaxAnswer = 30 * 24 * time.Hour
	// MaxReview is how far ahead a place is looked for again.
	MaxReview = 90 * 24 * time.Hour
	// DefaultHold is how long a bed is held until it is promised.
	DefaultHold = 72 * time.Hour
	// MinHold is the shortest hold worth asking for: the shelter gives none below a minute, and some
	// of it passes until the command is there.
	MinHold = 5 * time.Minute
	// MaxHold is the longest tentative hold a shelter gives.
	MaxHold = 7 * 24 * time.Hour
)
