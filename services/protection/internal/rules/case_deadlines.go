package rules

import (
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/limits"
)

// StepWaitlistReview is due when a waitlist entry must be looked at.
const StepWaitlistReview = "WAITLIST_REVIEW"

// oldestEvent is how long after an event it can be recorded.
const oldestEvent = 30 * 24 * time.Hour

// PlaceOf is where a unit stands, for the laws that hold there.
func PlaceOf(u *protectionv1.Unit) limits.Place {
	district, _ := codes.Find(codes.District, u.GetDistrict())
	return limits.Place{Province: district.Province, District: u.GetDistrict()}
}

// CheckEvent refuses an event that has not been, or was too long ago to be news.
func CheckEvent(c *protectionv1.Case, at *timestamppb.Timestamp, now time.Time) error {
	t := at.AsTime()
	switch open := c.GetState() == protectionv1.Case_STATE_ACTIVE || c.GetState() == protectionv1.Case_STATE_FOLLOW_UP; {
	case t.After(now) || t.Before(now.Add(-oldestEvent)):
		return fault.InvalidField("event_time", "must have been, and at most 30 days ago")
	case !open:
		return fault.New(fault.WrongState, "The case is closed; nothing more is owed here.", "state", c.GetState().String())
	}
	return nil
}

// CaseDeadlines are those that begin to run for a case at a place when an event happens, without names.
func CaseDeadlines(t *limits.Table, c *protectionv1.Case, place limits.Place, event string, at time.Time) (all []*protectionv1.CaseDeadline) {
	for _, l := range t.From(event, place) {
		due := timestamppb.New(at.Add(l.Limit))
		all = append(all, &protectionv1.CaseDeadline{
			Subject: c.GetName(), Reference: c.GetReference(), Unit: c.GetUnit(), Step: l.Step, Limit: Law(l), Urgency: c.GetUrgency(),
			EventTime: timestamppb.New(at), DueTime: due, NextTime: due, State: protectionv1.CaseDeadline_STATE_OPEN,
		})
	}
	return all
}

// Law is a limit of a law as it is shown.
func Law(l limits.Legal) *protectionv1.Limit {
	return &protectionv1.Limit{
		LimitId: l.ID, Province: l.Province, District: l.District, Event: l.Event, Step: l.Step, Limit: durationpb.New(l.Limit),
		Law: l.Law, Section: l.Section, Source: string(l.Source),
	}
}

// Limits are all limits of a table as they are shown: those by risk with the laws laid over them, as
// they hold in a province, then the laws.
func Limits(t *limits.Table, province string) (all []*protectionv1.Limit) {
	for _, r := range t.Risks {
		for _, s := range r.Steps() {
			all = append(all, &protectionv1.Limit{
				LimitId: riskName(r) + "/" + s.Code, Urgency: r.Urgency, Event: limits.EventStep, Step: s.Code,
				Limit: durationpb.New(s.Limit), Law: r.Law, Source: string(r.Source),
			})
		}
	}
	for _, l := range t.Laws {
		if l.Province == "" || l.Province == province {
			all = append(all, Law(l))
		}
	}
	return all
}

func riskName(r limits.Risk) string {
	return [...]string{"", "high", "medium", "low"}[r.Urgency]
}

// MissCaseDeadline moves a deadline that has passed to its next step: worker, supervisor, focal point,
// and then again and again, more slowly. The next time counts from now, so that a node that was off
// for days speaks once and not once per missed hour.
func MissCaseDeadline(d *protectionv1.CaseDeadline, now time.Time, t *limits.Table, at limits.Place) {
	limit := t.ByRisk(d.GetUrgency(), at)
	step := limit.Acknowledge
	if d.Missed++; d.GetMissed() >= int32(protectionv1.Notice_LEVEL_FOCAL_POINT) {
		step = limit.Answer
	}
	d.NextTime = timestamppb.New(now.Add(step))
}

// ToldAgain is how far ahead a deadline lies at most that was missed: it is told again by then.
func ToldAgain(t *limits.Table) (longest time.Duration) {
	for _, r := range t.Risks {
		longest = max(longest, r.Acknowledge, r.Answer)
	}
	return longest
}

// Owed says whether a deadline still waits to be met.
func Owed(d *protectionv1.CaseDeadline) bool {
	return d.GetState() == protectionv1.CaseDeadline_STATE_OPEN
}

// Resume are the deadlines that are owed again when the person of a case is back, out of all it ever had, those of a step by when they began.
// What the law counts from taking a person in, and was neither met nor began anew, counts from now: begun, without a name. The rest goes on
// where it ended: reopened.
func Resume(all []*protectionv1.CaseDeadline, now time.Time) (begun, reopened []*protectionv1.CaseDeadline) {
	settled := map[string]bool{} // by step, of what counts from taking the person in
	for _, d := range all {
		if takenIn(d) && d.GetState() != protectionv1.CaseDeadline_STATE_ENDED {
			settled[d.GetStep()] = true
		}
	}
	for _, d := range slices.Backward(all) { // a case that left more than once has one of each time
		if d.GetState() != protectionv1.CaseDeadline_STATE_ENDED || takenIn(d) && settled[d.GetStep()] {
			continue
		}
		d = proto.CloneOf(d)
		d.State, d.EndTime = protectionv1.CaseDeadline_STATE_OPEN, nil
		if !takenIn(d) {
			reopened = append(reopened, d)
			continue
		}
		settled[d.GetStep()] = true
		if d.GetEventTime().AsTime().Equal(now) { // it left and came back at once
			reopened = append(reopened, d)
			continue
		}
		due := timestamppb.New(now.Add(d.GetLimit().GetLimit().AsDuration()))
		d.Name, d.Missed, d.EventTime, d.DueTime, d.NextTime = "", 0, timestamppb.New(now), due, due
		begun = append(begun, d)
	}
	return begun, reopened
}

// takenIn says that a law counts a deadline from when a person came to a unit, and not from an event that a worker recorded.
func takenIn(d *protectionv1.CaseDeadline) bool {
	return !slices.Contains(limits.Recorded, d.GetLimit().GetEvent())
}
