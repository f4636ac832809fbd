package events_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/store"
)

// BenchmarkFeed is what one event costs from its commit until each of many readers has it.
func BenchmarkFeed(b *testing.B) {
	for _, readers := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(readers, "-readers"), func(b *testing.B) {
			db, err := store.Open(b.Context(), store.Options{Path: filepath.Join(b.TempDir(), "a.db"), Schema: ownerSchema})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { _ = db.Close() })
			f := events.NewFeed(events.FeedConfig[string]{
				DB: db, Log: ownerLog, Anew: func(id string) string { return id },
				Tell: func(_ store.Reader, e *eventsv1.Event) (string, bool, error) { return e.GetId(), true, nil },
			})
			ctx, stop := context.WithCancel(b.Context())
			var told, all sync.WaitGroup
			told.Add(readers) // each is told first where it begins
			for range readers {
				all.Go(func() {
					_ = f.Follow(ctx, "", func(string) error { told.Done(); return nil })
				})
			}
			told.Wait()
			for b.Loop() {
				told.Add(readers)
				err := db.Update(ctx, func(tx *store.Tx) error {
					return ownerLog.Append(tx, held, name(1), start, &shelterv1.HoldChanged{Hold: name(1)})
				})
				if err != nil {
					b.Fatal(err)
				}
				told.Wait()
			}
			stop()
			all.Wait()
		})
	}
}
