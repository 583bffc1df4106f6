package main

import (
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBackupKill kills the program at random moments of a backup: what was there before stays whole, and
// the next run goes on.
func TestBackupKill(t *testing.T) {
	program, dir, to := buildProgram(t), filepath.Join(t.TempDir(), "archive"), t.TempDir()
	sae := func(args ...string) (string, error) {
		out, err := exec.Command(program, append(args, "--dir", dir)...).CombinedOutput()
		return string(out), err
	}
	must := func(args ...string) string {
		t.Helper()
		out, err := sae(args...)
		if err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
		return out
	}
	must("init")
	must("backup", to)
	file := filepath.Join(t.TempDir(), "f.txt")
	killed := 0
	for round := range 6 {
		if err := os.WriteFile(file, []byte(strings.Repeat(fmt.Sprint(round), 300_000)), 0o600); err != nil {
			t.Fatal(err)
		}
		must("deposit", file)
		cmd := exec.Command(program, "backup", to, "--keep", "2", "--dir", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(mathrand.IntN(500)) * time.Millisecond)
		cmd.Process.Kill()
		if cmd.Wait() != nil {
			killed++
		}
		if out := must("backup", "--verify", to); !strings.Contains(out, "all as written") {
			t.Fatal(out)
		}
	}
	t.Logf("%d of 6 were killed", killed)
	must("backup", to, "--keep", "1")
	if names, err := os.ReadDir(filepath.Join(to, "new")); err != nil || len(names) > 0 {
		t.Errorf("left behind: %v %v", names, err)
	}
	into := filepath.Join(t.TempDir(), "restored")
	out := must("restore", to, "--to", into, "--root-key", filepath.Join(dir, "keys/root"), "--slot", filepath.Join(dir, "keys/checkpoint"))
	if !strings.Contains(out, "6 units, 6 objects") {
		t.Error(out)
	}
}
