package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/typepb"

	"amanat.example/services/kit/soaktest"
	"amanat.example/services/kit/store"
)

// smallFile makes a store of small pages, with branches, a row longer than a page, free pages, and old copies of its rows in
// them, and returns its bytes and its rows.
func smallFile(t *testing.T) ([]byte, map[string]*typepb.Field) {
	t.Helper()
	o := fileDisk{filepath.Join(t.TempDir(), "beds.db")}.options()
	if err := store.MakeWithPages(o, 1024); err != nil {
		t.Fatal(err)
	}
	db := open(t, o)
	want := make(map[string]*typepb.Field)
	put := func(i, round int, house string) {
		b := newBed(int32(i), fmt.Sprintf("bed %d of round %d", i, round), house)
		if i == 9 {
			b.JsonName = string(make([]byte, 1100))
		}
		key := store.K(uint32(i))
		want[string(key)] = b
		update(t, db, func(tx *store.Tx) error { return bed.Put(tx, key, b) })
	}
	for i := 1; i <= 16; i++ {
		put(i, 1, "a")
	}
	put(3, 2, "b")
	delete(want, string(store.K(uint32(5))))
	update(t, db, func(tx *store.Tx) error { return bed.Delete(tx, store.K(uint32(5))) })
	closeChecked(t, db)
	content, err := os.ReadFile(o.Path)
	if err != nil {
		t.Fatal(err)
	}
	for len(content) > 1024 && allZero(content[len(content)-1024:]) { // never used
		content = content[:len(content)-1024]
	}
	return content, want
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// TestEveryByteOfAFile flips one bit of each byte of a small file. Whatever byte it is: no read gives a wrong value, nothing
// panics, and either check reports the damage or everything reads exactly as it was written. Where flipping 32 bytes at once
// goes unnoticed by everything, nothing reads them, and they are not tried one by one.
func TestEveryByteOfAFile(t *testing.T) {
	content, want := smallFile(t)
	path := filepath.Join(t.TempDir(), "beds.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	noticed := func(from, to int) bool {
		damaged := slices.Clone(content[from:to])
		for i := range damaged {
			damaged[i] ^= 1 << ((from + i) * 5 % 8)
		}
		write(t, f, damaged, from)
		defer write(t, f, content[from:to], from)
		return readDamaged(t, from, path, want)
	}
	const block = 32
	stride := soaktest.Alone(1, 8)
	live, reported := 0, 0
	for from := 0; from < len(content); from += block {
		if !noticed(from, from+block) {
			continue
		}
		for i := from; i < from+block; i += stride {
			live++
			if noticed(i, i+1) {
				reported++
			}
		}
	}
	if reported < live/2 || live*stride < len(content)/8 {
		t.Errorf("of %d bytes %d matter and %d were reported: the file is not what the test wants", len(content), live, reported)
	}
}

func write(t *testing.T, f *os.File, b []byte, offset int) {
	t.Helper()
	if _, err := f.WriteAt(b, int64(offset)); err != nil {
		t.Fatal(err)
	}
}

// readDamaged reads a damaged file in every way and says whether any of them reported damage.
func readDamaged(t *testing.T, i int, path string, want map[string]*typepb.Field) bool {
	t.Helper()
	report, err := store.CheckFile(context.Background(), path, beds)
	found := err != nil || report.Err() != nil
	db, err := store.Open(context.Background(), store.Options{Path: path, Schema: beds, Inline: true})
	if err != nil {
		if !errors.Is(err, store.ErrDamaged) {
			t.Errorf("byte %d: Open = %v", i, err)
		}
		if !found {
			t.Errorf("byte %d: Open refused what check let pass: %v", i, err)
		}
		return true
	}
	defer db.Close()
	rows := 0
	err = db.View(context.Background(), func(r store.Reader) error {
		return bed.Scan(r, store.Range{}, func(key store.Key, b *typepb.Field) error {
			if rows++; !proto.Equal(b, want[string(key)]) {
				t.Errorf("byte %d: a read gave a wrong value", i)
			}
			return nil
		})
	})
	for key, b := range want {
		if err != nil {
			break
		}
		err = db.View(context.Background(), func(r store.Reader) error {
			got, err := bed.Get(r, store.Key(key))
			if err == nil && !proto.Equal(got, b) {
				t.Errorf("byte %d: a read gave a wrong value", i)
			}
			if errors.Is(err, store.ErrNotFound) && !found {
				t.Errorf("byte %d: a row is lost and check let it pass", i)
				return nil
			}
			return err
		})
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
	}
	if err != nil && !errors.Is(err, store.ErrFatal) {
		t.Errorf("byte %d: reading gave %v", i, err)
	}
	if (err != nil || rows != len(want)) && !found {
		t.Errorf("byte %d: %d of %d rows, %v, and check let it pass", i, rows, len(want), err)
	}
	return found
}
