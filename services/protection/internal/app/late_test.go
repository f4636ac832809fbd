package app_test

import (
	"testing"
	"time"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	"amanat.example/services/kit/late"
)

// A deadline of the law that was missed is counted for the federal cell until it is met; the letter names no case.
func TestLateCountsOfCases(t *testing.T) {
	b := staffed(t)
	b.head()
	request := b.intake()
	_, err := b.CreateCase(t.Context(), request)
	must(t, err)
	listed, err := b.ListCases(t.Context(), &protectionv1.ListCasesRequest{Parent: b.parent()})
	must(t, err)
	c := listed.GetCases()[0]
	_, err = b.RecordLegalEvent(t.Context(), &protectionv1.RecordLegalEventRequest{
		Name: c.GetName(), Etag: c.GetEtag(), Event: "missing-report", EventTime: c.GetCreateTime(),
	})
	must(t, err)
	told := func() (all []*federalv1.LateCounts) {
		_, err := b.Late().Report(t.Context())
		must(t, err)
		for _, o := range b.letters.of(late.Kind) {
			all = append(all, o.Body.(*federalv1.LateCounts))
		}
		return all
	}
	if got := told(); len(got) != 0 {
		t.Fatalf("told %v", got)
	}
	b.now(4 * 24 * time.Hour)
	_, err = b.FireDeadlines(t.Context())
	must(t, err)
	got := told()
	if len(got) != 1 || len(got[0].GetCounts()) == 0 {
		t.Fatalf("told %v", got)
	}
	deadlines, err := b.ListCaseDeadlines(t.Context(), &protectionv1.ListCaseDeadlinesRequest{Parent: b.parent()})
	must(t, err)
	for _, d := range deadlines.GetCaseDeadlines() {
		_, err := b.MeetDeadline(t.Context(), &protectionv1.MeetDeadlineRequest{Name: d.GetName(), Etag: d.GetEtag()})
		must(t, err)
	}
	if got = told(); len(got) != 2 || len(got[1].GetCounts()) != 0 {
		t.Fatalf("in the end told %v", got)
	}
}
