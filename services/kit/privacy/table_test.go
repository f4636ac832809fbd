package privacy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	privacyv1 "amanat.example/proto/amanat/privacy/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"

	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/privacy/privacytest"
	"amanat.example/services/kit/store"
)

var (
	schema = store.NewSchema("cases", 1)
	cases  = privacy.NewSealedTable(schema, "case", func(c *protectionv1.Case) string { return c.GetName() })
	byUnit = privacy.NewSealedIndex(cases, "case_by_unit", func(c *protectionv1.Case) []store.Key {
		if c.GetPerson() != nil { // a marked field: an index must not see it
			return []store.Key{store.K("leak")}
		}
		return []store.Key{store.K(c.GetUnit())}
	})
	others = privacy.NewSealedTable(schema, "other", func(c *protectionv1.Case) string { return c.GetName() })
)

type files struct {
	t    *testing.T
	dir  string
	db   *store.DB
	keys *privacy.Keyring
}

func openFiles(t *testing.T, dir string) *files {
	t.Helper()
	f := &files{t: t, dir: dir}
	f.open()
	t.Cleanup(f.close)
	return f
}

func (f *files) open() {
	f.t.Helper()
	var err error
	if f.db, err = store.Open(f.t.Context(), store.Options{Path: filepath.Join(f.dir, "data.db"), Schema: schema}); err != nil {
		f.t.Fatal(err)
	}
	if f.keys, err = privacy.OpenKeyring(f.t.Context(), privacy.Options{Dir: f.dir}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *files) close() {
	if f.db == nil {
		return
	}
	report, err := f.db.Check(context.Background())
	if err := errors.Join(append(report.Problems, err, f.db.Close(), f.keys.Close())...); err != nil {
		f.t.Error(err)
	}
	f.db = nil
}

func (f *files) reopen() {
	f.t.Helper()
	f.close()
	f.open()
}

func newCase(id, unit string) *protectionv1.Case {
	c := &protectionv1.Case{}
	privacytest.Fill(c, 0)
	c.Name, c.Unit = "nodes/sindh/cases/"+id, unit
	return c
}

func (f *files) put(id, unit string) *protectionv1.Case {
	f.t.Helper()
	c := newCase(id, unit)
	if err := f.keys.Prepare(f.t.Context(), c.GetName()); err != nil {
		f.t.Fatal(err)
	}
	err := f.db.Update(f.t.Context(), func(tx *store.Tx) error { return cases.Put(tx, f.keys, store.K(id), c) })
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *files) get(id string) (c *protectionv1.Case, err error) {
	f.t.Helper()
	viewErr := f.db.View(f.t.Context(), func(r store.Reader) error {
		c, err = cases.Get(r, f.keys, store.K(id))
		return nil
	})
	if viewErr != nil {
		f.t.Fatal(viewErr)
	}
	return c, err
}

func (f *files) view(fn func(r store.Reader) error) {
	f.t.Helper()
	if err := f.db.View(f.t.Context(), fn); err != nil {
		f.t.Fatal(err)
	}
}

func TestSealedTableReadsBackWhole(t *testing.T) {
	f := openFiles(t, t.TempDir())
	want := map[string]*protectionv1.Case{}
	for i := range 5 {
		id := fmt.Sprint(i)
		want[id] = f.put(id, fmt.Sprintf("unit-%d", i%2))
	}
	f.put("0", "unit-0")
	f.reopen()
	for id, c := range want {
		if got, err := f.get(id); err != nil || !proto.Equal(got, c) {
			t.Errorf("case %s: %v, %v", id, got, err)
		}
	}
	f.view(func(r store.Reader) error {
		row, err := cases.Row(r, f.keys, store.K("0"))
		if err != nil || row.Version != 2 || row.Erased {
			t.Errorf("row %v, %v", row, err)
		}
		public, err := cases.GetPublic(r, store.K("0"))
		if err != nil || !proto.Equal(public, privacy.Redact(want["0"])) {
			t.Errorf("public %v, %v", public, err)
		}
		rows, next, err := cases.Page(r, f.keys, store.Range{}, 3)
		if err != nil || len(rows) != 3 || next == nil || !proto.Equal(rows[2].Value, want["2"]) {
			t.Errorf("page %v, %v", rows, err)
		}
		rows, _, err = byUnit.Page(r, f.keys, store.Range{Prefix: store.K("unit-1")}, 10)
		if err != nil || len(rows) != 2 || !proto.Equal(rows[0].Value, want["1"]) {
			t.Errorf("by unit %v, %v", rows, err)
		}
		first, err := byUnit.FirstPublic(r, store.Range{Prefix: store.K("unit-1")})
		if err != nil || !proto.Equal(first.Value, privacy.Redact(want["1"])) {
			t.Errorf("by unit, public %v, %v", first, err)
		}
		if rows, _, err := byUnit.PagePublic(r, store.Range{Prefix: store.K("leak")}, 10); err != nil || len(rows) > 0 {
			t.Errorf("the index saw marked fields: %v, %v", rows, err)
		}
		n := 0
		err = cases.Scan(r, f.keys, store.Range{}, func(row privacy.Row[*protectionv1.Case]) error {
			if !proto.Equal(row.Value, want[fmt.Sprint(n)]) {
				t.Errorf("scanned %v", row)
			}
			n++
			return nil
		})
		if n != 5 {
			t.Errorf("scanned %d rows", n)
		}
		return err
	})
	err := f.db.Update(t.Context(), func(tx *store.Tx) error { return cases.Insert(tx, f.keys, store.K("0"), want["0"]) })
	if !errors.Is(err, store.ErrExists) {
		t.Errorf("inserted twice: %v", err)
	}
}

// TestCanaryIsNowhereOnDisk reads the raw files: no marked field of any kind of record may be in
// them, neither while it is kept nor after erasure, and after erasure it cannot be read again.
func TestCanaryIsNowhereOnDisk(t *testing.T) {
	f := openFiles(t, t.TempDir())
	c := f.put("1", "unit-a")
	kept := f.put("2", "unit-a")
	if data, err := proto.Marshal(c); err != nil || !privacytest.Holds(data) {
		t.Fatalf("the case holds no canary (%v)", err)
	}
	if err := f.keys.Erase(t.Context(), c.GetName()); err != nil {
		t.Fatal(err)
	}
	for range 2 { // at once, and after opening anew
		got, err := f.get("1")
		if !errors.Is(err, privacy.ErrErased) || !proto.Equal(got, privacy.Redact(c)) {
			t.Errorf("erased, and read %v, %v", got, err)
		}
		f.view(func(r store.Reader) error {
			rows, _, err := cases.Page(r, f.keys, store.Range{}, 10)
			if err != nil || len(rows) != 2 || !rows[0].Erased || rows[1].Erased {
				t.Errorf("page %v, %v", rows, err)
			}
			return nil
		})
		if err := f.keys.Prepare(t.Context(), c.GetName()); !errors.Is(err, privacy.ErrErased) {
			t.Errorf("an erased name was prepared: %v", err)
		}
		err = f.db.Update(t.Context(), func(tx *store.Tx) error { return cases.Put(tx, f.keys, store.K("1"), c) })
		if !errors.Is(err, privacy.ErrErased) {
			t.Errorf("sealed under an erased key: %v", err)
		}
		if got, err := f.get("2"); err != nil || !proto.Equal(got, kept) {
			t.Errorf("another's case: %v, %v", got, err)
		}
		f.reopen()
	}
	f.close()
	entries, err := os.ReadDir(f.dir)
	if err != nil || len(entries) != 3 {
		t.Fatalf("files %v, %v", entries, err)
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(f.dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if privacytest.Holds(data) {
			t.Errorf("%s holds the canary", entry.Name())
		}
		if entry.Name() == "data.db" && !bytes.Contains(data, []byte(privacytest.Plain)) {
			t.Error("data.db holds no plain text either: the test looks at the wrong bytes")
		}
		if info, err := entry.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", entry.Name(), info.Mode(), err)
		}
	}
}

func TestKeyComesFirst(t *testing.T) {
	f := openFiles(t, t.TempDir())
	err := f.db.Update(t.Context(), func(tx *store.Tx) error {
		return cases.Put(tx, f.keys, store.K("1"), newCase("1", "unit"))
	})
	if !errors.Is(err, privacy.ErrNotPrepared) {
		t.Errorf("sealed without a key: %v", err)
	}
	if _, err := f.get("1"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("and a row was written: %v", err)
	}
}

// TestRecordsOpenOnlyInPlace moves and changes the stored record by hand.
func TestRecordsOpenOnlyInPlace(t *testing.T) {
	f := openFiles(t, t.TempDir())
	want := f.put("1", "unit")
	record := func(change func(*privacyv1.SealedRecord), to func(tx *store.Tx, r *privacyv1.SealedRecord) error) {
		t.Helper()
		err := f.db.Update(t.Context(), func(tx *store.Tx) error {
			stored, err := privacy.RawRecord(tx, cases, store.K("1"))
			if err != nil {
				return err
			}
			change(stored)
			return to(tx, stored)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	same := func(*privacyv1.SealedRecord) {}
	record(same, func(tx *store.Tx, r *privacyv1.SealedRecord) error {
		return privacy.PutRawRecord(tx, others, store.K("1"), r)
	})
	f.view(func(r store.Reader) error {
		if _, err := others.Get(r, f.keys, store.K("1")); !errors.Is(err, privacy.ErrUnreadable) {
			t.Errorf("in another table: %v", err)
		}
		return nil
	})
	into := func(key string) func(tx *store.Tx, r *privacyv1.SealedRecord) error {
		return func(tx *store.Tx, r *privacyv1.SealedRecord) error {
			return privacy.PutRawRecord(tx, cases, store.K(key), r)
		}
	}
	f.put("2", "unit")
	record(same, into("2"))
	record(func(r *privacyv1.SealedRecord) {
		changed := privacy.Redact(want)
		changed.Unit = "elsewhere"
		data, err := proto.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		r.Public = data
	}, into("3"))
	record(func(r *privacyv1.SealedRecord) { r.Sealed = nil }, into("4"))
	record(func(r *privacyv1.SealedRecord) { r.KeyName = "nodes/sindh/cases/2" }, into("5"))
	record(func(r *privacyv1.SealedRecord) { r.KeyName = "nodes/sindh/cases/lost" }, into("6"))
	for key, why := range map[string]string{
		"2": "in another row", "3": "public part changed", "4": "sealed part gone", "5": "another's key", "6": "key lost",
	} {
		if _, err := f.get(key); !errors.Is(err, privacy.ErrUnreadable) || strings.Contains(fmt.Sprint(err), privacytest.Canary) {
			t.Errorf("%s: %v", why, err)
		}
	}
	if got, err := f.get("1"); err != nil || !proto.Equal(got, want) {
		t.Errorf("the record itself: %v, %v", got, err)
	}
}
