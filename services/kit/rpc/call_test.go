package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/encoding"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	protectionv1 "amanat.example/proto/amanat/protection/v1"
	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/store"
)

const secret = "Gul Bibi, daughter of Haji Noor"

func listenOn(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// answering serves a GetHold that does what a test gives it, to the gateway.
func answering(t *testing.T, handle func(context.Context) (*shelterv1.Hold, error), change ...func(*rpc.Config)) (*served, shelterv1.ShelterServiceClient) {
	t.Helper()
	s := serveShelter(t, &shelter{getHold: func(ctx context.Context, _ *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) { return handle(ctx) }}, change...)
	return s, shelterv1.NewShelterServiceClient(s.dial("gateway", "shelter"))
}

func TestUnknownErrorHidesItsCause(t *testing.T) {
	s, client := answering(t, func(context.Context) (*shelterv1.Hold, error) {
		return nil, fmt.Errorf("bucket holds: page 17 is torn")
	})
	_, err := client.GetHold(t.Context(), aRequest())
	st := refused(t, err, codes.Internal, "REASON_INTERNAL", "Tell the operator this error's id")
	id := detail[*errdetails.ErrorInfo](st).GetMetadata()["error_id"]
	if strings.Contains(st.String(), "torn") || len(id) != 16 || !strings.Contains(st.Message(), id) {
		t.Errorf("got %v", st)
	}
	if line := s.log.with(t, id); !strings.Contains(line, "page 17 is torn") {
		t.Errorf("the log does not hold the cause: %s", line)
	}
}

func TestPanicEndsItsCallAlone(t *testing.T) {
	panics := true
	s, client := answering(t, func(context.Context) (*shelterv1.Hold, error) {
		if panics {
			panic("index out of range")
		}
		return &shelterv1.Hold{}, nil
	})
	_, err := client.GetHold(t.Context(), aRequest())
	st := refused(t, err, codes.Internal, "REASON_INTERNAL", "id")
	if strings.Contains(st.String(), "index out of range") {
		t.Errorf("the panic's text left: %v", st)
	}
	if line := s.log.with(t, detail[*errdetails.ErrorInfo](st).GetMetadata()["error_id"]); !strings.Contains(line, "panic: a string") || !strings.Contains(line, "call_test.go") {
		t.Errorf("the log does not hold the stack: %s", line)
	}
	panics = false
	if _, err := client.GetHold(t.Context(), aRequest()); err != nil {
		t.Errorf("the call after a panic: %v", err)
	}
}

func TestErrorsOfUseCases(t *testing.T) {
	var give error
	_, client := answering(t, func(context.Context) (*shelterv1.Hold, error) { return nil, give })
	for name, c := range map[string]struct {
		give   error
		code   codes.Code
		reason string
		text   string
	}{
		"refusal":   {fault.New(fault.NoCapacity, "No bed is free.", "group", "girls-6-12"), codes.FailedPrecondition, "REASON_NO_CAPACITY", "No bed is free."},
		"wrapped":   {fmt.Errorf("place: %w", fault.StaleEtag()), codes.Aborted, "REASON_STALE_ETAG", "Read it again"},
		"not found": {fault.NotFound("hold"), codes.NotFound, "REASON_NOT_FOUND", "no such hold"},
		"no row":    {fmt.Errorf("holds: %w", store.ErrNotFound), codes.NotFound, "REASON_NOT_FOUND", "no such"},
		"store":     {fmt.Errorf("update: %w", store.ErrFatal), codes.Unavailable, "REASON_UNAVAILABLE", "store"},
		"cancelled": {context.Canceled, codes.Internal, "REASON_INTERNAL", "id"},
		"too slow":  {fmt.Errorf("ask the hub: %w", context.DeadlineExceeded), codes.Unavailable, "REASON_UNAVAILABLE", "does not answer"},
		"away":      {status.Error(codes.Unavailable, "connection refused"), codes.Unavailable, "REASON_UNAVAILABLE", "does not answer"},
		"field":     {fault.InvalidField("expire_time", "must lie ahead"), codes.InvalidArgument, "REASON_INVALID_FIELD", "Field expire_time: must lie ahead."},
	} {
		t.Run(name, func(t *testing.T) {
			give = c.give
			_, err := client.GetHold(t.Context(), aRequest())
			st := refused(t, err, c.code, c.reason, c.text)
			if domain := detail[*errdetails.ErrorInfo](st).GetDomain(); domain != "shelter.amanat" {
				t.Errorf("domain %q", domain)
			}
			if name == "refusal" {
				if got := rpc.Fault(err); got.Reason() != fault.NoCapacity || got.Metadata()["group"] != "girls-6-12" || got.Sentence() != "No bed is free." {
					t.Errorf("read back: %v", got)
				}
			}
			if name == "field" {
				want := []fault.Violation{{Field: "expire_time", Sentence: "must lie ahead"}}
				if got := rpc.Fault(err).Fields(); !slices.Equal(got, want) {
					t.Errorf("read back: %v", got)
				}
			}
		})
	}
}

func TestANeighboursRefusalIsPassedOn(t *testing.T) {
	_, far := answering(t, func(context.Context) (*shelterv1.Hold, error) {
		return nil, fault.New(fault.HoldEnded, "The hold has ended.")
	})
	_, near := answering(t, func(ctx context.Context) (*shelterv1.Hold, error) { return far.GetHold(ctx, aRequest()) })
	_, err := near.GetHold(t.Context(), aRequest())
	refused(t, err, codes.FailedPrecondition, "REASON_HOLD_ENDED", "The hold has ended.")
}

func TestFaultOfErrorsThatAreNotOurs(t *testing.T) {
	if rpc.Fault(nil) != nil {
		t.Error("nil became a fault")
	}
	if got := rpc.Fault(context.DeadlineExceeded).Reason(); got != fault.Unavailable {
		t.Errorf("a deadline: %v", got)
	}
	if got := rpc.Fault(errors.New("odd")).Reason(); got != fault.Internal {
		t.Errorf("anything: %v", got)
	}
}

func TestDeadlines(t *testing.T) {
	var left time.Duration
	_, client := answering(t, func(ctx context.Context) (*shelterv1.Hold, error) {
		deadline, _ := ctx.Deadline()
		left = time.Until(deadline)
		return &shelterv1.Hold{}, nil
	}, func(c *rpc.Config) { c.DefaultDeadline, c.MaxDeadline = 3*time.Minute, time.Hour })
	if _, err := client.GetHold(t.Context(), aRequest()); err != nil || left <= time.Minute || left > 3*time.Minute {
		t.Errorf("without a deadline: %v left, %v", left, err)
	}
	long, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	defer cancel()
	if _, err := client.GetHold(long, aRequest()); err != nil || left <= 30*time.Minute || left > time.Hour {
		t.Errorf("with too long a deadline: %v left, %v", left, err)
	}
	short, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	if _, err := client.GetHold(short, aRequest()); err != nil || left > 20*time.Minute || left <= 10*time.Minute {
		t.Errorf("with a deadline of its own: %v left, %v", left, err)
	}
}

func TestACallEndsWithItsDefaultDeadline(t *testing.T) {
	_, client := answering(t, func(ctx context.Context) (*shelterv1.Hold, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("wait: %w", ctx.Err())
	}, func(c *rpc.Config) { c.DefaultDeadline = 10 * time.Millisecond })
	_, err := client.GetHold(t.Context(), aRequest())
	refused(t, err, codes.DeadlineExceeded, "REASON_UNAVAILABLE", "request_id")
}

func TestRequestID(t *testing.T) {
	s, client := answering(t, func(ctx context.Context) (*shelterv1.Hold, error) {
		return &shelterv1.Hold{Name: rpc.RequestID(ctx)}, nil
	})
	call := func(given string) (seen, header string) {
		ctx := t.Context()
		if given != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, rpc.RequestIDKey, given)
		}
		var md metadata.MD
		hold, err := client.GetHold(ctx, aRequest(), grpc.Header(&md))
		if err != nil || len(md.Get(rpc.RequestIDKey)) != 1 {
			t.Fatal(err, md)
		}
		return hold.GetName(), md.Get(rpc.RequestIDKey)[0]
	}
	if seen, header := call("feed-0017-cafe"); seen != "feed-0017-cafe" || header != seen {
		t.Errorf("given: %q, %q", seen, header)
	}
	s.log.with(t, "feed-0017-cafe")
	made := regexp.MustCompile(`^[0-9a-f-]{36}$`)
	if seen, header := call(""); !made.MatchString(seen) || header != seen {
		t.Errorf("made: %q, %q", seen, header)
	}
	if seen, _ := call(`x" code="OK`); !made.MatchString(seen) {
		t.Errorf("one that is not well-formed was taken over: %q", seen)
	}

	_, near := answering(t, func(ctx context.Context) (*shelterv1.Hold, error) { return client.GetHold(ctx, aRequest()) })
	ctx := metadata.AppendToOutgoingContext(t.Context(), rpc.RequestIDKey, "0b-07-11-ee-ee")
	if hold, err := near.GetHold(ctx, aRequest()); err != nil || hold.GetName() != "0b-07-11-ee-ee" {
		t.Errorf("forwarded: %v, %v", hold, err)
	}
}

// rawCodec sends bytes as they are, such as no proto library would write.
type rawCodec struct{ encoding.Codec }

func (rawCodec) Marshal(v any) ([]byte, error)      { return v.([]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { return proto.Unmarshal(data, v.(proto.Message)) }
func (rawCodec) Name() string                       { return "proto" }

// serveProtection runs a protection service that the gateway may call.
func serveProtection(t *testing.T, impl *protection, audit rpc.AuditFunc) *served {
	t.Helper()
	return serve(t, "protection", func(r grpc.ServiceRegistrar) { protectionv1.RegisterProtectionServiceServer(r, impl) }, func(c *rpc.Config) {
		c.Policy = rows(protectionv1.ProtectionService_ServiceDesc, rpc.Row{Callers: []string{"gateway"}})
		c.Audit = audit
	})
}

func noAudit(context.Context, rpc.Reading) error { return nil }

func aWorker() *protectionv1.CreateWorkerRequest {
	return &protectionv1.CreateWorkerRequest{
		Parent: "nodes/sindh", WorkerId: "amna",
		Worker: &protectionv1.Worker{Unit: "nodes/sindh/units/hub", DisplayName: "Amna", Phone: "+923001234567", Roles: []string{"case-worker"}},
	}
}

func TestInvalidFields(t *testing.T) {
	s := serveProtection(t, &protection{createWorker: func(context.Context, *protectionv1.CreateWorkerRequest) (*protectionv1.Worker, error) {
		return &protectionv1.Worker{}, nil
	}}, noAudit)
	conn := s.dial("gateway", "protection")
	client := protectionv1.NewProtectionServiceClient(conn)
	if _, err := client.CreateWorker(t.Context(), aWorker()); err != nil {
		t.Fatalf("a valid request: %v", err)
	}
	wrong := aWorker()
	wrong.Worker.Phone = secret
	wrong.Worker.DisplayName = strings.Repeat(secret, 20)
	wrong.Worker.Unit = "the unit of " + secret
	_, err := client.CreateWorker(t.Context(), wrong)
	st := refused(t, err, codes.InvalidArgument, "REASON_INVALID_FIELD", "worker.")
	var fields []string
	for _, v := range detail[*errdetails.BadRequest](st).GetFieldViolations() {
		fields = append(fields, v.GetField())
	}
	slices.Sort(fields)
	if want := []string{"worker.display_name", "worker.phone", "worker.unit"}; !slices.Equal(fields, want) {
		t.Errorf("fields %v, want %v", fields, want)
	}
	if strings.Contains(st.String(), "Gul") {
		t.Errorf("the error repeats a value: %v", st)
	}
	if s.log.contain("Gul") {
		t.Error("the log repeats a value")
	}
}

func TestTextThatIsNotUTF8(t *testing.T) {
	called := false
	s := serveProtection(t, &protection{createWorker: func(context.Context, *protectionv1.CreateWorkerRequest) (*protectionv1.Worker, error) {
		called = true
		return &protectionv1.Worker{}, nil
	}}, noAudit)
	conn := s.dial("gateway", "protection")
	send := func(request proto.Message, old, new string) error {
		raw, err := proto.Marshal(request)
		if err != nil {
			t.Fatal(err)
		}
		raw = []byte(strings.Replace(string(raw), old, new, 1))
		//nolint:staticcheck // The raw codec is what sends bytes that are not valid.
		return conn.Invoke(t.Context(), protectionv1.ProtectionService_CreateWorker_FullMethodName, raw, &protectionv1.Worker{}, grpc.ForceCodec(rawCodec{}))
	}
	st := refused(t, send(aWorker(), "Amna", "Am\xffa"), codes.InvalidArgument, "REASON_INVALID_FIELD", "worker.display_name: must be valid UTF-8")
	if violations := detail[*errdetails.BadRequest](st).GetFieldViolations(); len(violations) != 1 || violations[0].GetField() != "worker.display_name" {
		t.Errorf("got %v", violations)
	}
	refused(t, send(aWorker(), "case-worker", "case-w\xffrker"), codes.InvalidArgument, "REASON_INVALID_FIELD", "worker.roles[0]")
	refused(t, send(aWorker(), "\x0a\x0bnodes/sindh", "\x0a\xff"), codes.InvalidArgument, "REASON_INVALID_FIELD", "not a well-formed amanat.protection.v1.CreateWorkerRequest")
	if called {
		t.Error("the handler was called")
	}
	// Who may not call learns nothing of what is wrong with the request.
	other := s.dial("shelter", "protection")
	//nolint:staticcheck // As above.
	err := other.Invoke(t.Context(), protectionv1.ProtectionService_CreateWorker_FullMethodName, []byte("\x0a\xff"), &protectionv1.Worker{}, grpc.ForceCodec(rawCodec{}))
	refused(t, err, codes.PermissionDenied, "REASON_NOT_ALLOWED", "may not call")
}

// What no rule and no mark of this program is for is not taken.
func TestFieldsThatAreNotKnownAreDropped(t *testing.T) {
	var got *protectionv1.CreateWorkerRequest
	s := serveProtection(t, &protection{createWorker: func(_ context.Context, r *protectionv1.CreateWorkerRequest) (*protectionv1.Worker, error) {
		got = r
		return &protectionv1.Worker{}, nil
	}}, noAudit)
	request := aWorker()
	request.Worker.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 9999, protowire.BytesType), secret))
	if _, err := protectionv1.NewProtectionServiceClient(s.dial("gateway", "protection")).CreateWorker(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, aWorker()) {
		t.Errorf("the handler got %v", got)
	}
}

func TestAnAuditRowPrecedesAMarkedReply(t *testing.T) {
	var readings []rpc.Reading
	var fail error
	impl := &protection{listWorkers: func(context.Context, *protectionv1.ListWorkersRequest) (*protectionv1.ListWorkersResponse, error) {
		return &protectionv1.ListWorkersResponse{Workers: []*protectionv1.Worker{
			{Name: "nodes/sindh/workers/a", DisplayName: secret}, {Name: "nodes/sindh/workers/b", DisplayName: "Amna"},
		}}, nil
	}}
	s := serveProtection(t, impl, func(_ context.Context, reading rpc.Reading) error {
		readings = append(readings, reading)
		return fail
	})
	client := protectionv1.NewProtectionServiceClient(s.dial("gateway", "protection"))
	ask := &protectionv1.ListWorkersRequest{Parent: "nodes/sindh"}
	reply, err := client.ListWorkers(t.Context(), ask)
	if err != nil || len(reply.GetWorkers()) != 2 {
		t.Fatal(reply, err)
	}
	if len(readings) != 1 || readings[0].Caller != "gateway" || readings[0].Method != protectionv1.ProtectionService_ListWorkers_FullMethodName ||
		!slices.Equal(readings[0].Resources, []string{"nodes/sindh/workers/a", "nodes/sindh/workers/b"}) {
		t.Errorf("got %+v", readings)
	}
	fail = errors.New("no space left")
	reply, err = client.ListWorkers(t.Context(), ask)
	refused(t, err, codes.Internal, "REASON_INTERNAL", "id")
	if len(reply.GetWorkers()) != 0 {
		t.Error("a reply left without its audit row")
	}
	if s.log.contain("Gul") {
		t.Error("the log holds what was read")
	}
}

func page(t *testing.T, url string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	reply, err := client.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = reply.Body.Close() }()
	body, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply.StatusCode, string(body)
}

func TestMetricsAndReadiness(t *testing.T) {
	var notReady error
	s, client := answering(t, func(context.Context) (*shelterv1.Hold, error) { return &shelterv1.Hold{}, nil }, func(c *rpc.Config) {
		c.Ready = func() error { return notReady }
	})
	if _, err := client.GetHold(t.Context(), aRequest()); err != nil {
		t.Fatal(err)
	}
	if _, err := client.GetHold(t.Context(), &shelterv1.GetHoldRequest{Name: "x"}); err == nil {
		t.Fatal("an invalid request passed")
	}
	_, body := page(t, s.admin+"/metrics")
	for _, want := range []string{
		`amanat_rpc_handled_total{code="OK",method="/amanat.shelter.v1.ShelterService/GetHold"} 1`,
		`amanat_rpc_handled_total{code="InvalidArgument",method="/amanat.shelter.v1.ShelterService/GetHold"} 1`,
		`amanat_rpc_in_flight{method="/amanat.shelter.v1.ShelterService/GetHold"} 0`,
		`amanat_rpc_seconds_count{method="/amanat.shelter.v1.ShelterService/GetHold"} 2`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if code, _ := page(t, s.admin+"/readyz"); code != http.StatusOK {
		t.Errorf("readyz %d", code)
	}
	notReady = errors.New("waiting for the list of live offers")
	if code, body := page(t, s.admin+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "list of live offers") {
		t.Errorf("readyz %d %q", code, body)
	}
	if code, _ := page(t, s.admin+"/healthz"); code != http.StatusOK {
		t.Errorf("healthz %d", code)
	}
}

func TestDrainFinishesCallsUnderWay(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	s, client := answering(t, func(context.Context) (*shelterv1.Hold, error) {
		close(begun)
		<-release
		return &shelterv1.Hold{Name: "done"}, nil
	}, func(c *rpc.Config) { c.DrainTimeout = time.Minute })
	type answer struct {
		hold *shelterv1.Hold
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		hold, err := client.GetHold(t.Context(), aRequest())
		answers <- answer{hold, err}
	}()
	<-begun
	s.cancel()
	eventually(t, "not ready while draining", func() bool {
		code, _ := page(t, s.admin+"/readyz")
		return code == http.StatusServiceUnavailable
	})
	select {
	case err := <-s.ended:
		t.Fatalf("the server ended with a call under way: %v", err)
	default:
	}
	close(release)
	if got := <-answers; got.err != nil || got.hold.GetName() != "done" {
		t.Errorf("the call under way: %v", got)
	}
	if err := s.stop(); err != nil {
		t.Errorf("drain: %v", err)
	}
}

func TestDrainCutsWhatDoesNotEnd(t *testing.T) {
	begun := make(chan struct{})
	s, client := answering(t, func(ctx context.Context) (*shelterv1.Hold, error) {
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	}, func(c *rpc.Config) {
		c.DrainTimeout = time.Millisecond
		c.DefaultDeadline = time.Hour
		c.MaxDeadline = time.Hour
	})
	failed := make(chan error, 1)
	go func() {
		_, err := client.GetHold(t.Context(), aRequest())
		failed <- err
	}()
	<-begun
	if err := s.stop(); err != nil {
		t.Errorf("drain: %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("the call did not end")
	}
}

func TestStreamsAreJudgedAndEndWhenTheServerDrains(t *testing.T) {
	s := serveShelter(t, &shelter{}, func(c *rpc.Config) {
		c.DrainTimeout = time.Hour
		c.Policy["/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"] = rpc.Row{Callers: []string{"operator"}}
	})
	conn := s.dial("gateway", "shelter")
	closed, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = closed.Recv()
	refused(t, err, codes.PermissionDenied, "REASON_NOT_ALLOWED", "may not call")

	watch, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	if header, err := watch.Header(); err != nil || len(header.Get(rpc.RequestIDKey)) != 1 {
		t.Errorf("header %v, %v", header, err)
	}
	if err := s.stop(); err != nil { // Would wait for an hour, did the stream not end.
		t.Errorf("drain: %v", err)
	}
	for err == nil {
		_, err = watch.Recv()
	}
}

// A connection comes to its age, and the client goes on over a new one.
func TestConnectionsEnd(t *testing.T) {
	impl := &shelter{getHold: func(context.Context, *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
		return &shelterv1.Hold{}, nil
	}}
	s := serveShelter(t, impl, func(c *rpc.Config) { c.ConnectionAge = 20 * time.Millisecond })
	conn := s.dial("referral", "shelter")
	call := func() {
		t.Helper()
		if _, err := shelterv1.NewShelterServiceClient(conn).GetHold(t.Context(), aRequest(), grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
	}
	call()
	if !conn.WaitForStateChange(t.Context(), connectivity.Ready) {
		t.Fatal("the connection does not end")
	}
	call()
}
