package api

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sae/archive"
	"sae/archive/serving"
)

// receiver is who is told.
type receiver struct {
	t       *testing.T
	ts      *httptest.Server
	secret  []byte
	mu      sync.Mutex
	got     []CloudEvent
	answers func(n int, e CloudEvent) int // status; 0 hangs up
	asked   int
}

func newReceiver(t *testing.T, answers func(n int, e CloudEvent) int) *receiver {
	r := &receiver{t: t, answers: answers, secret: make([]byte, 32)}
	rand.Read(r.secret)
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
	m := hmac.New(sha256.New, r.secret)
	fmt.Fprintf(m, "%s.%s.%s", q.Header.Get("webhook-id"), q.Header.Get("webhook-timestamp"), body)
	if sum := "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)); !slices.Contains(strings.Fields(q.Header.Get("webhook-signature")), sum) {
		r.t.Errorf("signature %q, want %q", q.Header.Get("webhook-signature"), sum)
	}
	if q.Header.Get("webhook-id") != e.ID || !strings.HasPrefix(q.Header.Get("Content-Type"), "application/cloudevents+json") || e.SpecVersion != "1.0" {
		r.t.Errorf("%v %+v", q.Header, e)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
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

// ids are the events that it has, in their order.
func (r *receiver) ids() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.got {
		out = append(out, e.ID)
	}
	return out
}

// webhook is the configuration of a receiver.
func (r *receiver) webhook(name string) serving.Webhook {
	secrets := []string{filepath.Join(r.t.TempDir(), "old"), filepath.Join(r.t.TempDir(), "new")}
	for i, b := range [][]byte{make([]byte, 24), r.secret} {
		if err := os.WriteFile(secrets[i], []byte("whsec_"+base64.StdEncoding.EncodeToString(b)+"\n"), 0o600); err != nil {
			r.t.Fatal(err)
		}
	}
	return serving.Webhook{Name: name, URL: r.ts.URL + "/events", Secrets: secrets, GiveUp: time.Hour}
}

// deliver runs the webhooks until the test ends, or stop.
func deliver(t *testing.T, s *served, hooks ...serving.Webhook) (stop func()) {
	t.Helper()
	w, err := NewWebhooks(s.a, hooks, NewMetrics(), slog.New(slog.NewTextHandler(s.log, nil)))
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

// until waits for something to come true; a test that waits in vain fails.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

func (s *served) began(name string) func() bool {
	return func() bool { _, known, err := s.a.HookState("", name); return err == nil && known }
}

// TestWebhook: a receiver that fails now and then has every event in its order; one that is stopped and
// begun again goes on where it was; another that hangs up holds it up by nothing.
func TestWebhook(t *testing.T) {
	s := serve(t, nil)
	r := newReceiver(t, func(n int, _ CloudEvent) int { return []int{204, 503, 0, 200, 302}[n%5] })
	dead := newReceiver(t, func(int, CloudEvent) int { return 0 })
	hooks := []serving.Webhook{r.webhook("gru"), dead.webhook("dead")}
	stop := deliver(t, s, hooks...)
	until(t, "the webhook begins", s.began("gru"))
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
	stop = deliver(t, s, hooks...)
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
	if st, _, err := s.a.HookState("", "dead"); err != nil || st.Failing == nil || st.Tries == 0 || st.Why != "not reached" {
		t.Errorf("%+v, %v", st, err)
	}
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
	hook := r.webhook("gru")
	hook.GiveUp, hook.Types = time.Nanosecond, []string{"sae.deposit"}
	s := serve(t, func(c *serving.Config) { c.Webhooks = []serving.Webhook{hook} })
	deliver(t, s, hook)
	until(t, "the webhook begins", s.began("gru"))
	key, admin := s.key("cd99", archive.Depositor), s.key("cd99", archive.Administrator)
	mu.Lock()
	one := s.deposited(key, "1", "x")
	first = fmt.Sprint(one.Entry)
	mu.Unlock()
	two := s.deposited(key, "2", "x")
	until(t, "the second deposit", func() bool { return slices.Contains(r.ids(), fmt.Sprint(two.Entry)) })
	letters := func() []ShownLetter {
		return decode[struct {
			Letters []ShownLetter `json:"deadLetters"`
		}](t, s.ask(admin, "GET", "/v1/webhooks/gru/dead-letters", nil).body).Letters
	}
	until(t, "a dead letter", func() bool { return len(letters()) == 1 })
	if l := letters()[0]; l.ID != first || l.Why != "500" || l.Type != "sae.deposit" {
		t.Errorf("%+v", l)
	}
	q := s.ask(admin, "GET", "/v1/webhooks", nil)
	if h := decode[struct{ Webhooks []ShownHook }](t, q.body).Webhooks; len(h) != 1 || h[0].Dead != 1 || h[0].Behind != 0 && h[0].Behind > 5 {
		t.Errorf("%s", q.body)
	}
	if strings.Contains(string(q.body), base64.StdEncoding.EncodeToString(r.secret)) || strings.Contains(string(q.body), hook.Secrets[1]) {
		t.Error("the secret is told")
	}
	if q := s.ask(s.key("cd98", archive.Administrator), "GET", "/v1/webhooks/gru/dead-letters", nil); q.StatusCode != 404 {
		t.Errorf("another tenant: %s", q.Status)
	}
	mu.Lock()
	well = true
	mu.Unlock()
	replay := func(body string) {
		t.Helper()
		if q := s.ask(admin, "POST", "/v1/webhooks/gru/replay", strings.NewReader(body), "Content-Type", "application/json", "Idempotency-Key", body); q.StatusCode != 202 {
			t.Fatalf("%s %s", q.Status, q.body)
		}
	}
	replay(`{"deadLetters":true}`)
	until(t, "the dead letter", func() bool { return slices.Contains(r.ids(), first) && len(letters()) == 0 })
	before := len(r.ids())
	replay(fmt.Sprintf(`{"from":"%d"}`, one.Entry))
	until(t, "both again", func() bool { return len(r.ids()) == before+2 })
	if q := s.ask(admin, "POST", "/v1/webhooks/gru/replay", strings.NewReader(`{}`), "Content-Type", "application/json", "Idempotency-Key", "e"); q.StatusCode != 422 {
		t.Errorf("%s %s", q.Status, q.body)
	}
	if strings.Contains(s.log.String(), r.ts.URL) {
		t.Errorf("the log tells the address:\n%s", s.log)
	}
}

// TestGone: a receiver that says that it is gone is left alone until it is replayed.
func TestGone(t *testing.T) {
	s := serve(t, nil)
	r := newReceiver(t, func(n int, _ CloudEvent) int { return []int{0, 410, 200, 200}[min(n, 3)] })
	deliver(t, s, r.webhook("gru"))
	until(t, "the webhook begins", s.began("gru"))
	d := s.deposited(s.key("cd99", archive.Depositor), "1", "x")
	until(t, "it is gone", func() bool { st, _, err := s.a.HookState("", "gru"); return err == nil && st.Gone })
	s.deposited(s.key("cd99", archive.Depositor), "2", "x")
	time.Sleep(2 * lookAgain) // it could have come
	if len(r.ids()) != 0 {
		t.Errorf("told %v", r.ids())
	}
	if err := s.a.ReplayHook(context.Background(), "", "gru", archive.Cursor{Entry: d.Entry}); err != nil {
		t.Fatal(err)
	}
	until(t, "both", func() bool { return len(r.ids()) == 2 })
}

// TestWebhookSecrets are refused unless they are long enough, and in their form.
func TestWebhookSecrets(t *testing.T) {
	s := serve(t, nil)
	for _, text := range []string{"", "whsec_", "whsec_c2hvcnQ=", "whsec_no base64 at all, no base64 at all"} {
		path := filepath.Join(t.TempDir(), "secret")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := NewWebhooks(s.a, []serving.Webhook{{Name: "gru", URL: "https://x.example/", Secrets: []string{path}}}, nil, slog.Default())
		if err == nil || text != "" && strings.Contains(err.Error(), strings.TrimPrefix(text, "whsec_")) && len(text) > 6 {
			t.Errorf("%q: %v", text, err)
		}
	}
}
