package archive

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sae/integrity"
)

// operation is one thing done to the archive, ready to be committed: everything
// that could fail for its own reasons has been done before.
type operation struct {
	entry  integrity.Entry // all but time, items and detail
	id     string
	items  []integrity.Item // one leaf each, in this order
	keys   [][32]byte       // data keys to wrap, numbered from position.key
	blobs  []storedBlob     // what must be durable before the entry exists
	stored bool             // counted in Archive.storing until it is taken from the queue
	detail func(position) any
	// records gives what to store, once it is known where the operation stands.
	// They cannot fail: one operation must not spoil those that commit with it.
	records []func(position) []record
	// deletes are keys that go.
	deletes []record
}

// position is where a committed operation stands.
type position struct {
	entry int64     // ledger index
	time  time.Time // of the entry
	leaf  uint64    // number of its first leaf
	key   uint64    // number of its first data key
}

// record is one key and value of a bucket.
type record struct {
	bucket     bucket
	key, value []byte
}

// storedBlob is a blob as the offers have taken it: indexes into Archive.offers
// of those that did, and why the others did not.
type storedBlob struct {
	name   string
	object string
	in     []int
	failed map[int]error
	// lostSyncs is, per offer, how many of its syncs had failed when the blob was
	// begun: if one more has since, the blob's bytes may be gone.
	lostSyncs []uint64
}

// pending is an operation that waits for its commit.
type pending struct {
	op   *operation
	done chan committed
}

type committed struct {
	pos     position
	receipt integrity.Receipt
	err     error
}

// maxGroup bounds the operations, and maxGroupItems the items, of one commit: the
// catalogue keeps what a transaction writes in memory.
const (
	maxGroup      = 512
	maxGroupItems = 50_000
)

// commit makes an operation durable and gives its receipt. When it returns an
// error the operation did not take place, save for an error matching
// errUncertain, after which the archive accepts no write until it is reopened.
func (a *Archive) commit(ctx context.Context, op *operation) (position, integrity.Receipt, error) {
	if a.readOnly {
		return position{}, integrity.Receipt{}, ErrReadOnly
	}
	p := pending{op, make(chan committed, 1)}
	select {
	case a.queue <- p:
	case <-ctx.Done():
		if op.stored {
			a.storing.Add(-1)
		}
		return position{}, integrity.Receipt{}, ctx.Err()
	case <-a.stopped:
		return position{}, integrity.Receipt{}, errors.New("the archive is closed")
	}
	c := <-p.done // once queued, the outcome is waited for: it may already be durable
	return c.pos, c.receipt, c.err
}

// errUncertain marks a commit of which only reopening tells whether it took place.
var errUncertain = errors.New("the outcome is known only after reopening the archive")

// committer takes what is queued, as a group, through the three durable moments,
// until the archive closes.
func (a *Archive) committer() {
	defer close(a.ended)
	for {
		select {
		case p := <-a.queue:
			a.commitGroup(a.gather(p))
		case <-a.stopped:
			return
		}
	}
}

// gatherWait is how long a group waits for deposits that are still storing their
// content: what a sync costs is shared by all that come with it.
const gatherWait = 3 * time.Millisecond

// gather adds to the first operation all that is queued by now, and what deposits
// under way bring soon.
func (a *Archive) gather(first pending) (group []pending) {
	items := 0
	take := func(p pending) {
		if p.op.stored {
			a.storing.Add(-1)
		}
		group = append(group, p)
		items += len(p.op.items)
	}
	take(first)
	var late <-chan time.Time
	for len(group) < maxGroup && items < maxGroupItems {
		select {
		case p := <-a.queue:
			take(p)
			continue
		default:
		}
		if a.storing.Load() == 0 {
			return group
		}
		if late == nil {
			late = time.After(gatherWait)
		}
		select {
		case p := <-a.queue:
			take(p)
		case <-late:
			return group
		}
	}
	return group
}

// commitGroup takes a group through blobs, transaction and slot, and only then
// acknowledges its operations.
func (a *Archive) commitGroup(group []pending) {
	group = a.syncBlobs(group)
	if len(group) == 0 {
		return
	}
	g, err := a.writeGroup(group)
	if err == nil {
		// A crash here leaves the slot behind the catalogue by a provable
		// extension, which the next opening accepts.
		if err = a.storeSlot(g.signed); err != nil {
			a.fail(err)
			err = fmt.Errorf("%w: %w", errUncertain, err)
		}
	}
	for i, p := range group {
		if err != nil {
			p.done <- committed{err: err}
		} else {
			p.done <- g.results[i]
		}
	}
}

// writtenGroup is a group whose transaction is durable.
type writtenGroup struct {
	group   []pending
	results []committed
	signed  []byte // the checkpoint after it
}

// fail makes the archive refuse further writes until it is reopened.
func (a *Archive) fail(err error) { a.failed.CompareAndSwap(nil, &err) }

// syncBlobs makes the blobs of a group durable, answers those operations that the
// storage policy now refuses, and gives the others.
func (a *Archive) syncBlobs(group []pending) []pending {
	used := map[int]bool{}
	for _, p := range group {
		for _, b := range p.op.blobs {
			for _, i := range b.in {
				used[i] = true
			}
		}
	}
	notSynced := a.syncOffers(used)
	var rest []pending
	for _, p := range group {
		if err := a.settle(p.op.blobs, notSynced); err != nil {
			p.done <- committed{err: err}
			continue
		}
		rest = append(rest, p)
	}
	return rest
}

// writeGroup commits a group in one transaction.
func (a *Archive) writeGroup(group []pending) (writtenGroup, error) {
	if err := a.failed.Load(); err != nil {
		return writtenGroup{}, fmt.Errorf("an earlier commit failed, reopen the archive: %w", *err)
	}
	g := writtenGroup{group: group, results: make([]committed, len(group))}
	err := a.cat.update(func(t *tx) error { return a.writeIn(t, &g) })
	if err == nil {
		return g, nil
	}
	a.vault.Forget()
	a.edge = nil
	var c *commitError
	if errors.As(err, &c) {
		a.fail(err)
		err = fmt.Errorf("%w: %w", errUncertain, err)
	}
	return writtenGroup{}, err
}

// writeIn writes a group's operations, then the checkpoint over them and the
// receipts under it.
func (a *Archive) writeIn(t *tx, g *writtenGroup) error {
	w, err := a.beginLedger(t)
	if err != nil {
		return err
	}
	for i, p := range g.group {
		if g.results[i].pos, err = a.apply(t, w, p.op); err != nil {
			return err
		}
	}
	last, signed, err := w.finish()
	if err != nil {
		return err
	}
	g.signed = signed
	for i, p := range g.group {
		r := &g.results[i]
		r.receipt.Index, r.receipt.Checkpoint, r.receipt.Entry = r.pos.entry, signed, w.entries[i]
		if r.receipt.Proof, err = tlog.ProveRecord(last.Size, r.pos.entry, w); err != nil {
			return fmt.Errorf("proving entry of %s: %w", p.op.id, err)
		}
	}
	return nil
}

// apply writes one operation's entry, items, leaves, keys and records.
func (a *Archive) apply(t *tx, w *ledgerWriter, op *operation) (position, error) {
	pos := position{entry: w.size, time: w.now(), leaf: w.leaves, key: w.keys}
	e := op.entry
	e.Version, e.Time, e.Operation = 1, pos.time, op.id
	if len(op.items) > 0 {
		var tree integrity.ItemTree
		for i, it := range op.items {
			b := it.Marshal()
			tree.Add(b)
			if err := t.put(bktItem, itemKey(pos.entry, int64(i)), b); err != nil {
				return pos, err
			}
			if err := w.addLeaf(it.Leaf, pos.entry, int64(i)); err != nil {
				return pos, err
			}
		}
		e.Items = tree.Items()
	}
	if op.detail != nil {
		e.Detail = mustJSON(op.detail(pos))
	}
	b, err := e.Marshal()
	if err != nil {
		return pos, err
	}
	if err := w.addEntry(b); err != nil {
		return pos, err
	}
	for _, k := range op.keys {
		if err := w.addKey(k); err != nil {
			return pos, err
		}
	}
	return pos, a.applyRecords(t, op, pos)
}

func (a *Archive) applyRecords(t *tx, op *operation, pos position) error {
	var all []record
	for i, build := range op.records {
		all = append(all, build(pos)...)
		op.records[i] = nil // what it was made of can go
	}
	// In their order: a bucket's page grows until the transaction ends, so that keys put
	// into its middle would each move all behind them.
	slices.SortStableFunc(all, func(x, y record) int {
		return cmp.Or(cmp.Compare(x.bucket, y.bucket), bytes.Compare(x.key, y.key))
	})
	for _, r := range all {
		if err := t.put(r.bucket, r.key, r.value); err != nil {
			return err
		}
	}
	for _, r := range op.deletes {
		if err := t.delete(r.bucket, r.key); err != nil {
			return err
		}
	}
	for _, b := range op.blobs {
		if err := t.put(bktBlob, []byte(b.name), []byte(b.object)); err != nil {
			return err
		}
		for i, why := range b.failed {
			d := debtRecord{Since: pos.time, Why: why.Error()}
			if err := t.put(bktDebt, debtKey(a.offers[i].name, b.name), mustJSON(d)); err != nil {
				return err
			}
		}
	}
	return nil
}
