package scenario

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"amanat.example/services/kit/zone"
)

// weekday weights from Sunday on: offices, and so police and helpline, work less on Sundays, and on Fridays until the prayer. Assumed.
var weekday = [7]float64{0.55, 1.15, 1.15, 1.10, 1.10, 0.70, 0.95}

// hour weights of the day: most are brought by day, some at night. Assumed.
var hour = [24]float64{1, 1, 1, 1, 1, 1, 2, 3, 5, 8, 10, 10, 9, 8, 8, 8, 7, 6, 6, 5, 4, 3, 2, 1}

// season says how much more or less of an exploitation is found on a day than on the average one. Assumed, from what is known of the work:
// kilns burn nine to ten months and rest in the monsoon (thenews.com.pk 557467), wheat is cut in April and May and cotton picked from September
// to November, schools are closed from June to August, and alms are given in Ramadan.
func season(exploitation string, day time.Time) float64 {
	month := day.Month()
	switch exploitation {
	case "BondedLabourBrickKiln":
		if month >= time.July && month <= time.September {
			return 0.3
		}
	case "BondedLabourAgriculture":
		if month == time.April || month == time.May {
			return 2.2
		}
		if month >= time.September && month <= time.November {
			return 1.8
		}
	case "ChildLabour":
		if month >= time.June && month <= time.August {
			return 1.4
		}
	case "ForcedBegging":
		if ramadan(day) {
			return 1.7
		}
	}
	return 1
}

// ramadan says whether a day is in Ramadan or the three days of Eid after it, as computed: the moon may be seen a day later.
func ramadan(day time.Time) bool {
	const year = 354.367 // mean Islamic year, days
	since := day.Sub(time.Date(2025, time.March, 2, 0, 0, 0, 0, zone.Karachi)).Hours() / 24
	return since-year*math.Floor(since/year) < 29.5+3
}

// calendar draws times of one year.
type calendar struct {
	start time.Time
	days  int
	sums  map[string][]float64
}

func newCalendar(start, end time.Time) *calendar {
	return &calendar{start, int(end.Sub(start).Hours() / 24), map[string][]float64{}}
}

// cumulated are the weights of all days up to each, for an exploitation.
func (c *calendar) cumulated(exploitation string) []float64 {
	if sums, ok := c.sums[exploitation]; ok {
		return sums
	}
	sums, sum := make([]float64, c.days), 0.0
	for i := range sums {
		day := c.start.AddDate(0, 0, i)
		sum += weekday[day.Weekday()] * season(exploitation, day)
		sums[i] = sum
	}
	c.sums[exploitation] = sums
	return sums
}

// expected is the share of an exploitation that falls on the days that are so.
func (c *calendar) expected(exploitation string, so func(day time.Time) bool) float64 {
	sums, before, share := c.cumulated(exploitation), 0.0, 0.0
	for i, sum := range sums {
		if so(c.start.AddDate(0, 0, i)) {
			share += sum - before
		}
		before = sum
	}
	return share / sums[len(sums)-1]
}

// draw is a moment of the year.
func (c *calendar) draw(chance *rand.Rand, exploitation string) time.Time {
	return c.drawFrom(chance, c.cumulated(exploitation), 0)
}

// drawFrom is a moment of days whose weights are cumulated, from a day of the year on.
func (c *calendar) drawFrom(chance *rand.Rand, sums []float64, first int) time.Time {
	at := chance.Float64() * sums[len(sums)-1]
	day, _ := slices.BinarySearch(sums, at)
	return c.start.AddDate(0, 0, first+min(day, len(sums)-1)).
		Add(time.Duration(pick(chance, hour[:]...))*time.Hour + time.Duration(chance.IntN(3600))*time.Second)
}

// skewed is a time of which half are shorter than the median, some much longer: lognormal, cut at the longest.
func skewed(chance *rand.Rand, median time.Duration, sigma float64, longest time.Duration) time.Duration {
	return min(time.Duration(float64(median)*math.Exp(sigma*chance.NormFloat64())), longest).Round(time.Minute)
}
