package api

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sae/archive"
	"sae/archive/serving"
)

// receiver is who is told.
type receiver struct {
	t       *testing.T
	ts      *httptest.Server
	mu      sync.Mutex
	secret  []byte   // that must be among those that sign
	exactly [][]byte // nil, or all that must sign
	got     []CloudEvent
	answers func(n int, e CloudEvent) int // status; 0 hangs up
	asked   int

	elsewhere int // that a redirect leads to
}

func newReceiver(t *testing.T, answers func(n int, e CloudEvent) int) *receiver {
	r := &receiver{t: t, answers: answers}
	r.ts = httptest.NewServer(r)
	t.Cleanup(r.ts.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	var e CloudEvent
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if q.URL.Path == "/elsewhere" {
		r.elsewhere++
	}
	signed := strings.Fields(q.Header.Get("webhook-signature"))
	for _, secret := range append([][]byte{r.secret}, r.exactly...) {
		m := hmac.New(sha256.New, secret)
		fmt.Fprintf(m, "%s.%s.%s", q.Header.Get("webhook-id"), q.Header.Get("webhook-timestamp"), body)
		if sum := "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)); secret != nil && !slices.Contains(signed, sum) {
			r.t.Errorf("signatures %q, want %q", signed, sum)
		}
	}
	if r.exactly != nil && len(signed) != len(r.exactly) {
		r.t.Errorf("%d signatures, want %d", len(signed), len(r.exactly))
	}
	if q.Header.Get("webhook-id") != e.ID || !strings.HasPrefix(q.Header.Get("Content-Type"), "application/cloudevents+json") || e.SpecVersion != "1.0" {
		r.t.Errorf("%v %+v", q.Header, e)
	}
	r.asked++
	status := 204
	if r.answers != nil {
		status = r.answers(r.asked, e)
	}
	switch {
	case status == 0:
		panic(http.ErrAbortHandler)
	case status/100 == 3:
		w.Header().Set("Location", "/elsewhere")
	case status/100 == 2:
		r.got = append(r.got, e)
	}
	w.WriteHeader(status)
}

// want says by which secrets, and no others, what comes is signed.
func (r *receiver) want(secrets ...[]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.exactly = secrets
}

// ids are the events that it has, in their order.
func (r *receiver) ids() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.got {
		out = append(out, e.ID)
	}
	return out
}

// add registers the receiver, for the tenant cd99.
func (r *receiver) add(s *served, name string, types ...string) *archive.Webhook {
	r.t.Helper()
	w, secret, err := s.a.AddWebhook(context.Background(), "administrator", archive.NewWebhook{Name: name, URL: r.ts.URL + "/events", Types: types})
	if err == nil {
		r.secret, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return w
}

// deliver runs the webhooks until the test ends, or stop.
func deliver(t *testing.T, s *served, c serving.Webhooks) (stop func()) {
	t.Helper()
	if c.GiveUp == 0 {
		c.GiveUp = time.Hour
	}
	w, err := NewWebhooks(s.a, c, NewMetrics(), slog.New(slog.NewTextHandler(s.log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); w.Run(ctx) }()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

var private = serving.Webhooks{AllowPrivate: true}

// until waits for something to come true; a test that waits in vain fails.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// state is where a webhook is.
func (s *served) state(w *archive.Webhook) archive.HookState {
	s.t.Helper()
	st, err := s.a.HookState(w.Tenant, w.ID)
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

// TestWebhook: a receiver that fails now and then has every event in its order; one that is stopped and
// begun again goes on where it was; others that hang up, and that never answer, hold it up by nothing.
func TestWebhook(t *testing.T) {
	s := serve(t, nil)
	r := newReceiver(t, func(n int, _ CloudEvent) int { return []int{204, 503, 0, 200, 302}[n%5] })
	dead := newReceiver(t, func(int, CloudEvent) int { return 0 })
	hangs, let := newHanging(t)
	defer let()
	w := r.add(s, "gru")
	deaf := dead.add(s, "dead")
	if _, _, err := s.a.AddWebhook(context.Background(), "administrator", archive.NewWebhook{Name: "hangs", URL: hangs.URL}); err != nil {
		t.Fatal(err)
	}
	stop := deliver(t, s, private)
	key := s.key("cd99", archive.Depositor) // which is an entry that is told to nobody
	var want []string
	for i := range 3 {
		want = append(want, fmt.Sprint(s.deposited(key, fmt.Sprint(i), "x").Entry))
	}
	until(t, "three deposits", func() bool { return len(r.ids()) >= 3 })
	stop()
	want = append(want, fmt.Sprint(s.deposited(key, "3", "x").Entry))
	if q := s.ask(key, "POST", "/v1/deposits", strings.NewReader("no form"), "Content-Type", "text/plain", "Idempotency-Key", "bad"); q.StatusCode != 415 {
		t.Fatal(q.Status)
	}
	want = append(want, "n0")
	stop = deliver(t, s, private)
	until(t, "the rest", func() bool { return len(r.ids()) >= 5 })
	stop()
	var got []string
	for _, id := range r.ids() { // one may come twice, behind itself
		if !slices.Contains(got, id) {
			got = append(got, id)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", r.ids(), want)
	}
	last := r.got[len(r.got)-1]
	if last.Type != "sae.refused" || last.Data.Refused.Code != "media-type" || last.Data.Refused.Asked != "createDeposit" || last.Data.Refused.By != s.a.Pseudonym("depositor") {
		t.Errorf("%+v", last)
	}
	if r.elsewhere != 0 {
		t.Errorf("a redirect was followed %d times", r.elsewhere)
	}
	if st := s.state(deaf); st.Failing == nil || st.Tries == 0 || st.Why != "not reached" {
		t.Errorf("%+v", st)
	}
	if st := s.state(w); st.Failing != nil || st.Tries != 0 {
		t.Errorf("%+v", st)
	}
}

// newHanging is a receiver that takes requests and answers none, until it is let.
func newHanging(t *testing.T) (ts *httptest.Server, let func()) {
	gate := make(chan struct{})
	ts = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		select {
		case <-gate:
		case <-q.Context().Done():
		}
	}))
	t.Cleanup(ts.Close)
	return ts, sync.OnceFunc(func() { close(gate) })
}

// TestDeadLetters: what is not taken in its time is kept and told; it can be delivered again, and the
// rest goes on.
func TestDeadLetters(t *testing.T) {
	well := false
	var first string
	var mu sync.Mutex
	r := newReceiver(t, nil)
	r.answers = func(_ int, e CloudEvent) int {
		mu.Lock()
		defer mu.Unlock()
		if e.ID == first && !well {
			return 500
		}
		return 200
	}
	s := serve(t, nil)
	w := r.add(s, "gru", "sae.deposit")
	deliver(t, s, serving.Webhooks{AllowPrivate: true, GiveUp: time.Nanosecond})
	key, admin := s.key("cd99", archive.Depositor), s.key("cd99", archive.Administrator)
	mu.Lock()
	before := time.Now()
	one := s.deposited(key, "1", "x")
	first = fmt.Sprint(one.Entry)
	mu.Unlock()
	two := s.deposited(key, "2", "x")
	until(t, "the second deposit", func() bool { return slices.Contains(r.ids(), fmt.Sprint(two.Entry)) })
	at := "/v1/webhooks/" + w.ID
	letters := func() []ShownLetter {
		return decode[struct {
			Letters []ShownLetter `json:"deadLetters"`
		}](t, s.ask(admin, "GET", at+"/dead-letters", nil).body).Letters
	}
	until(t, "a dead letter", func() bool { return len(letters()) == 1 })
	if l := letters()[0]; l.ID != first || l.Why != "500" || l.Type != "sae.deposit" {
		t.Errorf("%+v", l)
	}
	for _, path := range []string{"/v1/webhooks", at} {
		q := s.ask(admin, "GET", path, nil)
		if q.StatusCode != 200 || !strings.Contains(string(q.body), `"deadLetters":1`) || strings.Contains(string(q.body), base64.StdEncoding.EncodeToString(r.secret)) {
			t.Errorf("%s: %s", path, q.body)
		}
	}
	var metrics strings.Builder
	gauges, err := s.a.HookGauges()
	if NewMetrics().writeHooks(&metrics, gauges, time.Now()); err != nil || !strings.Contains(metrics.String(), fmt.Sprintf("sae_webhook_dead_letters{webhook=%q} 1\n", w.ID)) {
		t.Errorf("%v\n%s", err, &metrics)
	}
	mu.Lock()
	well = true
	mu.Unlock()
	replay := func(body string, want int) {
		t.Helper()
		if q := s.ask(admin, "POST", at+"/replay", strings.NewReader(body), "Content-Type", "application/json", "Idempotency-Key", body); q.StatusCode != want {
			t.Fatalf("%s: %s %s", body, q.Status, q.body)
		}
	}
	replay(`{"deadLetters":true}`, 202)
	until(t, "the dead letter", func() bool { return slices.Contains(r.ids(), first) && len(letters()) == 0 })
	for _, from := range []string{fmt.Sprintf(`{"from":"%d"}`, one.Entry), fmt.Sprintf(`{"since":%q}`, before.UTC().Format(time.RFC3339Nano))} {
		n := len(r.ids())
		replay(from, 202)
		until(t, "both again", func() bool { return len(r.ids()) == n+2 })
	}
	replay(`{}`, 422)
	replay(`{"from":"1","deadLetters":true}`, 422)
	replay(`{"from":"999999999"}`, 422)
	if strings.Contains(s.log.String(), r.ts.URL) {
		t.Errorf("the log tells the address:\n%s", s.log)
	}
}

// TestGone: a receiver that says that it is gone is left alone until it is let go on.
func TestGone(t *testing.T) {
	s := serve(t, nil)
	r := newReceiver(t, func(n int, _ CloudEvent) int { return []int{0, 410, 200, 200}[min(n, 3)] })
	w := r.add(s, "gru")
	deliver(t, s, private)
	key := s.key("cd99", archive.Depositor)
	s.deposited(key, "1", "x")
	until(t, "it is gone", func() bool { return s.state(w).Gone })
	s.deposited(key, "2", "x")
	time.Sleep(3 * lookAgain) // it could have come
	if len(r.ids()) != 0 {
		t.Errorf("told %v", r.ids())
	}
	on := false
	if _, _, err := s.a.ChangeWebhook(context.Background(), "administrator", "", w.ID, archive.WebhookChange{Disabled: &on}); err != nil {
		t.Fatal(err)
	}
	until(t, "both", func() bool { return len(r.ids()) == 2 })
}

// TestWebhookOverHTTP walks the life of a webhook as its administrator does: the secret is told once,
// both sign while it is replaced, and nothing of it is in the log.
func TestWebhookOverHTTP(t *testing.T) {
	s := serve(t, nil)
	r := newReceiver(t, nil)
	deliver(t, s, private)
	admin, key := s.key("cd99", archive.Administrator), s.key("cd99", archive.Depositor)
	send := func(method, path, once, body string, want int) *reply {
		t.Helper()
		q := s.ask(admin, method, path, strings.NewReader(body), "Content-Type", "application/json", "Idempotency-Key", once)
		if q.StatusCode != want {
			t.Fatalf("%s %s %s: %s %s", method, path, body, q.Status, q.body)
		}
		return q
	}
	body := fmt.Sprintf(`{"name":"gru","url":%q,"types":["sae.deposit"]}`, r.ts.URL)
	added := decode[HookWithSecret](t, send("POST", "/v1/webhooks", "1", body, 201).body)
	again := send("POST", "/v1/webhooks", "1", body, 201)
	if strings.Contains(string(again.body), "whsec_") || !strings.Contains(string(again.body), added.ID) || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("a retry: %s", again.body)
	}
	send("POST", "/v1/webhooks", "2", body, 422)
	send("POST", "/v1/webhooks", "3", `{"name":"x","url":"http://gru.example/"}`, 422)
	secretOf := func(x HookWithSecret) []byte {
		b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(x.Secret, "whsec_"))
		if err != nil || len(b) != 32 {
			t.Fatalf("%+v, %v", x, err)
		}
		return b
	}
	deposit := func(name string, secrets ...[]byte) {
		t.Helper()
		r.want(secrets...)
		d := s.deposited(key, name, "x")
		until(t, "deposit "+name, func() bool { return slices.Contains(r.ids(), fmt.Sprint(d.Entry)) })
	}
	at := "/v1/webhooks/" + added.ID
	first := secretOf(added)
	deposit("a", first)
	second := secretOf(decode[HookWithSecret](t, send("PATCH", at, "4", `{"secret":"rotate"}`, 200).body))
	time.Sleep(3 * lookAgain) // until it is noticed
	deposit("b", first, second)
	send("PATCH", at, "5", `{"secret":"retire"}`, 200)
	time.Sleep(3 * lookAgain)
	deposit("c", second)
	send("PATCH", at, "6", `{"disabled":true}`, 200)
	time.Sleep(3 * lookAgain)
	d := s.deposited(key, "d", "x")
	time.Sleep(3 * lookAgain)
	if slices.Contains(r.ids(), fmt.Sprint(d.Entry)) {
		t.Error("one that is stopped is told")
	}
	send("PATCH", at, "7", `{"disabled":false}`, 200)
	until(t, "what happened meanwhile", func() bool { return slices.Contains(r.ids(), fmt.Sprint(d.Entry)) })
	send("PATCH", at, "8", `{}`, 422)
	send("DELETE", at, "9", "", 204)
	send("DELETE", at, "9", "", 204)
	send("DELETE", at, "10", "", 404)
	if q := s.ask(admin, "GET", at, nil); q.StatusCode != 404 {
		t.Errorf("%s %s", q.Status, q.body)
	}
	for _, said := range []string{added.Secret, base64.StdEncoding.EncodeToString(second), r.ts.URL} {
		if strings.Contains(s.log.String(), said) {
			t.Errorf("the log tells %q:\n%s", said, s.log)
		}
	}
}

// TestPrivateNetworks are not reached, whatever a name leads to, unless the configuration says so; what
// is local to a link never is.
func TestPrivateNetworks(t *testing.T) {
	s := serve(t, nil)
	r := newReceiver(t, nil)
	ws := []*archive.Webhook{r.add(s, "loopback")}
	port := r.ts.URL[strings.LastIndex(r.ts.URL, ":"):]
	for i, u := range []string{"http://localhost" + port, "https://10.0.0.1", "https://[::ffff:127.0.0.1]" + port, "https://169.254.169.254", "https://[fe80::1]"} {
		w, _, err := s.a.AddWebhook(context.Background(), "administrator", archive.NewWebhook{Name: fmt.Sprint("n", i), URL: u})
		if err != nil {
			t.Fatal(err)
		}
		ws = append(ws, w)
	}
	stop := deliver(t, s, serving.Webhooks{})
	s.deposited(s.key("cd99", archive.Depositor), "1", "x")
	for _, w := range ws {
		until(t, w.URL+" is not allowed", func() bool { return s.state(w).Why == "not allowed" })
	}
	stop()
	if len(r.ids()) > 0 {
		t.Errorf("reached: %v", r.ids())
	}
	for address, want := range map[string]bool{"127.0.0.1:1": true, "10.1.2.3:443": true, "[::1]:1": true, "[fd00::1]:443": true, "169.254.169.254:80": false, "[fe80::1]:80": false, "0.0.0.0:80": false, "224.0.0.1:80": false} {
		w, err := NewWebhooks(s.a, private, nil, slog.Default())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.guard("tcp"+map[bool]string{true: "6", false: "4"}[address[0] == '['], address, nil); want != (err == nil) {
			t.Errorf("with allow-private, %s: %v", address, err)
		}
	}
}

// TestOutageOfBoth: an event whose time went by while the service stood still is not given up at once.
func TestOutageOfBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := openPlain(t)
		defer a.Close()
		w := refusedOne(t, a)
		r := &answersAt{began: time.Now(), until: 49*time.Hour + time.Minute}
		runHooks(t, a, r, 24*time.Hour, time.Hour)
		time.Sleep(48 * time.Hour)
		runHooks(t, a, r, 24*time.Hour, time.Hour)
		n := 0
		if err := a.DeadLetters("", w.ID, func(archive.DeadLetter) (bool, error) { n++; return true, nil }); err != nil || n != 0 {
			t.Errorf("%d dead letters, %v", n, err)
		}
		if st, err := a.HookState("", w.ID); err != nil || st.Failing != nil || st.At.Noted != 1 {
			t.Errorf("%+v, %v", st, err)
		}
	})
}

// openPlain is an archive in a bubble.
func openPlain(t *testing.T) *archive.Archive {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a")
	if _, err := archive.Create(dir, archive.New{Tenant: "cd99"}); err != nil {
		t.Fatal(err)
	}
	a, err := archive.Open(dir, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// refusedOne registers a webhook, and notes one event.
func refusedOne(t *testing.T, a *archive.Archive) *archive.Webhook {
	t.Helper()
	w, _, err := a.AddWebhook(context.Background(), "admin", archive.NewWebhook{Name: "gru", URL: "https://gru.example/"})
	if err == nil {
		err = a.NoteRefused("gru", "", archive.Noted{Request: "r"})
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// runHooks runs the webhooks for a time.
func runHooks(t *testing.T, a *archive.Archive, r http.RoundTripper, giveUp, long time.Duration) {
	t.Helper()
	hooks, err := NewWebhooks(a, serving.Webhooks{GiveUp: giveUp}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	hooks.client.Transport = r
	ctx, stop := context.WithTimeout(context.Background(), long)
	defer stop()
	hooks.Run(ctx)
}

// answersAt is a receiver of which nothing goes over a network: see TestBackOff.
type answersAt struct {
	began time.Time
	at    []time.Duration
	until time.Duration // it fails
}

func (r *answersAt) RoundTrip(q *http.Request) (*http.Response, error) {
	io.Copy(io.Discard, q.Body)
	r.at = append(r.at, time.Since(r.began))
	status := 200
	if time.Since(r.began) < r.until {
		status = 500
	}
	return &http.Response{StatusCode: status, Body: http.NoBody, Request: q}, nil
}

// TestBackOff: tries come longer and longer apart, at most ten minutes, until the receiver answers, or
// the event has had its time.
func TestBackOff(t *testing.T) {
	for _, x := range []struct {
		fails, giveUp time.Duration
		dead          int
	}{{2 * time.Hour, 24 * time.Hour, 0}, {48 * time.Hour, 6 * time.Hour, 1}} {
		synctest.Test(t, func(t *testing.T) {
			a := openPlain(t)
			defer a.Close()
			backOff(t, a, x.fails, x.giveUp, x.dead)
		})
	}
}

func backOff(t *testing.T, a *archive.Archive, fails, giveUp time.Duration, dead int) {
	w := refusedOne(t, a)
	r := &answersAt{began: time.Now(), until: fails}
	runHooks(t, a, r, giveUp, 72*time.Hour)
	for i, at := range r.at[1:] {
		wait, most := at-r.at[i], min(firstRetry<<min(i, 20), lastRetry)
		if wait < most/2 || wait > most+time.Millisecond {
			t.Errorf("try %d came %s after the one before, want between %s and %s", i+1, wait, most/2, most)
		}
	}
	last := r.at[len(r.at)-1]
	if end := min(fails, giveUp); last < end || last > end+lastRetry {
		t.Errorf("the last try was after %s, want after %s", last, end)
	}
	n := 0
	if err := a.DeadLetters("", w.ID, func(archive.DeadLetter) (bool, error) { n++; return true, nil }); err != nil || n != dead {
		t.Errorf("%d dead letters, %v", n, err)
	}
	g, err := a.HookGauge("", w.ID)
	if err != nil || g.Behind != 0 {
		t.Errorf("%+v, %v", g, err)
	}
}
