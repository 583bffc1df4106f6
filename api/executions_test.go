package api

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sae/archive"
)

// TestExecuteElimination takes an elimination from its agreement to its certificate.
func TestExecuteElimination(t *testing.T) {
	s := serve(t, nil)
	f := newFixture(t, s)
	c := &asker{served: s}
	path := "/v1/eliminations/" + f.elimination
	read := c.tag(path)
	c.post(archive.OriginatingAgency, path+"/steps", `{"step":"agreed"}`, "", 428)
	c.post(archive.OriginatingAgency, path+"/steps", `{"step":"agreed","reason":"d'accord"}`, read, 201)
	c.post(archive.ControlAuthority, path+"/steps", `{"step":"visaed"}`, read, 412)
	c.post(archive.ControlAuthority, path+"/steps", `{"step":"visaed"}`, c.tag(path), 201)
	key, visaed := s.key("cd99", archive.Archivist), c.tag(path)
	if p := c.post(archive.Archivist, path+"/execute", `{}`, visaed, 422).problem(t); !strings.Contains(fmt.Sprint(p.Faults), "another step") {
		t.Errorf("by who proposed: %+v", p)
	}
	_, other, err := s.a.CreateAPIKey(context.Background(), "administrator", archive.NewAPIKey{Tenant: "cd99", Name: "second", Roles: []archive.Role{archive.Archivist}, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	execute := func(once, match string) *reply {
		return s.ask(other, "POST", path+"/execute", strings.NewReader(`{}`), "Content-Type", "application/json", "Idempotency-Key", once, "If-Match", match, "Prefer", "wait=50")
	}
	if p := execute("1", read).problem(t); p.Code != "changed" {
		t.Errorf("%+v", p)
	}
	before := decode[Execution](t, s.ask(key, "GET", path+"/execution", nil).body)
	if before.State != notBegun || before.Units != 1 {
		t.Errorf("%+v", before)
	}
	r := execute("2", visaed)
	x := decode[Execution](t, r.body)
	if r.StatusCode != 200 || x.State != executed || x.Destroyed != 1 || x.Certificate == nil || r.Header.Get("Location") != path+"/execution" {
		t.Fatalf("%s %s\n%s", r.Status, r.body, s.log)
	}
	if r := execute("2", visaed); r.StatusCode != 200 || r.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("a retry: %s %s", r.Status, r.body)
	}
	if r := execute("3", c.tag(path)); r.StatusCode != 422 {
		t.Errorf("again: %s %s", r.Status, r.body)
	}
	if said := s.ask(key, "GET", path+"/steps", nil); !strings.Contains(string(said.body), `"reason":"d'accord"`) {
		t.Errorf("%s", said.body)
	}
	for at, begins := range map[string]string{"/certificate": "{", "/certificate?format=pdf": "%PDF", "/bordereau": "%PDF", "/message?kind=notification": "<?xml", "/message?kind=control-authority&controlAuthority=AD": "<?xml"} {
		if r := s.ask(key, "GET", path+at, nil); r.StatusCode != 200 || !strings.HasPrefix(string(r.body), begins) {
			t.Errorf("%s: %s %.200q", at, r.Status, r.body)
		}
	}
}

// TestExecutionsStop: what is under way is told to end, and waited for; nothing begins afterwards.
func TestExecutionsStop(t *testing.T) {
	x := NewExecutions()
	began := make(chan struct{})
	r, err := x.begin(context.Background(), "e1", "a", func(ctx context.Context, r *run) error {
		r.done.Store(3)
		close(began)
		<-ctx.Done()
		return ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	<-began
	if _, err := x.begin(context.Background(), "e1", "b", nil); !errors.Is(err, archive.ErrUnderWay) {
		t.Errorf("a second of one elimination: %v", err)
	}
	x.Stop()
	if !r.over() || !errors.Is(r.err, context.Canceled) || r.done.Load() != 3 {
		t.Errorf("%v %v", r.over(), r.err)
	}
	if _, err := x.begin(context.Background(), "e2", "a", nil); !errors.Is(err, archive.ErrUnderWay) {
		t.Errorf("after the end: %v", err)
	}
}

// TestPanicBehindARequest: what panics behind its request ends alone, and says nothing of why.
func TestPanicBehindARequest(t *testing.T) {
	s := serve(t, nil)
	log := &lockedBuffer{}
	x := NewExecutions()
	defer x.Stop()
	api := &service{a: s.a, views: map[string]*archive.Archive{"cd99": s.a}, log: newTestLog(log), executions: x}
	who := &Identity{Name: "archivist", Tenant: "cd99"}
	r, _, err := api.behind(context.Background(), who, "k", "e1", "try", nil, unremembered, func(ctx context.Context) (context.Context, error) { return ctx, nil }, func(context.Context, *run) error { panic("a secret") })
	if err != nil {
		t.Fatal(err)
	}
	<-r.ended
	if !errors.Is(r.err, errInternal) || !strings.Contains(log.String(), "a secret") {
		t.Errorf("%v %s", r.err, log)
	}
	if o, err := s.a.Once("archivist", "cd99", "k"); err != nil { // the key is free again
		t.Error(err)
	} else {
		o.End()
	}
}

// TestExports: units go out as packages, each of which the ledger knows.
func TestExports(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Archivist)
	d := s.deposited(s.key("cd99", archive.Depositor), "1", "contenu")
	ask := func(path, body string) *reply {
		return s.ask(key, "POST", path, strings.NewReader(body), "Content-Type", "application/json")
	}
	r := ask("/v1/exports", fmt.Sprintf(`{"units":[%q],"seda":"2.2"}`, d.Units[0].ID))
	z, err := zip.NewReader(bytes.NewReader(r.body), int64(len(r.body)))
	if err != nil || r.StatusCode != 200 || len(z.File) != 2 {
		t.Fatalf("%v %s %.200q", err, r.Status, r.body)
	}
	if h := s.ask(key, "GET", "/v1/units/"+d.Units[0].ID+"/history", nil); !strings.Contains(string(h.body), `"export"`) {
		t.Errorf("%s", h.body)
	}
	if r := ask("/v1/exports", `{"units":["u2222222222222222222222222a"]}`); r.StatusCode != 404 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if r := ask("/v1/restitutions", `{"originatingAgency":"nobody"}`); r.StatusCode < 400 || r.StatusCode >= 500 {
		t.Errorf("%s %s", r.Status, r.body)
	}
}

// TestAuditOverHTTP: an audit is begun where the archive is administered, and found in the ledger.
func TestAuditOverHTTP(t *testing.T) {
	s := serve(t, nil)
	s.deposited(s.key("cd99", archive.Depositor), "1", "contenu")
	key := s.key("cd99", archive.Administrator)
	start := func() *reply {
		return s.administer(key, "POST", "/v1/audit", strings.NewReader(`{}`), "Content-Type", "application/json", "Idempotency-Key", "1", "Prefer", "wait=50")
	}
	r := start()
	if x := decode[Task](t, r.body); r.StatusCode != 200 || x.State != "ended" || x.Audit == nil || !x.Audit.Sound() {
		t.Fatalf("%s %s", r.Status, r.body)
	}
	if r := start(); r.StatusCode != 200 || r.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("a retry: %s %s", r.Status, r.body)
	}
	list := decode[struct {
		Audits []archive.AuditState `json:"audits"`
	}](t, s.ask(s.key("cd99", archive.Auditor), "GET", "/v1/audits", nil).body)
	if len(list.Audits) != 1 {
		t.Errorf("%+v", list)
	}
	if r := s.administer(key, "POST", "/v1/seal", nil, "Idempotency-Key", "s"); r.StatusCode != 201 || !strings.Contains(string(r.body), `"batch"`) {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if r := s.administer(key, "POST", "/v1/repair", nil, "Idempotency-Key", "r", "Prefer", "wait=50"); r.StatusCode != 200 || !strings.Contains(string(r.body), `"offers"`) {
		t.Errorf("%s %s", r.Status, r.body)
	}
}

// TestRulesOverHTTP: a schedule is changed only as it was read.
func TestRulesOverHTTP(t *testing.T) {
	s := serve(t, nil)
	newFixture(t, s)
	c := &asker{served: s}
	rules := func(duration string) string {
		return string(mustJSON(map[string]string{"file": "rules:\n  - {id: APA, name: APA, duration: " + duration + ", trigger: file-closed, final-action: Destroy, basis: CASF L232-1}\n"}))
	}
	c.post(archive.Archivist, "/v1/rules/plan", rules("P6Y"), "", 200)
	c.post(archive.Archivist, "/v1/rules/import", rules("P6Y"), "", 428)
	read := c.tag("/v1/rules")
	i := decode[Imported](t, c.post(archive.Archivist, "/v1/rules/import", rules("P6Y"), read, 201).body)
	if i.Changed != 1 {
		t.Errorf("%+v", i)
	}
	c.post(archive.Archivist, "/v1/rules/import", rules("P7Y"), read, 412)
	if r := s.ask(s.key("cd99", archive.Depositor), "GET", "/v1/rules/APA", nil); r.StatusCode != 200 || !strings.Contains(string(r.body), `"version":2`) {
		t.Errorf("%s %s", r.Status, r.body)
	}
	file := string(mustJSON(map[string]string{"file": strings.Replace(apa, "name: Allocation", "name: L'allocation", 1)}))
	c.post(archive.Archivist, "/v1/procedures/check", file, "", 200)
	if p := decode[Procedure](t, c.post(archive.Archivist, "/v1/procedures", file, "", 201).body); p.Version != 2 {
		t.Errorf("%+v", p)
	}
}

// TestConversion: a unit gets a copy in another format, once however often it is asked for.
func TestConversion(t *testing.T) {
	s := serve(t, nil)
	d := s.deposited(s.key("cd99", archive.Depositor), "1", "contenu de la demande, en clair")
	key := s.key("cd99", archive.Archivist)
	convert := func() (*reply, ConversionRun) {
		r := s.ask(key, "POST", "/v1/conversions", strings.NewReader(`{"converter":"html","reason":"lecture"}`), "Content-Type", "application/json", "Idempotency-Key", "1", "Prefer", "wait=50")
		return r, decode[ConversionRun](t, r.body)
	}
	if r, x := convert(); r.StatusCode != 200 || x.State != "ended" || x.Outcome == nil || x.Outcome.Objects != 1 || x.Units != 1 {
		t.Fatalf("%s %s", r.Status, r.body)
	}
	if r, x := convert(); r.StatusCode != 200 || x.Outcome == nil || x.Outcome.Objects != 0 || x.Outcome.Already != 1 {
		t.Errorf("again: %s %s", r.Status, r.body)
	}
	if u := decode[archive.Unit](t, s.ask(key, "GET", "/v1/units/"+d.Units[0].ID, nil).body); u.Version != 2 || len(u.Objects) != 2 {
		t.Errorf("%+v", u)
	}
	if r := s.ask(s.key("cd98", archive.Archivist), "GET", "/v1/conversions", nil); !strings.Contains(string(r.body), "not-begun") {
		t.Errorf("another tenant is told of it: %s", r.body)
	}
	held := decode[archive.HeldPage](t, s.ask(key, "GET", "/v1/formats/units?puid=x-fmt/111", nil).body)
	if len(held.Objects) != 1 || !held.Objects[0].Converted {
		t.Errorf("%+v", held)
	}
}
