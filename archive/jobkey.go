package archive

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"sae/archive/vault"
)

// jobKey gives the data key under which keys of jobs are wrapped.
func (a *Archive) jobKey(t *tx) ([32]byte, error) {
	key, err := a.vault.Unwrap(keyStore{t}, jobKeyNumber)
	if err != nil {
		return key, fmt.Errorf("opening the key of jobs: %w", err)
	}
	return vault.Derive(key, "sae job"), nil
}

// makeJobKey makes that key when there is none yet. No root key is replaced meanwhile.
func (a *Archive) makeJobKey() error {
	there := func(t *tx) (bool, error) {
		v, err := keyStore{t}.Get(0, jobKeyNumber)
		return v != nil, err
	}
	found := false
	err := a.cat.view(func(t *tx) (err error) {
		found, err = there(t)
		return err
	})
	if err != nil || found {
		return err
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	return a.changeJobs(func(t *tx) error {
		if found, err := there(t); err != nil || found {
			return err
		}
		return a.vault.Wrap(keyStore{t}, jobKeyNumber, newKey())
	})
}

// changeJobs changes rows of jobs. When it returns nil the change is durable.
func (a *Archive) changeJobs(f func(t *tx) error) error {
	if a.readOnly {
		return ErrReadOnly
	}
	if err := a.failed.Load(); err != nil {
		return fmt.Errorf("an earlier commit failed, reopen the archive: %w", *err)
	}
	err := a.cat.update(f)
	var uncertain *commitError
	if errors.As(err, &uncertain) {
		a.fail(err)
	}
	return err
}

// rekeyWithJobs destroys data keys under a new root, and the one under which keys of jobs are wrapped
// with them.
func (a *Archive) rekeyWithJobs(t *tx, keys []uint64, root [32]byte) (*vault.Vault, error) {
	old, err := a.jobKey(t)
	if errors.Is(err, vault.ErrNoKey) { // there was no job yet
		return a.vault.Rekey(keyStore{t}, keys, root)
	}
	if err != nil {
		return nil, err
	}
	next, err := a.vault.Rekey(keyStore{t}, append(slices.Clone(keys), jobKeyNumber), root)
	if err == nil {
		err = a.rewrapJobs(t, old, next)
	}
	return next, err
}

// rewrapJobs wraps the keys of jobs under one drawn anew, within a transaction that destroys keys: next
// is the vault of the root to come. What does not open is given up, as its body is.
func (a *Archive) rewrapJobs(t *tx, old [32]byte, next *vault.Vault) error {
	key := newKey()
	if err := next.Wrap(keyStore{t}, jobKeyNumber, key); err != nil {
		return err
	}
	var rows []record
	err := t.scan(bktJob, jobRow(""), prefixEnd(jobRow("")), func(k, v []byte) (bool, error) {
		var r jobRecord
		s, err := decodeRecord(v, &r)
		if err != nil || r.Key == nil {
			return err == nil, err
		}
		own, secret, err := r.open(old, s)
		if err != nil {
			a.log.Error("the key of a job does not open, and is given up", "job", r.ID)
			r.Key = nil
			rows = append(rows, record{bktJob, bytes.Clone(k), r.encode([32]byte{}, nil)})
			return true, nil
		}
		r.wrap(vault.Derive(key, "sae job"), own)
		rows = append(rows, record{bktJob, bytes.Clone(k), r.encode(own, secret)})
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("wrapping the keys of jobs anew: %w", err)
	}
	return t.putAll(rows)
}

func (r *jobRecord) wrap(under, key [32]byte) {
	r.Key = vault.Seal(under, []byte("sae job "+r.ID), key[:])
}

// open gives the key of a job and its secret.
func (r *jobRecord) open(under [32]byte, s sealed) (key [32]byte, secret []byte, err error) {
	if r.Key == nil {
		return key, nil, ErrBodyLost
	}
	b, err := vault.Open(under, []byte("sae job "+r.ID), r.Key)
	if err == nil && len(b) != len(key) {
		err = fmt.Errorf("a key of %d bytes", len(b))
	}
	if err != nil {
		return key, nil, err
	}
	key = [32]byte(b)
	salt, rest, err := s.open(key)
	return key, append(salt[:], rest...), err
}
