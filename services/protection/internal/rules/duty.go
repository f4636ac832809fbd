package rules

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/type/date"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/zone"
)

const (
	// longestChain is how many leaves in a row lead from one worker to who stands in at last.
	longestChain = 3
	// longestLeave is how long one leave lasts at most: a year, and what is left of a study leave.
	longestLeave = 400 * 24 * time.Hour
)

// People is what says who is told.
type People struct {
	// Unit concerned; nil where none is known.
	Unit *protectionv1.Unit
	// FocalPoint is the node's; empty only while nobody has named one.
	FocalPoint string
	// Worker finds a worker; nil for one that is not there.
	Worker func(name string) *protectionv1.Worker
}

// WhoIsTold is the worker who is told at a step of the ladder. A step at which nobody can be told
// falls to the one above, and at the top stands the focal point, who is told even when on leave
// without anybody in their place. So it is nobody only while the node has no focal point.
func WhoIsTold(p People, level protectionv1.Notice_Level, now time.Time) string {
	if level == protectionv1.Notice_LEVEL_WORKER && p.Unit != nil {
		for _, name := range onDuty(p.Unit, now) {
			if w := p.Worker(name); w.GetUnit() != p.Unit.GetName() {
				continue // moved since the roster was written
			}
			if told := p.inPlaceOf(name, now); told != "" {
				return told
			}
		}
	}
	if level != protectionv1.Notice_LEVEL_FOCAL_POINT {
		if told := p.inPlaceOf(p.Unit.GetSupervisor(), now); told != "" {
			return told
		}
	}
	if told := p.inPlaceOf(p.FocalPoint, now); told != "" {
		return told
	}
	return p.FocalPoint
}

// inPlaceOf follows leaves to who is there; empty when nobody is.
func (p People) inPlaceOf(name string, now time.Time) string {
	unit := ""
	for range longestChain + 1 {
		w := p.Worker(name)
		if w == nil || w.GetSuspended() || unit != "" && w.GetUnit() != unit {
			return ""
		}
		leave := leaveAt(w, now)
		if leave == nil {
			return name
		}
		name, unit = leave.GetDelegate(), w.GetUnit()
	}
	return ""
}

func leaveAt(w *protectionv1.Worker, now time.Time) *protectionv1.Leave {
	for _, l := range w.GetLeaves() {
		if !now.Before(l.GetFromTime().AsTime()) && now.Before(l.GetUntilTime().AsTime()) {
			return l
		}
	}
	return nil
}

// onDuty are the workers of a moment, the first to be told at the front.
func onDuty(u *protectionv1.Unit, now time.Time) (workers []string) {
	local := now.In(zone.Karachi)
	for _, e := range u.GetDutyExceptions() {
		if sameDay(e.GetDate(), local) {
			return e.GetWorkers()
		}
	}
	weekday, clock := int32(local.Weekday()+6)%7+1, local.Format("15:04")
	for _, s := range u.GetDuty() {
		if s.GetWeekday() == weekday && s.GetFrom() <= clock && clock < s.GetUntil() {
			workers = append(workers, s.GetWorkers()...)
		}
	}
	return workers
}

func sameDay(d *date.Date, local time.Time) bool {
	return int(d.GetYear()) == local.Year() && int(d.GetMonth()) == int(local.Month()) && int(d.GetDay()) == local.Day()
}

// CheckUnit holds what the contract's own rules cannot of a unit's supervisor and duty: who is named
// works here and is not suspended. worker answers nil for one that is not there.
func CheckUnit(u *protectionv1.Unit, worker func(name string) *protectionv1.Worker) error {
	if s := u.GetSupervisor(); s != "" {
		if w := worker(s); w == nil || w.GetSuspended() {
			return fault.InvalidField("unit.supervisor", "must be a worker of this node who is not suspended")
		}
	}
	check := func(field string, names []string) error {
		for i, name := range names {
			if w := worker(name); w.GetUnit() != u.GetName() || w.GetSuspended() {
				return fault.InvalidField(fmt.Sprintf("%s.workers[%d]", field, i), "must be a worker of this unit who is not suspended")
			}
		}
		return nil
	}
	for i, s := range u.GetDuty() {
		if err := check(fmt.Sprintf("unit.duty[%d]", i), s.GetWorkers()); err != nil {
			return err
		}
	}
	days := map[string]bool{}
	for i, e := range u.GetDutyExceptions() {
		field, d := fmt.Sprintf("unit.duty_exceptions[%d]", i), e.GetDate()
		at := time.Date(int(d.GetYear()), time.Month(d.GetMonth()), int(d.GetDay()), 0, 0, 0, 0, zone.Karachi)
		switch day := at.Format(time.DateOnly); {
		case d.GetYear() < 2020 || d.GetYear() > 2200 || !sameDay(d, at):
			return fault.InvalidField(field+".date", "must be a whole date of the calendar")
		case days[day]:
			return fault.InvalidField(field+".date", "stands twice; write one exception for a day")
		default:
			days[day] = true
		}
		if err := check(field, e.GetWorkers()); err != nil {
			return err
		}
	}
	return nil
}

// CheckLeaves refuses leaves of a worker that lead nowhere: to another unit, to somebody suspended, in a
// circle, or over more than three colleagues. colleagues are the workers of the unit; w is as it would be.
func CheckLeaves(w *protectionv1.Worker, colleagues []*protectionv1.Worker) error {
	unit := map[string]*protectionv1.Worker{}
	for _, c := range colleagues {
		unit[c.GetName()] = c
	}
	unit[w.GetName()] = w
	for i, l := range w.GetLeaves() {
		field := fmt.Sprintf("worker.leaves[%d]", i)
		d := unit[l.GetDelegate()]
		switch {
		case l.GetDelegate() == w.GetName():
			return fault.InvalidField(field+".delegate", "must be somebody else")
		case d == nil || d.GetSuspended() || d.GetUnit() != w.GetUnit():
			return fault.InvalidField(field+".delegate", "must be a worker of the same unit who is not suspended")
		case !l.GetUntilTime().AsTime().After(l.GetFromTime().AsTime()):
			return fault.InvalidField(field+".until_time", "must be later than from_time")
		case l.GetUntilTime().AsTime().Sub(l.GetFromTime().AsTime()) > longestLeave:
			return fault.InvalidField(field+".until_time", "must be at most 400 days after from_time")
		case slices.ContainsFunc(w.GetLeaves()[:i], func(other *protectionv1.Leave) bool { return both(spanOf(other), spanOf(l)).some() }):
			return fault.InvalidField(field+".from_time", "must not lie in another leave of the same worker")
		}
	}
	// A chain that is wrong now goes through w: those of the others were right before.
	for _, c := range unit {
		if err := walk(unit, c, always, []string{c.GetName()}, w.GetName()); err != nil {
			return err
		}
	}
	return nil
}

// walk follows the leaves that hold at one moment of within.
func walk(unit map[string]*protectionv1.Worker, w *protectionv1.Worker, within span, passed []string, changed string) error {
	for _, l := range w.GetLeaves() {
		shared := both(within, spanOf(l))
		if !shared.some() || unit[l.GetDelegate()] == nil {
			continue
		}
		chain := append(slices.Clone(passed), l.GetDelegate())
		switch through := slices.Contains(chain, changed); {
		case slices.Contains(passed, l.GetDelegate()):
			if through {
				return fault.InvalidField("worker.leaves", "must not lead in a circle: at some time each would stand in for the other")
			}
			continue
		case len(chain) > longestChain+1:
			if through {
				return fault.InvalidField("worker.leaves", "must not lead over more than 3 workers who are away at one time")
			}
			continue
		}
		if err := walk(unit, unit[l.GetDelegate()], shared, chain, changed); err != nil {
			return err
		}
	}
	return nil
}

// span is a time from, and until but without, two moments.
type span struct{ from, until time.Time }

var always = span{time.Unix(0, 0), time.Unix(1<<40, 0)}

func spanOf(l *protectionv1.Leave) span {
	return span{l.GetFromTime().AsTime(), l.GetUntilTime().AsTime()}
}

func (s span) some() bool { return s.from.Before(s.until) }

func both(a, b span) span {
	if b.from.After(a.from) {
		a.from = b.from
	}
	if b.until.Before(a.until) {
		a.until = b.until
	}
	return a
}

// usualQuiet are the quiet hours of who has set none.
var usualQuiet = &protectionv1.QuietHours{From: "22:00", Until: "07:00"}

// Quiet says whether a moment lies in a worker's quiet hours, and when they end.
func Quiet(w *protectionv1.Worker, now time.Time) (quiet bool, ends time.Time) {
	q := w.GetQuietHours()
	if q == nil {
		q = usualQuiet
	}
	local := now.In(zone.Karachi)
	clock := local.Format("15:04")
	switch {
	case q.GetFrom() == q.GetUntil():
		return false, time.Time{}
	case q.GetFrom() < q.GetUntil():
		quiet = q.GetFrom() <= clock && clock < q.GetUntil()
	default:
		quiet = q.GetFrom() <= clock || clock < q.GetUntil()
	}
	if !quiet {
		return false, time.Time{}
	}
	at, err := time.Parse("15:04", q.GetUntil())
	if err != nil { // only the contract's form is stored
		return false, time.Time{}
	}
	ends = time.Date(local.Year(), local.Month(), local.Day(), at.Hour(), at.Minute(), 0, 0, zone.Karachi)
	if !ends.After(now) {
		ends = ends.AddDate(0, 0, 1)
	}
	return true, ends
}
