package api

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"sae/archive"
)

// Metrics count what the service does, for Prometheus (text exposition format 0.0.4). Their labels are
// operations and statuses: they name nobody.
type Metrics struct {
	mu       sync.Mutex
	requests map[[2]string]int64 // operation, status
	took     map[string]*histogram
	received int64 // bytes
	sent     int64
	queue    *Queue              // nil for none
	hooks    map[[2]string]int64 // webhook, outcome
}

// bounds of the time that requests take, in seconds.
var bounds = []float64{0.005, 0.025, 0.1, 0.5, 2.5, 10, 60}

type histogram struct {
	counts []int64 // up to each bound
	sum    float64
	n      int64
}

// NewMetrics gives counters at zero.
func NewMetrics() *Metrics {
	return &Metrics{requests: map[[2]string]int64{}, took: map[string]*histogram{}, hooks: map[[2]string]int64{}}
}

// count counts a request that has ended.
func (m *Metrics) count(of *request, took time.Duration) {
	if m == nil {
		return
	}
	operation := of.operation
	if operation == "" {
		operation = "none"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests[[2]string{operation, fmt.Sprint(of.status)}]++
	m.received += of.received
	m.sent += of.sent
	h := m.took[operation]
	if h == nil {
		h = &histogram{counts: make([]int64, len(bounds))}
		m.took[operation] = h
	}
	h.n++
	h.sum += took.Seconds()
	for i, b := range bounds {
		if took.Seconds() <= b {
			h.counts[i]++
		}
	}
}

// delivered counts what became of sending an event to a webhook.
func (m *Metrics) delivered(hook, outcome string) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hooks[[2]string{hook, outcome}]++
}

// writeHooks tells of webhooks, by their identifiers.
func (m *Metrics) writeHooks(w io.Writer, all []archive.HookGauge, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	head(w, "sae_webhook_deliveries_total", "counter", "events sent to webhooks, by outcome: delivered, failed (tried again), dead (given up)")
	for _, k := range slices.SortedFunc(maps.Keys(m.hooks), func(x, y [2]string) int { return slices.Compare(x[:], y[:]) }) {
		fmt.Fprintf(w, "sae_webhook_deliveries_total{webhook=%q,outcome=%q} %d\n", k[0], k[1], m.hooks[k])
	}
	head(w, "sae_webhook_behind", "gauge", "ledger entries and noted events that a webhook was not told of yet")
	for _, g := range all {
		fmt.Fprintf(w, "sae_webhook_behind{webhook=%q} %d\n", g.ID, g.Behind)
	}
	head(w, "sae_webhook_lag_seconds", "gauge", "age of the first of them")
	for _, g := range all {
		fmt.Fprintf(w, "sae_webhook_lag_seconds{webhook=%q} %g\n", g.ID, ageOf(g.Since, now))
	}
	head(w, "sae_webhook_dead_letters", "gauge", "events that a webhook did not take in its time, and that were not delivered since")
	for _, g := range all {
		fmt.Fprintf(w, "sae_webhook_dead_letters{webhook=%q} %d\n", g.ID, g.Dead)
	}
}

func (m *Metrics) write(w io.Writer) {
	writeProcess(w)
	m.mu.Lock()
	defer m.mu.Unlock()
	head(w, "sae_requests_total", "counter", "requests that have ended, by operation and status")
	for _, k := range slices.SortedFunc(maps.Keys(m.requests), func(x, y [2]string) int { return slices.Compare(x[:], y[:]) }) {
		fmt.Fprintf(w, "sae_requests_total{operation=%q,status=%q} %d\n", k[0], k[1], m.requests[k])
	}
	head(w, "sae_request_seconds", "histogram", "time that requests took, by operation")
	for _, op := range slices.Sorted(maps.Keys(m.took)) {
		h := m.took[op]
		for i, b := range bounds {
			fmt.Fprintf(w, "sae_request_seconds_bucket{operation=%q,le=\"%g\"} %d\n", op, b, h.counts[i])
		}
		fmt.Fprintf(w, "sae_request_seconds_bucket{operation=%q,le=\"+Inf\"} %d\nsae_request_seconds_sum{operation=%q} %g\nsae_request_seconds_count{operation=%q} %d\n", op, h.n, op, h.sum, op, h.n)
	}
	head(w, "sae_received_bytes_total", "counter", "bytes of bodies that were received")
	fmt.Fprintf(w, "sae_received_bytes_total %d\n", m.received)
	head(w, "sae_sent_bytes_total", "counter", "bytes of bodies that were sent")
	fmt.Fprintf(w, "sae_sent_bytes_total %d\n", m.sent)
	if m.queue == nil {
		return
	}
	n, bytes := m.queue.gauge()
	head(w, "sae_waiting_operations", "gauge", "operations that were received and wait, or are worked off")
	fmt.Fprintf(w, "sae_waiting_operations %d\n", n)
	head(w, "sae_waiting_bytes", "gauge", "bytes of their bodies")
	fmt.Fprintf(w, "sae_waiting_bytes %d\n", bytes)
}

func head(w io.Writer, name, kind, help string) {
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// withHealth adds /healthz, /readyz and /metrics to a handler: they ask nobody who they are, and tell
// nothing of anybody.
func (s *service) withHealth(others http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", others)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.a.Ready(); err != nil {
			s.log.Error("not ready", "error", err)
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, "not ready: see the log\n")
			return
		}
		io.WriteString(w, "ready\n")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		g, err := s.a.Gauges()
		var hooks []archive.HookGauge
		if err == nil {
			hooks, err = s.a.HookGauges()
		}
		if err != nil {
			s.log.Error("reading gauges", "error", err)
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		out := bufio.NewWriter(w)
		defer out.Flush()
		writeGauges(out, g, time.Now())
		if s.metrics != nil {
			s.metrics.write(out)
			s.metrics.writeHooks(out, hooks, time.Now())
		}
	})
	return mux
}

func writeGauges(w io.Writer, g *archive.Gauges, now time.Time) {
	head(w, "sae_ledger_entries", "gauge", "entries of the ledger")
	fmt.Fprintf(w, "sae_ledger_entries %d\n", g.Ledger)
	head(w, "sae_seal_pending", "gauge", "leaves that wait for their seal")
	fmt.Fprintf(w, "sae_seal_pending %d\n", g.Pending)
	head(w, "sae_seal_lag_seconds", "gauge", "age of the oldest leaf that waits for its seal")
	fmt.Fprintf(w, "sae_seal_lag_seconds %g\n", ageOf(g.PendingSince, now))
	if g.LastSeal != nil {
		head(w, "sae_last_seal_timestamp_seconds", "gauge", "time of the last time-stamp")
		fmt.Fprintf(w, "sae_last_seal_timestamp_seconds %d\n", g.LastSeal.Unix())
	}
	head(w, "sae_offer_up", "gauge", "whether a place for copies could be used when the service began")
	for _, o := range g.Offers {
		up := 1
		if o.Down {
			up = 0
		}
		fmt.Fprintf(w, "sae_offer_up{offer=%q} %d\n", o.Name, up)
	}
	head(w, "sae_missing_copies", "gauge", "copies in the repair queue")
	for _, o := range g.Offers {
		fmt.Fprintf(w, "sae_missing_copies{offer=%q} %d\n", o.Name, o.Missing)
	}
	writeWork(w, g)
}

func ageOf(since *time.Time, now time.Time) float64 {
	if since == nil {
		return 0
	}
	return max(0, now.Sub(*since).Seconds())
}
