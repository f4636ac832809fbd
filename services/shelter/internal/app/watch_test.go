package app_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/store"
)

// What changes by the clock alone is told too, when it changes: the end of "we are full", and the age of a claim; however much else
// goes on meanwhile.
func TestWatchersHearOfWhatTimeChanges(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b, end := openApp(t, kitstore.Options{Path: filepath.Join(dir, "shelter.db"), Schema: store.Schema}, dir)
		defer end()
		b.Now = time.Now
		b.shelter(t, 50)
		const quiet = "nodes/punjab/shelters/quiet"
		if _, err := b.CreateShelter(t.Context(), &shelterv1.CreateShelterRequest{Parent: "nodes/punjab", ShelterId: "quiet", Shelter: &shelterv1.Shelter{
			DisplayName: "Quiet", District: "PK617", Groups: []*shelterv1.Group{{
				Name: "girls", Genders: []string{"Feminine"}, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 3,
			}},
		}}, manager); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var told []*shelterv1.Group // of the quiet shelter
		ended := make(chan error, 1)
		go func() {
			ended <- b.WatchCapacity(ctx, &shelterv1.WatchCapacityRequest{Parent: "nodes/punjab"}, func(c *shelterv1.CapacityChange) error {
				if store.ShelterOf(c.GetGroup().GetName()) == quiet {
					told = append(told, c.GetGroup())
				}
				return nil
			})
		}()
		defer func() {
			stop()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}()
		holds := 0
		busy := func(lasting time.Duration) { // the other shelter is busy for so long
			for until := time.Now().Add(lasting); time.Now().Before(until); holds++ {
				h := b.mustPlace(t, 1, fmt.Sprint("busy-", holds))
				if _, err := b.ReleaseHold(t.Context(), &shelterv1.ReleaseHoldRequest{Name: h.GetName()}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(min(25*time.Second, time.Until(until)))
			}
			synctest.Wait()
		}
		last := func(what string, available int32, freshness shelterv1.Freshness) {
			t.Helper()
			if n := len(told); n == 0 || told[n-1].GetAvailable() != available || told[n-1].GetFreshness() != freshness {
				t.Errorf("%s: told %v", what, told)
			}
			told = nil
		}
		synctest.Wait()
		last("at first", 3, shelterv1.Freshness_FRESHNESS_FRESH)
		if _, err := b.DeclareFull(t.Context(), &shelterv1.DeclareFullRequest{Name: quiet, UntilTime: timestamppb.New(time.Now().Add(130 * time.Second))}, true); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		last("when it is full", 0, shelterv1.Freshness_FRESHNESS_FRESH)
		busy(131 * time.Second)
		last("when it is no longer full", 3, shelterv1.Freshness_FRESHNESS_FRESH)
		busy(2 * time.Hour)
		last("when nobody has spoken for its numbers for two hours", 3, shelterv1.Freshness_FRESHNESS_AGEING)
	})
}
