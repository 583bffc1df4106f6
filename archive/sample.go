package archive

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sae/integrity"
	"sae/retention"
)

// Of units whose final action is Sort a sample is kept, and the rest may go. What is chosen
// among are the topmost units that declare the rule: files; what is in them follows.
// The seed is drawn, and entered into the ledger together with the root over the candidates,
// before anything is chosen: anyone who is given the candidates can choose again.

// SampleRequest says what to sort: the units that declare a rule, and of which every retention
// is over on a day.
type SampleRequest struct {
	Tenant string
	Rule   string
	At     string
	Picks  []string // kept whatever the method says
	Reason string
}

// Sampled is the outcome.
type Sampled struct {
	Act        string              `json:"act"`
	Rule       string              `json:"rule"`
	Method     *retention.Sampling `json:"method,omitempty"`
	Seed       string              `json:"seed"` // hex
	SeedEntry  int64               `json:"seedEntry"`
	Entry      int64               `json:"ledgerEntry"`
	Candidates int                 `json:"candidates"`
	Kept       []string            `json:"kept"`
}

// maxCandidates bounds what is sorted at once.
const maxCandidates = 100_000

// Sample sorts, on behalf of agent, who must be an archivist.
func (a *Archive) Sample(ctx context.Context, agent string, r SampleRequest) (*Sampled, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	of, err := a.tenant(r.Tenant)
	if err == nil {
		err = of.may(agent, Archivist)
	}
	if err == nil {
		err = checkDay(r.At)
	}
	if err != nil {
		return nil, err
	}
	rule, ok := a.schedule(of.ID).Rule(r.Rule)
	bad := &Refusal{}
	switch {
	case !ok:
		bad.addf("rule %q is not in the schedule of tenant %s", r.Rule, of.ID)
	case rule.FinalAction != retention.Sort:
		bad.addf("the final action of rule %s is %s, not Sort", r.Rule, rule.FinalAction)
	case rule.Sampling == nil && len(r.Picks) == 0:
		bad.addf("rule %s has no sampling method: give it one, or pick what is kept", r.Rule)
	case strings.TrimSpace(r.Reason) == "":
		bad.addf("no reason: say why")
	}
	checkText("reason", r.Reason, 10_000, bad)
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	a.acting.Lock() // what is chosen among must not be chosen among twice
	defer a.acting.Unlock()
	g, err := a.toSort(ctx, of, r)
	if err != nil {
		return nil, err
	}
	for _, id := range r.Picks {
		if len(g.tops[id]) != 1 || g.tops[id][0] != id {
			bad.addf("%s is picked, but is not one of the %d files that are to be sorted", id, len(g.candidates))
		}
	}
	if n := len(g.tops); n == 0 || n > maxCandidates {
		bad.addf("%d units under rule %s are to be sorted on %s: want 1 to %d", n, r.Rule, r.At, maxCandidates)
	}
	if err := bad.orNil(); err != nil {
		return nil, err
	}
	return a.sample(ctx, agent, of, rule, r, g)
}

// sorting is what is to be sorted.
type sorting struct {
	candidates []retention.Candidate // files, by identifier
	tops       map[string][]string   // of each unit, the files that it belongs to: itself for a file
}

// sample commits to the seed, chooses, and records what is kept and what may go.
func (a *Archive) sample(ctx context.Context, agent string, of *Tenant, rule retention.Versioned, r SampleRequest, g *sorting) (*Sampled, error) {
	var seed [32]byte
	rand.Read(seed[:])
	out := &Sampled{Rule: r.Rule, Method: rule.Sampling, Seed: hex.EncodeToString(seed[:]), Candidates: len(g.candidates)}
	var tree integrity.Recompute
	text := ActText{Rule: r.Rule, Reason: r.Reason, Seed: out.Seed}
	for _, c := range g.candidates {
		tree.Add([]byte(c.ID))
	}
	op := &operation{id: newID(opID), entry: integrity.Entry{Kind: integrity.SampleSeed, Tenant: of.ID, Agent: agentID(a.indexKey, agent)},
		detail: func(position) any {
			return integrity.SampleSeedDetail{Rule: r.Rule, RuleVersion: rule.Version, Candidates: int64(len(g.candidates)), Root: tree.Root(), Seed: out.Seed}
		}}
	pos, _, err := a.commit(ctx, op)
	if err != nil {
		return nil, fmt.Errorf("committing to the seed: %w", err)
	}
	out.SeedEntry = pos.entry
	keep := map[string]bool{}
	for _, id := range r.Picks {
		keep[id] = true
	}
	if rule.Sampling != nil {
		for _, i := range rule.Sampling.Choose(g.candidates, seed) {
			keep[g.candidates[i].ID] = true
		}
	}
	out.Kept = slices.Sorted(maps.Keys(keep))
	for id, tops := range g.tops {
		text.Units = append(text.Units, id)
		if slices.ContainsFunc(tops, func(top string) bool { return keep[top] }) {
			text.Kept = append(text.Kept, id)
		}
	}
	slices.Sort(text.Kept)
	act, err := a.decide(ctx, agent, of, SampleAct, text)
	if err != nil {
		return nil, err
	}
	out.Act, out.Entry = act.ID, act.Entry
	return out, nil
}

// toSort finds the units that declare the rule and are to be sorted.
func (a *Archive) toSort(ctx context.Context, of *Tenant, r SampleRequest) (*sorting, error) {
	g := &sorting{tops: map[string][]string{}}
	err := a.cat.view(func(t *tx) error {
		h, units := a.heirs(t, "", nil), map[string]*Unit{}
		err := a.declaring(t, of.ID, r.Rule, 0, noStart-1, func(id string) error {
			if units[id] != nil {
				return ctx.Err()
			}
			u, err := a.unit(t, id, 0)
			if err != nil {
				return err
			}
			in, err := h.ofUnit(u)
			if err == nil && retention.Appraise(in, r.At).Verdict == retention.ToSort {
				units[id] = u
			}
			if len(units) > maxCandidates {
				err = &Refusal{Problems: []string{fmt.Sprintf("more than %d units are to be sorted: sort those of one rule, or one year, at a time", maxCandidates)}}
			}
			return errors.Join(err, ctx.Err())
		})
		if err != nil {
			return err
		}
		tops := tops{a: a, t: t, units: units, known: map[string][]string{}}
		for _, id := range slices.Sorted(maps.Keys(units)) {
			if g.tops[id], err = tops.of(id); err != nil {
				return err
			}
			if len(g.tops[id]) != 1 || g.tops[id][0] != id {
				continue
			}
			c, err := a.candidate(t, units[id])
			if err != nil {
				return err
			}
			g.candidates = append(g.candidates, c)
		}
		return nil
	})
	return g, err
}

// tops finds, among some units, the topmost that stand above one of them, whatever stands between.
type tops struct {
	a     *Archive
	t     *tx
	units map[string]*Unit
	known map[string][]string
}

// of gives those above a unit; the unit itself when it is one of them and none is.
func (s *tops) of(id string) (out []string, err error) {
	if out, ok := s.known[id]; ok {
		return out, nil
	}
	rec, _, err := s.t.unitRecord(id, 0)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	for _, p := range rec.Parents {
		above, err := s.of(p)
		if err != nil {
			return nil, err
		}
		out = append(out, above...)
	}
	slices.Sort(out)
	if out = slices.Compact(out); len(out) == 0 && s.units[id] != nil {
		out = []string{id}
	}
	s.known[id] = out
	return out, nil
}

// candidate is a unit as sampling looks at it, with the bytes of all below it. Its birthday is
// its own field birthDate, when it has one.
func (a *Archive) candidate(t *tx, u *Unit) (retention.Candidate, error) {
	c := retention.Candidate{ID: u.Unit, Name: u.Title}
	c.Birthday, _ = time.Parse(time.DateOnly, dayOf(u.Custom["birthDate"]))
	for _, day := range []string{u.StartDate, u.EndDate} {
		if d, err := time.Parse(time.DateOnly, dayOf(day)); err == nil && c.Date.IsZero() {
			c.Date = d
		}
	}
	if c.Date.IsZero() && u.Rule != nil {
		c.Date, _ = time.Parse(time.DateOnly, u.Rule.StartDate)
	}
	err := a.under(t, u.Unit, map[string]bool{}, func(id string) error {
		rec, _, err := t.unitRecord(id, 0)
		if err != nil {
			return err
		}
		for _, o := range rec.Objects {
			r, _, err := t.objectRecord(o)
			if err != nil {
				return err
			}
			c.Bytes += r.Size
		}
		return nil
	})
	return c, err
}
