package scenario

import (
	"time"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
)

// Options say what year is made. The zero value of each is good.
type Options struct {
	// Seed: the same options and seed make the same year.
	Seed uint64
	// Start is on the first day of the year, which begins at midnight in Asia/Karachi; zero: the first of July 2025, when the fiscal year begins.
	Start time.Time
	// Referrals in the year, within and between provinces; how many are identified follows from that and from Referred. 0: as many
	// as the published numbers of those identified make.
	Referrals int
	// Referred is the share of those identified who are referred, above 0 to 1. No published figure says it; 0: 0.6.
	Referred float64
	// Interprovincial is the share of referrals that go to another province, 0 to 1; 0: 0.25. Negative: none.
	Interprovincial float64
	// Surge adds the brick kilns: 79,000 children taken in within 30 days, none of them referred.
	Surge bool
}

// Year is what happens at the units and shelters of the demo's provinces in one year.
type Year struct {
	Start, End time.Time
	// Options that it was made by, with what was left out filled in: an Interprovincial of 0 is none here.
	Options Options
	// Units are the child protection units, in order of name, each with the node that it is at.
	Units []Unit
	// Shelters are the places to stay.
	Shelters []Shelter
	// Cases in order of time.
	Cases []Case
	// Cuts are when a province has no link to the hub.
	Cuts []Cut
}

// Unit is a child protection unit.
type Unit struct {
	Node string
	// Unit has the name `nodes/<node>/units/<id>`, what people call it and its district.
	Unit *protectionv1.Unit
	// Source says where the institution is published, in words; empty for one of ours.
	Source string
}

// Shelter is a place to stay.
type Shelter struct {
	Node string
	// Shelter has the name `nodes/<node>/shelters/<id>` and its groups, as CreateShelter takes them.
	Shelter *shelterv1.Shelter
	Source  string
}

// Case is somebody who is taken in.
type Case struct {
	// Number in the year, from 1.
	Number int
	// Time of intake.
	Time time.Time
	// Node that takes the person in.
	Node string
	// Family is the number of the first case of those who are of one family and taken in together; 0 for who is alone.
	Family int
	// Kind of harm as the published figures name it, such as `beggary`; `kilns` for the surge.
	Kind string
	// Woman: a woman, or a child that is with its mother; else a child without one.
	Woman bool
	// Case as CreateCase takes it: unit, person, urgency, exploitation, district, narrative.
	Case *protectionv1.Case
	// Consent as RecordConsent takes it; nil where it is not asked for, since nothing is shared.
	Consent *protectionv1.Consent
	// Referral is how the person is referred; nil for who is not.
	Referral *Referral
}

// Referral is how somebody is referred and what people do about it. Those of one family who are referred for a placement go together: the first
// one's Request is that of all, the others' say what each needs, and what people do is the same for all of them. For a service each is referred
// alone. Where no place is free people deviate: a unit that would accept declines for want of a bed.
type Referral struct {
	// After intake.
	After time.Duration
	// Request as ReferCase takes it, with the first unit asked, and without name and etag.
	Request *protectionv1.ReferCaseRequest
	// Answers of the units asked, one after the other: the first is that of Request.ToUnit. All but the last decline or are silent.
	Answers []Answer
	// Road is how long the way takes, for a placement.
	Road time.Duration
	// NoShow: the person does not come on the day, and is found and brought back to where they left, or comes later.
	NoShow bool
	// Stay is from arrival, or from the promise of a service, to the outcome.
	Stay time.Duration
	// Outcome and Services given, codes of the lists; none where nobody accepts.
	Outcome  string
	Services []string
}

// Answer is what one unit says.
type Answer struct {
	// Unit asked, such as `nodes/punjab/units/lahore`.
	Unit string
	// Group where a place is expected to be found, of an acceptance of a placement, such as `nodes/punjab/shelters/lahore-children/groups/girls-4-17`. Those
	// of one family are in groups of one shelter.
	Group string
	// Question asked before the answer, code of the list `question`; empty for none. The origin answers it within Delay.
	Question string
	// Delay from the offer to the answer: of a silent unit, how long the origin waits before it asks the next.
	Delay time.Duration
	// Silent: it never answers, and the origin takes the offer back.
	Silent bool
	// Decline is a code of the list `decline`; empty with Silent false: the unit accepts.
	Decline string
}

// Cut is a province without its link.
type Cut struct {
	Node string
	From time.Time
	For  time.Duration
}
