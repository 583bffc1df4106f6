package api

import (
	"strings"
	"testing"

	"sae/archive"
)

// TestElimination: three persons take three steps, and a retry takes none twice.
func TestElimination(t *testing.T) {
	s := serve(t, nil)
	f := newFixture(t, s)
	path := "/v1/eliminations/" + f.elimination
	tag := func() string { return s.ask(s.key("cd99", archive.Auditor), "GET", path, nil).Header.Get("ETag") }
	step := func(role archive.Role, once, body string) *reply {
		return s.ask(s.key("cd99", role), "POST", path+"/steps", strings.NewReader(body), "Content-Type", "application/json", "Idempotency-Key", once, "If-Match", tag())
	}
	if r := step(archive.ControlAuthority, "1", `{"step":"visaed"}`); r.StatusCode != 422 {
		t.Errorf("a visa before the agreement: %s %s", r.Status, r.body)
	}
	if r := step(archive.Archivist, "1", `{"step":"agreed"}`); r.StatusCode != 422 {
		t.Errorf("agreed by who proposed: %s %s", r.Status, r.body)
	}
	if r := step(archive.Archivist, "1", `{"step":"executed"}`); r.StatusCode != 422 || r.problem(t).Code != "invalid" {
		t.Errorf("executed over HTTP: %s %s", r.Status, r.body)
	}
	for range 2 {
		r := step(archive.OriginatingAgency, "2", `{"step":"agreed","reason":"d'accord"}`)
		if e := decode[archive.Elimination](t, r.body); r.StatusCode != 201 || len(e.Steps) != 2 {
			t.Errorf("%s %s", r.Status, r.body)
		}
	}
	r := step(archive.ControlAuthority, "3", `{"step":"visaed","reason":"vu"}`)
	if e := decode[archive.Elimination](t, r.body); r.StatusCode != 201 || len(e.Steps) != 3 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	key := s.key("cd99", archive.ControlAuthority)
	if r := s.ask(key, "GET", path+"/units", nil); r.StatusCode != 200 || !strings.HasSuffix(string(r.body), "{\"units\":1}\n") {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if r := s.ask(key, "GET", path, nil); !strings.Contains(string(r.body), "MDPH") {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if r := s.ask(s.key("cd98", archive.Archivist), "GET", "/v1/eliminations", nil); strings.Contains(string(r.body), f.elimination) {
		t.Errorf("%s", r.body)
	}
}
