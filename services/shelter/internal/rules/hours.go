package rules

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/zone"
)

const (
	dayMinutes  = 24 * 60
	weekMinutes = 7 * dayMinutes
)

// span is a time of the week, in minutes since Monday at 00:00; to is the first minute that is not in it.
type span struct{ from, to int }

// hours are when people are let in: spans in order, with time between them. None: round the clock.
type hours []span

// hoursOf joins the openings that adjoin or overlap, also over midnight.
func hoursOf(schedule []*shelterv1.Opening) hours {
	var all hours
	for _, o := range schedule {
		day := (int(o.GetWeekday()) - 1) * dayMinutes
		all = append(all, span{day + minutes(o.GetOpens()), day + minutes(o.GetCloses())})
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var joined hours
	for _, s := range all {
		if last := len(joined) - 1; last >= 0 && s.from <= joined[last].to {
			joined[last].to = max(joined[last].to, s.to)
		} else {
			joined = append(joined, s)
		}
	}
	if len(joined) == 1 && joined[0] == (span{0, weekMinutes}) {
		return nil
	}
	return joined
}

// minutes of a day at a time such as 17:30, which the contract holds to its form.
func minutes(clock string) (total int) {
	var hour, minute int
	_, _ = fmt.Sscanf(clock, "%d:%d", &hour, &minute)
	return hour*60 + minute
}

// minuteOf the week.
func minuteOf(now time.Time) int {
	local := now.In(zone.Karachi)
	weekday := (int(local.Weekday()) + 6) % 7 // Monday is 0
	return weekday*dayMinutes + local.Hour()*60 + local.Minute()
}

// closed says whether nobody is let in at a minute of the week, and at which minute they are again.
func (h hours) closed(minute int) (opens int, closed bool) {
	if len(h) == 0 {
		return 0, false
	}
	opens = h[0].from // next week, unless a span is still to come in this one
	for _, s := range slices.Backward(h) {
		if s.from <= minute {
			return opens, minute >= s.to
		}
		opens = s.from
	}
	return opens, true
}
