package durable

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// recorder remembers the steps, and fails the one numbered at (from 1). When off
// is set every later step fails too, as after a power cut.
type recorder struct {
	steps []string
	at    int
	off   bool
	err   error
}

func (r *recorder) fs() FS { return FS{Fault: r.fault} }

func (r *recorder) fault(op Op, path string) error {
	r.steps = append(r.steps, string(op)+" "+filepath.Base(path))
	if n := len(r.steps); n == r.at || r.off && r.at > 0 && n > r.at {
		return r.err
	}
	return nil
}

func (r *recorder) want(t *testing.T, steps ...string) {
	t.Helper()
	if !reflect.DeepEqual(r.steps, steps) {
		t.Errorf("steps:\n%s\nwant:\n%s", strings.Join(r.steps, "\n"), strings.Join(steps, "\n"))
	}
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, p); err == nil && rel != "." {
			out = append(out, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "absent"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, want := range []string{"first", "the second, which is longer", ""} {
		// A temporary file that a crash left is in nobody's way, whatever it is like.
		if err := os.WriteFile(path+".new", []byte(strings.Repeat("x", 99)), 0o644); err != nil {
			t.Fatal(err)
		}
		r := &recorder{}
		if err := r.fs().WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		r.want(t, "create f.new", "write f.new", "sync f.new", "rename f", "syncdir "+filepath.Base(dir))
		if got := read(t, path); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o600 {
			t.Errorf("mode %v, %v", fi.Mode(), err)
		}
		if got := names(t, dir); !reflect.DeepEqual(got, []string{"f"}) {
			t.Errorf("left %v", got)
		}
	}
}

// faults are what a disk answers.
var faults = []error{syscall.ENOSPC, syscall.EIO}

// eachFault runs a function with each of its steps failing in turn, until none does.
func eachFault(t *testing.T, steps int, run func(t *testing.T, r *recorder)) {
	for _, fault := range faults {
		for at := 1; at <= steps; at++ {
			t.Run(fmt.Sprintf("step %d %v", at, fault), func(t *testing.T) { run(t, &recorder{at: at, err: fault}) })
		}
	}
}

func TestWriteFileFaults(t *testing.T) {
	eachFault(t, 5, func(t *testing.T, r *recorder) {
		dir := t.TempDir()
		path := filepath.Join(dir, "f")
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		err := r.fs().WriteFile(path, []byte("new"), 0o600)
		var pe *fs.PathError
		if !errors.Is(err, r.err) || !errors.As(err, &pe) {
			t.Fatalf("error %v, want a path error of %v", err, r.err)
		}
		want := "old"
		if r.at == 5 { // the rename is done, only not known to be durable
			want = "new"
		}
		if got := read(t, path); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
		if got := names(t, dir); !reflect.DeepEqual(got, []string{"f"}) {
			t.Errorf("left %v", got)
		}
		if err := (FS{}).WriteFile(path, []byte("again"), 0o600); err != nil || read(t, path) != "again" {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestWriteFilePowerCut stops everything at each step, the clean-up included: the
// path has the old bytes or the new ones, and the next writing succeeds.
func TestWriteFilePowerCut(t *testing.T) {
	for at := 1; at <= 5; at++ {
		dir := t.TempDir()
		path := filepath.Join(dir, "f")
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		r := &recorder{at: at, off: true, err: syscall.EIO}
		if err := r.fs().WriteFile(path, []byte("new"), 0o600); err == nil {
			t.Fatalf("step %d: no error", at)
		}
		if got, want := read(t, path), map[bool]string{true: "new", false: "old"}[at == 5]; got != want {
			t.Errorf("step %d: read %q, want %q", at, got, want)
		}
		if err := (FS{}).WriteFile(path, []byte("again"), 0o600); err != nil {
			t.Error(err)
		}
		if got := names(t, dir); !reflect.DeepEqual(got, []string{"f"}) {
			t.Errorf("step %d: left %v", at, got)
		}
	}
}

func TestWriteFileParentMissing(t *testing.T) {
	err := FS{}.WriteFile(filepath.Join(t.TempDir(), "no", "f"), nil, 0o600)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	base := filepath.Base(dir)
	r := &recorder{}
	f, err := r.fs().Create(filepath.Join(dir, "a", "b", "f"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("bytes")); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// The file's bytes first, then every name on the way that was new.
	r.want(t, "create f", "mkdir a", "mkdir b", "create f", "write f", "sync f",
		"syncdir "+base, "syncdir a", "syncdir b")
	if got := read(t, filepath.Join(dir, "a", "b", "f")); got != "bytes" {
		t.Errorf("read %q", got)
	}

	r = &recorder{}
	if _, err := r.fs().Create(filepath.Join(dir, "a", "b", "f"), 0o600); !errors.Is(err, fs.ErrExist) {
		t.Errorf("again: %v", err)
	}
	if f, err = r.fs().Create(filepath.Join(dir, "a", "b", "g"), 0o600); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	r.want(t, "create f", "create g", "sync g", "syncdir b")
}

func TestCreateFaults(t *testing.T) {
	eachFault(t, 9, func(t *testing.T, r *recorder) {
		path := filepath.Join(t.TempDir(), "a", "b", "f")
		err := func() error {
			f, err := r.fs().Create(path, 0o600)
			if err != nil {
				return err
			}
			defer f.Close()
			if n, err := f.Write([]byte("eight by")); err != nil {
				if got := read(t, path); n != 4 || got != "eigh" {
					t.Errorf("short write of %d bytes left %q", n, got)
				}
				return err
			}
			return f.Sync()
		}()
		if !errors.Is(err, r.err) {
			t.Fatalf("error %v, want %v", err, r.err)
		}
		if r.at <= 4 && read(t, path) != "absent" {
			t.Error("a file that was not created is there")
		}
	})
}

func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	base, above := filepath.Base(dir), filepath.Base(filepath.Dir(dir))
	r := &recorder{}
	path := filepath.Join(dir, "a", "b")
	if err := r.fs().MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	r.want(t, "mkdir a", "mkdir b", "syncdir "+above, "syncdir "+base, "syncdir a")

	// A folder that is there is synced once more: it may be from an attempt that
	// failed.
	r = &recorder{}
	if err := r.fs().MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	r.want(t, "syncdir a")

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{file, filepath.Join(file, "below")} {
		if err := (FS{}).MkdirAll(p, 0o700); err == nil {
			t.Errorf("%s: a file taken for a folder", p)
		}
	}
}

func TestMkdirAllFaults(t *testing.T) {
	eachFault(t, 5, func(t *testing.T, r *recorder) {
		path := filepath.Join(t.TempDir(), "a", "b")
		if err := r.fs().MkdirAll(path, 0o700); !errors.Is(err, r.err) {
			t.Fatalf("error %v, want %v", err, r.err)
		}
		if err := (FS{}).MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
		if fi, err := os.Stat(path); err != nil || !fi.IsDir() {
			t.Errorf("%v, %v", fi, err)
		}
	})
}

func TestSyncFSAndRemove(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (FS{}).SyncFS(dir); err != nil {
		t.Error(err)
	}
	r := &recorder{at: 1, err: syscall.EIO}
	if err := r.fs().Remove(path); !errors.Is(err, syscall.EIO) || read(t, path) == "absent" {
		t.Errorf("remove with a fault: %v", err)
	}
	if err := (FS{}).Remove(path); err != nil || read(t, path) != "absent" {
		t.Errorf("remove: %v", err)
	}
	if err := (FS{}).Remove(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("remove again: %v", err)
	}
	var pe *fs.PathError
	if err := (FS{}).SyncFS(path); !errors.As(err, &pe) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("syncfs of nothing: %v", err)
	}
	r = &recorder{at: 1, err: syscall.EIO}
	if err := r.fs().SyncFS(dir); !errors.Is(err, syscall.EIO) {
		t.Errorf("syncfs with a fault: %v", err)
	}
	if err := (FS{}).SyncDir(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("syncdir of nothing: %v", err)
	}
}

// TestDirect mixes writes that may go straight to the disk with others, and with
// buffers that are not aligned: the file has all bytes in their order.
func TestDirect(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	f, err := FS{}.Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := AlignedBuffer(directLeast + directAlign)
	if uintptr(unsafe.Pointer(&buf[:1][0]))%directAlign != 0 || cap(buf) != directLeast+directAlign {
		t.Fatal("not aligned")
	}
	buf = buf[:cap(buf)]
	want := sha256.New()
	for i, w := range []struct {
		p      []byte
		direct bool
	}{
		{buf[:directLeast], true}, {buf, true}, {buf[:directAlign], false}, {buf[directAlign:], true},
		{buf[1 : directLeast+1], false}, {buf[:directLeast], true}, {buf[:directLeast+1], false}, {buf, false}, {nil, false},
	} {
		for j := range buf {
			buf[j] = byte(i + j/directAlign)
		}
		if got := f.mayBeDirect(w.p); got != w.direct {
			t.Errorf("write %d: direct %v, want %v", i, got, w.direct)
		}
		if n, err := f.Write(w.p); err != nil || n != len(w.p) {
			t.Fatal(i, n, err)
		}
		want.Write(w.p)
	}
	if got := sha256.Sum256([]byte(read(t, path))); !bytes.Equal(got[:], want.Sum(nil)) {
		t.Error("not what was written")
	}
}
