package posttest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"amanat.example/services/kit/post"
	"amanat.example/services/kit/store"
	"amanat.example/services/kit/store/storetest"
)

// The hub is away for five days: what a local transaction costs does not grow, nor what is spent on trying; then all goes, the
// urgent letters before all others, and in order.
func TestHubAwayForDays(t *testing.T) {
	const days, bulkAnHour = 5, 10
	now := time.Date(2026, 9, 1, 8, 0, 0, 0, time.UTC)
	fake := NewFake(1, Faults{Refuse: 1})
	root := Network(t)
	engine := &storetest.Tally{Engine: store.NewMemory()}
	var offices []*Office
	for i, node := range []string{"sindh", "punjab"} {
		o := NewOffice(t, fake, root, node)
		o.clock, o.resend = func() time.Time { return now }, post.DefaultResend
		options := store.Options{Engine: store.NewMemory(), Inline: true, Schema: schema, Clock: o.clock}
		if i == 0 {
			options.Engine = engine
		}
		db, err := store.Open(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		o.openOn(db)
		offices = append(offices, o)
	}
	sindh, punjab := offices[0], offices[1]
	rows := 0
	sindh.DB.Observe(func(set store.ChangeSet) { rows += len(set.Changes) })
	step := func(o *Office) bool {
		did, _, err := o.Post.Step(context.Background(), now)
		if err != nil {
			t.Fatal(err)
		}
		return did
	}

	var b, u []string
	var perLetter []int // calls of the engine
	queue := func(lane string, all *[]string) {
		*all = append(*all, fmt.Sprintf("%s%04d", lane, len(*all)))
		calls, written := engine.Calls, rows
		to := bulk
		if lane == "u" {
			to = urgent
		}
		sindh.QueueAll(punjab, to, (*all)[len(*all)-1:])
		if written = rows - written; written != 2 {
			t.Fatalf("letter %d wrote %d rows, want itself and its link", len(*all), written)
		}
		perLetter = append(perLetter, engine.Calls-calls)
	}
	var tries, trying []int // by day
	for range days {
		published, calls, written := len(fake.all), 0, rows
		queued := 0
		for range 24 {
			queue("u", &u)
			for range bulkAnHour {
				queue("b", &b)
			}
			queued += 1 + bulkAnHour
			before := engine.Calls
			for range 60 {
				now = now.Add(time.Minute)
				for step(sindh) {
				}
			}
			calls += engine.Calls - before
		}
		tries, trying = append(tries, len(fake.all)-published), append(trying, calls)
		if written = rows - written; written != 2*queued {
			t.Errorf("a day without the hub wrote %d rows for %d letters", written, queued)
		}
	}
	steady := perLetter[4:] // the first of each link make its row
	if least, most := slices.Min(steady), slices.Max(steady); least != most {
		t.Errorf("a letter took %d to %d calls of the engine", least, most)
	}
	for day := range days {
		if tries[day] == 0 || day > 0 && tries[day] > tries[0] {
			t.Errorf("attempts by day: %v; they must not grow", tries)
		}
		if limit := tries[day]*(post.MaxLetters+40) + 24*60*40; trying[day] > limit { // a parcel's letters, and housekeeping each minute
			t.Errorf("day %d spent %d calls of the engine on %d attempts, want at most %d", day, trying[day], tries[day], limit)
		}
	}

	published := len(fake.all)
	fake.SetFaults(Faults{})
	fake.Wipe(t) // that is, it is there again and has nothing
	for range 200 {
		for _, o := range offices {
			for step(o) {
			}
		}
	}
	if n := sindh.Unreceipted(); n != 0 {
		t.Fatalf("%d letters are left though no time passed", n)
	}
	mustEqual(t, withPrefix(punjab.Received(), "b"), b)
	mustEqual(t, punjab.Received()[:len(u)], u)
	var lanes []string
	for _, s := range fake.all[published:] {
		if strings.HasPrefix(s.subject, "amanat.post.punjab.") {
			lanes = append(lanes, strings.Split(s.subject, ".")[4])
		}
	}
	if first, last := slices.Index(lanes, "bulk"), lastIndex(lanes, "urgent"); first < 0 || last > first {
		t.Errorf("urgent parcels did not leave first: %v", lanes)
	}
	t.Logf("%d letters; %d calls of the engine each; attempts by day %v", len(b)+len(u), steady[0], tries)
}

func lastIndex(all []string, s string) int {
	for i, v := range slices.Backward(all) {
		if v == s {
			return i
		}
	}
	return -1
}
