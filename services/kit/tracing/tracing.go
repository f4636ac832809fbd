// Package tracing sends spans of gRPC calls to an OpenTelemetry collector, where an operator has
// named one; else it does nothing and runs nothing.
//
// It owns what a span says: the method, when, how long, its gRPC code, and which service and node.
//
// Invariants:
//   - Nothing of a request, a reply or an error's text leaves: of a span's attributes those listed
//     here go out, its events and its status text never do, and a method that no contract has makes
//     no span.
//   - Plain HTTP goes to this machine alone; all else is TLS.
//   - A collector that is away, slow or full costs spans, never a call.
package tracing

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"amanat.example/services/kit/logging"
)

const (
	// sendWait is how long a batch may take to leave; then it is lost. Nothing is repeated.
	sendWait = 2 * time.Second
	// closeWait is more, so that what sends has ended when Close returns.
	closeWait = 2 * sendWait
)

// Tracing makes the spans of one process. A nil one makes none: all its methods may be called.
type Tracing struct {
	provider *sdk.TracerProvider
	options  []otelgrpc.Option
}

// Check judges an endpoint: `https://host:port`, or `http://` to a loopback address; empty is none.
func Check(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err == nil && u.Port() != "" && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.User == nil {
		local := u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
		if u.Scheme == "https" && u.Hostname() != "" || u.Scheme == "http" && local {
			return nil
		}
	}
	return fmt.Errorf("must be https://host:port, or http:// to a collector on this machine, such as http://127.0.0.1:4317")
}

// Open makes the tracing of a service; nil where endpoint is empty. It connects in the background.
// What else the exporter's standard variables say (`OTEL_EXPORTER_OTLP_HEADERS`, `_CERTIFICATE`)
// holds too. Close it.
func Open(ctx context.Context, endpoint, node, service string, log *logging.Logger) (*Tracing, error) {
	if err := Check(endpoint); err != nil || endpoint == "" {
		return nil, err
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(endpoint), otlptracegrpc.WithTimeout(sendWait),
		otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{}))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	provider := sdk.NewTracerProvider(
		sdk.WithBatcher(&bareExporter{SpanExporter: exporter, log: log}, sdk.WithExportTimeout(sendWait)),
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", service), attribute.String("service.namespace", "amanat"), attribute.String("amanat.node", node))),
	)
	return &Tracing{provider: provider, options: []otelgrpc.Option{
		otelgrpc.WithTracerProvider(provider), otelgrpc.WithMeterProvider(noop.NewMeterProvider()),
		otelgrpc.WithPropagators(propagation.TraceContext{}),
		otelgrpc.WithFilter(func(info *stats.RPCTagInfo) bool { return known(info.FullMethodName) }),
	}}, nil
}

// known says that a contract has the method: any other name is a caller's own words.
func known(fullMethod string) bool {
	name := strings.ReplaceAll(strings.TrimPrefix(fullMethod, "/"), "/", ".")
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
	_, method := found.(protoreflect.MethodDescriptor)
	return err == nil && method
}

// Server makes a span of each call served; nil where there is no tracing.
func (t *Tracing) Server() stats.Handler {
	if t == nil {
		return nil
	}
	return otelgrpc.NewServerHandler(t.options...)
}

// Dial makes a span of each call made over a connection, and hands the trace on.
func (t *Tracing) Dial() []grpc.DialOption {
	if t == nil {
		return nil
	}
	return []grpc.DialOption{grpc.WithStatsHandler(otelgrpc.NewClientHandler(t.options...))}
}

// Close sends the last spans, for 2 s at most, and ends the connection and all that runs.
func (t *Tracing) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWait)
	defer cancel()
	_ = t.provider.Shutdown(ctx) // What could not be sent was logged.
}
