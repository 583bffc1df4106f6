package durable

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The test binary is its own second process: with this variable it takes a lock,
// says so, and holds it until its input ends or it is killed.
const holdEnv = "DURABLE_TEST_HOLD"

func TestMain(m *testing.M) {
	if how, path, ok := strings.Cut(os.Getenv(holdEnv), " "); ok {
		os.Exit(hold(how, path))
	}
	os.Exit(m.Run())
}

func hold(how, path string) int {
	l, err := try(how, path)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("held")
	bufio.NewReader(os.Stdin).ReadByte()
	if err := l.Unlock(); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// holdElsewhere has another process hold the lock. end lets it give the lock up;
// kill ends it before it can.
func holdElsewhere(t *testing.T, how, path string) (pid int, end, kill func()) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), holdEnv+"="+how+" "+path)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the other process said %q, %v", line, err)
	}
	end = func() {
		in.Close()
		if err := c.Wait(); err != nil {
			t.Errorf("the other process: %v", err)
		}
	}
	return c.Process.Pid, end, func() { c.Process.Kill(); c.Wait() }
}

func try(how, path string) (*Lock, error) {
	if how == "shared" {
		return LockShared(path)
	}
	return LockExclusive(path, "test")
}

func take(t *testing.T, how, path string) *Lock {
	t.Helper()
	l, err := try(how, path)
	if err != nil {
		t.Fatalf("taking the lock, %s: %v", how, err)
	}
	return l
}

func held(t *testing.T, how, path, holder string) {
	t.Helper()
	_, err := try(how, path)
	var h *HeldError
	if !errors.As(err, &h) || !strings.HasPrefix(h.Holder, holder) || strings.Contains(h.Holder, "\n") {
		t.Errorf("%s: %v, want held by %s", how, err, holder)
	}
}

func TestLockBetweenProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	pid, end, _ := holdElsewhere(t, "exclusive", path)
	holder := fmt.Sprintf("process %d (test) since 2", pid)
	held(t, "exclusive", path, holder)
	held(t, "shared", path, holder)
	end()
	if got := read(t, path); got != "" {
		t.Errorf("the lock was given up and says %q", got)
	}
	if err := take(t, "exclusive", path).Unlock(); err != nil {
		t.Error(err)
	}

	_, end, _ = holdElsewhere(t, "shared", path)
	l := take(t, "shared", path)
	held(t, "exclusive", path, "processes that read it")
	end()
	held(t, "exclusive", path, "processes that read it") // this one, now
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
	if err := take(t, "exclusive", path).Unlock(); err != nil {
		t.Error(err)
	}
}

// A process that is killed holds nothing any more, and its name misleads nobody.
func TestLockDiesWithProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for _, how := range []string{"exclusive", "shared"} {
		pid, _, kill := holdElsewhere(t, "exclusive", path)
		kill()
		if got := read(t, path); !strings.HasPrefix(got, fmt.Sprintf("process %d ", pid)) {
			t.Fatalf("the killed process left %q", got)
		}
		l := take(t, how, path)
		holder := "processes that read it"
		if how == "exclusive" {
			holder = fmt.Sprintf("process %d (test) since 2", os.Getpid())
		}
		held(t, "exclusive", path, holder)
		if err := l.Unlock(); err != nil {
			t.Error(err)
		}
	}
}

func TestLockNoFolder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "no", "lock")
	for _, how := range []string{"exclusive", "shared"} {
		if _, err := try(how, path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", how, err)
		}
	}
}
