package store_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	statusv1 "amanat.example/proto/amanat/status/v1"
	"amanat.example/services/federal/internal/store"
	kitstore "amanat.example/services/kit/store"
)

// A status names the days that differ, and of a service that has very many no more than some: they hide those of no other.
func TestStatusNamesDaysOfEachService(t *testing.T) {
	db, err := kitstore.Open(t.Context(), kitstore.Options{Path: filepath.Join(t.TempDir(), "federal.db"), Schema: store.Schema})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	var want []string
	err = db.Update(t.Context(), func(tx *kitstore.Tx) error {
		for _, of := range []struct {
			node, service    string
			differing, shown int
		}{{"balochistan", "protection", 300, 20}, {"balochistan", "referral", 20, 20}, {"punjab", "protection", 0, 0}, {"punjab", "referral", 21, 20}, {"sindh", "referral", 1, 1}} {
			for n := range of.differing + 1 {
				d := &federalv1.DayRecord{Node: of.node, Service: of.service, Kept: &federalv1.FlowDay{Day: begin.AddDate(0, 0, n).Format(time.DateOnly)}}
				if n < of.differing {
					d.DifferTime = timestamppb.New(begin)
				}
				if n < of.shown {
					want = append(want, fmt.Sprintf("%s/%s %s", of.node, of.service, d.GetKept().GetDay()))
				}
				if err := store.Days.Put(tx, kitstore.K(of.node, of.service, d.GetKept().GetDay()), d); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	status := &statusv1.Status{}
	if err := db.View(t.Context(), func(r kitstore.Reader) error { return store.Status(r, status) }); err != nil {
		t.Fatal(err)
	}
	if got := status.GetDifferingDays(); !slices.Equal(got, want) {
		t.Errorf("%d: %v\nwant %d: %v", len(got), got, len(want), want)
	}
}
