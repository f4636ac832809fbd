package events_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/store"
)

// note keeps an event's subject under its number of the effect: a second application would show.
func note(tx *store.Tx, event *eventsv1.Event) error {
	n, err := effects.Count(tx)
	if err != nil {
		return err
	}
	return effects.Insert(tx, store.K(n+1), &shelterv1.HoldChanged{Hold: event.GetSubject()})
}

func noted(t *testing.T, db *store.DB) (all []string) {
	t.Helper()
	err := db.View(t.Context(), func(r store.Reader) error {
		return effects.Scan(r, store.Range{}, func(_ store.Key, m *shelterv1.HoldChanged) error {
			all = append(all, m.GetHold())
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func names(from, to int) (all []string) {
	for i := from; i <= to; i++ {
		all = append(all, name(i))
	}
	return all
}

func follow(db *store.DB, from *source, handle events.Handler) *events.Follower {
	return events.NewFollower(events.FollowerConfig{
		DB: db, Log: followerLog, Node: "sindh", From: "shelter", Source: from, Handle: handle, Logger: logging.Discard(),
	})
}

// drain steps until nothing is left.
func drain(t *testing.T, step func(context.Context) (int, error)) {
	t.Helper()
	for {
		n, err := step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

func TestFollowerAppliesEachEventOnceAndGoesOnAfterARestart(t *testing.T) {
	owner := openFile(t, ownerSchema)
	from := &source{server: events.NewServer(owner, ownerLog, func(uint64) {})}
	add(t, owner, 1, 600)
	path := filepath.Join(t.TempDir(), "referral.db")
	db := open(t, store.Options{Path: path, Schema: followerSchema})
	if n, err := follow(db, from, note).Step(t.Context()); n != 256 || err != nil {
		t.Fatalf("first page: %d, %v", n, err)
	}
	closeChecked(t, db)
	db = open(t, store.Options{Path: path, Schema: followerSchema})
	drain(t, follow(db, from, note).Step)
	add(t, owner, 601, 1)
	drain(t, follow(db, from, note).Step)
	if got := noted(t, db); !slices.Equal(got, names(1, 601)) {
		t.Errorf("%d effects", len(got))
	}
}

func TestAnEventThatFailsKeepsItsPlaceAndUndoesNoOther(t *testing.T) {
	for how, fail := range map[string]func() error{
		"error": func() error { return errors.New("the referral is not known here") },
		"panic": func() error { panic("nil map") },
	} {
		t.Run(how, func(t *testing.T) {
			owner, db := openFile(t, ownerSchema), openFile(t, followerSchema)
			add(t, owner, 1, 5)
			failing := true
			f := follow(db, &source{server: events.NewServer(owner, ownerLog, func(uint64) {})}, func(tx *store.Tx, event *eventsv1.Event) error {
				if err := note(tx, event); err != nil {
					return err
				}
				if failing && event.GetPosition() == 4 {
					return fail()
				}
				return nil
			})
			for range 2 {
				if _, err := f.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "-4 of type "+held) {
					t.Fatalf("got %v", err)
				}
				if got := noted(t, db); !slices.Equal(got, names(1, 3)) {
					t.Fatalf("effects %v", got)
				}
			}
			failing = false
			drain(t, f.Step)
			if got := noted(t, db); !slices.Equal(got, names(1, 5)) {
				t.Errorf("effects %v", got)
			}
		})
	}
}

// A store that was restored lives another life, of another name: what it says is read from the start. One that was put back to an older copy
// without a new incarnation learns it by what it holds, whether it has written less since than was read, as much or more: else what it says
// in place of what it has lost would be passed over for ever, and what it has lost would be promised again.
func TestAStoreThatWasPutBackIsReadAgainFromTheStart(t *testing.T) {
	for _, restored := range []bool{true, false} {
		for _, since := range []int{0, 1, 4, 6, 300} {
			engine := store.NewMemory()
			owner := open(t, store.Options{Engine: engine, Schema: ownerSchema})
			from := &source{server: events.NewServer(owner, ownerLog, func(uint64) {})}
			add(t, owner, 1, 3)
			old := engine.Clone()
			add(t, owner, 4, 4)
			db := openFile(t, followerSchema)
			f := follow(db, from, note)
			drain(t, f.Step)

			back := open(t, store.Options{Engine: old, Schema: ownerSchema})
			if restored {
				if err := back.RaiseIncarnation(t.Context(), owner.Incarnation()); err != nil {
					t.Fatal(err)
				}
			}
			add(t, back, 100, since)
			learned := 0
			from.set(events.NewServer(back, ownerLog, func(uint64) { learned++ }), nil)
			if !restored {
				if n, err := f.Step(t.Context()); fault.ReasonOf(err) != fault.Unavailable || n > 0 || learned != 1 {
					t.Errorf("with %d events since, its follower is told %v, and it has learned %d times that it was put back", since, err, learned)
				}
				if err := back.RaiseIncarnation(t.Context(), back.Incarnation()); err != nil {
					t.Fatal(err)
				}
			}
			drain(t, f.Step)
			drain(t, f.Step) // it is told once
			want := slices.Concat(names(1, 7), names(1, 3), names(100, 99+since))
			if got := noted(t, db); !slices.Equal(got, want) {
				t.Errorf("restored %t, with %d events since: got %d, want %d: %v", restored, since, len(got), len(want), got[:min(len(got), 20)])
			}
		}
	}
}

// A follower that has read a life of a store which begins after that of the copy tells of it, however little it has read: the copy was put
// back once more. One that lies days ahead of the clock began by a clock that was wrong: the copy begins a life of its own, and the follower reads from its start.
func TestACopyThatIsPutBackAgainLearnsItFromItsLaterLife(t *testing.T) {
	for ahead, believed := range map[time.Duration]bool{time.Second: true, 49 * time.Hour: false} {
		now := start
		options := store.Options{Engine: store.NewMemory(), Schema: ownerSchema, Clock: func() time.Time { return now }}
		owner := open(t, options)
		add(t, owner, 1, 3)
		copied := options.Engine.(*store.Memory).Clone()
		if err := owner.RaiseIncarnation(t.Context(), uint64(start.Add(ahead).UnixNano())); err != nil {
			t.Fatal(err)
		}
		later := owner.Incarnation()
		db, from := openFile(t, followerSchema), &source{server: events.NewServer(owner, ownerLog, func(uint64) {})}
		f := follow(db, from, note)
		drain(t, f.Step)

		var learned []uint64
		options.Engine = copied
		from.set(events.NewServer(open(t, options), ownerLog, func(above uint64) { learned = append(learned, above) }), nil)
		if n, err := f.Step(t.Context()); (n == 0 && fault.ReasonOf(err) == fault.Unavailable) != believed || (n == 3 && err == nil) == believed {
			t.Errorf("%v ahead: its follower reads %d events, and is told %v", ahead, n, err)
		}
		above := later
		if !believed {
			above = uint64(start.UnixNano())
		}
		if !slices.Equal(learned, []uint64{above}) {
			t.Errorf("%v ahead: it learns that it must rise above %v, of a life in %d, want %d", ahead, learned, later, above)
		}
	}
}

// gapped answers with an event whose predecessor is missing.
type gapped struct{}

func (gapped) ListEvents(context.Context, *eventsv1.ListEventsRequest, ...grpc.CallOption) (*eventsv1.ListEventsResponse, error) {
	return &eventsv1.ListEventsResponse{StoreId: "a", LastPosition: 2, Events: []*eventsv1.Event{{Position: 2}}}, nil
}

func TestAGapIsAnError(t *testing.T) {
	db := openFile(t, followerSchema)
	f := events.NewFollower(events.FollowerConfig{
		DB: db, Log: followerLog, Node: "sindh", From: "shelter", Source: gapped{}, Handle: note, Logger: logging.Discard(),
	})
	if _, err := f.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "position 2 where 1 should be") {
		t.Errorf("got %v", err)
	}
}

func TestFollowerIsWokenElsePolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owner := open(t, store.Options{Engine: store.NewMemory(), Schema: ownerSchema})
		db := open(t, store.Options{Engine: store.NewMemory(), Schema: followerSchema})
		w := &waker{}
		logger, log := logged(t)
		from := &source{server: events.NewServer(owner, ownerLog, func(uint64) {})}
		f := events.NewFollower(events.FollowerConfig{
			DB: db, Log: followerLog, Node: "sindh", From: "shelter", Source: from, Handle: note, Waker: w, Logger: logger,
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			f.Run(ctx)
		}()
		synctest.Wait()
		if w.on != "amanat.sindh.shelter.>" {
			t.Errorf("subscribed to %q", w.on)
		}

		add(t, owner, 1, 1)
		w.now()
		synctest.Wait() // No time has passed: it was the wake.
		if got := noted(t, db); !slices.Equal(got, names(1, 1)) {
			t.Errorf("woken: %v", got)
		}
		add(t, owner, 2, 1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if got := noted(t, db); !slices.Equal(got, names(1, 2)) {
			t.Errorf("polled: %v", got)
		}

		// The owner is away for an hour: what fails is said once, and not said again.
		from.set(nil, errors.New("connection refused"))
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := strings.Count(log.String(), "events stand still"); n != 1 {
			t.Errorf("it was said %d times", n)
		}
		add(t, owner, 3, 1)
		from.set(events.NewServer(owner, ownerLog, func(uint64) {}), nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := noted(t, db); !slices.Equal(got, names(1, 3)) {
			t.Errorf("after the owner came back: %v", got)
		}
		stop()
		<-ended
	})
}
