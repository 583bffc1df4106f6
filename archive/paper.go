package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"sae/integrity"
	"sae/retention"
)

// To destroy paper of which a digitised copy stays is an elimination of its own kind: the same
// steps, the same visa, but what goes is the paper (PhysicalMaster), and no key. The copy must be
// what the law presumes faithful (Code civil art. 1379, décret 2016-1673): how and when it was made
// is known (art. 2), its process was tested and its result compared with the paper (art. 2), its
// integrity is shown by a time-stamp (art. 3), and it is read from the first byte to the last before
// the paper goes (art. 4).

// PaperReason is why paper may not be destroyed.
type PaperReason string

// The reasons.
const (
	PaperHeld        PaperReason = "HOLD"                // a hold is in force
	PaperToKeep      PaperReason = "NOT_TO_BE_DESTROYED" // its final action is not Destroy alone: the original is not let go
	ScanUndocumented PaperReason = "SCAN_UNDOCUMENTED"   // who made the copy, when, how
	ProcessUntested  PaperReason = "PROCESS_UNTESTED"    // no reference of a documented, tested process
	CopyUncontrolled PaperReason = "COPY_UNCONTROLLED"   // nobody says how the copy was compared with the paper
	CopyUnsealed     PaperReason = "NOT_SEALED"          // no time-stamp shows its integrity
	CopyDamaged      PaperReason = "COPY_DAMAGED"        // it cannot be read as it was deposited
)

// PaperUnit is a unit whose paper is kept beside its copy.
type PaperUnit struct {
	ID      string        `json:"id"`
	Title   string        `json:"title"`
	Agency  string        `json:"originatingAgency,omitempty"`
	Reasons []PaperReason `json:"reasons"` // against destroying the paper; none when it may go

	unit  *Unit
	rules []string
}

// hasPaper reports whether a unit has paper, and a copy of it.
func hasPaper(u *Unit) bool {
	kept := u.Scan != nil && u.Scan.PaperKept != nil && *u.Scan.PaperKept
	return len(u.Objects) > 0 && (kept || u.Paper != nil || len(u.Physical) > 0)
}

// EachPaper calls f for every unit of a tenant that has paper beside its copy.
func (a *Archive) EachPaper(ctx context.Context, tenant string, f func(PaperUnit) error) error {
	return a.eachPaper(ctx, tenant, nil, f)
}

// eachPaper is EachPaper as a reader may see it; nil is the archive itself.
func (a *Archive) eachPaper(ctx context.Context, tenant string, r *Reader, f func(PaperUnit) error) error {
	of, err := a.tenant(tenant)
	if err != nil {
		return err
	}
	today := now().Format(time.DateOnly)
	return a.cat.view(func(t *tx) error {
		h, seen := a.heirs(t, "", nil), map[string]bool{}
		for _, c := range []Channel{Both, Digitised} {
			err := t.indexed(a.indexPrefix(idxChannel, of.ID, string(c)), 0, ^uint64(0), func(id string, _ int, _ uint64) (bool, error) {
				if seen[id] {
					return true, nil
				}
				seen[id] = true
				p, err := a.paperUnit(t, h, id, today)
				if err == nil && p != nil {
					if p.unit, err = r.shown(t, h, p.unit); err == nil {
						p.Title = p.unit.Title
						err = f(*p)
					}
				}
				return err == nil, errors.Join(err, ctx.Err())
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// paperUnit looks at a unit; nil when it has no paper any more.
func (a *Archive) paperUnit(t *tx, h *heirs, id, at string) (*PaperUnit, error) {
	u, err := a.unit(t, id, 0)
	if err != nil || !hasPaper(u) {
		return nil, err
	}
	gone, err := t.paperGone(id)
	if err != nil || gone != nil {
		return nil, err
	}
	in, err := h.ofUnit(u)
	if err != nil {
		return nil, err
	}
	p := &PaperUnit{ID: id, Title: u.Title, Agency: u.Agency, Reasons: []PaperReason{}, unit: u, rules: dueUnit(u, in, at).Rules}
	check := func(bad bool, r PaperReason) {
		if bad {
			p.Reasons = append(p.Reasons, r)
		}
	}
	s := u.Scan
	if s == nil {
		s = &Scan{}
	}
	check(retention.HeldOn(in, at), PaperHeld)
	check(!retention.OnlyDestroy(in), PaperToKeep)
	check(s.By == "" || s.Date == "" || s.Device == "" || s.Settings == "", ScanUndocumented)
	check(s.Process == "", ProcessUntested)
	check(s.Control == "", CopyUncontrolled)
	check(u.Sealed == nil, CopyUnsealed)
	return p, nil
}

// paperList is what may be proposed.
func (a *Archive) paperList(ctx context.Context, of *Tenant, r EliminationRequest, taken map[string]bool) (list []frozen, err error) {
	err = a.EachPaper(ctx, of.ID, func(p PaperUnit) error {
		if len(p.Reasons) > 0 || taken[p.ID] || !r.Filter.chooses(p.unit) {
			return nil
		}
		u := frozen{unit: p.ID, version: p.unit.Version, agency: p.Agency, rules: strings.Join(p.rules, " "), from: dayOf(p.unit.StartDate), to: dayOf(p.unit.EndDate), due: r.At}
		for _, o := range p.unit.Objects {
			u.objects++
			u.bytes += o.Size
		}
		list = append(list, u)
		return nil
	})
	return list, err
}

// PaperGone is how the paper of a unit was destroyed.
type PaperGone struct {
	Under string    `json:"under"` // the request
	Entry int64     `json:"ledgerEntry"`
	Time  time.Time `json:"time"`
}

// What a row of the act bucket under a unit and a request says, behind the ledger index.
const (
	rowBordereau = 'b' // the unit is the request's signed bordereau
	rowPaper     = 'p' // the unit's paper was destroyed
)

// requestRow reads such a row; it says nothing, 0, when it has not the form of one.
func requestRow(v []byte) (entry int64, says byte) {
	if len(v) != 9 {
		return 0, 0
	}
	return int64(binary.BigEndian.Uint64(v)), v[8]
}

// paperGone gives how the paper of a unit was destroyed; nil when it was not.
func (t *tx) paperGone(unit string) (gone *PaperGone, err error) {
	prefix := []byte(unit + eliminationID)
	err = t.scan(bktAct, prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
		entry, says := requestRow(v)
		if says != rowPaper {
			return true, nil
		}
		gone = &PaperGone{Under: string(k[len(unit):]), Entry: entry}
		return false, nil
	})
	if err != nil || gone == nil {
		return nil, err
	}
	b, err := t.entry(gone.Entry)
	if err != nil {
		return nil, err
	}
	e, err := integrity.ParseEntry(b)
	gone.Time = e.Time
	return gone, err
}

// paper records that the paper of a visaed list was destroyed: of each unit whose copy
// is, now, what it must be. Reason says how it was destroyed, and by whom.
func (x *execution) paper(ctx context.Context, reason string, progress func(int64)) (*Executed, error) {
	if strings.TrimSpace(reason) == "" {
		return nil, &Refusal{Problems: []string{"no reason: say how the paper is destroyed, by whom, under which reference"}}
	}
	var left []string
	err := x.a.cat.view(func(t *tx) (err error) {
		left, err = x.find(t, func(unit string) (bool, error) {
			gone, err := t.paperGone(unit)
			return gone != nil && gone.Under == x.e.ID, err
		})
		return err
	})
	if err == nil {
		err = x.inChunks(ctx, left, x.paperChunk, progress)
	}
	if err != nil {
		return x.out, fmt.Errorf("executing %s %s: %w", x.e.Kind, x.e.ID, err)
	}
	return x.out, x.finish(ctx, StepText{Reason: reason})
}

func (x *execution) paperChunk(ctx context.Context, units []string) error {
	a := x.a
	a.acting.Lock()
	defer a.acting.Unlock()
	if err := x.reload(); err != nil {
		return err
	}
	var goes []*Unit
	for _, id := range units {
		u, reason, err := x.paperNow(ctx, id)
		if err != nil {
			return err
		}
		if reason != "" {
			x.out.Kept = append(x.out.Kept, Kept{Number: x.left[id].number, Unit: id, Reason: reason})
			continue
		}
		goes = append(goes, u)
	}
	if len(goes) == 0 {
		return nil
	}
	var tree integrity.Recompute
	for _, u := range goes {
		tree.Add([]byte(u.Unit))
	}
	op := &operation{
		id: newID(opID), entry: integrity.Entry{Kind: integrity.PaperDestroyed, Tenant: x.e.Tenant, Agent: agentID(a.indexKey, x.agent)},
		detail: func(position) any {
			return integrity.PaperDetail{Under: x.e.ID, Visa: x.visa(), Units: int64(len(goes)), Root: tree.Root()}
		},
		records: []func(position) []record{func(p position) (out []record) {
			for _, u := range goes {
				out = append(out, record{bktAct, unitActKey(u.Unit, x.e.ID), append(be64(uint64(p.entry)), rowPaper)}, histRow(u.Unit, p.entry, noItem, u.record.Leaf))
			}
			return out
		}},
	}
	if _, _, err := a.commit(ctx, op); err != nil {
		return err
	}
	x.out.Destroyed += int64(len(goes))
	return nil
}

// paperNow looks at a unit again, and reads its copy; reason is why its paper stays.
func (x *execution) paperNow(ctx context.Context, id string) (u *Unit, reason string, err error) {
	var p *PaperUnit
	err = x.a.cat.view(func(t *tx) (err error) {
		p, err = x.a.paperUnit(t, x.a.heirs(t, "", nil), id, now().Format(time.DateOnly))
		return err
	})
	switch {
	case errors.Is(err, ErrNotFound), err == nil && p == nil:
		return nil, keptVersion, nil
	case err != nil:
		return nil, "", err
	case p.unit.Version != x.left[id].version:
		return nil, keptVersion, nil
	case len(p.Reasons) > 0:
		return nil, string(p.Reasons[0]), nil
	}
	for _, o := range p.unit.Objects {
		if err := x.a.readWhole(ctx, o.ID); ctx.Err() != nil {
			return nil, "", ctx.Err()
		} else if err != nil {
			x.a.log.Warn("a copy cannot be read: its paper stays", "unit", id, "object", o.ID, "error", err)
			return nil, string(CopyDamaged), nil
		}
	}
	return p.unit, "", nil
}

// readWhole reads an object and holds it against its digest.
func (a *Archive) readWhole(ctx context.Context, id string) error {
	o, err := a.Object(id)
	if err != nil {
		return err
	}
	r, err := a.verifiedReader(ctx, o)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, onlyReader{r})
	return err
}

// paperEntry is a ledger entry by which paper was destroyed, and what it commits to.
type paperEntry struct {
	entry int64
	root  integrity.Hash
}

// checkPaper holds the units whose paper is said to be destroyed against the entries about it.
func (t *tx) checkPaper(e *Elimination, entries []paperEntry) error {
	if e.Kind != ForPaper {
		return nil
	}
	trees := map[int64]*integrity.Recompute{}
	err := t.eachOf(e.ID, func(_ int64, unit string, _ int) (bool, error) {
		row, err := t.get(bktAct, unitActKey(unit, e.ID))
		entry, says := requestRow(row)
		if err != nil || says != rowPaper {
			return err == nil, err
		}
		if trees[entry] == nil {
			trees[entry] = &integrity.Recompute{}
		}
		trees[entry].Add([]byte(unit))
		return true, nil
	})
	for _, p := range entries {
		if err == nil && (trees[p.entry] == nil || trees[p.entry].Root() != p.root) {
			err = fmt.Errorf("the units whose paper was destroyed are not those of ledger entry %d", p.entry)
		}
	}
	return err
}
