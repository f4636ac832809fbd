package rules

import (
	"testing"
	"time"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/zone"
)

func TestHours(t *testing.T) {
	at := func(weekday int32, opens, closes string) *shelterv1.Opening {
		return &shelterv1.Opening{Weekday: weekday, Opens: opens, Closes: closes}
	}
	week := func(opens, closes string) (all []*shelterv1.Opening) {
		for day := range int32(7) {
			all = append(all, at(day+1, opens, closes))
		}
		return all
	}
	days := []string{"", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
	for _, c := range []struct {
		what     string
		schedule []*shelterv1.Opening
		now      string // weekday and time in Karachi
		opens    string // empty: open now
	}{
		{"round the clock", nil, "Sun 03:00", ""},
		{"round the clock, written out", week("00:00", "24:00"), "Wed 00:00", ""},
		{"before it opens", week("08:00", "17:30"), "Mon 07:59", "Mon 08:00"},
		{"when it opens", week("08:00", "17:30"), "Mon 08:00", ""},
		{"a minute before it closes", week("08:00", "17:30"), "Mon 17:29", ""},
		{"when it closes", week("08:00", "17:30"), "Mon 17:30", "Tue 08:00"},
		{"the week turns", week("08:00", "17:30"), "Sun 20:00", "Mon 08:00"},
		{"one day a week, the day after", []*shelterv1.Opening{at(3, "09:00", "12:00")}, "Thu 10:00", "Wed 09:00"},
		{"one day a week, after it closed", []*shelterv1.Opening{at(3, "09:00", "12:00")}, "Wed 12:00", "Wed 09:00"},
		{"two spans a day, between", []*shelterv1.Opening{at(5, "15:00", "18:00"), at(5, "08:00", "12:30")}, "Fri 13:00", "Fri 15:00"},
		{"two spans a day, in the second", []*shelterv1.Opening{at(5, "15:00", "18:00"), at(5, "08:00", "12:30")}, "Fri 17:00", ""},
		{"to midnight", []*shelterv1.Opening{at(6, "18:00", "24:00")}, "Sat 23:59", ""},
		{"after midnight", []*shelterv1.Opening{at(6, "18:00", "24:00")}, "Sun 00:00", "Sat 18:00"},
		{"over midnight", []*shelterv1.Opening{at(6, "18:00", "24:00"), at(7, "00:00", "02:00")}, "Sun 00:00", ""},
		{"over midnight, when it closes", []*shelterv1.Opening{at(6, "18:00", "24:00"), at(7, "00:00", "02:00")}, "Sun 02:00", "Sat 18:00"},
		{"over the midnight on which the week turns", []*shelterv1.Opening{at(7, "18:00", "24:00"), at(1, "00:00", "02:00")}, "Mon 01:59", ""},
		{"over that midnight, and it opens once", []*shelterv1.Opening{at(7, "18:00", "24:00"), at(1, "00:00", "02:00")}, "Mon 02:00", "Sun 18:00"},
		{"adjoining spans are one", []*shelterv1.Opening{at(2, "12:00", "14:00"), at(2, "08:00", "12:00")}, "Tue 12:00", ""},
		{"overlapping spans are one", []*shelterv1.Opening{at(2, "08:00", "16:00"), at(2, "09:00", "10:00")}, "Tue 15:00", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			// 2026-03-02 is a Monday; 02:00 in Karachi is still the day before in UTC.
			var now time.Time
			for day := range 7 {
				if d := time.Date(2026, 3, 2+day, 0, 0, 0, 0, zone.Karachi); d.Format("Mon") == c.now[:3] {
					clock, err := time.Parse("15:04", c.now[4:])
					if err != nil {
						t.Fatal(err)
					}
					now = d.Add(time.Duration(clock.Hour())*time.Hour + time.Duration(clock.Minute())*time.Minute).UTC()
				}
			}
			opens, closed := hoursOf(c.schedule).closed(minuteOf(now))
			got := ""
			if closed {
				got = days[opens/dayMinutes+1] + " " + clock(opens)
			}
			if got != c.opens {
				t.Errorf("at %s it opens again %q, want %q", c.now, got, c.opens)
			}
		})
	}
}
