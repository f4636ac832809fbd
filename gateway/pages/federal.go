package pages

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	federalv1 "amanat.example/proto/amanat/federal/v1"
)

const (
	// federalWait is how long the federal service may take.
	federalWait = 2 * time.Second
	// shownMonths is how many of the last months published are shown.
	shownMonths = 12
	// silence is from when on somebody is needed: the post repeats what is not receipted every 15 minutes at least.
	silence = time.Hour
)

// Nodes is the section that says when each province was heard last, and what it says waits there; of the federal node's gateway alone.
func Nodes(client federalv1.FiguresServiceClient, now func() time.Time) Section {
	return func(ctx context.Context) Table {
		table := Table{Title: "Provinces", State: "All provinces were heard within the hour.", Head: []string{"Node", "Heard", "Letters waiting there"}}
		ctx, cancel := context.WithTimeout(ctx, federalWait)
		defer cancel()
		all, err := client.ListLinks(ctx, &federalv1.ListLinksRequest{PageSize: 1000})
		if err != nil {
			return Table{Title: table.Title, Bad: true, State: "How the provinces are is not known: the federal service does not say."}
		}
		heard, waiting := map[string]time.Time{}, map[string]uint64{}
		for _, told := range all.GetLinks() {
			for _, l := range told.GetStates().GetLinks() {
				switch {
				case told.GetService() != "federal" && l.GetOutgoing():
					waiting[told.GetNode()] += l.GetGap()
				case told.GetService() == "federal" && !l.GetOutgoing():
					if at := l.GetHearTime(); at != nil && at.AsTime().After(heard[l.GetNode()]) {
						heard[l.GetNode()] = at.AsTime()
					} else if _, there := heard[l.GetNode()]; !there {
						heard[l.GetNode()] = time.Time{}
					}
				}
			}
		}
		for _, node := range slices.Sorted(maps.Keys(heard)) {
			cell := Cell{"never", "down"}
			if at := heard[node]; !at.IsZero() {
				cell = Cell{ago(now().Sub(at)), "up"}
				if now().Sub(at) > silence {
					cell.Mark = "down"
				}
			}
			if cell.Mark == "down" {
				table.Bad, table.State = true, "A province was not heard for an hour or more. What it does is counted when it is heard again."
			}
			table.Rows = append(table.Rows, []Cell{{Text: node}, cell, {Text: strconv.FormatUint(waiting[node], 10)}})
		}
		if len(table.Rows) == 0 {
			return Table{Title: table.Title, State: "No province has written yet."}
		}
		return table
	}
}

// ago says how long something is past, roughly.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours())/24)
}

// funnel are the tables whose totals are shown, and the columns they are.
var funnel = []struct{ table, head string }{
	{"identified", "Identified"}, {"referred", "Referred"}, {"accepted", "Accepted"}, {"arrived", "Arrived"}, {"completed", "Outcome known"},
}

// Funnel is the section that shows what is published of the last months: what happened in each, in the whole country and, for the last, by
// province. What is published never changes, so each month is asked for once; of a revision, once more.
func Funnel(client federalv1.PublicationServiceClient) Section {
	kept := &publications{known: map[string]*federalv1.Publication{}}
	return func(ctx context.Context) Table {
		table := Table{Title: "Published figures", Head: []string{"In"}}
		for _, column := range funnel {
			table.Head = append(table.Head, column.head)
		}
		ctx, cancel := context.WithTimeout(ctx, federalWait)
		defer cancel()
		months, err := kept.last(ctx, client)
		switch {
		case err != nil:
			return Table{Title: table.Title, Bad: true, State: "The federal service does not say what is published."}
		case len(months) == 0:
			return Table{Title: table.Title, State: "No month is published yet: each is ten days after its end."}
		}
		table.State = "What happened in each month. A letter c stands for a count that is not told, so that no count below 11 can be worked out."
		for i, p := range months {
			table.Rows = append(table.Rows, funnelRow(p, "PK", p.GetMonth()))
			if i > 0 {
				continue
			}
			for _, province := range provincesOf(p) {
				table.Rows = append(table.Rows, funnelRow(p, province, p.GetMonth()+", "+labelOf(p, province)))
			}
		}
		return table
	}
}

func funnelRow(p *federalv1.Publication, origin, name string) []Cell {
	row := []Cell{{Text: name}}
	for _, column := range funnel {
		cell := Cell{Text: "c"}
		for _, t := range p.GetTables() {
			for _, c := range t.GetCells() {
				if t.GetTable() == column.table && c.GetOrigin() == origin && c.GetDestination() == "" && c.GetCode() == "" && !c.GetHidden() {
					cell.Text = strconv.Itoa(int(c.GetValue()))
				}
			}
		}
		row = append(row, cell)
	}
	return row
}

// labelOf is what an origin is called.
func labelOf(p *federalv1.Publication, origin string) string {
	for _, c := range p.GetCodes() {
		if c.GetColumn() == "origin" && c.GetCode() == origin && c.GetLabelEn() != "" {
			return c.GetLabelEn()
		}
	}
	return origin
}

func provincesOf(p *federalv1.Publication) (all []string) {
	for _, t := range p.GetTables() {
		for _, c := range t.GetCells() {
			if t.GetTable() == funnel[0].table && c.GetOrigin() != "PK" && !slices.Contains(all, c.GetOrigin()) {
				all = append(all, c.GetOrigin())
			}
		}
	}
	slices.Sort(all)
	return all
}

// publications are those that were asked for.
type publications struct {
	mu    sync.Mutex
	known map[string]*federalv1.Publication
}

// last are the newest editions of the last months, the newest first.
func (p *publications) last(ctx context.Context, client federalv1.PublicationServiceClient) (all []*federalv1.Publication, err error) {
	list, err := client.ListPublications(ctx, &federalv1.ListPublicationsRequest{
		PageSize: shownMonths, Filter: &federalv1.ListPublicationsRequest_Filter{Newest: true},
	})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	known := map[string]*federalv1.Publication{}
	for _, one := range list.GetPublications() {
		whole := p.known[one.GetName()]
		if whole == nil {
			if whole, err = client.GetPublication(ctx, &federalv1.GetPublicationRequest{Name: one.GetName()}); err != nil {
				return nil, err
			}
		}
		known[one.GetName()] = whole
		all = append(all, whole)
	}
	p.known = known
	return all, nil
}
