package scenario

import (
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	"amanat.example/services/kit/codes"
)

// Row compares a share of what was made with the published one.
type Row struct {
	// Of says what is counted, What which of it.
	Of, What string
	// Published share, 0 to 1, or an option's; where Assumed, what this package assumes in its place.
	Published float64
	Assumed   bool
	// Made is the share of the year, of so many.
	Made float64
	N    int
	// Bound is how far the two may be apart: what is shared out exactly by one of N at most; children who are back by the four of the largest family; the
	// sexes by half of one in a hundred, since they are published as a whole and made by kind, and by a dozen; what is drawn, by four standard errors and one of N, where people
	// of one family are counted those of half as many.
	Bound float64
	OK    bool
	// Source of the published share, or why it is assumed.
	Source string
}

// compared collects rows.
type compared struct{ rows []Row }

// exact adds what is shared out.
func (t *compared) exact(r Row, hits, n int) { t.within(r, 1, hits, n) }

// within adds what may be off by so many people, besides what the row allows.
func (t *compared) within(r Row, off float64, hits, n int) {
	if n > 0 {
		r.Bound += off / float64(n)
		t.add(r, hits, n)
	}
}

// What is counted where it is drawn: households, each by itself, or people, of whom those of one family have much in common.
const (
	households = 1
	people     = 2
)

// drawn adds what is drawn.
func (t *compared) drawn(r Row, counted float64, hits, n int) {
	if n > 0 {
		r.Bound = 4*math.Sqrt(counted*r.Published*(1-r.Published)/float64(n)) + 1/float64(n)
		t.add(r, hits, n)
	}
}

func (t *compared) add(r Row, hits, n int) {
	const rounding = 1e-9
	r.Made, r.N = float64(hits)/float64(n), n
	r.OK = math.Abs(r.Made-r.Published) <= r.Bound+rounding
	t.rows = append(t.rows, r)
}

// count counts cases of a year that are so; the surge is none of the year.
func count(y *Year, so func(c *Case) bool) (n int) {
	for i := range y.Cases {
		if c := &y.Cases[i]; c.Kind != kilns && so(c) {
			n++
		}
	}
	return n
}

// Table compares a year with the published figures that it is made from, and with what is assumed where there is none.
func Table(y *Year) ([]Row, error) {
	data, err := load()
	if err != nil {
		return nil, err
	}
	t := &compared{}
	t.takenIn(y, data)
	t.harms(y, data)
	t.sexes(y, data)
	t.ways(y)
	t.outcomes(y, data)
	t.times(y)
	t.answers(y)
	t.surge(y, data)
	return t.rows, nil
}

func (t *compared) takenIn(y *Year, data *published) {
	n := count(y, func(*Case) bool { return true })
	all := data.of("taken-in", children, "", "") + data.of("taken-in", women, "", "")
	for _, p := range provinces {
		for _, who := range []string{children, women} {
			published, source := 0, ""
			for _, f := range data.figures {
				if f.name == "taken-in" && f.who == who && (f.place == p.code || data.byCode[f.place].node == p.node) {
					published += f.value
					source = f.source
				}
			}
			made := count(y, func(c *Case) bool { return c.Node == p.node && c.Woman == (who == women) })
			t.exact(Row{Of: "taken in, " + who, What: p.node, Published: float64(published) / float64(all), Assumed: source == "-", Source: source}, made, n)
		}
	}
	inPunjab := count(y, func(c *Case) bool { return c.Node == "punjab" && !c.Woman })
	for _, f := range data.figures {
		if d, city := data.byCode[f.place]; city && f.name == "taken-in" && f.who == children {
			made := count(y, func(c *Case) bool { return !c.Woman && c.Case.GetFoundDistrict() == f.place && c.Node == "punjab" })
			t.exact(Row{Of: "children taken in, by city", What: d.name, Published: float64(f.value) / float64(data.of("of", children, "PK-PB", "")), Source: f.source}, made, inPunjab)
		}
	}
	for _, p := range []string{"sindh", "balochistan"} {
		t.largest(y, data, p)
	}
}

// largest compares the four districts of a province where most people live.
func (t *compared) largest(y *Year, data *published, node string) {
	total := 0
	for _, d := range data.in(node) {
		total += d.people
	}
	n := count(y, func(c *Case) bool { return c.Node == node && !c.Woman })
	for _, d := range data.in(node) {
		if share := float64(d.people) / float64(total); share > 0.06 {
			made := count(y, func(c *Case) bool { return c.Node == node && !c.Woman && c.Case.GetFoundDistrict() == d.code })
			t.exact(Row{Of: "children taken in, " + node, What: d.name, Published: share, Source: "people of the census of 2023"}, made, n)
		}
	}
}

func (t *compared) harms(y *Year, data *published) {
	for _, p := range provinces {
		for _, who := range []string{children, women} {
			n := count(y, func(c *Case) bool { return c.Node == p.node && c.Woman == (who == women) })
			for _, f := range data.figures {
				if f.name != "kind" || f.who != who || f.place != p.code {
					continue
				}
				made := count(y, func(c *Case) bool { return c.Node == p.node && c.Woman == (who == women) && c.Kind == f.kind })
				t.exact(Row{
					Of: "kind, " + who + " of " + p.node, What: f.kind, Published: float64(f.value) / float64(data.of("kind", who, p.code, "")),
					Assumed: f.note == "assumed", Source: f.source,
				}, made, n)
			}
		}
	}
}

func (t *compared) sexes(y *Year, data *published) {
	n := count(y, func(*Case) bool { return true })
	female := func(c *Case) bool { return c.Case.GetPerson().GetGender() == codes.GenderFeminine }
	published, source := data.female()
	t.within(Row{Of: "sex", What: "women and girls", Published: published, Source: source, Bound: 0.005}, 12, count(y, female), n)
	minors := count(y, func(c *Case) bool { return !c.Woman })
	made := count(y, func(c *Case) bool { return !c.Woman && c.Case.GetPerson().GetCnic() != "" })
	t.drawn(Row{Of: "identity number", What: "children with a B-Form", Published: registered, Assumed: true}, people, made, minors)
	for _, who := range []string{children, women} {
		sizes := siblings
		if who == women {
			sizes = mothers
		}
		mean := 0.0
		for i, w := range sizes {
			mean += float64(i+1) * w
		}
		of := count(y, func(c *Case) bool { return c.Woman == (who == women) && c.Kind != "marriage" })
		made := count(y, func(c *Case) bool { return c.Woman == (who == women) && c.Kind != "marriage" && c.Family != 0 })
		t.drawn(Row{Of: "families", What: who + " taken in with others", Published: 1 - sizes[0]/mean, Assumed: true}, people, made, of)
	}
}

// away says that a case is referred to another province.
func away(c *Case) bool {
	return c.Referral != nil && !strings.HasPrefix(c.Referral.Request.GetToUnit(), "nodes/"+c.Node+"/")
}

func placement(c *Case) bool {
	return c.Referral != nil && c.Referral.Request.GetKind() == custodyv1.ReferralKind_REFERRAL_KIND_PLACEMENT
}

func (t *compared) ways(y *Year) {
	n := count(y, func(*Case) bool { return true })
	referred := count(y, func(c *Case) bool { return c.Referral != nil })
	t.exact(Row{Of: "referrals", What: "of those taken in", Published: y.Options.Referred, Source: "option"}, referred, n)
	t.exact(Row{Of: "referrals", What: "to another province", Published: y.Options.Interprovincial, Source: "option; 100 to 300 a month are estimated"}, count(y, away), referred)
}

func (t *compared) outcomes(y *Year, data *published) {
	for _, p := range provinces {
		source := data.source("returned", children, p.code)
		ended := func(c *Case) bool { return c.Node == p.node && !c.Woman && placement(c) && c.Referral.Outcome != "" }
		made := count(y, func(c *Case) bool { return ended(c) && c.Referral.Outcome == reunified })
		t.within(Row{Of: "children back with their parents", What: p.node, Published: data.returned(p.code), Assumed: source == "-", Source: source}, 4, made, count(y, ended))
	}
	ended := func(c *Case) bool { return placement(c) && c.Referral.Outcome != "" }
	made := count(y, func(c *Case) bool {
		return ended(c) && strings.Contains(strings.Join(c.Referral.Services, " "), "PSYCHOSOCIAL")
	})
	t.drawn(Row{Of: "support", What: "psychosocial, in a placement", Published: counselled, Assumed: true}, people, made, count(y, ended))
	made = count(y, func(c *Case) bool { return ended(c) && c.Referral.NoShow && first(c) })
	t.drawn(Row{Of: "road", What: "did not come on the day", Published: noShow, Assumed: true}, households, made, count(y, func(c *Case) bool { return ended(c) && first(c) }))
}

// first says that a case is the first of its household, for which alone what people do is counted.
func first(c *Case) bool { return c.Family == 0 || c.Family == c.Number || !placement(c) }

func (t *compared) times(y *Year) {
	calendar := newCalendar(y.Start, y.End)
	n := count(y, func(*Case) bool { return true })
	for _, on := range []time.Weekday{time.Sunday, time.Friday} {
		is := func(day time.Time) bool { return day.Weekday() == on }
		made := count(y, func(c *Case) bool { return is(c.Time) })
		t.drawn(Row{Of: "week", What: "on a " + on.String(), Published: calendar.expected("", is), Assumed: true}, people, made, n)
	}
	day := count(y, func(c *Case) bool { return c.Time.Hour() >= 8 && c.Time.Hour() < 18 })
	byDay, total := 0.0, 0.0
	for h, w := range hour {
		total += w
		if h >= 8 && h < 18 {
			byDay += w
		}
	}
	t.drawn(Row{Of: "day", What: "from 8 to 18", Published: byDay / total, Assumed: true}, people, day, n)
	for _, s := range []struct {
		exploitation, what string
		is                 func(time.Time) bool
	}{
		{"BondedLabourBrickKiln", "kilns, July to September", func(d time.Time) bool { return d.Month() >= time.July && d.Month() <= time.September }},
		{"BondedLabourAgriculture", "fields, April, May", func(d time.Time) bool { return d.Month() == time.April || d.Month() == time.May }},
		{"ForcedBegging", "begging, Ramadan and Eid", ramadan},
	} {
		of := func(c *Case) bool { e := c.Case.GetExploitation(); return len(e) > 0 && e[0] == s.exploitation }
		made := count(y, func(c *Case) bool { return of(c) && s.is(c.Time) })
		t.drawn(Row{Of: "season", What: s.what, Published: calendar.expected(s.exploitation, s.is), Assumed: true}, people, made, count(y, of))
	}
}

// answers are counted by household. How many decline or are silent is counted where Punjab is asked: elsewhere there are at times fewer units than are asked
// at most, and the last that can be asked is never silent.
func (t *compared) answers(y *Year) {
	var asked, silent, declined, vain, answered, late int
	for i := range y.Cases {
		c := &y.Cases[i]
		if c.Referral == nil || !first(c) {
			continue
		}
		if first := c.Referral.Answers[0]; strings.HasPrefix(first.Unit, "nodes/punjab/") {
			asked++
			silent += one(first.Silent)
			declined += one(first.Decline != "")
			vain += one(!c.Referral.accepted())
		}
		for _, a := range c.Referral.Answers {
			answered += one(!a.Silent)
			late += one(!a.Silent && a.Delay > answerLimit()[c.Case.GetUrgency()])
		}
	}
	t.drawn(Row{Of: "answers", What: "first asked, never answers, of Punjab", Published: neverAnswered, Source: "studies of referral systems: a quarter to a half"}, households, silent, asked)
	t.drawn(Row{Of: "answers", What: "first asked, declines, of Punjab", Published: declining, Assumed: true}, households, declined, asked)
	lateShare := 0.5 * math.Erfc(math.Log(1/medianOfLimit)/spread/math.Sqrt2)
	t.drawn(Row{Of: "answers", What: "later than the limit", Published: lateShare, Assumed: true}, households, late, answered)
	t.drawn(Row{Of: "answers", What: "nobody accepts, of Punjab", Published: math.Pow(neverAnswered+declining, mostAsked-1) * inVain, Assumed: true}, households, vain, asked)
}

// one is 1 for what is so.
func one(so bool) int {
	if so {
		return 1
	}
	return 0
}

func (t *compared) surge(y *Year, data *published) {
	if !y.Options.Surge {
		return
	}
	all, inside := 0, 0
	var begin time.Time
	for i := range y.Cases {
		if c := &y.Cases[i]; c.Kind == kilns {
			if all++; begin.IsZero() {
				begin = c.Time
			}
			if c.Time.Sub(begin) <= surgeDays*24*time.Hour && c.Referral == nil {
				inside++
			}
		}
	}
	n := data.of("kilns", children, "PK-PB", "")
	t.exact(Row{Of: "surge", What: fmt.Sprintf("children at kilns in 30 days, of %d", n), Published: 1, Source: data.source("kilns", children, "PK-PB")}, inside, n)
}

// Print writes a table for people to read.
func Print(to io.Writer, rows []Row) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "of\twhat\tpublished\tmade\tbound\tn\tok\tsource")
	for _, r := range rows {
		ok, source := "yes", r.Source
		if !r.OK {
			ok = "NO"
		}
		if r.Assumed {
			source = "none: assumed"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%.2f%%\t%.2f%%\t±%.2f%%\t%d\t%s\t%s\n", r.Of, r.What, 100*r.Published, 100*r.Made, 100*r.Bound, r.N, ok, source)
	}
	return w.Flush()
}
