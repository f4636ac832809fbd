package scenario

import (
	"cmp"
	"slices"
	"time"
)

// outages of a province's link in a year, assumed: Balochistan for days at a time, the others for hours.
var outages = map[string]struct {
	times           int
	median, longest time.Duration
}{
	"balochistan": {12, 30 * time.Hour, 7 * 24 * time.Hour},
	"sindh":       {5, 5 * time.Hour, 24 * time.Hour},
	"punjab":      {4, 3 * time.Hour, 24 * time.Hour},
}

// cut takes the links away, never a link that is away already.
func (m *maker) cut() {
	for _, p := range provinces {
		o := outages[p.node]
		part := m.year.End.Sub(m.year.Start) / time.Duration(o.times)
		for i := range o.times {
			c := Cut{Node: p.node, For: max(skewed(m.chance, o.median, 0.8, o.longest), 20*time.Minute)}
			c.From = m.year.Start.Add(time.Duration(i)*part + time.Duration(m.chance.Int64N(int64(part-c.For)))).Truncate(time.Second)
			m.year.Cuts = append(m.year.Cuts, c)
		}
	}
	slices.SortStableFunc(m.year.Cuts, func(a, b Cut) int { return cmp.Compare(a.From.UnixNano(), b.From.UnixNano()) })
}
