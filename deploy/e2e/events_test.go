package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/store"
)

const held = "shelter.hold.placed.v1"

var (
	shelterSchema  = store.NewSchema("shelter", 1)
	shelterLog     = events.Declare(shelterSchema, "shelter", events.Catalogue{held: &shelterv1.HoldChanged{}})
	referralSchema = store.NewSchema("referral", 1)
	referralLog    = events.Declare(referralSchema, "referral", nil)
	effects        = store.NewTable[*shelterv1.HoldChanged](referralSchema, "effects")
)

// eventNode is shelter, which publishes, and referral, which follows over mutual TLS, with the
// node's own NATS between them, started and wiped as a test likes.
type eventNode struct {
	t        *testing.T
	root     string
	shelter  *store.DB
	referral *store.DB
	port     int
	bus      *server.Server
}

func newEventNode(t *testing.T) *eventNode {
	t.Helper()
	n := &eventNode{t: t, root: t.TempDir()}
	must(t, identity.InitNetwork(identity.Options{
		Root: n.root, Node: "sindh", Province: "PK-SD", Services: []string{"shelter", "referral", "bus"},
	}))
	n.shelter, n.referral = n.open("shelter", shelterSchema), n.open("referral", referralSchema)
	// A port for NATS that stays the same when it is started again.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	n.port = l.Addr().(*net.TCPAddr).Port
	must(t, l.Close())
	t.Cleanup(n.stopBus)
	return n
}

func (n *eventNode) open(service string, schema *store.Schema) *store.DB {
	db, err := store.Open(n.t.Context(), store.Options{Path: filepath.Join(n.t.TempDir(), service+".db"), Schema: schema})
	must(n.t, err)
	n.t.Cleanup(func() {
		report, err := db.Check(context.Background())
		must(n.t, err)
		must(n.t, report.Err())
		must(n.t, db.Close())
	})
	return db
}

func (n *eventNode) load(service string) *identity.Service {
	n.t.Helper()
	s, err := identity.Load(n.root, "sindh", service)
	must(n.t, err)
	return s
}

// startBus starts the node's NATS with an empty store.
func (n *eventNode) startBus() {
	n.t.Helper()
	var err error
	n.bus, err = server.NewServer(&server.Options{
		ServerName: "bus", Host: "127.0.0.1", Port: n.port, NoSigs: true, NoLog: true, JetStream: true, StoreDir: n.t.TempDir(),
		TLS: true, TLSVerify: true, TLSConfig: n.load("bus").ServerTLS(),
	})
	must(n.t, err)
	n.bus.Start()
	if !n.bus.ReadyForConnections(10 * time.Second) {
		n.t.Fatal("NATS did not start")
	}
}

func (n *eventNode) stopBus() {
	if n.bus != nil {
		n.bus.Shutdown()
		n.bus.WaitForShutdown()
		n.bus = nil
	}
}

func (n *eventNode) connect(service string) *events.Bus {
	n.t.Helper()
	b, err := events.Connect(fmt.Sprintf("tls://127.0.0.1:%d", n.port), n.load(service).ClientTLS("bus"), "sindh", service)
	must(n.t, err)
	n.t.Cleanup(b.Close)
	return b
}

// run runs the server, the publisher and the follower until the test ends.
func (n *eventNode) run() {
	n.t.Helper()
	quiet := logging.Discard()
	s, err := rpc.NewServer(rpc.Config{
		Identity: n.load("shelter"), Log: quiet,
		Policy: rpc.Policy{events.ListEventsMethod: {Callers: []string{"referral"}}},
	})
	must(n.t, err)
	eventsv1.RegisterEventServiceServer(s, events.NewServer(n.shelter, shelterLog, func(uint64) {}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(n.t, err)
	conn, err := rpc.Dial(l.Addr().String(), n.load("referral").ClientTLS("shelter"))
	must(n.t, err)
	p := events.NewPublisher(events.PublisherConfig{DB: n.shelter, Log: shelterLog, Node: "sindh", Broker: n.connect("shelter"), Logger: quiet})
	f := events.NewFollower(events.FollowerConfig{
		DB: n.referral, Log: referralLog, Node: "sindh", From: "shelter", Source: eventsv1.NewEventServiceClient(conn),
		Waker: n.connect("referral"), Logger: quiet,
		Handle: func(tx *store.Tx, event *eventsv1.Event) error {
			data := &shelterv1.HoldChanged{}
			if err := event.GetData().UnmarshalTo(data); err != nil {
				return err
			}
			return effects.Insert(tx, store.K(event.GetPosition()), data)
		},
	})
	ctx, stop := context.WithCancel(n.t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx, l, nil); err != nil {
			n.t.Errorf("server: %v", err)
		}
	})
	running.Go(func() { p.Run(ctx) })
	running.Go(func() { f.Run(ctx) })
	n.t.Cleanup(func() {
		stop()
		running.Wait()
		must(n.t, conn.Close())
	})
}

func holdName(i int) string { return fmt.Sprintf("nodes/sindh/holds/%04x", i) }

// place commits events from one number to another.
func (n *eventNode) place(from, to int) {
	n.t.Helper()
	for i := from; i <= to; i++ {
		must(n.t, n.shelter.Update(n.t.Context(), func(tx *store.Tx) error {
			return shelterLog.Append(tx, held, holdName(i), time.Now(), &shelterv1.HoldChanged{Hold: holdName(i)})
		}))
	}
}

// applied waits until referral has the effects of all events up to a number, each once, in order.
func (n *eventNode) applied(to int) {
	n.t.Helper()
	var want, got []string
	for i := 1; i <= to; i++ {
		want = append(want, holdName(i))
	}
	eventually(n.t, fmt.Sprintf("%d events applied", to), func() bool {
		got = nil
		must(n.t, n.referral.View(n.t.Context(), func(r store.Reader) error {
			return effects.Scan(r, store.Range{}, func(_ store.Key, m *shelterv1.HoldChanged) error {
				got = append(got, m.GetHold())
				return nil
			})
		}))
		return len(got) >= to
	})
	if !slices.Equal(got, want) {
		n.t.Errorf("applied %v, want %v", got, want)
	}
}

// stream connects as an onlooker and answers the stream, once it is there.
func (n *eventNode) stream() jetstream.Stream {
	n.t.Helper()
	conn, err := nats.Connect(fmt.Sprintf("tls://127.0.0.1:%d", n.port), nats.Secure(n.load("referral").ClientTLS("bus")))
	must(n.t, err)
	n.t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	must(n.t, err)
	var s jetstream.Stream
	eventually(n.t, "the stream", func() bool {
		s, err = js.Stream(n.t.Context(), events.Stream)
		return err == nil
	})
	return s
}

// holds waits until the stream has a number of messages.
func (n *eventNode) holds(s jetstream.Stream, want uint64) jetstream.StreamState {
	n.t.Helper()
	var state jetstream.StreamState
	eventually(n.t, fmt.Sprintf("%d messages in the stream", want), func() bool {
		info, err := s.Info(n.t.Context())
		must(n.t, err)
		state = info.State
		return state.Msgs >= want
	})
	return state
}

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

func TestEventsReachTheStreamAndTheFollower(t *testing.T) {
	n := newEventNode(t)
	n.startBus()
	n.run()
	n.place(1, 3)
	n.applied(3)
	s := n.stream()
	n.holds(s, 3)
	message, err := s.GetMsg(t.Context(), 2)
	must(t, err)
	var got struct {
		SpecVersion, ID, Source, Type, Subject string
		Data                                   struct{ Hold string }
	}
	must(t, json.Unmarshal(message.Data, &got))
	id := events.StoreID(n.shelter) + "-2"
	if message.Subject != "amanat.sindh."+held || message.Header.Get("Nats-Msg-Id") != id || message.Header.Get("Content-Type") != events.ContentType {
		t.Errorf("subject %s, header %v", message.Subject, message.Header)
	}
	if got.SpecVersion != "1.0" || got.ID != id || got.Type != held || got.Subject != holdName(2) || got.Data.Hold != holdName(2) {
		t.Errorf("got %s", message.Data)
	}
	// When it is full the oldest go: nobody ever waits for room.
	if c := s.CachedInfo().Config; c.Discard != jetstream.DiscardOld || c.MaxBytes != events.StreamBytes {
		t.Errorf("the stream is %+v", c)
	}
}

func TestWhatIsPublishedTwiceIsStoredOnce(t *testing.T) {
	n := newEventNode(t)
	n.startBus()
	b := n.connect("shelter")
	messages := []events.Message{
		{Subject: "amanat.sindh.shelter.a.b.v1", ID: "x-1", Payload: []byte("{}")},
		{Subject: "amanat.sindh.shelter.a.b.v1", ID: "x-2", Payload: []byte("{}")},
	}
	eventually(t, "published", func() bool { return b.Publish(t.Context(), messages) == nil })
	must(t, b.Publish(t.Context(), append(messages, events.Message{Subject: "amanat.sindh.shelter.a.b.v1", ID: "x-3", Payload: []byte("{}")})))
	if state := n.holds(n.stream(), 3); state.Msgs != 3 {
		t.Errorf("%d messages", state.Msgs)
	}
}

func TestNodeWithoutNATSPollsAndCatchesUp(t *testing.T) {
	n := newEventNode(t)
	n.run()
	n.place(1, 3)
	n.applied(3)
	n.startBus()
	if state := n.holds(n.stream(), 3); state.Msgs != 3 {
		t.Errorf("%d messages", state.Msgs)
	}
	n.place(4, 4)
	n.applied(4)
}

func TestWipedNATSLosesNothing(t *testing.T) {
	n := newEventNode(t)
	n.startBus()
	n.run()
	n.place(1, 300)
	n.applied(300)
	n.holds(n.stream(), 300)
	n.stopBus()
	n.place(301, 310) // While it is down.
	n.startBus()      // With nothing of what it knew.
	n.place(311, 320)
	n.applied(320)
	state := n.holds(n.stream(), 20)
	if state.Msgs < 20 || state.Msgs > 320 {
		t.Errorf("%d messages after the wipe", state.Msgs)
	}
	t.Logf("a node's NATS was wiped once, among 320 events: each was applied once")
}
