package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/typepb"
	"pgregory.net/rapid"

	"amanat.example/services/kit/store"
)

// model is what the store should be: the rows by key.
type model map[string]modelRow

type modelRow struct {
	bed     *typepb.Field
	version uint64
}

// wanted lists positions and keys of what a range of the table (index "") or of an index holds, in order.
func (m model) wanted(index string, rg store.Range) []string {
	var all []string
	keyOf := make(map[string]string)
	for key, row := range m {
		switch index {
		case "":
			all, keyOf[key] = append(all, key), key
		case "house":
			for _, k := range houseKeys(row.bed) {
				p := string(k) + key
				all, keyOf[p] = append(all, p), key
			}
		case "number":
			for _, k := range numberKeys(row.bed) {
				all, keyOf[string(k)] = append(all, string(k)), key
			}
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if rg.Reverse {
		slices.Reverse(all)
	}
	keys := []string{}
	for _, p := range all {
		after, before := rg.After == nil || p > string(rg.After), rg.Before == nil || p < string(rg.Before)
		if rg.Reverse {
			after, before = rg.After == nil || p < string(rg.After), rg.Before == nil || p > string(rg.Before)
		}
		if bytes.HasPrefix([]byte(p), rg.Prefix) && after && before {
			keys = append(keys, keyOf[p])
		}
	}
	return keys
}

func (m model) holdsNumber(n int32, but string) bool {
	for key, row := range m {
		if n != 0 && row.bed.GetNumber() == n && key != but {
			return true
		}
	}
	return false
}

var (
	genKey   = rapid.Custom(func(t *rapid.T) store.Key { return store.K(rapid.Uint32Range(0, 20).Draw(t, "key")) })
	genHouse = rapid.SampledFrom([]string{"a", "ab", "b", "a\x00", ""})
	genBed   = rapid.Custom(func(t *rapid.T) *typepb.Field {
		return newBed(rapid.Int32Range(0, 30).Draw(t, "number"), rapid.StringN(0, 5, 20).Draw(t, "name"),
			rapid.SliceOfN(genHouse, 0, 3).Draw(t, "houses")...)
	})
)

func genRange(t *rapid.T, index string) store.Range {
	var bound *rapid.Generator[store.Key]
	var prefix store.Key
	switch index {
	case "house":
		bound = rapid.Custom(func(t *rapid.T) store.Key {
			return append(store.K(genHouse.Draw(t, "house")), genKey.Draw(t, "key")...)
		})
		prefix = store.K(genHouse.Draw(t, "prefix"))
	default:
		bound, prefix = genKey, genKey.Draw(t, "prefix")[:3]
	}
	rg := store.Range{Reverse: rapid.Bool().Draw(t, "reverse")}
	if rapid.Bool().Draw(t, "with prefix") {
		rg.Prefix = prefix
	}
	if rapid.Bool().Draw(t, "with after") {
		rg.After = bound.Draw(t, "after")
	}
	if rapid.Bool().Draw(t, "with before") {
		rg.Before = bound.Draw(t, "before")
	}
	return rg
}

// compare reads everything in several ways and holds it against the model.
func (m model) compare(t *rapid.T, r store.Reader) {
	if n, err := bed.Count(r); err != nil || n != uint64(len(m)) {
		t.Fatalf("Count = %d, %v; want %d", n, err, len(m))
	}
	for i := range uint32(21) {
		key := store.K(i)
		want, there := m[string(key)]
		row, err := bed.Row(r, key)
		has, hasErr := bed.Has(r, key)
		if has != there || hasErr != nil || (err == nil) != there {
			t.Fatalf("Row = %v, Has = %v, %v; want there = %v", err, has, hasErr, there)
		}
		if there && (!proto.Equal(row.Value, want.bed) || row.Version != want.version) {
			t.Fatalf("row %d = %v, want %v", i, row, want)
		}
	}
	for _, index := range []string{"", "house", "number"} {
		rg := genRange(t, index)
		got := []string{}
		collect := func(key store.Key, b *typepb.Field) error {
			if !proto.Equal(b, m[string(key)].bed) {
				t.Fatalf("%q gave a row that is not the key's", index)
			}
			got = append(got, string(key))
			return nil
		}
		scan, turn, count := bed.Scan, bed.Page, (func(store.Reader, store.Range) (int, error))(nil)
		switch index {
		case "house":
			scan, turn, count = bedByHouse.Scan, bedByHouse.Page, bedByHouse.Count
		case "number":
			scan, turn, count = bedByNumber.Scan, bedByNumber.Page, bedByNumber.Count
		}
		if count != nil {
			for _, counted := range []store.Range{rg, {Prefix: rg.Prefix}} { // the second is the one that is remembered
				if n, err := count(r, counted); err != nil || n != len(m.wanted(index, counted)) {
					t.Fatalf("Count of %q over %+v = %d, %v; want %d", index, counted, n, err, len(m.wanted(index, counted)))
				}
			}
		}
		if err := scan(r, rg, collect); err != nil {
			t.Fatal(err)
		}
		if want := m.wanted(index, rg); !slices.Equal(got, want) {
			t.Fatalf("scan of %q over %+v = %q, want %q", index, rg, got, want)
		}
		paged, limit := []string{}, rapid.IntRange(1, 7).Draw(t, "limit")
		for pg, next := rg, store.Key(nil); ; pg.After = next {
			rows, n, err := turn(r, pg, limit)
			if err != nil || len(rows) > limit || n != nil && len(rows) < limit {
				t.Fatalf("Page = %d rows, next %q, %v", len(rows), n, err)
			}
			for _, row := range rows {
				paged = append(paged, string(row.Key))
			}
			if next = n; next == nil {
				break
			}
		}
		if !slices.Equal(paged, got) {
			t.Fatalf("pages of %q over %+v = %q, want %q", index, rg, paged, got)
		}
	}
}

// change does one random write and does the same to the model.
func (m model) change(t *rapid.T, tx *store.Tx) {
	key := genKey.Draw(t, "key")
	now, there := m[string(key)]
	switch rapid.IntRange(0, 4).Draw(t, "write") {
	case 0:
		err := bed.Delete(tx, key)
		if there != (err == nil) || !there && !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("Delete = %v; there = %v", err, there)
		}
		delete(m, string(key))
	case 1:
		b := genBed.Draw(t, "bed")
		err := bed.Insert(tx, key, b)
		if refused := there || m.holdsNumber(b.GetNumber(), string(key)); refused != errors.Is(err, store.ErrExists) || refused != (err != nil) {
			t.Fatalf("Insert = %v; want refused = %v", err, refused)
		}
		if err == nil {
			m[string(key)] = modelRow{b, 1}
		}
	default:
		b := genBed.Draw(t, "bed")
		err := bed.Put(tx, key, b)
		if refused := m.holdsNumber(b.GetNumber(), string(key)); refused != errors.Is(err, store.ErrExists) || refused != (err != nil) {
			t.Fatalf("Put = %v; want refused = %v", err, refused)
		}
		if err == nil {
			m[string(key)] = modelRow{b, now.version + 1}
		}
	}
}

var errChangedMind = errors.New("changed my mind")

// TestAgainstModel does random transactions, some of which fail or panic, and reopens and crashes the store, and compares it
// with a map of rows after each, inside transactions and outside.
func TestAgainstModel(t *testing.T) {
	dir, files := t.TempDir(), 0
	engines := map[string]func() disk{
		"memory": func() disk { return memoryDisk{store.NewMemory()} },
		"bbolt": func() disk {
			files++
			return fileDisk{filepath.Join(dir, fmt.Sprint(files))}
		},
	}
	for name, newDisk := range engines {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				d := newDisk()
				o := d.options()
				o.Inline = rapid.Bool().Draw(t, "inline")
				db := open(t, o)
				defer func() { closeChecked(t, db) }()
				var m model = make(model)
				transaction := func(t *rapid.T) {
					next := maps.Clone(m)
					end := rapid.SampledFrom([]string{"commit", "commit", "commit", "fail", "panic"}).Draw(t, "end")
					err := updateRecovering(db, func(tx *store.Tx) error {
						for range rapid.IntRange(1, 6).Draw(t, "writes") {
							next.change(t, tx)
						}
						next.compare(t, tx)
						switch end {
						case "fail":
							return errChangedMind
						case "panic":
							panic(errChangedMind)
						}
						return nil
					})
					if (end == "commit") != (err == nil) || err != nil && !errors.Is(err, errChangedMind) {
						t.Fatalf("Update = %v, want %s", err, end)
					}
					if err == nil {
						m = next
					}
				}
				t.Repeat(map[string]func(*rapid.T){
					"transaction": transaction,
					"scrub": func(t *rapid.T) {
						if _, err := db.Scrub(context.Background(), rapid.IntRange(1, 30).Draw(t, "rows")); err != nil {
							t.Fatal(err)
						}
					},
					"reopen": func(t *rapid.T) {
						if err := db.Close(); err != nil {
							t.Fatal(err)
						}
						db = open(t, o)
					},
					"crash": func(t *rapid.T) {
						if disk, ok := d.(memoryDisk); ok {
							old := db
							disk.Crash(rapid.Bool().Draw(t, "keep unsynced"))
							defer old.Close()
							db = open(t, o)
						}
					},
					"": func(t *rapid.T) {
						if err := db.View(context.Background(), func(r store.Reader) error {
							m.compare(t, r)
							return nil
						}); err != nil {
							t.Fatal(err)
						}
					},
				})
			})
		})
	}
}

// updateRecovering turns the panic of an Update back into the error it was made of.
func updateRecovering(db *store.DB, fn func(*store.Tx) error) (err error) {
	defer func() {
		v := recover()
		if p, ok := v.(*store.PanicError); ok {
			v = p.Value
		}
		if e, ok := v.(error); ok {
			err = e
		} else if v != nil {
			panic(v)
		}
	}()
	return db.Update(context.Background(), fn)
}
