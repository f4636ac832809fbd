package store_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/typepb"

	"amanat.example/services/kit/store"
)

// version makes the schema of a version of a small store, with the steps that lead there.
type version struct {
	schema         *store.Schema
	rooms          *store.Table[*typepb.Field]
	byName, byKind *store.Index[*typepb.Field]
}

func newVersion(n uint32) version {
	v := version{schema: store.NewSchema("rooms", n)}
	v.rooms = store.NewTable[*typepb.Field](v.schema, "room")
	name := func(f *typepb.Field) []store.Key { return []store.Key{store.K(f.GetName())} }
	if n < 3 {
		v.byName = store.NewIndex(v.rooms, "room_by_name", name)
	} else { // names became unique, so the index has a new name
		v.byName = store.NewIndex(v.rooms, "room_by_unique_name", name, store.Unique)
	}
	if n >= 2 {
		v.byKind = store.NewIndex(v.rooms, "room_by_kind", func(f *typepb.Field) []store.Key { return []store.Key{store.K(f.GetTypeUrl())} })
		v.schema.Migrate(1, "rooms have a kind", func(ctx context.Context, tx *store.Tx) error {
			return v.rooms.Scan(tx, store.Range{}, func(key store.Key, f *typepb.Field) error {
				f.TypeUrl = "plain"
				return v.rooms.Put(tx, key, f)
			})
		})
	}
	if n >= 3 {
		v.schema.Migrate(2, "room names are unique", func(ctx context.Context, tx *store.Tx) error {
			if ctx.Value(failMigration{}) != nil {
				return errChangedMind
			}
			names := make(map[string]bool)
			return v.rooms.Scan(tx, store.Range{}, func(key store.Key, f *typepb.Field) error {
				for names[f.GetName()] {
					f.Name += "'"
				}
				names[f.GetName()] = true
				return v.rooms.Put(tx, key, f)
			})
		})
	}
	return v
}

type failMigration struct{}

func (v version) on(d disk) store.Options {
	o := d.options()
	o.Schema = v.schema
	return o
}

// oldRooms makes a store of version 1 whose names are not unique.
func oldRooms(t *testing.T, d disk) {
	t.Helper()
	v1 := newVersion(1)
	db := open(t, v1.on(d))
	update(t, db, func(tx *store.Tx) error {
		for i, name := range []string{"blue", "red", "blue", "blue"} {
			if err := v1.rooms.Put(tx, store.K(uint32(i)), &typepb.Field{Name: name}); err != nil {
				return err
			}
		}
		return nil
	})
	closeChecked(t, db)
}

func TestOlderFilesMigrate(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		oldRooms(t, d)
		v3 := newVersion(3)
		db := openChecked(t, v3.on(d))
		view(t, db, func(r store.Reader) error {
			var names []string
			err := v3.byName.Scan(r, store.Range{}, func(_ store.Key, f *typepb.Field) error {
				names = append(names, f.GetName()+"/"+f.GetTypeUrl())
				return nil
			})
			if want := []string{"blue/plain", "blue'/plain", "blue''/plain", "red/plain"}; !slices.Equal(names, want) {
				t.Errorf("rooms %v, want %v", names, want)
			}
			rows, _, pageErr := v3.byKind.Page(r, store.Range{Prefix: store.K("plain")}, 10)
			if len(rows) != 4 || rows[0].Version != 3 {
				t.Errorf("by kind %v", rows)
			}
			return errors.Join(err, pageErr)
		})
	})
}

// A step that fails takes nothing with it but itself: the steps before it stay, and the next Open goes on from there.
func TestAFailingMigrationStopsOpenAndIsTakenUpAgain(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		oldRooms(t, d)
		_, err := store.Open(context.WithValue(context.Background(), failMigration{}, true), newVersion(3).on(d))
		mustFail(t, err, errChangedMind)
		for _, part := range []string{"version 2 to 3", "room names are unique"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("error %q does not say %q", err, part)
			}
		}
		if d, ok := d.(fileDisk); ok {
			if report, err := store.CheckFile(context.Background(), d.path, newVersion(3).schema); err != nil || report.Err() != nil {
				t.Errorf("half way: %v %v", err, report.Problems)
			}
		}
		_, err = store.Open(context.Background(), newVersion(1).on(d))
		mustFail(t, err, store.ErrNewer)
		openChecked(t, newVersion(3).on(d))
	})
}

func TestAMissingStepIsSaid(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		oldRooms(t, d)
		o := d.options()
		o.Schema = store.NewSchema("rooms", 2)
		_, err := store.Open(context.Background(), o)
		if err == nil || !strings.Contains(err.Error(), "no migration leads from there to 2") {
			t.Errorf("Open = %v", err)
		}
	})
}

func TestNewerAndForeignFilesAreRefused(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		closeChecked(t, open(t, newVersion(2).on(d)))
		_, err := store.Open(context.Background(), newVersion(1).on(d))
		mustFail(t, err, store.ErrNewer)
		_, err = store.Open(context.Background(), d.options())
		mustFail(t, err, store.ErrWrongStore)
	})
}

// At one version a program may know more than the file, and then the file grows; never less.
func TestBucketsAtTheSameVersion(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		oldRooms(t, d)
		more := store.NewSchema("rooms", 1)
		rooms := store.NewTable[*typepb.Field](more, "room")
		store.NewIndex(rooms, "room_by_name", func(f *typepb.Field) []store.Key { return []store.Key{store.K(f.GetName())} })
		byLength := store.NewIndex(rooms, "room_by_length", func(f *typepb.Field) []store.Key { return []store.Key{store.K(int64(len(f.GetName())))} })
		store.NewTable[*typepb.Field](more, "door")
		o := d.options()
		o.Schema = more
		for range 2 {
			db := open(t, o)
			view(t, db, func(r store.Reader) error {
				rows, _, err := byLength.Page(r, store.Range{}, 10)
				if len(rows) != 4 || rows[0].Value.GetName() != "red" {
					t.Errorf("by length %v", rows)
				}
				return err
			})
			if commits := db.Stats().Commits; commits > 1 {
				t.Errorf("%d commits to open", commits)
			}
			closeChecked(t, db)
		}
		_, err := store.Open(context.Background(), newVersion(1).on(d))
		mustFail(t, err, store.ErrNewer)
	})
}

func TestATableWithRowsIsNotDroppedSilently(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, d disk) {
		oldRooms(t, d)
		o := d.options()
		o.Schema = store.NewSchema("rooms", 2)
		o.Schema.Migrate(1, "no rooms any more", func(context.Context, *store.Tx) error { return nil })
		_, err := store.Open(context.Background(), o)
		if err == nil || !strings.Contains(err.Error(), "table room holds 4 rows") {
			t.Errorf("Open = %v", err)
		}
		openChecked(t, newVersion(1).on(d))
	})
}

func TestATableOfAnotherSchemaIsRefused(t *testing.T) {
	db := openChecked(t, memoryDisk{store.NewMemory()}.options())
	view(t, db, func(r store.Reader) error {
		_, err := newVersion(1).rooms.Get(r, store.K("x"))
		mustFail(t, err, store.ErrWrongStore)
		return nil
	})
}
