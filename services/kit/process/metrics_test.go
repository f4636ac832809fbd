package process

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventsv1 "amanat.example/proto/amanat/events/v1"
	postv1 "amanat.example/proto/amanat/post/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/audit"
	"amanat.example/services/kit/config"
	"amanat.example/services/kit/events"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/outbox"
	"amanat.example/services/kit/post"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelterServer answers once it is well.
type shelterServer struct {
	shelterv1.UnimplementedShelterServiceServer
	well atomic.Bool
}

func (s *shelterServer) GetHold(context.Context, *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
	if !s.well.Load() {
		return nil, status.Error(codes.Unavailable, "not yet")
	}
	return &shelterv1.Hold{}, nil
}

func allow(service, caller string, methods ...string) rpc.Policy {
	p := rpc.Policy{}
	for _, m := range methods {
		p["/"+service+"/"+m] = rpc.Row{Callers: []string{caller}}
	}
	return p
}

// openAt opens a process of sindh with neither NATS nor hub to reach.
func openAt(t *testing.T, root string, o Options) *Process {
	t.Helper()
	o.Audit = audit.Declare(o.Schema)
	p, err := Open(t.Context(), config.Service{
		Data: root, Node: "sindh", Listen: "127.0.0.1:0", Admin: "127.0.0.1:0",
		NATSURL: "tls://127.0.0.1:1", HubURL: "tls://127.0.0.1:1", LogLevel: "error",
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func runUntilEnd(t *testing.T, p *Process) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// scrape reads the admin port, as an operator's Prometheus does.
func scrape(t *testing.T, p *Process) map[string]float64 {
	t.Helper()
	response, err := http.Get("http://" + p.admin.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer func() { _ = response.Body.Close() }()
	found := map[string]float64{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		if n, err := strconv.ParseFloat(value, 64); err == nil && strings.HasPrefix(name, "amanat_") {
			found[name] = n
		}
	}
	if err := lines.Err(); err != nil || response.StatusCode != http.StatusOK {
		t.Fatal(response.Status, err)
	}
	return found
}

// waitFor scrapes until every metric is as wanted.
func waitFor(t *testing.T, p *Process, want map[string]func(float64) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		got, missing := scrape(t, p), ""
		for name, is := range want {
			if value, ok := got[name]; !ok || !is(value) {
				missing = name
			}
		}
		if missing == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s is not as wanted in %v", missing, got)
		case <-tick.C:
		}
	}
}

func is(n float64) func(float64) bool { return func(got float64) bool { return got == n } }

func above(n float64) func(float64) bool { return func(got float64) bool { return got > n } }

// A running service tells on its admin port what waits for whom, for how long, and how far it has
// come with events; and the numbers move as the work does.
func TestMetricsOfARunningService(t *testing.T) {
	root := t.TempDir()
	if err := identity.InitNetwork(
		identity.Options{Root: root, Node: "sindh", Province: "PK-SD", Services: []string{"referral", "shelter"}},
		identity.Options{Root: root, Node: "federal", Services: []string{"federal"}, Hub: true},
	); err != nil {
		t.Fatal(err)
	}
	const changed = "shelter.hold.changed.v1"
	schema := store.NewSchema("shelter", 1)
	log := events.Declare(schema, "shelter", events.Catalogue{changed: &shelterv1.HoldChanged{}})
	var methods []string
	for _, m := range shelterv1.ShelterService_ServiceDesc.Methods {
		methods = append(methods, m.MethodName)
	}
	for _, m := range shelterv1.ShelterService_ServiceDesc.Streams {
		methods = append(methods, m.StreamName)
	}
	shelter := openAt(t, root, Options{
		Name: "shelter", Schema: schema, Events: log, Policy: allow("amanat.shelter.v1.ShelterService", "referral", methods...),
	})
	server := &shelterServer{}
	shelterv1.RegisterShelterServiceServer(shelter.Server, server)
	runUntilEnd(t, shelter)

	schema = store.NewSchema("referral", 1)
	own, commands, letters := events.Declare(schema, "referral", nil), outbox.Declare(schema), post.Declare(schema)
	referral := openAt(t, root, Options{Name: "referral", Schema: schema, Events: own})
	sent, err := referral.OpenPost(letters, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	queue, err := referral.OpenOutbox(commands, map[string]outbox.Target{
		shelterv1.ShelterService_GetHold_FullMethodName: {Service: "shelter", Result: func(*store.Tx, outbox.Result) error { return nil }},
	}, nil, map[string]string{"shelter": shelter.Address().String()})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := referral.Dial("shelter", shelter.Address().String())
	if err != nil {
		t.Fatal(err)
	}
	var ready atomic.Bool
	err = referral.Follow(events.NewFollower(events.FollowerConfig{
		DB: referral.DB, Log: own, Node: "sindh", From: "shelter", Source: eventsv1.NewEventServiceClient(conn), Logger: referral.Log,
		Handle: func(*store.Tx, *eventsv1.Event) error {
			if !ready.Load() {
				return errors.New("not yet")
			}
			return nil
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	runUntilEnd(t, referral)
	waitFor(t, referral, map[string]func(float64) bool{
		`amanat_outbox_commands{service="shelter"}`: is(0), `amanat_outbox_oldest_seconds{service="shelter"}`: is(0),
		`amanat_events_follower_lag{source="shelter"}`: is(0), `amanat_events_last_position`: is(0), `amanat_events_unpublished`: is(0),
	})

	err = shelter.DB.Update(t.Context(), func(tx *store.Tx) error {
		return log.Append(tx, changed, "nodes/sindh/holds/a", time.Now(), &shelterv1.HoldChanged{})
	})
	if err != nil {
		t.Fatal(err)
	}
	err = referral.DB.Update(t.Context(), func(tx *store.Tx) error {
		return errors.Join(
			queue.Queue(tx, outbox.Command{ID: "command-1", Method: shelterv1.ShelterService_GetHold_FullMethodName, Request: &shelterv1.GetHoldRequest{Name: "nodes/sindh/holds/0192f0a1-0000-7000-8000-000000000001"}}),
			sent.Queue(tx, post.Outgoing{To: &postv1.Address{Node: "federal", Service: "federal"}, Lane: postv1.Lane_LANE_BULK, Kind: "test.v1", Body: &timestamppb.Timestamp{}}),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, shelter, map[string]func(float64) bool{`amanat_events_last_position`: is(1), `amanat_events_unpublished`: is(1)})
	waitFor(t, referral, map[string]func(float64) bool{
		`amanat_outbox_commands{service="shelter"}`: is(1), `amanat_outbox_oldest_seconds{service="shelter"}`: above(0),
		`amanat_outbox_tries_total{service="shelter"}`: above(1), `amanat_outbox_failures_total{code="Unavailable",service="shelter"}`: above(1),
		`amanat_events_follower_lag{source="shelter"}`: is(1), `amanat_events_follower_position{source="shelter"}`: is(0),
		`amanat_post_unreceipted_letters{lane="bulk",node="federal",service="federal"}`:        is(1),
		`amanat_post_oldest_unreceipted_seconds{lane="bulk",node="federal",service="federal"}`: above(0),
	})

	server.well.Store(true)
	ready.Store(true)
	waitFor(t, referral, map[string]func(float64) bool{
		`amanat_outbox_commands{service="shelter"}`: is(0), `amanat_outbox_oldest_seconds{service="shelter"}`: is(0),
		`amanat_events_follower_lag{source="shelter"}`: is(0), `amanat_events_follower_position{source="shelter"}`: is(1),
		`amanat_events_follower_read_seconds{source="shelter"}`: func(age float64) bool { return age >= 0 },
	})
}
