package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sae/retention"
)

// Who may read what. While an AccessRule runs (Code du patrimoine art. L213-2) a unit is for those
// who have a role that reads, and for who has a derogation (art. L213-3); while a ClassificationRule
// runs, for who has a derogation for it alone. What is published or used again must be free of the
// rules on that, too. The Archive itself reads everything: it audits, exports on behalf of its own
// procedures, and serves a Reader.

// readingRoles may read while an AccessRule runs: its delays are for the public.
var readingRoles = []Role{Archivist, OriginatingAgency, ControlAuthority, DataProtection, Auditor}

// Reader reads as one person for one purpose.
type Reader struct {
	a       *Archive
	agent   string
	purpose retention.Purpose
	at      string
	granted map[string][]*Act // derogations of the person, by tenant
}

// As gives a reader. It is for one person's requests one behind the other: what is granted is read
// once.
func (a *Archive) As(agent string, purpose retention.Purpose) *Reader {
	return &Reader{a: a, agent: agent, purpose: purpose, at: now().Format(time.DateOnly), granted: map[string][]*Act{}}
}

// Closed says why a unit is not open to a reader.
type Closed struct {
	Unit    string            `json:"unit"`
	Purpose retention.Purpose `json:"purpose"`
	Bars    []retention.Bar   `json:"rules"`              // that stand against it
	From    string            `json:"openFrom,omitempty"` // day from which it is open; "" when that is not known
}

// NotOpenError says that units are not open to a reader. It matches ErrRefused.
type NotOpenError struct {
	Units []*Closed // at most maxClosedTold
	More  int
}

const maxClosedTold = 20

func (e *NotOpenError) Error() string {
	var lines []string
	for _, c := range e.Units {
		var rules []string
		for _, b := range c.Bars {
			until := "without a known end"
			if b.End != "" {
				until = "until " + b.End
			}
			rules = append(rules, fmt.Sprintf("%s %s of unit %s, %s", b.Category, orWord(b.Rule, "without rule"), b.Unit, until))
		}
		lines = append(lines, fmt.Sprintf("unit %s is not open for %s: %s", c.Unit, c.Purpose, strings.Join(rules, "; ")))
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more units", e.More))
	}
	return strings.Join(append(lines, "who has a role that reads (roles in sae.yaml), or a derogation that an archivist gives (sae access grant), may read it"), "\n")
}

func orWord(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// Is makes it an ErrRefused.
func (e *NotOpenError) Is(target error) bool { return target == ErrRefused }

// closed says why a unit is not open; nil when it is. used are the derogations that open it.
func (r *Reader) closed(t *tx, h *heirs, u *Unit) (c *Closed, used []string, err error) {
	in, err := h.ofUnit(u)
	if err != nil {
		return nil, nil, err
	}
	bars := retention.Bars(in, r.purpose, r.at)
	if len(bars) == 0 {
		return nil, nil, nil
	}
	of, err := r.a.config.tenant(u.Tenant)
	if err != nil {
		return nil, nil, err
	}
	if slices.ContainsFunc(readingRoles, func(role Role) bool { return slices.Contains(of.Roles[role], r.agent) }) {
		bars = slices.DeleteFunc(bars, func(b retention.Bar) bool { return b.Category == retention.Access })
	}
	if len(bars) == 0 {
		return nil, nil, nil
	}
	acts, err := r.derogations(t, u)
	if err != nil {
		return nil, nil, err
	}
	bars = slices.DeleteFunc(bars, func(b retention.Bar) bool {
		i := slices.IndexFunc(acts, func(a *Act) bool { return slices.Contains(a.Categories, b.Category) })
		if i >= 0 && !slices.Contains(used, acts[i].ID) {
			used = append(used, acts[i].ID)
		}
		return i >= 0
	})
	if len(bars) == 0 {
		return nil, used, nil
	}
	return &Closed{Unit: u.Unit, Purpose: r.purpose, Bars: bars, From: retention.OpenFrom(bars)}, nil, nil
}

// derogations are those of the person that cover a unit: given for it, or for one above it.
func (r *Reader) derogations(t *tx, u *Unit) (out []*Act, err error) {
	if _, read := r.granted[u.Tenant]; !read {
		r.granted[u.Tenant] = nil
		err := r.a.eachAct(t, u.Tenant, DerogationAct, func(act *Act) {
			if act.Ended == nil && act.Until > r.at && act.Person == r.agent {
				r.granted[u.Tenant] = append(r.granted[u.Tenant], act)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if len(r.granted[u.Tenant]) == 0 {
		return nil, nil
	}
	above := map[string]bool{u.Unit: true}
	for next := slices.Clone(u.Parents); len(next) > 0; next = next[1:] {
		if above[next[0]] {
			continue
		}
		above[next[0]] = true
		rec, _, err := t.unitRecord(next[0], 0)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		next = append(next, rec.Parents...)
	}
	for _, act := range r.granted[u.Tenant] {
		if slices.ContainsFunc(act.Units, func(id string) bool { return above[id] }) {
			out = append(out, act)
		}
	}
	return out, nil
}

// Explain says why a unit is not open to the reader, on the day of the reader or another; nil when
// it is.
func (r *Reader) Explain(unit, at string) (c *Closed, err error) {
	if at != "" {
		if err := checkDay(at); err != nil {
			return nil, err
		}
		r.at = at
	}
	err = r.a.cat.view(func(t *tx) error {
		u, err := r.a.unit(t, unit, 0)
		if err == nil {
			c, _, err = r.closed(t, r.a.heirs(t, "", nil), u)
		}
		return err
	})
	return c, err
}

// may gives a *NotOpenError when a unit is not open.
func (r *Reader) may(unit string) error {
	c, err := r.Explain(unit, "")
	if err == nil && c != nil {
		err = &NotOpenError{Units: []*Closed{c}}
	}
	return err
}

// Unit gives a version of a unit, 0 the last; of one that is not open, as it is now, what tells
// nothing about anybody.
func (r *Reader) Unit(id string, version int) (*Unit, error) {
	u, err := r.a.UnitVersion(id, version)
	if err != nil {
		return nil, err
	}
	err = r.a.cat.view(func(t *tx) error {
		now, err := r.a.unit(t, id, 0)
		if err != nil {
			return err
		}
		c, _, err := r.closed(t, r.a.heirs(t, "", nil), now)
		if err == nil && c != nil {
			u = u.withheld(c)
		}
		return err
	})
	return u, err
}

// shown is a unit as the reader may see it.
func (r *Reader) shown(t *tx, h *heirs, u *Unit) (*Unit, error) {
	c, _, err := r.closed(t, h, u)
	if err != nil || c == nil {
		return u, err
	}
	return u.withheld(c), nil
}

// withheld is what of a unit tells nothing about anybody.
func (u *Unit) withheld(c *Closed) *Unit {
	d := &u.Description
	out := &Unit{Operation: u.Operation, Archived: u.Archived, Entry: u.Entry, Revised: u.Revised, Sealed: u.Sealed, Children: u.Children, Closed: c, record: u.record}
	out.Description = Description{Form: d.Form, Unit: d.Unit, Version: d.Version, Level: d.Level, Tenant: d.Tenant, Agreement: d.Agreement, Agency: d.Agency, Channel: d.Channel,
		Rule: d.Rule, AccessRule: d.AccessRule, Parents: d.Parents, Received: d.Received}
	for _, o := range d.Objects {
		out.Objects = append(out.Objects, DescribedObject{ID: o.ID, Usage: o.Usage, Size: o.Size, Format: Format{PUID: o.Format.PUID}})
	}
	return out
}

// List is Archive.List as the reader may see it. Units that are not open are left out when it is
// asked for a subject: that they are hers tells something.
func (r *Reader) List(f Filter) (Page, error) {
	page, err := r.a.List(f)
	if err != nil {
		return page, err
	}
	page.Units, err = r.all(page.Units, f.Subject != "")
	return page, err
}

// Search is Archive.Search among what is open to the reader.
func (r *Reader) Search(tenant, words string, limit int) ([]*Unit, error) {
	units, err := r.a.Search(tenant, words, limit)
	if err != nil {
		return nil, err
	}
	return r.all(units, true)
}

// all are units as the reader may see them, or only those that are open.
func (r *Reader) all(units []*Unit, open bool) ([]*Unit, error) {
	out := make([]*Unit, 0, len(units))
	err := r.a.cat.view(func(t *tx) error {
		h := r.a.heirs(t, "", nil)
		for _, u := range units {
			s, err := r.shown(t, h, u)
			if err != nil {
				return err
			}
			if s.Closed == nil || !open {
				out = append(out, s)
			}
		}
		return nil
	})
	return out, err
}

// Get is Archive.Get of what is open to the reader.
func (r *Reader) Get(ctx context.Context, id string, w io.Writer) (*Object, []Failure, error) {
	o, err := r.a.Object(id)
	if err == nil {
		err = r.may(o.Unit)
	}
	if err != nil {
		return nil, nil, err
	}
	return r.a.Get(ctx, id, w)
}

// Proof is Archive.Proof of what is open to the reader: a bundle holds documents. What was
// destroyed is nobody's secret.
func (r *Reader) Proof(ctx context.Context, id string, w io.Writer) error {
	unit := id
	if o, err := r.a.Object(id); err == nil {
		unit = o.Unit
	}
	var destroyed *DestroyedError
	if err := r.may(unit); err != nil && !errors.As(err, &destroyed) && !(errors.Is(err, ErrNotFound)) {
		return err
	}
	return r.a.Proof(ctx, id, w)
}

// Export is Archive.Export of what is open to the reader: units that are not are an error that
// names them, or with OpenOnly left out.
func (r *Reader) Export(ctx context.Context, request ExportRequest, w Files) (*ExportOutcome, error) {
	request.reader = r
	return r.a.Export(ctx, r.agent, request, w)
}

// openOnly looks at the units of an export: it drops those that are not open to its reader, or
// refuses.
func (e *export) openOnly(t *tx) error {
	if e.r.reader == nil {
		return nil
	}
	h, bad := e.a.heirs(t, "", nil), &NotOpenError{}
	var open []*Unit
	for _, u := range e.units {
		c, used, err := e.r.reader.closed(t, h, u)
		if err != nil {
			return err
		}
		for _, act := range used {
			if !slices.Contains(e.derogations, act) {
				e.derogations = append(e.derogations, act)
			}
		}
		switch {
		case c == nil:
			open = append(open, u)
		case len(bad.Units) < maxClosedTold:
			bad.Units = append(bad.Units, c)
		default:
			bad.More++
		}
	}
	e.left = len(bad.Units) + bad.More
	if e.left == 0 {
		return nil
	}
	if !e.r.OpenOnly || len(open) == 0 {
		return bad
	}
	clear(e.seen)
	for i, u := range open {
		e.seen[u.Unit] = i
	}
	e.units = open
	return nil
}
