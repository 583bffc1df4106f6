// Package durable writes files so that they survive a crash at any moment, and
// says of every step what a crash there leaves.
//
// A new file of which others know the name is written beside its place, synced,
// renamed into place, and its folder is synced (WriteFile): at every moment there
// is the old state or the new one. A file that nobody knows yet needs none of
// that: it is created and written (Create), and one sync of the whole file
// system (SyncFS) makes any number of them durable together.
package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
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
// it held before, or the new data. When it returns nil the file is durable.
func (f FS) WriteFile(path string, data []byte, perm os.FileMode) (err error) {
	tmp := path + ".new"
	// A crash until the rename leaves tmp, which the next WriteFile truncates.
	file, err := f.openNew(tmp, os.O_TRUNC, perm)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(tmp)
		}
	}()
	if _, err := file.Write(data); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := f.fault(OpRename, path); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	// A crash here leaves either name, each with whole content.
	return f.SyncDir(filepath.Dir(path))
}

// File is a file being written.
type File struct {
	file *os.File
	fs   FS
	path string
}

// Create makes a new file and the folders above it; a file that exists gives an
// error matching fs.ErrExist. Nothing of it is durable before Sync and SyncDir,
// or SyncFS.
func (f FS) Create(path string, perm os.FileMode) (*File, error) {
	file, err := f.openNew(path, os.O_EXCL, perm)
	if errors.Is(err, fs.ErrNotExist) {
		if err := f.mkdir(filepath.Dir(path)); err != nil {
			return nil, err
		}
		file, err = f.openNew(path, os.O_EXCL, perm)
	}
	return file, err
}

func (f FS) mkdir(path string) error {
	if err := f.fault(OpMkdir, path); err != nil {
		return err
	}
	return os.MkdirAll(path, 0o700)
}

func (f FS) openNew(path string, flag int, perm os.FileMode) (*File, error) {
	if err := f.fault(OpCreate, path); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|flag, perm)
	if err != nil {
		return nil, err
	}
	return &File{file, f, path}, nil
}

func (w *File) Write(p []byte) (int, error) {
	if err := w.fs.fault(OpWrite, w.path); err != nil {
		n, werr := w.file.Write(p[:len(p)/2])
		return n, errors.Join(err, werr)
	}
	return w.file.Write(p)
}

// Sync makes the file's bytes durable; its name is with SyncDir of its folder.
func (w *File) Sync() error {
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
// that holds path.
func (f FS) SyncFS(path string) error {
	if err := f.fault(OpSyncFS, path); err != nil {
		return err
	}
	if err := syncFS(path); err != nil {
		return &fs.PathError{Op: "syncfs", Path: path, Err: err}
	}
	return nil
}

// MkdirAll makes a folder and those above it, durably.
func (f FS) MkdirAll(path string, perm os.FileMode) error {
	path = filepath.Clean(path)
	if fi, err := os.Stat(path); err == nil {
		if !fi.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("not a folder")}
		}
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := f.MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := f.fault(OpMkdir, path); err != nil {
		return err
	}
	if err := os.Mkdir(path, perm); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return f.SyncDir(parent)
}

// Remove removes a file; its absence is durable after SyncDir or SyncFS.
func (f FS) Remove(path string) error {
	if err := f.fault(OpRemove, path); err != nil {
		return err
	}
	return os.Remove(path)
}

var _ io.WriteCloser = (*File)(nil)

// HeldError says that another process holds a lock.
type HeldError struct{ Holder string }

func (e *HeldError) Error() string { return fmt.Sprintf("held by %s", e.Holder) }
