package tracing_test

import (
	"bytes"
	"context"
	"net"
	"sync"
	"testing"

	collectorv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	shelterv1 "amanat.example/proto/amanat/shelter/v1"
	"amanat.example/services/kit/fault"
	"amanat.example/services/kit/identity"
	"amanat.example/services/kit/logging"
	"amanat.example/services/kit/rpc"
	"amanat.example/services/kit/tracing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const canary = "Zainab"

// collector takes spans, as an operator's does.
type collector struct {
	collectorv1.UnimplementedTraceServiceServer
	endpoint string

	mu   sync.Mutex
	came []*tracev1.ResourceSpans
}

func (c *collector) Export(_ context.Context, r *collectorv1.ExportTraceServiceRequest) (*collectorv1.ExportTraceServiceResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.came = append(c.came, r.GetResourceSpans()...)
	return &collectorv1.ExportTraceServiceResponse{}, nil
}

// spans by service, after all tracing was closed.
func (c *collector) spans(t *testing.T) map[string][]*tracev1.Span {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string][]*tracev1.Span{}
	for _, r := range c.came {
		raw, err := proto.Marshal(r)
		if err != nil || bytes.Contains(raw, []byte(canary)) {
			t.Errorf("content left with a span: %v, %v", err, r)
		}
		service := ""
		for _, a := range r.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, scope := range r.GetScopeSpans() {
			found[service] = append(found[service], scope.GetSpans()...)
		}
	}
	return found
}

// serve runs a gRPC server until the test ends.
func serve(t *testing.T, run func(net.Listener) error, stop func()) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- run(listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c, server := &collector{}, grpc.NewServer()
	collectorv1.RegisterTraceServiceServer(server, c)
	c.endpoint = "http://" + serve(t, server.Serve, server.Stop)
	return c
}

type shelter struct {
	shelterv1.UnimplementedShelterServiceServer
}

func (*shelter) GetHold(_ context.Context, r *shelterv1.GetHoldRequest) (*shelterv1.Hold, error) {
	return nil, fault.New(fault.NoCapacity, canary+" has no bed.", "hold", r.GetName(), "note", canary)
}

// connect makes a shelter server and the gateway's connection to it, with their tracings.
func connect(t *testing.T, forServer, forClient *tracing.Tracing) *grpc.ClientConn {
	t.Helper()
	root := t.TempDir()
	if err := identity.InitNetwork(identity.Options{Root: root, Node: "sindh", Province: "PK-SD", Services: []string{"shelter", "gateway"}}); err != nil {
		t.Fatal(err)
	}
	load := func(service string) *identity.Service {
		s, err := identity.Load(root, "sindh", service)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	policy := rpc.Policy{}
	for _, m := range shelterv1.ShelterService_ServiceDesc.Methods {
		policy["/amanat.shelter.v1.ShelterService/"+m.MethodName] = rpc.Row{Callers: []string{"gateway"}}
	}
	for _, m := range shelterv1.ShelterService_ServiceDesc.Streams {
		policy["/amanat.shelter.v1.ShelterService/"+m.StreamName] = rpc.Row{Callers: []string{"gateway"}}
	}
	server, err := rpc.NewServer(rpc.Config{
		Identity: load("shelter"), Policy: policy, Log: logging.Discard(), Trace: forServer.Server(),
		Audit: func(context.Context, rpc.Reading) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	shelterv1.RegisterShelterServiceServer(server, &shelter{})
	ctx, stop := context.WithCancel(context.Background())
	address := serve(t, func(l net.Listener) error { return server.Run(ctx, l, nil) }, stop)
	conn, err := rpc.Dial(address, load("gateway").ClientTLS("shelter"), forClient.Dial()...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func open(t *testing.T, endpoint, service string) *tracing.Tracing {
	t.Helper()
	traces, err := tracing.Open(t.Context(), endpoint, "sindh", service, logging.Discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(traces.Close)
	return traces
}

// One call is one trace on both sides, and says the method and the code, and nothing of what was
// asked or answered.
func TestOneCallIsOneTrace(t *testing.T) {
	c := newCollector(t)
	server, client := open(t, c.endpoint, "shelter"), open(t, c.endpoint, "gateway")
	conn := connect(t, server, client)
	_, err := shelterv1.NewShelterServiceClient(conn).GetHold(t.Context(), &shelterv1.GetHoldRequest{Name: "nodes/sindh/holds/0192f0a1-0000-7000-8000-000000000001"})
	if rpc.Fault(err).Reason() != fault.NoCapacity {
		t.Fatal(err)
	}
	if err := conn.Invoke(t.Context(), "/amanat.shelter.v1.ShelterService/"+canary, &shelterv1.GetHoldRequest{}, &shelterv1.Hold{}); err == nil {
		t.Fatal("there is no such method")
	}
	client.Close()
	server.Close()

	spans := c.spans(t)
	if len(spans["gateway"]) != 1 || len(spans["shelter"]) != 1 {
		t.Fatalf("spans: %v", spans)
	}
	asked, served := spans["gateway"][0], spans["shelter"][0]
	if len(asked.GetTraceId()) != 16 || !bytes.Equal(asked.GetTraceId(), served.GetTraceId()) || !bytes.Equal(served.GetParentSpanId(), asked.GetSpanId()) {
		t.Errorf("not one trace: %v, %v", asked, served)
	}
	for _, s := range []*tracev1.Span{asked, served} {
		said := map[string]string{}
		for _, a := range s.GetAttributes() {
			said[a.GetKey()] = a.GetValue().GetStringValue()
		}
		if s.GetName() != "amanat.shelter.v1.ShelterService/GetHold" || said["rpc.response.status_code"] != "FAILED_PRECONDITION" || s.GetStatus().GetMessage() != "" || len(s.GetEvents()) > 0 {
			t.Errorf("%v", s)
		}
		for key := range said {
			if key[:4] != "rpc." {
				t.Errorf("attribute %s left", key)
			}
		}
	}
}

// Without an endpoint nothing is made, and calls go on; with a collector that is away, too.
func TestCallsNeedNoCollector(t *testing.T) {
	off := open(t, "", "shelter")
	if off != nil || off.Server() != nil || off.Dial() != nil {
		t.Fatal("tracing is on where nobody asked for it")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	away := open(t, "http://"+listener.Addr().String(), "gateway")
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = shelterv1.NewShelterServiceClient(connect(t, off, away)).GetHold(t.Context(), &shelterv1.GetHoldRequest{Name: "nodes/sindh/holds/0192f0a1-0000-7000-8000-000000000001"})
	if rpc.Fault(err).Reason() != fault.NoCapacity {
		t.Fatal(err)
	}
	away.Close() // Nothing runs on: TestMain looks.
}

func TestEndpoints(t *testing.T) {
	for endpoint, good := range map[string]bool{
		"": true, "https://collector.example:4317": true, "http://127.0.0.1:4317": true, "http://localhost:4317/": true, "http://[::1]:4317": true,
		"http://collector.example:4317": false, "collector.example:4317": false, "https://collector.example": false,
		"https://:4317": false, "https://a:b@collector.example:4317": false, "https://collector.example:4317/v1/traces": false, "ftp://127.0.0.1:21": false,
	} {
		if err := tracing.Check(endpoint); (err == nil) != good {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
}
