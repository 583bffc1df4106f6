package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sae/archive"
)

// TestKillExecute kills the real program at random moments while it destroys what has its visa,
// until it comes to its end: then all of it is destroyed, nothing else is, and the archive is
// sound.
func TestKillExecute(t *testing.T) {
	k := &killer{t: t, program: buildProgram(t), dir: filepath.Join(t.TempDir(), "archive"), work: t.TempDir(), seen: map[string]bool{}}
	k.run(0, nil, "init")
	config := filepath.Join(k.dir, "sae.yaml")
	b, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	roles := []byte("    roles: {archivist: [alice, dave], originating-agency: [bob], control-authority: [carol]}\n    accept-unknown:")
	if err := os.WriteFile(config, bytes.Replace(b, []byte("    accept-unknown:"), roles, 1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"old", "young"} {
		for i := range 1500 {
			path := filepath.Join(k.work, folder, fmt.Sprint(i/100), fmt.Sprintf("%d.txt", i))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(fmt.Sprint(folder, i)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		start := map[string]string{"old": "2001-01-01", "young": "2025-01-01"}[folder]
		k.run(0, nil, "deposit", "--rule", "EXAMPLE-5Y", "--rule-start", start, filepath.Join(k.work, folder))
	}
	proposed := k.run(0, nil, "--as", "alice", "eliminate", "propose", "--at", "2020-01-01")
	id := strings.TrimSuffix(strings.Fields(proposed[0])[1], ":")
	k.run(0, nil, "--as", "bob", "eliminate", "agree", id)
	k.run(0, nil, "--as", "carol", "eliminate", "visa", id)
	kills := 0
	for done := false; !done; kills++ {
		if kills > 500 {
			t.Fatal("it does not come to its end")
		}
		lines := k.run(time.Duration(20+rand.IntN(60+20*kills))*time.Millisecond, nil, "--as", "dave", "eliminate", "execute", id)
		done = len(lines) > 0 && strings.Contains(lines[0], "executed")
	}
	a, err := archive.Open(k.dir, archive.Options{Command: "check"})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	e, err := a.Elimination(id)
	if err != nil || e.State() != archive.Certified || e.Steps[3].Destroyed != e.Units {
		t.Errorf("%+v %v", e, err)
	}
	s, err := a.Status()
	if err != nil || s.Objects != 1502 || s.Units != 1516 {
		t.Errorf("%d units, %d objects are left, %v", s.Units, s.Objects, err)
	}
	for _, o := range s.Offers {
		if o.Unused > 0 {
			t.Errorf("offer %s still has %d copies to be deleted", o.Name, o.Unused)
		}
	}
	k.noOrphans(a)
	if r, err := a.Audit(context.Background(), "test", archive.AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r, err)
	}
	t.Logf("%d runs", kills)
}
