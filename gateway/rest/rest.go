package rest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"amanat.example/gateway/limit"
	"amanat.example/gateway/session"
	gatewayv1 "amanat.example/proto/amanat/gateway/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/rpc"
)

const (
	// MaxBodyBytes is the largest body of a request.
	MaxBodyBytes = 1 << 20
	// maxCall is how long a call may last; less than the rest of a person token's life.
	maxCall = 30 * time.Second

	requestIDHeader = "X-Request-Id"
)

// requestIDs that are taken over from a client, as kit/rpc takes them.
var requestIDs = regexp.MustCompile(`^[0-9a-f-]{8,64}$`)

// Config of a handler. All but Dial are needed.
type Config struct {
	// Identity is the gateway's.
	Identity *identity.Service
	// Tokens are the API tokens that are let in.
	Tokens *session.Tokens
	// Services are the node's services to serve.
	Services []Service
	// Dial is for the connections to them, beside what kit/rpc sets; may be empty.
	Dial []grpc.DialOption
	// Log takes one line per request.
	Log *logging.Logger
	// Metrics takes the counters of requests.
	Metrics *prometheus.Registry
	// PerToken is how many requests a second one API token may send, with bursts of twice as many.
	PerToken int
	// Now is the clock.
	Now func() time.Time
}

// Handler serves `/v1/…`.
type Handler struct {
	mux      *runtime.ServeMux
	tokens   *session.Tokens
	issuer   *session.Issuer
	perToken *limit.Limiter[string]
	log      *logging.Logger
	metrics  *metrics
	now      func() time.Time
	conns    []*grpc.ClientConn
	names    []string
	tagKey   []byte // of the digests in entity tags; another with each start, which costs an answer that was not needed

	streams  streams
	draining context.Context
	// EndStreams ends those that are open, and all that are opened later: a server that drains would wait for them.
	EndStreams context.CancelFunc
}

// exchange is one request and what becomes known of it on its way.
type exchange struct {
	requestID string
	grant     *session.Grant
	rpc       string // full method name, once routed
	query     map[string][]string
	body      *body
	live      *live
	header    http.Header // as it came; headers.go and compress.go alone look at it
	safe      bool        // it only reads: GET or HEAD
	head      bool        // only the headers are wanted
	matched   bool        // it goes on only where an entity tag matches
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

// New connects to the services, in the background. Close it.
func New(ctx context.Context, c Config) (*Handler, error) {
	h := &Handler{
		tokens: c.Tokens, issuer: session.NewIssuer(c.Identity, c.Now), perToken: limit.New[string](c.PerToken), log: c.Log, now: c.Now,
	}
	h.streams.open = map[string]int{}
	h.tagKey = make([]byte, 32)
	_, _ = rand.Read(h.tagKey) // Never fails (crypto/rand).
	h.draining, h.EndStreams = context.WithCancel(context.WithoutCancel(ctx))
	var err error
	if h.metrics, err = newMetrics(c.Metrics); err != nil {
		return nil, err
	}
	none := func(string) (string, bool) { return "", false }
	h.mux = runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newMarshaler()),
		runtime.WithErrorHandler(h.onError),
		runtime.WithStreamErrorHandler(h.onStreamError),
		runtime.WithRoutingErrorHandler(h.onRoute),
		runtime.WithIncomingHeaderMatcher(none),
		runtime.WithOutgoingHeaderMatcher(none),
		runtime.WithOutgoingTrailerMatcher(none),
		runtime.WithForwardResponseOption(h.forward),
		runtime.WithMiddlewares(unlessAsked),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
	)
	for _, s := range c.Services {
		if err := h.connect(ctx, c, s); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	return h, nil
}

func (h *Handler) connect(ctx context.Context, c Config, s Service) error {
	conn, err := rpc.Dial(s.Address, c.Identity.ClientTLS(s.Name), append(slices.Clip(c.Dial), grpc.WithChainUnaryInterceptor(h.actFor(s.Name)), grpc.WithChainStreamInterceptor(h.watchFor(s.Name)))...)
	if err != nil {
		return err
	}
	h.conns, h.names = append(h.conns, conn), append(h.names, s.Name)
	register, ok := registrations[s.Name]
	if !ok {
		return errors.New("rest: there is no service " + s.Name)
	}
	return register(ctx, h.mux, conn)
}

// actFor makes a call to a service act for the person of the request.
func (h *Handler) actFor(service string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		x := exchangeOf(ctx)
		if x.grant == nil { // The gateway's own question, of health.
			return invoke(ctx, method, request, reply, conn, options...)
		}
		x.rpc = method
		if message, ok := request.(proto.Message); ok {
			if err := checkQuery(message.ProtoReflect().Descriptor(), x.query); err != nil {
				return err
			}
			if err := x.fill(message); err != nil {
				return err
			}
		}
		ctx, cancel := context.WithTimeout(ctx, maxCall)
		defer cancel()
		ctx, err := h.actingFor(ctx, x, service)
		if err != nil {
			return err
		}
		return invoke(ctx, method, request, reply, conn, options...)
	}
}

// actingFor is a context for a call that acts for the person of the request.
func (h *Handler) actingFor(ctx context.Context, x *exchange, service string) (context.Context, error) {
	token, err := h.issuer.Token(x.grant, service)
	if err != nil {
		return nil, err
	}
	// Made anew, so that nothing of the HTTP request goes along.
	ctx = metadata.NewOutgoingContext(ctx, metadata.Pairs(rpc.RequestIDKey, x.requestID))
	return rpc.WithPersonToken(ctx, token), nil
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.exchange(w, r, func(answer http.ResponseWriter, x *exchange) {
		if p := h.admit(answer, r, x); p != nil {
			h.refuse(answer, x, p)
			return
		}
		x.live = &live{ResponseWriter: answer}
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
		if r.Method == http.MethodHead {
			r.Method, x.head = http.MethodGet, true // the server sends no body for it
		}
		defer h.finish(x)
		h.mux.ServeHTTP(x.live, r)
	})
}

// exchange names a request, has it answered, and records what became of it; a panic is answered too.
func (h *Handler) exchange(w http.ResponseWriter, r *http.Request, serve func(http.ResponseWriter, *exchange)) {
	started := h.now()
	x := &exchange{
		requestID: r.Header.Get(requestIDHeader), query: r.URL.Query(), header: r.Header,
		safe: r.Method == http.MethodGet || r.Method == http.MethodHead,
	}
	if !requestIDs.MatchString(x.requestID) {
		x.requestID = uuid.NewString()
	}
	answer := &recorder{ResponseWriter: w}
	answer.Header().Set(requestIDHeader, x.requestID)
	answer.Header().Set("Cache-Control", "no-store")
	defer func() {
		if panicked := recover(); panicked != nil {
			h.log.Error("a request panicked", logging.Err(fault.Panic(panicked)), logging.ID("request", x.requestID))
			if answer.status == 0 {
				h.refuse(answer, x, newProblem(fault.Internal, http.StatusInternalServerError,
					"Something went wrong here. Tell the operator the request_id."))
			}
		}
		h.record(x, answer.status, h.now().Sub(started))
	}()
	serve(answer, x)
}

// admit judges who asks and whether the request can be read; nil when it can.
func (h *Handler) admit(w http.ResponseWriter, r *http.Request, x *exchange) *gatewayv1.Problem {
	refusal := func(reason fault.Reason, code int, sentence string, pairs ...string) *gatewayv1.Problem {
		return withStatus(code, fault.New(reason, sentence, pairs...))
	}
	var err error
	x.grant, err = h.tokens.Lookup(r.Header.Get("Authorization"), h.now())
	switch {
	case errors.Is(err, session.ErrMissing):
		return refusal(fault.Unauthenticated, http.StatusUnauthorized, "This needs an API token: send the header Authorization: Bearer <token>.", "token", "missing")
	case errors.Is(err, session.ErrUnknown):
		return refusal(fault.Unauthenticated, http.StatusUnauthorized, "This API token is not known at this node. Ask its operator for one.", "token", "unknown")
	case errors.Is(err, session.ErrExpired):
		return refusal(fault.Unauthenticated, http.StatusUnauthorized, "This API token has expired. Ask the node's operator for a new one.", "token", "expired")
	case err != nil:
		h.log.Error("the tokens file cannot be read", logging.Err(err))
		return refusal(fault.Unavailable, http.StatusServiceUnavailable, "Nobody can be let in at the moment. The node's operator is needed.")
	}
	if wait := h.perToken.Take(x.grant.Token, h.now()); wait > 0 {
		return ofFault(tooMany(w, wait))
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBodyBytes))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return refusal(fault.TooLarge, http.StatusRequestEntityTooLarge, "The body is larger than 1 MiB. Send less at once.")
	}
	if err != nil {
		return refusal(fault.Field, http.StatusBadRequest, "The body did not arrive whole.")
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if len(raw) > 0 && (err != nil || kind != "application/json") {
		return refusal(fault.Field, http.StatusUnsupportedMediaType, "The body must be JSON: send the header Content-Type: application/json.")
	}
	if !utf8.Valid(raw) {
		return refusal(fault.Field, http.StatusBadRequest, "The body must be valid UTF-8 text.")
	}
	for _, values := range x.query {
		for _, value := range values {
			if !utf8.ValidString(value) {
				return refusal(fault.Field, http.StatusBadRequest, "The query must be valid UTF-8 text.")
			}
		}
	}
	if !utf8.ValidString(r.URL.Path) {
		return refusal(fault.Field, http.StatusBadRequest, "The path must be valid UTF-8 text.")
	}
	x.body = &body{Reader: bytes.NewReader(raw)}
	r.Body = x.body
	return nil
}

// record counts the request and writes its one line. The line names what was called, never what
// was asked.
func (h *Handler) record(x *exchange, code int, took time.Duration) {
	h.metrics.add(x.rpc, code, took)
	if code == http.StatusTooManyRequests {
		return // Who asks too often does not fill the disk besides.
	}
	fields := []logging.Field{logging.Count("status", code), logging.Took(took.Round(time.Microsecond)), logging.ID("request", x.requestID)}
	if x.rpc != "" {
		fields = append(fields, logging.RPC(x.rpc))
	}
	if x.grant != nil {
		fields = append(fields, logging.Resource("person", x.grant.Person))
	}
	h.log.Info("request", fields...)
}

// Close ends the connections.
func (h *Handler) Close() (err error) {
	for _, conn := range h.conns {
		err = errors.Join(err, conn.Close())
	}
	return err
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(code int) {
	if r.status == 0 {
		r.status = code
	}
	r.ResponseWriter.WriteHeader(code)
}

func (r *recorder) Write(data []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(data)
}
