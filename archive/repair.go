package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"sae/archive/blobs"
	"sae/integrity"
)

// copyBlob replaces the copy of a blob in one offer by that of another, at a pace; it is
// hashed on the way. It is durable after the next sync of the offer; a crash before leaves a
// copy that the next audit finds. What stands in the way is removed only when the other copy
// has been read and is good: the two may be bad in different places.
func (a *Archive) copyBlob(ctx context.Context, from, to int, b wholeBlob, p *pace) error {
	if a.offers[to].down != nil {
		return a.offers[to].down
	}
	err := a.writeCopy(ctx, from, to, b, p)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := a.cipherCopy(ctx, from, b); err != nil {
		return fmt.Errorf("the copy in %s is not good either: %w", a.offers[from].name, err)
	}
	err = a.offers[to].blobs.Delete(ctx, b.name)
	var locked *blobs.LockedError
	if errors.As(err, &locked) && a.cipherCopy(ctx, to, b) == nil {
		return nil // somebody had put another version over it, which is gone; the locked one is good
	}
	if err != nil {
		return err
	}
	return a.writeCopy(ctx, from, to, b, p)
}

// copyFromAny is copyBlob from the first other offer that has a good copy.
func (a *Archive) copyFromAny(ctx context.Context, to int, b wholeBlob, p *pace) error {
	errs := []error{errors.New("no other copy could be read")}
	for from := range a.offers {
		if from == to {
			continue
		}
		err := a.copyBlob(ctx, from, to, b, p)
		if err == nil || ctx.Err() != nil {
			return err
		}
		errs = append(errs, fmt.Errorf("from %s: %w", a.offers[from].name, err))
	}
	return errors.Join(errs...)
}

// writeCopy writes the copy of one offer into another that has none; else the error matches
// fs.ErrExist.
func (a *Archive) writeCopy(ctx context.Context, from, to int, b wholeBlob, p *pace) error {
	src, err := a.offers[from].open(ctx, b.name)
	if err != nil {
		return err
	}
	defer src.Close()
	w, err := a.offers[to].blobs.Create(ctx, b.name)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.CopyBuffer(io.MultiWriter(w, sum), onlyReader{p.reader(ctx, io.NewSectionReader(src, 0, src.Size()))}, make([]byte, 256<<10))
	if err == nil && !bytes.Equal(sum.Sum(nil), b.cipher) {
		err = fmt.Errorf("the copy in %s is not good either", a.offers[from].name)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		w.Abort()
		return err
	}
	a.offers[to].ailing.Store(nil)
	return nil
}

// recordRepairs syncs the offers that were repaired, then writes an entry for
// each and takes the copies out of the queue of missing ones.
func (a *Archive) recordRepairs(ctx context.Context, agent string, repaired []repairedCopy) error {
	byOffer := map[int][]string{}
	used := map[int]bool{}
	for _, r := range repaired {
		byOffer[r.offer] = append(byOffer[r.offer], r.blob)
		used[r.offer] = true
	}
	for _, err := range a.syncOffers(used) {
		return err
	}
	for i := range byOffer {
		var made []repairedCopy
		for _, r := range repaired {
			if r.offer == i {
				made = append(made, r)
			}
		}
		if err := a.oweLocks(i, made); err != nil {
			return err
		}
	}
	for i, blobs := range byOffer {
		op := &operation{
			id:     newID(opID),
			entry:  integrity.Entry{Kind: integrity.Repair, Tenant: a.config.Tenants[0].ID, Agent: agentID(a.indexKey, agent)},
			detail: func(position) any { return integrity.RepairDetail{Offer: a.offers[i].name, Copies: int64(len(blobs))} },
		}
		for _, b := range blobs {
			op.deletes = append(op.deletes, record{bucket: bktDebt, key: debtKey(a.offers[i].name, b)})
		}
		if _, _, err := a.commit(context.WithoutCancel(ctx), op); err != nil {
			return err
		}
	}
	return a.setLocks(context.WithoutCancel(ctx))
}

// Repaired is the outcome of working off the queue of missing copies.
type Repaired struct {
	Copies  int64     `json:"copies"`
	Deleted int64     `json:"deleted"` // copies that were to be deleted
	Left    []Finding `json:"left"`    // copies still missing, or not deleted, and why
}

// RepairQueue makes the copies that were missing when their deposits were acknowledged, and
// deletes those that are not used any more, on behalf of agent.
func (a *Archive) RepairQueue(ctx context.Context, agent string) (*Repaired, error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	debts, err := a.debts()
	if err != nil {
		return nil, err
	}
	out := &Repaired{Left: []Finding{}}
	var done []repairedCopy
	for _, d := range debts {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		i, err := a.settleDebt(ctx, d)
		if err != nil {
			out.Left = append(out.Left, Finding{What: "copy", Where: d.blob, Offer: d.offer, Why: err.Error()})
			continue
		}
		done = append(done, repairedCopy{i, d.blob})
	}
	out.Copies = int64(len(done))
	if err := a.recordRepairs(ctx, agent, done); err != nil {
		return out, err
	}
	d, err := a.deleteUnused(ctx)
	out.Deleted = d.deleted
	_, stuck := unusedLater(d.left)
	for _, u := range stuck {
		out.Left = append(out.Left, Finding{What: "copy to delete", Where: u.blob, Offer: u.offer, Why: u.Why})
	}
	return out, err
}

type debt struct {
	offer, blob string
	debtRecord
}

// debts are the copies known to be missing.
func (a *Archive) debts() (out []debt, err error) {
	err = a.cat.view(func(t *tx) error {
		return t.scan(bktDebt, nil, nil, func(k, v []byte) (bool, error) {
			d := debt{}
			d.offer, d.blob, _ = strings.Cut(string(k), "\x00")
			err := json.Unmarshal(v, &d.debtRecord)
			out = append(out, d)
			return true, err
		})
	})
	return out, err
}

// settleDebt makes one missing copy from any other.
func (a *Archive) settleDebt(ctx context.Context, d debt) (offer int, err error) {
	to := a.offerNamed(d.offer)
	if to < 0 {
		return 0, fmt.Errorf("offer %s is no longer in the configuration", d.offer)
	}
	var b wholeBlob
	err = a.cat.view(func(t *tx) (err error) { b, err = a.registeredBlob(t, d.blob); return err })
	if err != nil {
		return 0, err
	}
	return to, a.copyFromAny(ctx, to, b, nil)
}
