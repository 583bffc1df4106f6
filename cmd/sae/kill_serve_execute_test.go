package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sae/api"
	"sae/archive"
)

// TestServeKillExecute kills the service at random moments while it executes an elimination. Who asks
// again with the same key and the same If-Match comes to its end: all of the list is destroyed, once.
func TestServeKillExecute(t *testing.T) {
	program, dir := buildProgram(t), filepath.Join(t.TempDir(), "archive")
	if out, err := exec.Command(program, "init", "--dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	config := filepath.Join(dir, archive.ConfigName)
	b, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	roles := []byte("    roles: {archivist: [alice, dave], originating-agency: [bob], control-authority: [carol]}\n    accept-unknown:")
	if err := os.WriteFile(config, bytes.Replace(b, []byte("    accept-unknown:"), roles, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	writeServe(t, dir, "serve: {listen: \"127.0.0.1:0\", seal-every: 1h}\n")
	id, secret := visaedList(t, dir, 2500)
	match, kills := "", 0
	var last api.Execution
	for last.Certificate == nil {
		if kills++; kills > 100 {
			t.Fatal("it does not come to its end")
		}
		s := startServe(t, program, dir, "--dev")
		s.key = secret
		at := s.url + "/v1/eliminations/" + id
		if match == "" {
			match = s.mustAsk("GET", at, "", nil).Header.Get("ETag")
		}
		process := s.cmd.Process
		kill := time.AfterFunc(time.Duration(20+rand.IntN(60+100*kills))*time.Millisecond, func() { process.Signal(syscall.SIGKILL) })
		r, err := s.ask("POST", at+"/execute", "{}", http.Header{"Idempotency-Key": {"execute"}, "If-Match": {match}, "Prefer": {"wait=50"}, "Content-Type": {"application/json"}})
		if err == nil {
			body, failed := io.ReadAll(r.Body)
			r.Body.Close()
			if r.StatusCode != 200 && r.StatusCode != 202 {
				t.Fatalf("%s %s", r.Status, body)
			}
			if failed == nil {
				json.Unmarshal(body, &last)
			}
		}
		kill.Stop()
		if last.State == "executed" && last.Certificate == nil { // it was killed before its certificate
			s.cmd.Process.Signal(syscall.SIGKILL)
			s.cmd.Wait()
			s = startServe(t, program, dir, "--dev")
			s.key = secret
			s.mustAsk("POST", s.url+"/v1/eliminations/"+id+"/certificate", "", http.Header{"Idempotency-Key": {"certify"}})
			json.NewDecoder(s.mustAsk("GET", s.url+"/v1/eliminations/"+id+"/execution", "", nil).Body).Decode(&last)
		}
		s.cmd.Process.Signal(syscall.SIGKILL)
		s.cmd.Wait()
	}
	if last.Destroyed != 2500 || len(last.Kept) > 0 {
		t.Errorf("%+v", last)
	}
	a, err := archive.Open(dir, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	e, err := a.Elimination(id)
	if err != nil || len(e.Steps) != 5 || e.State() != archive.Certified {
		t.Errorf("%+v %v", e, err)
	}
	if r, err := a.Audit(context.Background(), "test", archive.AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r, err)
	}
	t.Logf("%d kills", kills)
}

// visaedList archives units whose retention is over, has them proposed, agreed to and visaed, and gives a
// key of who executes.
func visaedList(t *testing.T, dir string, units int) (id, secret string) {
	t.Helper()
	ctx := context.Background()
	a, err := archive.Open(dir, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	d := archive.Deposit{}
	for range units {
		d.Units = append(d.Units, archive.NewUnit{Parent: -1, Title: "Périmé", Channel: archive.Paper, Paper: &archive.PhysicalObject{Location: "Magasin 2"}, Rule: "EXAMPLE-5Y", RuleStart: "2001-01-01"})
	}
	if _, err = a.Deposit(ctx, "alice", d); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Seal(ctx, "alice"); err != nil {
		t.Fatal(err)
	}
	e, err := a.ProposeElimination(ctx, "alice", archive.EliminationRequest{At: "2020-01-01"})
	if err == nil {
		_, err = a.StepElimination(ctx, "bob", e.ID, archive.Agreed, archive.StepText{})
	}
	if err == nil {
		_, err = a.StepElimination(ctx, "carol", e.ID, archive.Visaed, archive.StepText{})
	}
	if err == nil {
		_, secret, err = a.CreateAPIKey(ctx, "alice", archive.NewAPIKey{Name: "dave", Roles: []archive.Role{archive.Archivist}, Expires: time.Now().Add(time.Hour)})
	}
	if err != nil {
		t.Fatal(err)
	}
	return e.ID, secret
}

// ask sends a request; the error is that no answer came.
func (s *servedProgram) ask(method, url, body string, header http.Header) (*http.Response, error) {
	r, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if header != nil {
		r.Header = header.Clone()
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	return (&http.Client{Transport: s.transport}).Do(r)
}

// mustAsk wants an answer that is no problem.
func (s *servedProgram) mustAsk(method, url, body string, header http.Header) *http.Response {
	s.t.Helper()
	r, err := s.ask(method, url, body, header)
	if err != nil || r.StatusCode >= 300 {
		s.t.Fatalf("%s %s: %v %+v\n%s", method, url, err, r, &s.errors)
	}
	return r
}
