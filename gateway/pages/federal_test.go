package pages

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
)

type cell struct {
	federalv1.FiguresServiceClient
	federalv1.PublicationServiceClient
	links        []*federalv1.LinkRecord
	publications []*federalv1.Publication
	asked        int
	err          error
}

func (c *cell) ListLinks(context.Context, *federalv1.ListLinksRequest, ...grpc.CallOption) (*federalv1.ListLinksResponse, error) {
	return &federalv1.ListLinksResponse{Links: c.links}, c.err
}

func (c *cell) ListPublications(_ context.Context, r *federalv1.ListPublicationsRequest, _ ...grpc.CallOption) (*federalv1.ListPublicationsResponse, error) {
	if !r.GetFilter().GetNewest() {
		return nil, errors.New("all editions are asked for")
	}
	list := &federalv1.ListPublicationsResponse{}
	for _, p := range c.publications {
		list.Publications = append(list.Publications, &federalv1.Publication{Name: p.GetName()})
	}
	return list, c.err
}

func (c *cell) GetPublication(_ context.Context, r *federalv1.GetPublicationRequest, _ ...grpc.CallOption) (*federalv1.Publication, error) {
	c.asked++
	for _, p := range c.publications {
		if p.GetName() == r.GetName() {
			return p, c.err
		}
	}
	return nil, errors.New("there is none")
}

func rows(t Table) string {
	var lines []string
	for _, row := range t.Rows {
		var line []string
		for _, c := range row {
			line = append(line, strings.Trim(c.Text+"|"+c.Mark, "|"))
		}
		lines = append(lines, strings.Join(line, ", "))
	}
	return strings.Join(lines, "\n")
}

// Each province is shown with when it was heard last on any link, and what waits there; who is silent needs somebody.
func TestNodesSection(t *testing.T) {
	now := time.Date(2026, 9, 1, 8, 0, 0, 0, time.UTC)
	heard := func(node string, before time.Duration) *federalv1.LinkState {
		return &federalv1.LinkState{Node: node, Service: "referral", HearTime: timestamppb.New(now.Add(-before))}
	}
	c := &cell{links: []*federalv1.LinkRecord{
		{Node: "federal", Service: "federal", States: &federalv1.LinkStates{Links: []*federalv1.LinkState{
			heard("punjab", time.Hour), heard("punjab", 3*time.Second), heard("punjab", 2*time.Minute), heard("sindh", 20*time.Minute), {Node: "sindh", Service: "protection"}, {Node: "sindh", Service: "referral", Outgoing: true, Gap: 99},
		}}},
		{Node: "punjab", Service: "referral", States: &federalv1.LinkStates{Links: []*federalv1.LinkState{
			{Node: "sindh", Service: "referral", Outgoing: true, Gap: 4}, {Node: "federal", Service: "federal", Outgoing: true, Gap: 2}, heard("sindh", 0),
		}}},
	}}
	section := Nodes(c, func() time.Time { return now })
	if got := section(t.Context()); got.Bad || rows(got) != "punjab, 3 s ago|up, 6\nsindh, 20 min ago|up, 0" {
		t.Errorf("%+v\n%s", got, rows(got))
	}
	c.links[0].States.Links = append(c.links[0].States.Links, heard("balochistan", 61*time.Minute), &federalv1.LinkState{Node: "khyber", Service: "referral"})
	if got := section(t.Context()); !got.Bad || !strings.HasPrefix(rows(got), "balochistan, 1 h ago|down, 0\nkhyber, never|down, 0\n") {
		t.Errorf("%+v\n%s", got, rows(got))
	}
	c.links = nil
	if got := section(t.Context()); got.Bad || len(got.Rows) > 0 || got.State == "" {
		t.Errorf("%+v", got)
	}
	c.err = errors.New("away")
	if got := section(t.Context()); !got.Bad || len(got.Rows) > 0 {
		t.Errorf("%+v", got)
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0 s ago", 59 * time.Second: "59 s ago", time.Minute: "1 min ago", 59 * time.Minute: "59 min ago", time.Hour: "1 h ago", 47 * time.Hour: "47 h ago",
		48 * time.Hour: "2 days ago", 71 * time.Hour: "2 days ago",
	} {
		if got := ago(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// The last months are shown as they are published, the newest first and by province; each is asked for once.
func TestFunnelSection(t *testing.T) {
	month := func(month string, edition int, referred int32) *federalv1.Publication {
		p := &federalv1.Publication{Name: fmt.Sprintf("publications/%s-e%d", month, edition), Month: month}
		p.Codes = []*federalv1.PublishedCode{{Code: "PK-SD", Column: "destination", LabelEn: "to Sindh"}, {Code: "PK-SD", Column: "origin", LabelEn: "Sindh"}}
		p.Tables = []*federalv1.PublishedTable{
			{Table: "identified", Cells: []*federalv1.PublishedCell{{Origin: "PK", Value: 100}, {Origin: "PK-SD", Value: 60}, {Origin: "PK-BA", Hidden: true}, {Origin: "PK-PB", Hidden: true}}},
			{Table: "referred", Cells: []*federalv1.PublishedCell{{Origin: "PK", Value: referred}, {Origin: "PK-SD", Destination: "PK-PB", Value: 7}}},
			{Table: "arrived", Cells: []*federalv1.PublishedCell{{Origin: "PK", Hidden: true}}},
		}
		return p
	}
	c := &cell{publications: []*federalv1.Publication{month("2026-08", 1, 40), month("2026-07", 2, 30)}}
	section := Funnel(c)
	want := "2026-08, 100, 40, c, c, c\n2026-08, PK-BA, c, c, c, c, c\n2026-08, PK-PB, c, c, c, c, c\n2026-08, Sindh, 60, c, c, c, c\n2026-07, 100, 30, c, c, c"
	for range 2 {
		if got := section(t.Context()); got.Bad || rows(got) != want || len(got.Head) != 6 {
			t.Errorf("%+v\n%s", got, rows(got))
		}
	}
	if c.asked != 2 {
		t.Errorf("asked %d times", c.asked)
	}
	c.publications[1] = month("2026-07", 3, 31)
	if got := section(t.Context()); !strings.Contains(rows(got), "2026-07, 100, 31,") || c.asked != 3 {
		t.Errorf("%s, asked %d times", rows(got), c.asked)
	}
	c.publications = nil
	if got := section(t.Context()); got.Bad || len(got.Rows) > 0 || !strings.Contains(got.State, "ten days") {
		t.Errorf("%+v", got)
	}
	c.err = errors.New("away")
	if got := section(t.Context()); !got.Bad {
		t.Errorf("%+v", got)
	}
}
