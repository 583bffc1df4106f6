package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sae/archive"
	"sae/archive/serving"
	"sae/retention"
)

// served is a service over TLS, on an archive that is audited when the test ends.
type served struct {
	t      testing.TB
	a      *archive.Archive
	dir    string
	ts     *httptest.Server
	beside *httptest.Server // administration
	settle func()           // waits for what goes on behind requests
	c      *http.Client
	log    *lockedBuffer
	queue  *Queue
	keys   map[string]string // secrets, by tenant and role
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// twoTenants are tenants whose roles are held by persons named as they are.
const twoTenants = `converters:
  - {id: html, from: [x-fmt/111], to: [fmt/471], extension: html, tool: cat, command: [sh, -c, 'printf "<!DOCTYPE html><html><head><title>t</title></head><body>" > "$2"; cat "$1" >> "$2"; printf "</body></html>" >> "$2"', sh, "{in}", "{out}"]}
tenants:
  - id: cd99
    name: Département 99
    agreements: [{id: default, name: Versements}]
    roles: {depositor: [depositor], archivist: [archivist, second], originating-agency: [originating-agency], control-authority: [control-authority], data-protection-officer: [data-protection-officer], auditor: [auditor], administrator: [administrator]}
  - id: cd98
    name: Département 98
    agreements: [{id: default, name: Versements}]
    roles: {depositor: [depositor], archivist: [archivist], originating-agency: [originating-agency], control-authority: [control-authority], data-protection-officer: [data-protection-officer], auditor: [auditor], administrator: [administrator]}
`

// serve makes an archive with two tenants, and serves it.
func serve(t testing.TB, edit func(*serving.Config)) *served {
	t.Helper()
	return serveAnd(t, edit, true, nil)
}

// serveHeld serves, but works nothing off before hold is closed.
func serveHeld(t testing.TB, edit func(*serving.Config), hold chan struct{}) *served {
	t.Helper()
	return serveAnd(t, edit, true, hold)
}

// serveDamaged serves an archive that is not sound in the end.
func serveDamaged(t testing.TB) *served {
	t.Helper()
	return serveAnd(t, nil, false, nil)
}

func serveAnd(t testing.TB, edit func(*serving.Config), sound bool, hold chan struct{}) *served {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "a")
	if _, err := archive.Create(dir, archive.New{Tenant: "cd99"}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, archive.ConfigName)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	from := bytes.Index(text, []byte("\ntenants:")) + 1
	to := from + bytes.Index(text[from:], []byte("\noffers:")) + 1
	edited := string(text[:from]) + twoTenants + string(text[to:])
	if err := os.WriteFile(path, []byte(edited), 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := archive.Open(dir, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		report, err := a.Audit(context.Background(), "test", archive.AuditOptions{Sample: 1})
		if err != nil || sound != report.Sound() {
			t.Errorf("after the test the archive is sound: %v, %v %+v", !sound, err, report)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	var none *serving.Config
	config := none.With()
	config.Vitam.Tenants = map[int]string{0: "cd99", 1: "cd98"}
	if edit != nil {
		edit(&config)
	}
	s := &served{t: t, a: a, dir: dir, log: &lockedBuffer{}, keys: map[string]string{}}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	sealer := NewSealer(a, "sealer", time.Hour, log)
	ctx, stop := context.WithCancel(context.Background())
	sealing := make(chan struct{})
	go func() { defer close(sealing); sealer.Run(ctx) }()
	executions := NewExecutions()
	queue, err := NewQueue(a, config.Limits, log)
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(a, Config{Version: "test", Serving: config, Sealer: sealer, Queue: queue, Spool: filepath.Join(dir, "spool"), Executions: executions, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	working := make(chan struct{})
	go func() {
		defer close(working)
		if hold != nil {
			select {
			case <-hold:
			case <-ctx.Done():
				return
			}
		}
		queue.Run(ctx)
	}()
	s.queue = queue
	s.ts, s.beside = httptest.NewTLSServer(h), httptest.NewTLSServer(h.Admin)
	s.c, s.settle = s.ts.Client(), executions.wg.Wait
	t.Cleanup(func() {
		s.ts.Close()
		s.beside.Close()
		executions.Stop()
		stop()
		<-sealing
		<-working
	})
	return s
}

// key gives the secret of a key of a tenant with one role, whose name is the role's.
func (s *served) key(tenant string, role archive.Role) string {
	s.t.Helper()
	at := tenant + "/" + string(role)
	if s.keys[at] == "" {
		_, secret, err := s.a.CreateAPIKey(context.Background(), "administrator", archive.NewAPIKey{Tenant: tenant, Name: string(role), Roles: []archive.Role{role}, Expires: time.Now().Add(time.Hour)})
		if err != nil {
			s.t.Fatal(err)
		}
		s.keys[at] = secret
	}
	return s.keys[at]
}

// reply is an answer, read whole.
type reply struct {
	*http.Response
	body []byte
}

func (r *reply) problem(t testing.TB) Problem {
	t.Helper()
	var p Problem
	if err := json.Unmarshal(r.body, &p); err != nil || r.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("not a problem: %s %s %q", r.Status, r.Header.Get("Content-Type"), r.body)
	}
	return p
}

// ask sends a request by a key; headers are names and values in turn.
func (s *served) ask(key, method, path string, body io.Reader, headers ...string) *reply {
	s.t.Helper()
	return s.send(s.ts, key, method, path, body, headers...)
}

// administer asks the listener of administration.
func (s *served) administer(key, method, path string, body io.Reader, headers ...string) *reply {
	s.t.Helper()
	return s.send(s.beside, key, method, path, body, headers...)
}

func (s *served) send(to *httptest.Server, key, method, path string, body io.Reader, headers ...string) *reply {
	s.t.Helper()
	r, err := http.NewRequest(method, to.URL+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.c.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return &reply{resp, b}
}

// part is a part of a multipart body.
type part struct {
	name    string
	content string
	headers []string
}

// form writes a multipart body.
func form(parts ...part) (contentType string, body *bytes.Buffer) {
	body = &bytes.Buffer{}
	w := multipart.NewWriter(body)
	for _, p := range parts {
		h := textproto.MIMEHeader{"Content-Disposition": {fmt.Sprintf(`form-data; name=%q; filename="x"`, p.name)}}
		for i := 0; i < len(p.headers); i += 2 {
			h.Set(p.headers[i], p.headers[i+1])
		}
		pw, _ := w.CreatePart(h)
		io.WriteString(pw, p.content)
	}
	w.Close()
	return w.FormDataContentType(), body
}

// oneFile is the metadata of a deposit of one file.
const oneFile = `{"units":[{"title":"Demande","content":{"part":"f","filename":"demande.txt"}}]}`

// deposit deposits a text.
func (s *served) deposit(key, once, content string, headers ...string) *reply {
	s.t.Helper()
	ct, body := form(part{"metadata", oneFile, nil}, part{"f", content, nil})
	return s.ask(key, "POST", "/v1/deposits", body, append([]string{"Content-Type", ct, "Idempotency-Key", once}, headers...)...)
}

func (s *served) deposited(key, once, content string) Deposited {
	s.t.Helper()
	r := s.deposit(key, once, content)
	var d Deposited
	if err := json.Unmarshal(r.body, &d); err != nil || r.StatusCode != http.StatusCreated {
		s.t.Fatalf("%s: %s", r.Status, r.body)
	}
	return d
}

func (s *served) units(tenant string) int {
	s.t.Helper()
	p, err := s.a.As("auditor", retention.ToRead).List(archive.Filter{Tenant: tenant, Limit: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	return len(p.Units)
}

func TestDepositAndRead(t *testing.T) {
	s := serve(t, nil)
	dep, arc := s.key("cd99", archive.Depositor), s.key("cd99", archive.Archivist)
	const content = "Je demande une carte mobilité inclusion."
	d := s.deposited(dep, "k1", content)
	sum := sha256.Sum256([]byte(content))
	u := d.Units[0]
	if u.Title != "Demande" || u.Objects[0].SHA256 != fmt.Sprintf("%x", sum) || d.Entry < 1 || !strings.HasPrefix(d.Receipt, "c2sp.org/tlog-proof") {
		t.Fatalf("%+v", d)
	}
	r := s.ask(arc, "GET", "/v1/objects/"+u.Objects[0].ID+"/content", nil)
	if string(r.body) != content || r.Header.Get("Repr-Digest") != digestHeader(sum[:]) {
		t.Errorf("%s %v %q", r.Status, r.Header, r.body)
	}
	etag := r.Header.Get("ETag")
	r = s.ask(arc, "GET", "/v1/objects/"+u.Objects[0].ID+"/content", nil, "Range", "bytes=3-10", "If-Range", etag)
	if r.StatusCode != 206 || string(r.body) != content[3:11] {
		t.Errorf("range: %s %q", r.Status, r.body)
	}
	r = s.ask(arc, "GET", "/v1/objects/"+u.Objects[0].ID+"/content", nil, "Range", "bytes=3-10", "If-Range", `"other"`)
	if r.StatusCode != 200 || string(r.body) != content {
		t.Errorf("if-range: %s %q", r.Status, r.body)
	}
	if r = s.ask(arc, "HEAD", "/v1/objects/"+u.Objects[0].ID+"/content", nil); r.StatusCode != 200 || r.ContentLength != int64(len(content)) || len(r.body) != 0 {
		t.Errorf("head: %s %d", r.Status, r.ContentLength)
	}
	r = s.ask(arc, "GET", "/v1/units/"+u.ID, nil)
	var shown archive.Unit
	if err := json.Unmarshal(r.body, &shown); err != nil || shown.Title != "Demande" {
		t.Errorf("%v %s", err, r.body)
	}
	if again := s.ask(arc, "GET", "/v1/units/"+u.ID, nil, "If-None-Match", r.Header.Get("ETag")); again.StatusCode != 304 || len(again.body) != 0 {
		t.Errorf("not modified: %s %q", again.Status, again.body)
	}
	for _, path := range []string{"/v1/units", "/v1/units/" + u.ID + "/history", "/v1/units/" + u.ID + "/retention", "/v1/files", "/v1/retention/due", "/v1/ledger/checkpoint", "/v1/ledger/entries/1", "/v1/ledger/entries/1/receipt", "/v1/ledger/consistency?from=1&to=2", "/v1/ledger/tile/entries/000.p/1", fmt.Sprintf("/v1/deposits/%d", d.Entry), "/docs", "/openapi.json", "/openapi.yaml"} {
		if r := s.ask(arc, "GET", path, nil); r.StatusCode != 200 || len(r.body) == 0 {
			t.Errorf("%s: %s %s", path, r.Status, r.body)
		}
	}
	r = s.ask(arc, "POST", "/v1/search", strings.NewReader(`{"words":"demande"}`), "Content-Type", "application/json")
	if !strings.Contains(string(r.body), u.ID) {
		t.Errorf("search: %s %s", r.Status, r.body)
	}
	if strings.Contains(s.log.String(), "Demande") || strings.Contains(s.log.String(), u.ID) {
		t.Errorf("the log of the service names what was read:\n%s", s.log)
	}
}

func TestPreferWaitGivesTheSealAndTheProof(t *testing.T) {
	// A client that waits is not one that rests: the wait is longer than clients may rest.
	s := serve(t, func(c *serving.Config) { c.Limits.Idle = 500 * time.Millisecond })
	r := s.deposit(s.key("cd99", archive.Depositor), "k1", "x", "Prefer", "handling=strict, wait=50")
	var d Deposited
	if err := json.Unmarshal(r.body, &d); err != nil || d.Sealed == nil || r.Header.Get("Preference-Applied") != "wait=50" {
		t.Fatalf("%s %v %s", r.Status, r.Header, r.body)
	}
	r = s.ask(s.key("cd99", archive.Auditor), "GET", "/v1/units/"+d.Units[0].ID+"/proof", nil)
	if r.StatusCode != 200 || !bytes.HasPrefix(r.body, []byte("PK")) {
		t.Errorf("%s %.200q", r.Status, r.body)
	}
	d = s.deposited(s.key("cd99", archive.Depositor), "k2", "y")
	if p := s.ask(s.key("cd99", archive.Auditor), "GET", "/v1/units/"+d.Units[0].ID+"/proof", nil).problem(t); p.Code != "not-sealed" || p.Status != 409 {
		t.Errorf("%+v", p)
	}
}

// TestMetadataIsBounded: a list that is too long is one thing that is wrong, whatever is in it; of many
// wrong things as many are told as anybody reads.
func TestMetadataIsBounded(t *testing.T) {
	s := serve(t, nil)
	for metadata, want := range map[string]int{
		`{"units":[` + strings.Repeat("0,", 10_000) + `0]}`:                        1,
		`{"units":[{"title":"x"}],"parents":[` + strings.Repeat("0,", 100) + `0]}`: 1,
		`{"units":[` + strings.Repeat("0,", 9_999) + `0]}`:                         maxFaults,
	} {
		ct, body := form(part{"metadata", metadata, nil})
		p := s.ask(s.key("cd99", archive.Depositor), "POST", "/v1/deposits", body, "Content-Type", ct, "Idempotency-Key", "k").problem(t)
		if p.Code != "invalid" || len(p.Faults) != want {
			t.Errorf("%.40s…: %s with %d faults, want %d", metadata, p.Code, len(p.Faults), want)
		}
	}
}
