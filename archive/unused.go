package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"sae/archive/blobs"
	"sae/archive/s3"
)

// Copies of a blob that is not used any more are deleted in every offer, and it is seen to
// that they are gone. One that is locked, or whose offer does not answer, waits for it: it
// stands in the catalogue from the transaction on that gave the blob up.

// unusedRecord is a copy that is to be deleted.
type unusedRecord struct {
	Since time.Time `json:"since"`
	Until time.Time `json:"until,omitzero"` // locked; zero when that is not known, or there is a legal hold
	Why   string    `json:"why,omitempty"`  // it could not be deleted
}

// unusedRows are the copies of a blob, in every offer: they may lie where they do not belong.
func (a *Archive) unusedRows(blob string, when time.Time) (out []record) {
	for _, o := range a.offers {
		out = append(out, record{bktUnused, debtKey(o.name, blob), mustJSON(unusedRecord{Since: when})})
	}
	return out
}

// unuse gives a blob up.
func (a *Archive) unuse(t *tx, blob string, when time.Time) error {
	if err := t.delete(bktBlob, []byte(blob)); err != nil {
		return err
	}
	for _, o := range a.offers {
		for _, b := range []bucket{bktDebt, bktLock} {
			if err := t.delete(b, debtKey(o.name, blob)); err != nil {
				return err
			}
		}
	}
	return t.putAll(a.unusedRows(blob, when))
}

// unused is a copy that is to be deleted.
type unused struct {
	offer, blob string
	unusedRecord
}

// unused are all of them.
func (t *tx) unused() ([]unused, error) { return t.unusedFrom(nil, 0) }

// unusedFrom are at most so many from a key on; 0 for all.
func (t *tx) unusedFrom(from []byte, most int) (out []unused, err error) {
	err = t.scan(bktUnused, from, nil, func(k, v []byte) (bool, error) {
		var u unused
		u.offer, u.blob, _ = strings.Cut(string(k), "\x00")
		err := json.Unmarshal(v, &u.unusedRecord)
		out = append(out, u)
		return err == nil && len(out) != most, err
	})
	return out, err
}

// isUnused reports whether a copy is known to wait for its deletion.
func (a *Archive) isUnused(offer, blob string) (yes bool) {
	a.cat.view(func(t *tx) error {
		v, err := t.get(bktUnused, debtKey(offer, blob))
		yes = v != nil
		return err
	})
	return yes
}

// unusedBatch is how many copies one transaction takes off the list, and maxLeft how many of
// those that wait are named.
const (
	unusedBatch = 10_000
	maxLeft     = 10_000
)

// deletion is what became of the copies that were to be deleted.
type deletion struct {
	deleted, waiting int64
	left             []unused // that wait, at most maxLeft
}

// deleteUnused deletes the copies that are to be deleted and can be, some at a time.
func (a *Archive) deleteUnused(ctx context.Context) (d deletion, err error) {
	var from []byte
	waits, update := map[string]error(nil), func(f func(*tx) error) error { return a.update(nil, f) }
	for {
		var batch []unused
		err := a.cat.view(func(t *tx) (err error) { batch, err = t.unusedFrom(from, unusedBatch); return err })
		if err != nil || len(batch) == 0 {
			return d, err
		}
		if waits == nil {
			if waits, err = a.mustWait(); err != nil {
				return d, err
			}
		}
		if err := a.deleteBatch(ctx, update, batch, waits, &d); err != nil {
			return d, err
		}
		last := batch[len(batch)-1]
		from = append(debtKey(last.offer, last.blob), 0)
	}
}

// deleteBatch deletes some copies, and notes by update what became of them.
func (a *Archive) deleteBatch(ctx context.Context, update func(func(*tx) error) error, batch []unused, waits map[string]error, d *deletion) error {
	errs, before := make([]error, len(batch)), slices.Clone(batch)
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(lockWorkers, len(batch)) {
		wg.Go(func() {
			for i := range next {
				if errs[i] = waits[batch[i].offer]; errs[i] == nil && ctx.Err() == nil {
					errs[i] = a.deleteCopy(ctx, &batch[i])
				}
			}
		})
	}
	for i := range batch {
		next <- i
	}
	close(next)
	wg.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	used := map[int]bool{}
	for i := range batch {
		if n := a.offerNamed(batch[i].offer); errs[i] == nil && n >= 0 {
			used[n] = true
		}
	}
	notSynced := a.syncOffers(used)
	var gone []unused
	var changed, left []unused
	for i, u := range batch {
		if n := a.offerNamed(u.offer); errs[i] == nil && n >= 0 {
			errs[i] = notSynced[n]
		}
		if errs[i] == nil {
			gone = append(gone, u)
			continue
		}
		u.Why = errs[i].Error()
		left = append(left, u)
		if u.unusedRecord != before[i].unusedRecord {
			changed = append(changed, u)
		}
	}
	if len(gone)+len(changed) > 0 {
		err := update(func(t *tx) error {
			for _, u := range gone {
				if err := t.delete(bktUnused, debtKey(u.offer, u.blob)); err != nil {
					return err
				}
			}
			for _, u := range changed {
				if err := t.put(bktUnused, debtKey(u.offer, u.blob), mustJSON(u.unusedRecord)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("noting what was deleted: %w", err)
		}
	}
	d.deleted += int64(len(gone))
	d.waiting += int64(len(left))
	d.left = append(d.left, left[:min(len(left), maxLeft-len(d.left))]...)
	return nil
}

var errOwes = errors.New("the offer owes copies: what replaces this one may be among them, or the journal that says so")

// mustWait says in which offers nothing may be deleted yet: a rebuilding from one of them must
// find what its journal speaks of.
func (a *Archive) mustWait() (map[string]error, error) {
	if err := a.beginJournal(); err != nil {
		return nil, err
	}
	return a.owing()
}

// owing are the offers that do not have all that the journal speaks of, or not all of the journal.
func (a *Archive) owing() (map[string]error, error) {
	waits := map[string]error{}
	err := a.cat.view(func(t *tx) error {
		s, err := t.journalState()
		if err != nil {
			return err
		}
		if s.SHA256 == "" { // no offer has the last transactions
			for _, o := range a.offers {
				waits[o.name] = errOwes
			}
		}
		return t.scan(bktDebt, nil, nil, func(k, _ []byte) (bool, error) {
			offer, _, _ := strings.Cut(string(k), "\x00")
			waits[offer] = errOwes
			return true, nil
		})
	})
	return waits, err
}

// deleteCopy deletes one copy and looks whether it is gone.
func (a *Archive) deleteCopy(ctx context.Context, u *unused) error {
	i := a.offerNamed(u.offer)
	if i < 0 {
		return nil // what lies in an offer that was removed is no longer ours
	}
	o := a.offers[i]
	if o.down != nil {
		return o.down
	}
	if u.Until.After(time.Now()) {
		return &blobs.LockedError{Name: u.blob, Until: u.Until}
	}
	var locked *blobs.LockedError
	err := o.blobs.Delete(ctx, u.blob)
	if to, ok := o.blobs.(*s3.Store); ok && errors.As(err, &locked) && locked.Until.IsZero() {
		// A legal hold of ours, which is over: nothing that is in use, or held, is in the blob.
		if err = to.Hold(ctx, u.blob, false); err == nil {
			err = o.blobs.Delete(ctx, u.blob)
		}
	}
	if errors.As(err, &locked) {
		u.Until = locked.Until
	}
	if err != nil {
		return err
	}
	b, err := o.blobs.Open(ctx, u.blob)
	switch {
	case err == nil:
		b.Close()
		return fmt.Errorf("blob %s is still there after it was deleted", u.blob)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

// unusedLater splits what waits into what waits for the end of a lock alone, and the rest.
func unusedLater(left []unused) (locked, stuck []unused) {
	for _, u := range left {
		if u.Until.After(time.Now()) {
			locked = append(locked, u)
		} else {
			stuck = append(stuck, u)
		}
	}
	slices.SortFunc(locked, func(x, y unused) int { return x.Until.Compare(y.Until) })
	return locked, stuck
}
