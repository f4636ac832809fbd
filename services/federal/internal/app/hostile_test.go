package app_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/facts"
	"amanat.example/services/kit/flow"
	"amanat.example/services/kit/zone"
)

// Whatever facts say, also what no honest province tells, counts follow from the facts alone: flows of two cases, cases of each other and of
// themselves, corrections of corrections and of what names the case.
func TestCountsFollowFromAnyFacts(t *testing.T) {
	kinds := []string{
		facts.Identified, facts.Referred, facts.Referred, facts.Accepted, facts.Arrived, facts.Completed, facts.Service, facts.Declined,
		facts.Returned, facts.Retracted, "MOVED_TO_THE_MOON",
	}
	for seed := range uint64(15) {
		chance := rand.New(rand.NewPCG(seed, 2))
		b := newBench(t)
		var all []*federalv1.Fact
		for range 40 {
			f := fact(chance.IntN(4), kinds[chance.IntN(len(kinds))], "punjab", chance.IntN(60*24*60))
			if f.GetKind() == facts.Identified {
				f.ToNode = ""
			} else if chance.IntN(2) == 0 {
				f.CaseFlowId = flowID(chance.IntN(4))
			}
			if len(all) > 0 && (f.GetKind() == facts.Retracted || chance.IntN(3) == 0) {
				other := all[chance.IntN(len(all))]
				f.FlowId, f.Corrects = other.GetFlowId(), facts.ID("sindh", "referral", other)
			} else if f.GetKind() == facts.Retracted {
				continue
			}
			all = append(all, f)
		}
		chance.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for i, f := range all {
			b.tell(f)
			if i%8 != 0 && i < len(all)-1 {
				continue
			}
			got := b.counts()
			if err := b.Rebuild(t.Context()); err != nil {
				t.Fatal(err)
			}
			if want := b.counts(); !slices.Equal(got, want) {
				t.Fatalf("seed %d, after %d facts: %v\ncounted anew: %v", seed, i+1, got, want)
			}
		}
	}
}

// A flow, or a case, of so much that each fact would cost a long look is no honest one: what goes beyond is refused.
func TestFlowsWithoutEnd(t *testing.T) {
	b := newBench(t)
	tell := func(node string, f *federalv1.Fact) error {
		t.Helper()
		return b.deliver(node, "referral", flow.FactsKind, marshal(t, &federalv1.Facts{Facts: []*federalv1.Fact{f}}))
	}
	refused := func(what string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "too-many-facts") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := range 200 {
		if err := tell("sindh", fact(1, "MOVED", "punjab", n)); err != nil {
			t.Fatal(n, err)
		}
	}
	refused("fact 201", tell("sindh", fact(1, "MOVED", "punjab", 200)))
	if err := tell("sindh", fact(1, "MOVED", "punjab", 199)); err != nil {
		t.Errorf("one that is there: %v", err)
	}
	if err := tell("punjab", fact(1, facts.Arrived, "punjab", 200)); err != nil {
		t.Errorf("another node's: %v", err)
	}
	referred := func(n int) *federalv1.Fact {
		f := fact(1, facts.Referred, "punjab", n)
		f.FlowId, f.CaseFlowId = fmt.Appendf(nil, "%016d", n), flowID(9)
		return f
	}
	for n := range 100 {
		if err := tell("sindh", referred(n)); err != nil {
			t.Fatal(n, err)
		}
	}
	before := b.counts()
	refused("referral 101", tell("sindh", referred(100)))
	if got := b.counts(); !slices.Equal(got, before) {
		t.Errorf("a refusal changed the counts: %v", got)
	}
}

// What shelters, or links, said by a clock that had run ahead stands no longer than until they say something else; and counts that no country has are refused.
func TestWhatAClockSaidThatRanAhead(t *testing.T) {
	b := newBench(t)
	say := func(day string, at time.Time, occupied int64) error {
		t.Helper()
		return b.deliver("punjab", "shelter", flow.SheltersKind, marshal(t, &federalv1.ShelterDay{Day: day, CountTime: timestamppb.New(at), Total: 50, Occupied: occupied}))
	}
	for _, c := range []struct {
		day      string
		at       time.Time
		occupied int64
	}{
		{"2027-01-05", b.now.AddDate(0, 10, 0), 40},
		{"2026-03-01", b.now.Add(time.Hour), 41},
		{"2026-03-01", b.now, 42},
	} {
		if err := say(c.day, c.at, c.occupied); err != nil {
			t.Fatal(err)
		}
		if now := b.figures("all").GetShelters(); len(now) != 1 || now[0].GetDay().GetOccupied() != c.occupied || now[0].GetDay().GetDay() != "2026-03-01" {
			t.Errorf("of %s: %v", c.day, now)
		}
	}
	links := func(at time.Time, mark uint64) {
		t.Helper()
		body := marshal(t, &federalv1.LinkStates{LookTime: timestamppb.New(at), Links: []*federalv1.LinkState{{Node: "sindh", Service: "referral", Mark: mark}}})
		if err := b.deliver("punjab", "referral", flow.LinksKind, body); err != nil {
			t.Fatal(err)
		}
	}
	links(b.now.AddDate(0, 10, 0), 1)
	links(b.now, 2)
	if page, err := b.ListLinks(t.Context(), &federalv1.ListLinksRequest{}); err != nil || page.GetLinks()[1].GetStates().GetLinks()[0].GetMark() != 2 {
		t.Errorf("links: %v, %v", page, err)
	}
	if err := say("2026-03-01", b.now, 1<<62); err == nil || !strings.Contains(err.Error(), "invalid-shelters") {
		t.Errorf("beds for all of mankind: %v", err)
	}
}

// A clock that stood at its beginning, or somebody who means ill, makes no publications of months that never were; they stay among the exact counts.
func TestMonthsThatNeverWere(t *testing.T) {
	b := newBench(t)
	for n, c := range []struct {
		at   time.Time
		fits bool
	}{
		{time.Unix(0, 0), true},
		{time.Date(2019, 12, 31, 0, 0, 0, 0, zone.Karachi), true},
		{time.Date(2099, 12, 31, 23, 59, 59, 0, zone.Karachi), true},
		{time.Time{}, false},
		{time.Unix(-5*60*60-1, 0), false},
		{time.Date(2100, 1, 1, 0, 0, 0, 0, zone.Karachi), false},
		{time.Date(9999, 12, 31, 23, 0, 0, 0, time.UTC), false},
	} {
		f := fact(n, facts.Referred, "punjab", 0)
		f.EventTime = timestamppb.New(c.at)
		if err := b.deliver("sindh", "referral", flow.FactsKind, marshal(t, &federalv1.Facts{Facts: []*federalv1.Fact{f}})); (err == nil) != c.fits {
			t.Errorf("%v: %v", c.at, err)
		}
		day := marshal(t, &federalv1.FlowDays{Days: []*federalv1.FlowDay{{Day: facts.Day(c.at), Facts: 1, Digest: make([]byte, 32)}}})
		if err := b.deliver("sindh", "referral", flow.DaysKind, day); (err == nil) != c.fits {
			t.Errorf("day %v: %v", facts.Day(c.at), err)
		}
	}
	for days := range 30 {
		b.publish(settledTime.AddDate(0, 0, days))
	}
	if got := b.published(nil); got != nil {
		t.Errorf("published: %v", got)
	}
	if got, err := b.RevisePublications(t.Context(), &federalv1.RevisePublicationsRequest{
		RequestId: "one", Reason: federalv1.RevisionReason_REVISION_REASON_LATE_LETTERS,
	}, "people/analyst"); err != nil || len(got.GetPublications()) != 0 {
		t.Errorf("a revision: %v, %v", got, err)
	}
	if got := b.figures("all").GetCorridors(); len(got) != 1 || got[0].GetReferred() != 3 {
		t.Errorf("counted: %v", got)
	}
}

// A clock of the cell's own that ran ahead does not put a month off until then.
func TestAMonthIsNotPutOffByAClockThatRanAhead(t *testing.T) {
	b := newBench(t)
	b.many(40, "sindh>punjab", 1, facts.Referred)
	b.publish(settledTime.AddDate(1, 0, 0))
	if b.publish(settledTime); b.published(nil) != nil {
		t.Error("it was not waited for")
	}
	if b.publish(settledTime.Add(day)); len(b.published(nil)) != 1 {
		t.Error("it is not published")
	}
}

// No page is longer than was asked for, the cell's own links counted, and none is left out.
func TestPagesOfLinks(t *testing.T) {
	b := newBench(t)
	for _, node := range []string{"balochistan", "punjab", "sindh"} {
		if err := b.deliver(node, "referral", flow.LinksKind, marshal(t, &federalv1.LinkStates{LookTime: timestamppb.New(begin)})); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		filter *federalv1.ListLinksRequest_Filter
		want   []string
	}{
		{nil, []string{"federal", "balochistan", "punjab", "sindh"}},
		{&federalv1.ListLinksRequest_Filter{Node: "punjab"}, []string{"punjab"}},
		{&federalv1.ListLinksRequest_Filter{Node: "federal"}, []string{"federal"}},
	} {
		for size := range int32(6) {
			var got []string
			for request := (&federalv1.ListLinksRequest{Filter: c.filter, PageSize: size}); ; {
				page, err := b.ListLinks(t.Context(), request)
				if err != nil || size > 0 && len(page.GetLinks()) > int(size) {
					t.Fatalf("pages of %d: %v, %v", size, page, err)
				}
				for _, l := range page.GetLinks() {
					got = append(got, l.GetNode())
				}
				if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
					break
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("pages of %d, %v: %v", size, c.filter, got)
			}
		}
	}
}

// A node that is active no more is heard no more, which is no news.
func TestLinksOfNodesThatLeft(t *testing.T) {
	b := newBench(t)
	b.OwnLinks = func(context.Context) (*federalv1.LinkStates, error) {
		return &federalv1.LinkStates{LookTime: timestamppb.New(b.now), Links: []*federalv1.LinkState{
			{Node: "gilgit", Service: "referral"}, {Node: "punjab", Service: "referral"}, {Node: "gilgit", Service: "protection", Outgoing: true},
		}}, nil
	}
	page, err := b.ListLinks(t.Context(), &federalv1.ListLinksRequest{})
	if links := page.GetLinks()[0].GetStates().GetLinks(); err != nil || len(links) != 1 || links[0].GetNode() != "punjab" {
		t.Errorf("%v, %v", links, err)
	}
}
