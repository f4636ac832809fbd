package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"amanat.example/gateway/limit"
	"amanat.example/gateway/pages"
	"amanat.example/gateway/rest"
	"amanat.example/gateway/session"
	federalv1 "amanat.example/proto/amanat/federal/v1"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/tracing"
)

const (
	maxHeaderBytes = 32 << 10
	drainTime      = 10 * time.Second

	defaultAddressRate = 100
	defaultTokenRate   = 50
)

// Service is the gateway, opened.
type Service struct {
	log             *logging.Logger
	identity        *identity.Service
	tokens          *session.Tokens
	rest            *rest.Handler
	site            *pages.Site
	tracing         *tracing.Tracing
	perAddress      *limit.Limiter[netip.Prefix]
	now             func() time.Time
	listener, admin net.Listener
	public, private *http.Server
	serving         atomic.Bool
}

// New loads the gateway's identity, connects to the services in the background, and listens.
// Close it, also after Run.
func New(ctx context.Context, c Config) (*Service, error) { return open(ctx, c, nil, time.Now) }

// open is New with another clock, and with its log going elsewhere than to standard error.
func open(ctx context.Context, c Config, output io.Writer, now func() time.Time) (_ *Service, err error) {
	s := &Service{
		tokens: session.Open(c.TokensPath()), now: now,
		perAddress: limit.New[netip.Prefix](cmp.Or(c.AddressRate, defaultAddressRate)),
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("gateway at %s does not start: %w", c.Node, err), s.Close())
		}
	}()
	if s.log, err = logging.New(logging.Options{Node: c.Node, Service: "gateway", Level: c.LogLevel, Output: output}); err != nil {
		return nil, err
	}
	if s.identity, err = identity.Load(c.Data, c.Node, "gateway"); err != nil {
		return nil, err
	}
	if err := s.tokens.Err(); err != nil {
		return nil, err
	}
	if s.tracing, err = tracing.Open(ctx, c.OTLPEndpoint, c.Node, "gateway", s.log); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	s.rest, err = rest.New(ctx, rest.Config{
		Identity: s.identity, Tokens: s.tokens, Services: c.services(), Log: s.log, Metrics: registry, Dial: s.tracing.Dial(),
		PerToken: cmp.Or(c.TokenRate, defaultTokenRate), Now: now,
	})
	if err != nil {
		return nil, err
	}
	sections := []pages.Section{pages.Services(s.rest.Health)}
	if federal := s.rest.Conn("federal"); federal != nil {
		sections = append(sections, pages.Nodes(federalv1.NewFiguresServiceClient(federal), now), pages.Funnel(federalv1.NewPublicationServiceClient(federal)))
	}
	if s.site, err = pages.New(c.Node, sections...); err != nil {
		return nil, err
	}
	if err := s.listen(c); err != nil {
		return nil, err
	}
	s.public = s.server(guard(http.HandlerFunc(s.route)))
	s.public.TLSConfig = s.identity.PublicTLS()
	s.public.RegisterOnShutdown(s.rest.EndStreams)
	s.private = s.server(s.adminPages(registry))
	return s, nil
}

func (s *Service) listen(c Config) (err error) {
	if s.listener, err = net.Listen("tcp", c.HTTPListen); err != nil {
		return err
	}
	if s.admin, err = net.Listen("tcp", c.Admin); err != nil {
		return err
	}
	if address, ok := s.admin.Addr().(*net.TCPAddr); !ok || !address.IP.IsLoopback() {
		return fmt.Errorf("admin address %s is not a loopback address: use 127.0.0.1", s.admin.Addr())
	}
	return nil
}

// server has the limits of time and size that hold for whoever connects.
func (s *Service) server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeaderBytes,
		// What net/http says is of handshakes that failed, with the addresses of strangers.
		ErrorLog: log.New(io.Discard, "", 0),
	}
}

// route finds who answers a request. What an address may send is judged before all else, and who
// it is by the connection alone: a header that names another address is anyone's to write.
func (s *Service) route(w http.ResponseWriter, r *http.Request) {
	if wait := s.perAddress.Take(limit.Address(r.RemoteAddr), s.now()); wait > 0 {
		s.rest.RefuseMany(w, r, wait)
		return
	}
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, "/v1/"):
		s.rest.ServeHTTP(w, r)
	case !s.site.Serves(path):
		s.rest.RefusePath(w, r)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		s.site.ServeHTTP(w, r)
	default:
		s.rest.RefusePath(w, r, http.MethodGet, http.MethodHead)
	}
}

// guard puts on every answer what keeps browsers strict.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Strict-Transport-Security", "max-age=31536000")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	})
}

// adminPages are those of kit/rpc's servers: /metrics, /healthz (the process answers), /readyz
// (it takes requests, and can read its tokens).
func (s *Service) adminPages(registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n") // The asker has gone; nothing to do.
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		err := s.tokens.Err()
		if !s.serving.Load() {
			err = errors.New("not serving: starting or draining")
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	return mux
}

// Address is where the gateway listens for HTTPS.
func (s *Service) Address() net.Addr { return s.listener.Addr() }

// AdminAddress is where /metrics, /healthz and /readyz are, on loopback, in plain HTTP.
func (s *Service) AdminAddress() net.Addr { return s.admin.Addr() }

// Run serves until ctx ends; then it lets the requests under way finish, and cuts them after ten
// seconds. The error says why it did not go on; stopping is none.
func (s *Service) Run(ctx context.Context) error {
	ended := make(chan error, 2)
	go func() { ended <- s.public.ServeTLS(s.listener, "", "") }()
	go func() { ended <- s.private.Serve(s.admin) }()
	s.serving.Store(true)
	s.log.Info("serving", logging.Address(s.listener.Addr()))

	var failed error
	running := 2
	select {
	case <-ctx.Done():
	case failed = <-ended:
		running--
	}
	s.serving.Store(false)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := s.public.Shutdown(drain); err != nil {
		s.log.Warn("requests under way were cut", logging.Err(err))
		_ = s.public.Close()
	}
	_ = s.private.Close()
	for range running {
		<-ended
	}
	if failed != nil && !errors.Is(failed, http.ErrServerClosed) {
		return fmt.Errorf("gateway: serve: %w", failed)
	}
	return nil
}

// Close closes the connections to the services and the listeners.
func (s *Service) Close() (err error) {
	for _, l := range []net.Listener{s.listener, s.admin} {
		if l != nil {
			_ = l.Close() // The server closes them itself when it ran.
		}
	}
	if s.rest != nil {
		err = s.rest.Close()
	}
	s.tracing.Close()
	return err
}
