package scenario

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/type/date"

	"amanat.example/services/kit/zone"
)

// What an option that is not said is. No figure says how many are referred; the second makes, of the published numbers, some 170 referrals to another province
// in a month, where 100 to 300 are estimated.
const (
	usualReferred        = 0.6
	usualInterprovincial = 0.25
)

// maker makes one year.
type maker struct {
	data     *published
	options  Options
	year     *Year
	chance   *rand.Rand
	calendar *calendar
	offices  []*office
	families []*household
	serial   int // of identity numbers
	days     map[[3]int32]*date.Date
	ledgers  map[string]*ledger
}

// Make makes a year: the same options make the same. It refuses options that are out of range.
func Make(options Options) (*Year, error) {
	data, err := load()
	if err != nil {
		return nil, err
	}
	if options, err = complete(options, data); err != nil {
		return nil, err
	}
	end := options.Start.AddDate(1, 0, 0)
	m := &maker{
		data: data, options: options, days: map[[3]int32]*date.Date{}, ledgers: map[string]*ledger{}, chance: rand.New(rand.NewPCG(options.Seed, 0x616d616e6174)), calendar: newCalendar(options.Start, end),
		year: &Year{Start: options.Start, End: end, Options: options},
	}
	m.furnish()
	for _, s := range m.strata() {
		if err := m.fill(s); err != nil {
			return nil, err
		}
	}
	if options.Surge {
		m.surge()
	}
	m.order()
	m.cut()
	return m.year, nil
}

// steady draws what is published as a share, so that it is met however few they are.
func (m *maker) steady(what string, share float64, size int) bool {
	if m.ledgers[what] == nil {
		m.ledgers[what] = &ledger{}
	}
	return m.ledgers[what].steady(m.chance, share, size)
}

// complete says what an option is that was left out.
func complete(o Options, data *published) (Options, error) {
	if o.Start.IsZero() {
		o.Start = time.Date(2025, time.July, 1, 0, 0, 0, 0, zone.Karachi)
	}
	year, month, day := o.Start.In(zone.Karachi).Date()
	o.Start = time.Date(year, month, day, 0, 0, 0, 0, zone.Karachi)
	if o.Referred == 0 {
		o.Referred = usualReferred
	}
	switch {
	case o.Interprovincial == 0:
		o.Interprovincial = usualInterprovincial
	case o.Interprovincial < 0:
		o.Interprovincial = 0
	}
	switch {
	case !(o.Referred > 0 && o.Referred <= 1):
		return o, errors.New("scenario: Referred must lie above 0 and not above 1")
	case !(o.Interprovincial <= 1):
		return o, errors.New("scenario: Interprovincial must not lie above 1")
	case o.Referrals < 0:
		return o, errors.New("scenario: Referrals must not be negative")
	case o.Referrals == 0:
		identified := data.of("taken-in", children, "", "") + data.of("taken-in", women, "", "")
		o.Referrals = int(math.Round(float64(identified) * o.Referred))
	}
	return o, nil
}

// stratum is who is taken in at a node, of children or of women, and how many of them.
type stratum struct {
	node, who                         string
	people, referred, interprovincial int
}

// strata shares the year out, so that each province has its part of those taken in, referred, and referred to another province.
func (m *maker) strata() []*stratum {
	var all []*stratum
	var weights []float64
	for _, p := range provinces {
		for _, who := range []string{children, women} {
			n := 0
			for _, f := range m.data.figures {
				if f.name == "taken-in" && f.who == who && (f.place == p.code || m.data.byCode[f.place].node == p.node) {
					n += f.value
				}
			}
			all, weights = append(all, &stratum{node: p.node, who: who}), append(weights, float64(n))
		}
	}
	people := max(m.options.Referrals, int(math.Round(float64(m.options.Referrals)/m.options.Referred)))
	shares := apportion(people, weights)
	for i, n := range shares {
		all[i].people, weights[i] = n, float64(n)
	}
	for i, n := range apportion(m.options.Referrals, weights) {
		all[i].referred, weights[i] = n, float64(n)
	}
	// Of Balochistan, where few places are, more go to another province: as if each had four chances.
	left := int(math.Round(float64(m.options.Referrals) * m.options.Interprovincial))
	for i, s := range all {
		if s.node == "balochistan" {
			s.interprovincial = min(left, int(math.Round(float64(s.referred)*(1-math.Pow(1-m.options.Interprovincial, 4)))))
			left, weights[i] = left-s.interprovincial, 0
		}
	}
	for i, n := range apportion(left, weights) {
		all[i].interprovincial += n
	}
	return all
}

// places are the districts of a stratum with how many are found in each: as published by city, else by people.
func (m *maker) places(s *stratum) (all []string, weights []float64) {
	for _, f := range m.data.figures {
		if f.name == "taken-in" && f.who == s.who && m.data.byCode[f.place].node == s.node {
			all, weights = append(all, f.place), append(weights, float64(f.value))
		}
	}
	if all != nil {
		return all, weights
	}
	for _, d := range m.data.in(s.node) {
		all, weights = append(all, d.code), append(weights, float64(d.people))
	}
	return all, weights
}

// harms are the kinds of a stratum with how many of each.
func (m *maker) harms(s *stratum) (all []string, weights []float64) {
	for _, f := range m.data.figures {
		if f.name == "kind" && f.who == s.who && f.place == provinceOf(s.node) {
			all, weights = append(all, f.kind), append(weights, float64(f.value))
		}
	}
	return all, weights
}

// fill makes the people of a stratum, family by family, exactly as many as each district, kind and way has.
func (m *maker) fill(s *stratum) error {
	districts, weights := m.places(s)
	found := newUrn(apportion(s.people, weights)...)
	harms, weights := m.harms(s)
	harmed := newUrn(apportion(s.people, weights)...)
	ways := newUrn(s.people-s.referred, s.referred-s.interprovincial, s.interprovincial)
	for ways.total > 0 {
		d, k, of := found.draw(m.chance), harmed.draw(m.chance), ways.draw(m.chance)
		size := min(m.size(s.who, harms[k]), found.left[d], harmed.left[k], ways.left[of])
		found.take(d, size)
		harmed.take(k, size)
		ways.take(of, size)
		office := m.nearest(s.node, districts[d], s.who == women)
		if office == nil {
			return unknownFigure(districts[d])
		}
		var w way
		if of > 0 {
			w = m.plan(s.node, of == 2)
		}
		at := m.data.byCode[districts[d]]
		h := m.household(office, at, m.lives(at, w), harms[k], s.who, size)
		m.found(h)
		if of > 0 {
			m.refer(office, h, w)
		} else if m.chance.Float64() < refusing {
			m.refuse(h)
		}
		m.families = append(m.families, h)
	}
	return nil
}

// lives is where people live who were found in a district: there, or elsewhere in the province; in another where that is why they are referred.
func (m *maker) lives(found district, w way) district {
	switch {
	case w.reason == familyThere:
		return m.district(w.to)
	case m.chance.Float64() < foundAtHome:
		return found
	}
	return m.district(found.node)
}

// district of a node, by its people.
func (m *maker) district(node string) district {
	all := m.data.in(node)
	weights := make([]float64, len(all))
	for i, d := range all {
		weights[i] = float64(d.people)
	}
	return all[pick(m.chance, weights...)]
}

// Families, assumed: one household in six is of brothers and sisters, one woman in seven has small children with her.
var (
	siblings = []float64{0.83, 0.10, 0.05, 0.02}
	mothers  = []float64{0.86, 0.07, 0.05, 0.02}
)

// size is how many are taken in together.
func (m *maker) size(who, harm string) int {
	switch {
	case who == women:
		return 1 + pick(m.chance, mothers...)
	case harm == "marriage":
		return 1
	}
	return 1 + pick(m.chance, siblings...)
}

// found says when a household is taken in, by the season of what was done to it.
func (m *maker) found(h *household) {
	first := ""
	if codes := h.cases[0].Case.GetExploitation(); len(codes) > 0 {
		first = codes[0]
	}
	m.date(h, m.calendar.draw(m.chance, first))
}

// date says when a family is taken in, and so on what day the ages were said, and when who knows it was born.
func (m *maker) date(h *household, at time.Time) {
	const each = 10 * time.Minute
	if all := each * time.Duration(len(h.cases)); at.Add(all).Day() != at.Day() { // not over midnight
		at = at.Add(-all)
	}
	const nobody = 1000 // years older than anybody: of the eldest, and of a mother's eldest
	older, since := nobody, 0
	for i, c := range h.cases {
		c.Time = at.Add(each * time.Duration(i))
		age := int(c.Case.GetPerson().GetAgeFrom())
		since = m.sinceBirthday(age, older, since)
		if older = age; c.Woman && i == 0 {
			older = nobody
		}
		m.born(c.Case.GetPerson(), c.Time, since)
	}
}

// order puts all cases in order of time and numbers them and their families.
func (m *maker) order() {
	var all []*Case
	for _, h := range m.families {
		all = append(all, h.cases...)
	}
	slices.SortStableFunc(all, func(a, b *Case) int { return a.Time.Compare(b.Time) })
	for i, c := range all {
		c.Number = i + 1
	}
	for _, h := range m.families {
		for _, c := range h.cases {
			if len(h.cases) > 1 {
				c.Family = h.cases[0].Number
			}
		}
	}
	m.year.Cases = make([]Case, 0, len(all))
	for _, c := range all {
		m.year.Cases = append(m.year.Cases, *c)
	}
	m.families = nil
}
