package remote

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
)

// far is the files of the client, as Files.
type far struct {
	s      *Session
	blocks chan struct{} // of read-ahead, of all files

	mu     sync.Mutex
	opened int
	names  int64            // bytes of what listings have said
	listed map[string]*info // by path, what a listing has said and nobody asked for yet
}

// Bounds of what a client makes the service hold.
const (
	maxBlocks = 64        // of maxChunk, read ahead
	maxAhead  = 8         // of them, for one file
	maxNames  = 256 << 20 // bytes of what listings say of files: a million of them
	perName   = 256       // of these, beside the name and its path
)

func newFar(s *Session) *far {
	return &far{s: s, blocks: make(chan struct{}, maxBlocks), listed: map[string]*info{}}
}

// pathError is what a system says of a path that is none.
func pathError(op, path string) error {
	if len(path) > maxPath {
		return &fs.PathError{Op: op, Path: path[:64] + "...", Err: errors.New("file name too long")}
	}
	return nil
}

func (f *far) ask(op, path string) (*reply, error) {
	if err := pathError(op, path); err != nil {
		return nil, err
	}
	return f.s.ask(&request{Op: op, Path: []byte(path)}, nil)
}

// info is an answer that is about a file.
func (f *far) info(op, path string) (fs.FileInfo, error) {
	r, err := f.ask(op, path)
	if err != nil {
		return nil, err
	}
	return infoOf(r)
}

func infoOf(r *reply) (*info, error) {
	if r.Info == nil {
		return nil, fmt.Errorf("%w: nothing is said of a file", errFrame)
	}
	return r.Info, r.Info.check()
}

func (f *far) Stat(path string) (fs.FileInfo, error) { return f.info(opStat, path) }

// Lstat is asked of each entry of a folder: the listing has said it.
func (f *far) Lstat(path string) (fs.FileInfo, error) {
	f.mu.Lock()
	i := f.listed[path]
	f.mu.Unlock()
	if i != nil {
		if !i.Mode().IsRegular() { // of a file, Readable comes
			f.forget(path)
		}
		return i, nil
	}
	return f.info(opLstat, path)
}

func (f *far) Readable(path string) error {
	f.mu.Lock()
	i := f.listed[path]
	f.mu.Unlock()
	if i != nil {
		f.forget(path)
		if len(i.Closed) > 0 {
			return errors.New(string(i.Closed))
		}
		return nil
	}
	_, err := f.ask(opReadable, path)
	return err
}

func (f *far) forget(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.listed, path)
}

func (f *far) ReadLink(path string) (string, error) {
	r, err := f.ask(opReadLink, path)
	if err != nil {
		return "", err
	}
	return string(r.Text), nil
}

// Base is a name, whatever the client says.
func (f *far) Base(path string) string {
	r, err := f.ask(opBase, path)
	if err != nil || !isName(r.Text) {
		return filepath.Base(path)
	}
	return string(r.Text)
}

// isName reports whether b can be the name of a file in a folder.
func isName(b []byte) bool {
	s := string(b)
	return s != "" && s != "." && s != ".." && len(s) <= maxPath && !strings.ContainsAny(s, "/\x00")
}

func (f *far) Same(x, y fs.FileInfo) bool {
	a, ok := x.(*info)
	b, ok2 := y.(*info)
	return ok && ok2 && a.File == b.File
}

func (f *far) ReadDir(path string) (out []fs.DirEntry, err error) {
	if err := pathError("open", path); err != nil {
		return nil, err
	}
	for {
		r, err := f.s.ask(&request{Op: opList, Path: []byte(path), N: len(out)}, nil)
		if err != nil {
			return out, err
		}
		if len(r.List) > maxPage || r.More && len(r.List) == 0 {
			return out, fmt.Errorf("%w: a page of %d entries", errFrame, len(r.List))
		}
		for n := range r.List {
			e := &r.List[n]
			if err := e.check(); err != nil {
				return out, err
			}
			if !isName(e.Called) || len(out) > 0 && out[len(out)-1].Name() >= e.Name() {
				return out, fmt.Errorf("%w: an entry %q", errFrame, e.Called)
			}
			if err := f.list(filepath.Join(path, e.Name()), e); err != nil {
				return out, err
			}
			out = append(out, e)
		}
		if !r.More {
			return out, nil
		}
	}
}

func (f *far) list(path string, i *info) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.names += int64(len(path)+len(i.Called)) + perName; f.names > maxNames {
		return fmt.Errorf("the folders hold too many files for one command: what is said of them is more than %d bytes; name fewer", maxNames)
	}
	f.listed[path] = i
	return nil
}

// hold counts an open file.
func (f *far) hold() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.opened >= maxOpen {
		return fmt.Errorf("more than %d files at a time", maxOpen)
	}
	f.opened++
	return nil
}

func (f *far) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.opened--
}

func (f *far) Open(path string) (fs.File, error) {
	if err := f.hold(); err != nil {
		return nil, err
	}
	r, err := f.ask(opOpen, path)
	if err != nil {
		f.release()
		return nil, err
	}
	i, err := infoOf(r)
	if err != nil {
		f.release()
		return nil, err
	}
	plain := &farFile{far: f, handle: r.Handle, path: path, info: i}
	if !i.Mode().IsRegular() {
		return plain, nil
	}
	return &farBlocks{farFile: plain, held: map[int64]*block{}}, nil
}

// farFile is an open file of the client, read from one end to the other.
type farFile struct {
	far    *far
	handle int
	path   string
	info   *info
	at     int64
	closed bool
}

func (x *farFile) Stat() (fs.FileInfo, error) {
	r, err := x.far.s.ask(&request{Op: opFstat, Handle: x.handle}, nil)
	if err != nil {
		return nil, err
	}
	return infoOf(r)
}

func (x *farFile) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	r, err := x.far.s.ask(&request{Op: opRead, Handle: x.handle, Offset: -1, N: min(len(p), maxChunk)}, nil)
	if err != nil {
		return 0, err
	}
	switch {
	case len(r.data) > len(p) || len(r.data) == 0 && !r.EOF:
		return 0, errFrame
	case len(r.data) == 0:
		return 0, io.EOF
	}
	return copy(p, r.data), nil
}

func (x *farFile) Close() error {
	if x.closed {
		return &fs.PathError{Op: "close", Path: x.path, Err: fs.ErrClosed}
	}
	x.closed = true
	x.far.release()
	_, err := x.far.s.ask(&request{Op: opClose, Handle: x.handle}, nil)
	return err
}

// farBlocks is a regular file, read in blocks of maxChunk, some of them before they are wanted.
type farBlocks struct {
	*farFile

	mu    sync.Mutex
	held  map[int64]*block
	last  int64 // the block that was wanted last
	ahead int   // how many behind it are asked for
}

// block is a part of a file that was asked for.
type block struct {
	once  sync.Once
	begun *begun
	extra bool // counted among the blocks read ahead
	data  []byte
	err   error
}

// get waits for the block.
func (b *block) get(release func()) ([]byte, error) {
	b.once.Do(func() {
		r, err := b.begun.wait()
		if b.extra {
			release()
		}
		switch {
		case err != nil:
			b.err = err
		case len(r.data) < maxChunk && !r.EOF:
			b.err = fmt.Errorf("%w: a block of %d bytes", errFrame, len(r.data))
		default:
			b.data = r.data
		}
	})
	return b.data, b.err
}

func (x *farBlocks) releaseAhead() { <-x.far.blocks }

// fetch asks for a block, unless it is held.
func (x *farBlocks) fetch(n int64, extra bool) (*block, error) {
	if b := x.held[n]; b != nil {
		return b, nil
	}
	begun, err := x.far.s.post(&request{Op: opRead, Handle: x.handle, Offset: n * maxChunk, N: maxChunk}, nil)
	if err != nil {
		return nil, err
	}
	b := &block{begun: begun, extra: extra}
	x.held[n] = b
	return b, nil
}

// want gives a block, and asks for those behind it when reading goes on from the one before.
func (x *farBlocks) want(n int64) (*block, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for at, b := range x.held { // behind, or far ahead: not of this reading any more
		if at < n-1 || at > n+maxAhead {
			x.drop(at, b)
		}
	}
	b, err := x.fetch(n, false)
	if err != nil {
		return nil, err
	}
	switch {
	case n == x.last+1 || n == 0 && x.last == 0:
		x.ahead = min(maxAhead, max(1, 2*x.ahead))
	case n != x.last:
		x.ahead = 0
	}
	x.last = n
	for next := n + 1; next <= n+int64(x.ahead) && next*maxChunk < x.info.Bytes; next++ {
		if x.held[next] != nil {
			continue
		}
		select {
		case x.far.blocks <- struct{}{}:
		default:
			return b, nil // others read ahead as it is
		}
		if _, err := x.fetch(next, true); err != nil {
			x.releaseAhead()
			return nil, err
		}
	}
	return b, nil
}

// drop gives a block up; its answer still comes.
func (x *farBlocks) drop(at int64, b *block) {
	delete(x.held, at)
	if b.extra {
		go b.get(x.releaseAhead)
	}
}

func (x *farBlocks) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, &fs.PathError{Op: "readat", Path: x.path, Err: fs.ErrInvalid}
	}
	for n < len(p) {
		b, err := x.want(off / maxChunk)
		if err != nil {
			return n, err
		}
		data, err := b.get(x.releaseAhead)
		if err != nil {
			return n, err
		}
		within := off % maxChunk
		if within >= int64(len(data)) {
			return n, io.EOF
		}
		did := copy(p[n:], data[within:])
		n, off = n+did, off+int64(did)
	}
	return n, nil
}

func (x *farBlocks) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	// No more than a block at a time: what is there is given at once.
	left := maxChunk - x.at%maxChunk
	n, err := x.ReadAt(p[:min(int64(len(p)), left)], x.at)
	x.at += int64(n)
	if n > 0 {
		err = nil
	}
	return n, err
}

func (x *farBlocks) Close() error {
	x.mu.Lock()
	for at, b := range x.held {
		x.drop(at, b)
	}
	x.mu.Unlock()
	return x.farFile.Close()
}

// farNew is a file that is being written at the client's. Some writings are under way; what became of
// them is known when it is kept.
type farNew struct {
	s      *Session
	handle int
	done   func()
	under  []*begun
	err    error
}

// maxUnder bounds the writings that are under way.
const maxUnder = 16

func (w *farNew) Write(p []byte) (n int, err error) {
	for len(p) > 0 && w.err == nil {
		if len(w.under) == maxUnder {
			w.settle(1)
			continue
		}
		take := min(len(p), maxChunk)
		b, err := w.s.post(&request{Op: opWrite, Handle: w.handle}, p[:take])
		if err != nil {
			w.err = err
			break
		}
		w.under = append(w.under, b)
		n, p = n+take, p[take:]
	}
	return n, w.err
}

// settle waits for the oldest writings.
func (w *farNew) settle(n int) {
	for _, b := range w.under[:n] {
		if _, err := b.wait(); err != nil && w.err == nil {
			w.err = err
		}
	}
	w.under = append(w.under[:0], w.under[n:]...)
}

// finish ends it, by an operation.
func (w *farNew) finish(op string) error {
	if w.done == nil {
		return fs.ErrClosed
	}
	w.done()
	w.done = nil
	w.settle(len(w.under))
	if w.err != nil && op != opDrop {
		w.s.ask(&request{Op: opDrop, Handle: w.handle}, nil)
		return w.err
	}
	_, err := w.s.ask(&request{Op: op, Handle: w.handle}, nil)
	return err
}

func (w *farNew) Keep() error { return w.finish(opKeep) }
func (w *farNew) Drop() error { return w.finish(opDrop) }

// Close is the end of a file in a folder.
func (w *farNew) Close() error { return w.finish(opKeep) }

func (f *far) create(r *request) (*farNew, error) {
	if err := pathError("open", string(r.Path)); err != nil {
		return nil, err
	}
	if err := f.hold(); err != nil {
		return nil, err
	}
	a, err := f.s.ask(r, nil)
	if err != nil {
		f.release()
		return nil, err
	}
	return &farNew{s: f.s, handle: a.Handle, done: f.release}, nil
}

func (f *far) Create(path string) (New, error) {
	w, err := f.create(&request{Op: opCreate, Path: []byte(path)})
	if err != nil {
		return nil, err
	}
	return w, nil
}

// farFolder is a folder that is being written at the client's.
type farFolder struct {
	far *far
	farNew
}

func (f *far) CreateFolder(path string) (NewFolder, error) {
	w, err := f.create(&request{Op: opFolder, Path: []byte(path)})
	if err != nil {
		return nil, err
	}
	return &farFolder{f, *w}, nil
}

func (d *farFolder) Create(name string) (io.WriteCloser, error) {
	w, err := d.far.create(&request{Op: opCreateIn, Handle: d.handle, Path: []byte(name)})
	if err != nil {
		return nil, err
	}
	return w, nil
}

func (d *farFolder) Mkdir(name string) error {
	_, err := d.far.s.ask(&request{Op: opMkdirIn, Handle: d.handle, Path: []byte(name)}, nil)
	return err
}
