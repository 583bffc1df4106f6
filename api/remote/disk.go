package remote

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Disk is the files of this machine.
type Disk struct{}

func (Disk) Open(path string) (fs.File, error)          { return os.Open(path) }
func (Disk) Stat(path string) (fs.FileInfo, error)      { return os.Stat(path) }
func (Disk) Lstat(path string) (fs.FileInfo, error)     { return os.Lstat(path) }
func (Disk) ReadLink(path string) (string, error)       { return os.Readlink(path) }
func (Disk) ReadDir(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }
func (Disk) Same(x, y fs.FileInfo) bool                 { return os.SameFile(x, y) }
func (Disk) Readable(path string) error                 { return unix.Access(path, unix.R_OK) }
func (d Disk) Create(path string) (New, error)          { return d.Begin(path) }
func (Disk) CreateFolder(path string) (NewFolder, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("%s exists already; name another folder", path)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(filepath.Clean(path)), ".sae-*")
	if err != nil {
		return nil, renamed(err, "mkdir", path) // not of a name that we made
	}
	root, err := os.OpenRoot(tmp)
	if err != nil {
		return nil, errors.Join(err, os.Remove(tmp))
	}
	return &diskFolder{tmp, path, root}, nil
}

func (Disk) Base(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return filepath.Base(abs)
	}
	return filepath.Base(path)
}

// Begun is a new file on this machine, under a name of its own until it is kept.
type Begun struct {
	*os.File
	path string
}

// Begin is Create, with a file that can be read while it is written.
func (Disk) Begin(path string) (*Begun, error) {
	if _, err := os.Lstat(path); err == nil {
		return nil, fmt.Errorf("%s exists already; name another file", path)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".sae-*")
	if err != nil {
		return nil, renamed(err, "open", path)
	}
	return &Begun{tmp, path}, nil
}

// Keep gives the file its name; a crash before leaves one that begins with ".sae-". A link, other than a
// rename, replaces nothing that was made meanwhile.
func (b *Begun) Keep() error {
	err := b.Sync()
	if err == nil {
		err = b.Close()
	}
	if err == nil {
		err = os.Link(b.Name(), b.path)
	}
	return errors.Join(err, b.Drop())
}

func (b *Begun) Drop() error {
	b.Close() // kept, it is closed
	return os.Remove(b.Name())
}

// diskFolder is a new folder. What is written is personal data: it is for who asked, alone.
type diskFolder struct {
	tmp, path string
	root      *os.Root
}

func (d *diskFolder) Mkdir(name string) error {
	return d.root.MkdirAll(filepath.FromSlash(name), 0o700)
}

func (d *diskFolder) Create(name string) (io.WriteCloser, error) {
	name = filepath.FromSlash(name)
	if err := d.root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return synced{f}, nil
}

// synced is durable when it is closed.
type synced struct{ *os.File }

func (s synced) Close() error { return errors.Join(s.Sync(), s.File.Close()) }

func (d *diskFolder) Keep() error {
	if err := d.root.Close(); err != nil {
		return errors.Join(err, os.RemoveAll(d.tmp))
	}
	if err := os.Rename(d.tmp, d.path); err != nil {
		return errors.Join(err, os.RemoveAll(d.tmp))
	}
	return nil
}

func (d *diskFolder) Drop() error { return errors.Join(d.root.Close(), os.RemoveAll(d.tmp)) }
