package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sae/integrity"
)

// A unit, or the record of a data subject, is never rewritten: a revision is its next version, with
// a description of its own under a seal of its own. The version before it stays as it was.

// revision says what to revise, and why. All of it is one operation.
type revision struct {
	kind    integrity.Kind
	act     string // a code, for the ledger
	request string // of a data subject, that asked for it
	words   string // kept enciphered
	changes []change
	fresh   []*draft // records that come into being with it
}

// change changes the description of the last version of a unit.
type change struct {
	id   string
	edit func(*Description) error
}

// revise makes the next versions of units of a tenant, on behalf of agent; the caller holds acting.
func (a *Archive) revise(ctx context.Context, agent, tenant string, r revision) (*Revision, error) {
	op := a.reasoned(r.kind, agent, r.words, func(commitment integrity.Hash) any {
		return integrity.RevisionDetail{Act: r.act, Request: r.request, Text: commitment}
	})
	op.entry.Tenant, op.alone = tenant, true
	was, drafts := make([]*Unit, len(r.changes)), make([]*draft, len(r.changes))
	for i, c := range r.changes {
		var starts []record
		err := a.cat.view(func(t *tx) (err error) {
			if was[i], err = a.unit(t, c.id, 0); err == nil {
				starts, err = a.actRows(t, was[i], was[i].Version+1)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		first := was[i].record.deposited()
		drafts[i] = &draft{desc: was[i].Description, where: c.id, first: &first}
		if err := c.edit(&drafts[i].desc); err != nil {
			return nil, err
		}
		drafts[i].desc.Version++
		op.records = append(op.records, func(position) []record { return starts })
		op.needs = append(op.needs, c.id)
	}
	for _, d := range append(drafts, r.fresh...) {
		if err := a.addUnit(op, d); err != nil {
			return nil, err
		}
	}
	op.last = func(t *tx, _ position) error {
		for i, u := range was {
			if err := a.dropRows(t, u, &drafts[i].desc); err != nil {
				return err
			}
		}
		return nil
	}
	out := &Revision{Operation: op.id}
	op.records = append(op.records, func(p position) []record {
		out.Time, out.Entry = p.time, p.entry
		return nil
	})
	if err := a.commitBy(ctx, agent, op); err != nil {
		return nil, fmt.Errorf("revising: %w", err)
	}
	return out, nil
}

// dropRows deletes the rows by which a version was found, and the next one, of a description, is
// not any more.
func (a *Archive) dropRows(t *tx, was *Unit, next *Description) error {
	stay := map[string]bool{}
	for _, r := range a.indexRows(&was.record, next) { // their keys are those of the first version's leaf
		stay[string(r.bucket)+string(r.key)] = true
	}
	gone := slices.DeleteFunc(a.indexRows(&was.record, &was.Description), func(r record) bool {
		return stay[string(r.bucket)+string(r.key)]
	})
	if err := newGroups(a.vault, t).shut(gone); err != nil {
		return err
	}
	for _, r := range gone {
		if err := t.delete(r.bucket, r.key); err != nil {
			return err
		}
	}
	return nil
}

// actRows are the index rows that the acts on a unit bring, by which it is found under the rules
// that they start, for a version of it.
func (a *Archive) actRows(t *tx, u *Unit, version int) (rows []record, err error) {
	acts, err := a.actsOn(t, u.Unit, nil)
	first := u.record.deposited()
	r := &unitRecord{Unit: u.Unit, Version: version, Tenant: u.Tenant, First: &first}
	for _, act := range acts {
		for _, s := range act.starts(act.Kind, u.Unit) {
			rows = append(rows, a.ruleRow(r, s.Rule, s.Start))
		}
	}
	return rows, err
}

// checkRevisions wants what was said with each revision to be what its entry commits to.
func (a *Archive) checkRevisions(t *tx, find func(where string, err error)) error {
	return t.entriesOf(func(entry int64, e integrity.Entry) error {
		var d integrity.RevisionDetail
		if err := e.ReadDetail(e.Kind, &d); err != nil {
			return err
		}
		if err := a.checkWords(t, entry, e, d.Text); err != nil {
			find(e.Operation, err)
		}
		return nil
	}, integrity.Subject, integrity.Rectification)
}

// checkWords wants what was said with an operation on units to be what its entry commits to; it goes
// with the first of them that is destroyed.
func (a *Archive) checkWords(t *tx, entry int64, e integrity.Entry, want integrity.Hash) error {
	words, err := a.commitmentOf(t, e.Operation)
	if err == nil && words != want {
		err = fmt.Errorf("what was said with it is not what ledger entry %d commits to", entry)
	}
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	prefix, gone := be64(uint64(entry)), false
	failed := t.scan(bktItem, prefix, prefixEnd(prefix), func(_, b []byte) (bool, error) {
		it, err := integrity.ParseItem(b)
		if err != nil {
			return false, err
		}
		stone, err := t.tomb(it.Unit)
		gone = gone || stone != nil
		return !gone, err
	})
	if gone {
		err = nil
	}
	return errors.Join(err, failed)
}
