package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Tail is a file that grows at its end, by several processes, one at a time: who has it open holds a
// lock on it. Its owner says where the end is: behind it, what a crash tore may lie.
type Tail struct {
	file *os.File
	fs   FS
	path string
	size int64
	made bool // its name may not be durable
}

// OpenTail opens the file, which is made when it is not there, and waits for others who have it
// open. The folder must be there.
func (f FS) OpenTail(path string, perm os.FileMode) (*Tail, error) {
	for {
		t, err := f.openTail(path, perm)
		if err != nil || t != nil {
			return t, err
		}
	}
}

// openTail gives nil when the file was renamed or removed while its lock was waited for.
func (f FS) openTail(path string, perm os.FileMode) (*Tail, error) {
	if err := f.fault(OpCreate, path); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, perm)
	if err != nil {
		return nil, err
	}
	for err = unix.EINTR; errors.Is(err, unix.EINTR); {
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		return nil, errors.Join(&fs.PathError{Op: "flock", Path: path, Err: err}, file.Close())
	}
	mine, err := file.Stat()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	there, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(mine, there) {
		return nil, file.Close()
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Tail{file: file, fs: f, path: path, size: mine.Size(), made: mine.Size() == 0}, nil
}

// Size is the length of the file, what was torn included.
func (t *Tail) Size() int64 { return t.size }

// ReadAt implements io.ReaderAt.
func (t *Tail) ReadAt(p []byte, off int64) (int, error) { return t.file.ReadAt(p, off) }

// Append writes p at the end, which is at; what lies behind it is cut before. When it returns nil
// all of the file is durable. After an error, or a crash, a part of p may be there; an error cuts it
// off again as far as it can: bytes that a failed sync left must not be built on (fsync(2)).
func (t *Tail) Append(at int64, p []byte) error {
	if t.size > at {
		if err := t.file.Truncate(at); err != nil {
			return err
		}
		t.size = at
	}
	err := t.write(at, p)
	if err == nil {
		err = t.sync()
	}
	if err != nil {
		return errors.Join(err, t.file.Truncate(at))
	}
	t.size = at + int64(len(p))
	return nil
}

func (t *Tail) write(at int64, p []byte) error {
	if err := t.fs.fault(OpWrite, t.path); err != nil {
		_, werr := t.file.WriteAt(p[:len(p)/2], at)
		return errors.Join(err, werr)
	}
	_, err := t.file.WriteAt(p, at)
	return err
}

func (t *Tail) sync() error {
	if err := t.fs.fault(OpSync, t.path); err != nil {
		return err
	}
	if err := t.file.Sync(); err != nil || !t.made {
		return err
	}
	t.made = false
	return t.fs.SyncDir(filepath.Dir(t.path))
}

// Empty cuts all of the file off. A crash until the next Append may leave it as it was.
func (t *Tail) Empty() error {
	if err := t.fs.fault(OpRemove, t.path); err != nil {
		return err
	}
	if err := t.file.Truncate(0); err != nil {
		return err
	}
	t.size = 0
	return nil
}

// SetAside renames the file, durably; the next OpenTail makes another.
func (t *Tail) SetAside(to string) error {
	if err := t.fs.Rename(t.path, to); err != nil {
		return err
	}
	return t.fs.SyncDir(filepath.Dir(t.path))
}

// Close lets others have the file.
func (t *Tail) Close() error { return t.file.Close() }
