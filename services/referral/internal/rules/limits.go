package rules

import (
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
)

// Limit is how long things may take at one risk.
type Limit struct {
	// Acknowledge: until somebody must have taken notice of what came. It is also the time of an
	// owner's own small steps, and the first steps of an escalation.
	Acknowledge time.Duration
	// Answer: until an offer must be accepted or declined.
	Answer time.Duration
	// Seen: until the person must be seen face to face.
	Seen time.Duration
	// FollowUp: between two looks at a person who is cared for.
	FollowUp time.Duration
	// Untaken: until a referral ends that asks nobody any more. Until then somebody is told again and again.
	Untaken time.Duration
}

// Limits are the limits by risk.
type Limits map[custodyv1.Urgency]Limit

// DefaultLimits are the time limits by risk of the domain's table. The one and three hours of
// high risk follow the defaults of UNICEF's Primero; the others are our proposal, and a node may
// be configured otherwise.
func DefaultLimits() Limits {
	const day = 24 * time.Hour
	return Limits{
		custodyv1.Urgency_URGENCY_HIGH:   {Acknowledge: time.Hour, Answer: 3 * time.Hour, Seen: day, FollowUp: 7 * day, Untaken: 7 * day},
		custodyv1.Urgency_URGENCY_MEDIUM: {Acknowledge: 3 * time.Hour, Answer: day, Seen: 3 * day, FollowUp: 14 * day, Untaken: 14 * day},
		custodyv1.Urgency_URGENCY_LOW:    {Acknowledge: day, Answer: 3 * day, Seen: 7 * day, FollowUp: 30 * day, Untaken: 30 * day},
	}
}

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
