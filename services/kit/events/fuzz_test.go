package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/store"
)

// Whatever id a reader gives as the last it had, it goes on behind an event that there is, or is told to read anew from where the log
// ends: nothing is skipped.
func FuzzLastEventID(f *testing.F) {
	const held, events = "fuzzed.hold.held.v1", 5
	schema := store.NewSchema("fuzzed", 1)
	log := Declare(schema, "fuzzed", Catalogue{held: &shelterv1.HoldChanged{}})
	db, err := store.Open(context.Background(), store.Options{Engine: store.NewMemory(), Schema: schema, Inline: true})
	if err != nil {
		f.Fatal(err)
	}
	for range events {
		err := db.Update(context.Background(), func(tx *store.Tx) error {
			return log.Append(tx, held, "nodes/sindh/holds/1", time.Unix(0, 0), &shelterv1.HoldChanged{})
		})
		if err != nil {
			f.Fatal(err)
		}
	}
	feed := NewFeed(FeedConfig[string]{
		DB: db, Log: log,
		Tell: func(_ store.Reader, e *eventsv1.Event) (string, bool, error) { return e.GetId(), true, nil },
		Anew: func(id string) string { return id },
	})
	id := StoreID(db)
	for _, after := range []string{"", "-3", "x-3", "-18446744073709551616", "-+1", "-007", "--1", "-0x1", "-5\x00", "-1-1"} {
		f.Add(strings.HasPrefix(after, "-"), after)
	}
	f.Fuzz(func(t *testing.T, ours bool, after string) {
		if ours { // the id of a store is chosen when it is made
			after = id + after
		}
		told := ""
		at, err := feed.begin(t.Context(), id, after, func(anew string) error { told = anew; return nil })
		end := fmt.Sprint(id, "-", events)
		switch text, known := strings.CutPrefix(after, id+"-"); {
		case err != nil:
			t.Fatal(err)
		case told == end && at == events:
			if position, err := strconv.ParseUint(text, 10, 64); known && err == nil && position <= events {
				t.Errorf("who has event %d is told to read anew", position)
			}
		case told != "":
			t.Errorf("told to read anew from %s, which is not where the log ends", told)
		case !known || at > events || strings.TrimLeft(text, "0") != strings.TrimLeft(fmt.Sprint(at), "0"):
			t.Errorf("%q goes on behind event %d", after, at)
		}
		page, behind, err := feed.after(t.Context(), id, at)
		if err != nil || behind != events-at || len(page) != int(behind) {
			t.Errorf("behind %d come %d of %d events: %v", at, len(page), behind, err)
		}
		if errors.Is(db.Err(), store.ErrFatal) {
			t.Error(db.Err())
		}
	})
}
