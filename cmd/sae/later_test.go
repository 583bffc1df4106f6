package main

import (
	"context"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sae/archive"
)

// depositLater asks for a deposit that is worked off later; the error is that no answer came.
func (s *servedProgram) depositLater(key, content string) (status int, at string, err error) {
	ct, body := depositBody(key, content)
	r, err := http.NewRequest("POST", s.url+"/v1/deposits", body)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	r.Header.Set("Idempotency-Key", key)
	r.Header.Set("Prefer", "respond-async")
	r.Header.Set("Content-Type", ct)
	resp, err := (&http.Client{Transport: s.transport}).Do(r)
	if err != nil {
		return 0, "", err
	}
	resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Location"), nil
}

// statusOf is what became of an operation, when it has ended.
func (s *servedProgram) statusOf(at string) string {
	r, err := http.NewRequest("GET", s.url+at, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	r.Header.Set("Prefer", "wait=60")
	resp, err := (&http.Client{Transport: s.transport}).Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var o struct{ Status string }
	if err := json.NewDecoder(resp.Body).Decode(&o); err != nil {
		s.t.Fatal(err)
	}
	return o.Status
}

// TestServeLaterKill kills the service at random moments while deposits come in and are worked off.
// What it took is archived in the end, once, and nothing of a body is left, nor was ever in clear.
func TestServeLaterKill(t *testing.T) {
	program, dir := buildProgram(t), filepath.Join(t.TempDir(), "archive")
	if out, err := exec.Command(program, "init", "--dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	writeServe(t, dir, "serve: {listen: \"127.0.0.1:0\", seal-every: 1s}\n")
	const secret = "Mme Martin-Durand "
	taken := map[string]string{} // by key: where its operation is, "" when no answer came
	for round := range 8 {
		s := startServe(t, program, dir, "--dev")
		var mu sync.Mutex
		var wg sync.WaitGroup
		for client := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					key := fmt.Sprintf("%d-%d-%d", round, client, i)
					mu.Lock()
					taken[key] = ""
					mu.Unlock()
					status, at, err := s.depositLater(key, strings.Repeat(secret+key, 1+mathrand.IntN(2000)))
					if err != nil {
						return
					}
					if status != 202 {
						t.Errorf("%s: %d", key, status)
						return
					}
					mu.Lock()
					taken[key] = at
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(50+mathrand.IntN(400)) * time.Millisecond)
		s.cmd.Process.Signal(syscall.SIGKILL)
		s.cmd.Wait()
		wg.Wait()
		mustNotHold(t, dir, secret)
	}
	s := startServe(t, program, dir, "--dev")
	answered := 0
	for key, at := range taken {
		if at == "" {
			continue // whether it was taken the count of units tells, below
		}
		answered++
		if got := s.statusOf(at); got != "archived" {
			t.Errorf("%s: %s", key, got)
		}
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("ended by a signal: %v\n%s", err, &s.errors)
	}
	a, err := archive.Open(dir, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if waiting, err := a.RecoverJobs(); err != nil || len(waiting) > 0 {
		t.Errorf("%d wait, %v", len(waiting), err)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "jobs")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	page, err := a.List(archive.Filter{Limit: 10_000})
	titles := map[string]int{}
	for _, u := range page.Units {
		titles[u.Title]++
	}
	for key, at := range taken {
		if n := titles[key]; n > 1 || n == 0 && at != "" {
			t.Errorf("%s was archived %d times", key, n)
		}
	}
	if err != nil || len(page.Units) < answered || answered < 30 {
		t.Errorf("%d units, %d answered, %v", len(page.Units), answered, err)
	}
	if report, err := a.Audit(context.Background(), "test", archive.AuditOptions{Sample: 1}); err != nil || !report.Sound() {
		t.Errorf("%v %+v", err, report)
	}
	t.Logf("%d asked for, %d answered, %d units", len(taken), answered, len(page.Units))
}

// mustNotHold fails when a file below dir has the text.
func mustNotHold(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if strings.Contains(string(b), text) {
			t.Errorf("%s has it in clear", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
