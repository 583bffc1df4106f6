// Package durable writes files so that they survive a crash at any moment, and
// says of every step what a crash there leaves.
//
// A new file of which others know the name is written beside its place, synced,
// renamed into place, and its folder is synced (WriteFile): at every moment there
// is the old state or the new one. A file that nobody knows yet needs none of
// that: it is created and written (Create), and one sync of the whole file
// system (SyncFS) makes any number of them durable together. One small value that
// changes often lies in a Slot, which neither creates nor renames. A Lock keeps
// other processes away from all of these.
//
// A sync that failed must not be tried again: the system may have dropped the
// bytes it could not write, and then says that all is well (fsync(2)). Whatever
// was written before it is to be written anew.
package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Op is one step that can fail, for tests that make it fail.
type Op string

// The steps.
const (
	OpCreate  Op = "create"
	OpWrite   Op = "write"
	OpSync    Op = "sync"    // fsync of a file
	OpSyncDir Op = "syncdir" // fsync of a folder
	OpSyncFS  Op = "syncfs"  // sync of a file system
	OpRename  Op = "rename"
	OpRemove  Op = "remove"
	OpMkdir   Op = "mkdir"
)

// FS does the steps. The zero value is the real file system.
type FS struct {
	// Fault, when set, is asked before each step; its error is the step's. A
	// write that fails leaves half of its bytes, as a full disk does.
	Fault func(op Op, path string) error
}

func (f FS) fault(op Op, path string) error {
	if f.Fault == nil {
		return nil
	}
	if err := f.Fault(op, path); err != nil {
		return &fs.PathError{Op: string(op), Path: path, Err: err}
	}
	return nil
}

// WriteFile writes a file whole: after an error, or a crash, the path holds what
// it held before, or the new data. When it returns nil the file is durable. One
// writer per path at a time is the caller's to see to.
func (f FS) WriteFile(path string, data []byte, perm os.FileMode) error {
	tmp := path + ".new"
	// A crash until the rename leaves tmp, and nobody reads it; the next WriteFile
	// removes it.
	if err := f.writeNew(tmp, data, perm); err != nil {
		return err
	}
	if err := f.Rename(tmp, path); err != nil {
		f.Remove(tmp)
		return err
	}
	// A crash here leaves the old file or the new one under the path, whole.
	return f.SyncDir(filepath.Dir(path))
}

// writeNew writes and syncs a file that nobody knows yet; after an error it is
// removed.
func (f FS) writeNew(path string, data []byte, perm os.FileMode) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := f.openNew(path, perm)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		// Before the rename: the new name must never lead to bytes still in memory.
		err = file.syncBytes()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		f.Remove(path)
	}
	return err
}

// Rename gives a file another name, over whatever has that name; it is durable after SyncDir or SyncFS.
func (f FS) Rename(from, to string) error {
	if err := f.fault(OpRename, to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

// File is a file being written.
type File struct {
	file    *os.File
	fs      FS
	path    string
	written int64    // bytes
	direct  bool     // whether writes go past the page cache
	names   []string // folders that its creation changed
}

// Create makes a new file and the folders above it; a file that exists gives an
// error matching fs.ErrExist. Nothing of it is durable before Sync, or SyncFS. A
// crash before leaves nothing, or the name with any part of the bytes. A folder
// that is there is taken as durable.
func (f FS) Create(path string, perm os.FileMode) (*File, error) {
	var made []string
	file, err := f.openNew(path, perm)
	if errors.Is(err, fs.ErrNotExist) {
		if made, err = f.mkdirs(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		file, err = f.openNew(path, perm)
	}
	if err != nil {
		return nil, err
	}
	for _, dir := range made {
		file.names = append(file.names, filepath.Dir(dir))
	}
	file.names = append(file.names, filepath.Dir(path))
	return file, nil
}

// mkdirs makes the folders that are missing and gives those it made, the outermost
// first. Their names are not durable.
func (f FS) mkdirs(path string, perm os.FileMode) (made []string, err error) {
	switch fi, err := os.Stat(path); {
	case err == nil && !fi.IsDir():
		return nil, &fs.PathError{Op: string(OpMkdir), Path: path, Err: errors.New("not a folder")}
	case err == nil:
		return nil, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if parent := filepath.Dir(path); parent != path {
		if made, err = f.mkdirs(parent, perm); err != nil {
			return nil, err
		}
	}
	if err := f.fault(OpMkdir, path); err != nil {
		return nil, err
	}
	// Another may have made it meanwhile; its name is taken as not durable either.
	if err := os.Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return append(made, path), nil
}

func (f FS) openNew(path string, perm os.FileMode) (*File, error) {
	if err := f.fault(OpCreate, path); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
	if err != nil {
		return nil, err
	}
	return &File{file: file, fs: f, path: path}, nil
}

func (w *File) Write(p []byte) (int, error) {
	if err := w.fs.fault(OpWrite, w.path); err != nil {
		n, werr := w.file.Write(p[:len(p)/2])
		return n, errors.Join(err, werr)
	}
	w.setDirect(w.mayBeDirect(p))
	n, err := w.file.Write(p)
	if w.direct && errors.Is(err, syscall.EINVAL) {
		// This disk wants more alignment, or a short write ended between blocks.
		w.setDirect(false)
		var m int
		m, err = w.file.Write(p[n:])
		n += m
	}
	w.written += int64(n)
	return n, err
}

// Sync makes the file durable: its bytes, its name, and the names of the folders
// that Create made for it.
func (w *File) Sync() error {
	if err := w.syncBytes(); err != nil {
		return err
	}
	for _, dir := range w.names {
		if err := w.fs.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

func (w *File) syncBytes() error {
	if err := w.fs.fault(OpSync, w.path); err != nil {
		return err
	}
	return w.file.Sync()
}

// Close closes the file; it makes nothing durable.
func (w *File) Close() error { return w.file.Close() }

// SyncDir makes the names in a folder durable: those created, renamed, removed.
func (f FS) SyncDir(path string) error {
	if err := f.fault(OpSyncDir, path); err != nil {
		return err
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// SyncFS makes durable every file and name written before it on the file system
// that holds path, whoever wrote them (on Linux; elsewhere those below path). An
// error may be of any of them, and the system may tell it to one caller only.
func (f FS) SyncFS(path string) error {
	if err := f.fault(OpSyncFS, path); err != nil {
		return err
	}
	if err := syncFS(path); err != nil {
		return &fs.PathError{Op: "syncfs", Path: path, Err: err}
	}
	return nil
}

// MkdirAll makes a folder and those above it, durably. A crash in it leaves some of
// the outer ones.
func (f FS) MkdirAll(path string, perm os.FileMode) error {
	path = filepath.Clean(path)
	made, err := f.mkdirs(path, perm)
	if err != nil {
		return err
	}
	there := path // the deepest folder that was there
	if len(made) > 0 {
		there = filepath.Dir(made[0])
	}
	// An earlier MkdirAll may have made it and failed before the sync. Who may not
	// read the folder above it did not make it.
	if err := f.SyncDir(filepath.Dir(there)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	for _, dir := range made {
		if err := f.SyncDir(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return nil
}

// Remove removes a file; its absence is durable after SyncDir or SyncFS.
func (f FS) Remove(path string) error {
	if err := f.fault(OpRemove, path); err != nil {
		return err
	}
	return os.Remove(path)
}

var _ io.WriteCloser = (*File)(nil)
