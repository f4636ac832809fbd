package app_test

import (
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/app"
	"amanat.example/services/shelter/internal/store"
)

// brokenBeds is what the rule of the file finds in an open store.
func brokenBeds(t testing.TB, db *kitstore.DB) (all []string) {
	t.Helper()
	err := db.View(t.Context(), func(r kitstore.Reader) error {
		return app.CheckBeds(t.Context(), r, func(sentence string) { all = append(all, sentence) })
	})
	if err != nil && t.Context().Err() == nil {
		t.Error(err)
	}
	return all
}

// Each way in which rows can break what the service promises is found in the file, though every row is whole.
func TestCheckBedsBites(t *testing.T) {
	const shelter = "nodes/punjab/shelters/lahore"
	const group = shelter + "/groups/girls"
	hold := func(name string, state shelterv1.Hold_State, quantity int32, fence uint64) *shelterv1.HoldRecord {
		return &shelterv1.HoldRecord{Hold: &shelterv1.Hold{
			Name: "nodes/punjab/holds/" + name, Group: group, Quantity: quantity, State: state, RequestId: "request-" + name, Fence: &custodyv1.Fence{Number: fence},
		}}
	}
	put := func(h *shelterv1.HoldRecord) func(*kitstore.Tx) error {
		return func(tx *kitstore.Tx) error { return store.Holds.Put(tx, kitstore.K(h.GetHold().GetName()), h) }
	}
	stay := func(of string, change func(*shelterv1.Stay)) func(*kitstore.Tx) error {
		s := &shelterv1.Stay{Name: "nodes/punjab/stays/1", Group: group, Quantity: 1, Hold: of, State: shelterv1.Stay_STATE_PRESENT}
		if change != nil {
			change(s)
		}
		return func(tx *kitstore.Tx) error { return store.Stays.Put(tx, kitstore.K(s.GetName()), s) }
	}
	all := func(steps ...func(*kitstore.Tx) error) func(*kitstore.Tx) error {
		return func(tx *kitstore.Tx) error {
			for _, step := range steps {
				if err := step(tx); err != nil {
					return err
				}
			}
			return nil
		}
	}
	held, occupied := shelterv1.Hold_STATE_HELD, shelterv1.Hold_STATE_OCCUPIED
	for name, c := range map[string]struct {
		write func(*kitstore.Tx) error
		want  string // part of the sentence; empty: all is well
	}{
		"all is well": {all(put(hold("a", held, 1, 1)), put(hold("b", occupied, 1, 2)), stay("nodes/punjab/holds/b", nil)), ""},
		"a bed held and slept in": {
			all(put(hold("a", held, 2, 1)), stay("", nil)), "has 2 units, and 2 are held, 1 occupied and 0 out of service",
		},
		"more out of service than there is": {func(tx *kitstore.Tx) error {
			o := &shelterv1.Outage{Name: group + "/outages/1", Quantity: 3}
			return store.Outages.Put(tx, store.OutageKey(o.GetName()), o)
		}, "3 out of service"},
		"a hold of no group":       {put(&shelterv1.HoldRecord{Hold: &shelterv1.Hold{Name: "nodes/punjab/holds/a", Group: shelter + "/groups/none", State: held}}), "a group that is not there"},
		"a stay of no hold":        {stay("nodes/punjab/holds/none", nil), "a hold that is not there"},
		"a stay of a held hold":    {all(put(hold("a", held, 1, 1)), stay("nodes/punjab/holds/a", nil)), "a hold that is not occupied"},
		"an occupied hold, nobody": {put(hold("a", occupied, 1, 1)), "nobody stays"},
		"a fence of tomorrow":      {put(hold("a", held, 1, 3)), "still to be given"},
		"a group of no shelter": {func(tx *kitstore.Tx) error {
			g := &shelterv1.Group{Name: "nodes/punjab/shelters/none/groups/girls", Total: 1}
			return store.Groups.Put(tx, store.GroupKey(g.GetName()), g)
		}, "has no shelter"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "shelter.db")
			db, err := kitstore.Open(t.Context(), kitstore.Options{Path: path, Schema: store.Schema})
			if err != nil {
				t.Fatal(err)
			}
			b := newApp(t)
			if err := b.Keys.Prepare(t.Context(), store.KeyName(shelter)); err != nil {
				t.Fatal(err)
			}
			err = db.Update(t.Context(), all(func(tx *kitstore.Tx) error {
				if err := store.Shelters.Put(tx, b.Keys, kitstore.K(shelter), &shelterv1.Shelter{Name: shelter}); err != nil {
					return err
				}
				if err := store.Fences.Put(tx, store.FenceKey, wrapperspb.UInt64(2)); err != nil {
					return err
				}
				return store.Groups.Put(tx, store.GroupKey(group), &shelterv1.Group{Name: group, Total: 2})
			}, c.write))
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			report, err := kitstore.CheckFile(t.Context(), path, store.Schema, app.CheckBeds)
			if err != nil {
				t.Fatal(err)
			}
			problem := report.Err()
			if c.want == "" && problem != nil || c.want != "" && (problem == nil || !strings.Contains(problem.Error(), c.want)) {
				t.Errorf("found %v, want %q", problem, c.want)
			}
		})
	}
}
