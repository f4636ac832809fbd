package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/privacy"
)

// Limits of every server and client.
const (
	// MaxMessageBytes is the largest request and the largest reply, marshalled. A larger one is
	// refused with TOO_LARGE and the limit in the metadata; one above 4 MiB by grpc itself.
	MaxMessageBytes = 1 << 20
	// maxCalls is how many calls one connection may have under way.
	maxCalls = 4096
	// maxStream is how long a stream lives at most; its caller then opens it again and is
	// judged again, so that a right taken away ends within this time.
	maxStream = 5 * time.Minute

	defaultDeadline = 10 * time.Second
	defaultMaximum  = time.Minute
	defaultDrain    = 10 * time.Second
)

// Config of a server. Identity, Policy and Log are needed; all else has a good zero value.
type Config struct {
	// Identity is this service: its certificate, and how it knows peers and persons.
	Identity *identity.Service
	// Policy has a row for each method that is registered.
	Policy Policy
	// Log takes access lines and causes of internal errors.
	Log *logging.Logger
	// Audit records a reading before its reply leaves. Needed where a reply's type can carry
	// marked fields.
	Audit AuditFunc
	// Ready adds a reason why the service is not ready yet; nil for none. For /readyz.
	Ready func() error
	// Closed answers why nothing but early methods is served now; nil while all are. Nil for a service that is always open. It is
	// asked for every call. While it is closed /readyz says so.
	Closed func() error
	// Issuers are the services whose person tokens are taken; empty: the gateway.
	Issuers []string
	// Trace makes spans of the calls; nil for none.
	Trace stats.Handler
	// Metrics is where the server's metrics go and what /metrics shows; nil: one of its own.
	Metrics *prometheus.Registry
	// DefaultDeadline of a call that names none; 0: 10 s.
	DefaultDeadline time.Duration
	// MaxDeadline of a unary call; 0: 1 min. Streams end after 5 min.
	MaxDeadline time.Duration
	// ConnectionAge after which a connection takes no new calls; the client makes another. 0: 1 h.
	ConnectionAge time.Duration
	// DrainTimeout is how long calls under way may take to finish when the server stops; 0: 10 s.
	DrainTimeout time.Duration
	// Now is the clock for token expiry and durations; nil: time.Now.
	Now func() time.Time
}

// Server serves a service's methods. Register services on it, then [Server.Run] it once.
type Server struct {
	grpc     *grpc.Server
	health   *health.Server
	methods  []*method
	faults   []error // of registration, reported by Run
	identity *identity.Service
	service  string
	policy   Policy
	log      *logging.Logger
	audit    AuditFunc
	ready    func() error
	closed   func() error
	issuers  []string
	registry *prometheus.Registry
	metrics  *metrics
	rules    *rules
	now      func() time.Time

	defaultDeadline, maxDeadline, drainTimeout time.Duration

	serving  atomic.Bool
	draining context.Context // ends when draining begins
	drain    context.CancelFunc
}

// NewServer makes a server with health and reflection on it.
func NewServer(c Config) (*Server, error) {
	if c.Identity == nil || c.Log == nil {
		return nil, errors.New("rpc: Config needs an Identity and a Log")
	}
	s := &Server{
		identity: c.Identity, service: c.Identity.Name(), policy: c.Policy, log: c.Log,
		audit: c.Audit, ready: c.Ready, closed: c.Closed, registry: c.Metrics, now: c.Now,
		defaultDeadline: or(c.DefaultDeadline, defaultDeadline),
		maxDeadline:     or(c.MaxDeadline, defaultMaximum),
		drainTimeout:    or(c.DrainTimeout, defaultDrain),
		issuers:         c.Issuers,
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.registry == nil {
		s.registry = prometheus.NewRegistry()
	}
	if len(s.issuers) == 0 {
		s.issuers = []string{"gateway"}
	}
	var err error
	if s.metrics, err = newMetrics(s.registry); err != nil {
		return nil, fmt.Errorf("rpc: metrics: %w", err)
	}
	s.draining, s.drain = context.WithCancel(context.Background())
	options := []grpc.ServerOption{
		grpc.Creds(credentials.NewTLS(c.Identity.ServerTLS())),
		grpc.ForceServerCodecV2(newCodec()),
		grpc.MaxRecvMsgSize(transportBytes), // The codec refuses what is above MaxMessageBytes.
		grpc.MaxConcurrentStreams(maxCalls),
		grpc.MaxHeaderListSize(32 << 10),
		grpc.ConnectionTimeout(10 * time.Second),
		// A peer that has silently gone is noticed within 30 s; idle clients may ping as often.
		// A connection ends after its age, so that it never long outlives the certificates it was made with.
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time: 20 * time.Second, Timeout: 10 * time.Second,
			MaxConnectionAge: or(c.ConnectionAge, time.Hour), MaxConnectionAgeGrace: maxStream,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
	}
	if c.Trace != nil {
		options = append(options, grpc.StatsHandler(c.Trace))
	}
	s.grpc = grpc.NewServer(options...)
	s.health = health.NewServer()
	s.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	healthv1.RegisterHealthServer(s, s.health)
	reflection.Register(s)
	return s, nil
}

func or(given, usual time.Duration) time.Duration {
	if given > 0 {
		return given
	}
	return usual
}

// RegisterService adds a service; generated code calls it (`RegisterReferralServiceServer(s, impl)`).
// What is wrong with it is reported by [Server.Run].
func (s *Server) RegisterService(desc *grpc.ServiceDesc, impl any) {
	wrapped := *desc
	wrapped.Methods = nil
	wrapped.Streams = nil
	for _, m := range desc.Methods {
		if known := s.describe(desc.ServiceName, m.MethodName, false); known != nil {
			wrapped.Methods = append(wrapped.Methods, grpc.MethodDesc{MethodName: m.MethodName, Handler: known.unary(m.Handler)})
		}
	}
	for _, m := range desc.Streams {
		if known := s.describe(desc.ServiceName, m.StreamName, true); known != nil {
			m.Handler = known.streaming(m.Handler)
			wrapped.Streams = append(wrapped.Streams, m)
		}
	}
	s.grpc.RegisterService(&wrapped, impl)
}

// GetServiceInfo lists what is served, for reflection.
func (s *Server) GetServiceInfo() map[string]grpc.ServiceInfo { return s.grpc.GetServiceInfo() }

// describe notes a method under its descriptor, without which its messages cannot be judged.
func (s *Server) describe(service, name string, stream bool) *method {
	full := "/" + service + "/" + name
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service + "." + name))
	descriptor, ok := found.(protoreflect.MethodDescriptor)
	if err != nil || !ok {
		s.faults = append(s.faults, fmt.Errorf("rpc: %s has no descriptor", full))
		return nil
	}
	_, stock := stockPolicy[full]
	m := &method{
		server: s, name: full, logged: logging.RPC(full), stock: stock, stream: stream, descriptor: descriptor,
		audited: privacy.Marked(descriptor.Output()),
	}
	s.methods = append(s.methods, m)
	return m
}

// check finds what keeps the server from starting.
func (s *Server) check() (err error) {
	if len(s.faults) > 0 {
		return errors.Join(s.faults...)
	}
	if err := s.policy.cover(s.methods); err != nil {
		return err
	}
	for _, m := range s.methods {
		if m.audited && s.audit == nil {
			return fmt.Errorf("rpc: %s answers with %s, which can carry marked fields: Config needs an Audit",
				m.name, m.descriptor.Output().FullName())
		}
	}
	s.rules, err = newRules(s.methods)
	return err
}

// Run serves on listener, and the operator's pages on admin (nil: none), until ctx ends; then
// it drains: health and readiness turn first, streams are ended, calls under way finish, and
// those that have not after the drain timeout are cut. It closes both listeners. The error says
// why the server did not start or did not go on; draining is none.
func (s *Server) Run(ctx context.Context, listener, admin net.Listener) error {
	defer func() { _ = listener.Close() }() // Closed already where the server has served.
	if admin != nil {
		defer func() { _ = admin.Close() }()
		if err := onLoopback(admin); err != nil {
			return err
		}
	}
	if err := s.check(); err != nil {
		return err
	}
	ended := make(chan error, 2)
	running := 1
	go func() { ended <- s.grpc.Serve(listener) }()
	var pages *http.Server
	if admin != nil {
		running++
		pages = s.newAdmin()
		go func() { ended <- pages.Serve(admin) }()
	}
	s.setServing(true)

	var failed error
	select {
	case <-ctx.Done():
	case failed = <-ended:
		running--
	}
	s.setServing(false)
	s.drain()
	s.stop()
	if pages != nil {
		_ = pages.Close()
	}
	for range running {
		<-ended
	}
	if failed != nil && !errors.Is(failed, http.ErrServerClosed) {
		return fmt.Errorf("rpc: serve: %w", failed)
	}
	return nil
}

// stop lets calls under way finish, and cuts them after the drain timeout.
func (s *Server) stop() {
	cut := time.AfterFunc(s.drainTimeout, s.grpc.Stop)
	defer cut.Stop()
	s.grpc.GracefulStop()
}

func (s *Server) setServing(serving bool) {
	s.serving.Store(serving)
	if !serving {
		s.health.Shutdown()
		return
	}
	s.health.SetServingStatus("", healthv1.HealthCheckResponse_SERVING)
	for _, m := range s.methods {
		name := strings.TrimPrefix(m.name, "/")
		s.health.SetServingStatus(name[:strings.IndexByte(name, '/')], healthv1.HealthCheckResponse_SERVING)
	}
}
