package scenario_test

import (
	"strings"
	"testing"
	"time"

	"amanat.example/deploy/scenario"
	"amanat.example/services/kit/soaktest"
)

// Marginals: what was made lies within the stated bounds of what is published. With -v the table is printed.
func TestMarginals(t *testing.T) {
	all := []scenario.Options{
		{},
		{Seed: 2, Referrals: 300},
		{Seed: 4, Referrals: 2000, Interprovincial: -1, Referred: 1},
		{Seed: 5, Referrals: 2000, Interprovincial: 1},
		{Seed: 7, Referrals: 5000},
		{Seed: 1, Referrals: 5000},
		{Seed: 3, Referrals: 20000, Interprovincial: 0.4, Referred: 0.3},
	}
	for _, options := range all[:soaktest.Alone(len(all), 4)] {
		y, err := scenario.Make(options)
		if err != nil {
			t.Fatal(err)
		}
		rows, err := scenario.Table(y)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := scenario.Print(&text, rows); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			if !r.OK {
				t.Errorf("%+v: %s, %s: made %.4f, published %.4f, further apart than %.4f", options, r.Of, r.What, r.Made, r.Published, r.Bound)
			}
		}
		t.Logf("%d cases, %d rows\n%s", len(y.Cases), len(rows), text.String())
	}
}

// The shape of the year, by numbers of its own: fewer on Fridays and Sundays, kilns that rest in the monsoon, hands for the harvest, and alms in
// Ramadan, which in 2026 was from 19 February to 20 March.
func TestShape(t *testing.T) {
	y, err := scenario.Make(scenario.Options{Seed: 3, Referrals: 20000})
	if err != nil {
		t.Fatal(err)
	}
	weekdays, kilns, fields, begging := map[time.Weekday]float64{}, map[bool]float64{}, map[bool]float64{}, map[bool]float64{}
	night := 0.0
	for _, c := range y.Cases {
		weekdays[c.Time.Weekday()]++
		if c.Time.Hour() < 6 {
			night++
		}
		exploitation := c.Case.GetExploitation()
		if len(exploitation) == 0 {
			continue
		}
		month := c.Time.Month()
		switch exploitation[0] {
		case "BondedLabourBrickKiln":
			kilns[month >= time.July && month <= time.September]++
		case "BondedLabourAgriculture":
			fields[month == time.April || month == time.May || month >= time.September && month <= time.November]++
		case "ForcedBegging":
			begging[c.Time.After(time.Date(2026, time.February, 19, 0, 0, 0, 0, y.Start.Location())) && c.Time.Before(time.Date(2026, time.March, 20, 0, 0, 0, 0, y.Start.Location()))]++
		}
	}
	for what, ratio := range map[string]struct{ got, least, most float64 }{
		"Sundays to Mondays":                        {weekdays[time.Sunday] / weekdays[time.Monday], 0.4, 0.6},
		"Fridays to Thursdays":                      {weekdays[time.Friday] / weekdays[time.Thursday], 0.55, 0.75},
		"kilns, a day of the monsoon to another":    {kilns[true] / 92 / (kilns[false] / 273), 0.2, 0.45},
		"fields, a day of the harvest to another":   {fields[true] / 152 / (fields[false] / 213), 1.5, 2.5},
		"begging, a day of Ramadan to another":      {begging[true] / 29 / (begging[false] / 336), 1.4, 1.9},
		"from midnight to six, of a whole day":      {night / float64(len(y.Cases)), 0.02, 0.1},
		"at kilns, of those in the monsoon, enough": {kilns[true], 30, 1e9},
	} {
		if ratio.got < ratio.least || ratio.got > ratio.most {
			t.Errorf("%s: %.2f, want %.2f to %.2f", what, ratio.got, ratio.least, ratio.most)
		}
	}
}
