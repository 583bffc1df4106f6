package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"sae/integrity"
)

// The database keeps in memory all that one transaction writes. A deposit of many units is
// therefore committed in stages, each a transaction: first its units, some thousands at a
// time, with numbers that follow those of the last commit while the counters stay as they
// are; then, last, the ledger entry, the checkpoint and the counters.
//
// Until the last, the deposit did not take place: what has a leaf number at or above the
// counter is not there for a reader (tx.visible). Nothing else is committed meanwhile, so
// that a failure, or a crash, leaves only what the counter hides; sweepStages removes it.

// stageItems is about how many items one stage has; a deposit of fewer is committed in one
// transaction.
const stageItems = maxGroupItems / 2

// lateRows is about how many index rows are held back: 56 MiB.
const lateRows = 1 << 20

// staged is where the units of a deposit stand in the catalogue, once they are all there.
type staged struct {
	pos          position // of the operation
	items        integrity.Items
	leaves, keys uint64 // the counters behind them
}

// take moves the counters behind what was staged, and gives the position of the operation.
// Data keys of the operation itself come behind those of its units.
func (s *staged) take(w *ledgerWriter) position {
	pos := s.pos
	w.leaves, w.keys, w.last = s.leaves, s.keys, pos.time
	pos.key = s.keys
	return pos
}

// stager prepares the stages of one deposit while the one before is being written.
type stager struct {
	a     *Archive
	next  position // of what comes next
	chunk *operation
	tree  integrity.Recompute
	late  []lateRow
	out   chan stageRecords
	stop  chan struct{} // closed: no more is taken from out
}

// stageRecords is what one stage writes.
type stageRecords struct {
	at      position
	items   [][]byte
	leaves  []integrity.Hash
	keys    [][32]byte
	records []record
}

// lateRow is an index row whose key is a hash of something that differs from unit to unit.
// Such rows are kept, and written in their order behind all units: the rows of each stage
// would be spread over the whole index, and each stage write it all anew.
type lateRow struct {
	key   [1 + 16 + 8]byte
	value [1 + 26 + 4]byte
}

var errStopped = errors.New("the stage before failed")

// stage writes the units of an operation. When it fails, what it wrote is still there.
func (a *Archive) stage(op *operation) error {
	if err := a.syncContent(op); err != nil {
		return err
	}
	first, err := a.edgePosition()
	if err != nil {
		return err
	}
	s := &stager{a: a, next: first, chunk: &operation{id: op.id}, out: make(chan stageRecords, 1), stop: make(chan struct{})}
	var failed error // of the preparation; read once out is closed
	go func() {
		defer close(s.out)
		failed = s.prepare(op)
	}()
	for r := range s.out {
		if err = a.update(nil, func(t *tx) error { return a.writeStage(t, r) }); err != nil {
			close(s.stop)
			for range s.out {
			}
			return fmt.Errorf("committing in stages: %w", err)
		}
	}
	if failed != nil {
		return failed
	}
	op.staged = &staged{pos: first, items: integrity.Items{Count: s.next.item, Root: s.tree.Root()}, leaves: s.next.leaf, keys: s.next.key}
	return nil
}

// syncContent makes the content of an operation durable; what was lost then is known before
// the stages are written.
func (a *Archive) syncContent(op *operation) error {
	if _, err := a.settle(op.landed, a.syncLanded(op.landed)); err != nil {
		return &refusedOps{refused: map[*operation]error{op: err}}
	}
	return nil
}

// edgePosition is where the next operation will stand.
func (a *Archive) edgePosition() (p position, err error) {
	err = a.cat.view(func(t *tx) error {
		cp, err := a.checkpointIn(t)
		if err != nil {
			return err
		}
		p.entry = cp.Size
		p.leaf, p.key, err = t.counters()
		return err
	})
	p.time = now()
	if p.time.Before(a.lastTime) {
		p.time = a.lastTime
	}
	return p, err
}

func (s *stager) prepare(op *operation) error {
	err := op.units(func(d *draft) error {
		if err := s.a.addUnit(s.chunk, d); err != nil {
			return err
		}
		if len(s.chunk.items) < s.a.stageItems {
			return nil
		}
		return s.flush()
	})
	if err == nil {
		err = s.flush()
	}
	if err == nil {
		err = s.flushLate()
	}
	return err
}

// flush hands over what was gathered.
func (s *stager) flush() error {
	r := stageRecords{at: s.next, keys: s.chunk.keys}
	for _, it := range s.chunk.items {
		b := it.Marshal()
		s.tree.Add(b)
		r.items, r.leaves = append(r.items, b), append(r.leaves, it.Leaf)
	}
	for _, rec := range s.a.recordsOf(s.chunk, s.next) {
		if rec.bucket == bktIndex && rec.key[0] == idxChild && len(rec.value) == len(lateRow{}.value) {
			s.late = append(s.late, lateRow{[25]byte(rec.key), [31]byte(rec.value)})
		} else {
			r.records = append(r.records, rec)
		}
	}
	s.next.item += int64(len(r.items))
	s.next.leaf += uint64(len(r.items))
	s.next.key += uint64(len(r.keys))
	s.chunk = &operation{id: s.chunk.id}
	if err := s.send(r); err != nil || len(s.late) < lateRows {
		return err
	}
	return s.flushLate()
}

// flushLate hands over the rows that were held back.
func (s *stager) flushLate() error {
	slices.SortFunc(s.late, func(x, y lateRow) int { return bytes.Compare(x.key[:], y.key[:]) })
	for rows := range slices.Chunk(s.late, 8*s.a.stageItems) {
		r := stageRecords{at: s.next}
		for i := range rows {
			r.records = append(r.records, record{bktIndex, rows[i].key[:], rows[i].value[:]})
		}
		if err := s.send(r); err != nil {
			return err
		}
	}
	s.late = nil
	return nil
}

func (s *stager) send(r stageRecords) error {
	select {
	case s.out <- r:
		return nil
	case <-s.stop:
		return errStopped
	}
}

// writeStage writes one stage within its transaction.
func (a *Archive) writeStage(t *tx, r stageRecords) error {
	w := &ledgerWriter{t: t, a: a, leaves: r.at.leaf, keys: r.at.key}
	for i, b := range r.items {
		if err := w.addItem(b, r.leaves[i], r.at.entry, r.at.item+int64(i)); err != nil {
			return err
		}
	}
	for _, k := range r.keys {
		if err := w.addKey(k); err != nil {
			return err
		}
	}
	return a.putRecords(t, r.records)
}

// sweepStages removes what a deposit staged that did not take place. It may be stopped at
// any point: the leaves, by which it knows that there is something to do, go last.
func (a *Archive) sweepStages() error {
	var leaf, key uint64
	var left bool
	err := a.cat.view(func(t *tx) (err error) {
		if leaf, key, err = t.counters(); err != nil {
			return err
		}
		k, _, err := t.last(bktLeaf, be64(^uint64(0)))
		left = k != nil && binary.BigEndian.Uint64(k) >= leaf
		return err
	})
	if err != nil || !left {
		return err
	}
	start := time.Now()
	behind := func(k []byte) bool { return indexLeaf(k) >= leaf }
	err = errors.Join(a.sweepBucket(bktIndex, nil, nil, behind), a.sweepBucket(bktNamed, nil, nil, behind))
	if err == nil {
		err = a.sweepBucket(bktKey, wrappedKey(0, key), wrappedKey(0, jobKeyNumber), func([]byte) bool { return true })
	}
	for more := true; more && err == nil; {
		err = a.update(nil, func(t *tx) (err error) {
			more, err = a.sweepLeaves(t, leaf)
			return err
		})
	}
	a.vault.Forget()
	if err != nil {
		return fmt.Errorf("removing a deposit that did not take place: %w", err)
	}
	a.log.Info("removed a deposit that did not take place", "took", time.Since(start))
	return nil
}

// sweepBucket deletes the chosen keys of [from, to).
func (a *Archive) sweepBucket(b bucket, from, to []byte, choose func(key []byte) bool) error {
	for more := true; more; {
		var keys [][]byte
		err := a.cat.view(func(t *tx) error {
			more = false
			return t.scan(b, from, to, func(k, _ []byte) (bool, error) {
				if choose(k) {
					keys = append(keys, bytes.Clone(k))
				}
				more = len(keys) == a.stageItems
				return !more, nil
			})
		})
		if err != nil || len(keys) == 0 {
			return err
		}
		from = keys[len(keys)-1]
		err = a.update(nil, func(t *tx) error {
			for _, k := range keys {
				if err := t.delete(b, k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sweepLeaves deletes some leaves from number first on, and all that stands behind them.
func (a *Archive) sweepLeaves(t *tx, first uint64) (more bool, err error) {
	var gone []record
	n := 0
	err = t.scan(bktLeaf, be64(first), nil, func(k, row []byte) (bool, error) {
		_, entry, item, err := parseLeafRow(row)
		if err != nil {
			return false, err
		}
		it, err := t.item(entry, item)
		if err != nil {
			return false, err
		}
		behind, err := a.behindItem(t, it, entry, item)
		gone = append(append(gone, behind...), record{bucket: bktItem, key: itemKey(entry, item)}, record{bucket: bktLeaf, key: bytes.Clone(k)})
		n++
		more = n == a.stageItems
		return !more, err
	})
	for _, r := range gone {
		if err == nil {
			err = t.delete(r.bucket, r.key)
		}
	}
	return more, err
}

// behindItem gives the keys of all but the index rows that were stored for an item.
func (a *Archive) behindItem(t *tx, it integrity.Item, entry, item int64) ([]record, error) {
	out := []record{{bucket: bktHist, key: histRow(it.Unit, entry, item, 0).key}}
	if it.Object == "" {
		return append(out, record{bucket: bktUnit, key: unitKey(it.Unit, it.Version)}), nil
	}
	v, err := t.get(bktObject, []byte(it.Object))
	if err != nil || v == nil {
		return out, err
	}
	var r objectRecord
	if _, err := decodeRecord(v, &r); err != nil {
		return nil, damaged("object record", it.Object, err)
	}
	out = append(out, record{bucket: bktObject, key: []byte(it.Object)}, record{bucket: bktBlob, key: []byte(r.Blob)})
	for _, o := range a.offers {
		out = append(out, record{bucket: bktDebt, key: debtKey(o.name, r.Blob)}, record{bucket: bktLock, key: debtKey(o.name, r.Blob)})
	}
	return out, nil
}
