package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"sae/archive/durable"
)

// Blobs is a place where copies lie: a flat, write-once space of ciphertext.
// Names are drawn at random by the writer and never used again, so nothing has
// to be renamed into place: until the catalogue refers to it, a blob is litter.
type Blobs interface {
	// Create begins a new blob. It fails with an error matching fs.ErrExist when
	// the name is taken.
	Create(ctx context.Context, name string) (BlobWriter, error)
	// Sync makes durable every blob whose Close returned before Sync was called.
	Sync(ctx context.Context) error
	// Open reads a blob; the error matches fs.ErrNotExist when there is none.
	Open(ctx context.Context, name string) (Blob, error)
	// Delete removes a blob for good, durably after the next Sync; a missing one
	// is no error.
	Delete(ctx context.Context, name string) error
	// List calls f for every blob whose name begins with prefix, in no order,
	// until f fails.
	List(ctx context.Context, prefix string, f func(name string, size int64) error) error
}

// BlobWriter takes the bytes of one blob. After Close the blob can be read; it
// is durable after the next Sync. Abort leaves nothing behind.
type BlobWriter interface {
	io.Writer
	Close() error
	Abort()
}

// Blob is an open blob.
type Blob interface {
	io.ReaderAt
	io.Closer
	Size() int64
}

// offer is a configured place for copies.
type offer struct {
	name  string
	blobs Blobs
	down  error // why it could not be opened; nil when it could

	lostSyncs atomic.Uint64 // syncs that failed
}

// offerMark is the file that says whose an offer is: a folder without it is an
// unmounted disk, or another archive's.
const offerMark = "sae-offer.json"

type offerIdentity struct {
	Format  int    `json:"format"`
	Archive string `json:"archive"`
	Offer   string `json:"offer"`
}

// dirOffer keeps blobs as files: blobs/SESSION/THOUSAND/NAME below its folder,
// so that no directory grows past a thousand blobs and those of one writing
// process lie together.
type dirOffer struct {
	fs   durable.FS
	root string
}

// createDirOffer makes the folder of a new offer and marks it as this archive's.
func createDirOffer(fs durable.FS, root, archive, name string) error {
	mark := filepath.Join(root, offerMark)
	if _, err := os.Lstat(mark); err == nil {
		return fmt.Errorf("creating offer %s: %s holds an offer already: %w", name, root, ErrExists)
	}
	if err := fs.MkdirAll(filepath.Join(root, "blobs"), 0o700); err != nil {
		return fmt.Errorf("creating offer %s: %w", name, err)
	}
	b, err := json.Marshal(offerIdentity{1, archive, name})
	if err != nil {
		return err
	}
	if err := fs.WriteFile(mark, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("creating offer %s: %w", name, err)
	}
	return nil
}

// openDirOffer opens an offer's folder; one that is not this archive's is refused.
func openDirOffer(fs durable.FS, root, archive, name string) (*dirOffer, error) {
	b, err := os.ReadFile(filepath.Join(root, offerMark))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing in %s: the disk is not mounted, or the folder was emptied", offerMark, root)
	}
	if err != nil {
		return nil, err
	}
	var id offerIdentity
	if err := json.Unmarshal(b, &id); err != nil {
		return nil, &DamagedError{What: "offer mark", Where: filepath.Join(root, offerMark), Err: err}
	}
	if id != (offerIdentity{1, archive, name}) {
		return nil, fmt.Errorf("%s says that it is offer %q of archive %q, not offer %q of this one: another archive's folder, or damaged",
			filepath.Join(root, offerMark), id.Offer, id.Archive, name)
	}
	return &dirOffer{fs: fs, root: root}, nil
}

// blobName is the name of the nth blob of a session.
func blobName(session string, n uint64) string { return fmt.Sprintf("%s-%012d", session, n) }

// splitBlobName is the inverse of blobName.
func splitBlobName(name string) (session string, n uint64, err error) {
	session, num, ok := strings.Cut(name, "-")
	if ok && idForm.MatchString(session) && len(num) == 12 {
		n, err = strconv.ParseUint(num, 10, 64)
	}
	if !ok || err != nil || n == 0 || len(num) != 12 {
		return "", 0, fmt.Errorf("blob name %q is not of this archive's form", name)
	}
	return session, n, nil
}

func (o *dirOffer) path(name string) (string, error) {
	session, n, err := splitBlobName(name)
	if err != nil {
		return "", err
	}
	return filepath.Join(o.root, "blobs", session, fmt.Sprintf("%09d", n/1000), name), nil
}

func (o *dirOffer) Create(_ context.Context, name string) (BlobWriter, error) {
	path, err := o.path(name)
	if err != nil {
		return nil, err
	}
	f, err := o.fs.Create(path, 0o600)
	if err != nil {
		return nil, err
	}
	return &dirBlobWriter{f, o.fs, path}, nil
}

// Sync is one syncfs: it covers the files and the directory entries written
// before it, whatever their number.
func (o *dirOffer) Sync(context.Context) error { return o.fs.SyncFS(o.root) }

func (o *dirOffer) Open(_ context.Context, name string) (Blob, error) {
	path, err := o.path(name)
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

func (o *dirOffer) Delete(_ context.Context, name string) error {
	path, err := o.path(name)
	if err != nil {
		return err
	}
	if err := o.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// List reports files of any name, so that what does not belong is seen too.
func (o *dirOffer) List(ctx context.Context, prefix string, f func(string, int64) error) error {
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

type dirBlobWriter struct {
	*durable.File
	fs   durable.FS
	path string
}

// Abort removes what was written; if that fails too, the sweep at the next
// opening does.
func (w *dirBlobWriter) Abort() {
	w.File.Close()
	w.fs.Remove(w.path)
}

type dirBlob struct {
	*os.File
	size int64
}

func (b *dirBlob) Size() int64 { return b.size }
