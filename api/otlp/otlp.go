// Package otlp sends spans to an OpenTelemetry collector: OTLP 1.x over HTTP, in its JSON form. The
// exporter of OpenTelemetry itself brings all of gRPC into the program, also over HTTP.
//
// What a client wrote into its tracestate is not sent: it could hold anything.
package otlp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"
)

// Exporter sends spans. What cannot be sent is lost, and logged once a minute: no request waits for it.
type Exporter struct {
	url    string
	client *http.Client
	log    *slog.Logger

	mu     sync.Mutex
	lost   int       // spans, since it was logged
	logged time.Time // when
}

var _ trace.SpanExporter = (*Exporter)(nil)

// sendTimeout is how long a collector may take.
const sendTimeout = 10 * time.Second

// New gives the exporter to the collector at a URL, such as http://127.0.0.1:4318.
func New(endpoint string, log *slog.Logger) *Exporter {
	return &Exporter{url: strings.TrimSuffix(endpoint, "/") + "/v1/traces", client: &http.Client{Timeout: sendTimeout}, log: log}
}

// ExportSpans implements trace.SpanExporter.
func (e *Exporter) ExportSpans(ctx context.Context, spans []trace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	body, err := Marshal(spans)
	if err == nil {
		err = e.send(ctx, body)
	}
	if err != nil {
		e.loses(len(spans), err)
	}
	return nil // it would be told to the whole process
}

func (e *Exporter) send(ctx context.Context, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := e.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the collector answered %s", resp.Status)
	}
	return nil
}

// loses counts spans that are lost, and says so now and then.
func (e *Exporter) loses(n int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost += n
	if time.Since(e.logged) < time.Minute {
		return
	}
	e.log.Warn("spans could not be sent", "spans", e.lost, "error", err)
	e.lost, e.logged = 0, time.Now()
}

// Shutdown implements trace.SpanExporter.
func (e *Exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}

// The messages of opentelemetry/proto/trace/v1, as JSON has them: identifiers in hex, 64-bit numbers as
// texts, enumerations as numbers.
type (
	request struct {
		ResourceSpans []resourceSpans `json:"resourceSpans"`
	}
	resourceSpans struct {
		Resource   resource     `json:"resource"`
		ScopeSpans []scopeSpans `json:"scopeSpans"`
	}
	resource struct {
		Attributes []keyValue `json:"attributes"`
	}
	scopeSpans struct {
		Scope scope  `json:"scope"`
		Spans []span `json:"spans"`
	}
	scope struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
	}
	span struct {
		TraceID    string     `json:"traceId"`
		SpanID     string     `json:"spanId"`
		ParentID   string     `json:"parentSpanId,omitempty"`
		Name       string     `json:"name"`
		Kind       int        `json:"kind"`
		Start      string     `json:"startTimeUnixNano"`
		End        string     `json:"endTimeUnixNano"`
		Attributes []keyValue `json:"attributes,omitempty"`
		Status     status     `json:"status"`
	}
	status struct {
		Code int `json:"code,omitempty"`
	}
	keyValue struct {
		Key   string         `json:"key"`
		Value map[string]any `json:"value"`
	}
)

// Marshal gives spans of one resource as an ExportTraceServiceRequest.
func Marshal(spans []trace.ReadOnlySpan) ([]byte, error) {
	rs := resourceSpans{}
	if r := spans[0].Resource(); r != nil {
		rs.Resource.Attributes = attributes(r.Attributes())
	}
	at := map[scope]int{}
	for _, s := range spans {
		of := scope{s.InstrumentationScope().Name, s.InstrumentationScope().Version}
		i, ok := at[of]
		if !ok {
			i = len(rs.ScopeSpans)
			at[of] = i
			rs.ScopeSpans = append(rs.ScopeSpans, scopeSpans{Scope: of})
		}
		rs.ScopeSpans[i].Spans = append(rs.ScopeSpans[i].Spans, spanOf(s))
	}
	return json.Marshal(request{[]resourceSpans{rs}})
}

func spanOf(s trace.ReadOnlySpan) span {
	out := span{
		TraceID: s.SpanContext().TraceID().String(), SpanID: s.SpanContext().SpanID().String(),
		Name: s.Name(), Kind: int(s.SpanKind()), // the numbers are the same
		Start: nanos(s.StartTime()), End: nanos(s.EndTime()), Attributes: attributes(s.Attributes()),
	}
	if p := s.Parent(); p.SpanID().IsValid() {
		out.ParentID = p.SpanID().String()
	}
	switch s.Status().Code { // these are not
	case codes.Ok:
		out.Status.Code = 1
	case codes.Error:
		out.Status.Code = 2
	}
	return out
}

func nanos(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

func attributes(all []attribute.KeyValue) (out []keyValue) {
	for _, a := range all {
		kv := keyValue{Key: string(a.Key)}
		switch a.Value.Type() {
		case attribute.INT64:
			kv.Value = map[string]any{"intValue": strconv.FormatInt(a.Value.AsInt64(), 10)}
		case attribute.BOOL:
			kv.Value = map[string]any{"boolValue": a.Value.AsBool()}
		case attribute.FLOAT64:
			kv.Value = map[string]any{"doubleValue": a.Value.AsFloat64()}
		default:
			kv.Value = map[string]any{"stringValue": a.Value.String()}
		}
		out = append(out, kv)
	}
	return out
}
