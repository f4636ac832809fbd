package server_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/google/uuid"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	custodyv1 "amanat.example/proto/amanat/custody/v1"
	identityv1 "amanat.example/proto/amanat/identity/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/paging"
	"amanat.example/services/kit/privacy"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/rpc/rpctest"
	"amanat.example/services/kit/soaktest"
	kitstore "amanat.example/services/kit/store"
	"amanat.example/services/shelter/internal/app"
	"amanat.example/services/shelter/internal/server"
	"amanat.example/services/shelter/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a shelter service behind its real server, with the identities of its callers.
type world struct {
	gateway, referral shelterv1.ShelterServiceClient
	conn              *grpc.ClientConn // of the gateway
	token             func(role string) context.Context
	mu                sync.Mutex
	readings          []rpc.Reading
	path              string // of the store's file
	place             rpctest.Place
	address           string
	db                *kitstore.DB
	keys              *privacy.Keyring
	now               func() time.Time
	app               *app.App
	gate              atomic.Pointer[app.Gate] // that of app, which calls read while another app is opened
	engine            *kitstore.Memory         // instead of a file
	lives             *rpctest.Switch
	failed            chan struct{} // closed when the store has failed
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldAt(t, time.Now)
}

// newWorldAt is a world with a clock of its own.
func newWorldAt(t testing.TB, now func() time.Time) *world {
	t.Helper()
	return newWorldOn(t, nil, now)
}

// newWorldOn is a world with a disk and a clock of its own; a nil disk is a file.
func newWorldOn(t testing.TB, engine *kitstore.Memory, now func() time.Time) *world {
	t.Helper()
	root := t.TempDir()
	if err := identity.InitNetwork(identity.Options{
		Root: root, Node: "punjab", DisplayName: "Punjab", Province: "PK-PB", Services: []string{"shelter", "referral", "protection", "gateway", "federal"},
	}, identity.Options{
		Root: root, Node: "sindh", DisplayName: "Sindh", Province: "PK-SD", Services: []string{"referral", "gateway"},
	}); err != nil {
		t.Fatal(err)
	}
	load := func(service string) *identity.Service {
		s, err := identity.Load(root, "punjab", service)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	w := &world{now: now, engine: engine, place: rpctest.Place{Root: root, Node: "punjab", Service: "shelter"}}
	w.address = w.serve(t, root, load("shelter"))
	dial := func(service string) *grpc.ClientConn {
		conn, err := rpc.Dial(w.address, load(service).ClientTLS("shelter"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	w.conn = dial("gateway")
	w.gateway, w.referral = shelterv1.NewShelterServiceClient(w.conn), shelterv1.NewShelterServiceClient(dial("referral"))
	signer := load("gateway")
	w.token = func(role string) context.Context {
		raw, err := signer.IssueToken(&identityv1.PersonToken{
			Person: "nodes/punjab/workers/manager", Roles: []string{role}, Purpose: "operations", Audience: []string{"shelter"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return rpc.WithPersonToken(t.Context(), raw)
	}
	return w
}

func (w *world) serve(t testing.TB, root string, self *identity.Service) (address string) {
	t.Helper()
	dir := filepath.Join(root, "punjab", "shelter")
	w.path = filepath.Join(dir, "shelter.db")
	keys, err := privacy.OpenKeyring(context.Background(), privacy.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	w.keys = keys
	w.open(t)
	s, err := rpc.NewServer(rpc.Config{
		Identity: self, Policy: server.Policy(), Log: logging.Discard(), Closed: func() error { return w.gate.Load().Closed() },
		Audit: func(_ context.Context, r rpc.Reading) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.readings = append(w.readings, r)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.lives = rpctest.NewSwitch(s)
	w.register()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, listener, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		report, err := w.db.Check(context.Background())
		if err == nil {
			err = report.Err()
		}
		if err != nil {
			t.Errorf("the store is damaged: %v", err)
		}
		if err := keys.Close(); err != nil {
			t.Error(err)
		}
		if err := w.db.Close(); err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

// open opens the service on its disk.
func (w *world) open(t testing.TB) {
	t.Helper()
	failed := make(chan struct{})
	options := kitstore.Options{Path: w.path, Schema: store.Schema, OnFatal: func(error) { close(failed) }}
	if w.engine != nil {
		options.Path, options.Engine = "", w.engine
	}
	db, err := kitstore.Open(context.Background(), options)
	if err != nil {
		t.Fatal(err)
	}
	resources, err := rpc.NewResourceRules(&shelterv1.Shelter{}, &shelterv1.Group{})
	if err != nil {
		t.Fatal(err)
	}
	directory, err := app.OpenDirectory(context.Background(), db, "punjab")
	if err != nil {
		t.Fatal(err)
	}
	gate, err := app.OpenGate(context.Background(), db, w.now())
	if err != nil {
		t.Fatal(err)
	}
	w.db, w.failed = db, failed
	w.gate.Store(gate)
	w.app = &app.App{
		Directory: directory, Gate: gate, Rules: resources, Watchers: app.NewWatchers(db), After: time.After, DB: db, Node: "punjab", Now: w.now,
		Keys: w.keys, Events: store.Events, Tokens: paging.New([]byte("t")), Wake: func() {},
		NewID: func() (string, error) { id, err := uuid.NewV7(); return id.String(), err },
	}
}

// register puts the service as it is now behind its server.
func (w *world) register() {
	shelterv1.RegisterShelterServiceServer(w.lives, server.New(w.app))
	shelterv1.RegisterReconcileServiceServer(w.lives, server.NewReconciler(w.app))
	shelterv1.RegisterAdvertServiceServer(w.lives, server.NewAdverts(w.app))
}

// create enters a shelter with one group of girls' beds and says the group's name.
func (w *world) create(t testing.TB, id string, beds int32) (group string) {
	t.Helper()
	s, err := w.gateway.CreateShelter(w.token("shelter-manager"), &shelterv1.CreateShelterRequest{
		Parent: "nodes/punjab", ShelterId: id, Shelter: &shelterv1.Shelter{
			DisplayName: "Girls", District: "PK617", Address: "a street", Groups: []*shelterv1.Group{{
				Name: "girls", Genders: []string{"Feminine"}, AgeFrom: 6, AgeTo: 12, UnitKind: shelterv1.Group_UNIT_KIND_BED, Total: beds, Needs: []string{"INFANT"},
			}},
		},
	}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return s.GetGroups()[0].GetName()
}

func (w *world) hold(ctx context.Context, group, request string) (*shelterv1.Hold, error) {
	return w.referral.PlaceHold(ctx, &shelterv1.PlaceHoldRequest{
		Group: group, Quantity: 1, RequestId: "request-" + request,
		Needs: &custodyv1.Needs{Gender: "Feminine", AgeFrom: 9, AgeTo: 9},
	})
}

func reasonOf(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.GetDomain() + " " + info.GetReason()
		}
	}
	return ""
}

// attempt is one caller's call and answer, for the linearizability check.
type attempt struct {
	place bool // else release
	won   bool // the place held the bed, or the release gave it back
}

// oneBed: a bed is free or held; placing succeeds exactly when it is free, and a release is only
// tried by who holds it.
var oneBed = porcupine.Model{
	Init: func() any { return false },
	Step: func(state, input, _ any) (bool, any) {
		held, a := state.(bool), input.(attempt)
		if a.place {
			return a.won == !held, held || a.won
		}
		return a.won && held, false
	},
	DescribeOperation: func(input, _ any) string { return fmt.Sprintf("%+v", input) },
}

// One bed, a thousand callers at once, through the real server: exactly one wins, in every round.
func TestOneBedThousandCallers(t *testing.T) {
	const callers = 1000
	w, rounds := newWorld(t), 0
	for round := range soaktest.Rounds(t, 20, 100) {
		rounds++
		group := w.create(t, fmt.Sprintf("shelter-%d", round), 1)
		history := make([]porcupine.Operation, callers)
		begin := make(chan struct{})
		var all sync.WaitGroup
		for i := range callers {
			all.Go(func() {
				<-begin
				call := time.Now()
				_, err := w.hold(t.Context(), group, fmt.Sprintf("%d-%d", round, i))
				history[i] = porcupine.Operation{ClientId: i, Input: attempt{true, err == nil}, Call: call.UnixNano(), Return: time.Now().UnixNano()}
				if err != nil && reasonOf(err) != "shelter.amanat REASON_NO_CAPACITY" {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		close(begin)
		all.Wait()
		wins := 0
		for _, op := range history {
			if op.Input.(attempt).won {
				wins++
			}
		}
		if wins != 1 {
			t.Fatalf("round %d: %d callers won one bed", round, wins)
		}
		if !porcupine.CheckOperations(oneBed, history) {
			t.Fatalf("round %d: the history is not linearizable", round)
		}
	}
	t.Logf("%d rounds, %d callers each: one winner in every round", rounds, callers)
}

// Placing and releasing one bed by many callers stays linearizable.
func TestPlaceAndReleaseIsLinearizable(t *testing.T) {
	w := newWorld(t)
	group := w.create(t, "contended", 1)
	var mu sync.Mutex
	var history []porcupine.Operation
	note := func(client int, a attempt, call time.Time) {
		done := time.Now()
		mu.Lock()
		defer mu.Unlock()
		history = append(history, porcupine.Operation{ClientId: client, Input: a, Call: call.UnixNano(), Return: done.UnixNano()})
	}
	var all sync.WaitGroup
	for client := range 16 {
		all.Go(func() {
			for n := range 40 {
				call := time.Now()
				h, err := w.hold(t.Context(), group, fmt.Sprintf("%d-%d", client, n))
				note(client, attempt{true, err == nil}, call)
				if err != nil {
					continue
				}
				call = time.Now()
				_, err = w.referral.ReleaseHold(t.Context(), &shelterv1.ReleaseHoldRequest{Name: h.GetName()})
				note(client, attempt{false, err == nil}, call)
			}
		})
	}
	all.Wait()
	result, _ := porcupine.CheckOperationsVerbose(oneBed, history, 30*time.Second)
	if result != porcupine.Ok {
		t.Fatalf("%d operations: %s", len(history), result)
	}
	t.Logf("%d operations are linearizable", len(history))
}

// A shelter's address leaves only after its reading stands in the audit log.
func TestReadingAnAddressIsAudited(t *testing.T) {
	w := newWorld(t)
	w.create(t, "lahore", 1)
	w.readings = nil
	s, err := w.gateway.GetShelter(w.token("case-worker"), &shelterv1.GetShelterRequest{Name: "nodes/punjab/shelters/lahore"})
	if err != nil {
		t.Fatal(err)
	}
	if s.GetAddress() == "" || len(w.readings) != 1 || w.readings[0].Resources[0] != s.GetName() || w.readings[0].Person.GetPerson() != "nodes/punjab/workers/manager" {
		t.Fatalf("%v after %v", s, w.readings)
	}
}
