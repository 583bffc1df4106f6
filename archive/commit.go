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
	blobs  []blobOf         // registered with the entry
	landed []*landing       // what must be durable before the entry exists
	stored bool             // counted in Archive.storing until it is taken from the queue
	detail func(position) any
	// records gives what to store, once it is known where the operation stands.
	// They cannot fail: one operation must not spoil those that commit with it.
	records []func(position) []record
	// needs are units that must be there: they may be destroyed before it is its turn.
	needs []string
	// still is asked in the transaction, before its group is written: what it gives an error for does
	// not take place. An operation whose answer others of its group would change is alone.
	still func(*tx) error
	// deletes are keys that go.
	deletes []record
	// alone operations are committed in a group of their own; last is the last that is done in
	// their transaction, before the checkpoint: when it fails the operation does not take place.
	alone bool
	last  func(*tx, position) error
	// units are those of a deposit that is too large for one transaction (see stage.go);
	// nil when they are in items already. staged is where they stand once they are written.
	units  func(each func(*draft) error) error
	staged *staged
}

// blobOf is a blob of the operation.
type blobOf struct {
	name  string
	row   []byte // what it is registered as
	at    *landing
	until time.Time // locked until then where copies are locked; zero for not
}

// position is where a committed operation stands.
type position struct {
	entry int64     // ledger index
	time  time.Time // of the entry
	item  int64     // number of its first item in the entry
	leaf  uint64    // number of its first leaf
	key   uint64    // number of its first data key
}

// record is one key and value of a bucket.
type record struct {
	bucket     bucket
	key, value []byte
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
	maxGroupItems = 16_384
)

// commit makes an operation durable and gives its receipt. When it returns an
// error the operation did not take place, save for an error matching
// errUncertain, after which the archive accepts no write until it is reopened.
func (a *Archive) commit(ctx context.Context, op *operation) (_ position, _ integrity.Receipt, err error) {
	_, end := a.begin(ctx, WorkCommit)
	defer func() { end(err) }()
	if a.readOnly {
		return position{}, integrity.Receipt{}, ErrReadOnly
	}
	if o := onceOf(ctx); o != nil && (o.ends == "" || o.ends == op.entry.Kind) {
		o.remember(op)
	}
	if j := jobOf(ctx); j != nil {
		j.remember(op)
	}
	read := outdatingOf(ctx)
	if read != nil {
		read.hold(op)
	}
	p := pending{op, make(chan committed, 1)}
	select {
	case a.queue <- p:
	case <-ctx.Done():
		a.taken(op)
		return position{}, integrity.Receipt{}, ctx.Err()
	case <-a.stopped:
		return position{}, integrity.Receipt{}, errors.New("the archive is closed")
	}
	c := <-p.done // once queued, the outcome is waited for: it may already be durable
	if read != nil && c.err == nil {
		read.begun.Store(true)
	}
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
			for p := &p; p != nil; {
				group, next := a.gather(*p)
				a.commitGroup(group)
				p = next
			}
		case <-a.stopped:
			return
		}
	}
}

// gatherWait is how long a group waits for deposits that are still storing their
// content: what a sync costs is shared by all that come with it.
const gatherWait = 3 * time.Millisecond

// gather adds to the first operation all that is queued by now, and what deposits
// under way bring soon. An operation that is committed apart is a group of its own: met
// in the queue, it is given back as next.
func (a *Archive) gather(first pending) (group []pending, next *pending) {
	a.taken(first.op)
	group = []pending{first}
	if first.op.apart() {
		return group, nil
	}
	items := len(first.op.items)
	var late <-chan time.Time
	for len(group) < maxGroup && items < maxGroupItems {
		var p pending
		select {
		case p = <-a.queue:
		default:
			if a.storing.Load() == 0 {
				return group, nil
			}
			if late == nil {
				late = time.After(gatherWait)
			}
			select {
			case p = <-a.queue:
			case <-late:
				return group, nil
			}
		}
		a.taken(p.op)
		if p.op.apart() {
			return group, &p
		}
		group = append(group, p)
		items += len(p.op.items)
	}
	return group, nil
}

// apart reports whether an operation is committed in a group of its own.
func (op *operation) apart() bool { return op.units != nil || op.alone }

// taken counts an operation no more among those that are storing their content.
func (a *Archive) taken(op *operation) {
	if op.stored {
		a.storing.Add(-1)
		op.stored = false
	}
}

// commitGroup takes a group through blobs, transaction and slot, and only then
// acknowledges its operations.
func (a *Archive) commitGroup(group []pending) {
	g, err := a.writeGroup(group)
	for lost := (*refusedOps)(nil); errors.As(err, &lost); {
		if group = lost.answer(group); len(group) == 0 {
			return
		}
		g, err = a.writeGroup(group)
	}
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

// answer answers those operations of a group that are refused, and gives the others.
func (e *refusedOps) answer(group []pending) (rest []pending) {
	for _, p := range group {
		if err := e.refused[p.op]; err != nil {
			p.done <- committed{err: err}
			continue
		}
		rest = append(rest, p)
	}
	return rest
}

// writeGroup commits a group in one transaction, before which come the stages of a deposit
// that is one.
func (a *Archive) writeGroup(group []pending) (writtenGroup, error) {
	if err := a.failed.Load(); err != nil {
		return writtenGroup{}, fmt.Errorf("an earlier commit failed, reopen the archive: %w", *err)
	}
	g := writtenGroup{group: group, results: make([]committed, len(group))}
	var err error
	staged := group[0].op.units != nil
	if staged {
		err = a.stage(group[0].op)
	}
	if err == nil {
		ops := make([]*operation, len(group))
		for i, p := range group {
			ops[i] = p.op
		}
		err = a.update(ops, func(t *tx) error { return a.writeIn(t, &g) })
	}
	if err == nil {
		return g, nil
	}
	a.vault.Forget()
	a.edge = nil
	var c *commitError
	if errors.As(err, &c) { // update has seen to it that nothing more is written
		err = fmt.Errorf("%w: %w", errUncertain, err)
	} else if staged {
		if swept := a.sweepStages(); swept != nil {
			a.fail(swept)
			err = fmt.Errorf("%w: %w: %w", errUncertain, err, swept)
		}
	}
	return writtenGroup{}, err
}

// missing says which operations of a group need units that are not there any more, or may not be
// done any more.
func (t *tx) missing(group []pending) error {
	refused := map[*operation]error{}
	for _, p := range group {
		if p.op.still != nil {
			if err := p.op.still(t); err != nil {
				refused[p.op] = err
				continue
			}
		}
		for _, id := range p.op.needs {
			_, _, err := t.unitRecord(id, 0)
			if errors.Is(err, ErrNotFound) {
				refused[p.op] = &Refusal{Problems: []string{err.Error()}}
			} else if err != nil {
				return err
			}
		}
	}
	if len(refused) > 0 {
		return &refusedOps{refused}
	}
	return nil
}

// writeIn writes a group's operations, then the checkpoint over them and the
// receipts under it.
func (a *Archive) writeIn(t *tx, g *writtenGroup) error {
	if err := t.missing(g.group); err != nil {
		return err
	}
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
	if op.staged != nil {
		pos, e.Items = op.staged.take(w), &op.staged.items
	}
	e.Version, e.Time, e.Operation = 1, pos.time, op.id
	if len(op.items) > 0 {
		var tree integrity.ItemTree
		for i, it := range op.items {
			b := it.Marshal()
			tree.Add(b)
			if err := w.addItem(b, it.Leaf, pos.entry, int64(i)); err != nil {
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
	if err := a.putRecords(t, a.recordsOf(op, pos)); err != nil {
		return pos, err
	}
	for _, r := range op.deletes {
		if err := t.delete(r.bucket, r.key); err != nil {
			return pos, err
		}
	}
	if op.last != nil {
		return pos, op.last(t, pos)
	}
	return pos, nil
}

// putAll stores records.
func (t *tx) putAll(records []record) error {
	for _, r := range records {
		if err := t.put(r.bucket, r.key, r.value); err != nil {
			return err
		}
	}
	return nil
}

// recordsOf gives all that an operation stores at its position, in the order of buckets
// and keys: a bucket's page grows until the transaction ends, so that keys put into its
// middle would each move all behind them.
func (a *Archive) recordsOf(op *operation, pos position) []record {
	var all []record
	for _, build := range op.records {
		all = append(all, build(pos)...)
	}
	for _, b := range op.blobs {
		all = append(all, record{bktBlob, []byte(b.name), b.row})
		all = append(all, a.debtsOf(b.at, b.name, pos.time)...)
		all = append(all, a.lockRows(b.at.policy, b.name, b.until)...)
	}
	slices.SortStableFunc(all, func(x, y record) int {
		return cmp.Or(cmp.Compare(x.bucket, y.bucket), bytes.Compare(x.key, y.key))
	})
	return all
}
