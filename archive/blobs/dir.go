package blobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sae/archive/durable"
)

// Dir keeps blobs as files: blobs/SESSION/THOUSAND/NAME below its folder,
// so that no directory grows past a thousand blobs and those of one writing
// process lie together.
type Dir struct {
	fs   durable.FS
	root string
}

var _ Store = (*Dir)(nil)

// CreateDir makes the folder of a new place and marks it. One that is marked already
// gives an error matching fs.ErrExist.
func CreateDir(files durable.FS, root string, m Mark) error {
	path := filepath.Join(root, MarkName)
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("creating offer %s: %s holds an offer already: %w", m.Offer, root, fs.ErrExist)
	}
	if err := files.MkdirAll(filepath.Join(root, "blobs"), 0o700); err != nil {
		return fmt.Errorf("creating offer %s: %w", m.Offer, err)
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := files.WriteFile(path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("creating offer %s: %w", m.Offer, err)
	}
	return nil
}

// OpenDir opens a folder that has this mark; any other is refused.
func OpenDir(fs durable.FS, root string, want Mark) (*Dir, error) {
	m, err := ReadDirMark(root)
	if err != nil {
		return nil, err
	}
	if err := m.Check(want, filepath.Join(root, MarkName)); err != nil {
		return nil, err
	}
	return &Dir{fs: fs, root: root}, nil
}

// ReadDirMark reads the mark of a folder.
func ReadDirMark(root string) (m Mark, err error) {
	path := filepath.Join(root, MarkName)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return m, fmt.Errorf("%s is missing in %s: the disk is not mounted, or the folder was emptied: %w", MarkName, root, err)
	}
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("offer mark %s is damaged: %w", path, err)
	}
	return m, nil
}

// Path is where a blob lies.
func (o *Dir) Path(name string) (string, error) {
	session, n, err := Split(name)
	if err != nil {
		return "", err
	}
	return filepath.Join(o.root, "blobs", session, fmt.Sprintf("%09d", n/1000), name), nil
}

// Create implements Store.
func (o *Dir) Create(_ context.Context, name string) (Writer, error) {
	path, err := o.Path(name)
	if err != nil {
		return nil, err
	}
	f, err := o.fs.Create(path, 0o600)
	if err != nil {
		return nil, err
	}
	return &dirWriter{f, o.fs, path}, nil
}

// Sync is one syncfs: it covers the files and the directory entries written
// before it, whatever their number.
func (o *Dir) Sync(context.Context) error { return o.fs.SyncFS(o.root) }

// Open implements Store.
func (o *Dir) Open(_ context.Context, name string) (Blob, error) {
	path, err := o.Path(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &dirBlob{f, fi.Size()}, nil
}

// OpenRange implements Store.
func (o *Dir) OpenRange(ctx context.Context, name string, off, n int64) (Blob, error) {
	b, err := o.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if off < 0 || n <= 0 || off+n > b.Size() {
		b.Close()
		return nil, fmt.Errorf("blob %s has %d bytes, not %d", name, b.Size(), off+n)
	}
	return &dirRange{io.NewSectionReader(b, off, n), b}, nil
}

type dirRange struct {
	*io.SectionReader
	io.Closer
}

// Delete implements Store.
func (o *Dir) Delete(_ context.Context, name string) error {
	path, err := o.Path(name)
	if err != nil {
		return err
	}
	if err := o.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// List reports files of any name, so that what does not belong is seen too.
func (o *Dir) List(ctx context.Context, prefix string, f func(string, int64) error) error {
	root := filepath.Join(o.root, "blobs")
	if session, _, ok := strings.Cut(prefix, "-"); ok {
		root = filepath.Join(root, session)
	}
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path == root:
			return nil // no blob of that session
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() && filepath.Dir(path) == filepath.Join(o.root, "blobs") && !strings.HasPrefix(d.Name(), prefix[:min(len(prefix), len(d.Name()))]):
			return fs.SkipDir // another session's
		case d.IsDir() || !strings.HasPrefix(d.Name(), prefix):
			return nil
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		return f(d.Name(), fi.Size())
	})
}

type dirWriter struct {
	*durable.File
	fs   durable.FS
	path string
}

// Abort removes what was written; if that fails too, the sweep at the next
// opening does.
func (w *dirWriter) Abort() {
	w.File.Close()
	w.fs.Remove(w.path)
}

type dirBlob struct {
	*os.File
	size int64
}

func (b *dirBlob) Size() int64 { return b.size }
