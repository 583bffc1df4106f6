package archive

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"sae/archive/blobs"
	"sae/integrity"
)

// FsckFinding is something that does not fit together, and what to do about it.
type FsckFinding struct {
	Kind  string `json:"kind"` // missing, extra, different, damaged
	What  string `json:"what"`
	Where string `json:"where"`
	Offer string `json:"offer,omitempty"`
	Why   string `json:"why"`
	Do    string `json:"do"`
}

// Fsck is the outcome of a check.
type Fsck struct {
	Entries  int64         `json:"entries"`
	Leaves   int64         `json:"leaves"`
	Batches  int64         `json:"batches"`
	Blobs    int64         `json:"blobs"`
	Copies   int64         `json:"copies"`
	Findings []FsckFinding `json:"findings"`
}

// Fsck holds catalogue, ledger, evidence and offers against each other, in both directions:
// what one speaks of and another lacks, and what is there that nothing speaks of. Of copies it
// looks at names and lengths, not at their bytes: that is for an audit. Nothing is changed.
func (a *Archive) Fsck(ctx context.Context) (*Fsck, error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	f := &fsck{a: a, out: &Fsck{Findings: []FsckFinding{}}}
	f.damage("catalogue", a.cat.path, a.cat.check(func(why string) {
		f.find("damaged", "catalogue", a.cat.path, "", why, doRebuild)
	}))
	cp, err := a.VerifyLedger(true)
	f.out.Entries = cp.Size
	f.damage("ledger", a.cat.path, err)
	f.evidence()
	f.damage("catalogue", a.cat.path, a.cat.view(func(t *tx) error {
		return a.checkDecisions(t, func(what, where string, err error) { f.find("different", what, where, "", err.Error(), doRebuild) })
	}))
	for i := range a.offers {
		if err := f.list(ctx, i); err != nil {
			return nil, err
		}
	}
	for _, step := range []func(context.Context, *tx) error{f.leaves, f.records, f.indexes, f.registry, f.queues} {
		if err := a.cat.view(func(t *tx) error { return step(ctx, t) }); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			f.damage("catalogue", a.cat.path, err)
		}
	}
	f.extra()
	return f.out, ctx.Err()
}

// What to do.
const (
	doRebuild  = "move catalogue.db away and run: sae rebuild --from an offer"
	doSync     = "run: sae offer sync"
	doAudit    = "run: sae audit --repair"
	doExtra    = "run: sae audit --remove-extra, when nobody knows what it is"
	doNothing  = "it is not used; a rebuilt catalogue will not have it"
	doOffer    = "mount it, or mend its entry in sae.yaml; then run: sae offer sync"
	doEvidence = "the evidence of these documents is damaged: put back a catalogue from a backup, or run: sae rebuild --from an offer"
)

type fsck struct {
	a    *Archive
	out  *Fsck
	have []lengths // by offer
	seen []present // by offer: blobs that belong there
}

// lengths are the lengths of the blobs in an offer, by session and number.
type lengths map[string]map[uint64]int64

func (l lengths) add(session string, n uint64, size int64) {
	if l[session] == nil {
		l[session] = map[uint64]int64{}
	}
	l[session][n] = size
}

func (l lengths) of(name string) (size int64, ok bool) {
	session, n, err := blobs.Split(name)
	if err != nil {
		return 0, false
	}
	size, ok = l[session][n]
	return size, ok
}

func (f *fsck) find(kind, what, where, offer, why, do string) {
	f.out.Findings = append(f.out.Findings, FsckFinding{kind, what, where, offer, why, do})
}

func (f *fsck) damage(what, where string, err error) {
	if err == nil {
		return
	}
	var d *DamagedError
	if errors.As(err, &d) {
		what, where = d.What, d.Where
	}
	f.find("damaged", what, where, "", err.Error(), doRebuild)
}

// evidence wants every batch to follow the one before, to be the tree over its leaves, and to
// be what the ledger says was sealed; and every batch that the ledger says was.
func (f *fsck) evidence() {
	var next uint64
	batches := map[string]bool{}
	f.damage("evidence", f.a.cat.path, f.a.cat.view(func(t *tx) error {
		err := t.scan(bktBatch, nil, nil, func(_, v []byte) (bool, error) {
			rec, err := decodeBatch(v)
			if err != nil {
				return false, err
			}
			if rec.First != next {
				f.find("missing", "batch", fmt.Sprint("leaf ", next), "", fmt.Sprintf("the next batch begins at leaf %d", rec.First), doEvidence)
			}
			next = rec.First + rec.Count
			f.out.Batches++
			batches[rec.ID] = true
			if err := f.a.auditBatch(t, rec); err != nil {
				f.find("different", "batch", rec.ID, "", err.Error(), doEvidence)
			}
			return true, nil
		})
		if err != nil {
			return err
		}
		return t.entriesOf(func(index int64, e integrity.Entry) error {
			var d integrity.SealDetail
			err := e.ReadDetail(integrity.Seal, &d)
			if err == nil && !batches[d.Batch] {
				f.find("missing", "batch", d.Batch, "", fmt.Sprintf("ledger entry %d says that it was sealed", index), doEvidence)
			}
			return err
		}, integrity.Seal)
	}))
}

// list lists an offer.
func (f *fsck) list(ctx context.Context, i int) error {
	of := f.a.offers[i]
	f.have, f.seen = append(f.have, lengths{}), append(f.seen, present{})
	if of.down != nil {
		f.find("missing", "offer", f.a.config.Offers[i].where(), of.name, of.down.Error(), doOffer)
		return nil
	}
	return of.blobs.List(ctx, "", func(name string, size int64) error {
		session, n, err := blobs.Split(name)
		if err != nil {
			f.find("extra", "blob", name, of.name, "its name is not of this archive's form", doExtra)
			return nil
		}
		f.have[i].add(session, n, size)
		return nil
	})
}

// leaves goes from each leaf to its item, record, index rows and copies.
func (f *fsck) leaves(ctx context.Context, t *tx) error {
	end, err := t.end()
	if err != nil {
		return err
	}
	next := uint64(0)
	au := &audit{a: f.a, report: &AuditReport{}}
	err = t.scan(bktLeaf, nil, be64(end), func(k, row []byte) (bool, error) {
		number := indexLeaf(k)
		for ; next < number; next++ {
			f.find("missing", "leaf", fmt.Sprint(next), "", "the ledger has committed to it", doRebuild)
		}
		next = number + 1
		f.out.Leaves++
		o, err := au.leaf(t, number, row)
		if err != nil {
			f.find("different", "leaf", fmt.Sprint(number), "", err.Error(), doRebuild)
		} else if o != nil {
			if !o.record.Pack { // those are looked for with the packs
				f.copies(o.record.Blob, f.a.policy(o.record.Policy), o.record.length(), "object "+o.ID)
			}
		}
		return ctx.Err() == nil, ctx.Err()
	})
	for ; err == nil && next < end; next++ {
		f.find("missing", "leaf", fmt.Sprint(next), "", "the ledger has committed to it", doRebuild)
	}
	return err
}

// copies wants a blob in the offers where it belongs. A length of -1 is not known.
func (f *fsck) copies(blob string, p *policy, length int64, whose string) {
	f.out.Blobs++
	for i, of := range f.a.offers {
		if of.down != nil {
			continue
		}
		f.seen[i].add(blob)
		if !p.wants(i) {
			continue
		}
		size, ok := f.have[i].of(blob)
		switch {
		case !ok:
			f.find("missing", "copy", blob, of.name, "of "+whose, doSync)
		case length >= 0 && size != length:
			f.find("different", "copy", blob, of.name, fmt.Sprintf("of %s: %d bytes instead of %d", whose, size, length), doAudit)
		default:
			f.out.Copies++
		}
	}
}

// records goes from each record back to its leaf.
func (f *fsck) records(ctx context.Context, t *tx) error {
	at := func(what, where string, leaf uint64, object string) error {
		row, err := t.get(bktLeaf, be64(leaf))
		if err != nil {
			return err
		}
		if row == nil {
			f.find("extra", what, where, "", fmt.Sprintf("its leaf %d is not there", leaf), doRebuild)
			return ctx.Err()
		}
		_, entry, item, err := parseLeafRow(row)
		var it integrity.Item
		if err == nil {
			it, err = t.item(entry, item)
		}
		if err == nil && (it.Object != object || object == "" && it.Unit != where) {
			f.find("extra", what, where, "", fmt.Sprintf("its leaf %d is another's", leaf), doRebuild)
		}
		return errors.Join(err, ctx.Err())
	}
	if err := t.eachUnit(func(r *unitRecord) error { return at("unit record", r.Unit, r.Leaf, "") }); err != nil {
		return err
	}
	return t.eachObject(func(r *objectRecord) error { return at("object record", r.Object, r.Leaf, r.Object) })
}

// indexes goes from each row by which units are found back to its unit.
func (f *fsck) indexes(ctx context.Context, t *tx) error {
	end, err := t.end()
	if err != nil {
		return err
	}
	extra := func(b bucket, k []byte, unit string) error {
		_, _, err := t.unitRecord(unit, 0)
		if stone, failed := t.tomb(unit); b == bktHist && stone != nil && failed == nil {
			return ctx.Err() // its history stays
		}
		if errors.Is(err, ErrNotFound) {
			f.find("extra", string(b)+" row", fmt.Sprintf("%x", k), "", "it is of a unit that is not there: "+unit, doRebuild)
			err = nil
		}
		return errors.Join(err, ctx.Err())
	}
	for b, size := range map[bucket]int{bktIndex: 25, bktNamed: namedPrefix + 8} {
		err := t.scan(b, nil, nil, func(k, v []byte) (bool, error) {
			if len(k) != size || len(v) < 5 {
				f.find("damaged", string(b)+" row", fmt.Sprintf("%x", k), "", "it has not the form of one", doRebuild)
				return true, nil
			}
			if indexLeaf(k) >= end {
				return true, nil
			}
			id, _ := splitUnitKey(v)
			err := extra(b, k, id)
			return err == nil, err
		})
		if err != nil {
			return err
		}
	}
	return t.scan(bktHist, nil, nil, func(k, v []byte) (bool, error) {
		if len(k) < 16 || len(v) != 8 {
			f.find("damaged", "hist row", fmt.Sprintf("%x", k), "", "it has not the form of one", doRebuild)
			return true, nil
		}
		if indexLeaf(v) >= end {
			return true, nil
		}
		err := extra(bktHist, k, string(k[:len(k)-16]))
		return err == nil, err
	})
}

// registry goes from each registered blob to the object that it is of, or to the journal.
func (f *fsck) registry(ctx context.Context, t *tx) error {
	return t.scan(bktBlob, nil, nil, func(k, v []byte) (bool, error) {
		name := string(k)
		if strings.HasPrefix(string(v), journalBlob) {
			f.copies(name, f.a.policy(""), -1, "the journal")
			return ctx.Err() == nil, ctx.Err()
		}
		if p, err := parsePack(v); err != nil {
			f.find("damaged", "blob row", name, "", err.Error(), doRebuild)
			return true, nil
		} else if p != nil {
			return true, f.pack(t, name, p)
		}
		raw, err := t.get(bktObject, v)
		if err != nil {
			return false, err
		}
		var r objectRecord
		if raw == nil || decodeClear(raw, &r) != nil || r.Blob != name {
			f.find("extra", "blob row", name, "", fmt.Sprintf("object %s does not refer to it", v), doNothing)
		}
		return ctx.Err() == nil, ctx.Err()
	})
}

// pack wants a pack in its offers, and its objects to refer to it.
func (f *fsck) pack(t *tx, name string, p *packRecord) error {
	f.copies(name, f.a.policy(p.Policy), p.Size, fmt.Sprintf("a pack of %d objects", len(p.Objects)))
	for _, id := range p.Objects {
		raw, err := t.get(bktObject, []byte(id))
		if err != nil {
			return err
		}
		var r objectRecord
		if raw == nil || decodeClear(raw, &r) != nil || r.Blob != name {
			f.find("extra", "blob row", name, "", fmt.Sprintf("object %s of the pack does not refer to it", id), doNothing)
		}
	}
	return nil
}

// queues wants what is owed to be owed by an offer of the configuration, of a blob that is
// registered.
func (f *fsck) queues(ctx context.Context, t *tx) error {
	offers := map[string]bool{}
	for _, o := range f.a.offers {
		offers[o.name] = true
	}
	for _, b := range []bucket{bktDebt, bktLock} {
		err := t.scan(b, nil, nil, func(k, _ []byte) (bool, error) {
			offer, blob, _ := strings.Cut(string(k), "\x00")
			v, err := t.get(bktBlob, []byte(blob))
			switch {
			case err != nil:
				return false, err
			case !offers[offer]:
				f.find("extra", string(b)+" row", blob, offer, "the offer is no longer in the configuration", doNothing)
			case v == nil:
				f.find("extra", string(b)+" row", blob, offer, "no such blob is registered", doNothing)
			}
			return ctx.Err() == nil, ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return t.scan(bktUnused, nil, nil, func(k, _ []byte) (bool, error) {
		offer, blob, _ := strings.Cut(string(k), "\x00")
		v, err := t.get(bktBlob, []byte(blob))
		if v != nil {
			f.find("different", "unused row", blob, offer, "it is to be deleted, but is registered", doRebuild)
		}
		return err == nil, err
	})
}

// extra names what lies in the offers and belongs to nothing. What this process, or one that
// writes right now, has just put there is not known yet.
func (f *fsck) extra() {
	for i, of := range f.a.offers {
		for session, sizes := range f.have[i] {
			if session == f.a.session || session == journalSession(f.a.session) {
				continue
			}
			for n, size := range sizes {
				name := blobs.Name(session, n)
				if f.seen[i].has(name) {
					continue
				}
				if known, err := f.a.knowsBlob(name); err == nil && !known && !f.a.isUnused(of.name, name) {
					f.find("extra", "blob", name, of.name, fmt.Sprintf("%d bytes that no object refers to", size), doExtra)
				}
			}
		}
	}
}
