package archive

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"sae/archive/blobs"
	"sae/integrity"
)

// intake is a deposit on its way, whatever form it came in: its objects are stored, then
// its units are gone through, one by one, for their records. What is kept in memory of
// each is small: a deposit may have a million.
type intake struct {
	op                string // identifier of the operation
	tenant, agreement string
	items             int             // units and objects
	objects           []string        // identifiers
	stored            []storedContent // by object
	packs             []*pack
	detail            any             // of the entry; nil for none
	needs             []string        // units of the archive that its units stand below
	still             func(*tx) error // whether it may still be done; may be nil
	alone             bool
	// units calls each for every unit in turn, once the objects are stored.
	units func(each func(*draft) error) error
}

func newIntake(tenant, agreement string, units int, objects []string) *intake {
	return &intake{op: newID(opID), tenant: tenant, agreement: agreement, items: units + len(objects), objects: objects, stored: make([]storedContent, len(objects))}
}

// draft is a unit on its way. Its description names its objects; stored is what became of
// each.
type draft struct {
	desc   Description
	where  string // how to name it to the depositor
	stored []*storedContent
	first  *deposited // of a version that is not the first; its new objects are the last
}

// describe puts what was stored as an object of the intake into object i of a draft.
func (in *intake) describe(d *draft, i, object int) {
	s, o := &in.stored[object], &d.desc.Objects[i]
	o.ID, o.Size, o.SHA256, o.Format = in.objects[object], s.size, hex.EncodeToString(s.digest[:]), *s.format
	d.stored = append(d.stored, s)
}

// source is content to store.
type source struct {
	content *Content
	where   string // how to name it to the depositor
	policy  *policy
	until   time.Time // end of its retention; zero when it is not known
}

// storeContents stores objects of an intake in the order given, workers at a time, and
// stops at the first that fails.
func (a *Archive) storeContents(ctx context.Context, in *intake, order []int, workers int, progress func(int64), sourceOf func(object int) source) (err error) {
	ctx, end := a.begin(ctx, WorkStore)
	defer func() { end(err) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	report := func(n int64) {
		if progress != nil {
			mu.Lock()
			defer mu.Unlock()
			progress(n)
		}
	}
	same := alike{formats: map[Format]*Format{}}
	var packs *packer
	if len(order) >= a.packFrom {
		packs = a.newPacker(ctx)
		defer func() {
			packs.abort()
			in.packs = append(in.packs, packs.done...)
		}()
	}
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(workers, len(order)) {
		wg.Go(func() {
			for o := range next {
				from := sourceOf(o)
				s := &storing{a: a, c: from.content, object: in.objects[o], to: a.packKey(from.policy, from.until), packs: packs, progress: report}
				if err := s.run(ctx); err != nil {
					cancel(fmt.Errorf("depositing %s: %w", from.where, err))
					continue
				}
				same.share(&s.storedContent)
				in.stored[o] = s.storedContent
			}
		})
	}
	for _, o := range order {
		if ctx.Err() != nil {
			break
		}
		next <- o
	}
	close(next)
	wg.Wait()
	if packs != nil && ctx.Err() == nil {
		if err := packs.finish(); err != nil {
			return fmt.Errorf("depositing: %w", err)
		}
	}
	return context.Cause(ctx)
}

// alike lets stored contents share what they have in common.
type alike struct {
	mu      sync.Mutex
	formats map[Format]*Format
	landing *landing // the last that took part in everything
}

// maxFormats bounds the formats kept for sharing: their warnings may name the file.
const maxFormats = 1000

func (s *alike) share(c *storedContent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.formats[*c.format]; f != nil {
		c.format = f
	} else if len(s.formats) < maxFormats {
		s.formats[*c.format] = c.format
	}
	switch l := s.landing; {
	case c.pack != nil || len(c.at.failed) > 0:
	case l != nil && l.policy == c.at.policy && slices.Equal(l.in, c.at.in) && slices.Equal(l.lostSyncs, c.at.lostSyncs):
		c.at = l
	default:
		s.landing = c.at
	}
}

// giveUp removes the blobs of an intake that did not take place; what cannot be
// removed now, the next opening sweeps.
func (a *Archive) giveUp(in *intake) {
	a.storing.Add(-1)
	a.discard(in)
}

func (a *Archive) discard(in *intake) {
	for i := range in.stored {
		s := &in.stored[i]
		if s.blob == 0 {
			continue
		}
		a.removeBlob(blobs.Name(a.session, s.blob))
	}
	for _, p := range in.packs {
		a.removeBlob(blobs.Name(a.session, p.number))
	}
}

// removeBlob removes a blob that the catalogue does not know.
func (a *Archive) removeBlob(name string) {
	for _, o := range a.offers { // a copy that does not count may lie there all the same
		if o.down != nil {
			continue
		}
		if err := o.blobs.Delete(context.Background(), name); err != nil {
			a.log.Warn("removing an unacknowledged blob", "offer", o.name, "blob", name, "error", err)
		}
	}
}

// commitIntake commits an intake whose objects are stored, in one transaction or, when it
// is large, in stages. When it fails the intake is discarded.
func (a *Archive) commitIntake(ctx context.Context, agent string, in *intake) (integrity.Receipt, error) {
	op, err := a.intakeOperation(agent, in)
	if err != nil {
		a.giveUp(in)
		return integrity.Receipt{}, err
	}
	op.stored = true
	_, receipt, err := a.commit(ctx, op)
	if err != nil {
		if !errors.Is(err, errUncertain) {
			a.discard(in)
		}
		return integrity.Receipt{}, fmt.Errorf("depositing: %w", err)
	}
	a.counters.took(in)
	if err := a.setLocks(context.WithoutCancel(ctx)); err != nil { // the deposit stands; they are set later
		a.log.Warn("locking copies", "error", err)
	}
	return receipt, nil
}

// intakeOperation builds what is committed: per unit an item and a leaf for its
// description, then one for each object. Of a large intake the units are left to the
// stages.
func (a *Archive) intakeOperation(agent string, in *intake) (*operation, error) {
	op := &operation{id: in.op, needs: in.needs, still: in.still, alone: in.alone}
	op.entry = integrity.Entry{Kind: integrity.Deposit, Tenant: in.tenant, Agent: agentID(a.indexKey, agent), Agreement: in.agreement}
	if in.detail != nil {
		op.detail = func(position) any { return in.detail }
	}
	agentRecords, err := a.agentOnce(agent, op)
	if err != nil {
		return nil, err
	}
	op.records = append(op.records, agentRecords)
	op.landed = in.landings()
	if in.items > a.stageItems {
		op.units = func(each func(*draft) error) error {
			for _, p := range in.packs { // a deposit that is staged anew registers its packs anew
				p.taken = false
			}
			return in.units(each)
		}
		return op, nil
	}
	return op, in.units(func(d *draft) error { return a.addUnit(op, d) })
}

// landings are where the contents of an intake landed, each once.
func (in *intake) landings() (out []*landing) {
	seen := map[*landing]bool{}
	for i := range in.stored {
		if l := in.stored[i].landing(); l != nil && !seen[l] {
			seen[l] = true
			out = append(out, l)
		}
	}
	return out
}

// addUnit adds one unit to the operation.
func (a *Archive) addUnit(op *operation, d *draft) error {
	doc := mustJSON(d.desc)
	if len(doc) > maxDescription {
		return &Refusal{Problems: []string{fmt.Sprintf("%s: %d bytes of metadata, more than %d", d.where, len(doc), maxDescription)}}
	}
	if s := d.desc.SEDA; s != nil { // it is in doc; it need not be held twice
		d.desc.SEDA = &Transferred{Fields: s.Fields, Rules: s.Rules, Defaults: s.Defaults}
	}
	salt := newSalt()
	key := newKey()
	unitItem, unitKeyN := int64(len(op.items)), uint64(len(op.keys))
	op.keys = append(op.keys, key)
	op.items = append(op.items, integrity.Item{Unit: d.desc.Unit, Version: d.desc.Version, Leaf: groupLeaf(sha256.Sum256(doc), salt)})
	op.records = append(op.records, func(p position) []record {
		r := unitRecord{
			Unit: d.desc.Unit, Version: d.desc.Version, Tenant: d.desc.Tenant, Agreement: d.desc.Agreement, Agency: d.desc.Agency,
			Channel: d.desc.Channel, Parents: d.desc.Parents, Operation: op.id, Time: p.time,
			Entry: p.entry, Item: p.item + unitItem, Leaf: p.leaf + uint64(unitItem), Key: p.key + unitKeyN, First: d.first,
		}
		if d.desc.Rule != nil {
			r.Rule = d.desc.Rule.Rule
		}
		for _, o := range d.desc.Objects {
			r.Objects = append(r.Objects, o.ID)
		}
		return append(a.indexRows(&r, &d.desc), histRow(r.Unit, r.Entry, r.Item, r.Leaf),
			record{bktUnit, unitKey(r.Unit, r.Version), encodeRecord(r, key, append(salt[:], doc...))})
	})
	before := len(d.desc.Objects) - len(d.stored)
	for i, s := range d.stored {
		a.addObject(op, d, s, &d.desc.Objects[before+i])
	}
	return nil
}

// addObject adds a new object of a draft to the operation.
func (a *Archive) addObject(op *operation, d *draft, s *storedContent, o *DescribedObject) {
	salt := newSalt()
	item, keyN := int64(len(op.items)), uint64(len(op.keys))
	op.keys = append(op.keys, s.key)
	at := s.landing()
	b := blobOf{name: blobs.Name(a.session, s.blob), row: []byte(o.ID), at: at, until: lockEnd(d.desc.Rule)}
	packed := s.pack != nil && len(s.pack.objects) > 1
	if s.pack != nil {
		b.name, b.row = blobs.Name(a.session, s.pack.number), s.pack.row()
	}
	if s.pack == nil || !s.pack.taken {
		op.blobs = append(op.blobs, b)
	}
	if s.pack != nil {
		s.pack.taken = true
	}
	op.items = append(op.items, integrity.Item{Unit: d.desc.Unit, Version: d.desc.Version, Object: o.ID, Leaf: groupLeaf(s.digest, salt)})
	op.records = append(op.records, func(p position) []record {
		r := objectRecord{
			Object: o.ID, Unit: d.desc.Unit, Version: d.desc.Version, Usage: o.Usage, From: o.ConvertedFrom,
			Size: s.size, Format: *s.format, Blob: b.name, Pack: packed, Offset: s.offset, Cipher: s.cipher[:], Policy: at.policy.id,
			Entry: p.entry, Item: p.item + item, Leaf: p.leaf + uint64(item), Key: p.key + keyN,
		}
		return []record{{bktObject, []byte(r.Object), encodeRecord(r, s.key, append(salt[:], s.digest[:]...))},
			histRow(r.Unit, r.Entry, r.Item, r.Leaf)}
	})
}

// agentOnce keeps the name behind an agent's pseudonym, enciphered, the first
// time the agent acts.
func (a *Archive) agentOnce(agent string, op *operation) (func(position) []record, error) {
	none := func(position) []record { return nil }
	id := agentID(a.indexKey, agent)
	known := false
	err := a.cat.view(func(t *tx) error {
		v, err := t.get(bktAgent, []byte(id))
		known = v != nil
		return err
	})
	if err != nil || known || agent == "" {
		return none, err
	}
	key, n := newKey(), uint64(len(op.keys))
	op.keys = append(op.keys, key)
	salt := newSalt()
	return func(p position) []record {
		r := agentRecord{Agent: id, Key: p.key + n}
		return []record{{bktAgent, []byte(id), encodeRecord(r, key, append(salt[:], agent...))}}
	}, nil
}

// depositedUnit is what a depositor is told of a unit.
func depositedUnit(d *Description) DepositedUnit {
	u := DepositedUnit{ID: d.Unit, Title: d.Title, Objects: []DepositedObject{}}
	for _, o := range d.Objects {
		u.Objects = append(u.Objects, DepositedObject{ID: o.ID, SHA256: o.SHA256, Size: o.Size, Format: o.Format.PUID})
	}
	return u
}
