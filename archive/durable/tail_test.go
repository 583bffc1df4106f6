package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

func TestTailCutsWhatIsTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tail")
	if _, err := (FS{}).OpenTail(filepath.Join(path, "none"), 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	var fail Op
	f := FS{Fault: func(op Op, _ string) error {
		if op == fail {
			return syscall.EIO
		}
		return nil
	}}
	holds := func(want string) {
		t.Helper()
		if b, err := os.ReadFile(path); err != nil || string(b) != want {
			t.Errorf("%q, want %q, %v", b, want, err)
		}
	}
	for _, c := range []struct {
		fail Op
		at   int64
		p    string
		want string
	}{
		{"", 0, "one", "one"},
		{OpWrite, 3, "lost", "one"},
		{OpSync, 3, "lost", "one"},
		{"", 3, " two torn", "one two torn"},
		{"", 7, " three", "one two three"},
		{OpWrite, 7, " lost", "one two"}, // what was cut before is gone
	} {
		tail, err := f.OpenTail(path, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		fail = c.fail
		if err := tail.Append(c.at, []byte(c.p)); (err != nil) != (c.fail != "") {
			t.Errorf("%+v: %v", c, err)
		}
		fail = ""
		holds(c.want)
		tail.Close()
	}
}

// TestTailIsForOneAtATime appends from many sides, one of which puts the file aside.
func TestTailIsForOneAtATime(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "tail")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 20 {
				tail, err := FS{}.OpenTail(path, 0o600)
				if err != nil {
					t.Error(err)
					return
				}
				if err := tail.Append(tail.Size(), []byte("x")); err != nil {
					t.Error(err)
				}
				if i == 0 && tail.Size() > 10 {
					if _, err := os.Lstat(path + ".aside"); errors.Is(err, fs.ErrNotExist) {
						if err := tail.SetAside(path + ".aside"); err != nil {
							t.Error(err)
						}
					}
				}
				tail.Close()
			}
		})
	}
	wg.Wait()
	b, err := os.ReadFile(path)
	aside, _ := os.ReadFile(path + ".aside")
	if b = append(b, aside...); err != nil || !bytes.Equal(b, bytes.Repeat([]byte("x"), 160)) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}
