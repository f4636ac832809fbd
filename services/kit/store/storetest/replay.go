// Package storetest measures what a store could do at best: it takes down what one operation
// writes, and writes the same again with nothing else around it. Benchmarks divide by that.
package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"amanat.example/services/kit/store"
)

// headBytes is about what the store adds to a row's payload.
const headBytes = 24

// entry is one key that an operation wrote, in a table or an index.
type entry struct {
	bucket string
	key    []byte
	size   int  // of the payload
	fresh  bool // a new key; else one whose row was replaced
}

// BareCommit runs an operation once on the store whose file path names, and answers with a function that commits as many rows
// and index entries, of the same sizes, in as many buckets: under ever new keys where the operation's were new. It is safe for
// concurrent use; concurrent calls share commits as Updates do. Nothing else may write to the store meanwhile.
func BareCommit(b *testing.B, path string, operation func()) func() error {
	b.Helper()
	before := read(b, path)
	operation()
	var entries []entry
	for bucket, rows := range read(b, path) {
		if bucket == metaBucket { // its rows are written by every commit
			continue
		}
		for key, value := range rows {
			old, there := before[bucket][key]
			if there && bytes.Equal(old, value) {
				continue
			}
			entries = append(entries, entry{bucket: bucket, key: []byte(key), size: max(0, len(value)-headBytes), fresh: !there})
		}
	}
	if len(entries) == 0 {
		b.Fatal("the operation wrote nothing")
	}
	return replay(b, entries)
}

// metaBucket holds the store's own counts.
const metaBucket = "_store"

func replay(b *testing.B, entries []entry) func() error {
	b.Helper()
	schema := store.NewSchema("bare", 1)
	tables := map[string]*store.Table[*wrapperspb.BytesValue]{}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.bucket] = true
	}
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		tables[name] = store.NewTable[*wrapperspb.BytesValue](schema, name)
	}
	db, err := store.Open(context.Background(), store.Options{Path: filepath.Join(b.TempDir(), "bare.db"), Schema: schema})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	var calls atomic.Uint64
	return func() error {
		n := calls.Add(1)
		return db.Update(context.Background(), func(tx *store.Tx) error {
			for _, e := range entries {
				key := e.key
				if e.fresh {
					key = binary.BigEndian.AppendUint64(slices.Clone(e.key), n)
				}
				if err := tables[e.bucket].Put(tx, key, wrapperspb.Bytes(make([]byte, e.size))); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// read gives all rows by bucket and key. It reads a copy, since the store holds a lock on its file.
func read(b *testing.B, path string) map[string]map[string][]byte {
	b.Helper()
	var file []byte
	for at := []byte(nil); file == nil || !bytes.Equal(file, at); { // until nothing is written meanwhile
		at = file
		var err error
		if file, err = os.ReadFile(path); err != nil {
			b.Fatal(err)
		}
	}
	copied := filepath.Join(b.TempDir(), "copy.db")
	if err := os.WriteFile(copied, file, 0o600); err != nil {
		b.Fatal(err)
	}
	db, err := bbolt.Open(copied, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	all := map[string]map[string][]byte{}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
			rows := map[string][]byte{}
			all[string(name)] = rows
			return bucket.ForEach(func(key, value []byte) error {
				rows[string(key)] = bytes.Clone(value)
				return nil
			})
		})
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	return all
}
