package api

import (
	"context"
	"log/slog"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"sae/api/otlp"
	"sae/archive"
	"sae/archive/serving"
)

// Traces are spans of requests, and of what the archive does for them (OpenTelemetry). They say which
// operation and which work, how long, and whether it went well: no path, no address, no identifier, no
// message of an error.
type Traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// NewTraces gives those that the configuration wants; nil when it wants none.
func NewTraces(c *serving.Traces, version string, log *slog.Logger) *Traces {
	if c == nil {
		return nil
	}
	of := resource.NewSchemaless(attribute.String("service.name", "sae"), attribute.String("service.version", version))
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(otlp.New(c.Endpoint, log)), sdktrace.WithResource(of),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.Share))))
	return &Traces{p, p.Tracer("sae")}
}

// Close sends what is still to be sent.
func (t *Traces) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// Work is archive.Options.Trace; nil when nothing is traced.
func (t *Traces) Work() func(context.Context, archive.Work) (context.Context, func(error)) {
	if t == nil {
		return nil
	}
	return func(ctx context.Context, w archive.Work) (context.Context, func(error)) {
		ctx, span := t.tracer.Start(ctx, "archive "+string(w))
		return ctx, func(err error) {
			if err != nil {
				span.SetStatus(codes.Error, "")
			}
			span.End()
		}
	}
}

// request begins the span of a request, below the one that the client names (W3C traceparent).
func (t *Traces) request(r *http.Request, of *request) (*http.Request, func()) {
	if t == nil {
		return r, func() {}
	}
	parent := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := t.tracer.Start(parent, "request", trace.WithSpanKind(trace.SpanKindServer))
	return r.WithContext(ctx), func() {
		if of.operation != "" {
			span.SetName(of.operation)
		}
		span.SetAttributes(attribute.String("http.request.method", r.Method), attribute.Int("http.response.status_code", of.status), attribute.String("sae.request", of.id))
		if of.code != "" {
			span.SetAttributes(attribute.String("error.type", of.code))
		}
		if of.status >= 500 {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}
