package rpc_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	identityv1 "amanat.example/proto/amanat/identity/v1"
	protectionv1 "amanat.example/proto/amanat/protection/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/rpc"
)

// root holds a node with real keys and certificates, made once.
var root string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if root, err = os.MkdirTemp("", "rpc"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(root) }()
		err = identity.InitNetwork(
			identity.Options{Root: root, Node: "sindh", Province: "PK-SD", Services: []string{"protection", "referral", "shelter", "gateway"}},
			identity.Options{Root: root, Node: "punjab", Province: "PK-PB", Services: []string{"referral", "gateway"}},
		)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		code := m.Run()
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}())
}

func load(t *testing.T, node, service string) *identity.Service {
	t.Helper()
	s, err := identity.Load(root, node, service)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// shelter answers with what a test gives it.
type shelter struct {
	shelterv1.UnimplementedShelterServiceServer
	placeHold func(context.Context, *shelterv1.PlaceHoldRequest) (*shelterv1.Hold, error)
	getHold   func(context.Context, *shelterv1.GetHoldRequest) (*shelterv1.Hold, error)
}

func (s *shelter) PlaceHold(ctx context.Context, request *shelterv1.PlaceHoldRequest) (*shelterv1.Hold, error) {
	return s.placeHold(ctx, request)
}

func (s *shelter) GetHold(ctx context.Context, request *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
	return s.getHold(ctx, request)
}

// protection answers with what a test gives it; its replies carry marked fields.
type protection struct {
	protectionv1.UnimplementedProtectionServiceServer
	createWorker func(context.Context, *protectionv1.CreateWorkerRequest) (*protectionv1.Worker, error)
	listWorkers  func(context.Context, *protectionv1.ListWorkersRequest) (*protectionv1.ListWorkersResponse, error)
}

func (p *protection) CreateWorker(ctx context.Context, request *protectionv1.CreateWorkerRequest) (*protectionv1.Worker, error) {
	return p.createWorker(ctx, request)
}

func (p *protection) ListWorkers(ctx context.Context, request *protectionv1.ListWorkersRequest) (*protectionv1.ListWorkersResponse, error) {
	return p.listWorkers(ctx, request)
}

// rows gives every method of a service the same row.
func rows(desc grpc.ServiceDesc, row rpc.Row) rpc.Policy {
	p := rpc.Policy{}
	for _, m := range desc.Methods {
		p["/"+desc.ServiceName+"/"+m.MethodName] = row
	}
	for _, m := range desc.Streams {
		p["/"+desc.ServiceName+"/"+m.StreamName] = row
	}
	return p
}

// served is a server at work.
type served struct {
	t      *testing.T
	addr   string
	admin  string
	log    *lines
	cancel context.CancelFunc
	ended  chan error
	once   sync.Once
	err    error
}

// stop ends the server and answers what Run returned.
func (s *served) stop() error {
	s.cancel()
	s.once.Do(func() { s.err = <-s.ended })
	return s.err
}

// dial connects to the server as another service of sindh.
func (s *served) dial(as, to string) *grpc.ClientConn {
	s.t.Helper()
	conn, err := rpc.Dial(s.addr, load(s.t, "sindh", as).ClientTLS(to))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve runs a server of sindh until the test ends; change may alter its configuration.
func serve(t *testing.T, service string, register func(grpc.ServiceRegistrar), change func(*rpc.Config)) *served {
	t.Helper()
	logger, log := newLogger(t)
	c := rpc.Config{Identity: load(t, "sindh", service), Log: logger, Policy: rpc.Policy{}}
	change(&c)
	server, err := rpc.NewServer(c)
	if err != nil {
		t.Fatal(err)
	}
	register(server)
	main, admin := listen(t), listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := &served{t: t, addr: main.Addr().String(), admin: "http://" + admin.Addr().String(), log: log, cancel: cancel, ended: make(chan error, 1)}
	go func() { s.ended <- server.Run(ctx, main, admin) }()
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Errorf("the server: %v", err)
		}
	})
	return s
}

// serveShelter runs a shelter service that protection and gateway may call.
func serveShelter(t *testing.T, impl *shelter, change ...func(*rpc.Config)) *served {
	t.Helper()
	return serve(t, "shelter", func(r grpc.ServiceRegistrar) { shelterv1.RegisterShelterServiceServer(r, impl) }, func(c *rpc.Config) {
		c.Policy = rows(shelterv1.ShelterService_ServiceDesc, rpc.Row{Callers: []string{"referral", "gateway"}})
		c.Audit = noAudit
		for _, f := range change {
			f(c)
		}
	})
}

func aRequest() *shelterv1.GetHoldRequest {
	return &shelterv1.GetHoldRequest{Name: "nodes/sindh/holds/0192f0a1-0000-7000-8000-000000000001"}
}

// token is a person token of sindh's gateway for shelter, altered by change.
func token(t *testing.T, change func(*identityv1.PersonToken)) []byte {
	t.Helper()
	p := &identityv1.PersonToken{
		Person: "nodes/sindh/workers/0192f0a1-0000-7000-8000-0000000000aa", Roles: []string{"shelter-manager"},
		Purpose: "casework", Audience: []string{"shelter"},
	}
	if change != nil {
		change(p)
	}
	raw, err := load(t, "sindh", "gateway").IssueToken(p)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// refused checks an error's code, reason, domain and that its sentence holds a text.
func refused(t *testing.T, err error, code codes.Code, reason, text string) *status.Status {
	t.Helper()
	st, _ := status.FromError(err)
	if st.Code() != code || !strings.Contains(st.Message(), text) {
		t.Fatalf("got %v: %q, want %v with %q", st.Code(), st.Message(), code, text)
	}
	if info := detail[*errdetails.ErrorInfo](st); info.GetReason() != reason || !strings.HasSuffix(info.GetDomain(), ".amanat") {
		t.Fatalf("got ErrorInfo %v, want reason %s", info, reason)
	}
	return st
}

func detail[D any](st *status.Status) (found D) {
	for _, d := range st.Details() {
		if d, ok := d.(D); ok {
			return d
		}
	}
	return found
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}
