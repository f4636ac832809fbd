package store_test

import (
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"

	"amanat.example/services/kit/store"
)

func TestIndexCount(t *testing.T) {
	schema := store.NewSchema("counted", 1)
	table := store.NewTable[*wrapperspb.UInt32Value](schema, "rows")
	units := store.NewIndex(table, "units", func(v *wrapperspb.UInt32Value) (keys []store.Key) {
		for i := range v.GetValue() {
			keys = append(keys, store.K("g", i))
		}
		return keys
	})
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "c.db"), Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	count := func(r store.Reader, want int) {
		t.Helper()
		if n, err := units.Count(r, store.Range{Prefix: store.K("g")}); err != nil || n != want {
			t.Errorf("%d entries, %v; want %d", n, err, want)
		}
	}
	put := func(key string, quantity uint32, within int) {
		t.Helper()
		err := db.Update(t.Context(), func(tx *store.Tx) error {
			err := table.Put(tx, store.K(key), wrapperspb.UInt32(quantity))
			count(tx, within)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	put("a", 3, 3)
	put("b", 2, 5)
	put("a", 1, 3)
	put("b", 0, 1)
	if err := db.View(t.Context(), func(r store.Reader) error { count(r, 1); return nil }); err != nil {
		t.Fatal(err)
	}
}
