package network

import (
	"context"
	"errors"
	"testing"

	"google.golang.org/grpc"

	federalv1 "amanat.example/proto/amanat/federal/v1"
)

// pages of days, each but the last with the token of the next; a nil page is a call that fails.
type dayPages struct {
	federalv1.FiguresServiceClient
	pages map[string]*federalv1.ListDaysResponse
}

func (p *dayPages) ListDays(_ context.Context, r *federalv1.ListDaysRequest, _ ...grpc.CallOption) (*federalv1.ListDaysResponse, error) {
	if page := p.pages[r.GetPageToken()]; page != nil {
		return page, nil
	}
	return nil, errors.New("away")
}

// Days are all days, of however many pages; of a part of them nobody is told.
func TestAllDays(t *testing.T) {
	day := func(name string) *federalv1.DayRecord {
		return &federalv1.DayRecord{Kept: &federalv1.FlowDay{Day: name, Facts: 1, Digest: []byte("1")}, Told: &federalv1.FlowDay{Day: name, Facts: 1, Digest: []byte("1")}}
	}
	p := &dayPages{pages: map[string]*federalv1.ListDaysResponse{
		"": {Days: []*federalv1.DayRecord{day("1"), day("2")}, NextPageToken: "a"}, "a": {Days: []*federalv1.DayRecord{day("3")}, NextPageToken: "b"}, "b": {Days: []*federalv1.DayRecord{day("4")}},
	}}
	all, err := daysOf(t.Context(), p)
	if err != nil || len(all) != 4 || all[3].GetKept().GetDay() != "4" {
		t.Errorf("%v, %v", all, err)
	}
	delete(p.pages, "b")
	if all, err = daysOf(t.Context(), p); err == nil || all != nil {
		t.Errorf("of what was read before it failed: %v, %v", all, err)
	}
	whole, other, more, untold := day("1"), day("1"), day("1"), day("1")
	other.Told.Digest, more.Kept.Facts, untold.Told = []byte("2"), 2, nil
	if !Whole(whole) || Whole(other) || Whole(more) || Whole(untold) {
		t.Error("a day that differs is taken for whole, or one that is whole is not")
	}
}
