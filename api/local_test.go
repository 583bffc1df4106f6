package api

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"sae/archive"
)

// TestLocal: the program says who asks, and a header that says another does not count; without the
// program nobody does.
func TestLocal(t *testing.T) {
	s := serve(t, nil)
	h := s.ts.Config.Handler
	for _, tt := range []struct {
		who    Identity
		status int
	}{
		{Identity{Name: "auditor", Roles: []archive.Role{archive.Auditor}}, 200},
		{Identity{Name: "auditor", Tenant: "cd98", Roles: []archive.Role{archive.Auditor}}, 200},
		{Identity{Name: "depositor", Roles: []archive.Role{archive.Depositor}}, 403},
		{Identity{Name: "x"}, 403},
		{Identity{Name: "x", Tenant: "none", Roles: archive.Roles}, 404},
	} {
		c := &http.Client{Transport: Local(h, tt.who)}
		r, err := http.NewRequest("GET", "http://archive/v1/units", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+s.key("cd99", archive.Administrator))
		answer, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != tt.status {
			t.Errorf("%+v: %d %s %v", tt.who, answer.StatusCode, b, err)
		}
	}
	if got := s.ask("", "GET", "/v1/units", nil); got.StatusCode != 401 {
		t.Errorf("nobody: %d", got.StatusCode)
	}
	cut := &http.Client{Transport: Local(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "half")
		panic(http.ErrAbortHandler)
	}), Identity{})}
	if _, err := cut.Get("http://archive/"); err == nil || !strings.Contains(err.Error(), "cut") {
		t.Errorf("an answer that is cut: %v", err)
	}
	large := &http.Client{Transport: Local(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range maxLocal/(1<<20) + 1 {
			w.Write(make([]byte, 1<<20))
		}
	}), Identity{})}
	if _, err := large.Get("http://archive/"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("an answer that is too large: %v", err)
	}
}

// TestFindFiles: who deposits finds the open files of a person by an identifier, and is told no more.
func TestFindFiles(t *testing.T) {
	s := serve(t, nil)
	newFixture(t, s)
	key := s.key("cd99", archive.Depositor)
	find := func(body string) *reply {
		return s.ask(key, "POST", "/v1/files/find", strings.NewReader(body), "Content-Type", "application/json")
	}
	const claire = `{"person":{"issuer":"https://sso.example","sub":"claire"},"procedure":"apa"}`
	if got := find(claire); got.StatusCode != 200 || strings.TrimSpace(string(got.body)) != `{"files":[]}` {
		t.Errorf("somebody who is not known: %d %s", got.StatusCode, got.body)
	}
	made := s.ask(key, "POST", "/v1/subjects", strings.NewReader(`{"familyName":"Martin","identities":[{"issuer":"https://sso.example","sub":"claire"}]}`), "Content-Type", "application/json", "Idempotency-Key", "s")
	subject := decode[archive.Subject](t, made.body).ID
	opened := s.ask(key, "POST", "/v1/files", strings.NewReader(`{"procedure":"apa","number":"APA-7","persons":["`+subject+`"]}`), "Content-Type", "application/json", "Idempotency-Key", "f")
	unit := decode[Deposited](t, opened.body).Units[0].ID
	if got := decode[FilesFound](t, find(claire).body); got.Subject != subject || len(got.Files) != 1 || got.Files[0] != unit {
		t.Errorf("%+v", got)
	}
	if got := find(strings.Replace(claire, "apa", "rsa", 1)); got.StatusCode != 404 {
		t.Errorf("a procedure that is not there: %d", got.StatusCode)
	}
	if got := s.ask(key, "POST", "/v1/files/"+unit+"/close", strings.NewReader(`{}`), "Content-Type", "application/json", "Idempotency-Key", "c"); got.StatusCode != 201 {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	if got := decode[FilesFound](t, find(claire).body); got.Subject != subject || len(got.Files) != 0 {
		t.Errorf("closed: %+v", got)
	}
}
