package late_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/late"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
)

var (
	schema = store.NewSchema("late", 1)
	table  = late.Declare(schema)
)

// missed is a deadline.
type missed struct {
	step string
	due  time.Time
}

type bench struct {
	*late.Reporter
	t       *testing.T
	now     time.Time
	missed  []missed
	letters []*federalv1.LateCounts
	broken  error // of the next letter
}

func (b *bench) Queue(tx *store.Tx, o post.Outgoing) error {
	if b.broken != nil {
		return b.broken
	}
	if o.To.GetNode() != "federal" || o.To.GetService() != "federal" || o.Kind != late.Kind || o.Sealed {
		b.t.Errorf("a letter as none should be: %v", o)
	}
	tx.AfterCommit(func() { b.letters = append(b.letters, o.Body.(*federalv1.LateCounts)) })
	return nil
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, now: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)}
	db, err := store.Open(t.Context(), store.Options{Path: filepath.Join(t.TempDir(), "late.db"), Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		report, err := db.Check(context.Background())
		if err := errors.Join(err, report.Err(), db.Close()); err != nil {
			t.Error(err)
		}
	})
	b.Reporter = &late.Reporter{
		DB: db, Table: table, Federal: "federal", Now: func() time.Time { return b.now }, Post: b,
		Each: func(_ store.Reader, fn func(string, time.Time) error) error {
			for _, m := range b.missed {
				if err := fn(m.step, m.due); err != nil {
					return err
				}
			}
			return nil
		},
	}
	return b
}

// report reports after a while, and holds how many letters there are by then and when it is next due.
func (b *bench) report(after time.Duration, letters int, next time.Duration) {
	b.t.Helper()
	b.now = b.now.Add(after)
	got, err := b.Report(b.t.Context())
	if err != nil || len(b.letters) != letters || got.Sub(b.now) != next {
		b.t.Fatalf("%d letters, next in %v, %v; want %d, in %v", len(b.letters), got.Sub(b.now), err, letters, next)
	}
}

// It is told once a day, and at once when the first is late or none is any more; whatever else changes waits for its day.
func TestReport(t *testing.T) {
	const day, hour = 24 * time.Hour, time.Hour
	b := newBench(t)
	b.report(0, 0, day) // a new service has nothing to tell
	b.report(hour, 0, 23*hour)
	b.report(23*hour, 1, day)
	b.missed = []missed{{"ANSWER", b.now.Add(-hour)}}
	b.report(hour, 2, day)
	b.missed = append(b.missed, missed{"ANSWER", b.now.Add(-hour)}, missed{"SERVE", b.now.Add(-8 * day)}, missed{"ANSWER", b.now.Add(-4 * day)})
	b.report(hour, 2, 23*hour)
	b.report(23*hour, 3, day)
	b.missed = nil
	b.report(hour, 4, day)
	b.report(hour, 4, 23*hour)
	for i, want := range []*federalv1.LateCounts{
		{},
		{Counts: []*federalv1.LateCount{{Step: "ANSWER", Age: federalv1.LateAge_LATE_AGE_UNDER_A_DAY, Count: 1}}},
		{Counts: []*federalv1.LateCount{
			{Step: "ANSWER", Age: federalv1.LateAge_LATE_AGE_UNDER_THREE_DAYS, Count: 2},
			{Step: "ANSWER", Age: federalv1.LateAge_LATE_AGE_UNDER_A_WEEK, Count: 1},
			{Step: "SERVE", Age: federalv1.LateAge_LATE_AGE_A_WEEK_OR_MORE, Count: 1},
		}},
		{},
	} {
		want.CountTime = b.letters[i].GetCountTime()
		if !proto.Equal(b.letters[i], want) || want.GetCountTime() == nil {
			t.Errorf("letter %d: %v, want %v", i+1, b.letters[i], want)
		}
	}
}

// What could not be queued was not told, and is told the next time.
func TestNothingIsToldTwiceOrLost(t *testing.T) {
	b := newBench(t)
	b.missed = []missed{{"ANSWER", b.now}}
	b.broken = errors.New("the disk is full")
	if _, err := b.Report(t.Context()); !errors.Is(err, b.broken) {
		t.Fatal(err)
	}
	b.broken = post.ErrAbsent // which is no failure
	b.report(0, 0, time.Minute)
	b.broken = nil
	b.report(0, 1, 24*time.Hour)
	b.report(0, 1, 24*time.Hour)
	if !proto.Equal(b.letters[0].GetCountTime(), timestamppb.New(b.now)) {
		t.Errorf("told at %v", b.letters[0].GetCountTime())
	}
}

// A clock that ran ahead, and is right again, silences nobody until the day it showed.
func TestAClockThatRanAhead(t *testing.T) {
	const day = 24 * time.Hour
	b := newBench(t)
	b.report(0, 0, day)
	b.report(365*day, 1, day)
	b.report(-365*day, 2, day)
	b.report(day, 3, day)
}
