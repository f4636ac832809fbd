package rules

import (
	"slices"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/codes"
	"amanat.example/services/kit/facts"
)

// Tables that are published, in this order. There are no others and no other breakdowns: what is safe is shown of these alone.
const (
	TableIdentified   = "identified"
	TableReferred     = "referred"
	TableAccepted     = "accepted"
	TableArrived      = "arrived"
	TableCompleted    = "completed"
	TableDeclines     = "declines"
	TableOutcomes     = "outcomes"
	TableServices     = "services"
	TableBeds         = "occupied_beds"
	TableTimeToAccept = "time_to_accept"
	TableTimeToArrive = "time_to_arrive"
)

// Parts of a path that are in no list.
const (
	// Country is the whole country, ISO 3166.
	Country = "PK"
	// Outside is a destination outside the network.
	Outside = "OUTSIDE"
	// other takes what is in no list here, such as what a newer node sent.
	other = "OTHER"
)

// Leaf is one count of a month, of a cell without parts. Several with one path are added up.
type Leaf struct {
	// Table is one of the tables.
	Table string
	// Path is the province of origin, then its destination, a province or Outside (referred to completed); the code (declines, outcomes,
	// services); the province (identified, beds); or the province of origin and a bucket (times).
	Path []string
	// Value is how many.
	Value int64
	// Beds there are, in the table of beds.
	Beds int64
}

// shape is how a table is divided.
type shape int

const (
	byOrigin shape = iota
	byCorridor
	byCode
	asTimes
)

// tableDef is what a table is.
type tableDef struct {
	table            string
	shape            shape
	list             codes.List // of its codes, with `more` beside it
	more             []string
	counts           string // times: the table that counts those whose time it is
	unit             string
	titleEN, titleUR string
}

var tableDefs = []tableDef{
	{
		table: TableIdentified, shape: byOrigin, unit: "persons",
		titleEN: "Persons identified and taken in, by province", titleUR: "شناخت کر کے تحویل میں لیے گئے افراد، صوبے کے لحاظ سے",
	},
	{
		table: TableReferred, shape: byCorridor, unit: "referrals",
		titleEN: "Referrals submitted, by province of origin and destination", titleUR: "بھیجے گئے ریفرل، روانگی اور منزل کے صوبے کے لحاظ سے",
	},
	{
		table: TableAccepted, shape: byCorridor, unit: "referrals",
		titleEN: "Referrals accepted, by province of origin and destination", titleUR: "قبول کیے گئے ریفرل، روانگی اور منزل کے صوبے کے لحاظ سے",
	},
	{
		table: TableArrived, shape: byCorridor, unit: "referrals",
		titleEN: "Arrivals, by province of origin and destination", titleUR: "منزل پر پہنچنے والے، روانگی اور منزل کے صوبے کے لحاظ سے",
	},
	{
		table: TableCompleted, shape: byCorridor, unit: "referrals",
		titleEN: "Referrals completed, by province of origin and destination", titleUR: "مکمل ہونے والے ریفرل، روانگی اور منزل کے صوبے کے لحاظ سے",
	},
	{
		table: TableDeclines, shape: byCode, list: codes.Decline, more: []string{facts.Unanswered}, unit: "answers",
		titleEN: "Requests declined or not answered, by reason", titleUR: "نامنظور یا بلا جواب درخواستیں، وجہ کے لحاظ سے",
	},
	{
		table: TableOutcomes, shape: byCode, list: codes.Outcome, unit: "referrals",
		titleEN: "Referrals completed, by outcome", titleUR: "مکمل ہونے والے ریفرل، نتیجے کے لحاظ سے",
	},
	{
		table: TableServices, shape: byCode, list: codes.Service, unit: "services",
		titleEN: "Services given, by kind", titleUR: "فراہم کی گئی سہولتیں، قسم کے لحاظ سے",
	},
	{
		table: TableBeds, shape: byOrigin, unit: "beds",
		titleEN: "Occupied beds in shelters at the end of the month, by province", titleUR: "مہینے کے آخر میں پناہ گاہوں میں زیرِ استعمال بستر، صوبے کے لحاظ سے",
	},
	{
		table: TableTimeToAccept, shape: asTimes, counts: TableAccepted, unit: "hours",
		titleEN: "Time from referral to acceptance, by province of origin", titleUR: "ریفرل سے قبولیت تک کا وقت، روانگی کے صوبے کے لحاظ سے",
	},
	{
		table: TableTimeToArrive, shape: asTimes, counts: TableArrived, unit: "hours",
		titleEN: "Time from referral to arrival, by province of origin", titleUR: "ریفرل سے منزل پر پہنچنے تک کا وقت، روانگی کے صوبے کے لحاظ سے",
	},
}

// FirstEdition is what stands behind the first edition of a month. provinces are those with a node, in the order in which they are shown: where
// there is none nothing is hidden, since everybody knows that.
func (s Suppression) FirstEdition(provinces []string, leaves []Leaf) *federalv1.FrozenMonth {
	m := &federalv1.FrozenMonth{Edition: 1}
	for _, def := range tableDefs {
		if def.shape == asTimes {
			for _, p := range provinces {
				m.Times = append(m.Times, &federalv1.FrozenTimes{Table: def.table, Origin: p, Buckets: bucketsOf(leaves, def.table, p)})
			}
			continue
		}
		t := &federalv1.FrozenTable{Table: def.table, Country: def.skeleton(provinces)}
		sums := sumsOf(t, leaves)
		fill(t.GetCountry(), nil, func(c *federalv1.FrozenCell, path []string) {
			c.Value = sums[pathKey(path)].value
			if def.table == TableBeds {
				beds := sums[pathKey(path)].beds
				c.Ceiling = &beds
			}
		})
		s.Freeze(t.GetCountry())
		m.Tables = append(m.Tables, t)
	}
	return m
}

// NextEdition is m with what counts now taken over, where it may be.
func (s Suppression) NextEdition(m *federalv1.FrozenMonth, leaves []Leaf) {
	m.Edition++
	for _, t := range m.GetTables() {
		sums := sumsOf(t, leaves)
		s.Revise(t.GetCountry(), func(path []string) int64 { return sums[pathKey(path)].value })
	}
	for _, t := range m.GetTimes() {
		now := bucketsOf(leaves, t.GetTable(), t.GetOrigin())
		if away := allOf(now) - allOf(t.GetBuckets()); max(away, -away) >= s.K {
			t.Buckets = now
		}
	}
}

// skeleton is the table with all its cells.
func (d tableDef) skeleton(provinces []string) *federalv1.FrozenCell {
	country := &federalv1.FrozenCell{}
	switch d.shape {
	case byCode:
		for _, entry := range codes.All(d.list) {
			country.Parts = append(country.Parts, &federalv1.FrozenCell{Code: entry.Code})
		}
		for _, code := range d.more {
			country.Parts = append(country.Parts, &federalv1.FrozenCell{Code: code})
		}
	default:
		for _, from := range provinces {
			origin := &federalv1.FrozenCell{Code: from}
			if d.shape == byCorridor {
				for _, to := range append(slices.Clip(provinces), Outside) {
					origin.Parts = append(origin.Parts, &federalv1.FrozenCell{Code: to})
				}
			}
			country.Parts = append(country.Parts, origin)
		}
	}
	return country
}

func fill(c *federalv1.FrozenCell, path []string, with func(c *federalv1.FrozenCell, path []string)) {
	if len(c.GetParts()) == 0 {
		with(c, path)
	}
	for _, p := range c.GetParts() {
		fill(p, append(path[:len(path):len(path)], p.GetCode()), with)
	}
}

type sums struct{ value, beds int64 }

// sumsOf adds up the leaves of a table by the cells it has.
func sumsOf(t *federalv1.FrozenTable, leaves []Leaf) map[string]sums {
	found := map[string]sums{}
	for _, l := range leaves {
		if l.Table != t.GetTable() {
			continue
		}
		if path, ok := place(t.GetCountry(), l.Path); ok {
			at := pathKey(path)
			found[at] = sums{found[at].value + l.Value, found[at].beds + l.Beds}
		}
	}
	return found
}

// place is the path of the cell that a leaf counts in. A code that the table does not have counts as OTHER, a destination as Outside, and an
// origin, which only a node of the network can be, not at all.
func place(c *federalv1.FrozenCell, path []string) ([]string, bool) {
	placed := make([]string, 0, len(path))
	for _, code := range path {
		part := partOf(c, code)
		for _, rest := range []string{other, Outside} {
			if part == nil {
				part = partOf(c, rest)
			}
		}
		if part == nil {
			return nil, false
		}
		c, placed = part, append(placed, part.GetCode())
	}
	return placed, len(c.GetParts()) == 0
}

func partOf(c *federalv1.FrozenCell, code string) *federalv1.FrozenCell {
	for _, p := range c.GetParts() {
		if p.GetCode() == code {
			return p
		}
	}
	return nil
}

// pathKey is a path as a key of a map; no code has a slash.
func pathKey(path []string) (k string) {
	for _, p := range path {
		k += "/" + p
	}
	return k
}

// PublishedFigures are the figures that the tables are made of.
var PublishedFigures = []string{FigureStage, FigureDecline, FigureOutcome, FigureService, toAccept, toArrive}

var (
	toAccept = Span{facts.Referred, facts.Accepted}.Figure()
	toArrive = Span{facts.Referred, facts.Arrived}.Figure()
)

// byStage are the tables that count flows at a stage.
var byStage = map[string]string{
	facts.Identified: TableIdentified, facts.Referred: TableReferred, facts.Accepted: TableAccepted, facts.Arrived: TableArrived,
	facts.Completed: TableCompleted,
}

// LeafOf is what a count adds to the tables; false for nothing. province is that of a node, empty for none: of the node itself nothing is
// told.
func LeafOf(c *federalv1.Count, province func(node string) string) (leaf Leaf, ok bool) {
	from, to := province(c.GetFromNode()), province(c.GetToNode())
	if to == "" {
		to = Outside
	}
	leaf.Value = c.GetValue()
	switch c.GetFigure() {
	case FigureStage:
		leaf.Table, leaf.Path = byStage[c.GetDetail()], []string{from, to}
		if c.GetDetail() == facts.Identified {
			leaf.Path = []string{from}
		}
	case FigureDecline:
		leaf.Table, leaf.Path = TableDeclines, []string{c.GetDetail()}
	case FigureOutcome:
		leaf.Table, leaf.Path = TableOutcomes, []string{c.GetDetail()}
	case FigureService:
		leaf.Table, leaf.Path = TableServices, []string{c.GetDetail()}
	case toAccept:
		leaf.Table, leaf.Path = TableTimeToAccept, []string{from, c.GetDetail()}
	case toArrive:
		leaf.Table, leaf.Path = TableTimeToArrive, []string{from, c.GetDetail()}
	}
	return leaf, leaf.Table != ""
}
