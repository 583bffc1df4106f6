package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"sae/archive/s3"
	"sae/retention"
)

// Copies in a bucket with Object Lock are locked until the end of the retention of their
// unit, and no longer: what is locked is ciphertext, so that destroying its key works all the
// same. A lock is set when the deposit is committed, not when the copy is written: a deposit
// that fails leaves nothing that cannot be removed. What is still to be locked stands in the
// catalogue from the same transaction on.

// lockRecord is a copy that is to be locked.
type lockRecord struct {
	Until time.Time `json:"until,omitzero"`
	// Hold: the legal hold of the copy is to be set, or lifted, by what holds its objects then.
	Hold bool `json:"hold,omitempty"`
}

// lockEnd is until when a rule, as it applies to a unit, locks its objects; zero when it does
// not: without start date its end is not known, and one without end locks nothing for ever.
func lockEnd(r *AppliedRule) time.Time {
	if r == nil || r.StartDate == "" {
		return time.Time{}
	}
	start, err := time.Parse(time.DateOnly, r.StartDate)
	if err != nil {
		return time.Time{}
	}
	d, err := retention.ParseDuration(r.Duration)
	if err != nil {
		return time.Time{}
	}
	end, ok := d.End(start)
	if !ok || !end.After(time.Now()) {
		return time.Time{}
	}
	return end
}

// locks reports whether copies in offer i are locked.
func (a *Archive) locks(i int) bool {
	c := a.config.Offers[i].S3
	return c != nil && c.Lock != ""
}

// packKey gives what an object has in common with those that may share a blob with it.
func (a *Archive) packKey(p *policy, until time.Time) packKey {
	for i := range a.offers {
		if a.locks(i) && p.wants(i) {
			return packKey{p, until}
		}
	}
	return packKey{policy: p}
}

// lockRows are the copies of a blob that are to be locked until a time.
func (a *Archive) lockRows(p *policy, blob string, until time.Time) (out []record) {
	if until.IsZero() {
		return nil
	}
	for i, o := range a.offers {
		if a.locks(i) && p.wants(i) {
			out = append(out, record{bktLock, debtKey(o.name, blob), mustJSON(lockRecord{Until: until})})
		}
	}
	return out
}

// movedLocks are the copies of a blob whose lock, and legal hold, are to be brought up to date.
func (a *Archive) movedLocks(p *policy, blob string, until time.Time) (out []record) {
	for i, o := range a.offers {
		if a.locks(i) && p.wants(i) {
			out = append(out, record{bktLock, debtKey(o.name, blob), mustJSON(lockRecord{Until: until, Hold: true})})
		}
	}
	return out
}

// lockWorkers is how many locks are set at the same time.
const lockWorkers = 16

// lockJob is a copy that is to be locked now.
type lockJob struct {
	key  []byte
	name string
	of   *offer
	to   *s3.Store
	row  []byte // as it was read
	lockRecord
}

// lockJobs are the copies that can be locked now: not those that are owed, and not those in
// offers that do not answer.
func (a *Archive) lockJobs(t *tx) (jobs []lockJob, err error) {
	err = t.scan(bktLock, nil, nil, func(k, v []byte) (bool, error) {
		offer, name, _ := strings.Cut(string(k), "\x00")
		i := a.offerNamed(offer)
		if i < 0 || a.offers[i].writable() != nil {
			return true, nil
		}
		to, remote := a.offers[i].blobs.(*s3.Store)
		owed, err := t.get(bktDebt, k)
		if err != nil || !remote || owed != nil {
			return err == nil, err
		}
		j := lockJob{key: slices.Clone(k), row: slices.Clone(v), name: name, of: a.offers[i], to: to}
		err = json.Unmarshal(v, &j.lockRecord)
		jobs = append(jobs, j)
		return err == nil, err
	})
	return jobs, err
}

// setLocks locks the copies that are to be locked and can be now; the others stay noted.
func (a *Archive) setLocks(ctx context.Context) error {
	var jobs []lockJob
	if err := a.cat.view(func(t *tx) (err error) { jobs, err = a.lockJobs(t); return err }); err != nil || len(jobs) == 0 {
		return err
	}
	var mu sync.Mutex
	var done []lockJob
	var failed error
	work := make(chan lockJob)
	var wg sync.WaitGroup
	for range min(lockWorkers, len(jobs)) {
		wg.Go(func() {
			for j := range work {
				err := j.of.writable() // another may have failed meanwhile
				if err == nil {
					if err = a.lockCopy(ctx, &j); err != nil && !errors.Is(err, fs.ErrNotExist) {
						j.of.fails(err, a.pause)
					}
				}
				mu.Lock()
				if err == nil {
					done = append(done, j)
				} else {
					failed = err
				}
				mu.Unlock()
			}
		})
	}
	for _, j := range jobs {
		if ctx.Err() != nil {
			break
		}
		work <- j
	}
	close(work)
	wg.Wait()
	if failed != nil {
		a.log.Warn("locking copies", "left", len(jobs)-len(done), "error", failed)
	}
	if len(done) == 0 {
		return ctx.Err()
	}
	err := a.update(nil, func(t *tx) error {
		for _, j := range done {
			v, err := t.get(bktLock, j.key)
			if err == nil && bytes.Equal(v, j.row) { // else more was noted meanwhile
				err = t.delete(bktLock, j.key)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("noting locks: %w", err)
	}
	return ctx.Err()
}

// lockCopy sets the lock of a copy, and its legal hold.
func (a *Archive) lockCopy(ctx context.Context, j *lockJob) error {
	if !j.Until.IsZero() {
		if err := j.to.Lock(ctx, j.name, j.Until); err != nil || !j.Hold {
			return err
		}
	}
	held, err := a.blobHeld(j.name)
	if err != nil {
		return err
	}
	return j.to.Hold(ctx, j.name, held)
}

// blobHeld reports whether a hold is in force on a unit that has an object in a blob.
func (a *Archive) blobHeld(blob string) (held bool, err error) {
	today := now().Format(time.DateOnly)
	err = a.cat.view(func(t *tx) error {
		row, err := t.get(bktBlob, []byte(blob))
		if err != nil {
			return err
		}
		objects := []string{string(row)}
		if p, err := parsePack(row); err != nil {
			return damaged("pack", blob, err)
		} else if p != nil {
			objects = p.Objects
		}
		h := a.heirs(t, "", nil)
		for _, id := range objects {
			rec, _, err := t.objectRecord(id)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			in, err := h.of(rec.Unit)
			if err != nil {
				return err
			}
			if held = retention.HeldOn(in, today); held {
				return nil
			}
		}
		return nil
	})
	return held, err
}

// holdRows are the copies, of all that is in units and below them, of which the legal hold is to
// be brought up to date.
func (a *Archive) holdRows(t *tx, units []string) (out []record, err error) {
	some := false
	for i := range a.offers {
		some = some || a.locks(i)
	}
	if !some {
		return nil, nil
	}
	seen, blobs := map[string]bool{}, map[string]bool{}
	for _, id := range units {
		err := a.under(t, id, seen, func(id string) error {
			rec, _, err := t.unitRecord(id, 0)
			if err != nil {
				return err
			}
			for _, o := range rec.Objects {
				r, _, err := t.objectRecord(o)
				if err != nil {
					return err
				}
				if blobs[r.Blob] {
					continue
				}
				blobs[r.Blob] = true
				rows, err := a.holdRow(t, &r)
				if err != nil {
					return err
				}
				out = append(out, rows...)
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrNotFound) { // destroyed meanwhile
			return nil, err
		}
	}
	return out, nil
}

func (a *Archive) holdRow(t *tx, r *objectRecord) (out []record, err error) {
	p := a.policy(r.Policy)
	for i, o := range a.offers {
		if !a.locks(i) || !p.wants(i) {
			continue
		}
		key := debtKey(o.name, r.Blob)
		var have lockRecord
		v, err := t.get(bktLock, key)
		if err == nil && v != nil {
			err = json.Unmarshal(v, &have)
		}
		if err != nil {
			return nil, err
		}
		have.Hold = true
		out = append(out, record{bktLock, key, mustJSON(have)})
	}
	return out, nil
}

// oweLocks notes that copies just made in offer i are to be locked.
func (a *Archive) oweLocks(i int, made []repairedCopy) error {
	if !a.locks(i) || len(made) == 0 {
		return nil
	}
	var rows []record
	err := a.cat.view(func(t *tx) error {
		for _, m := range made {
			row, err := t.get(bktBlob, []byte(m.blob))
			if err != nil {
				return err
			}
			id := ownerOf(row) // those of a pack are locked alike
			if id == "" {
				continue
			}
			rec, _, err := t.objectRecord(id)
			if err != nil {
				return err
			}
			u, err := a.unit(t, rec.Unit, 0)
			if err != nil {
				return err
			}
			rows = append(rows, record{bktLock, debtKey(a.offers[i].name, m.blob), mustJSON(lockRecord{Until: lockEnd(u.Rule), Hold: true})})
		}
		return nil
	})
	if err != nil || len(rows) == 0 {
		return err
	}
	return a.update(nil, func(t *tx) error { return t.putAll(rows) })
}
