package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	bolt "go.etcd.io/bbolt"
	"google.golang.org/protobuf/types/known/typepb"

	"amanat.example/services/kit/store"
)

// BenchmarkUpdate commits one row of about 200 bytes per call, with many callers at once, in five ways: this store with a
// plain table and with one of two indexes, bbolt with the same greedy batching left out (Batch, with its defaults), and
// bbolt with one commit per call.
func BenchmarkUpdate(b *testing.B) {
	for _, callers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("store/callers=%d", callers), func(b *testing.B) {
			db := open(b, fileDisk{filepath.Join(b.TempDir(), "beds.db")}.options())
			defer db.Close()
			value := &typepb.Option{Name: string(make([]byte, 200))}
			run(b, callers, func(i uint64) error {
				return db.Update(context.Background(), func(tx *store.Tx) error { return note.Put(tx, store.K(spread(i)), value) })
			})
			s := db.Stats()
			b.ReportMetric(float64(s.BatchedCalls)/float64(s.Commits), "calls/sync")
		})
		b.Run(fmt.Sprintf("store indexed/callers=%d", callers), func(b *testing.B) {
			db := open(b, fileDisk{filepath.Join(b.TempDir(), "beds.db")}.options())
			defer db.Close()
			name := string(make([]byte, 150))
			run(b, callers, func(i uint64) error {
				return db.Update(context.Background(), func(tx *store.Tx) error {
					return bed.Put(tx, store.K(spread(i)), newBed(int32(i+1), name, "house"))
				})
			})
		})
		for _, way := range []string{"Batch", "Update"} {
			b.Run(fmt.Sprintf("bbolt %s/callers=%d", way, callers), func(b *testing.B) {
				db, err := bolt.Open(filepath.Join(b.TempDir(), "bare.db"), 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType})
				if err != nil {
					b.Fatal(err)
				}
				defer db.Close()
				commit := db.Batch
				if way == "Update" {
					commit = db.Update
				}
				value := make([]byte, 220)
				run(b, callers, func(i uint64) error {
					return commit(func(tx *bolt.Tx) error {
						bucket, err := tx.CreateBucketIfNotExists([]byte("note"))
						if err != nil {
							return err
						}
						return bucket.Put(store.K(spread(i)), value)
					})
				})
			})
		}
	}
}

// spread makes keys come in no order, as ids do.
func spread(i uint64) uint64 { return i * 0x9e3779b97f4a7c15 }

// run lets callers share b.N calls and reports how many a second were made durable.
func run(b *testing.B, callers int, call func(i uint64) error) {
	b.Helper()
	var next atomic.Uint64
	b.ReportAllocs()
	b.ResetTimer()
	done := make(chan error, callers)
	for range callers {
		go func() {
			for {
				i := next.Add(1) - 1
				if i >= uint64(b.N) {
					done <- nil
					return
				}
				if err := call(i); err != nil {
					done <- err
					return
				}
			}
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
}

// BenchmarkGet reads single rows out of 100,000.
func BenchmarkGet(b *testing.B) {
	db := open(b, fileDisk{filepath.Join(b.TempDir(), "beds.db")}.options())
	defer db.Close()
	const rows = 100_000
	update(b, db, func(tx *store.Tx) error {
		for i := range uint64(rows) {
			if err := note.Put(tx, store.K(spread(i)), &typepb.Option{Name: string(make([]byte, 200))}); err != nil {
				return err
			}
		}
		return nil
	})
	var next atomic.Uint64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			err := db.View(context.Background(), func(r store.Reader) error {
				_, err := note.Get(r, store.K(spread(next.Add(1)%rows)))
				return err
			})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}
