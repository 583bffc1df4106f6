package archive

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"sae/archive/stream"
)

// JobBody is a body in the folder of jobs that belongs to none yet.
type JobBody struct {
	Size   int64 // of the file
	Length int64 // of the body
	SHA256 [sha256.Size]byte

	a    *Archive
	file string
	key  [32]byte
}

// SpoolBody keeps what r gives. When it returns nil the file is durable;
// a crash before the job is accepted leaves it without a row, and it is swept. An error of r is given as
// it is.
func (a *Archive) SpoolBody(r io.Reader) (b *JobBody, err error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	b = &JobBody{a: a, file: a.jobPath(newID(jobID), ".part"), key: newKey()}
	if err := b.write(r); err != nil {
		b.Discard()
		return nil, fmt.Errorf("keeping a body: %w", err)
	}
	return b, nil
}

func (b *JobBody) write(r io.Reader) error {
	f, err := b.a.fs.Create(b.file, 0o600)
	if err != nil {
		return err
	}
	w, err := stream.NewWriter(f, b.key, jobBodyAD)
	if err == nil {
		sum := sha256.New()
		b.Length, err = io.CopyBuffer(io.MultiWriter(w, sum), struct{ io.Reader }{r}, make([]byte, 256<<10))
		sum.Sum(b.SHA256[:0])
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = f.Sync()
	}
	b.Size = stream.CiphertextSize(b.Length)
	return errors.Join(err, f.Close())
}

// Open opens the body, of random access; it is to be closed.
func (b *JobBody) Open() (*JobReader, error) { return openJobFile(b.file, b.key, jobBodyAD) }

// Discard removes a body that no job takes over.
func (b *JobBody) Discard() {
	if err := b.a.fs.Remove(b.file); err != nil && !errors.Is(err, os.ErrNotExist) {
		b.a.log.Error("removing a body", "error", err)
	}
}
