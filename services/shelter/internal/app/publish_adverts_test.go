package app_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

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
	away, full  bool
	published   []hub.Message
	in          chan hub.Message
	reconnected chan struct{}
	acks, naks  int
}

func newBroker() *broker {
	return &broker{in: make(chan hub.Message, 1000), reconnected: make(chan struct{}, 1)}
}

var errRefused = errors.New("the hub takes nothing")

func (b *broker) Publish(_ context.Context, subject string, data []byte, done func(error)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.away || b.full:
		done(errRefused)
	default:
		b.published = append(b.published, hub.Message{Subject: subject, Data: data})
		done(nil)
	}
}

func (b *broker) Connected() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.away
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

func (b *broker) refuse(full bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.full = full
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
	advertisingWith(t, load, load("punjab").Keys(), test)
}

func advertisingWith(t *testing.T, load func(string) *identity.Service, keys advert.Keys, test func(t *testing.T, b *bench, hub *broker, counts advert.Counts, load func(string) *identity.Service)) {
	t.Helper()
	advertisingIn(t, t.TempDir(), load, keys, test)
}

func advertisingIn(t *testing.T, dir string, load func(string) *identity.Service, keys advert.Keys, test func(t *testing.T, b *bench, hub *broker, counts advert.Counts, load func(string) *identity.Service)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, end := openApp(t, kitstore.Options{Path: filepath.Join(dir, "shelter.db"), Schema: store.Schema}, dir)
		defer end()
		b.Now = func() time.Time { return time.Now().Add(time.Duration(b.ahead.Load())) }
		broker, counts := newBroker(), advert.NewCounts()
		adverts, err := app.NewAdverts(app.AdvertsConfig{App: b.App, Keys: keys, Transport: broker, Counts: counts, Log: logging.Discard()})
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
		time.Sleep(time.Minute)
		hub.set(false)
		synctest.Wait()
		if again := hub.taken(t); len(again) != 1 {
			t.Errorf("when the hub may have forgotten it: %v", again)
		}
	})
}

// A clock that is set back does not silence a node: what it says next is later than all it has said, and never twice of one time.
func TestAClockThatIsSetBackSilencesNobody(t *testing.T) {
	advertising(t, func(t *testing.T, b *bench, hub *broker, _ advert.Counts, _ func(string) *identity.Service) {
		b.ahead.Store(int64(time.Hour))
		b.shelter(t, 3)
		synctest.Wait()
		said := hub.taken(t)
		b.ahead.Store(0)
		for i := range 3 {
			b.mustPlace(t, 1, fmt.Sprint(i))
			time.Sleep(2 * time.Second)
			synctest.Wait()
			said = append(said, hub.taken(t)...)
		}
		if len(said) != 4 {
			t.Fatalf("%d adverts, want 4", len(said))
		}
		for i, one := range said[1:] {
			if !one.GetPublishTime().AsTime().After(said[i].GetPublishTime().AsTime()) {
				t.Errorf("published at %v after one of %v", one.GetPublishTime().AsTime(), said[i].GetPublishTime().AsTime())
			}
		}
	})
}

// A restored store may take beds for free that are promised: it advertises nothing before it was compared with the live offers.
func TestRestoredStoreAdvertisesNothing(t *testing.T) {
	dir := t.TempDir()
	b, end := openApp(t, kitstore.Options{Path: filepath.Join(dir, "shelter.db"), Schema: store.Schema}, dir)
	b.shelter(t, 3)
	h := b.holdFor(t, 1)
	err := b.DB.Update(t.Context(), func(tx *kitstore.Tx) error { // as in another life
		return store.Fences.Put(tx, store.ReconciledKey, wrapperspb.UInt64(1))
	})
	if err != nil {
		t.Fatal(err)
	}
	end()
	load := members(t)
	advertisingIn(t, dir, load, load("punjab").Keys(), func(t *testing.T, b *bench, hub *broker, _ advert.Counts, _ func(string) *identity.Service) {
		time.Sleep(time.Minute)
		synctest.Wait()
		if told := hub.taken(t); len(told) != 0 {
			t.Errorf("before it was compared: %v", told)
		}
		b.compare(t, b.begin(t).GetFence(), "", "", live(1, shelterv1.LiveOffer_STAGE_PROMISED, h))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if told := hub.taken(t); len(told) != 1 || told[0].GetGroups()[0].GetFree() != 2 {
			t.Errorf("when it was compared: %v", told)
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
		if _, err := b.SuspendShelter(t.Context(), &shelterv1.SuspendShelterRequest{Name: "nodes/punjab/shelters/hidden", Reason: "SECURITY_THREAT"}, true); err != nil {
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
	advertising(t, func(t *testing.T, b *bench, hub *broker, _ advert.Counts, _ func(string) *identity.Service) {
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
		hub.set(false)
		synctest.Wait()
		if got := hub.taken(t); len(got) != 1 || got[0].GetGroups()[0].GetFree() != 40 {
			t.Errorf("at once on reconnection: %v", got)
		}
	})
}

// What a hub refuses, because its stream is full, is sent again, and others with it.
func TestRefusedAdvertIsSentAgain(t *testing.T) {
	advertising(t, func(t *testing.T, b *bench, hub *broker, counts advert.Counts, _ func(string) *identity.Service) {
		hub.refuse(true)
		b.shelter(t, 50)
		synctest.Wait()
		if counted(t, counts, "out", advert.NotTaken) != 1 {
			t.Error("nobody counts what is not taken")
		}
		hub.refuse(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := hub.taken(t); len(got) != 1 || counted(t, counts, "out", advert.Taken) != 1 {
			t.Errorf("within ten seconds: %v", got)
		}
	})
}

// A hub that takes messages and never answers holds no commit up.
func TestSilentHubHoldsNobodyUp(t *testing.T) {
	load := members(t)
	b := newApp(t)
	adverts, err := app.NewAdverts(app.AdvertsConfig{App: b.App, Keys: load("punjab").Keys(), Transport: silent{newBroker()}, Counts: advert.NewCounts(), Log: logging.Discard()})
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

// silent is a broker that takes nothing and says nothing until it is not waited for any more, as the hub's connection does.
type silent struct{ *broker }

func (silent) Publish(ctx context.Context, _ string, _ []byte, done func(error)) {
	context.AfterFunc(ctx, func() { done(ctx.Err()) })
}
