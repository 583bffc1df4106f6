package archive

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"sae/archive/procedure"
	"sae/integrity"
)

// Rectification (GDPR art. 16) never rewrites what was sealed: what a document says is evidence of
// what was said. It adds a version of the unit with corrected metadata and a note, and the version
// before it can be restricted to named purposes.

// Correction is the note of a rectification.
type Correction struct {
	Version int       `json:"version"` // that it made
	Time    time.Time `json:"time"`
	Request string    `json:"request,omitempty"` // of a data subject, that asked for it
	Fields  []string  `json:"fields"`            // what was corrected
	Note    string    `json:"note"`
}

// Rectified says what to correct. Fields that are nil stay as they are.
type Rectified struct {
	Unit        string
	Title       *string
	Description *string
	StartDate   *string
	EndDate     *string
	Custom      map[string]string // fields of the procedure, or of the depositor's own; empty values are taken out
	Note        string
	Restrict    bool // the versions before it, but for named purposes
}

// ExecuteRectification corrects a unit as a decision on a request allows, on behalf of agent. A request
// may be about several units: it ends with EndExecution.
func (a *Archive) ExecuteRectification(ctx context.Context, agent, request string, r Rectified) (*Revision, error) {
	if err := a.knows("request", request); err != nil {
		return nil, err
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	q, err := a.executable(agent, request, 16)
	if err != nil {
		return nil, err
	}
	of, err := a.tenant(q.Tenant)
	if err != nil {
		return nil, err
	}
	u, err := a.Unit(r.Unit)
	if err == nil && (!isUnit(r.Unit) || u.Tenant != q.Tenant) {
		err = &Refusal{Problems: []string{"only units of the tenant are rectified so: of a subject, name its names and birth"}}
	}
	if err == nil {
		err = a.within(ctx, q, r.Unit)
	}
	if err == nil {
		err = a.checkRectified(u, &r)
	}
	if err != nil {
		return nil, err
	}
	rev, version := &Revision{Operation: u.record.Operation, Time: u.record.Time, Entry: u.record.Entry}, u.Version
	if r.done(u) { // by a run before, which ended before it restricted
		return rev, a.restrictBefore(ctx, agent, of, q, r.Unit, version)
	}
	rev, err = a.revise(ctx, agent, q.Tenant, revision{kind: integrity.Rectification, act: "rectified", request: q.ID, words: r.Note, changes: []change{{r.Unit, func(d *Description) error {
		r.apply(d, q.ID)
		return nil
	}}}})
	if err != nil || !r.Restrict {
		return rev, err
	}
	return rev, a.restrictBefore(ctx, agent, of, q, r.Unit, version+1)
}

// done reports whether a unit is corrected so already, and only what was before it is to be restricted.
func (r *Rectified) done(u *Unit) bool {
	d := u.Description
	r.apply(&d, "")
	return r.Restrict && u.Version > 1 && len(d.Corrections[len(d.Corrections)-1].Fields) == 0
}

// restrictBefore restricts the versions of a unit before one.
func (a *Archive) restrictBefore(ctx context.Context, agent string, of *Tenant, q *Request, unit string, version int) error {
	var acts []*Act
	err := a.cat.view(func(t *tx) (err error) { acts, err = a.actsOn(t, unit, nil); return err })
	if err != nil || slices.ContainsFunc(acts, func(act *Act) bool { return act.Kind == RestrictionAct && act.Before >= version && act.Request == q.ID }) {
		return err // by a run before
	}
	_, err = a.decide(ctx, agent, of, RestrictionAct, ActText{Units: []string{unit}, Reason: "rectified (GDPR art. 16)", Purposes: []Purpose{ForLegalClaims, ForDataSubject, ForAudit}, Before: version, Request: q.ID})
	return err
}

// within wants a unit to be one that a request is about.
func (a *Archive) within(ctx context.Context, q *Request, unit string) error {
	return a.cat.view(func(t *tx) error {
		units, _, err := a.unitsOfRequest(ctx, t, q)
		if err == nil && !slices.Contains(units, unit) {
			err = &Refusal{Problems: []string{"unit " + unit + " is not one that request " + q.ID + " is about"}}
		}
		return err
	})
}

// checkRectified holds a correction against what the unit is.
func (a *Archive) checkRectified(u *Unit, r *Rectified) error {
	bad := &Refusal{}
	if strings.TrimSpace(r.Note) == "" {
		bad.addf("no note: say what was wrong, and by what it is known")
	}
	checkText("note", r.Note, 100_000, bad)
	d := u.Description
	r.apply(&d, "")
	if n := len(d.Corrections); len(d.Corrections[n-1].Fields) == 0 && !r.done(u) {
		bad.addf("nothing changes: name what is to be corrected")
	}
	if d.Title == "" {
		bad.addf("a unit has a title")
	}
	checkText("title", d.Title, 10_000, bad)
	checkText("description", d.Description, 100_000, bad)
	checkDate("start date", d.StartDate, bad)
	checkDate("end date", d.EndDate, bad)
	for k, v := range d.Custom {
		checkText("field "+k, v, 100_000, bad)
	}
	err := a.cat.view(func(t *tx) error {
		fields, err := a.fieldsOf(t, u)
		if err == nil && fields != nil {
			bad.Problems = append(bad.Problems, procedure.Values(fields, d.Custom)...)
		}
		return err
	})
	if err != nil {
		return err
	}
	return bad.orNil()
}

// fieldsOf are the fields that its procedure gives a citizen file, or a document of one; nil for none.
func (a *Archive) fieldsOf(t *tx, u *Unit) ([]procedure.Field, error) {
	if u.File != nil {
		p, err := t.procedure(u.Tenant, u.File.Procedure)
		if err != nil {
			return nil, err
		}
		return append([]procedure.Field{}, p.Fields...), nil
	}
	if u.Document == "" || len(u.Parents) == 0 {
		return nil, nil
	}
	file, err := a.unit(t, u.Parents[0], 0)
	if err != nil || file.File == nil {
		return nil, err
	}
	p, err := t.procedure(u.Tenant, file.File.Procedure)
	if err != nil {
		return nil, err
	}
	if doc, ok := p.Document(u.Document); ok {
		return append([]procedure.Field{}, doc.Fields...), nil
	}
	return nil, nil
}

// apply corrects a description, which is not yet the next version, and adds the note.
func (r *Rectified) apply(d *Description, request string) {
	c := Correction{Version: d.Version + 1, Time: now(), Request: request, Fields: []string{}, Note: r.Note}
	for _, f := range []struct {
		name string
		to   *string
		from *string
	}{{"title", &d.Title, r.Title}, {"description", &d.Description, r.Description}, {"startDate", &d.StartDate, r.StartDate}, {"endDate", &d.EndDate, r.EndDate}} {
		if f.from != nil && *f.from != *f.to {
			*f.to = *f.from
			c.Fields = append(c.Fields, f.name)
		}
	}
	custom := maps.Clone(d.Custom)
	for _, k := range slices.Sorted(maps.Keys(r.Custom)) {
		v := r.Custom[k]
		if old, there := custom[k]; there && old == v || !there && v == "" {
			continue
		}
		if custom == nil {
			custom = map[string]string{}
		}
		if custom[k] = v; v == "" {
			delete(custom, k)
		}
		c.Fields = append(c.Fields, "custom."+k)
	}
	d.Custom, d.Corrections = custom, append(slices.Clone(d.Corrections), c)
}

// ExecuteSubjectRectification corrects names and birth of the subject of a request, on behalf of agent.
func (a *Archive) ExecuteSubjectRectification(ctx context.Context, agent, request string, data PersonData, reason string) (*Subject, error) {
	if err := a.knows("request", request); err != nil {
		return nil, err
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	q, err := a.executable(agent, request, 16)
	if err != nil {
		return nil, err
	}
	s, err := a.Subject(q.Subject)
	if err != nil {
		return nil, err
	}
	return a.rectifySubject(ctx, agent, s, q.ID, data, reason)
}

// ExecuteRestriction restricts what a request is about, as its decision allows, on behalf of agent:
// the subject's files and the units that it names, with all below them.
func (a *Archive) ExecuteRestriction(ctx context.Context, agent, request string, purposes []Purpose, reason string) (*Act, error) {
	if err := a.knows("request", request); err != nil {
		return nil, err
	}
	a.acting.Lock()
	defer a.acting.Unlock()
	q, err := a.executable(agent, request, 18)
	if err != nil {
		return nil, err
	}
	of, err := a.tenant(q.Tenant)
	if err != nil {
		return nil, err
	}
	tops := slices.Clone(q.Units)
	if q.Subject != "" {
		s, err := a.Subject(q.Subject)
		if err != nil {
			return nil, err
		}
		for _, f := range s.Files {
			tops = append(tops, f.Unit)
		}
	}
	if len(tops) == 0 {
		return nil, &Refusal{Problems: []string{"there is nothing to restrict: the subject has no file, and the request names no unit"}}
	}
	act, err := a.restrictedBy(q, tops, purposes)
	if err == nil && act == nil {
		act, err = a.decide(ctx, agent, of, RestrictionAct, ActText{Units: tops, Reason: reason, Purposes: purposes, Request: q.ID})
	}
	if err != nil {
		return nil, err
	}
	return act, a.takeRequestStep(ctx, agent, q, RequestExecuted, RequestWords{Reason: reason})
}

// restrictedBy is the restriction that a run before, which ended before it said so, set by a request; nil
// for none. A second one would stay when the first is lifted.
func (a *Archive) restrictedBy(q *Request, units []string, purposes []Purpose) (found *Act, err error) {
	units = slices.Compact(slices.Sorted(slices.Values(units)))
	err = a.cat.view(func(t *tx) error {
		acts, err := a.actsOn(t, units[0], nil)
		i := slices.IndexFunc(acts, func(act *Act) bool {
			return act.Kind == RestrictionAct && act.Request == q.ID && act.Before == 0 && slices.Equal(act.Units, units) && slices.Equal(act.Purposes, purposes)
		})
		if i >= 0 {
			found = acts[i]
		}
		return err
	})
	return found, err
}

// EndExecution records that a decision was carried out, on behalf of agent: of requests that are
// carried out in several steps, or outside of the archive.
func (a *Archive) EndExecution(ctx context.Context, agent, request, reason string) (*Request, error) {
	if err := a.knows("request", request); err != nil {
		return nil, err
	}
	return a.stepRequest(ctx, agent, request, RequestExecuted, RequestWords{Reason: reason}, func(q *Request, _ *RequestWords, bad *Refusal) error {
		if q.erases() {
			bad.addf("an erasure ends when it is carried out: sae request execute")
		}
		return nil
	})
}

// executable is a request of an article that agent may carry out.
func (a *Archive) executable(agent, id string, article int) (*Request, error) {
	if a.readOnly {
		return nil, ErrReadOnly
	}
	q, err := a.DataRequest(id)
	if err == nil {
		err = a.checkRequestStep(agent, q, RequestExecuted)
	}
	if err == nil && q.Article != article {
		err = &Refusal{Problems: []string{"request " + id + " is for " + Articles[q.Article] + ", not for " + Articles[article]}}
	}
	return q, err
}
