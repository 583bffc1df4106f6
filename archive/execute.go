package archive

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"sae/integrity"
	"sae/integrity/certificate"
	"sae/retention"
)

// Executed is the outcome of executing an elimination.
type Executed struct {
	Elimination string      `json:"elimination"`
	Kind        RequestKind `json:"kind,omitempty"`
	Destroyed   int64       `json:"destroyed"` // units, over all runs; of paper: units whose paper was
	Kept        []Kept      `json:"kept"`      // of the list, that were not refused
	Entry       int64       `json:"ledgerEntry"`
	Deleted     int64       `json:"deleted"`        // copies, that are gone
	Waiting     int64       `json:"waiting"`        // copies that cannot be deleted yet: without their key
	Left        string      `json:"left,omitempty"` // why bytes are left in packs
	// Exports are those that handed out destroyed units before: others may hold copies.
	Exports []certificate.Export `json:"exports"`
}

// Kept is a unit of a visaed list that was not destroyed, and why.
type Kept struct {
	Number  int64              `json:"number"`
	Unit    string             `json:"unit"`
	Reason  string             `json:"reason"` // a code
	Reasons []retention.Reason `json:"reasons,omitempty"`
}

// Why a unit is kept.
const (
	keptVerdict  = "NOT_ELIMINABLE"   // by its rules, or a hold, as they are now
	keptUnfit    = "NOT_TRANSFERABLE" // the same of a transfer
	keptVersion  = "CHANGED"          // it has another version than the one that was visaed
	keptChildren = "HAS_CHILDREN"     // a unit below it stays
	keptShared   = "SHARED"           // another unit refers to its objects
	keptHere     = "NOT_TRANSFERRED"  // the archive that was to take it did not
)

// destroys is the kind of the ledger entries that destroy units.
func (k RequestKind) destroys() integrity.Kind {
	if k == ForErasure {
		return integrity.Erased
	}
	return integrity.Destroyed
}

// unfit is why a unit is kept that is not what its request is for.
func (k RequestKind) unfit() string {
	if k == ForTransfer {
		return keptUnfit
	}
	return keptVerdict
}

// executeChunk is how many units one transaction destroys, erasureChunk how many of an erasure: those of
// a person are scattered, and every transaction wraps the keys anew that lie beside theirs. With four
// times as many it takes half the time; what a transaction keeps in memory bounds it.
const (
	executeChunk = 500
	erasureChunk = 2_000
)

func (k RequestKind) chunk() int {
	if k == ForErasure {
		return erasureChunk
	}
	return executeChunk
}

// ExecuteElimination destroys what has its visa, on behalf of agent, who must be an archivist
// and have taken no other step. Every unit is looked at again before it goes: what a new rule,
// a new hold or a new unit below stands against is kept. Stopped at any point, it goes on from
// there when it is called again. Of paper, reason says how it is destroyed.
func (a *Archive) ExecuteElimination(ctx context.Context, agent, id, reason string, progress func(destroyed int64)) (*Executed, error) {
	if err := a.knows("elimination", id); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	e, err := a.mayExecute(agent, id, reason)
	switch {
	case err != nil:
		return nil, err
	case e.Kind == ForPaper:
		return a.execution(agent, e).paper(ctx, reason, progress)
	}
	return a.execute(ctx, agent, e, nil, progress)
}

// MayExecute says what stands against executing an elimination now, for who wants to know before it is
// begun.
func (a *Archive) MayExecute(agent, id, reason string) error {
	_, err := a.mayExecute(agent, id, reason)
	return err
}

func (a *Archive) mayExecute(agent, id, reason string) (*Elimination, error) {
	e, err := a.Elimination(id)
	if err == nil {
		err = a.checkRequest(id)
	}
	if err == nil && e.Kind != ForElimination && e.Kind != ForPaper {
		err = &Refusal{Problems: []string{fmt.Sprintf("%s is a request of another kind: %s", id, e.Kind)}}
	}
	if err == nil {
		err = a.checkStep(agent, e, ExecutedStep, &StepText{Reason: reason})
	}
	return e, err
}

// execute destroys what a request allows; taken are the units that another archive has, with
// their identifiers there: of a transfer.
func (a *Archive) execute(ctx context.Context, agent string, e *Elimination, taken map[string]string, progress func(destroyed int64)) (*Executed, error) {
	if err := a.checkStep(agent, e, ExecutedStep, &StepText{}); err != nil {
		return nil, err
	}
	x := a.execution(agent, e)
	x.taken = taken
	var order []string
	err := a.cat.view(func(t *tx) error {
		if e.Kind == ForErasure {
			q, err := t.dataRequest(e.Request)
			if err != nil {
				return err
			}
			if x.otherwise, err = a.decidedOtherwise(t, q); err != nil {
				return err
			}
		}
		_, err := x.find(t, func(unit string) (bool, error) {
			stone, err := t.tomb(unit)
			return stone != nil, err
		})
		if err == nil {
			order, err = x.order(ctx, t)
		}
		return err
	})
	if err == nil {
		err = x.inChunks(ctx, order, x.chunk, progress)
	}
	if err != nil {
		return x.out, fmt.Errorf("executing %s %s: %w", e.Kind, e.ID, err)
	}
	return x.out, x.end(ctx)
}

type execution struct {
	taken map[string]string // of a transfer: identifiers where the units are now
	// otherwise are units of an erasure that go although their retention runs.
	otherwise map[string]bool
	a         *Archive
	e         *Elimination
	agent     string
	left      map[string]planned // units of the list that were not refused and still exist
	out       *Executed
}

func (a *Archive) execution(agent string, e *Elimination) *execution {
	return &execution{a: a, e: e, agent: agent, left: map[string]planned{}, out: &Executed{Elimination: e.ID, Kind: e.Kind, Kept: []Kept{}, Exports: []certificate.Export{}}}
}

// inChunks does something to units, so many at a time as one transaction takes.
func (x *execution) inChunks(ctx context.Context, units []string, do func(context.Context, []string) error, progress func(int64)) error {
	for chunk := range slices.Chunk(units, x.e.Kind.chunk()) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := do(ctx, chunk); err != nil {
			return err
		}
		if progress != nil {
			progress(x.out.Destroyed)
		}
	}
	return nil
}

// planned is a unit of the list.
type planned struct {
	number  int64
	version int
}

// chunk destroys those of some units that may be.
func (x *execution) chunk(ctx context.Context, ids []string) error {
	var kept []Kept
	n, err := x.destroy(ctx, func(t *tx) (all []*doomed, err error) { all, kept, err = x.choose(t, ids); return all, err })
	if err == nil {
		x.out.Destroyed += n
		x.out.Kept = append(x.out.Kept, kept...)
	}
	return err
}

// tries bounds how often it is chosen anew because deposits changed what is below.
const tries = 100

// destroy destroys what choose gives, and before it what transfers said of it; none else changes
// rules, holds or requests meanwhile, and what deposits and compactions changed is chosen anew.
func (x *execution) destroy(ctx context.Context, choose func(*tx) ([]*doomed, error)) (n int64, err error) {
	a := x.a
	a.acting.Lock()
	defer a.acting.Unlock()
	if err := x.reload(); err != nil {
		return 0, err
	}
	for range tries {
		var all, messages []*doomed
		err := a.cat.view(func(t *tx) (err error) {
			if all, err = choose(t); err == nil {
				messages, err = a.messagesOf(t, all)
			}
			for _, d := range messages {
				d.stone.Article = x.e.Article
			}
			return err
		})
		for _, some := range [][]*doomed{messages, all} { // units apart: a certificate names all that an entry destroys
			if err == nil && len(some) > 0 {
				err = a.destroy(ctx, x.agent, x.e.Tenant, x.e.Kind.destroys(), func(position) any {
					return integrity.DestroyedDetail{Under: x.e.ID, Visa: x.visa(), Units: int64(len(some)), Article: x.e.Article}
				}, some, func(t *tx) error { return a.stillDoomed(t, some) })
			}
		}
		if !errors.Is(err, errChanged) {
			return int64(len(all)), err
		}
	}
	return 0, errors.New("deposits change what is below its units again and again: try again")
}

// reload wants the request to be as it was: somebody may have withdrawn it.
func (x *execution) reload() error {
	var e *Elimination
	err := x.a.cat.view(func(t *tx) (err error) { e, err = t.request(x.e.ID); return err })
	if err == nil && len(e.Steps) != len(x.e.Steps) {
		err = &Refusal{Problems: []string{"it is " + string(e.State()) + " meanwhile"}}
	}
	return err
}

// visa is the ledger entry of the visa; of a transfer, that the reply was verified; of an erasure, its
// decision.
func (x *execution) visa() int64 {
	for _, step := range []EliminationStep{Visaed, Acknowledged, Decided} {
		if s, ok := x.e.step(step); ok {
			return s.Entry
		}
	}
	return 0
}

// find reads the list, and gives what is left of it, in its order. gone says what was destroyed by
// a run before.
func (x *execution) find(t *tx, gone func(unit string) (bool, error)) (left []string, err error) {
	err = t.eachOf(x.e.ID, func(number int64, unit string, version int) (bool, error) {
		gone, err := gone(unit)
		switch {
		case err != nil:
			return false, err
		case gone:
			x.out.Destroyed++
		case !x.e.refuses(number):
			x.left[unit] = planned{number, version}
			left = append(left, unit)
		}
		return true, nil
	})
	return left, err
}

// order gives the units so that each comes behind those below it, and behind those that refer to
// its objects: to destroy a folder before what is in it would leave that without its rules. Besides
// it is that of their deposits, whose rows and keys lie together.
func (x *execution) order(ctx context.Context, t *tx) (out []string, err error) {
	const entered, done = 1, 2
	state, leaves := map[string]int{}, map[string]uint64{}
	for id := range x.left {
		rec, _, err := t.unitRecord(id, 0)
		if err != nil {
			return nil, err
		}
		leaves[id] = rec.deposited().Leaf
	}
	for _, first := range slices.SortedFunc(maps.Keys(leaves), func(x, y string) int { return cmp.Compare(leaves[x], leaves[y]) }) {
		stack := []string{first}
		for len(stack) > 0 {
			id := stack[len(stack)-1]
			if state[id] != 0 {
				stack = stack[:len(stack)-1]
				if state[id] == entered {
					state[id] = done
					out = append(out, id)
				}
				continue
			}
			state[id] = entered
			err := x.a.leaning(t, x.e.Tenant, id, func(other, _ string) (bool, error) {
				if _, listed := x.left[other]; listed && state[other] == 0 {
					stack = append(stack, other)
				}
				return true, nil
			})
			if err != nil {
				return nil, err
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// choose says which of some units may be destroyed, as things are now, and why the others are
// kept.
func (x *execution) choose(t *tx, ids []string) (all []*doomed, kept []Kept, err error) {
	heirs, at := x.a.heirs(t, "", nil), now().Format(time.DateOnly)
	goes := map[string]bool{}
	for _, id := range ids {
		u, err := x.a.unit(t, id, 0)
		if err != nil {
			return nil, nil, err
		}
		reason, reasons, err := x.against(t, heirs, u, at, goes)
		if err != nil {
			return nil, nil, err
		}
		if reason != "" {
			kept = append(kept, Kept{x.left[id].number, id, reason, reasons})
			continue
		}
		d, err := x.a.doom(t, id, x.e.ID, x.visa(), heirs.acts)
		if err != nil {
			return nil, nil, err
		}
		in, err := heirs.ofUnit(u)
		if err != nil {
			return nil, nil, err
		}
		for _, r := range in.Categories[retention.Appraisal].Rules {
			d.stone.Rules = append(d.stone.Rules, x.a.ruleThatWas(u.Tenant, r))
		}
		if d.stone.Article = x.e.Article; x.e.Kind == ForErasure {
			for i := range d.stone.Rules { // days of a person's decisions, too
				r := &d.stone.Rules[i]
				r.Start, r.End = r.Start[:min(len(r.Start), 4)], r.End[:min(len(r.End), 4)]
			}
		}
		if x.e.Kind == ForTransfer {
			d.stone.Transferred = &TransferredTo{Archive: x.e.To, Unit: x.taken[id]}
		}
		goes[id] = true
		all = append(all, d)
	}
	return all, kept, nil
}

// ruleThatWas is a rule as a tombstone keeps it.
func (a *Archive) ruleThatWas(tenant string, r retention.InheritedRule) TombstoneRule {
	return TombstoneRule{r.Rule, a.veiled(tenant, r.Rule, r.Start), a.veiled(tenant, r.Rule, r.End)}
}

// veiled is a day of a rule for who is not to know of a person: one that a birth or a death gives is
// that person's, and only its year is told.
func (a *Archive) veiled(tenant, rule, day string) string {
	known, _ := a.schedule(tenant).Last(rule)
	if event := known.Event(); event == "birthday" || event == "death" {
		return day[:min(len(day), 4)]
	}
	return day
}

// against says what stands against destroying a unit; "" when nothing does. goes are units that
// go with it.
func (x *execution) against(t *tx, h *heirs, u *Unit, at string, goes map[string]bool) (reason string, reasons []retention.Reason, err error) {
	if x.e.Kind == ForErasure {
		return x.againstErasing(t, h, u, at, goes)
	}
	in, err := h.ofUnit(u)
	if err != nil {
		return "", nil, err
	}
	if v := retention.Appraise(in, at); v.Verdict != x.e.Kind.verdict() {
		return x.e.Kind.unfit(), v.Reasons, nil
	}
	if _, ok := x.taken[u.Unit]; !ok && x.e.Kind == ForTransfer {
		return keptHere, nil, nil
	}
	if u.Version != x.left[u.Unit].version {
		return keptVersion, nil, nil
	}
	stays, err := x.a.stays(t, &u.record, goes)
	return stays, nil, err
}

// stays says what of others holds a unit: one below it, or one that refers to its objects.
func (a *Archive) stays(t *tx, u *unitRecord, goes map[string]bool) (reason string, err error) {
	err = a.leaning(t, u.Tenant, u.Unit, func(other, why string) (bool, error) {
		stone, err := t.tomb(other)
		if stone == nil && !goes[other] {
			reason = why
		}
		return reason == "" && err == nil, err
	})
	return reason, err
}

// leaning calls f for the units below a unit and those that refer to its objects, with the reason
// for which it cannot go before them, until it returns false.
func (a *Archive) leaning(t *tx, tenant, unit string, f func(other, reason string) (bool, error)) error {
	more := true
	for _, r := range []struct {
		kind   byte
		reason string
	}{{idxChild, keptChildren}, {idxShared, keptShared}} {
		err := t.indexed(a.indexPrefix(r.kind, tenant, unit), 0, ^uint64(0), func(id string, _ int, _ uint64) (_ bool, err error) {
			more, err = f(id, r.reason)
			return more, err
		})
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// stillDoomed looks, within the transaction, at what a deposit may have changed since units
// were planned to go: what stands below them, and who refers to their objects.
func (a *Archive) stillDoomed(t *tx, all []*doomed) error {
	goes := map[string]bool{}
	for _, d := range all {
		goes[d.stone.Unit] = true
	}
	for _, d := range all {
		switch reason, err := a.stays(t, &d.unit.record, goes); {
		case err != nil:
			return err
		case reason != "":
			return errChanged
		}
	}
	return nil
}

// maxKeptTold bounds the kept units that the request's record names.
const maxKeptTold = 10_000

// exports finds those that handed out units which were destroyed.
func (x *execution) exports(t *tx) (err error) {
	c := &certifying{a: x.a, e: x.e, kinds: map[int64]integrity.Entry{}}
	exports := map[int64]int64{}
	err = c.units(t, func(certificate.Listed) error { return nil }, func(entry int64) { exports[entry]++ })
	if err == nil {
		x.out.Exports, err = c.exports(exports)
	}
	return err
}

// records destroys the records of transfers of which every unit is gone: their manifests name what
// the units were. Destroying a few at a time, it can be begun again.
func (x *execution) records(ctx context.Context) error {
	var all []string
	err := x.a.cat.view(func(t *tx) (err error) { all, err = x.emptied(t); return err })
	if err != nil {
		return err
	}
	return x.inChunks(ctx, all, func(ctx context.Context, ids []string) error {
		_, err := x.destroy(ctx, func(t *tx) (all []*doomed, err error) {
			for _, id := range ids {
				d, err := x.a.doom(t, id, x.e.ID, x.visa(), nil)
				if err != nil {
					return nil, err
				}
				d.stone.Article = x.e.Article
				all = append(all, d)
			}
			return all, nil
		})
		return err
	}, nil)
}

// emptied are the records of transfers, that are still there, of which all units are destroyed and
// one of them by this request.
func (x *execution) emptied(t *tx) (out []string, err error) {
	seen := map[int64]bool{}
	err = t.eachOf(x.e.ID, func(_ int64, unit string, _ int) (bool, error) {
		row, err := t.tomb(unit)
		if err != nil || row == nil {
			return err == nil, err
		}
		var stone Tombstone
		if err := json.Unmarshal(row.Doc, &stone); err != nil {
			return false, damaged("tombstone", unit, err)
		}
		if seen[stone.Entry] {
			return true, nil
		}
		seen[stone.Entry] = true
		b, err := t.entry(stone.Entry)
		if err != nil {
			return false, err
		}
		e, err := integrity.ParseEntry(b)
		if err != nil {
			return false, err
		}
		if _, _, err := t.unitRecord(e.Operation, 0); errors.Is(err, ErrNotFound) { // it was no transfer, or is gone
			return true, nil
		} else if err != nil {
			return false, err
		}
		left := false
		err = t.unitsOf(stone.Entry, func(string) (bool, error) { left = true; return false, nil })
		if !left {
			out = append(out, e.Operation)
		}
		return err == nil, err
	})
	return out, err
}

// end deletes what is not used any more, and records that the request was executed.
func (x *execution) end(ctx context.Context) error {
	if err := x.records(ctx); err != nil {
		return fmt.Errorf("destroying the records of transfers: %w", err)
	}
	c, err := x.a.compact(ctx, false)
	if err != nil { // the keys are gone: what is left of the bytes is for a later compaction
		x.a.log.Warn("deleting copies", "error", err)
		x.out.Left = "not all bytes could be reclaimed, run sae compact: " + err.Error()
	}
	x.out.Deleted, x.out.Waiting = c.Deleted, c.Waiting
	if err := x.a.cat.view(x.exports); err != nil {
		return err
	}
	return x.finish(ctx, StepText{Deleted: c.Deleted, Waiting: c.Waiting})
}

// finish records that the request was executed, and what came of it.
func (x *execution) finish(ctx context.Context, text StepText) error {
	x.a.acting.Lock()
	defer x.a.acting.Unlock()
	if err := x.reload(); err != nil {
		return err
	}
	slices.SortFunc(x.out.Kept, func(x, y Kept) int { return int(x.Number - y.Number) })
	text.Kept, text.Destroyed = x.out.Kept[:min(len(x.out.Kept), maxKeptTold)], x.out.Destroyed
	if err := x.a.takeStep(ctx, x.agent, x.e, ExecutedStep, text); err != nil {
		return err
	}
	x.out.Entry = x.e.Steps[len(x.e.Steps)-1].Entry
	return nil
}
