package app_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/advert"
	"amanat.example/services/kit/hub"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/app"
	"amanat.example/services/shelter/internal/store"
)

// members is a network of real identities: punjab's shelter service is tested, the others speak to it.
func members(t *testing.T) (load func(node string) *identity.Service) {
	t.Helper()
	root := t.TempDir()
	var nodes []identity.Options
	for _, node := range []string{"punjab", "sindh", "balochistan"} {
		nodes = append(nodes, identity.Options{Root: root, Node: node, DisplayName: node, Province: "PK-PB", Services: []string{"shelter"}})
	}
	if err := identity.InitNetwork(nodes...); err != nil {
		t.Fatal(err)
	}
	return func(node string) *identity.Service {
		s, err := identity.Load(root, node, "shelter")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// broker is a hub that does what a test tells it to.
type broker struct {
	mu          sync.Mutex
	away        bool
	silent      bool // takes nothing and says nothing
	published   []hub.Message
	in          chan hub.Message
	reconnected chan struct{}
	acks, naks  int
}

func newBroker() *broker {
	return &broker{in: make(chan hub.Message, 1000), reconnected: make(chan struct{}, 1)}
}

var errAway = errors.New("the hub is away")

func (b *broker) Publish(_ context.Context, subject string, data []byte, done func(error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.silent:
	case b.away:
		done(errAway)
	default:
		b.published = append(b.published, hub.Message{Subject: subject, Data: data})
		done(nil)
	}
}

func (b *broker) Adverts() <-chan hub.Message  { return b.in }
func (b *broker) Reconnected() <-chan struct{} { return b.reconnected }

func (b *broker) set(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
	if !away {
		b.reconnected <- struct{}{}
	}
}

// taken are the adverts that were published since the last call.
func (b *broker) taken(t *testing.T) (all []*shelterv1.Advert) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.published {
		var signed shelterv1.SignedAdvert
		var one shelterv1.Advert
		if err := errors.Join(proto.Unmarshal(m.Data, &signed), proto.Unmarshal(signed.GetAdvert(), &one)); err != nil {
			t.Fatal(err)
		}
		all = append(all, &one)
	}
	b.published = nil
	return all
}

// deliver brings a message to the service.
func (b *broker) deliver(subject string, data []byte) {
	b.in <- hub.Message{
		Subject: subject, Data: data,
		Ack: func() { b.mu.Lock(); defer b.mu.Unlock(); b.acks++ },
		Nak: func(time.Duration) { b.mu.Lock(); defer b.mu.Unlock(); b.naks++ },
	}
}

// counted is one of the counters.
func counted(t *testing.T, counts advert.Counts, direction string, verdict advert.Verdict) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(counts); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if l := m.GetLabel(); l[0].GetValue() == direction && l[1].GetValue() == string(verdict) {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// advertising runs a service's adverts in a bubble of its own time.
func advertising(t *testing.T, test func(t *testing.T, b *bench, hub *broker, counts advert.Counts, load func(string) *identity.Service)) {
	t.Helper()
	load := members(t)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b, end := openApp(t, kitstore.Options{Path: filepath.Join(dir, "shelter.db"), Schema: store.Schema}, dir)
		defer end()
		b.Now = time.Now
		broker, counts := newBroker(), advert.NewCounts()
		adverts, err := app.NewAdverts(app.AdvertsConfig{App: b.App, Keys: load("punjab").Keys(), Transport: broker, Counts: counts, Log: logging.Discard()})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- adverts.Run(ctx) }()
		defer func() {
			stop()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}()
		test(t, b, broker, counts, load)
	})
}

// What changes is advertised at once, then gathered for a second; every shelter is repeated every five minutes.
func TestAdvertsAreGatheredAndRepeated(t *testing.T) {
	advertising(t, func(t *testing.T, b *bench, hub *broker, _ advert.Counts, _ func(string) *identity.Service) {
		synctest.Wait()
		b.shelter(t, 50)
		synctest.Wait()
		first := hub.taken(t)
		if len(first) != 1 || first[0].GetGroups()[0].GetFree() != 50 || first[0].GetNode() != "punjab" || first[0].GetShelter() != shelterName {
			t.Fatalf("a new shelter is advertised as %v", first)
		}
		for i := range 20 {
			b.mustPlace(t, 1, fmt.Sprint(i))
		}
		synctest.Wait()
		if soon := hub.taken(t); len(soon) != 0 {
			t.Errorf("%d adverts within the second", len(soon))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if gathered := hub.taken(t); len(gathered) != 1 || gathered[0].GetGroups()[0].GetFree() != 30 || !gathered[0].GetPublishTime().AsTime().After(first[0].GetPublishTime().AsTime()) {
			t.Errorf("20 holds are advertised as %v", gathered)
		}
		time.Sleep(5*time.Minute - time.Second)
		synctest.Wait()
		if again := hub.taken(t); len(again) != 1 || again[0].GetGroups()[0].GetFree() != 30 {
			t.Errorf("after five minutes: %v", again)
		}
	})
}

// An advert holds nothing of where a shelter is, of who runs it and of who vouches for it.
func TestAdvertsAreDiscreet(t *testing.T) {
	advertising(t, func(t *testing.T, b *bench, hub *broker, _ advert.Counts, _ func(string) *identity.Service) {
		if _, err := b.CreateShelter(t.Context(), &shelterv1.CreateShelterRequest{Parent: "nodes/punjab", ShelterId: "hidden", Shelter: &shelterv1.Shelter{
			DisplayName: "Girls", District: "PK617", Confidential: true, Address: "7 Hidden Lane", Phone: "+924211111111", Organization: "Quiet Trust",
			Groups: []*shelterv1.Group{{Name: "girls", Genders: []string{"Feminine"}, AgeTo: 18, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: 1, CapacitySource: "Warden"}},
		}}, manager); err != nil {
			t.Fatal(err)
		}
		if _, err := b.SuspendShelter(t.Context(), &shelterv1.SuspendShelterRequest{Name: "nodes/punjab/shelters/hidden", Reason: "SECURITY_THREAT"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		all := hub.taken(t)
		if len(all) == 0 || !all[len(all)-1].GetConfidential() || !all[len(all)-1].GetSuspended() {
			t.Fatalf("published %v", all)
		}
		for _, one := range all {
			for _, secret := range []string{"Hidden", "4211111111", "Quiet", "Warden", "manager", "SECURITY_THREAT"} {
				if strings.Contains(one.String(), secret) {
					t.Errorf("an advert tells %s", secret)
				}
			}
		}
	})
}

// While the hub is away nothing waits but names: when it is there again each shelter is told once, as it then stands.
func TestHubAwayIsCaughtUp(t *testing.T) {
	advertising(t, func(t *testing.T, b *bench, hub *broker, counts advert.Counts, _ func(string) *identity.Service) {
		hub.set(true)
		b.shelter(t, 50)
		for i := range 10 {
			b.mustPlace(t, 1, fmt.Sprint(i))
			time.Sleep(time.Minute)
		}
		synctest.Wait()
		if got := hub.taken(t); len(got) != 0 {
			t.Fatalf("published while it was away: %v", got)
		}
		if counted(t, counts, "out", advert.NotTaken) == 0 {
			t.Error("nobody counts what is not taken")
		}
		hub.set(false)
		synctest.Wait()
		if got := hub.taken(t); len(got) != 1 || got[0].GetGroups()[0].GetFree() != 40 {
			t.Errorf("at once on reconnection: %v", got)
		}
	})
}

// A hub that takes messages and never answers holds no commit up.
func TestSilentHubHoldsNobodyUp(t *testing.T) {
	load := members(t)
	b := newApp(t)
	broker := newBroker()
	broker.silent = true
	adverts, err := app.NewAdverts(app.AdvertsConfig{App: b.App, Keys: load("punjab").Keys(), Transport: cancelled{broker}, Counts: advert.NewCounts(), Log: logging.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- adverts.Run(ctx) }()
	b.shelter(t, 100)
	for i := range 100 {
		b.mustPlace(t, 1, fmt.Sprint(i))
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// cancelled is a broker that answers only when it is not waited for any more, as the hub's connection does.
type cancelled struct{ *broker }

func (c cancelled) Publish(ctx context.Context, _ string, _ []byte, done func(error)) {
	context.AfterFunc(ctx, func() { done(ctx.Err()) })
}

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

// One node cannot fill the store: it is listened to for so many shelters and no more, and those it has go on.
func TestTooManyShelters(t *testing.T) {
	b := newApp(t)
	now := b.clock.Now()
	var all []*shelterv1.Advert
	for i := range app.MostShelters + 1 {
		all = append(all, offered("sindh", fmt.Sprintf("home-%d", i), now.Add(-time.Hour)))
	}
	if got := b.hear(t, all...); got != fmt.Sprintf("[kept:%d too-many:1]", app.MostShelters) {
		t.Fatal(got)
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
