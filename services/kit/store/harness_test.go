package store_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"amanat.example/services/kit/store"
)

// disk is what a store is opened on again and again: a file, or a memory engine. Every conformance test runs on both.
type disk interface {
	options() store.Options
	clone(t testing.TB) disk
}

type fileDisk struct{ path string }

func (d fileDisk) options() store.Options { return store.Options{Path: d.path, Schema: beds} }

func (d fileDisk) clone(t testing.TB) disk {
	return fileDisk{path: filepath.Join(t.TempDir(), "beds.db")}
}

type memoryDisk struct{ *store.Memory }

func (d memoryDisk) options() store.Options { return store.Options{Engine: d.Memory, Schema: beds} }

func (d memoryDisk) clone(testing.TB) disk { return memoryDisk{store.NewMemory()} }

// onEveryEngine runs a conformance test on each engine.
func onEveryEngine(t *testing.T, test func(t *testing.T, d disk)) {
	t.Run("bbolt", func(t *testing.T) { test(t, fileDisk{filepath.Join(t.TempDir(), "beds.db")}) })
	t.Run("memory", func(t *testing.T) { test(t, memoryDisk{store.NewMemory()}) })
}

// testing.TB and rapid.T have this much in common.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
	Fatal(args ...any)
	Errorf(format string, args ...any)
}

func open(t tester, o store.Options) *store.DB {
	t.Helper()
	db, err := store.Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// openChecked opens a store that is checked whole and closed when the test ends.
func openChecked(t *testing.T, o store.Options) *store.DB {
	t.Helper()
	db := open(t, o)
	t.Cleanup(func() { closeChecked(t, db) })
	return db
}

func closeChecked(t tester, db *store.DB) {
	t.Helper()
	if db.Err() == nil {
		if report, err := db.Check(context.Background()); err != nil || report.Err() != nil {
			t.Errorf("check: %v, %v", err, report.Problems)
		}
	}
	if err := db.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func update(t tester, db *store.DB, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := db.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t tester, db *store.DB, fn func(r store.Reader) error) {
	t.Helper()
	if err := db.View(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// putBeds writes beds 1…n, number i under the key i, in two houses.
func putBeds(t tester, db *store.DB, n int) {
	t.Helper()
	update(t, db, func(tx *store.Tx) error {
		for i := 1; i <= n; i++ {
			if err := bed.Put(tx, store.K(uint32(i)), newBed(int32(i), "made", houseOf(i))); err != nil {
				return err
			}
		}
		return nil
	})
}

func houseOf(i int) string { return []string{"even", "odd"}[i%2] }

func mustFail(t tester, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func backupOf(db *store.DB) ([]byte, error) {
	var b bytes.Buffer
	err := db.Backup(context.Background(), &b)
	return b.Bytes(), err
}

func backup(t tester, db *store.DB) []byte {
	t.Helper()
	b, err := backupOf(db)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func at(unix int64) func() time.Time { return func() time.Time { return time.Unix(0, unix) } }
