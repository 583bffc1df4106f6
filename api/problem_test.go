package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sae/archive"
	"sae/archive/serving"
)

func TestErrorsToProblems(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
		told   string // in the faults; "" wants none
	}{
		{&archive.DestroyedError{}, 410, "destroyed", "destroyed"},
		{archive.ErrNotFound, 404, "not-found", "not found"},
		{&archive.NotOpenError{}, 403, "not-open", "who has a role that reads"},
		{&archive.Refusal{Problems: []string{"one", "two"}}, 422, "refused", "two"},
		{archive.ErrLocked, 503, "locked", ""},
		{archive.ErrReadOnly, 503, "read-only", ""},
		{archive.ErrNotSealed, 409, "not-sealed", "not sealed yet"},
		{archive.ErrOutdated, 412, "changed", "since it was read"},
		{errNoMatch, 428, "if-match-required", "If-Match"},
		{archive.ErrNoAuthority, 503, "no-authority", ""},
		{archive.ErrUnderWay, 409, "under-way", "under way"},
		{archive.ErrOtherRequest, 422, "key-reused", "another request"},
		{archive.ErrBadKey, 401, "unauthenticated", ""},
		{&archive.DamagedError{What: "catalogue", Where: "/srv/secret"}, 500, "damaged", ""},
		{fmt.Errorf("reading: %w", &archive.DamagedError{Err: archive.ErrNotFound}), 500, "damaged", ""},
		{&archive.RollbackError{}, 500, "damaged", ""},
		{&http.MaxBytesError{Limit: 3}, 413, "too-large", "too large"},
		{errors.New("open /srv/secret: no space left"), 500, "internal", ""},
		{context.Canceled, 400, "incomplete", "canceled"},
	} {
		p := problemOf(fmt.Errorf("doing it: %w", c.err))
		if p.Status != c.status || p.Code != c.code {
			t.Errorf("%v: %d %s, want %d %s", c.err, p.Status, p.Code, c.status, c.code)
		}
		told := fmt.Sprint(p.Faults)
		if c.told == "" && len(p.Faults) > 0 || !strings.Contains(told, c.told) || strings.Contains(told, "/srv/secret") {
			t.Errorf("%v: faults %s, want %q", c.err, told, c.told)
		}
		if c.told != "" && c.code == "refused" && len(p.Faults) != 2 {
			t.Errorf("not all problems are told: %v", p.Faults)
		}
	}
}

func TestProblemsSpeakTwoLanguages(t *testing.T) {
	for accept, want := range map[string]string{"": "Not found", "fr": "Introuvable", "fr-CA, en;q=0.5": "Introuvable", "en-GB, fr;q=0.9": "Not found", "de": "Not found", ";;;": "Not found"} {
		if p := problemOf(archive.ErrNotFound).in(accept, "id"); p.Title != want || p.Detail == "" || p.Type != "/docs#not-found" || p.ID != "id" {
			t.Errorf("%q: %+v", accept, p)
		}
	}
	for _, k := range docKinds() {
		if k.FR == "" || k.EN == "" || k.FR == k.EN || k.Status < 400 {
			t.Errorf("%+v", k)
		}
	}
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	s := serve(t, nil)
	for _, path := range []string{"/docs", "/openapi.json", "/nothing", "/v1/units"} {
		r := s.ask("", "GET", path, nil, "X-Request-Id", "my-id")
		for _, h := range []string{"X-Content-Type-Options", "Content-Security-Policy", "Strict-Transport-Security", "Referrer-Policy"} {
			if r.Header.Get(h) == "" {
				t.Errorf("%s lacks %s", path, h)
			}
		}
		if r.Header.Get("X-Request-Id") != "my-id" {
			t.Errorf("%s: request %q", path, r.Header.Get("X-Request-Id"))
		}
	}
	if r := s.ask("", "GET", "/nothing", nil, "X-Request-Id", "an id\twith more"); strings.Contains(r.Header.Get("X-Request-Id"), "more") {
		t.Error("whatever a client sends is in the log")
	}
	if p := s.ask("", "PATCH", "/v1/units", nil).problem(t); p.Status != 405 {
		t.Errorf("%+v", p)
	}
	if r := s.ask("", "PATCH", "/v1/units", nil); r.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("Allow: %q", r.Header.Get("Allow"))
	}
}

// TestPanic: a handler that panics is answered for, and the next request is served.
func TestPanic(t *testing.T) {
	log := &lockedBuffer{}
	s := &service{config: serving.Config{}, limiter: newLimiter(serving.Limits{Concurrent: 1, PerClient: 1, Rate: 1}), log: newTestLog(log)}
	first := true
	h := s.around(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if first {
			first = false
			panic("a secret of the program")
		}
		w.WriteHeader(204)
	}))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") || !strings.Contains(w.Body.String(), `"internal"`) || !strings.Contains(log.String(), "a secret of the program") {
		t.Errorf("%d %s\n%s", w.Code, w.Body, log)
	}
	w = httptest.NewRecorder()
	if h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil)); w.Code != 204 {
		t.Errorf("after a panic: %d", w.Code)
	}
}

func TestLimits(t *testing.T) {
	l := newLimiter(serving.Limits{Concurrent: 1, PerClient: 2, Rate: 3})
	leave, err := l.enter()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.enter(); !errors.Is(err, errBusy) {
		t.Errorf("a second of all: %v", err)
	}
	leave()
	if leave, err = l.enter(); err != nil {
		t.Errorf("after the first: %v", err)
	}
	leave()
	at := time.Now()
	one, _ := l.take("a", at)
	if _, err := l.take("a", at); err != nil {
		t.Errorf("a second: %v", err)
	}
	if _, err := l.take("a", at); !errors.Is(err, errTooMany) {
		t.Errorf("a third at a time: %v", err)
	}
	if _, err := l.take("b", at); err != nil {
		t.Errorf("another client: %v", err)
	}
	one()
	if one, err = l.take("a", at); err != nil {
		t.Errorf("the third of the second: %v", err)
	}
	one()
	if _, err := l.take("a", at); !errors.Is(err, errTooMany) {
		t.Errorf("a fourth in a second: %v", err)
	}
	if _, err := l.take("a", at.Add(400*time.Millisecond)); err != nil {
		t.Errorf("later: %v", err)
	}
}

func TestOverloadIsTold(t *testing.T) {
	s := serve(t, func(c *serving.Config) { c.Limits.Rate = 2 })
	key := s.key("cd99", archive.Auditor)
	var last *reply
	for range 4 {
		last = s.ask(key, "GET", "/v1/ledger/checkpoint", nil)
	}
	if last.StatusCode != 429 || last.Header.Get("Retry-After") == "" {
		t.Errorf("%s %v", last.Status, last.Header)
	}
}

func TestUploadIsBounded(t *testing.T) {
	s := serve(t, func(c *serving.Config) { c.Limits.Upload = 4 << 10 })
	key := s.key("cd99", archive.Depositor)
	if r := s.deposit(key, "1", strings.Repeat("x", 8<<10)); r.StatusCode != 413 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if r := s.deposit(key, "1", "small"); r.StatusCode != 201 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if n := s.units("cd99"); n != 1 {
		t.Errorf("%d units", n)
	}
}
