package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sae/api"
	"sae/api/remote"
	"sae/archive"
)

// wildFiles are those of a client who answers what comes to his mind.
type wildFiles struct{ *rand.Rand }

var errWild = errors.New("no")

type wildInfo struct {
	name string
	size int64
	mode fs.FileMode
	when time.Time
}

func (i *wildInfo) Name() string               { return i.name }
func (i *wildInfo) Size() int64                { return i.size }
func (i *wildInfo) Mode() fs.FileMode          { return i.mode }
func (i *wildInfo) Type() fs.FileMode          { return i.mode.Type() }
func (i *wildInfo) ModTime() time.Time         { return i.when }
func (i *wildInfo) IsDir() bool                { return i.mode.IsDir() }
func (i *wildInfo) Sys() any                   { return nil }
func (i *wildInfo) Info() (fs.FileInfo, error) { return i, nil }

func (w wildFiles) info(name string) *wildInfo {
	modes := []fs.FileMode{0, 0, 0, 0o644, fs.ModeDir, fs.ModeDir, fs.ModeSymlink, fs.ModeNamedPipe, fs.ModeDevice, ^fs.FileMode(0)}
	sizes := []int64{0, 1, 100, 4096, 1 << 20, 1 << 40, 1<<63 - 1}
	return &wildInfo{name, sizes[w.IntN(len(sizes))], modes[w.IntN(len(modes))], time.Unix(w.Int64N(1<<34)-1<<33, 0)}
}

func (w wildFiles) fails() bool { return w.IntN(12) == 0 }

func (w wildFiles) Stat(path string) (fs.FileInfo, error) {
	if w.fails() {
		return nil, errWild
	}
	return w.info(filepath.Base(path)), nil
}
func (w wildFiles) Lstat(path string) (fs.FileInfo, error) { return w.Stat(path) }
func (w wildFiles) ReadLink(string) (string, error)        { return "\xff\x1b[31m", nil }
func (w wildFiles) Base(string) string                     { return []string{"docs", "docs", "\xff\n"}[w.IntN(3)] }
func (w wildFiles) Readable(string) error                  { return nil }
func (w wildFiles) Same(fs.FileInfo, fs.FileInfo) bool     { return w.IntN(6) > 0 }

func (w wildFiles) ReadDir(path string) (out []fs.DirEntry, err error) {
	if w.fails() || len(path) > 60 {
		return nil, errWild
	}
	for i := range w.IntN(3) {
		out = append(out, w.info(string(rune('a'+i))+[]string{"", "\xff", "manifest.xml", strings.Repeat("é", 100)}[w.IntN(4)]))
	}
	return out, nil
}

func (w wildFiles) Open(path string) (fs.File, error) {
	if w.fails() {
		return nil, errWild
	}
	head := []string{"", "", "PK\x03\x04", "PK\x05\x06" + strings.Repeat("\x00", 18), "\x1f\x8b\x08", "<?xml version='1.0'?><ArchiveTransfer xmlns='fr:gouv:culture:archivesdefrance:seda:v2.1'>", "{\"files\":{}}", "file;title\n", strings.Repeat("\x00", 257) + "ustar"}[w.IntN(9)]
	tail := make([]byte, w.IntN(3000))
	for i := range tail {
		tail[i] = byte(w.Uint32())
	}
	b := append([]byte(head), tail...)
	i := w.info(filepath.Base(path))
	if w.IntN(4) > 0 {
		i.size = int64(len(b))
	}
	return &wildFile{bytes.NewReader(b), w, i}, nil
}

type wildFile struct {
	*bytes.Reader
	w    wildFiles
	info *wildInfo
}

func (f *wildFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *wildFile) Close() error {
	if f.w.fails() {
		return errWild
	}
	return nil
}

func (w wildFiles) Create(string) (remote.New, error) { return wildNew{w}, nil }
func (w wildFiles) CreateFolder(string) (remote.NewFolder, error) {
	return wildFolder{w}, nil
}

type wildNew struct{ w wildFiles }

func (n wildNew) Write(p []byte) (int, error) {
	if n.w.fails() {
		return n.w.IntN(len(p) + 1), errWild
	}
	return len(p), nil
}
func (n wildNew) Keep() error {
	if n.w.fails() {
		return errWild
	}
	return nil
}
func (n wildNew) Drop() error  { return errWild }
func (n wildNew) Close() error { return nil }

type wildFolder struct{ w wildFiles }

func (d wildFolder) Create(string) (io.WriteCloser, error) { return wildNew(d), nil }
func (d wildFolder) Mkdir(string) error                    { return nil }
func (d wildFolder) Keep() error                           { return nil }
func (d wildFolder) Drop() error                           { return errWild }

// TestClientOfAnyMind: whatever a client answers about its files, the service goes on, and its archive
// stays sound.
func TestClientOfAnyMind(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "archive")
	if _, err := archive.Create(dir, archive.New{AcceptUnknown: []string{"agreements", "agencies", "rules"}}); err != nil {
		t.Fatal(err)
	}
	a, err := archive.Open(dir, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	view, err := a.Within("")
	if err != nil {
		t.Fatal(err)
	}
	verbs := newRunner(t.Context())
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	draw := rand.New(rand.NewPCG(seed, 0))
	done := map[int]int{}
	for range 300 {
		args := [][]string{{"deposit", "docs"}, {"deposit", "--follow", "docs", "more"}, {"deposit", "--each", "a", "b", "c"}, {"deposit", "--plain", "docs"}, {"deposit", "--metadata=m.json", "docs"}, {"deposit", "--metadata=m.csv", "docs"}, {"deposit", "--files-from=list"},
			{"deposit", "--receipt=r", "--reply=y", "docs"}, {"rules diff", "r.csv"}, {"procedure check", "p"}, {"formats", "--risks=r"}, {"subject find", "--from=f"}, {"rules export", "--out=o.csv"}, {"restitute", "--originating-agency=X", "--output=o"}}[draw.IntN(14)]
		var out bytes.Buffer
		status := verbs.run(t.Context(), &api.Command{Verb: args[0], Args: args[1:], Agent: "tester", Archive: view, Seal: func(context.Context) ([]archive.Sealed, error) { return nil, nil },
			In: strings.NewReader(""), Out: &out, Err: &out, Files: wildFiles{rand.New(&lockedSource{src: rand.NewPCG(draw.Uint64(), 0)})}})
		done[status]++
	}
	if done[exitDone] == 0 || done[exitRefused] == 0 || done[exitDamaged] > 0 {
		t.Errorf("by status: %v", done)
	}
	r, err := a.Audit(t.Context(), "tester", archive.AuditOptions{Sample: 1})
	if err != nil || !r.Sound() {
		t.Errorf("%+v %v", r, err)
	}
}

// lockedSource is drawn from by several readers.
type lockedSource struct {
	mu  sync.Mutex
	src rand.Source
}

func (l *lockedSource) Uint64() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.src.Uint64()
}
