package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"sae/api/remote"
	"sae/archive"
	"sae/archive/serving"
	"sae/retention"
)

// TestVerbsAreForSomebody: the table of verbs, walked by every role and on both listeners.
func TestVerbsAreForSomebody(t *testing.T) {
	for name, v := range verbs {
		if len(v.roles) == 0 {
			t.Errorf("sae %s is for nobody", name)
		}
		for _, role := range archive.Roles {
			who := &Identity{Roles: []archive.Role{role}}
			for _, whole := range []bool{false, true} {
				may := slices.Contains(v.roles, role) && v.whole == whole
				if err := who.mayRun(name, whole); may != (err == nil) {
					t.Errorf("sae %s by %s, administration %v: %v", name, role, whole, err)
				}
			}
		}
		if v.whole && slices.ContainsFunc(v.roles, func(r archive.Role) bool { return r != archive.Administrator && r != archive.Auditor }) {
			t.Errorf("sae %s concerns the archive as a whole: for administrators, and auditors who read", name)
		}
	}
	if err := (&Identity{Roles: archive.Roles}).mayRun("init", false); err == nil {
		t.Error("init is run")
	}
}

// commands serves an archive of two tenants with a runner of verbs.
func commands(t *testing.T, run RunCommand, edit func(*serving.Config)) (*served, *httptest.Server) {
	t.Helper()
	s := serve(t, nil)
	var none *serving.Config
	config := none.With()
	if edit != nil {
		edit(&config)
	}
	h, err := New(s.a, Config{Serving: config, Run: run, Log: slog.New(slog.NewTextHandler(s.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewTLSServer(h)
	t.Cleanup(ts.Close)
	return s, ts
}

func ask(ctx context.Context, ts *httptest.Server, key, verb string, args ...string) (status int, said string, err error) {
	a := remote.Ask{Verb: verb}
	for _, arg := range args {
		a.Args = append(a.Args, []byte(arg))
	}
	var out bytes.Buffer
	status, err = (&remote.Client{URL: ts.URL, Key: key, HTTP: ts.Client()}).Run(ctx, a, remote.Streams{In: strings.NewReader("typed"), Out: &out, ErrOut: &out}, remote.Named{})
	return status, out.String(), err
}

// TestCommandIsOfWhoAsks: name and tenant are those of the key, and of another tenant nothing is there.
func TestCommandIsOfWhoAsks(t *testing.T) {
	var got *Command
	s, ts := commands(t, func(_ context.Context, c *Command) int {
		got = c
		b, _ := io.ReadAll(c.In)
		c.Out.Write(b)
		return 5
	}, nil)
	f := newFixture(t, s)
	status, said, err := ask(t.Context(), ts, s.key("cd98", archive.Archivist), "show", "--json=true", "--", f.unit)
	if err != nil || status != 5 || said != "typed" {
		t.Fatalf("%d %q %v", status, said, err)
	}
	if got.Agent != "archivist" || got.Tenant != "cd98" || got.Verb != "show" || !slices.Equal(got.Args, []string{"--json=true", "--", f.unit}) {
		t.Errorf("%+v", got)
	}
	if _, err := got.Archive.As("archivist", retention.ToRead).For(archive.ForInstruction, "").Unit(f.unit, 0); !errors.Is(err, archive.ErrNotFound) {
		t.Errorf("what another tenant has: %v", err)
	}
	if _, err := got.Archive.Status(); !errors.Is(err, archive.ErrArchiveWide) {
		t.Errorf("the whole archive: %v", err)
	}
	if strings.Contains(s.log.String(), f.unit) {
		t.Error("arguments are in the log")
	}
	if batches, err := got.Seal(t.Context()); err != nil || len(batches) == 0 {
		t.Errorf("sealing for a verb: %v %v", batches, err)
	}
}

func TestCommandsAreRefused(t *testing.T) {
	ran := make(chan struct{}, 1)
	hold := make(chan struct{})
	s, ts := commands(t, func(context.Context, *Command) int { ran <- struct{}{}; <-hold; return 0 }, func(c *serving.Config) { c.Limits.Commands = 1 })
	refused := func(key string, want int) {
		t.Helper()
		_, _, err := ask(t.Context(), ts, key, "list")
		var r *remote.Refused
		if !errors.As(err, &r) || r.Status != want {
			t.Errorf("%v, want %d", err, want)
		}
	}
	key := s.key("cd99", archive.Archivist)
	refused("", http.StatusUnauthorized)
	refused("sae_kaaaaaaaaaaaaaaaaaaaaaaaaaa_"+strings.Repeat("A", 43), http.StatusUnauthorized)
	_, limited, err := s.a.CreateAPIKey(t.Context(), "administrator", archive.NewAPIKey{Tenant: "cd99", Name: "gru", Roles: archive.Roles, Operations: []string{"showUnit"}, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	refused(limited, http.StatusForbidden)
	if status, said, err := ask(t.Context(), ts, s.key("cd99", archive.Depositor), "list"); err != nil || status != 1 || !strings.Contains(said, "not for the roles") {
		t.Errorf("%d %q %v", status, said, err)
	}
	if r := s.ask(key, "GET", "/v1/commands", nil); r.StatusCode != http.StatusUpgradeRequired || r.problem(t).Code != "upgrade" {
		t.Errorf("%s %s", r.Status, r.body)
	}
	done := make(chan error)
	go func() {
		_, _, err := ask(t.Context(), ts, key, "list")
		done <- err
	}()
	<-ran
	refused(key, http.StatusServiceUnavailable)
	close(hold)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
