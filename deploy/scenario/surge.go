package scenario

import "time"

// surgeDays is how long the surge lasts.
const surgeDays = 30

// Households at the kilns, assumed: how many children of one are taken in together.
var kilnFamilies = []float64{0.30, 0.28, 0.22, 0.13, 0.07}

// surge adds the children taken from the kilns of Punjab from the first of November on, when the kilns burn again after the monsoon. They are
// spread over all its districts by people, since no figure spreads the ten thousand kilns, and entered at the unit that is nearest.
func (m *maker) surge() {
	left := m.data.of("kilns", children, "PK-PB", "")
	first := m.surgeFrom()
	sums, sum := make([]float64, surgeDays), 0.0
	for i := range sums {
		sum += weekday[m.calendar.start.AddDate(0, 0, first+i).Weekday()]
		sums[i] = sum
	}
	for left > 0 {
		size := min(1+pick(m.chance, kilnFamilies...), left)
		left -= size
		found := m.district("punjab")
		family := m.household(m.nearest("punjab", found.code, false), found, found, kilns, children, size)
		m.date(family, m.calendar.drawFrom(m.chance, sums, first))
		m.families = append(m.families, family)
	}
}

// surgeFrom is the day of the year on which the surge begins.
func (m *maker) surgeFrom() int {
	for i := range m.calendar.days - surgeDays {
		if day := m.calendar.start.AddDate(0, 0, i); day.Month() == time.November && day.Day() == 1 {
			return i
		}
	}
	return 0
}
