package rules

import (
	"cmp"
	"math"
	"slices"
	"time"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/facts"
)

// Quantiles that are published.
const (
	Half     = "P50"
	NineTens = "P90"
)

var quantiles = []struct {
	code             string
	percent          int64
	labelEN, labelUR string
}{
	{Half, 50, "Half took no longer", "نصف اس سے زیادہ دیر میں نہیں"},
	{NineTens, 90, "Nine of ten took no longer", "دس میں سے نو اس سے زیادہ دیر میں نہیں"},
}

// Tell fills in what is published of a month: the tables as they stand and what their codes mean.
func (s Suppression) Tell(m *federalv1.FrozenMonth, p *federalv1.Publication) {
	p.Edition, p.SmallestCount = m.GetEdition(), int32(s.K)
	for _, def := range tableDefs {
		t := &federalv1.PublishedTable{Table: def.table, TitleEn: def.titleEN, TitleUr: def.titleUR, Unit: def.unit}
		if def.shape == asTimes {
			t.Cells = s.times(m, def)
		} else {
			t.Cells = cells(def, tableOf(m, def.table))
		}
		p.Tables = append(p.Tables, t)
		p.Codes = append(p.Codes, def.codes(t)...)
	}
	p.Codes = append(places(m), p.Codes...)
}

func tableOf(m *federalv1.FrozenMonth, table string) *federalv1.FrozenCell {
	for _, t := range m.GetTables() {
		if t.GetTable() == table {
			return t.GetCountry()
		}
	}
	return nil
}

func cells(def tableDef, country *federalv1.FrozenCell) (all []*federalv1.PublishedCell) {
	add := func(c *federalv1.FrozenCell, origin, destination, code string) {
		cell := &federalv1.PublishedCell{Origin: origin, Destination: destination, Code: code, Hidden: c.GetHidden()}
		if !c.GetHidden() {
			cell.Value = short(c.GetValue())
		}
		if def.table == TableBeds {
			cell.Beds = short(beds(c))
		}
		all = append(all, cell)
	}
	add(country, Country, "", "")
	for _, p := range country.GetParts() {
		if def.shape == byCode {
			add(p, Country, "", p.GetCode())
			continue
		}
		add(p, p.GetCode(), "", "")
		for _, to := range p.GetParts() {
			add(to, p.GetCode(), to.GetCode(), "")
		}
	}
	return all
}

// beds is how many there are: what everybody knows.
func beds(c *federalv1.FrozenCell) int64 {
	n := c.GetCeiling()
	for _, p := range c.GetParts() {
		n += beds(p)
	}
	return n
}

// short is a count in 32 bits: no country of ours has more persons.
func short(n int64) int32 { return int32(min(n, math.MaxInt32)) }

// times are the quantiles of a table. One is told only where the province's own count is told and both are so great that K or more took
// shorter and K or more took longer. So that it is nobody's own time, it is the middle of a bucket of durations, in whole hours.
func (s Suppression) times(m *federalv1.FrozenMonth, def tableDef) (all []*federalv1.PublishedCell) {
	for _, t := range m.GetTimes() {
		if t.GetTable() != def.table {
			continue
		}
		count := partOf(tableOf(m, def.counts), t.GetOrigin())
		for _, q := range quantiles {
			cell := &federalv1.PublishedCell{Origin: t.GetOrigin(), Code: q.code, Hidden: true}
			// Of n, the share up to the quantile and the share beyond it have K each from here on.
			enough := max(divUp(100*s.K, q.percent), divUp(100*s.K, 100-q.percent))
			if !count.GetHidden() && min(count.GetValue(), allOf(t.GetBuckets())) >= enough {
				cell.Hidden, cell.Value = false, hours(Quantile(t.GetBuckets(), float64(q.percent)/100))
			}
			all = append(all, cell)
		}
	}
	return all
}

func divUp(a, b int64) int64 { return (a + b - 1) / b }

func hours(d time.Duration) int32 { return short(divUp(int64(d), int64(time.Hour))) }

func allOf(buckets []*federalv1.Count) (n int64) {
	for _, b := range buckets {
		n += b.GetValue()
	}
	return n
}

// bucketsOf are the durations of a table and province, in order.
func bucketsOf(leaves []Leaf, table, origin string) (all []*federalv1.Count) {
	found := map[string]*federalv1.Count{}
	for _, l := range leaves {
		if l.Table != table || len(l.Path) != 2 || l.Path[0] != origin {
			continue
		}
		b := found[l.Path[1]]
		if b == nil {
			b = &federalv1.Count{Detail: l.Path[1]}
			found[l.Path[1]], all = b, append(all, b)
		}
		b.Value += l.Value
	}
	slices.SortFunc(all, func(a, b *federalv1.Count) int { return cmp.Compare(a.GetDetail(), b.GetDetail()) })
	return all
}

// places are the codes that stand for places in the tables of a month.
func places(m *federalv1.FrozenMonth) []*federalv1.PublishedCode {
	all := []*federalv1.PublishedCode{{Code: Country, Column: "origin", LabelEn: "Pakistan", LabelUr: "پاکستان"}}
	for _, p := range tableOf(m, TableIdentified).GetParts() {
		all = append(all, label(codes.Province, p.GetCode(), "origin", ""))
	}
	for _, p := range tableOf(m, TableIdentified).GetParts() {
		all = append(all, label(codes.Province, p.GetCode(), "destination", ""))
	}
	return append(all, &federalv1.PublishedCode{
		Code: Outside, Column: "destination", LabelEn: "Agency outside the network", LabelUr: "نیٹ ورک سے باہر کا ادارہ",
	})
}

// codes are those of a table's own.
func (d tableDef) codes(t *federalv1.PublishedTable) (all []*federalv1.PublishedCode) {
	if d.shape == asTimes {
		for _, q := range quantiles {
			all = append(all, &federalv1.PublishedCode{Code: q.code, Column: "code", Table: d.table, LabelEn: q.labelEN, LabelUr: q.labelUR})
		}
	}
	if d.shape != byCode {
		return all
	}
	for _, c := range t.GetCells() {
		switch c.GetCode() {
		case "":
		case facts.Unanswered:
			all = append(all, &federalv1.PublishedCode{
				Code: facts.Unanswered, Column: "code", Table: d.table, LabelEn: "Not answered in time", LabelUr: "وقت پر جواب نہیں ملا",
			})
		default:
			all = append(all, label(d.list, c.GetCode(), "code", d.table))
		}
	}
	return all
}

func label(list codes.List, code, column, table string) *federalv1.PublishedCode {
	return &federalv1.PublishedCode{
		Code: code, Column: column, Table: table, LabelEn: codes.Label(list, code, codes.English), LabelUr: codes.Label(list, code, codes.Urdu),
	}
}
