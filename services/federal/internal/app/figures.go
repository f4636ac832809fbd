package app

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/federal/internal/rules"
	"amanat.example/services/federal/internal/store"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/late"
	kitstore "amanat.example/services/kit/store"
)

// GetFigures counts everything for a span of months.
func (a *App) GetFigures(ctx context.Context, request *federalv1.GetFiguresRequest) (figures *federalv1.Figures, err error) {
	months := spanOf(request.GetName())
	if months.to != "" && months.to < months.from {
		return nil, fault.InvalidField("name", "must not end before it begins, such as figures/2026-01..2026-06")
	}
	err = a.DB.View(ctx, func(r kitstore.Reader) error {
		figures, err = a.figures(r, months)
		return err
	})
	if err != nil {
		return nil, err
	}
	figures.Name = request.GetName()
	raw, err := (proto.MarshalOptions{Deterministic: true}).Marshal(figures)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(raw)
	figures.Etag, figures.CountTime = hex.EncodeToString(digest[:16]), timestamppb.New(a.Now())
	return figures, nil
}

// span is a span of months; empty ends are open.
type span struct{ from, to string }

// spanOf is the span that a name of figures stands for, whose form the contract holds.
func spanOf(name string) span {
	months := strings.TrimPrefix(name, "figures/")
	if months == "all" {
		return span{}
	}
	from, to, _ := strings.Cut(months, "..")
	return span{from, cmp.Or(to, from)}
}

func (s span) holds(month string) bool {
	return month >= s.from && (s.to == "" || month <= s.to)
}

// each calls fn for the counts of a figure in the months. Those of what stands now have none.
func each(r kitstore.Reader, figure string, months span, fn func(c *federalv1.Count)) error {
	return store.Counts.Scan(r, kitstore.Range{Prefix: kitstore.K(figure)}, func(_ kitstore.Key, c *federalv1.Count) error {
		if c.GetMonth() == "" || months.holds(c.GetMonth()) {
			fn(c)
		}
		return nil
	})
}

func (a *App) figures(r kitstore.Reader, months span) (*federalv1.Figures, error) {
	now := a.Now()
	f := &federalv1.Figures{}
	for _, count := range []func() error{
		func() error { return a.countFunnel(r, months, f) },
		func() error { return countCorridors(r, months, f) },
		func() error { return countTimes(r, months, f) },
		func() (err error) { f.Declines, err = countCodes(r, rules.FigureDecline, months); return err },
		func() (err error) { f.Outcomes, err = countCodes(r, rules.FigureOutcome, months); return err },
		func() (err error) { f.Services, err = countCodes(r, rules.FigureService, months); return err },
		func() (err error) { f.Ended, err = countCodes(r, rules.FigureEnded, months); return err },
		func() error { return countStanding(r, now, f) },
		func() error { return a.countShelters(r, months, f) },
		func() error { return countStrays(r, months, f) },
	} {
		if err := count(); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// table makes rows by a key that orders them.
type table[K comparable, R any] struct{ rows map[K]*R }

func (t *table[K, R]) row(k K, fresh func() *R) *R {
	if t.rows == nil {
		t.rows = map[K]*R{}
	}
	if t.rows[k] == nil {
		t.rows[k] = fresh()
	}
	return t.rows[k]
}

func (t *table[K, R]) sorted(order func(a, b K) int) (all []*R) {
	for _, k := range slices.SortedFunc(maps.Keys(t.rows), order) {
		all = append(all, t.rows[k])
	}
	return all
}

func (a *App) countFunnel(r kitstore.Reader, months span, f *federalv1.Figures) error {
	type key struct{ month, node string }
	var byNode, byMonth table[key, federalv1.FunnelRow]
	f.Total = &federalv1.FunnelRow{}
	err := each(r, rules.FigureCohort, months, func(c *federalv1.Count) {
		node := c.GetFromNode()
		for _, row := range []*federalv1.FunnelRow{
			f.Total,
			byNode.row(key{"", node}, func() *federalv1.FunnelRow { return &federalv1.FunnelRow{Node: node, Province: a.Province(node)} }),
			byMonth.row(key{c.GetMonth(), node}, func() *federalv1.FunnelRow {
				return &federalv1.FunnelRow{Month: c.GetMonth(), Node: node, Province: a.Province(node)}
			}),
		} {
			if at := funnelCell(row, c.GetDetail()); at != nil {
				*at += c.GetValue()
			}
		}
	})
	order := func(a, b key) int { return cmp.Or(cmp.Compare(a.month, b.month), cmp.Compare(a.node, b.node)) }
	f.Funnel, f.Trend = byNode.sorted(order), byMonth.sorted(order)
	return err
}

// funnelCell is where a stage is counted; nil for one that the funnel does not show.
func funnelCell(row *federalv1.FunnelRow, stage string) *int64 {
	switch stage {
	case facts.Identified:
		return &row.Identified
	case facts.Referred:
		return &row.Referred
	case facts.Accepted:
		return &row.Accepted
	case facts.Arrived:
		return &row.Arrived
	case facts.Completed:
		return &row.Completed
	}
	return nil
}

func countCorridors(r kitstore.Reader, months span, f *federalv1.Figures) error {
	type key struct{ from, to string }
	var all table[key, federalv1.CorridorRow]
	err := each(r, rules.FigureStage, months, func(c *federalv1.Count) {
		if c.GetDetail() == facts.Identified {
			return
		}
		row := all.row(key{c.GetFromNode(), c.GetToNode()}, func() *federalv1.CorridorRow {
			return &federalv1.CorridorRow{FromNode: c.GetFromNode(), ToNode: c.GetToNode()}
		})
		switch c.GetDetail() {
		case facts.Referred:
			row.Referred += c.GetValue()
		case facts.Accepted:
			row.Accepted += c.GetValue()
		case facts.Dispatched:
			row.Dispatched += c.GetValue()
		case facts.Arrived:
			row.Arrived += c.GetValue()
		case facts.Completed:
			row.Completed += c.GetValue()
		}
	})
	f.Corridors = all.sorted(func(a, b key) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	return err
}

func countTimes(r kitstore.Reader, months span, f *federalv1.Figures) error {
	for _, s := range rules.Spans {
		byNode := map[string]map[string]int64{"": {}} // node (empty: all) → bucket → flows
		err := each(r, s.Figure(), months, func(c *federalv1.Count) {
			for _, node := range []string{"", c.GetFromNode()} {
				if byNode[node] == nil {
					byNode[node] = map[string]int64{}
				}
				byNode[node][c.GetDetail()] += c.GetValue()
			}
		})
		if err != nil {
			return err
		}
		for _, node := range slices.Sorted(maps.Keys(byNode)) {
			row := &federalv1.TimeRow{FromNode: node, FromStage: rules.StageOf(s.From), ToStage: rules.StageOf(s.To)}
			var buckets []*federalv1.Count
			for _, b := range slices.Sorted(maps.Keys(byNode[node])) {
				buckets = append(buckets, &federalv1.Count{Detail: b, Value: byNode[node][b]})
				row.Flows += byNode[node][b]
			}
			if row.Flows == 0 {
				continue
			}
			row.P50, row.P90 = durationpb.New(rules.Quantile(buckets, 0.5)), durationpb.New(rules.Quantile(buckets, 0.9))
			f.Times = append(f.Times, row)
		}
	}
	return nil
}

func countCodes(r kitstore.Reader, figure string, months span) ([]*federalv1.CodeRow, error) {
	type key struct{ from, to, code string }
	var all table[key, federalv1.CodeRow]
	err := each(r, figure, months, func(c *federalv1.Count) {
		k := key{c.GetFromNode(), c.GetToNode(), c.GetDetail()}
		all.row(k, func() *federalv1.CodeRow { return &federalv1.CodeRow{FromNode: k.from, ToNode: k.to, Code: k.code} }).Flows += c.GetValue()
	})
	return all.sorted(func(a, b key) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(a.code, b.code))
	}), err
}

func countStanding(r kitstore.Reader, now time.Time, f *federalv1.Figures) error {
	type key struct {
		from, to string
		stage    federalv1.Stage
		age      federalv1.LateAge
	}
	var all table[key, federalv1.StandingRow]
	err := each(r, rules.FigureStanding, span{}, func(c *federalv1.Count) {
		stage, since, ok := rules.Standing(c.GetDetail())
		if !ok {
			return
		}
		k := key{c.GetFromNode(), c.GetToNode(), stage, late.Age(now.Sub(since))}
		all.row(k, func() *federalv1.StandingRow {
			return &federalv1.StandingRow{FromNode: k.from, ToNode: k.to, Stage: k.stage, Age: k.age}
		}).Flows += c.GetValue()
	})
	f.Standing = all.sorted(func(a, b key) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to), cmp.Compare(a.stage, b.stage), cmp.Compare(a.age, b.age))
	})
	return err
}

func countStrays(r kitstore.Reader, months span, f *federalv1.Figures) error {
	var all table[string, federalv1.StrayRow]
	err := each(r, rules.FigureStray, months, func(c *federalv1.Count) {
		all.row(c.GetFromNode(), func() *federalv1.StrayRow { return &federalv1.StrayRow{Node: c.GetFromNode()} }).Facts += c.GetValue()
	})
	f.Strays = all.sorted(cmp.Compare[string])
	return err
}

// countShelters takes what each node said last, and what it said last in each month. It reads those days alone, however many there are.
func (a *App) countShelters(r kitstore.Reader, months span, f *federalv1.Figures) error {
	for after := (kitstore.Key{}); ; {
		rows, _, err := store.Shelters.Page(r, kitstore.Range{After: after}, 1)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			break
		}
		node := rows[0].Value.GetNode()
		if err := a.countNode(r, node, months, f); err != nil {
			return err
		}
		after = kitstore.K(node, afterDays)
	}
	slices.SortStableFunc(f.ShelterTrend, func(a, b *federalv1.ShelterRow) int { return strings.Compare(a.GetMonth(), b.GetMonth()) })
	return nil
}

// afterDays is behind every day.
const afterDays = "9999-99-99"

// countNode goes back through a node's days from the last: of each month in the span to the last day before it.
func (a *App) countNode(r kitstore.Reader, node string, months span, f *federalv1.Figures) error {
	var trend []*federalv1.ShelterRow
	for before := afterDays; ; {
		rows, _, err := store.Shelters.Page(r, kitstore.Range{Prefix: kitstore.K(node), Reverse: true, After: kitstore.K(node, before)}, 1)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			break
		}
		day := rows[0].Value.GetDay()
		month := day.GetDay()[:len("2026-11")]
		row := &federalv1.ShelterRow{
			Node: node, Province: a.Province(node), Day: day,
			Free: max(0, day.GetTotal()-day.GetOutOfService()-day.GetOccupied()-day.GetHeld()),
		}
		if before == afterDays {
			f.Shelters = append(f.Shelters, proto.CloneOf(row))
		}
		if month < months.from {
			break
		}
		if before = month; !months.holds(month) {
			before = months.to + "-99" // behind the span's last day
			continue
		}
		row.Month = month
		trend = append(trend, row)
	}
	slices.Reverse(trend)
	f.ShelterTrend = append(f.ShelterTrend, trend...)
	return nil
}
