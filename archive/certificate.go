package archive

import (
	"bytes"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sae/integrity"
	"sae/integrity/certificate"
	"sae/integrity/ers"
)

// The destruction certificate of an elimination is a record of its own, under the identifier of
// the operation that archived it, with the certificate as JSON and as PDF. No rule applies to it:
// it stays.

// Certificate is the destruction certificate of an elimination.
type Certificate struct {
	Elimination string `json:"elimination"`
	Record      string `json:"record"` // identifier of the record
	JSON        string `json:"json"`   // objects
	PDF         string `json:"pdf"`
	Entry       int64  `json:"ledgerEntry"`
}

// CertificateOf gives the certificate of an elimination; ErrNotFound while there is none.
func (a *Archive) CertificateOf(id string) (*Certificate, error) {
	if err := a.knows("elimination", id); err != nil {
		return nil, err
	}
	e, err := a.Elimination(id)
	if err != nil {
		return nil, err
	}
	s, ok := e.step(Certified)
	if !ok {
		return nil, fmt.Errorf("destruction certificate of %s: %w", id, ErrNotFound)
	}
	u, err := a.Unit(s.Operation)
	if err != nil {
		return nil, err
	}
	if len(u.Objects) != 2 {
		return nil, damaged("record", s.Operation, errors.New("it does not hold a certificate"))
	}
	return &Certificate{Elimination: id, Record: u.Unit, JSON: u.Objects[0].ID, PDF: u.Objects[1].ID, Entry: s.Entry}, nil
}

// inFrench are the kinds of requests that have certificates, as those name them.
var inFrench = map[RequestKind]string{ForElimination: "élimination", ForErasure: "effacement"}

// Certify makes the destruction certificate of an elimination, or erasure, that was executed, on behalf of
// agent, and archives it. Everything that it proves must be sealed: if not, the error matches
// ErrNotSealed. pdf lays out what the certificate says, for people.
func (a *Archive) Certify(ctx context.Context, agent, id string, pdf func(*Elimination, certificate.Head) ([]byte, error)) (*Certificate, error) {
	if err := a.knows("elimination", id); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	e, err := a.Elimination(id)
	if err != nil {
		return nil, err
	}
	if err := a.checkStep(agent, e, Certified, &StepText{}); err != nil {
		return nil, err
	}
	of, err := a.tenant(e.Tenant)
	if err != nil {
		return nil, err
	}
	c := &certifying{a: a, e: e}
	if err := a.cat.view(c.gather); err != nil {
		return nil, fmt.Errorf("certifying elimination %s: %w", id, err)
	}
	page, err := pdf(e, c.head)
	if err != nil {
		return nil, err
	}
	in := newIntake(e.Tenant, "", 1, []string{newID(objectID), newID(objectID)})
	contents := []*Content{
		{Filename: "attestation-destruction.json", Size: -1, Open: func() (io.ReadCloser, error) {
			r, w := io.Pipe()
			go func() { w.CloseWithError(a.cat.view(func(t *tx) error { return c.write(t, w) })) }()
			return r, nil
		}},
		inMemoryContent("attestation-destruction.pdf", page),
	}
	a.storing.Add(1)
	err = a.storeContents(ctx, in, []int{0, 1}, 1, nil, func(o int) source {
		return source{content: contents[o], where: "the certificate", policy: a.policyOf(of, "")}
	})
	if err != nil {
		a.giveUp(in)
		return nil, err
	}
	in.units = func(each func(*draft) error) error {
		d := &draft{where: "the certificate", desc: Description{Form: descriptionForm, Unit: in.op, Version: 1, Level: "OtherLevel", Title: "Attestation de destruction, " + inFrench[e.Kind] + " " + e.ID,
			Tenant: e.Tenant, Received: now(), Objects: []DescribedObject{{Usage: "DestructionCertificate", Filename: contents[0].Filename}, {Usage: "DestructionCertificate", Filename: contents[1].Filename}}}}
		in.describe(d, 0, 0)
		in.describe(d, 1, 1)
		return each(d)
	}
	op, err := a.intakeOperation(agent, in)
	if err != nil {
		a.giveUp(in)
		return nil, err
	}
	a.stepOperation(op, e, Certified, StepText{Destroyed: c.head.Destroyed})
	op.stored = true
	if _, _, err := a.commit(ctx, op); err != nil {
		if !errors.Is(err, errUncertain) {
			a.discard(in)
		}
		return nil, fmt.Errorf("certifying elimination %s: %w", id, err)
	}
	return a.CertificateOf(id)
}

// certifying is a certificate on its way. What is needed of the units is read twice: once for
// what the proofs are of, once to be written.
type certifying struct {
	a       *Archive
	e       *Elimination
	head    certificate.Head
	entries map[int64][]int64
	kinds   map[int64]integrity.Entry // of entries that history names
	kept    map[int64]string
	last    int64 // entry by which a unit was destroyed
}

// gather finds what the certificate needs, and makes its proofs but those of items.
func (c *certifying) gather(t *tx) error {
	executed, _ := c.e.step(ExecutedStep)
	text, err := c.a.stepText(t, executed)
	if err != nil {
		return err
	}
	c.kept, c.entries, c.kinds = map[int64]string{}, map[int64][]int64{}, map[int64]integrity.Entry{}
	for _, k := range text.Kept {
		c.kept[k.Number] = k.Reason
	}
	for _, n := range c.e.Refusals {
		c.kept[n] = "REFUSED"
	}
	c.head = certificate.Head{Elimination: c.e.ID, Authority: c.e.Tenant, At: c.e.At, Units: c.e.Units, Made: now(), LedgerKey: c.a.ledgerKey,
		Copies: certificate.Copies{Deleted: text.Deleted, Waiting: text.Waiting}}
	leaves, exports := map[uint64][]int64{}, map[int64]int64{}
	err = c.units(t, func(u certificate.Listed) error {
		if u.Destroyed == nil {
			return nil
		}
		c.head.Destroyed++
		c.last = max(c.last, u.Destroyed.Entry)
		for _, p := range append(places(u), *u.Destroyed) {
			b, err := t.batchOf(p.Leaf)
			if err != nil {
				return err
			}
			c.entries[p.Entry] = append(c.entries[p.Entry], p.Item)
			leaves[b.First] = append(leaves[b.First], int64(p.Leaf-b.First))
		}
		return nil
	}, func(entry int64) { exports[entry]++ })
	if err == nil && c.head.Destroyed == 0 {
		err = &Refusal{Problems: []string{"none of its units was destroyed: there is nothing to certify"}}
	}
	if err != nil {
		return err
	}
	if c.head.Effective, err = c.effective(t); err != nil {
		return err
	}
	if c.head.Exports, err = c.exports(exports); err != nil {
		return err
	}
	return c.prove(t, leaves)
}

// effective is when the last of its destructions is beyond recovery. So are those before.
func (c *certifying) effective(t *tx) (*time.Time, error) {
	e, err := c.entryOf(t, c.last)
	if err != nil {
		return nil, err
	}
	effective, err := t.effectiveFrom(e.Time)
	return &effective, err
}

// exports describes exports, of which the numbers of units are given.
func (c *certifying) exports(units map[int64]int64) (out []certificate.Export, err error) {
	for _, index := range slices.Sorted(maps.Keys(units)) {
		var d integrity.ExportDetail
		x := c.kinds[index]
		if err := x.ReadDetail(integrity.Export, &d); err != nil {
			return nil, err
		}
		out = append(out, certificate.Export{Operation: x.Operation, Entry: index, Time: x.Time, Message: d.Message, Units: units[index]})
	}
	return out, nil
}

func places(u certificate.Listed) (out []certificate.Place) {
	for _, a := range u.Archived {
		out = append(out, a.Place)
	}
	return out
}

// units calls f for each unit of the list, and exported for each export that handed out one
// that was destroyed.
func (c *certifying) units(t *tx, f func(certificate.Listed) error, exported func(entry int64)) error {
	return t.eachOf(c.e.ID, func(number int64, unit string, version int) (bool, error) {
		u := certificate.Listed{Number: number, Unit: unit, Version: version}
		row, err := t.tomb(u.Unit)
		if err != nil {
			return false, err
		}
		var stone Tombstone
		if row != nil {
			if err := json.Unmarshal(row.Doc, &stone); err != nil {
				return false, damaged("tombstone", u.Unit, err)
			}
		}
		if stone.Under != c.e.ID {
			if u.Kept = c.kept[u.Number]; u.Kept == "" {
				u.Kept = "KEPT"
			}
			err := f(u)
			return err == nil, err
		}
		u.Tombstone, u.Salt, u.Destroyed = row.Doc, row.Salt, &certificate.Place{Entry: row.Entry, Item: row.Item, Leaf: row.Leaf}
		if err := c.life(t, &u, exported); err != nil {
			return false, err
		}
		err = f(u)
		return err == nil, err
	})
}

// life adds what the ledger holds of a unit from before its end.
func (c *certifying) life(t *tx, u *certificate.Listed, exported func(entry int64)) error {
	return t.scan(bktHist, []byte(u.Unit), prefixEnd([]byte(u.Unit)), func(k, v []byte) (bool, error) {
		entry, item, leaf, err := parseHistRow(k[len(u.Unit):], v)
		if err != nil {
			return false, err
		}
		if item == noItem {
			kind, err := c.entryOf(t, entry)
			if err == nil && kind.Kind == integrity.Export {
				exported(entry)
			}
			return err == nil, err
		}
		if entry == u.Destroyed.Entry {
			return true, nil
		}
		it, err := t.item(entry, item)
		u.Archived = append(u.Archived, certificate.Commitment{Place: certificate.Place{Entry: entry, Item: item, Leaf: leaf}, Version: it.Version, Object: it.Object, Hash: it.Leaf})
		return err == nil, err
	})
}

func (c *certifying) entryOf(t *tx, index int64) (integrity.Entry, error) {
	if e, ok := c.kinds[index]; ok {
		return e, nil
	}
	b, err := t.entry(index)
	if err != nil {
		return integrity.Entry{}, err
	}
	e, err := integrity.ParseEntry(b)
	if err == nil {
		c.kinds[index] = e
	}
	return e, err
}

// prove makes the proofs of batches and ledger. The newest batch is the last: the checkpoint
// that it seals is the one that the entries are proved under.
func (c *certifying) prove(t *tx, leaves map[uint64][]int64) error {
	_, v, err := t.last(bktBatch, be64(^uint64(0)))
	if err != nil {
		return err
	}
	newest, err := decodeBatch(v)
	if err != nil {
		return err
	}
	leaves[newest.First] = append(leaves[newest.First], int64(newest.Count))
	for _, first := range slices.Sorted(maps.Keys(leaves)) {
		b, err := t.batchOf(first)
		if err != nil {
			return err
		}
		slices.Sort(leaves[first])
		n := int64(b.Count) + 1
		proof, err := integrity.ProveMany(n, leaves[first], func(level int, index int64) (integrity.Hash, error) {
			h, err := ers.Node(crypto.SHA256, n, level, index, func(level int, index int64) ([]byte, error) { return t.evidenceTile(b, level, index) })
			if err != nil {
				return integrity.Hash{}, err
			}
			return integrity.Hash(h), nil
		})
		if err != nil {
			return err
		}
		c.head.Batches = append(c.head.Batches, certificate.Batch{First: first, Leaves: n, Token: b.Token, Proof: proof})
	}
	cp, err := integrity.ParseCheckpoint(newest.Checkpoint, c.a.verifier)
	if err != nil {
		return err
	}
	c.head.Checkpoint = string(newest.Checkpoint)
	for _, s := range c.e.Steps {
		if s.Entry < cp.Size {
			c.entries[s.Entry] = nil // it has no items
		} else if s.Step != ExecutedStep { // of which the tombstones tell
			return ErrNotSealed
		}
	}
	c.head.Ledger, err = integrity.ProveMany(cp.Size, slices.Sorted(maps.Keys(c.entries)), func(level int, index int64) (integrity.Hash, error) {
		h, err := hashReader{t}.ReadHashes([]int64{tlog.StoredHashIndex(level, index)})
		if err != nil {
			return integrity.Hash{}, err
		}
		return h[0], nil
	})
	return err
}

// write writes the certificate.
func (c *certifying) write(t *tx, w io.Writer) error {
	out, err := certificate.NewWriter(w, c.head)
	if err != nil {
		return err
	}
	for _, index := range slices.Sorted(maps.Keys(c.entries)) {
		b, err := t.entry(index)
		if err != nil {
			return err
		}
		e := certificate.Entry{Index: index, Entry: bytes.Clone(b)}
		if items := c.entries[index]; len(items) > 0 {
			slices.Sort(items)
			tree, err := t.itemTree(index)
			if err != nil {
				return err
			}
			if e.Items, err = tree.ProveMany(items); err != nil {
				return err
			}
		}
		if err := out.Entry(e); err != nil {
			return err
		}
	}
	if err := c.units(t, out.Listed, func(int64) {}); err != nil {
		return err
	}
	return out.Close()
}
