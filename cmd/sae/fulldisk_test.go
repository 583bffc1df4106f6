package main

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFullDisk fills a real file system: the deposit that does not fit is refused
// and says so, those before it are whole, and after room is made deposits go on.
func TestFullDisk(t *testing.T) {
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("mounting a small file system: %v; run as root", err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	program, dir, work := buildProgram(t), filepath.Join(disk, "archive"), t.TempDir()
	sae := func(args ...string) (string, int) {
		t.Helper()
		cmd := exec.Command(program, append([]string{"--dir", dir}, args...)...)
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	ok := func(args ...string) string {
		t.Helper()
		out, code := sae(args...)
		if code != 0 {
			t.Fatalf("sae %v: exit %d: %s", args, code, out)
		}
		return out
	}
	random := func(name string, size int) string {
		b := make([]byte, size)
		rand.Read(b)
		path := filepath.Join(work, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	ok("init")
	small := random("small.bin", 100_000)
	ok("deposit", "--title", "before", small)

	// Content that does not fit: the offer refuses it.
	refusedFull := func(path string) {
		t.Helper()
		out, code := sae("deposit", "--title", "too much", path)
		if code != 1 || !strings.Contains(out, "no space left") {
			t.Fatalf("deposit on a full disk: exit %d: %s", code, out)
		}
	}
	refusedFull(random("large.bin", 40<<20))

	// No room at all: the catalogue, or what is below it, refuses.
	filler := filepath.Join(disk, "filler")
	fill(t, filler)
	refusedFull(small)
	refusedFull(random("empty.bin", 0))
	ok("status")
	if out, code := sae("list"); code != 1 || !strings.Contains(out, "nothing is read that is not logged") || !strings.Contains(out, "no space left") {
		t.Fatalf("list on a full disk: exit %d: %s", code, out)
	}

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if out := ok("list"); strings.Count(out, "before") != 1 || strings.Contains(out, "too much") {
		t.Fatalf("list: %s", out)
	}
	ok("deposit", "--title", "after", small)
	ok("seal")
	if out := ok("audit"); strings.Contains(out, "extra") {
		t.Fatalf("audit: %s", out)
	}
}

// fill writes until the file system has no byte left.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for {
			if _, err := f.Write(bytes.Repeat([]byte{1}, size)); err != nil {
				break
			}
		}
	}
}
