package tracing

import (
	"context"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"amanat.example/services/kit/logging"
)

// allowed are the attributes that leave: method, system and code of a call.
var allowed = []attribute.Key{
	"rpc.system", "rpc.system.name", "rpc.service", "rpc.method", "rpc.grpc.status_code", "rpc.response.status_code",
}

// bareExporter lets nothing out that is not meant to. A batch that cannot be sent is lost, and said.
type bareExporter struct {
	sdk.SpanExporter
	log *logging.Logger
}

func (e *bareExporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	bare := make([]sdk.ReadOnlySpan, len(spans))
	for i, s := range spans {
		bare[i] = bareSpan{s}
	}
	if err := e.SpanExporter.ExportSpans(ctx, bare); err != nil {
		e.log.Warn("traces could not be sent", logging.Count("spans", len(spans)), logging.Err(err))
	}
	return nil
}

// bareSpan is a span without texts: a status description is an error's sentence, an event what
// happened.
type bareSpan struct{ sdk.ReadOnlySpan }

func (s bareSpan) Attributes() []attribute.KeyValue {
	return slices.DeleteFunc(slices.Clone(s.ReadOnlySpan.Attributes()), func(a attribute.KeyValue) bool {
		return !slices.Contains(allowed, a.Key)
	})
}

func (s bareSpan) Status() sdk.Status { return sdk.Status{Code: s.ReadOnlySpan.Status().Code} }

func (bareSpan) Events() []sdk.Event { return nil }
