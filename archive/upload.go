package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sae/archive/pieces"
)

// JobUpload is said of a job whose body comes piece by piece.
type JobUpload struct {
	Length  int64     `json:"length"`  // of the body, when it is whole
	Expires time.Time `json:"expires"` // when it is given up, unless it is whole
}

// Upload is the body of a job that is being received (BeginJob), in the form of the package pieces. It is
// used by one at a time. When the body is whole CompleteJob lets the job be worked off, which reads the
// same file.
type Upload struct {
	JobUpload
	Request JobRequest

	a    *Archive
	file string
	key  [32]byte
	w    *pieces.Writer // nil: the file is to be taken up
	sum  hash.Hash      // of the beginning of the body
	seen int64          // its length; -1 when it is not known
}

// ErrTooManyPieces: the body came in more pieces than are taken.
var ErrTooManyPieces = pieces.ErrTooMany

var jobPieceAD = []byte("sae job piece 1 ")

// OpenUpload takes up the body of a job that is being received. When it returns nil all of Offset is
// durable. To a job whose body is whole the error matches ErrBegun.
func (a *Archive) OpenUpload(id string) (*Upload, error) {
	j, err := a.Job(id)
	if err != nil {
		return nil, err
	}
	if j.Upload == nil {
		return nil, fmt.Errorf("upload %q: %w", id, ErrNotFound)
	}
	u := &Upload{JobUpload: *j.Upload, a: a, sum: sha256.New()}
	if u.key, _, u.file, u.Request, err = a.JobKey(id); err == nil {
		err = u.with(func(*os.File) error { return nil })
	}
	if err != nil {
		return nil, fmt.Errorf("taking an upload up: %w", err)
	}
	return u, nil
}

// with opens the file for f.
func (u *Upload) with(f func(*os.File) error) error {
	file, err := os.OpenFile(u.file, os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if file, err = os.OpenFile(u.file, os.O_RDWR|os.O_CREATE, 0o600); err == nil {
			err = u.a.fs.SyncDir(filepath.Dir(u.file))
		}
		u.w = nil // such as after a rebuild: it begins anew
	}
	if err == nil && u.w == nil {
		err = u.takeUp(file)
	}
	if err == nil {
		err = f(file)
	}
	if file != nil {
		err = errors.Join(err, file.Close())
	}
	return err
}

func (u *Upload) takeUp(file *os.File) error {
	fi, err := file.Stat()
	if err != nil {
		return err
	}
	if u.w, err = pieces.Open(file, fi.Size(), u.key, jobPieceAD); err != nil {
		u.w = nil
		return err
	}
	if u.seen = -1; u.w.Length() == 0 {
		u.seen = 0
		u.sum.Reset()
	}
	return nil
}

// Offset is how much of the body is durable.
func (u *Upload) Offset() int64 {
	if u.w == nil {
		return 0
	}
	return u.w.Length()
}

// Append adds what r gives to the body. What it gives as n is durable, also with an error, which may be
// that of r. When check is not nil it is asked at the end, and nothing is kept unless it gives nil.
func (u *Upload) Append(r io.Reader, check func() error) (n int64, err error) {
	err = u.with(func(file *os.File) error {
		before := u.w.Length()
		if u.seen == before {
			r = io.TeeReader(r, u.sum)
		}
		n, err = u.w.Append(file, r, check)
		if err == nil && u.seen == before {
			u.seen = u.w.Length()
		} else {
			u.seen = -1
		}
		return err
	})
	if err != nil && u.w != nil { // what is durable is asked of the file
		if failed := u.with(u.takeUp); failed != nil {
			u.w = nil
			return n, errors.Join(err, failed)
		}
	}
	return n, err
}

// SHA256 is that of the body so far. After a crash, or when a piece was cut short, it is read once more.
func (u *Upload) SHA256() (sum [sha256.Size]byte, err error) {
	if u.w == nil || u.seen != u.w.Length() {
		u.sum.Reset()
		err = u.with(func(file *os.File) error {
			fi, err := file.Stat()
			if err != nil {
				return err
			}
			r, err := pieces.NewReader(file, fi.Size(), u.key, jobPieceAD)
			if err != nil {
				return err
			}
			u.seen, err = io.CopyBuffer(struct{ io.Writer }{u.sum}, r, make([]byte, 256<<10))
			return err
		})
		if err != nil {
			u.seen = -1
			return sum, fmt.Errorf("reading an upload: %w", err)
		}
	}
	return [sha256.Size]byte(u.sum.Sum(nil)), nil
}

// openUpload opens a body that came piece by piece.
func openUpload(path string, key [32]byte, length int64) (*JobReader, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrBodyLost
	}
	if err != nil {
		return nil, fmt.Errorf("opening an upload: %w", err)
	}
	fi, err := f.Stat()
	var r *pieces.Reader
	if err == nil {
		r, err = pieces.NewReader(f, fi.Size(), key, jobPieceAD)
	}
	if err == nil && r.Size() != length {
		err = fmt.Errorf("%d bytes instead of %d", r.Size(), length)
	}
	if err != nil {
		return nil, errors.Join(damaged("upload", path, err), f.Close())
	}
	return &JobReader{r, f}, nil
}

// Uploads are the jobs of all tenants whose bodies come piece by piece, and are not whole.
func (a *Archive) Uploads() (all []*Job, err error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	err = a.cat.view(func(t *tx) error {
		return t.scan(bktJob, jobRow(""), prefixEnd(jobRow("")), func(k, v []byte) (bool, error) {
			var r jobRecord
			if _, err := decodeRecord(v, &r); err != nil {
				return false, damaged("job", string(k[1:]), err)
			}
			if r.State == JobReceiving && r.Upload != nil {
				all = append(all, &r.Job)
			}
			return true, nil
		})
	})
	return all, err
}

// DropUpload forgets a job whose body is not whole, as if it had never been begun. When it returns nil
// what came of the body does not open any more. To a job whose body is whole the error matches ErrBegun.
func (a *Archive) DropUpload(id string) error {
	if err := a.knows("upload", id); err != nil {
		return err
	}
	err := a.changeJobs(func(t *tx) error {
		r, _, err := t.jobRecord(id)
		if err == nil && r.State != JobReceiving {
			err = ErrBegun
		}
		if err != nil {
			return err
		}
		return errors.Join(t.delete(bktJob, jobRow(id)), t.delete(bktJob, jobListRow(r.Tenant, r.Received, id)))
	})
	if err == nil { // a crash here leaves a body without a row, which is swept
		err = a.removeBody(id)
	}
	if err != nil {
		return fmt.Errorf("dropping an upload: %w", err)
	}
	return nil
}
