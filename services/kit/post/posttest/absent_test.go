package posttest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/wrapperspb"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	"amanat.example/services/kit/identity"
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

// The roster drops the service of a node that stays, and names it again later, with new keys: letters to it wait meanwhile and hold up no others,
// what waits is told, and all come when it is there again.
func TestDroppedService(t *testing.T) {
	root := Network(t)
	fake := NewFake(1, Faults{})
	sindh, punjab := NewOffice(t, fake, root, "sindh"), NewOffice(t, fake, root, "punjab")
	sindh.Start()
	punjab.Start()
	sindh.QueueAll(punjab, bulk, []string{"one"})
	Wait(t, "the letter is receipted", func() bool { return sindh.Unreceipted() == 0 })
	punjab.Stop()
	sindh.QueueAll(punjab, bulk, []string{"two", "three"})
	renewed(t, root, "punjab", "PK-PB", "sindh", "laundry")

	federal := &postv1.Address{Node: "federal", Service: "federal"}
	toFederal := post.Outgoing{To: federal, Lane: bulk, Kind: kindNote, Body: wrapperspb.String("figures")}
	if err := sindh.DB.Update(t.Context(), func(tx *store.Tx) error { return sindh.Post.Queue(tx, toFederal) }); err != nil {
		t.Fatal(err)
	}
	before := len(fake.Seen(t, "amanat.post.federal."))
	fake.Wipe(t) // a reconnection: all that waits is tried at once
	Wait(t, "the letters that wait are tried", func() bool { return sindh.Counted("parcel-out", "not-sent") > 2 })
	Wait(t, "another lane goes on", func() bool { return len(fake.Seen(t, "amanat.post.federal.")) > before })
	waiting := func() (n uint64) {
		links, err := sindh.Post.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range links {
			if l.Link.GetTo().GetNode() == "punjab" && !l.Oldest.IsZero() {
				n += l.Gap
			}
		}
		return n
	}
	if n := waiting(); n != 2 {
		t.Errorf("%d letters are told to wait, want 2", n)
	}
	toPunjab := post.Outgoing{To: punjab.Addr, Lane: bulk, Kind: kindNote, Body: wrapperspb.String("never")}
	if _, err := sindh.Post.Prepare(toPunjab); !errors.Is(err, post.ErrAbsent) {
		t.Errorf("a letter to nobody is taken: %v", err)
	}

	renewed(t, root, "punjab", "PK-PB", "sindh", Service)
	again := NewOffice(t, fake, root, "punjab")
	again.path = punjab.path // of its letters it has all, its keys are new
	again.Start()
	Wait(t, "all arrive", func() bool { return again.count() == 3 && waiting() == 0 })
	mustEqual(t, again.Received(), []string{"one", "two", "three"})
}

// renewed makes a node anew with one service, and enters it in the roster of another, signed by that one and the federal node.
func renewed(t *testing.T, root, node, province, at, service string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.RemoveAll(filepath.Join(root, node)))
	request, err := identity.InitNode(identity.Options{Root: root, Node: node, Province: province, Services: []string{service}})
	must(err)
	roster, err := identity.LoadRoster(root, at)
	must(err)
	next, err := identity.NextRoster(roster.Log(), time.Now(), []*identityv1.NodeRequest{request}, nil)
	must(err)
	for _, signer := range []string{"federal", at} {
		must(identity.SignRoster(root, signer, next))
	}
	log := &identityv1.RosterLog{Versions: append(slices.Clone(roster.Log().GetVersions()), next)}
	must(identity.InstallRoster(root, at, log))
	must(identity.JoinNetwork(root, node, log, identity.NetworkFingerprint(log)))
}
