package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"

	"amanat.example/gateway/session"
	gatewayv1 "amanat.example/proto/amanat/gateway/v1"
	referralv1 "amanat.example/proto/amanat/referral/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/rpc"
)

const (
	holdName  = "nodes/sindh/holds/0192f0a1-0000-7000-8000-000000000001"
	groupPath = "/v1/nodes/sindh/shelters/karachi-girls/groups/girls-6-12:placeHold"
	worker    = "nodes/sindh/workers/0192f0a1-0000-7000-8000-0000000000aa"
	goodHold  = `{"quantity":1,"needs":{"gender":"FEMALE","age_from":9,"age_to":9},"request_id":"request-1"}`
)

// root holds a node with real keys and certificates, made once.
var root string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if root, err = os.MkdirTemp("", "gateway"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(root) }()
		err = identity.InitNetwork(identity.Options{
			Root: root, Node: "sindh", Province: "PK-SD", Services: []string{"protection", "referral", "shelter", "federal", "gateway"},
		})
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

// shelter answers with what a test gives it.
type shelter struct {
	shelterv1.UnimplementedShelterServiceServer
	create func(context.Context, *shelterv1.CreateShelterRequest) (*shelterv1.Shelter, error)
	place  func(context.Context, *shelterv1.PlaceHoldRequest) (*shelterv1.Hold, error)
	get    func(context.Context, *shelterv1.GetHoldRequest) (*shelterv1.Hold, error)
	list   func(context.Context, *shelterv1.ListSheltersRequest) (*shelterv1.ListSheltersResponse, error)
	stays  func(context.Context, *shelterv1.ListStaysRequest) (*shelterv1.ListStaysResponse, error)
	close  func(context.Context, *shelterv1.SuspendShelterRequest) (*shelterv1.Shelter, error)
	update func(context.Context, *shelterv1.UpdateShelterRequest) (*shelterv1.Shelter, error)
	watch  func(*shelterv1.WatchCapacityRequest, grpc.ServerStreamingServer[shelterv1.CapacityChange]) error
}

func (s *shelter) WatchCapacity(r *shelterv1.WatchCapacityRequest, stream grpc.ServerStreamingServer[shelterv1.CapacityChange]) error {
	return s.watch(r, stream)
}

func (s *shelter) ListStays(ctx context.Context, r *shelterv1.ListStaysRequest) (*shelterv1.ListStaysResponse, error) {
	return s.stays(ctx, r)
}

func (s *shelter) SuspendShelter(ctx context.Context, r *shelterv1.SuspendShelterRequest) (*shelterv1.Shelter, error) {
	return s.close(ctx, r)
}

func (s *shelter) UpdateShelter(ctx context.Context, r *shelterv1.UpdateShelterRequest) (*shelterv1.Shelter, error) {
	return s.update(ctx, r)
}

func (s *shelter) CreateShelter(ctx context.Context, r *shelterv1.CreateShelterRequest) (*shelterv1.Shelter, error) {
	return s.create(ctx, r)
}

func (s *shelter) PlaceHold(ctx context.Context, r *shelterv1.PlaceHoldRequest) (*shelterv1.Hold, error) {
	return s.place(ctx, r)
}

func (s *shelter) GetHold(ctx context.Context, r *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
	return s.get(ctx, r)
}

func (s *shelter) ListShelters(ctx context.Context, r *shelterv1.ListSheltersRequest) (*shelterv1.ListSheltersResponse, error) {
	return s.list(ctx, r)
}

func load(t testing.TB, service string) *identity.Service {
	t.Helper()
	s, err := identity.Load(root, "sindh", service)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// referral tells whoever watches what a test gives it.
type referral struct {
	referralv1.UnimplementedReferralServiceServer
	watch func(*referralv1.WatchReferralsRequest, grpc.ServerStreamingServer[referralv1.ReferralNews]) error
}

func (r *referral) WatchReferrals(q *referralv1.WatchReferralsRequest, stream grpc.ServerStreamingServer[referralv1.ReferralNews]) error {
	return r.watch(q, stream)
}

func serveShelter(t testing.TB, impl *shelter) (address string, stop func()) {
	t.Helper()
	return serve(t, "shelter", func(s *rpc.Server) { shelterv1.RegisterShelterServiceServer(s, impl) }, &shelterv1.ShelterService_ServiceDesc)
}

// serve runs a real gRPC server that asks for the role shelter-manager.
func serve(t testing.TB, name string, register func(*rpc.Server), services ...*grpc.ServiceDesc) (address string, stop func()) {
	t.Helper()
	policy := rpc.Policy{}
	row := rpc.Row{Callers: []string{"gateway"}, Roles: []string{"shelter-manager"}}
	for _, service := range services {
		for _, m := range service.Methods {
			policy["/"+service.ServiceName+"/"+m.MethodName] = row
		}
		for _, m := range service.Streams {
			policy["/"+service.ServiceName+"/"+m.StreamName] = row
		}
	}
	server, err := rpc.NewServer(rpc.Config{
		Identity: load(t, name), Policy: policy, Log: logging.Discard(),
		Audit: func(context.Context, rpc.Reading) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	register(server)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String(), running(t, func(ctx context.Context) error { return server.Run(ctx, listener, nil) })
}

// running runs until the test or stop ends it.
func running(t testing.TB, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("did not stop well: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// door is a gateway at work with a client of it.
type door struct {
	t       testing.TB
	client  *http.Client
	url     string
	admin   string
	tokens  string // path
	log     *lines
	stop    func()
	token   string                    // of a shelter manager
	stopped atomic.Pointer[time.Time] // where the gateway's clock stands still
}

func (d *door) now() time.Time {
	if t := d.stopped.Load(); t != nil {
		return *t
	}
	return time.Now()
}

// stopClock stands the gateway's clock still, after now.
func (d *door) stopClock(after time.Duration) {
	t := d.now().Add(after)
	d.stopped.Store(&t)
}

// openDoor runs a gateway before a shelter service.
func openDoor(t testing.TB, impl *shelter, change ...func(*Config)) *door {
	t.Helper()
	d := &door{t: t, log: &lines{}, tokens: filepath.Join(t.TempDir(), "tokens.json")}
	c := Config{Data: root, Node: "sindh", Admin: "127.0.0.1:0", HTTPListen: "127.0.0.1:0", TokensFile: d.tokens}
	if impl != nil {
		c.ShelterAddress, _ = serveShelter(t, impl)
	}
	for _, f := range change {
		f(&c)
	}
	s, err := open(t.Context(), c, d.log, d.now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	d.stop = running(t, s.Run)
	d.url, d.admin = "https://"+s.Address().String(), "http://"+s.AdminAddress().String()
	authority, err := os.ReadFile(identity.CACertificatePath(root, "sindh"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	d.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}}
	t.Cleanup(d.client.CloseIdleConnections)
	d.token = d.grant(session.Grant{Roles: []string{"shelter-manager"}})
	return d
}

// grant makes an API token; what is not given is usual.
func (d *door) grant(g session.Grant) string {
	d.t.Helper()
	g.Person, g.Purpose = worker, "casework"
	if g.ExpireTime.IsZero() {
		g.ExpireTime = time.Now().Add(time.Hour)
	}
	secret, err := session.Create(d.tokens, g, time.Time{})
	if err != nil {
		d.t.Fatal(err)
	}
	return secret
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) problem(t testing.TB) *gatewayv1.Problem {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("content type %q of %d: %s", got, a.status, a.body)
	}
	p := &gatewayv1.Problem{}
	if err := protojson.Unmarshal(a.body, p); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	if int(p.Status) != a.status || p.RequestId == "" || p.RequestId != a.header.Get("X-Request-Id") || p.Type == "" || p.Title == "" || p.Detail == "" || p.Domain == "" {
		t.Fatalf("a member of the problem is missing or wrong: %s", a.body)
	}
	return p
}

// ask sends a request with the door's token, and header lines over it (`Name: value`; an empty
// value takes the header away, an empty line is none).
func (d *door) ask(method, path, body string, header ...string) answer {
	d.t.Helper()
	request, err := http.NewRequestWithContext(d.t.Context(), method, d.url+path, strings.NewReader(body))
	if err != nil {
		d.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+d.token)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, line := range header {
		if line == "" {
			continue
		}
		name, value, _ := strings.Cut(line, ": ")
		request.Header.Set(name, value)
		if value == "" {
			request.Header.Del(name)
		}
	}
	return d.send(request)
}

func (d *door) send(request *http.Request) answer {
	d.t.Helper()
	response, err := d.client.Do(request)
	if err != nil {
		d.t.Fatal(err)
	}
	return readAll(d.t, response)
}

func readAll(t testing.TB, response *http.Response) answer {
	t.Helper()
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, raw}
}

// lines is a log that a test reads.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}
