package api

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"sae/archive"
	"sae/archive/serving"
)

// collector takes spans as an OTLP collector does: by the messages of the protocol, unknown fields refused.
type collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans map[string][]*tracepb.Span // by name
	body  string
	down  bool
}

func newCollector(t *testing.T) *collector {
	c := &collector{spans: map[string][]*tracepb.Span{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var data tracepb.TracesData
		if err := protojson.Unmarshal(b, &data); err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %v\n%s", r.URL.Path, r.Header.Get("Content-Type"), err, b)
		}
		c.body += string(b)
		for _, rs := range data.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					c.spans[s.Name] = append(c.spans[s.Name], s)
				}
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// idOf gives an identifier as it was sent: in hex, which protojson takes for base64.
func idOf(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// serveTraced serves an archive whose works are traced, too.
func serveTraced(t *testing.T, traces *Traces) *served {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a")
	if _, err := archive.Create(dir, archive.New{Tenant: "cd99"}); err != nil {
		t.Fatal(err)
	}
	a, err := archive.Open(dir, archive.Options{Trace: traces.Work()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	s := &served{t: t, a: a, dir: dir, log: &lockedBuffer{}, keys: map[string]string{}}
	var none *serving.Config
	h, err := New(a, Config{Version: "test", Serving: none.With(), Spool: filepath.Join(dir, "spool"), Traces: traces, Metrics: NewMetrics(), Log: newTestLog(s.log)})
	if err != nil {
		t.Fatal(err)
	}
	s.ts = httptest.NewTLSServer(h)
	s.c = s.ts.Client()
	t.Cleanup(s.ts.Close)
	return s
}

// TestTraces: a request and what the archive does for it are one trace, below the client's; nothing of
// what is archived, nor of who asks, is told.
func TestTraces(t *testing.T) {
	c := newCollector(t)
	var log lockedBuffer
	traces := NewTraces(&serving.Traces{Endpoint: c.URL + "/", Share: 1}, "test", newTestLog(&log))
	s := serveTraced(t, traces)
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	ct, body := form(part{"metadata", `{"units":[{"title":"Dossier Zephirine","content":{"part":"f","filename":"zephirine.txt"}}]}`, nil}, part{"f", "Quatrebarbes", nil})
	key := s.key("cd99", archive.Depositor)
	r := s.ask(key, "POST", "/v1/deposits?x=1", body, "Content-Type", ct, "Idempotency-Key", "zephirine-1", "traceparent", "00-"+trace+"-"+parent+"-01", "tracestate", "vendor=zephirine")
	if r.StatusCode/100 != 4 { // an unknown parameter
		t.Fatal(r.Status)
	}
	ct, body = form(part{"metadata", `{"units":[{"title":"Dossier Zephirine","content":{"part":"f","filename":"zephirine.txt"}}]}`, nil}, part{"f", "Quatrebarbes", nil})
	if r := s.ask(key, "POST", "/v1/deposits", body, "Content-Type", ct, "Idempotency-Key", "zephirine-2", "traceparent", "00-"+trace+"-"+parent+"-01", "tracestate", "vendor=zephirine"); r.StatusCode != 201 {
		t.Fatal(r.Status, string(r.body))
	}
	if err := traces.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	byID := map[string]*tracepb.Span{}
	for _, all := range c.spans {
		for _, span := range all {
			byID[idOf(span.SpanId)] = span
		}
	}
	for _, name := range []string{"archive store", "archive commit"} { // up to the client
		if len(c.spans[name]) == 0 {
			t.Errorf("no span %q among %v", name, c.body)
			continue
		}
		span, path := c.spans[name][len(c.spans[name])-1], "" // the first commit made the key
		for ; span != nil; span = byID[idOf(span.ParentSpanId)] {
			path += span.Name + " < "
			if idOf(span.TraceId) != trace {
				t.Errorf("%s is of trace %s", span.Name, idOf(span.TraceId))
			}
			if byID[idOf(span.ParentSpanId)] == nil && idOf(span.ParentSpanId) != parent {
				t.Errorf("%s hangs from %q", span.Name, idOf(span.ParentSpanId))
			}
		}
		if path != name+" < archive deposit < createDeposit < " {
			t.Error(path)
		}
	}
	if n := len(c.spans["createDeposit"]); n != 2 {
		t.Errorf("%d spans of requests", n)
	}
	secret := strings.TrimPrefix(key, "sae_")
	for _, word := range []string{"ephirine", "Quatrebarbes", secret, hex.EncodeToString([]byte("zephirine")), "/v1/", "127.0.0.1"} {
		if strings.Contains(c.body, word) {
			t.Errorf("%q is told: %s", word, c.body)
		}
	}
}

// TestCollectorDown: nobody waits for a collector that does not answer, and it is logged.
func TestCollectorDown(t *testing.T) {
	c := newCollector(t)
	c.down = true
	var log lockedBuffer
	traces := NewTraces(&serving.Traces{Endpoint: c.URL, Share: 1}, "test", newTestLog(&log))
	s := serveTraced(t, traces)
	if r := s.ask(s.key("cd99", archive.Auditor), "GET", "/v1/ledger/checkpoint", nil); r.StatusCode != 200 {
		t.Error(r.Status)
	}
	if err := traces.Close(context.Background()); err != nil || !strings.Contains(log.String(), "spans could not be sent") {
		t.Errorf("%v %s", err, log.String())
	}
}
