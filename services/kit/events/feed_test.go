package events_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/store"
)

// teller makes news of events: their ids and subjects. It counts what it is asked, fails while err is set, and says nothing of
// the subjects in silent.
type teller struct {
	asked  atomic.Int64
	err    atomic.Pointer[error]
	silent sync.Map
}

func (t *teller) feed(db *store.DB) *events.Feed[string] {
	return events.NewFeed(events.FeedConfig[string]{
		DB: db, Log: ownerLog,
		Tell: func(_ store.Reader, e *eventsv1.Event) (string, bool, error) {
			t.asked.Add(1)
			if err := t.err.Load(); err != nil {
				return "", false, *err
			}
			_, silent := t.silent.Load(e.GetSubject())
			return e.GetId() + " " + e.GetSubject(), !silent, nil
		},
		Anew: func(id string) string { return id + " anew" },
	})
}

// reader is one who follows a feed.
type reader struct {
	t    *testing.T
	got  chan string
	stop func() error // and why it ended
}

func read(t *testing.T, f *events.Feed[string], after string) *reader {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &reader{t: t, got: make(chan string)}
	ended := make(chan error, 1)
	go func() {
		ended <- f.Follow(ctx, after, func(news string) error {
			select {
			case r.got <- news:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		close(r.got)
	}()
	r.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = r.stop() })
	return r
}

// wants reads what comes next: the news of events from one position to another, or at `anew`, what tells to read anew.
func (r *reader) wants(db *store.DB, from, to int, anew bool) {
	r.t.Helper()
	for i := from; i <= to; i++ {
		want := fmt.Sprintf("%s-%d %s", events.StoreID(db), i, name(i))
		if anew {
			want = fmt.Sprintf("%s-%d anew", events.StoreID(db), i)
		}
		if got := <-r.got; got != want {
			r.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

// addAtOnce commits events from one position to another in one transaction.
func addAtOnce(t *testing.T, db *store.DB, from, to int) {
	t.Helper()
	err := db.Update(t.Context(), func(tx *store.Tx) error {
		for i := from; i <= to; i++ {
			if err := ownerLog.Append(tx, held, name(i), start, &shelterv1.HoldChanged{Hold: name(i)}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func id(db *store.DB, position int) string { return fmt.Sprintf("%s-%d", events.StoreID(db), position) }

// Who begins is told to read everything, and then each event as it comes; who comes back, what it missed.
func TestFeedGoesOnWhereItsReaderStopped(t *testing.T) {
	db := openFile(t, ownerSchema)
	f := (&teller{}).feed(db)
	first := read(t, f, "")
	first.wants(db, 0, 0, true)
	add(t, db, 1, 3)
	first.wants(db, 1, 3, false)
	if err := first.stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	add(t, db, 4, 2)
	back := read(t, f, id(db, 3))
	back.wants(db, 4, 5, false)
	add(t, db, 6, 1)
	back.wants(db, 6, 6, false)
	read(t, f, id(db, 0)).wants(db, 1, 6, false)
	read(t, f, "").wants(db, 6, 6, true)

	// Whoever was away longer than what is kept in memory gets the same.
	addAtOnce(t, db, 7, 3000)
	back.wants(db, 7, 3000, false)
	late := read(t, f, id(db, 2))
	late.wants(db, 3, 3000, false)
	add(t, db, 3001, 1)
	late.wants(db, 3001, 3001, false)
	back.wants(db, 3001, 3001, false)
}

// Where it cannot be said what a reader missed, or it is too much, that is said.
func TestFeedSaysWhenAllMustBeReadAnew(t *testing.T) {
	db, other := openFile(t, ownerSchema), openFile(t, ownerSchema)
	addAtOnce(t, db, 1, events.MaxBehind+10)
	addAtOnce(t, other, 1, 5)
	f := (&teller{}).feed(db)
	last := events.MaxBehind + 10
	for what, after := range map[string]string{
		"nothing": "", "no id": "Zainab", "no position": events.StoreID(db) + "-", "a negative one": id(db, -1), "another store's": id(other, 5),
		"one to come": id(db, last+1), "one too old": id(db, 9), "only a position": "12", "more behind it": id(db, last) + "-1",
	} {
		r := read(t, f, after)
		if got := <-r.got; got != id(db, last)+" anew" {
			t.Errorf("%s: %q", what, got)
		}
		_ = r.stop()
	}
	read(t, f, id(db, 10)).wants(db, 11, last, false)
	end := read(t, f, id(db, last))
	add(t, db, last+1, 1)
	end.wants(db, last+1, last+1, false)

	// A store that begins another life may have lost what was told in the one before.
	before := id(db, last+1)
	if err := db.RaiseIncarnation(t.Context(), db.Incarnation()); err != nil {
		t.Fatal(err)
	}
	add(t, db, last+2, 1)
	if got := <-end.got; got != id(db, last+2)+" anew" {
		t.Errorf("in another life: %q", got)
	}
	if got := <-read(t, f, before).got; got != id(db, last+2)+" anew" {
		t.Errorf("back with an id of the life before: %q", got)
	}
	add(t, db, last+3, 1)
	end.wants(db, last+3, last+3, false)
}

// However many follow, and though one hangs, each gets all in order, and the store is asked once for each event.
func TestManyReadersCostOneReading(t *testing.T) {
	db := openFile(t, ownerSchema)
	told := &teller{}
	f := told.feed(db)
	const readers, count = 50, 400
	read(t, f, id(db, 0)) // and one who hangs
	var all sync.WaitGroup
	for range readers {
		r := read(t, f, id(db, 0))
		all.Go(func() {
			for i := 1; i <= count; i++ {
				if got, want := <-r.got, id(db, i)+" "+name(i); got != want {
					t.Errorf("got %q, want %q", got, want)
					return
				}
			}
		})
	}
	add(t, db, 1, count)
	all.Wait()
	if got := told.asked.Load(); got != count {
		t.Errorf("%d readers of %d events: %d were read", readers, count, got)
	}
}

// A reader who is too slow for what happens is not told all of it late, but to read anew.
func TestSlowReaderReadsAnew(t *testing.T) {
	db := openFile(t, ownerSchema)
	f := (&teller{}).feed(db)
	addAtOnce(t, db, 1, 2)
	r := read(t, f, id(db, 0))
	r.wants(db, 1, 1, false) // the reader has both, and stands before the second
	addAtOnce(t, db, 3, events.MaxBehind+10)
	r.wants(db, 2, 2, false)
	r.wants(db, events.MaxBehind+10, events.MaxBehind+10, true)
	add(t, db, events.MaxBehind+11, 1)
	r.wants(db, events.MaxBehind+11, events.MaxBehind+11, false)
}

// What is not told is passed over, also by who comes back; a failure ends a reader, and the next one is served.
func TestFeedPassesOverAndFails(t *testing.T) {
	db := openFile(t, ownerSchema)
	told := &teller{}
	told.silent.Store(name(2), true)
	f := told.feed(db)
	r := read(t, f, id(db, 0))
	add(t, db, 1, 3)
	r.wants(db, 1, 1, false)
	r.wants(db, 3, 3, false)
	read(t, f, id(db, 1)).wants(db, 3, 3, false)

	broken := errors.New("the disk")
	told.err.Store(&broken)
	add(t, db, 4, 1)
	if _, more := <-r.got; more {
		t.Error("it went on")
	}
	if err := r.stop(); !errors.Is(err, broken) {
		t.Error(err)
	}
	told.err.Store(nil)
	read(t, f, id(db, 3)).wants(db, 4, 4, false)

	gone := errors.New("gone")
	if err := f.Follow(t.Context(), "", func(string) error { return gone }); !errors.Is(err, gone) {
		t.Error(err)
	}
	if err := f.Follow(t.Context(), id(db, 0), func(string) error { return gone }); !errors.Is(err, gone) {
		t.Error(err)
	}
}
