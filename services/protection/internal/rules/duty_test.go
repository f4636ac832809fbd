package rules_test

import (
	"fmt"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/type/date"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
	"pgregory.net/rapid"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/zone"
	"amanat.example/services/protection/internal/rules"
)

const (
	aUnit = "nodes/balochistan/units/hub"
	other = "nodes/balochistan/units/quetta"
)

// monday is a Monday, 12:00 in Karachi.
var monday = time.Date(2026, 11, 23, 12, 0, 0, 0, zone.Karachi)

func named(id string) string { return "nodes/balochistan/workers/" + id }

func worker(id string, leaves ...*protectionv1.Leave) *protectionv1.Worker {
	return &protectionv1.Worker{Name: named(id), Unit: aUnit, Leaves: leaves}
}

func leave(from, until time.Duration, to string) *protectionv1.Leave {
	return &protectionv1.Leave{
		FromTime: timestamppb.New(monday.Add(from)), UntilTime: timestamppb.New(monday.Add(until)), Delegate: named(to),
	}
}

type town map[string]*protectionv1.Worker

func of(workers ...*protectionv1.Worker) town {
	all := town{}
	for _, w := range workers {
		all[w.GetName()] = w
	}
	return all
}

func (t town) worker(name string) *protectionv1.Worker { return t[name] }

func (t town) list() (all []*protectionv1.Worker) {
	for _, w := range t {
		all = append(all, w)
	}
	return all
}

func duty(weekday int32, from, until string, ids ...string) *protectionv1.DutySpan {
	s := &protectionv1.DutySpan{Weekday: weekday, From: from, Until: until}
	for _, id := range ids {
		s.Workers = append(s.Workers, named(id))
	}
	return s
}

func TestWhoIsTold(t *testing.T) {
	away := func(w *protectionv1.Worker) *protectionv1.Worker { w.Suspended = true; return w }
	moved := func(w *protectionv1.Worker) *protectionv1.Worker { w.Unit = other; return w }
	unit := &protectionv1.Unit{Name: aUnit, Supervisor: named("sup"), Duty: []*protectionv1.DutySpan{
		duty(1, "08:00", "12:00", "early"), duty(1, "12:00", "24:00", "late", "second"), duty(2, "00:00", "08:00", "night"),
	}}
	exception := proto.CloneOf(unit)
	exception.DutyExceptions = []*protectionv1.DutyException{
		{Date: &date.Date{Year: 2026, Month: 11, Day: 23}, Workers: []string{named("early")}}, {Date: &date.Date{Year: 2026, Month: 11, Day: 24}},
	}
	all := func(workers ...*protectionv1.Worker) town {
		usual := of(worker("early"), worker("late"), worker("second"), worker("night"), worker("sup"), worker("focal"))
		for _, w := range workers {
			usual[w.GetName()] = w
		}
		return usual
	}
	const (
		onDuty     = protectionv1.Notice_LEVEL_WORKER
		supervisor = protectionv1.Notice_LEVEL_SUPERVISOR
		focal      = protectionv1.Notice_LEVEL_FOCAL_POINT
	)
	for name, c := range map[string]struct {
		unit  *protectionv1.Unit
		town  town
		level protectionv1.Notice_Level
		at    time.Duration
		want  string
	}{
		"on duty":                       {unit, all(), onDuty, 0, "late"},
		"a minute before the change":    {unit, all(), onDuty, -time.Minute, "early"},
		"after midnight":                {unit, all(), onDuty, 13 * time.Hour, "night"},
		"nobody on duty":                {unit, all(), onDuty, 24 * time.Hour, "sup"},
		"a day of its own":              {exception, all(), onDuty, 0, "early"},
		"a day without duty":            {exception, all(), onDuty, 24 * time.Hour, "sup"},
		"on leave":                      {unit, all(worker("late", leave(-1, 1, "night"))), onDuty, 0, "night"},
		"leave that has just ended":     {unit, all(worker("late", leave(-1, 0, "night"))), onDuty, 0, "late"},
		"three on leave":                {unit, all(worker("late", leave(0, 1, "a")), worker("a", leave(0, 1, "b")), worker("b", leave(0, 1, "night"))), onDuty, 0, "night"},
		"the one in place is suspended": {unit, all(worker("late", leave(0, 1, "night")), away(worker("night"))), onDuty, 0, "second"},
		"the one in place has moved":    {unit, all(worker("late", leave(0, 1, "night")), moved(worker("night"))), onDuty, 0, "second"},
		"suspended":                     {unit, all(away(worker("late"))), onDuty, 0, "second"},
		"moved":                         {unit, all(moved(worker("late"))), onDuty, 0, "second"},
		"all suspended":                 {unit, all(away(worker("late")), away(worker("second"))), onDuty, 0, "sup"},
		"a circle written before":       {unit, all(worker("late", leave(0, 1, "second")), worker("second", leave(0, 1, "late"))), onDuty, 0, "sup"},
		"supervisor":                    {unit, all(), supervisor, 0, "sup"},
		"supervisor suspended":          {unit, all(away(worker("sup"))), supervisor, 0, "focal"},
		"no supervisor":                 {&protectionv1.Unit{Name: aUnit}, all(), supervisor, 0, "focal"},
		"no unit":                       {nil, all(), onDuty, 0, "focal"},
		"focal point":                   {unit, all(), focal, 0, "focal"},
		"focal point on leave":          {unit, all(worker("focal", leave(0, 1, "sup"))), focal, 0, "sup"},
		"focal point on leave, alone":   {unit, all(worker("focal", leave(0, 1, "night")), away(worker("night"))), focal, 0, "focal"},
	} {
		p := rules.People{Unit: c.unit, FocalPoint: named("focal"), Worker: c.town.worker}
		if got := rules.WhoIsTold(p, c.level, monday.Add(c.at)); got != named(c.want) {
			t.Errorf("%s: %s is told, want %s", name, got, c.want)
		}
	}
}

// Whatever the roster, leaves and suspensions: somebody who is there is told, or at the end the focal
// point; and never someone suspended but for the focal point.
func TestSomebodyIsAlwaysTold(t *testing.T) {
	ids := []string{"a1", "b1", "c1", "d1", "e1"}
	rapid.Check(t, func(r *rapid.T) {
		people := town{}
		for _, id := range ids {
			w := worker(id)
			w.Suspended = rapid.IntRange(0, 3).Draw(r, "suspended") == 0
			if rapid.IntRange(0, 4).Draw(r, "moved") == 0 {
				w.Unit = other
			}
			for range rapid.IntRange(0, 2).Draw(r, "leaves") {
				from := time.Duration(rapid.IntRange(-48, 48).Draw(r, "from")) * time.Hour
				w.Leaves = append(w.Leaves, leave(from, from+time.Duration(rapid.IntRange(1, 72).Draw(r, "long"))*time.Hour, rapid.SampledFrom(ids).Draw(r, "to")))
			}
			people[w.GetName()] = w
		}
		unit := &protectionv1.Unit{Name: aUnit, Supervisor: named(rapid.SampledFrom(append(ids, "gone")).Draw(r, "supervisor"))}
		for range rapid.IntRange(0, 5).Draw(r, "spans") {
			hour := rapid.IntRange(0, 22).Draw(r, "hour")
			unit.Duty = append(unit.Duty, duty(int32(rapid.IntRange(1, 7).Draw(r, "weekday")), fmt.Sprintf("%02d:00", hour), fmt.Sprintf("%02d:59", hour+1),
				rapid.SliceOfN(rapid.SampledFrom(append(ids, "gone")), 1, 3).Draw(r, "workers")...))
		}
		focal := named(rapid.SampledFrom(ids).Draw(r, "focal point"))
		people[focal].Suspended = false // validation holds this
		now := monday.Add(time.Duration(rapid.IntRange(-200, 200).Draw(r, "now")) * time.Hour)
		for level := protectionv1.Notice_LEVEL_WORKER; level <= protectionv1.Notice_LEVEL_FOCAL_POINT; level++ {
			told := people[rules.WhoIsTold(rules.People{Unit: unit, FocalPoint: focal, Worker: people.worker}, level, now)]
			switch {
			case told == nil:
				r.Fatalf("nobody is told at %v", level)
			case told.GetSuspended():
				r.Fatalf("%s is told at %v and is suspended", told.GetName(), level)
			case told.GetName() == focal:
				continue
			}
			for _, l := range told.GetLeaves() {
				if !now.Before(l.GetFromTime().AsTime()) && now.Before(l.GetUntilTime().AsTime()) {
					r.Fatalf("%s is told at %v and is on leave", told.GetName(), level)
				}
			}
		}
	})
}

func TestCheckLeaves(t *testing.T) {
	chain := []*protectionv1.Worker{worker("a", leave(0, 9, "b")), worker("b", leave(0, 9, "c")), worker("c", leave(0, 9, "d")), worker("d"), worker("z")}
	suspended, elsewhere := worker("s"), worker("m")
	suspended.Suspended, elsewhere.Unit = true, other
	for name, c := range map[string]struct {
		w          *protectionv1.Worker
		colleagues []*protectionv1.Worker
		want       string // field; empty: taken
	}{
		"a delegate":                      {worker("x", leave(0, 9, "z")), chain, ""},
		"three in a row":                  {worker("a", leave(0, 9, "b")), chain, ""},
		"oneself":                         {worker("x", leave(0, 9, "x")), chain, "worker.leaves[0].delegate"},
		"nobody":                          {worker("x", leave(0, 9, "none")), chain, "worker.leaves[0].delegate"},
		"somebody suspended":              {worker("x", leave(0, 9, "s")), append(chain, suspended), "worker.leaves[0].delegate"},
		"another unit":                    {worker("x", leave(0, 9, "m")), append(chain, elsewhere), "worker.leaves[0].delegate"},
		"backwards":                       {worker("x", leave(9, 0, "z")), chain, "worker.leaves[0].until_time"},
		"years":                           {worker("x", leave(0, 401*24*time.Hour, "z")), chain, "worker.leaves[0].until_time"},
		"twice at one time":               {worker("x", leave(0, 9, "z"), leave(8, 12, "d")), chain, "worker.leaves[1].from_time"},
		"one after the other":             {worker("x", leave(0, 9, "z"), leave(9, 12, "d")), chain, ""},
		"a circle of two":                 {worker("b", leave(0, 9, "a")), chain[:1], "worker.leaves"},
		"a circle of three":               {worker("c", leave(0, 9, "a")), chain, "worker.leaves"},
		"a circle at no one moment":       {worker("c", leave(9, 12, "a")), chain, ""},
		"four in a row, at the front":     {worker("x", leave(0, 9, "a")), chain, "worker.leaves"},
		"four in a row, at the end":       {worker("d", leave(0, 9, "z")), chain, "worker.leaves"},
		"four in a row at no one moment":  {worker("d", leave(9, 12, "z")), chain, ""},
		"four in a row for a short while": {worker("d", leave(8, 12, "z")), chain, "worker.leaves"},
	} {
		err := rules.CheckLeaves(c.w, c.colleagues)
		if got := fieldOf(err); got != c.want || (c.want == "") != (err == nil) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Leaves that were taken, in any order, never leave a worker in whose place nobody is: they end at
// somebody within three.
func TestLeavesThatWereTakenLeadSomewhere(t *testing.T) {
	ids := []string{"a", "b", "c", "d", "e", "f"}
	rapid.Check(t, func(r *rapid.T) {
		people := town{}
		for _, id := range ids {
			people[named(id)] = worker(id)
		}
		for range rapid.IntRange(1, 25).Draw(r, "changes") {
			w := proto.CloneOf(people[named(rapid.SampledFrom(ids).Draw(r, "who"))])
			from := time.Duration(rapid.IntRange(0, 20).Draw(r, "from")) * time.Hour
			w.Leaves = append(w.Leaves, leave(from, from+time.Duration(rapid.IntRange(1, 20).Draw(r, "long"))*time.Hour, rapid.SampledFrom(ids).Draw(r, "to")))
			if rules.CheckLeaves(w, people.list()) == nil {
				people[w.GetName()] = w
			}
		}
		for hour := range 41 {
			now := monday.Add(time.Duration(hour) * time.Hour)
			for _, id := range ids {
				unit := &protectionv1.Unit{Name: aUnit, Supervisor: named(id)}
				p := rules.People{Unit: unit, FocalPoint: "nobody", Worker: people.worker}
				if told := rules.WhoIsTold(p, protectionv1.Notice_LEVEL_SUPERVISOR, now); told == "nobody" {
					r.Fatalf("at %v nobody is in the place of %s", now, id)
				}
			}
		}
	})
}

func TestCheckUnit(t *testing.T) {
	people := of(worker("a"), worker("s"), &protectionv1.Worker{Name: named("m"), Unit: other})
	people[named("s")].Suspended = true
	day := func(y, m, d int32) *date.Date { return &date.Date{Year: y, Month: m, Day: d} }
	for name, c := range map[string]struct {
		change func(u *protectionv1.Unit)
		want   string
	}{
		"all right":               {func(*protectionv1.Unit) {}, ""},
		"supervised from another": {func(u *protectionv1.Unit) { u.Supervisor = named("m") }, ""},
		"supervised by nobody":    {func(u *protectionv1.Unit) { u.Supervisor = named("none") }, "unit.supervisor"},
		"supervisor suspended":    {func(u *protectionv1.Unit) { u.Supervisor = named("s") }, "unit.supervisor"},
		"nobody on duty":          {func(u *protectionv1.Unit) { u.Duty[0].Workers[0] = named("none") }, "unit.duty[0].workers[0]"},
		"another's worker":        {func(u *protectionv1.Unit) { u.Duty[0].Workers[0] = named("m") }, "unit.duty[0].workers[0]"},
		"somebody suspended":      {func(u *protectionv1.Unit) { u.DutyExceptions[0].Workers = []string{named("s")} }, "unit.duty_exceptions[0].workers[0]"},
		"no day":                  {func(u *protectionv1.Unit) { u.DutyExceptions[0].Date = day(2026, 2, 30) }, "unit.duty_exceptions[0].date"},
		"a month":                 {func(u *protectionv1.Unit) { u.DutyExceptions[0].Date = day(2026, 2, 0) }, "unit.duty_exceptions[0].date"},
		"a day twice":             {func(u *protectionv1.Unit) { u.DutyExceptions = append(u.DutyExceptions, u.DutyExceptions[0]) }, "unit.duty_exceptions[1].date"},
	} {
		u := &protectionv1.Unit{
			Name: aUnit, Supervisor: named("a"), Duty: []*protectionv1.DutySpan{duty(1, "00:00", "24:00", "a")},
			DutyExceptions: []*protectionv1.DutyException{{Date: day(2026, 8, 14)}},
		}
		c.change(u)
		err := rules.CheckUnit(u, people.worker)
		if got := fieldOf(err); got != c.want || (c.want == "") != (err == nil) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestQuiet(t *testing.T) {
	at := func(clock string) time.Time {
		t.Helper()
		c, err := time.Parse("15:04", clock)
		if err != nil {
			t.Fatal(err)
		}
		return time.Date(2026, 11, 23, c.Hour(), c.Minute(), 0, 0, zone.Karachi)
	}
	night, noon, none := (*protectionv1.QuietHours)(nil), &protectionv1.QuietHours{From: "12:00", Until: "13:30"}, &protectionv1.QuietHours{From: "00:00", Until: "00:00"}
	for name, c := range map[string]struct {
		hours *protectionv1.QuietHours
		at    string
		quiet bool
		ends  time.Time
	}{
		"the last minute of the day":  {night, "21:59", false, time.Time{}},
		"the evening":                 {night, "22:00", true, at("07:00").AddDate(0, 0, 1)},
		"the small hours":             {night, "06:59", true, at("07:00")},
		"the morning":                 {night, "07:00", false, time.Time{}},
		"noon":                        {noon, "12:00", true, at("13:30")},
		"after noon":                  {noon, "13:30", false, time.Time{}},
		"a night that is not quiet":   {noon, "23:00", false, time.Time{}},
		"no quiet hours, at midnight": {none, "00:00", false, time.Time{}},
	} {
		quiet, ends := rules.Quiet(&protectionv1.Worker{QuietHours: c.hours}, at(c.at))
		if quiet != c.quiet || !ends.Equal(c.ends) {
			t.Errorf("%s: %v until %v", name, quiet, ends)
		}
	}
}
