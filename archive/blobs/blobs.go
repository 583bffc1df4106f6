// Package blobs says what a place for copies is, and keeps copies as files.
//
// A Store is a flat, write-once space of ciphertext. Names are drawn by the writer and
// never used again, so nothing has to be renamed into place: until the catalogue refers to
// a blob, it is litter. blobstest holds every Store against the same tests.
package blobs

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Store is a place where copies lie. Its methods may be called at the same time.
type Store interface {
	// Create begins a new blob. The error matches fs.ErrExist when the name is taken; a
	// Store may also say so at Close only.
	Create(ctx context.Context, name string) (Writer, error)
	// Sync makes durable every blob whose Close returned before Sync was called.
	Sync(ctx context.Context) error
	// Open reads a blob; the error matches fs.ErrNotExist when there is none.
	Open(ctx context.Context, name string) (Blob, error)
	// OpenRange reads n bytes of a blob, from byte off on, as if there were no others; n is
	// at least 1. A blob that ends before is an error.
	OpenRange(ctx context.Context, name string, off, n int64) (Blob, error)
	// Delete removes a blob for good, all that the place keeps of it, durably after the
	// next Sync; a missing one is no error. One that is locked gives a *LockedError.
	Delete(ctx context.Context, name string) error
	// List calls f for every blob whose name begins with prefix, in no order,
	// until f fails.
	List(ctx context.Context, prefix string, f func(name string, size int64) error) error
}

// Writer takes the bytes of one blob. After Close the blob can be read; it
// is durable after the next Sync. Abort leaves nothing behind.
type Writer interface {
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

// LockedError says that a blob cannot be deleted yet.
type LockedError struct {
	Name  string
	Until time.Time // zero when the place does not tell, or there is a legal hold
}

func (e *LockedError) Error() string {
	if e.Until.IsZero() {
		return "blob " + e.Name + " is locked"
	}
	return fmt.Sprintf("blob %s is locked until %s", e.Name, e.Until.Format(time.RFC3339))
}

// Mark says whose a place is: a place without it is an unmounted disk, an empty bucket, or
// another archive's.
type Mark struct {
	Format  int    `json:"format"`
	Archive string `json:"archive"`
	Offer   string `json:"offer"`
}

// MarkName is the file, or object, that holds the mark as JSON.
const MarkName = "sae-offer.json"

// Check reports whether a mark is the one wanted; where names it.
func (m Mark) Check(want Mark, where string) error {
	if m == want {
		return nil
	}
	return fmt.Errorf("%s says that it is offer %q of archive %q, not offer %q of this one: another archive's place, or damaged",
		where, m.Offer, m.Archive, want.Offer)
}

var sessionForm = regexp.MustCompile(`^[a-z][a-z2-7]{26}$`)

// Name is the name of the nth blob, from 1, of a session: a letter and 26 characters of
// base32.
func Name(session string, n uint64) string { return fmt.Sprintf("%s-%012d", session, n) }

// Split is the inverse of Name.
func Split(name string) (session string, n uint64, err error) {
	session, num, ok := strings.Cut(name, "-")
	if ok && sessionForm.MatchString(session) && len(num) == 12 {
		n, err = strconv.ParseUint(num, 10, 64)
	}
	if !ok || err != nil || n == 0 || len(num) != 12 {
		return "", 0, fmt.Errorf("blob name %q is not of this archive's form", name)
	}
	return session, n, nil
}
