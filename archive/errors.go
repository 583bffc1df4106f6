package archive

import (
	"errors"
	"fmt"
	"strings"
)

// The sentinels on which a caller decides.
var (
	// ErrNotFound: there is no such unit, object, entry or operation.
	ErrNotFound = errors.New("not found")
	// ErrExists: there is an archive here already.
	ErrExists = errors.New("already exists")
	// ErrLocked: another process holds the archive.
	ErrLocked = errors.New("the archive is in use")
	// ErrReadOnly: the archive was opened for reading.
	ErrReadOnly = errors.New("the archive was opened for reading only")
	// ErrNotSealed: the object waits for its time-stamp.
	ErrNotSealed = errors.New("not sealed yet")
	// ErrNoAuthority: no time-stamping authority answered; what waited waits on.
	ErrNoAuthority = errors.New("no time-stamping authority answered")
	// ErrRefused: the request is not acceptable; the error says what and where.
	ErrRefused = errors.New("refused")
)

// DamagedError says that the archive's own files contradict each other or are
// gone. It is never retried.
type DamagedError struct {
	What  string // what is damaged: "catalogue", "ledger", "root key", "object"...
	Where string // file, or identifier
	Why   string
	Err   error // cause, may be nil
}

func (e *DamagedError) Error() string {
	s := fmt.Sprintf("%s is damaged: %s", e.What, e.Where)
	if e.Why != "" {
		s += ": " + e.Why
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *DamagedError) Unwrap() error { return e.Err }

// damaged wraps err as damage, unless it already says so.
func damaged(what, where string, err error) error {
	var d *DamagedError
	if errors.As(err, &d) {
		return err
	}
	return &DamagedError{What: what, Where: where, Err: err}
}

// RollbackError says that the catalogue is older than, or forked from, the last
// checkpoint that this archive is known to have signed.
type RollbackError struct {
	Have, Want int64 // ledger sizes: the catalogue's, and the last one signed
	Forked     bool  // the sizes allow it, but the histories differ
}

func (e *RollbackError) Error() string {
	if e.Forked {
		return fmt.Sprintf("the catalogue is not the one this archive last signed: its ledger of %d entries does not contain the %d entries already signed; "+
			"put the right catalogue back, or record that you accept the loss: sae ledger accept-rollback --reason TEXT", e.Have, e.Want)
	}
	return fmt.Sprintf("an older catalogue was put back: its ledger has %d entries, this archive already signed %d, so %d operations would be lost; "+
		"put the newer catalogue back, or record that you accept the loss: sae ledger accept-rollback --reason TEXT", e.Have, e.Want, e.Want-e.Have)
}

// Refusal is a request that cannot be accepted, with all its problems at once.
// It matches ErrRefused.
type Refusal struct{ Problems []string }

func (r *Refusal) Error() string        { return strings.Join(r.Problems, "\n") }
func (r *Refusal) Is(target error) bool { return target == ErrRefused }

func (r *Refusal) addf(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

// orNil is the refusal as an error, nil when it holds no problem.
func (r *Refusal) orNil() error {
	if len(r.Problems) == 0 {
		return nil
	}
	return r
}
