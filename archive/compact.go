package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sae/archive/blobs"
)

// Compacted is the outcome of a compaction.
type Compacted struct {
	Objects   int64 `json:"objects"`   // moved into new packs
	Gathered  int64 `json:"gathered"`  // of those, that had a blob each
	Blobs     int64 `json:"blobs"`     // that are no longer used
	Reclaimed int64 `json:"reclaimed"` // bytes of them, of one copy, that no object needed any more
	Locked    int64 `json:"locked"`    // bytes that can be reclaimed when the lock of their pack ends
	Deleted   int64 `json:"deleted"`   // copies, with those that waited for it
	Waiting   int64 `json:"waiting"`   // copies that cannot be deleted yet
}

// compactChunk is how many objects are moved in one transaction.
const compactChunk = 8192

// Compact writes packs anew of which some objects are gone, so that no copy of those is left,
// and gathers small objects that have a blob each, from deposits of few, into packs. What is
// not used any more is deleted in every offer. Stopped at any point, it goes on from there
// when it is called again.
func (a *Archive) Compact(ctx context.Context) (*Compacted, error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	return a.compact(ctx, true)
}

// compact is Compact; without gather, it leaves small objects where they are that have a blob
// each.
func (a *Archive) compact(ctx context.Context, gather bool) (*Compacted, error) {
	out, stuck := &Compacted{}, map[string]bool{}
	var failed error
	for {
		c := &compaction{a: a, out: out, gather: gather, stuck: stuck}
		if err := a.cat.view(func(t *tx) error { return c.choose(ctx, t) }); err != nil {
			return out, fmt.Errorf("compacting: %w", err)
		}
		if len(c.ids) == 0 {
			break
		}
		moved, err := a.moveObjects(ctx, c.ids, out)
		if err != nil {
			var uncertain *commitError
			if ctx.Err() != nil || errors.As(err, &uncertain) {
				return out, fmt.Errorf("compacting: %w", err)
			}
			failed = fmt.Errorf("compacting: %w", err)
		}
		for _, id := range c.ids { // what does not move, for want of a good copy or of offers, is not chosen again
			if err != nil || moved < int64(len(c.ids)) {
				stuck[id] = true
			}
		}
		if err := a.letGo(ctx, out); err != nil {
			return out, err
		}
	}
	if failed != nil {
		return out, errors.Join(failed, a.letGo(ctx, out))
	}
	return out, a.letGo(ctx, out)
}

// letGo locks what was moved, then deletes what is not used any more.
func (a *Archive) letGo(ctx context.Context, out *Compacted) error {
	if err := a.setLocks(ctx); err != nil {
		return err
	}
	d, err := a.deleteUnused(ctx)
	out.Deleted, out.Waiting = out.Deleted+d.deleted, d.waiting
	return err
}

// compaction chooses what is to be moved, so much of it as one transaction takes.
type compaction struct {
	a   *Archive
	out *Compacted
	ids []string

	gather bool            // objects that have a blob each too
	stuck  map[string]bool // objects that were tried
}

func (c *compaction) choose(ctx context.Context, t *tx) error {
	c.out.Locked = 0
	if err := c.packs(ctx, t); err != nil || len(c.ids) >= compactChunk || !c.gather {
		return err
	}
	return c.single(ctx, t)
}

// packs chooses the objects of packs of which others are gone.
func (c *compaction) packs(ctx context.Context, t *tx) error {
	return t.scan(bktBlob, []byte("s"), []byte("t"), func(k, row []byte) (bool, error) {
		p, err := parsePack(row)
		if err != nil || p == nil {
			return err == nil, damagedOrNil("pack", string(k), err)
		}
		used := int64(0)
		for _, id := range p.Objects {
			r, _, err := t.objectRecord(id)
			if errors.Is(err, ErrNotFound) { // of a deposit on its way
				return true, nil
			}
			if err != nil {
				return false, err
			}
			used += r.length()
		}
		switch until, err := c.a.lockedUntil(t, p); {
		case err != nil:
			return false, err
		case used == p.Size:
		case !until.IsZero():
			c.out.Locked += p.Size - used
		default:
			for _, id := range p.Objects {
				if !c.stuck[id] {
					c.ids = append(c.ids, id)
				}
			}
		}
		return len(c.ids) < compactChunk, ctx.Err()
	})
}

func damagedOrNil(what, where string, err error) error {
	if err == nil {
		return nil
	}
	return damaged(what, where, err)
}

// lockedUntil is until when copies of a pack are locked somewhere; zero when they are not.
func (a *Archive) lockedUntil(t *tx, p *packRecord) (time.Time, error) {
	if len(p.Objects) == 0 || a.packKey(a.policy(p.Policy), time.Unix(0, 0)).until.IsZero() {
		return time.Time{}, nil
	}
	r, _, err := t.objectRecord(p.Objects[0])
	if err != nil {
		return time.Time{}, err
	}
	u, err := a.unit(t, r.Unit, 0)
	if err != nil {
		return time.Time{}, err
	}
	return lockEnd(u.Rule), nil
}

// single chooses small objects that have a blob each, where copies are not locked: a locked
// one would have to stay beside the new.
func (c *compaction) single(ctx context.Context, t *tx) error {
	byPolicy := map[*policy][]string{}
	err := t.eachObject(func(r *objectRecord) error {
		p := c.a.policy(r.Policy)
		if r.Pack || r.Size > maxPacked || c.stuck[r.Object] || !c.a.packKey(p, time.Unix(0, 0)).until.IsZero() {
			return ctx.Err()
		}
		if len(byPolicy[p]) < compactChunk {
			byPolicy[p] = append(byPolicy[p], r.Object)
		}
		return ctx.Err()
	})
	for _, ids := range byPolicy {
		if len(ids) >= c.a.packFrom && len(c.ids) < compactChunk {
			c.ids = append(c.ids, ids...)
		}
	}
	return err
}

// movedObject is an object on its way from one blob to another.
type movedObject struct {
	from   string // blob
	to     *pack
	offset int64
}

// moveObjects writes small objects into new packs, in the order given, from any good copy,
// and lets their records say so. What no object uses any more is noted to be deleted. An
// object without a good copy stays where it is.
func (a *Archive) moveObjects(ctx context.Context, ids []string, out *Compacted) (moved int64, err error) {
	packs := a.newPacker(ctx)
	defer packs.abort()
	to := map[string]movedObject{}
	defer func() {
		var uncertain *commitError // what it wrote may be in use: reopening tells
		if err != nil && !errors.As(err, &uncertain) {
			for _, p := range packs.done {
				a.removeBlob(blobs.Name(a.session, p.number))
			}
		}
	}()
	for _, id := range ids {
		m, err := a.rewrite(ctx, packs, id)
		if err != nil {
			return 0, err
		}
		if m != nil {
			to[id] = *m
		}
	}
	if err := packs.finish(); err != nil {
		return 0, err
	}
	var landed []*landing
	for _, p := range packs.done {
		landed = append(landed, p.at)
	}
	if _, err := a.settle(landed, a.syncLanded(landed)); err != nil {
		return 0, err
	}
	for _, l := range landed { // the old copies go: there must be as many new ones
		for i, why := range l.failed {
			return 0, fmt.Errorf("objects stay where they are: offer %s: %w", a.offers[i].name, why)
		}
	}
	err = a.update(nil, func(t *tx) error {
		moved = 0
		return a.recordMove(t, packs.done, to, &moved, out)
	})
	return moved, err
}

// rewrite puts the ciphertext of an object into a pack; nil when no copy of it is good.
func (a *Archive) rewrite(ctx context.Context, packs *packer, id string) (*movedObject, error) {
	var key packKey
	var r objectRecord
	err := a.cat.view(func(t *tx) (err error) {
		if r, _, err = t.objectRecord(id); err != nil {
			return err
		}
		u, err := a.unit(t, r.Unit, 0)
		if err == nil {
			key = a.packKey(a.policy(r.Policy), lockEnd(u.Rule))
		}
		return err
	})
	if errors.Is(err, ErrNotFound) { // destroyed meanwhile
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	cipher, err := a.goodCipher(ctx, &r)
	if err != nil {
		a.log.Warn("an object stays where it is", "object", id, "error", err)
		return nil, ctx.Err()
	}
	m := &movedObject{from: r.Blob}
	m.to, m.offset, err = packs.add(key, id, cipher)
	return m, err
}

// goodCipher is the ciphertext of a small object, from any offer.
func (a *Archive) goodCipher(ctx context.Context, r *objectRecord) ([]byte, error) {
	errs := []error{errors.New("no good copy")}
	for _, o := range a.offers {
		b, err := o.openCopy(ctx, r)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		cipher := make([]byte, b.Size())
		n, err := b.ReadAt(cipher, 0)
		b.Close()
		if n == len(cipher) {
			if err = checkSum(ctx, bytes.NewReader(cipher), r.Cipher); err == nil {
				return cipher, nil
			}
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// recordMove writes down where objects lie now. One that has meanwhile been destroyed, or
// moved, is left as it is; its bytes in the new pack are then dead ones.
func (a *Archive) recordMove(t *tx, packs []*pack, to map[string]movedObject, moved *int64, out *Compacted) error {
	when := now()
	left := map[string]bool{} // blobs that objects were moved from
	for _, p := range packs {
		name, r := blobs.Name(a.session, p.number), packRecord{Cipher: p.sum, Size: p.size, Policy: p.at.policy.id}
		var until time.Time
		for _, id := range p.objects {
			ok, end, err := a.moveRecord(t, id, name, to[id])
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if len(r.Objects) == 0 {
				until = end
			}
			r.Objects = append(r.Objects, id)
			left[to[id].from] = true
			*moved++
		}
		if len(r.Objects) == 0 {
			if err := t.putAll(a.unusedRows(name, when)); err != nil {
				return err
			}
			continue
		}
		rows := append(a.debtsOf(p.at, name, when), record{bktBlob, []byte(name), r.row()})
		if err := t.putAll(append(rows, a.movedLocks(p.at.policy, name, until)...)); err != nil {
			return err
		}
	}
	for name := range left {
		if err := a.shrink(t, name, to, when, out); err != nil {
			return err
		}
	}
	out.Objects += *moved
	return nil
}

// moveRecord lets the record of an object name its new place.
func (a *Archive) moveRecord(t *tx, id, blob string, m movedObject) (moved bool, until time.Time, err error) {
	o, err := a.object(t, id)
	if errors.Is(err, ErrNotFound) || err == nil && o.record.Blob != m.from {
		return false, until, nil
	}
	if err != nil {
		return false, until, err
	}
	u, err := a.unit(t, o.Unit, 0)
	if err != nil {
		return false, until, err
	}
	o.record.Blob, o.record.Pack, o.record.Offset = blob, true, m.offset
	value := encodeRecord(o.record, o.key, append(o.salt[:], o.digest[:]...))
	return true, lockEnd(u.Rule), t.put(bktObject, []byte(id), value)
}

// shrink takes objects that were moved out of the registration of their old blob, and the
// blob out of use when none is left in it.
func (a *Archive) shrink(t *tx, name string, moved map[string]movedObject, when time.Time, out *Compacted) error {
	row, err := t.get(bktBlob, []byte(name))
	if err != nil {
		return err
	}
	p, err := parsePack(row)
	if err != nil {
		return damaged("pack", name, err)
	}
	if p != nil {
		size := p.Size
		p.Objects = slices.DeleteFunc(p.Objects, func(id string) bool { return moved[id].from == name })
		if len(p.Objects) > 0 {
			return t.put(bktBlob, []byte(name), p.row())
		}
		for _, m := range moved {
			if m.from == name {
				size -= m.to.lengthAt(m.offset)
			}
		}
		out.Reclaimed += size
	} else {
		out.Gathered++
	}
	out.Blobs++
	return a.unuse(t, name, when)
}

// lengthAt is the length of what lies at an offset of the pack.
func (p *pack) lengthAt(offset int64) int64 {
	i, ok := slices.BinarySearch(p.offsets, offset)
	switch {
	case !ok:
		return 0
	case i+1 < len(p.offsets):
		return p.offsets[i+1] - offset
	}
	return p.size - offset
}
