package remote

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"syscall"
)

// hands do at the client's what the service asks of files. One thing at a time.
type hands struct {
	files  Files
	open   map[int]any // reading, New, NewFolder or member
	last   int
	listed string // the folder that was listed last, and what is in it
	list   []fs.DirEntry
}

func newHands(files Files) *hands { return &hands{files: files, open: map[int]any{}} }

// dropAll gives up what was begun and not kept: nothing half-done stays.
func (h *hands) dropAll() {
	var folders []NewFolder
	for _, x := range h.open {
		switch x := x.(type) {
		case NewFolder:
			folders = append(folders, x)
		case New:
			x.Drop()
		case io.Closer:
			x.Close()
		}
	}
	for _, d := range folders { // after what is in them
		d.Drop()
	}
	clear(h.open)
}

func (h *hands) hold(x any) (*reply, error) {
	h.last++
	h.open[h.last] = x
	return &reply{answer: answer{Handle: h.last}}, nil
}

// held gives what a handle is of.
func held[T any](h *hands, handle int) (T, error) {
	x, ok := h.open[handle].(T)
	if !ok {
		return x, fmt.Errorf("%w: file %d is not open for that", errFrame, handle)
	}
	return x, nil
}

func (h *hands) do(r *request, data []byte) (*reply, error) {
	path := string(r.Path)
	if len(path) > maxPath || r.N < 0 || r.N > maxChunk && r.Op != opList || len(data) > 0 && r.Op != opWrite {
		return nil, errFrame
	}
	switch r.Op {
	case opStat:
		return h.said(h.files.Stat(path))
	case opLstat:
		return h.said(h.files.Lstat(path))
	case opReadLink:
		target, err := h.files.ReadLink(path)
		return &reply{answer: answer{Text: []byte(target)}}, err
	case opBase:
		return &reply{answer: answer{Text: []byte(h.files.Base(path))}}, nil
	case opReadable:
		return nil, h.files.Readable(path)
	case opList:
		return h.page(path, r.N)
	case opOpen, opCreate, opFolder, opCreateIn:
		if len(h.open) >= maxOpen {
			return nil, fmt.Errorf("more than %d files at a time", maxOpen)
		}
		return h.begin(r, path)
	}
	return h.on(r, data)
}

// said is an answer about a file.
func (h *hands) said(i fs.FileInfo, err error) (*reply, error) {
	if err != nil {
		return nil, err
	}
	return &reply{answer: answer{Info: wireInfo(i)}}, nil
}

func wireInfo(i fs.FileInfo) *info {
	t := i.ModTime()
	w := &info{Called: []byte(i.Name()), Bytes: max(0, i.Size()), Bits: uint32(i.Mode()), Seconds: t.Unix(), Nanos: int64(t.Nanosecond())}
	if s, ok := i.Sys().(*syscall.Stat_t); ok {
		w.File = fmt.Sprintf("%d:%d", s.Dev, s.Ino)
	}
	return w
}

// page is a part of a listing, with what is known of each entry. One that is gone meanwhile is left out.
func (h *hands) page(path string, from int) (*reply, error) {
	if from == 0 || path != h.listed {
		list, err := h.files.ReadDir(path)
		if err != nil {
			return nil, err
		}
		h.listed, h.list = path, list
	}
	if from > len(h.list) {
		return nil, errFrame
	}
	out := &reply{}
	for at := from; at < len(h.list); at++ {
		if len(out.List) == maxPage {
			out.More = true
			break
		}
		i, err := h.list[at].Info()
		if errors.Is(err, fs.ErrNotExist) {
			h.list = append(h.list[:at], h.list[at+1:]...)
			at--
			continue
		}
		if err != nil {
			return nil, err
		}
		w := wireInfo(i)
		if i.Mode().IsRegular() {
			if err := h.files.Readable(filepath.Join(path, i.Name())); err != nil {
				w.Closed = []byte(err.Error())
			}
		}
		out.List = append(out.List, *w)
	}
	return out, nil
}

// begin opens a file, or begins one.
func (h *hands) begin(r *request, path string) (*reply, error) {
	switch r.Op {
	case opOpen:
		f, err := h.files.Open(path)
		if err != nil {
			return nil, err
		}
		i, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		out, err := h.hold(reading{f})
		out.Info = wireInfo(i)
		return out, err
	case opCreate:
		w, err := h.files.Create(path)
		if err != nil {
			return nil, err
		}
		return h.hold(w)
	case opFolder:
		d, err := h.files.CreateFolder(path)
		if err != nil {
			return nil, err
		}
		return h.hold(d)
	}
	d, err := held[NewFolder](h, r.Handle)
	if err != nil {
		return nil, err
	}
	if !filepath.IsLocal(filepath.FromSlash(path)) {
		return nil, &NotNamedError{path}
	}
	w, err := d.Create(path)
	if err != nil {
		return nil, err
	}
	return h.hold(member{w})
}

// reading is a file that is read.
type reading struct{ fs.File }

// member is a file in a folder that is being written: it is kept or dropped with that.
type member struct{ io.WriteCloser }

func (m member) Keep() error { return m.Close() }
func (m member) Drop() error { return m.Close() }

// on does something with an open file.
func (h *hands) on(r *request, data []byte) (*reply, error) {
	switch r.Op {
	case opRead:
		f, err := held[reading](h, r.Handle)
		if err != nil {
			return nil, err
		}
		return readAt(f.File, r.Offset, r.N)
	case opFstat:
		f, err := held[reading](h, r.Handle)
		if err != nil {
			return nil, err
		}
		return h.said(f.Stat())
	case opClose:
		f, err := held[reading](h, r.Handle)
		if err != nil {
			return nil, err
		}
		delete(h.open, r.Handle)
		return nil, f.Close()
	case opWrite:
		w, err := held[New](h, r.Handle)
		if err == nil {
			_, err = w.Write(data)
		}
		return nil, err
	case opMkdirIn:
		d, err := held[NewFolder](h, r.Handle)
		if err != nil {
			return nil, err
		}
		if !filepath.IsLocal(filepath.FromSlash(string(r.Path))) {
			return nil, &NotNamedError{string(r.Path)}
		}
		return nil, d.Mkdir(string(r.Path))
	case opKeep, opDrop:
		x, err := held[interface {
			Keep() error
			Drop() error
		}](h, r.Handle)
		if err != nil {
			return nil, err
		}
		delete(h.open, r.Handle)
		if r.Op == opKeep {
			return nil, x.Keep()
		}
		return nil, x.Drop()
	}
	return nil, fmt.Errorf("%w: %q is asked for", errFrame, r.Op)
}

// readAt reads a part of a file; behind the last reading when offset is negative.
func readAt(f fs.File, offset int64, n int) (*reply, error) {
	if n < 1 {
		return nil, errFrame
	}
	b := make([]byte, n)
	var err error
	if r, ok := f.(io.ReaderAt); ok && offset >= 0 {
		n, err = r.ReadAt(b, offset)
	} else {
		n, err = f.Read(b)
	}
	out := &reply{data: b[:n]}
	if err == io.EOF {
		out.EOF, err = true, nil
	}
	return out, err
}
