// Package rules decides what facts add up to: pure functions over the proto messages.
package rules

import (
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/codes"
)

// Fits says whether the parts of a fact go together, beyond what the contract's own rules hold.
func Fits(f *federalv1.FlowFact) bool {
	return f.GetTime().IsValid() && (f.GetStage() != federalv1.Stage_STAGE_IDENTIFIED || f.GetToNode() == "")
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

// Add is a corridor with one more flow. c is nil for the first.
func Add(c *federalv1.Corridor, f *federalv1.FlowFact) *federalv1.Corridor {
	if c == nil {
		c = &federalv1.Corridor{FromNode: f.GetFromNode(), ToNode: f.GetToNode(), Stage: f.GetStage()}
	} else {
		c = proto.CloneOf(c)
	}
	c.Flows++
	at := f.GetTime().AsTime()
	c.FirstTime = pick(c.GetFirstTime(), at, at.Before)
	c.LastTime = pick(c.GetLastTime(), at, at.After)
	return c
}

// pick is at where nothing was known before or at is better, else what was known.
func pick(known *timestamppb.Timestamp, at time.Time, better func(time.Time) bool) *timestamppb.Timestamp {
	if known == nil || better(known.AsTime()) {
		return timestamppb.New(at)
	}
	return known
}

// Matches says whether a corridor is among those asked for; a nil filter takes all.
func Matches(f *federalv1.ListCorridorsRequest_Filter, c *federalv1.Corridor) bool {
	return (f.GetFromNode() == "" || f.GetFromNode() == c.GetFromNode()) &&
		(f.GetToNode() == "" || f.GetToNode() == c.GetToNode()) &&
		(f.GetStage() == federalv1.Stage_STAGE_UNSPECIFIED || f.GetStage() == c.GetStage())
}
