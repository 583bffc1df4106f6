package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sae/integrity"
	"sae/retention"
)

// Erasure (GDPR art. 17) destroys units as eliminations do, under a decision of the data-protection
// officer instead of agreement and visa. Before it, each unit is looked at: what is kept by law while
// its retention runs (art. 17(3)(b)), what is archived for ever in the public interest (art. 17(3)(d),
// art. 89) and what is needed for legal claims (art. 17(3)(e)) stays. When all units of a subject are
// gone, so are its record and what its requests said.

// Why a unit stays that its rules let go.
const (
	whyOthers  retention.ErasureReason = "OTHER_PERSONS" // it concerns other persons, too
	whyBelow   retention.ErasureReason = keptChildren
	whyOfficer retention.ErasureReason = "OFFICER" // the data-protection officer decided so
)

// ErasureFinding is what is found of a unit. It names nobody.
type ErasureFinding struct {
	Number  int64                    `json:"number"`
	Unit    string                   `json:"unit"`
	Version int                      `json:"version"`
	Verdict retention.ErasureVerdict `json:"verdict"`
	Ground  string                   `json:"ground,omitempty"` // such as "17(3)(b)"
	Why     retention.ErasureReason  `json:"why,omitempty"`
	Rules   []string                 `json:"rules,omitempty"` // that keep it
	Date    string                   `json:"date,omitempty"`  // of ERASE_AT, and of a retention that runs
}

// OtherDecision is a decision on units that differs from what the analysis says.
type OtherDecision struct {
	Numbers []int64 `json:"numbers"`
	Ground  string  `json:"ground"`
}

// Analysis is what is found of all units that a request for erasure is about.
type Analysis struct {
	Members  []string         `json:"subjects,omitempty"` // whose files were looked at
	Findings []ErasureFinding `json:"findings"`
}

// AnalyseRequest looks at every unit that a request for erasure, or an objection, is about, and
// records what it finds, on behalf of agent.
func (a *Archive) AnalyseRequest(ctx context.Context, agent, id string) (*Request, *Analysis, error) {
	if err := a.knows("request", id); err != nil {
		return nil, nil, err
	}
	if a.readOnly {
		return nil, nil, ErrReadOnly
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	q, err := a.DataRequest(id)
	if err != nil {
		return nil, nil, err
	}
	if err := a.checkRequestStep(agent, q, RequestAnalysed); err != nil {
		return nil, nil, err
	}
	if !q.erases() {
		return nil, nil, &Refusal{Problems: []string{fmt.Sprintf("request %s is for %s: what can be erased is looked at for articles 17 and 21", id, Articles[q.Article])}}
	}
	an, err := a.analyse(ctx, q)
	if err != nil {
		return nil, nil, fmt.Errorf("analysing request %s: %w", id, err)
	}
	return q, an, a.takeRequestStep(ctx, agent, q, RequestAnalysed, RequestWords{Findings: an.Findings, Members: an.Members})
}

// analyse looks at the units of a request as they are now.
func (a *Archive) analyse(ctx context.Context, q *Request) (an *Analysis, err error) {
	err = a.cat.view(func(t *tx) error {
		an = &Analysis{}
		units, members, err := a.unitsOfRequest(ctx, t, q)
		if err != nil {
			return err
		}
		an.Members = members
		h, today := a.heirs(t, "", nil), now().Format(time.DateOnly)
		for i, id := range units {
			f, err := a.finding(t, h, id, members, today)
			if err != nil {
				return err
			}
			f.Number = int64(i + 1)
			an.Findings = append(an.Findings, f)
		}
		return a.leaningFindings(t, q.Tenant, an)
	})
	return an, err
}

// subjectOfRequest is the person whom a request is of: who was merged since is whom she was merged into.
func (a *Archive) subjectOfRequest(t *tx, q *Request) (*Subject, error) {
	id, err := a.whole(t, q.Subject)
	if err != nil {
		return nil, err
	}
	return a.subject(t, id)
}

// unitsOfRequest are the units that a request is about, each before those below it, and the subjects.
func (a *Archive) unitsOfRequest(ctx context.Context, t *tx, q *Request) (units, members []string, err error) {
	var tops []string
	if q.Subject != "" {
		s, err := a.subjectOfRequest(t, q)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, nil, err
		}
		if err == nil {
			members = append([]string{s.ID}, s.Merged...)
			for _, f := range s.Files {
				tops = append(tops, f.Unit)
			}
		}
	}
	seen := map[string]bool{}
	for _, top := range append(tops, q.Units...) {
		if _, _, err := t.unitRecord(top, 0); errors.Is(err, ErrNotFound) { // erased, or destroyed, since
			continue
		}
		err := a.under(t, top, seen, func(id string) error {
			units = append(units, id)
			if len(units) > maxErasure {
				return &Refusal{Problems: []string{fmt.Sprintf("more than %d units: name some of them in requests of their own", maxErasure)}}
			}
			return ctx.Err()
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return units, members, nil
}

// finding says what becomes of one unit, by itself.
func (a *Archive) finding(t *tx, h *heirs, id string, members []string, today string) (f ErasureFinding, err error) {
	u, err := a.unit(t, id, 0)
	if err != nil {
		return f, err
	}
	in, err := h.ofUnit(u)
	if err != nil {
		return f, err
	}
	e := retention.Erasable(in, today)
	f = ErasureFinding{Unit: id, Version: u.Version, Verdict: e.Verdict, Ground: e.Ground, Why: e.Why, Date: e.Date}
	if f.Verdict != retention.EraseNow {
		for _, r := range in.Categories[retention.Appraisal].Rules {
			f.Rules = addMissing(f.Rules, []string{r.Rule})
		}
	}
	others, err := a.others(t, u, members)
	if err == nil && others && f.Verdict == retention.EraseNow {
		f.Verdict, f.Ground, f.Why = retention.DontErase, "17(3)(b)", whyOthers
	}
	return f, err
}

// others reports whether a unit stands in a citizen file that concerns others than some subjects; than
// the one person who asks, when nobody says which subject that is.
func (a *Archive) others(t *tx, u *Unit, members []string) (bool, error) {
	seen := map[string]bool{}
	for next := []string{u.Unit}; len(next) > 0; next = next[1:] {
		if seen[next[0]] {
			continue
		}
		seen[next[0]] = true
		v, err := a.unit(t, next[0], 0)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return false, err
		}
		if v.File != nil {
			others := 0
			for _, p := range v.File.Persons {
				if _, _, err := t.unitRecord(p, 0); err == nil && !slices.Contains(members, p) {
					others++
				}
			}
			if others > 1 || others == 1 && len(members) > 0 {
				return true, nil
			}
		}
		next = append(next, v.Parents...)
	}
	return false, nil
}

// leaningFindings lets units stay that hold others which stay: a folder goes after what is in it, and
// an object after all that refer to it.
func (a *Archive) leaningFindings(t *tx, tenant string, an *Analysis) error {
	goes := map[string]bool{}
	for _, f := range an.Findings {
		goes[f.Unit] = f.Verdict == retention.EraseNow
	}
	for changed := true; changed; {
		changed = false
		for i := len(an.Findings) - 1; i >= 0; i-- { // what is below stands behind
			f := &an.Findings[i]
			if f.Verdict != retention.EraseNow {
				continue
			}
			reason, err := a.stays(t, &unitRecord{Unit: f.Unit, Tenant: tenant}, goes)
			if err != nil {
				return err
			}
			if reason != "" {
				f.Verdict, f.Ground, f.Why, goes[f.Unit], changed = retention.DontErase, "17(3)(b)", retention.ErasureReason(reason), false, true
			}
		}
	}
	return nil
}

// decideErasure freezes the list of what is erased, as an erasure of its own; the caller holds acting.
func (a *Archive) decideErasure(ctx context.Context, agent string, q *Request, d *Decision, w *RequestWords, bad *Refusal) error {
	analysed, err := a.RequestWords(q, RequestAnalysed)
	if err != nil {
		return err
	}
	an, err := a.analyse(ctx, q)
	if err != nil {
		return err
	}
	if !slices.Equal(mustJSON(an.Findings), mustJSON(analysed.Findings)) || !slices.Equal(an.Members, analysed.Members) {
		bad.addf("something changed since the analysis (a rule, a hold, a unit, a subject): analyse it again")
		return nil
	}
	if err := a.decideOtherwise(q, d, an, bad); err != nil || len(bad.Problems) > 0 {
		return err
	}
	var list []frozen
	for _, f := range an.Findings {
		switch f.Verdict {
		case retention.EraseNow:
			list = append(list, frozen{unit: f.Unit, version: f.Version})
		default:
			q.Grounds = addMissing(q.Grounds, []string{f.Ground})
		}
	}
	slices.Sort(q.Grounds)
	switch {
	case len(list) == 0 && (len(an.Findings) > 0 || len(an.Members) == 0): // without findings, what is left of the person is its record
		bad.addf("nothing of it can be erased now: refuse it, with the grounds of the analysis")
	case len(list) < len(an.Findings) && d.Outcome == Granted:
		bad.addf("%d of %d units stay: it is granted partly", len(an.Findings)-len(list), len(an.Findings))
	case len(list) == len(an.Findings) && d.Outcome == Partly:
		bad.addf("all units are erased: it is granted")
	}
	if len(bad.Problems) > 0 {
		return nil
	}
	w.Findings, w.Members = an.Findings, an.Members
	w.promise()
	q.Promised = w.Promised
	return a.freezeErasure(ctx, agent, q, list)
}

// decideOtherwise applies what the officer decides otherwise than the analysis.
func (a *Archive) decideOtherwise(q *Request, d *Decision, an *Analysis, bad *Refusal) error {
	twice := map[int64]bool{}
	for _, o := range []struct {
		all     []OtherDecision
		erase   bool
		grounds []string
	}{{d.Refuse, false, groundsOf[17]}, {d.Erase, true, unlawful}} {
		for _, other := range o.all {
			if !slices.Contains(o.grounds, other.Ground) {
				bad.addf("ground %q: want one of %s", other.Ground, strings.Join(o.grounds, ", "))
			}
			for _, n := range other.Numbers {
				if len(bad.Problems) >= maxNamed {
					return nil
				}
				if n < 1 || n > int64(len(an.Findings)) {
					bad.addf("number %d: the analysis has 1 to %d", n, len(an.Findings))
					continue
				}
				f, again := &an.Findings[n-1], twice[n]
				twice[n] = true
				switch {
				case again: // else what a hold keeps would be let go, once it is kept by the officer
					bad.addf("number %d is named twice: it is refused, or erased, on one ground", n)
				case !o.erase:
					f.Verdict, f.Ground, f.Why = retention.DontErase, other.Ground, whyOfficer
				case f.Why == retention.ErasureHeld:
					bad.addf("number %d is on hold: lift the hold, or the restriction, first", n)
				case f.Why == retention.ErasureDefinitive:
					bad.addf("number %d is kept for ever in the public interest (art. 17(3)(d), art. 89): it is not erased", n)
				default:
					f.Verdict, f.Ground, f.Why = retention.EraseNow, other.Ground, whyOfficer
				}
			}
		}
	}
	if len(bad.Problems) > 0 {
		return nil
	}
	return a.cat.view(func(t *tx) error { return a.leaningFindings(t, q.Tenant, an) })
}

// unlawful are the grounds on which a unit is erased although its retention runs: it should never have
// been there.
var unlawful = []string{"17(1)(d)", "17(1)(e)", "17(1)(f)"}

// freezeErasure writes the list of an erasure, and the decision that allows it.
func (a *Archive) freezeErasure(ctx context.Context, agent string, q *Request, list []frozen) error {
	if err := a.sweepElimination(); err != nil {
		return err
	}
	var err error
	if list, err = a.describeFrozen(list); err != nil {
		return err
	}
	e := &Elimination{ID: newID(eliminationID), Kind: ForErasure, Tenant: q.Tenant, At: now().Format(time.DateOnly), Units: int64(len(list)), Lines: linesOf(list), Root: rootOf(list), Request: q.ID, Article: q.Article}
	if err := a.writeList(ctx, e.ID, list); err != nil {
		return errors.Join(err, a.sweepElimination())
	}
	if err := a.takeStep(ctx, agent, e, Decided, StepText{}); err != nil {
		return errors.Join(err, a.sweepElimination())
	}
	q.Erasure = e.ID
	return nil
}

// describeFrozen adds to the units of a list what its lines sum up. They keep the order of the
// analysis but for that. Lines are in clear and stay: of the day on which a retention was over, which
// may tell a birth, they name the year alone.
func (a *Archive) describeFrozen(list []frozen) ([]frozen, error) {
	err := a.cat.view(func(t *tx) error {
		h, today := a.heirs(t, "", nil), now().Format(time.DateOnly)
		for i, f := range list {
			u, err := a.unit(t, f.unit, 0)
			if err != nil {
				return err
			}
			in, err := h.ofUnit(u)
			if err != nil {
				return err
			}
			d := dueUnit(u, in, today)
			list[i] = frozen{unit: f.unit, version: f.version, agency: u.Agency, rules: strings.Join(d.Rules, " "), objects: int64(d.Objects), bytes: d.Bytes, due: d.Assess.Due[:min(len(d.Assess.Due), 4)]}
		}
		return nil
	})
	sortFrozen(list)
	return list, err
}

// sweepErasures withdraws erasures of a request that a decision, which failed, left.
func (a *Archive) sweepErasures(ctx context.Context, agent string, q *Request) error {
	var left []*Elimination
	err := a.cat.view(func(t *tx) error {
		return t.eachElimination(func(e *Elimination) error {
			if e.Kind == ForErasure && e.Request == q.ID && e.open() {
				left = append(left, e)
			}
			return nil
		})
	})
	for _, e := range left {
		if err == nil {
			err = a.takeStep(ctx, agent, e, Withdrawn, StepText{})
		}
	}
	return err
}

// withdrawErasure gives up an erasure of which nothing is erased yet.
func (a *Archive) withdrawErasure(ctx context.Context, agent string, q *Request) error {
	e, err := a.Elimination(q.Erasure)
	if err != nil {
		return err
	}
	if e.State() == Withdrawn { // by a run before, which ended before the request was
		return nil
	}
	if e.Begun {
		return &Refusal{Problems: []string{"some of its units are erased already: carry it out to its end (sae request execute)"}}
	}
	return a.takeStep(ctx, agent, e, Withdrawn, StepText{})
}

// Erased is the outcome of an erasure.
type Erased struct {
	Executed
	Request string `json:"request"`
	// Subjects are the records of data subjects that went with their last file; Words reports
	// whether what the requests said was destroyed, too.
	Subjects []string `json:"subjects"`
	Words    bool     `json:"wordsDestroyed"`
	// Effective is the time from which nothing brings back what was erased, sealed copies of the root
	// key from before included.
	Effective time.Time `json:"effectiveFrom"`
}

// ExecuteErasure erases what a decision allows, on behalf of agent, who must be an archivist and not
// who decided. Every unit is looked at again before it goes: what a hold stands against is kept.
// Stopped at any point, it goes on from there when it is called again.
func (a *Archive) ExecuteErasure(ctx context.Context, agent, id string, progress func(erased int64)) (*Erased, error) {
	if err := a.knows("request", id); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	e, err := a.mayErase(agent, id)
	if err != nil {
		return nil, err
	}
	out := &Erased{Request: id, Subjects: []string{}, Executed: Executed{Elimination: e.ID, Kind: e.Kind}}
	if e.open() {
		done, err := a.execute(ctx, agent, e, nil, progress)
		if done != nil {
			out.Executed = *done
		}
		if err != nil {
			return out, err
		}
	}
	return out, a.finishErasure(ctx, agent, id, out)
}

// MayErase says what stands against carrying an erasure out now, for who wants to know before it is begun.
func (a *Archive) MayErase(agent, id string) error {
	_, err := a.mayErase(agent, id)
	return err
}

func (a *Archive) mayErase(agent, id string) (*Elimination, error) {
	q, err := a.DataRequest(id)
	if err != nil {
		return nil, err
	}
	if err := a.mayFinish(agent, q); err != nil {
		return nil, err
	}
	if q.Erasure == "" {
		return nil, &Refusal{Problems: []string{fmt.Sprintf("request %s allows no erasure", id)}}
	}
	if !q.took(RequestAnswered) {
		return nil, &Refusal{Problems: []string{fmt.Sprintf("request %s is not answered: when everything of a person is erased nobody knows any more where the answer goes. Send it first: sae request letter, sae request answer", id)}}
	}
	if err := a.checkRequest(q.Erasure); err != nil {
		return nil, err
	}
	e, err := a.Elimination(q.Erasure)
	if err == nil && (e.Kind != ForErasure || e.Request != q.ID) {
		err = damaged("request", q.ID, fmt.Errorf("%s %s is not its erasure", e.Kind, e.ID))
	}
	if err != nil {
		return nil, err
	}
	if e.State() == Withdrawn {
		return nil, &Refusal{Problems: []string{fmt.Sprintf("the erasure of request %s was withdrawn: withdraw the request", id)}}
	}
	return e, nil
}

// mayFinish refuses who may not carry out an erasure, also what is left of it: the record of the
// subject, and what the requests said, may have to wait for files that stay longer.
func (a *Archive) mayFinish(agent string, q *Request) error {
	if !q.took(RequestExecuted) || q.Purged != 0 {
		return a.checkRequestStep(agent, q, RequestExecuted)
	}
	before := *q
	before.Steps = slices.DeleteFunc(slices.Clone(q.Steps), func(s RequestStepTaken) bool { return s.Step == RequestExecuted })
	return a.checkRequestStep(agent, &before, RequestExecuted)
}

// finishErasure destroys the records of subjects of whom nothing is left, records that the request was
// carried out, and destroys what it said.
func (a *Archive) finishErasure(ctx context.Context, agent, id string, out *Erased) error {
	a.acting.Lock()
	defer a.acting.Unlock()
	q, err := a.DataRequest(id) // another run may have ended meanwhile
	if err == nil {
		err = a.mayFinish(agent, q)
	}
	if err != nil {
		return err
	}
	e, err := a.Elimination(q.Erasure)
	if err != nil {
		return err
	}
	if done, ok := e.step(ExecutedStep); ok && out.Entry == 0 {
		out.Entry, out.Destroyed = done.Entry, done.Destroyed
	}
	gone, err := a.forgettable(q)
	if err != nil {
		return err
	}
	if len(gone) > 0 {
		if err := a.forget(ctx, agent, e, gone); err != nil {
			return fmt.Errorf("erasing the record of the subject: %w", err)
		}
	}
	if !q.took(RequestExecuted) {
		if err := a.takeRequestStep(ctx, agent, q, RequestExecuted, RequestWords{}); err != nil {
			return err
		}
	}
	out.Subjects = append(out.Subjects, gone...)
	words, err := a.forgottenRequests(q)
	if err == nil && len(words) > 0 {
		out.Words = true
		err = a.purgeRequests(ctx, agent, q.Tenant, words)
	}
	if err == nil {
		out.Effective, err = a.erasedFrom(e, out.Subjects)
	}
	return err
}

// erasedFrom is the time from which what an erasure destroyed is beyond recovery.
func (a *Archive) erasedFrom(e *Elimination, subjects []string) (time.Time, error) {
	last := e.Steps[0].Time
	err := a.cat.view(func(t *tx) error {
		look := func(id string) error {
			row, err := t.tomb(id)
			if err == nil && row != nil && row.Time.After(last) {
				last = row.Time
			}
			return err
		}
		for _, id := range subjects {
			if err := look(id); err != nil {
				return err
			}
		}
		return t.eachOf(e.ID, func(_ int64, unit string, _ int) (bool, error) { err := look(unit); return err == nil, err })
	})
	if err != nil {
		return last, err
	}
	return a.EffectiveFrom(last)
}

// forgettable are the subjects of a request, and those merged into it, when no file of theirs is left.
func (a *Archive) forgettable(q *Request) (out []string, err error) {
	if q.Subject == "" {
		return nil, nil
	}
	err = a.cat.view(func(t *tx) error {
		s, err := a.subjectOfRequest(t, q)
		if errors.Is(err, ErrNotFound) { // by a run before
			return nil
		}
		if err == nil && len(s.Files) == 0 {
			out = append([]string{s.ID}, s.Merged...)
		}
		return err
	})
	return out, err
}

// forget destroys the records of subjects.
func (a *Archive) forget(ctx context.Context, agent string, e *Elimination, subjects []string) error {
	decided, _ := e.step(Decided)
	var all []*doomed
	err := a.cat.view(func(t *tx) error {
		for _, id := range subjects {
			d, err := a.doom(t, id, e.ID, decided.Entry, nil)
			if err != nil {
				return err
			}
			d.stone.Article = e.Article
			all = append(all, d)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return a.destroy(ctx, agent, e.Tenant, integrity.Erased, func(position) any {
		return integrity.DestroyedDetail{Under: e.ID, Visa: decided.Entry, Units: int64(len(all)), Article: e.Article}
	}, all, func(t *tx) error {
		for _, id := range subjects {
			err := t.indexed(a.indexPrefix(idxPerson, e.Tenant, id), 0, ^uint64(0), func(file string, _ int, _ uint64) (bool, error) {
				return false, &Refusal{Problems: []string{fmt.Sprintf("file %s of the subject was opened meanwhile: its record stays", file)}}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// forgottenRequests are those of which the words go with a request's subject: all of the same person,
// once the record is gone. Those that are still open keep theirs until they are ended.
func (a *Archive) forgottenRequests(q *Request) (out []string, err error) {
	err = a.cat.view(func(t *tx) error {
		if q.Subject != "" {
			if _, err := a.subject(t, q.Subject); !errors.Is(err, ErrNotFound) {
				return err
			}
		} else if units, _, err := a.unitsOfRequest(context.Background(), t, q); err != nil || len(units) > 0 {
			return err
		}
		return t.eachRequest(func(other *Request) error {
			if other.Purged == 0 && other.Ended() && (other.ID == q.ID || q.Subject != "" && a.sameSubject(t, other.Subject, q.Subject)) {
				out = append(out, other.ID)
			}
			return nil
		})
	})
	return out, err
}

// sameSubject reports whether two subjects are one, or were when they were destroyed together.
func (a *Archive) sameSubject(t *tx, x, y string) bool {
	if x == y {
		return true
	}
	one, err := t.tomb(x)
	two, failed := t.tomb(y)
	return err == nil && failed == nil && one != nil && two != nil && one.Entry == two.Entry
}

// purgeRequests destroys what requests said, under a new root key.
func (a *Archive) purgeRequests(ctx context.Context, agent, tenant string, ids []string) error {
	var requests []*Request
	d := &doomed{}
	err := a.cat.view(func(t *tx) error {
		for _, id := range ids {
			q, err := t.dataRequest(id)
			if err != nil {
				return err
			}
			for _, s := range q.Steps {
				if err := a.doomWords(t, d, s.Operation); err != nil {
					return err
				}
			}
			requests = append(requests, q)
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.after = func(p position) (out []record) {
		for _, q := range requests {
			q.Purged = p.entry
			out = append(out, record{bktReq, []byte(q.ID), mustJSON(q)})
		}
		return out
	}
	return a.destroy(ctx, agent, tenant, integrity.RequestPurged, func(position) any { return integrity.PurgedDetail{Requests: ids} }, []*doomed{d}, func(t *tx) error {
		for _, q := range requests {
			now, err := t.dataRequest(q.ID)
			if err == nil && len(now.Steps) != len(q.Steps) {
				err = errChanged
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// promises reports whether units that a request is about are still to be erased on a day that it names.
func (a *Archive) promises(ctx context.Context, q *Request) bool {
	if q.Promised == "" || q.took(RequestWithdrawn) {
		return false
	}
	left := false
	err := a.cat.view(func(t *tx) error {
		units, _, err := a.unitsOfRequest(ctx, t, q)
		left = len(units) > 0
		return err
	})
	return left || err != nil
}

// PurgeRequest destroys what an ended request said, on behalf of agent, the data-protection officer:
// its record stays, as codes. The archive holds nothing of the person any more but what stands in the
// files.
func (a *Archive) PurgeRequest(ctx context.Context, agent, id string) (*Request, error) {
	if err := a.knows("request", id); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	q, err := a.DataRequest(id)
	if err != nil {
		return nil, err
	}
	of, err := a.tenant(q.Tenant)
	if err == nil {
		err = of.may(agent, DataProtection)
	}
	switch {
	case err != nil:
		return nil, err
	case !q.Ended():
		return nil, &Refusal{Problems: []string{fmt.Sprintf("request %s is not ended: its words are needed", id)}}
	case q.Purged != 0:
		return nil, &Refusal{Problems: []string{fmt.Sprintf("the words of request %s were destroyed by ledger entry %d", id, q.Purged)}}
	case a.promises(ctx, q):
		return nil, &Refusal{Problems: []string{fmt.Sprintf("request %s promises that units are erased from %s on: with its words that would be forgotten; erase them first", id, q.Promised)}}
	}
	if err := a.purgeRequests(ctx, agent, q.Tenant, []string{id}); err != nil {
		return nil, err
	}
	return a.DataRequest(id)
}

// noDecidedErasure refuses what would change whose files an erasure is of, between its decision and
// its end.
func (a *Archive) noDecidedErasure(s *Subject, bad *Refusal) error {
	return a.cat.view(func(t *tx) error {
		return t.eachRequest(func(q *Request) error {
			if q.Erasure != "" && !q.Ended() && (q.Subject == s.ID || slices.Contains(s.Merged, q.Subject)) {
				bad.addf("an erasure of subject %s is decided (request %s): carry it out, or withdraw it, first", s.ID, q.ID)
			}
			return nil
		})
	})
}

// against says what stands against erasing a unit of a list, as things are now.
func (x *execution) againstErasing(t *tx, h *heirs, u *Unit, at string, goes map[string]bool) (reason string, reasons []retention.Reason, err error) {
	in, err := h.ofUnit(u)
	if err != nil {
		return "", nil, err
	}
	switch {
	case retention.HeldOn(in, at):
		return string(retention.ErasureHeld), retention.Appraise(in, at).Reasons, nil
	case u.Version != x.left[u.Unit].version:
		return keptVersion, nil, nil
	}
	if e := retention.Erasable(in, at); e.Verdict != retention.EraseNow && (!x.otherwise[u.Unit] || e.Why == retention.ErasureDefinitive) {
		return string(e.Why), retention.Appraise(in, at).Reasons, nil
	}
	reason, err = x.a.stays(t, &u.record, goes)
	return reason, nil, err
}

// decidedOtherwise are the units that the officer let go although their retention runs.
func (a *Archive) decidedOtherwise(t *tx, q *Request) (map[string]bool, error) {
	w, err := a.requestWords(t, q, RequestDecided)
	out := map[string]bool{}
	for _, f := range w.Findings {
		if f.Verdict == retention.EraseNow && f.Why == whyOfficer {
			out[f.Unit] = true
		}
	}
	return out, err
}
