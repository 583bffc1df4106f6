package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"

	"sae/api/remote"
	"sae/archive"
)

// node is a file or folder to deposit.
type node struct {
	path   string // as the user can find it
	rel    string // as metadata names it: below the folder given, or the file's name
	name   string
	parent int // index of its folder among the nodes, -1 for none
	info   fs.FileInfo
}

// walker gathers what is to be deposited, folders before what they hold.
type walker struct {
	files  remote.Files
	follow bool
	nodes  []node
	open   []fs.FileInfo // the folders that the walk is in
	bad    []error       // all that cannot be deposited
}

// walk gathers the paths given; the error lists every file that is in the way.
func walk(files remote.Files, paths []string, follow bool) ([]node, error) {
	w := &walker{files: files, follow: follow}
	for _, p := range paths {
		clean := filepath.Clean(p)
		w.visit(clean, "", files.Base(clean), -1)
	}
	return w.nodes, errors.Join(w.bad...)
}

func (w *walker) refuse(path, format string, args ...any) {
	w.bad = append(w.bad, fmt.Errorf("%q: %s", path, fmt.Sprintf(format, args...)))
}

func (w *walker) visit(path, rel, name string, parent int) {
	info, err := w.files.Lstat(path)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		if !w.follow {
			target, _ := w.files.ReadLink(path)
			w.refuse(path, "a symbolic link, to %q; deposit what it points to, or give --follow", target)
			return
		}
		info, err = w.files.Stat(path)
	}
	switch {
	case err != nil:
		w.refuse(path, "%v", reasonOf(err))
	case info.IsDir():
		w.folder(path, rel, name, parent, info)
	case !info.Mode().IsRegular():
		w.refuse(path, "neither a file nor a folder (%s)", info.Mode().Type())
	default:
		if rel == "" {
			rel = name
		}
		if err := w.files.Readable(path); err != nil {
			w.refuse(path, "%v", err)
			return
		}
		w.nodes = append(w.nodes, node{path, rel, name, parent, info})
	}
}

func (w *walker) folder(path, rel, name string, parent int, info fs.FileInfo) {
	for _, above := range w.open {
		if w.files.Same(above, info) {
			w.refuse(path, "a folder that holds itself, by a link")
			return
		}
	}
	entries, err := w.files.ReadDir(path)
	if err != nil {
		w.refuse(path, "%v", reasonOf(err))
		return
	}
	me := len(w.nodes)
	w.nodes = append(w.nodes, node{path, rel, name, parent, info})
	w.open = append(w.open, info)
	for _, e := range entries { // in the order of their names
		w.visit(filepath.Join(path, e.Name()), filepath.Join(rel, e.Name()), e.Name(), me)
	}
	w.open = w.open[:len(w.open)-1]
}

// reasonOf is an error without the path, which the message names already.
func reasonOf(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// content is a file as something to deposit.
func (n node) content(files remote.Files) *archive.Content {
	return &archive.Content{Filename: n.name, Size: n.info.Size(), Open: func() (io.ReadCloser, error) {
		f, err := files.Open(n.path)
		if err != nil {
			return nil, err
		}
		before, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if !sameState(files, before, n.info) {
			f.Close()
			return nil, errChanged(n.path)
		}
		return &watchedFile{f, files, before, n.path}, nil
	}}
}

// watchedFile is a file that must not change while it is read: closing it says
// whether it did.
type watchedFile struct {
	fs.File
	files  remote.Files
	before fs.FileInfo
	path   string
}

func (w *watchedFile) Close() error {
	after, err := w.File.Stat()
	if err == nil && !sameState(w.files, w.before, after) {
		err = errChanged(w.path)
	}
	return errors.Join(err, w.File.Close())
}

func errChanged(path string) error {
	return fmt.Errorf("%q changed while it was read; deposit it when nothing writes to it any more", path)
}

func sameState(files remote.Files, x, y fs.FileInfo) bool {
	return files.Same(x, y) && x.Size() == y.Size() && x.ModTime().Equal(y.ModTime())
}

// totalSize is the size of all files.
func totalSize(nodes []node) (total int64) {
	for _, n := range nodes {
		if !n.info.IsDir() {
			total += n.info.Size()
		}
	}
	return total
}

// roots are the indexes of the nodes that no folder among them holds.
func roots(nodes []node) (out []int) {
	for i, n := range nodes {
		if n.parent < 0 {
			out = append(out, i)
		}
	}
	return slices.Clip(out)
}
