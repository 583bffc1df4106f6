package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"sae/integrity"
	"sae/integrity/bundle"
)

// Proof writes the proof bundle of a unit with all its objects, or of one object
// with its unit's description. What is not sealed yet gives an error matching
// ErrNotSealed.
func (a *Archive) Proof(ctx context.Context, id string, w io.Writer) error {
	if err := a.knows("unit", id); err != nil {
		return err
	}
	b, err := a.bundle(ctx, id)
	if err != nil {
		return err
	}
	return bundle.Write(w, *b)
}

func (a *Archive) bundle(ctx context.Context, id string) (*bundle.Bundle, error) {
	out := &bundle.Bundle{LedgerKey: a.ledgerKey}
	err := a.cat.view(func(t *tx) error {
		p := &proofs{a: a, t: t, out: out, trees: map[int64]*integrity.ItemTree{}, sizes: map[int64]bool{}}
		u, objects, err := a.proved(t, id)
		var destroyed *DestroyedError
		if errors.As(err, &destroyed) {
			return p.tombstone(id)
		}
		if err != nil {
			return err
		}
		content := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(u.doc)), nil }
		unit := bundle.Proof{ID: u.Unit, Size: int64(len(u.doc)), Salt: u.salt, Open: content}
		if err := p.add(unit, sha256.Sum256(u.doc), u.record.Entry, u.record.Item, u.record.Leaf); err != nil {
			return fmt.Errorf("unit %s: %w", u.Unit, err)
		}
		for _, o := range objects {
			pr := bundle.Proof{ID: o.ID, Filename: fileNameOf(u, o.ID), Size: o.Size, Salt: o.salt,
				Open: func() (io.ReadCloser, error) { return a.verifiedReader(ctx, o) }}
			if err := p.add(pr, o.digest, o.record.Entry, o.record.Item, o.record.Leaf); err != nil {
				return fmt.Errorf("object %s: %w", o.ID, err)
			}
		}
		return nil
	})
	return out, err
}

// proved gives the unit and the objects that an identifier asks a proof of.
func (a *Archive) proved(t *tx, id string) (*Unit, []*Object, error) {
	only, err := a.object(t, id)
	if err == nil {
		u, err := a.unit(t, only.Unit, only.record.Version)
		return u, []*Object{only}, err
	}
	var destroyed *DestroyedError
	if !errors.Is(err, ErrNotFound) || errors.As(err, &destroyed) {
		return nil, nil, err
	}
	u, err := a.unit(t, id, 0)
	if errors.As(err, &destroyed) {
		return nil, nil, err
	}
	if err != nil {
		return nil, nil, fmt.Errorf("unit or object %q: %w", id, errors.Unwrap(err))
	}
	var objects []*Object
	for _, oid := range u.record.Objects {
		o, err := a.object(t, oid)
		if err != nil {
			return nil, nil, err
		}
		objects = append(objects, o)
	}
	return u, objects, nil
}

// tombstone adds what stays of a unit that was destroyed: the tombstone is the document.
func (p *proofs) tombstone(id string) error {
	row, err := p.t.tomb(id)
	if err != nil {
		return err
	}
	var stone Tombstone
	if err := json.Unmarshal(row.Doc, &stone); err != nil {
		return damaged("tombstone", id, err)
	}
	proof := bundle.Proof{ID: stone.Unit, Size: int64(len(row.Doc)), Salt: [saltSize]byte(row.Salt),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(row.Doc)), nil }}
	if err := p.add(proof, sha256.Sum256(row.Doc), row.Entry, row.Item, row.Leaf); err != nil {
		return fmt.Errorf("tombstone of %s: %w", stone.Unit, err)
	}
	return nil
}

func fileNameOf(u *Unit, object string) string {
	for _, o := range u.Objects {
		if o.ID == object {
			return bundle.SafeName(o.Filename)
		}
	}
	return "document"
}

// proofs gathers evidence for data objects, and for the checkpoints of the
// batches that they are in.
type proofs struct {
	a     *Archive
	t     *tx
	out   *bundle.Bundle
	trees map[int64]*integrity.ItemTree // by ledger index
	sizes map[int64]bool                // checkpoints added
}

// add completes p with its evidence record, item and receipt.
func (p *proofs) add(proof bundle.Proof, digest [sha256.Size]byte, entry, item int64, leaf uint64) error {
	batch, err := p.t.batchOf(leaf)
	if err != nil {
		return err
	}
	salt := sha256.Sum256(proof.Salt[:])
	record, err := p.t.evidence(batch, int64(leaf-batch.First), digest[:], salt[:])
	if err != nil {
		return err
	}
	if proof.Record, err = record.Marshal(); err != nil {
		return err
	}
	if proof.Item, err = p.item(entry, item); err != nil {
		return err
	}
	if proof.Receipt, err = p.a.proveUnder(p.t, entry, batch.Checkpoint); err != nil {
		return err
	}
	p.out.Proofs = append(p.out.Proofs, proof)
	return p.checkpoint(batch)
}

func (p *proofs) item(entry, number int64) (out bundle.ItemProof, err error) {
	tree := p.trees[entry]
	if tree == nil {
		if tree, err = p.t.itemTree(entry); err != nil {
			return out, err
		}
		p.trees[entry] = tree
	}
	b, err := p.t.get(bktItem, itemKey(entry, number))
	if err != nil {
		return out, err
	}
	out = bundle.ItemProof{Item: append([]byte(nil), b...), Index: number}
	out.Proof, err = tree.Prove(number)
	return out, err
}

// checkpoint adds the checkpoint that a batch sealed, with its own evidence.
func (p *proofs) checkpoint(batch batchRecord) error {
	cp, err := integrity.ParseCheckpoint(batch.Checkpoint, p.a.verifier)
	if err != nil || p.sizes[cp.Size] {
		return err
	}
	p.sizes[cp.Size] = true
	digest := sha256.Sum256(batch.Checkpoint)
	record, err := p.t.evidence(batch, int64(batch.Count), digest[:])
	if err != nil {
		return err
	}
	der, err := record.Marshal()
	p.out.Checkpoints = append(p.out.Checkpoints, bundle.Checkpoint{
		Signed: batch.Checkpoint, Size: cp.Size, Record: der, Token: batch.Token})
	return err
}

// verifiedReader reads an object's content and fails at its end when it is not
// the one deposited.
func (a *Archive) verifiedReader(ctx context.Context, o *Object) (io.ReadCloser, error) {
	r, err := a.openObject(ctx, o)
	if err != nil {
		return nil, err
	}
	return &verifiedReader{Reading: r, meter: meter{r: &contextReader{ctx, r}, sum: sha256.New(), progress: func(int64) {}}}, nil
}

type verifiedReader struct {
	*Reading
	meter meter
}

func (v *verifiedReader) Read(p []byte) (int, error) {
	n, err := v.meter.Read(p)
	if err == io.EOF && [sha256.Size]byte(v.meter.sum.Sum(nil)) != v.object.digest {
		return n, &DamagedError{What: "object", Where: v.object.ID, Why: "the content is not the one that was deposited"}
	}
	return n, err
}
