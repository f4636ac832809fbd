package app_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/advert"
	"amanat.example/services/kit/hub"
	"amanat.example/services/kit/identity"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/app"
	"amanat.example/services/shelter/internal/store"
)

// offered is what a node says of a shelter in its first district.
func offered(node, shelter string, at time.Time, change ...func(*shelterv1.Advert)) *shelterv1.Advert {
	name := "nodes/" + node + "/shelters/" + shelter
	a := &shelterv1.Advert{
		Shelter: name, Node: node, Incarnation: 5, PublishTime: timestamppb.New(at), DisplayName: "Girls of " + shelter, District: "PK723",
		Groups: []*shelterv1.AdvertGroup{{
			Group: name + "/groups/girls", Genders: []string{"Feminine"}, AgeTo: 18, UnitKind: shelterv1.Group_UNIT_KIND_BED, Free: 2, VouchTime: timestamppb.New(at),
		}},
	}
	for _, c := range change {
		c(a)
	}
	return a
}

func free(n int32) func(*shelterv1.Advert) {
	return func(a *shelterv1.Advert) { a.Groups[0].Free = n }
}

func of(incarnation uint64) func(*shelterv1.Advert) {
	return func(a *shelterv1.Advert) { a.Incarnation = incarnation }
}

// hear takes in adverts whose signatures were verified, and says how they fared.
func (b *bench) hear(t testing.TB, all ...*shelterv1.Advert) string {
	t.Helper()
	var heard []*advert.Heard
	for _, one := range all {
		raw, err := proto.Marshal(one)
		if err != nil {
			t.Fatal(err)
		}
		heard = append(heard, &advert.Heard{Advert: one, Signed: &shelterv1.SignedAdvert{Advert: raw, Signature: make([]byte, 64)}})
	}
	verdicts, err := b.HearAdverts(t.Context(), heard)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(fmt.Sprint(verdicts), "map")
}

// freeAt is how many beds a search finds at another node's shelter; -1 for no place.
func (b *bench) freeAt(t testing.TB, shelter string) int32 {
	t.Helper()
	for _, p := range b.search(t).GetPlaces() {
		if p.GetShelter() == shelter {
			return p.GetGroups()[0].GetAvailable()
		}
	}
	return -1
}

func (b *bench) search(t testing.TB) *shelterv1.FindPlacesResponse {
	t.Helper()
	found, err := b.FindPlaces(t.Context(), &shelterv1.FindPlacesRequest{Parent: "nodes/punjab", People: []*custodyv1.Needs{girl()}})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Only what is later than all that was heard of a shelter changes anything, in whatever order a hub delivers it.
func TestOnlyLaterAdvertsSupersede(t *testing.T) {
	const name = "nodes/sindh/shelters/sukkur"
	start := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return start.Add(time.Duration(minutes) * time.Minute) }
	type step struct {
		what  string
		wait  time.Duration
		heard *shelterv1.Advert
		want  string
		free  int32
	}
	for what, steps := range map[string][]step{
		"order of publishing": {
			{"the first", 0, offered("sindh", "sukkur", at(-10)), "[kept:1]", 2},
			{"the same again", 0, offered("sindh", "sukkur", at(-10)), "[superseded:1]", 2},
			{"a later", 0, offered("sindh", "sukkur", at(-5), free(1)), "[kept:1]", 1},
			{"an older replayed", 0, offered("sindh", "sukkur", at(-10)), "[superseded:1]", 1},
			{"another at the same time", 0, offered("sindh", "sukkur", at(-5), free(9)), "[superseded:1]", 1},
		},
		"incarnations": {
			{"the first", 0, offered("sindh", "sukkur", at(-1)), "[kept:1]", 2},
			{"restored, with an older time", 0, offered("sindh", "sukkur", at(-60), of(6), free(4)), "[kept:1]", 4},
			{"from before, with a later time", 0, offered("sindh", "sukkur", at(0), free(1)), "[superseded:1]", 4},
			{"restored, later", 0, offered("sindh", "sukkur", at(-30), of(6), free(3)), "[kept:1]", 3},
		},
		"a clock a little ahead": {
			{"of two minutes ahead", 0, offered("sindh", "sukkur", at(2)), "[kept:1]", 2},
			{"the next", time.Minute, offered("sindh", "sukkur", at(3), free(1)), "[kept:1]", 1},
			{"the first replayed, of the past by now", 90 * time.Second, offered("sindh", "sukkur", at(2)), "[superseded:1]", 1},
		},
		"a clock that is put right": {
			{"of next year", 0, offered("sindh", "sukkur", at(525_600)), "[kept:1]", 2},
			{"later next year", time.Minute, offered("sindh", "sukkur", at(525_601), free(5)), "[kept:1]", 5},
			{"of now", time.Minute, offered("sindh", "sukkur", at(2), free(1)), "[kept:1]", 1},
			{"next year replayed", time.Minute, offered("sindh", "sukkur", at(525_601), free(5)), "[superseded:1]", 1},
			{"earlier than the last", 0, offered("sindh", "sukkur", at(1), free(7)), "[superseded:1]", 1},
			{"of now again", time.Minute, offered("sindh", "sukkur", at(4), free(3)), "[kept:1]", 3},
		},
	} {
		t.Run(what, func(t *testing.T) {
			b := newApp(t)
			for _, s := range steps {
				b.clock.Add(s.wait)
				if got := b.hear(t, s.heard); got != s.want {
					t.Errorf("%s: %s, want %s", s.what, got, s.want)
				}
				if got := b.freeAt(t, name); got != s.free {
					t.Errorf("%s: a search finds %d, want %d", s.what, got, s.free)
				}
			}
		})
	}
}

// An event says that another node offers something else: never that it repeats itself or vouches again.
func TestAdvertEvents(t *testing.T) {
	b := newApp(t)
	now := b.clock.Now()
	b.hear(t, offered("sindh", "sukkur", now.Add(-4*time.Minute)))
	b.hear(t, offered("sindh", "sukkur", now.Add(-3*time.Minute)))           // vouched for again
	b.hear(t, offered("sindh", "sukkur", now.Add(-3*time.Minute), free(99))) // not later
	b.hear(t, offered("sindh", "sukkur", now.Add(-2*time.Minute), free(1)))
	b.hear(t, offered("sindh", "sukkur", now.Add(-time.Minute), free(1), func(a *shelterv1.Advert) { a.Suspended = true }))
	if got, want := b.events.String(), strings.TrimSpace(strings.Repeat("shelter.advert.changed.v1 ", 3)); got != want {
		t.Errorf("events %s, want %s", got, want)
	}
}

// A search ranks what others offer among the own shelters, says in whose care it is, and how old what is known of it is.
func TestSearchFindsOtherNodes(t *testing.T) {
	b := newApp(t)
	b.shelter(t, 1)
	now := b.clock.Now()
	b.hear(t, offered("sindh", "sukkur", now), offered("balochistan", "quetta", now, func(a *shelterv1.Advert) { a.District = "PK226" }))
	first := b.search(t)
	if len(first.GetPlaces()) != 3 || first.GetTotalSize() != 3 {
		t.Fatalf("found %v", first)
	}
	sentences := func(r *shelterv1.FindPlacesResponse, shelter string) (all []string) {
		for _, p := range r.GetPlaces() {
			if p.GetShelter() == shelter {
				for _, why := range p.GetReasons() {
					all = append(all, why.GetSentence())
				}
			}
		}
		return all
	}
	const certain = "In Sindh's care: refer there; the bed is certain only once it is held."
	if got := sentences(first, "nodes/sindh/shelters/sukkur"); !slices.Contains(got, certain) {
		t.Errorf("Sindh's place says %q", got)
	}
	if got := sentences(first, shelterName); slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "care") }) {
		t.Errorf("the own place says %q", got)
	}
	for _, c := range []struct {
		wait time.Duration
		want string
	}{
		{3 * time.Hour, "What is known of it is 3 hours old."},
		{45 * time.Hour, "What is known of it is 2 days old."},
		{5 * 24 * time.Hour, ""}, // seven days
	} {
		b.clock.Add(c.wait)
		got := sentences(b.search(t), "nodes/sindh/shelters/sukkur")
		if c.want != "" && !slices.Contains(got, c.want) {
			t.Errorf("after %s more it says %q, want %q", c.wait, got, c.want)
		}
	}
	b.clock.Add(time.Hour)
	lost := b.search(t)
	if lost.GetTotalSize() != 1 || len(lost.GetLeftOut()) != 1 || lost.GetLeftOut()[0].GetCount() != 2 ||
		lost.GetLeftOut()[0].GetCode() != "NOT_HEARD_OF" || lost.GetLeftOut()[0].GetSentence() != "2 shelters have not been heard of for a week" {
		t.Errorf("after a week and an hour: %v", lost)
	}
	b.hear(t, offered("sindh", "sukkur", b.clock.Now(), func(a *shelterv1.Advert) { a.Suspended = true }))
	var codes []string
	for _, l := range b.search(t).GetLeftOut() {
		codes = append(codes, l.GetCode())
	}
	if !slices.Contains(codes, "SUSPENDED") || !slices.Contains(codes, "NOT_HEARD_OF") {
		t.Errorf("left out: %v", codes)
	}
}

// The age that counts is the older of vouching and hearing: who vouches in the future is no fresher for it.
func TestAgeIsTheOlder(t *testing.T) {
	b := newApp(t)
	now := b.clock.Now()
	b.hear(t, offered("sindh", "sukkur", now.Add(-3*time.Hour), func(a *shelterv1.Advert) { a.Groups[0].VouchTime = timestamppb.New(now.Add(24 * time.Hour)) }))
	b.hear(t, offered("sindh", "larkana", now, func(a *shelterv1.Advert) { a.Groups[0].VouchTime = timestamppb.New(now.Add(-9 * time.Hour)) }))
	b.hear(t, offered("sindh", "karachi", now.Add(24*time.Hour)))
	want := map[string]shelterv1.Freshness{
		"sukkur": shelterv1.Freshness_FRESHNESS_AGEING, "larkana": shelterv1.Freshness_FRESHNESS_STALE, "karachi": shelterv1.Freshness_FRESHNESS_FRESH,
	}
	for _, p := range b.search(t).GetPlaces() {
		if name := p.GetShelter()[strings.LastIndex(p.GetShelter(), "/")+1:]; p.GetFreshness() != want[name] {
			t.Errorf("%s is %s, want %s", name, p.GetFreshness(), want[name])
		}
	}
}

// What was heard outlives a restart.
func TestAdvertsOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	o := kitstore.Options{Path: filepath.Join(dir, "shelter.db"), Schema: store.Schema}
	b, end := openApp(t, o, dir)
	b.hear(t, offered("sindh", "sukkur", b.clock.Now()))
	end()
	b, end = openApp(t, o, dir)
	defer end()
	if got := b.freeAt(t, "nodes/sindh/shelters/sukkur"); got != 2 {
		t.Errorf("after the restart a search finds %d", got)
	}
	if got := b.hear(t, offered("sindh", "sukkur", b.clock.Now().Add(-time.Hour), free(9))); got != "[superseded:1]" {
		t.Errorf("an older one after the restart: %s", got)
	}
}

type roster []string

func (r roster) Active(node, service string) bool {
	return service == "shelter" && slices.Contains(r, node)
}

// What a node said that has left the network disappears.
func TestNodeThatLeftDisappears(t *testing.T) {
	b := newApp(t)
	for i := range 300 { // more than one transaction drops
		b.hear(t, offered("sindh", fmt.Sprintf("home-%d", i), b.clock.Now()))
	}
	b.hear(t, offered("balochistan", "quetta", b.clock.Now()), offered("khyber", "peshawar", b.clock.Now()))
	if err := b.DropAdverts(t.Context(), roster{"sindh", "balochistan", "khyber"}); err != nil {
		t.Fatal(err)
	}
	if got := b.search(t).GetTotalSize(); got != 302 {
		t.Fatalf("%d places, want 302", got)
	}
	if err := b.DropAdverts(t.Context(), roster{"balochistan"}); err != nil {
		t.Fatal(err)
	}
	found := b.search(t)
	if len(found.GetPlaces()) != 1 || found.GetPlaces()[0].GetNode() != "balochistan" || len(found.GetLeftOut()) != 0 {
		t.Errorf("left: %v", found)
	}
}

// leaver is a member that may leave the network.
type leaver struct {
	advert.Keys
	left *atomic.Bool
}

func (l leaver) Active(node, service string) bool {
	return !(l.left.Load() && node == "sindh") && l.Keys.Active(node, service)
}

// That a node has left is noticed while the service runs.
func TestLeavingIsNoticed(t *testing.T) {
	load, left := members(t), &atomic.Bool{}
	advertisingWith(t, load, leaver{load("punjab").Keys(), left}, func(t *testing.T, b *bench, hub *broker, _ advert.Counts, load func(string) *identity.Service) {
		subject, data, err := advert.Sign(load("sindh").Keys(), offered("sindh", "sukkur", time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		hub.deliver(subject, data)
		synctest.Wait()
		if got := b.freeAt(t, "nodes/sindh/shelters/sukkur"); got != 2 {
			t.Fatalf("a search finds %d", got)
		}
		left.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := b.search(t); len(got.GetPlaces()) != 0 || len(got.GetLeftOut()) != 0 {
			t.Errorf("a minute after it left a search says %v", got)
		}
	})
}

// One node cannot fill the store: it is listened to for so many shelters and no more, and those it has go on.
func TestTooManyShelters(t *testing.T) {
	b := newApp(t)
	now := b.clock.Now()
	var all []*shelterv1.Advert
	for i := range app.MostShelters {
		all = append(all, offered("sindh", fmt.Sprintf("home-%d", i), now.Add(-time.Hour)))
	}
	for some := range slices.Chunk(all, 250) {
		if got := b.hear(t, some...); got != "[kept:250]" {
			t.Fatal(got)
		}
	}
	if got := b.hear(t, offered("sindh", "home-0", now, free(1)), offered("balochistan", "quetta", now), offered("sindh", "another", now)); got != "[kept:2 too-many:1]" {
		t.Error(got)
	}
}

// The broker may forget an advert when it is in the store, and never before.
func TestAdvertIsAcknowledgedWhenItIsStored(t *testing.T) {
	advertising(t, func(t *testing.T, b *bench, broker *broker, _ advert.Counts, load func(string) *identity.Service) {
		subject, data, err := advert.Sign(load("sindh").Keys(), offered("sindh", "sukkur", time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		stored := make(chan bool, 1)
		broker.in <- hub.Message{Subject: subject, Data: data, Ack: func() { stored <- b.freeAt(t, "nodes/sindh/shelters/sukkur") == 2 }}
		if !<-stored {
			t.Error("it is acknowledged and not stored")
		}
	})
}

// Junk changes a counter and nothing else, and is taken off the broker; good adverts beside it are stored.
func TestJunkChangesNothing(t *testing.T) {
	advertising(t, func(t *testing.T, b *bench, hub *broker, counts advert.Counts, load func(string) *identity.Service) {
		subject, data, err := advert.Sign(load("sindh").Keys(), offered("sindh", "sukkur", time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		forged, lie, err := advert.Sign(load("balochistan").Keys(), offered("sindh", "sukkur", time.Now().Add(time.Second), free(50)))
		if err != nil {
			t.Fatal(err)
		}
		hub.deliver(forged, lie)
		hub.deliver(subject, []byte("junk"))
		hub.deliver("amanat.capacity.punjab.lahore-girls", data)
		hub.deliver(subject, data)
		hub.deliver(subject, data)
		synctest.Wait()
		for verdict, want := range map[advert.Verdict]float64{
			advert.BadSignature: 1, advert.Malformed: 1, advert.Own: 1, advert.Kept: 1, advert.Superseded: 1,
		} {
			if got := counted(t, counts, "in", verdict); got != want {
				t.Errorf("%s: %v, want %v", verdict, got, want)
			}
		}
		if hub.acks != 5 || hub.naks != 0 {
			t.Errorf("%d acknowledged and %d refused, want 5 and 0", hub.acks, hub.naks)
		}
		if got := b.freeAt(t, "nodes/sindh/shelters/sukkur"); got != 2 {
			t.Errorf("a search finds %d, want 2", got)
		}
		if got := b.events.String(); got != "shelter.advert.changed.v1" {
			t.Errorf("events: %s", got)
		}
	})
}
