// Package backup says what lies in a backup of an archive: generations that share what has not changed.
// It knows nothing of what the files are: the archive does.
//
//	sae-backup.json              whose it is: Mark
//	generations/N.head           what generation N is, signed by the archive: Head
//	generations/N.index          every file of it, with its length and SHA-256
//	generations/N.root           a sealed copy of the root key, where one was asked for
//	pieces/XX/SHA256             pieces of catalogues, named after their content
//	blobs/SESSION/THOUSAND/NAME  ciphertexts, as the archive names them
//	new/                         what is being written
//
// A file gets its name when its bytes are durable, and the head of a generation last of all: a
// generation is whole, or is not there. A crash leaves files in new/, which the next run removes, and
// whole files that no generation names, which the next run uses or removes. Generations are given up
// head first.
package backup

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"sae/archive/durable"
)

// Folder is where a backup lies: on a disk of this machine (Dir), or wherever else. Names are relative,
// with slashes. It is used by one at a time, which its methods other than Create may count on; files
// that were created may be written at the same time.
type Folder interface {
	// ReadDirFS reads; a missing file or folder is an error that matches fs.ErrNotExist. What ReadDir
	// gives tells the length of a file.
	fs.ReadDirFS
	// Create begins a file, in folders that are made; one that is there gives an error matching fs.ErrExist.
	Create(name string) (io.WriteCloser, error)
	// Rename gives a closed file its name, in folders that are made, over what has it.
	Rename(from, to string) error
	// Remove removes a file; a missing one is no error.
	Remove(name string) error
	// Sync makes durable all that was done before it.
	Sync() error
}

// Dir is a folder of this machine.
type Dir struct {
	fs   durable.FS
	root string
	read fs.ReadDirFS
}

var _ Folder = (*Dir)(nil)

// OpenDir gives a folder of this machine, which must be there: a disk that is not mounted is not written
// around.
func OpenDir(files durable.FS, root string) (*Dir, error) {
	fi, err := os.Stat(root)
	if err == nil && !fi.IsDir() {
		err = &fs.PathError{Op: "open", Path: root, Err: errors.New("not a folder")}
	}
	if err != nil {
		return nil, err
	}
	return &Dir{fs: files, root: root, read: os.DirFS(root).(fs.ReadDirFS)}, nil
}

func (d *Dir) Open(name string) (fs.File, error)          { return d.read.Open(name) }
func (d *Dir) ReadDir(name string) ([]fs.DirEntry, error) { return d.read.ReadDir(name) }
func (d *Dir) Sync() error                                { return d.fs.SyncFS(d.root) }

// path is where a name lies; one that leads elsewhere is refused.
func (d *Dir) path(op, name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return filepath.Join(d.root, filepath.FromSlash(name)), nil
}

// Create implements Folder.
func (d *Dir) Create(name string) (io.WriteCloser, error) {
	path, err := d.path("create", name)
	if err != nil {
		return nil, err
	}
	return d.fs.Create(path, 0o600)
}

// Rename implements Folder.
func (d *Dir) Rename(from, to string) error {
	old, err := d.path("rename", from)
	if err != nil {
		return err
	}
	path, err := d.path("rename", to)
	if err != nil {
		return err
	}
	err = d.fs.Rename(old, path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.fs.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		err = d.fs.Rename(old, path)
	}
	return err
}

// Remove implements Folder.
func (d *Dir) Remove(name string) error {
	path, err := d.path("remove", name)
	if err == nil {
		err = d.fs.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
