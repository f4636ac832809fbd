// Package rules decides what facts add up to: pure functions over the proto messages.
package rules

import (
	"time"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/facts"
)

// Days that can be told. A clock that stood at its beginning says 1970; of days beyond all clocks there would be so many that figures by month
// would be too long to answer.
const (
	firstDay = "1970-01-01"
	lastDay  = "2099-12-31"
)

// FitsDay says whether a day such as 2026-11-26 is one and can be told.
func FitsDay(day string) bool {
	_, err := time.Parse(time.DateOnly, day)
	return err == nil && firstDay <= day && day <= lastDay
}

// FitsFact says whether the parts of a fact go together, beyond what the contract's own rules hold. A node begins flows of its own alone.
func FitsFact(node string, f *federalv1.Fact) bool {
	if !f.GetEventTime().IsValid() || !FitsDay(facts.Day(f.GetEventTime().AsTime())) {
		return false
	}
	switch f.GetKind() {
	case facts.Identified:
		return f.GetToNode() == "" && f.GetFromNode() == node
	case facts.Referred:
		return f.GetFromNode() == node
	case facts.Retracted:
		return len(f.GetCorrects()) > 0
	}
	return true
}

// Fits is FitsFact for the older form.
func Fits(f *federalv1.FlowFact) bool {
	return f.GetTime().IsValid() && (f.GetStage() != federalv1.Stage_STAGE_IDENTIFIED || f.GetToNode() == "")
}

// StageOf is the stage of that name; unspecified for none.
func StageOf(name string) federalv1.Stage {
	return federalv1.Stage(federalv1.Stage_value["STAGE_"+name])
}

// FitsLate says whether late counts are what they should be, beyond what the contract's own rules hold: steps of the list, each with
// each age once.
func FitsLate(l *federalv1.LateCounts) bool {
	type cell struct {
		step string
		age  federalv1.LateAge
	}
	seen := map[cell]bool{}
	for _, c := range l.GetCounts() {
		at := cell{c.GetStep(), c.GetAge()}
		if seen[at] || codes.CheckField("step", codes.Deadline, c.GetStep()) != nil {
			return false
		}
		seen[at] = true
	}
	return l.GetCountTime().IsValid()
}

// maxBeds is more than all shelters of the country together can have; counts below it can be added up without care.
const maxBeds = 10_000_000

// FitsShelters says whether what shelters have is what it can be, beyond what the contract's own rules hold.
func FitsShelters(d *federalv1.ShelterDay) bool {
	return d.GetCountTime().IsValid() && max(d.GetShelters(), d.GetTotal(), d.GetOutOfService(), d.GetOccupied(), d.GetHeld()) <= maxBeds
}

// CorridorOf is a count of [FigureCorridor] as it is listed.
func CorridorOf(c *federalv1.Count) *federalv1.Corridor {
	return &federalv1.Corridor{FromNode: c.GetFromNode(), ToNode: c.GetToNode(), Stage: StageOf(c.GetDetail()), Flows: c.GetValue()}
}

// Matches says whether a corridor is among those asked for; a nil filter takes all.
func Matches(f *federalv1.ListCorridorsRequest_Filter, c *federalv1.Corridor) bool {
	return (f.GetFromNode() == "" || f.GetFromNode() == c.GetFromNode()) &&
		(f.GetToNode() == "" || f.GetToNode() == c.GetToNode()) &&
		(f.GetStage() == federalv1.Stage_STAGE_UNSPECIFIED || f.GetStage() == c.GetStage())
}
