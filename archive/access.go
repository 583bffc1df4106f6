package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
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
	stated  Purpose // as the log has it
	why     string  // in words, for the log
	at      string
	// handover: it is not for the reader, but leaves the archive for good. That is for archivists;
	// a derogation to read is not one to take away.
	handover bool
	granted  map[string][]*Act // derogations of the person, by tenant
	used     []string          // those by which units were open, since the last record of the log
}

// As gives a reader. It is for one person's requests one behind the other: what is granted is read
// once. What it gives out of units that tells of persons is in the log of accesses before (accesslog.go).
func (a *Archive) As(agent string, purpose retention.Purpose) *Reader {
	stated := Purpose(purpose)
	if purpose == retention.ToRead {
		stated = ForInstruction
	}
	return &Reader{a: a, agent: agent, purpose: purpose, stated: stated, at: now().Format(time.DateOnly), granted: map[string][]*Act{}}
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
	Units    []*Closed // at most maxClosedTold
	More     int
	Handover bool // not to read, but to take away
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
			switch b.Category {
			case byRole:
				rules = append(rules, "it names a person")
			case byRestriction:
				rules = append(rules, fmt.Sprintf("it is restricted (GDPR art. 18, act %s) and read for named purposes alone (--purpose), %s", b.Rule, until))
			default:
				rules = append(rules, fmt.Sprintf("%s %s of unit %s, %s", b.Category, cmp.Or(b.Rule, "without rule"), b.Unit, until))
			}
		}
		lines = append(lines, fmt.Sprintf("unit %s is not open for %s: %s", c.Unit, c.Purpose, strings.Join(rules, "; ")))
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more units", e.More))
	}
	if e.Handover {
		return strings.Join(append(lines, "only an archivist hands it over (roles in sae.yaml), with a derogation for what is classified"), "\n")
	}
	return strings.Join(append(lines, "who has a role that reads (roles in sae.yaml), or a derogation that an archivist gives (sae access grant), may read it"), "\n")
}

// Is makes it an ErrRefused.
func (e *NotOpenError) Is(target error) bool { return target == ErrRefused }

// closed says why a unit is not open; nil when it is. used are the derogations that open it.
func (r *Reader) closed(t *tx, h *heirs, u *Unit) (c *Closed, used []string, err error) {
	if strings.HasPrefix(u.Unit, messageID) {
		return r.closedMessage(t, h, u)
	}
	if strings.HasPrefix(u.Unit, subjectID) {
		return r.closedSubject(u)
	}
	bars, err := r.restrictedFor(h, u, u.Version)
	if err != nil {
		return nil, nil, err
	}
	if len(bars) > 0 { // no role reads round it, nor does a derogation
		return &Closed{Unit: u.Unit, Purpose: r.purpose, Bars: bars, From: retention.OpenFrom(bars)}, nil, nil
	}
	in, err := h.ofUnit(u)
	if err != nil {
		return nil, nil, err
	}
	if bars = retention.Bars(in, r.purpose, r.at); len(bars) == 0 {
		return nil, nil, nil
	}
	of, err := r.a.tenant(u.Tenant)
	if err != nil {
		return nil, nil, err
	}
	if r.hasRole(of) {
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
		if r.handover && b.Category == retention.Access {
			return false
		}
		i := slices.IndexFunc(acts, func(a *Act) bool { return slices.Contains(a.Categories, b.Category) })
		if i >= 0 {
			used = addMissing(used, []string{acts[i].ID})
		}
		return i >= 0
	})
	if len(bars) == 0 {
		r.used = addMissing(r.used, used)
		return nil, used, nil
	}
	return r.a.closedBy(u, r.purpose, bars), nil, nil
}

// closedBy says that a unit is closed by some rules, of which it tells what tells of nobody.
func (a *Archive) closedBy(u *Unit, purpose retention.Purpose, bars []retention.Bar) *Closed {
	c := &Closed{Unit: u.Unit, Purpose: purpose, Bars: slices.Clone(bars), From: retention.OpenFrom(bars)}
	for i, b := range bars {
		start, end := a.veiled(u.Tenant, b.Rule, b.Start), a.veiled(u.Tenant, b.Rule, b.End)
		if b.End != "" && end != b.End && b.End == c.From {
			c.From = end
		}
		c.Bars[i].Start, c.Bars[i].End = start, end
	}
	return c
}

// hasRole reports whether a role lets the reader read while an AccessRule runs. None does what is
// made public: that is for those whom the delays are for.
func (r *Reader) hasRole(of *Tenant) bool {
	roles := readingRoles
	if r.handover {
		roles = []Role{Archivist}
	}
	return r.purpose == retention.ToRead && of.has(r.agent, roles...)
}

// closedSubject says why the record of a data subject is not open: names are for who has a role that
// reads.
func (r *Reader) closedSubject(u *Unit) (*Closed, []string, error) {
	of, err := r.a.tenant(u.Tenant)
	if err != nil || of.mayIfNamed(r.agent, readingRoles...) == nil {
		return nil, nil, err
	}
	return &Closed{Unit: u.Unit, Purpose: r.purpose, Bars: []retention.Bar{{Category: byRole, Unit: u.Unit}}}, nil, nil
}

// closedMessage says why the manifest of a transfer is not open: it says all that its units say, so
// it is open when they all are.
func (r *Reader) closedMessage(t *tx, h *heirs, record *Unit) (c *Closed, used []string, err error) {
	err = t.unitsOf(record.record.Entry, func(id string) (bool, error) {
		u, err := r.a.unit(t, id, 0)
		if err != nil {
			return false, err
		}
		one, acts, err := r.closed(t, h, u)
		if err != nil {
			return false, err
		}
		used = addMissing(used, acts)
		if one == nil {
			return true, nil
		}
		if c == nil {
			c = &Closed{Unit: record.Unit, Purpose: r.purpose}
		}
		c.Bars = addMissing(c.Bars, one.Bars)
		return len(c.Bars) < maxClosedTold, nil
	})
	if err != nil || c == nil {
		return nil, used, err
	}
	if len(c.Bars) < maxClosedTold { // else there may be later ones
		c.From = retention.OpenFrom(c.Bars)
	}
	return c, nil, nil
}

// addMissing appends what is not there yet.
func addMissing[T comparable](to, more []T) []T {
	for _, x := range more {
		if !slices.Contains(to, x) {
			to = append(to, x)
		}
	}
	return to
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
	if err := r.a.knows("unit", unit); err != nil {
		return nil, err
	}
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

// mayVersion is may of a version of a unit.
func (r *Reader) mayVersion(unit string, version int) error {
	return r.a.cat.view(func(t *tx) error {
		c, err := r.closedVersion(t, unit, version)
		if err == nil && c != nil {
			err = &NotOpenError{Units: []*Closed{c}}
		}
		return err
	})
}

// Unit gives a version of a unit, 0 the last; of one that is not open, as it is now, what tells
// nothing about anybody.
func (r *Reader) Unit(id string, version int) (*Unit, error) {
	if err := r.a.knows("unit", id); err != nil {
		return nil, err
	}
	u, err := r.a.UnitVersion(id, version)
	if err != nil {
		return nil, err
	}
	err = r.a.cat.view(func(t *tx) error {
		c, err := r.closedVersion(t, id, u.Version)
		if err == nil && c != nil {
			u = r.a.withheld(u, c)
		}
		return err
	})
	switch {
	case err != nil:
	case u.Closed != nil:
		err = r.log(u.Tenant, VerbShow, WasRefused, []string{id}, nil)
	default:
		err = r.logRead(u.Tenant, VerbShow, []string{id})
	}
	if err != nil {
		return nil, err
	}
	return u, nil
}

// closedVersion says why a version of a unit is not open: as the unit is now, and by what restricts
// the versions before one.
func (r *Reader) closedVersion(t *tx, id string, version int) (*Closed, error) {
	now, err := r.a.unit(t, id, 0)
	if err != nil {
		return nil, err
	}
	h := r.a.heirs(t, "", nil)
	c, _, err := r.closed(t, h, now)
	if err != nil || c != nil || version >= now.Version {
		return c, err
	}
	bars, err := r.restrictedFor(h, now, version)
	if err != nil || len(bars) == 0 {
		return nil, err
	}
	return &Closed{Unit: id, Purpose: r.purpose, Bars: bars, From: retention.OpenFrom(bars)}, nil
}

// shown is a unit as the reader may see it; nil is the archive itself.
func (r *Reader) shown(t *tx, h *heirs, u *Unit) (*Unit, error) {
	if r == nil {
		return u, nil
	}
	c, _, err := r.closed(t, h, u)
	if err != nil || c == nil {
		return u, err
	}
	return r.a.withheld(u, c), nil
}

// withheld is what of a unit tells nothing about anybody.
func (a *Archive) withheld(u *Unit, c *Closed) *Unit {
	d := u.Description
	for _, rule := range []**AppliedRule{&d.Rule, &d.AccessRule} {
		if *rule != nil {
			veiled := **rule
			veiled.StartDate = a.veiled(u.Tenant, veiled.Rule, veiled.StartDate)
			*rule = &veiled
		}
	}
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
	if page.Units, err = r.all(page.Units, f.Subject != ""); err == nil {
		err = r.logRead("", VerbList, openOnes(page.Units))
	}
	if err != nil {
		return Page{}, err
	}
	return page, nil
}

// Search is Archive.Search among what is open to the reader.
func (r *Reader) Search(tenant, words string, limit int) ([]*Unit, error) {
	units, err := r.a.search(tenant, words, limit, func(units []*Unit) ([]*Unit, error) { return r.all(units, true) })
	if err == nil {
		err = r.logRead("", VerbSearch, openOnes(units))
	}
	if err != nil {
		return nil, err
	}
	return units, nil
}

// Retention is Archive.Retention, without what somebody wrote when the unit is not open.
func (r *Reader) Retention(id, at string) (*Retention, error) {
	if err := r.a.knows("unit", id); err != nil {
		return nil, err
	}
	out, err := r.a.Retention(id, at)
	if err != nil {
		return nil, err
	}
	var closed *NotOpenError
	err = r.may(id)
	if err == nil {
		err = r.logRead("", VerbExplain, []string{id})
	}
	if err == nil {
		return out, nil
	}
	if !errors.As(err, &closed) {
		return nil, err
	}
	u, err := r.a.Unit(id)
	if err != nil {
		return nil, err
	}
	out.Title, out.Categories = "", maps.Clone(out.Categories)
	for c, in := range out.Categories {
		veiled := *in
		veiled.Rules = slices.Clone(in.Rules)
		for i := range veiled.Rules {
			rule := &veiled.Rules[i]
			rule.HoldOwner, rule.HoldReason = "", ""
			start, end := r.a.veiled(u.Tenant, rule.Rule, rule.Start), r.a.veiled(u.Tenant, rule.Rule, rule.End)
			if end != rule.End && rule.End == out.Assessment.Due {
				out.Assessment.Due = end
			}
			rule.Start, rule.End = start, end
		}
		out.Categories[c] = &veiled
	}
	out.Assessment.Reasons = slices.Clone(out.Assessment.Reasons)
	for i := range out.Assessment.Reasons {
		reason := &out.Assessment.Reasons[i]
		reason.Date = r.a.veiled(u.Tenant, reason.Rule, reason.Date)
	}
	return out, nil
}

// Due is Archive.Due, without titles and subjects of what is not open to the reader.
func (r *Reader) Due(ctx context.Context, tenant, at string, f func(DueUnit) error) error {
	of, err := r.a.tenant(tenant)
	if err != nil {
		return err
	}
	l := &listing[DueUnit]{r: r, tenant: of.ID, verb: VerbDue, f: f, open: func(u DueUnit) string { return r.toldOf(u.unit) }}
	return l.run(func() error { return r.a.due(ctx, tenant, at, r, l.add) })
}

// EachListed is Archive.EachListed, without titles of what is not open to the reader.
func (r *Reader) EachListed(ctx context.Context, request string, f func(ListedUnit) error) error {
	if err := r.a.knows("elimination", request); err != nil {
		return err
	}
	e, err := r.a.Elimination(request)
	if err != nil {
		return err
	}
	l := &listing[ListedUnit]{r: r, tenant: e.Tenant, verb: VerbRequest, f: f, open: func(u ListedUnit) string {
		if u.Title == "" {
			return ""
		}
		return u.Unit
	}}
	return l.run(func() error { return r.a.eachListed(ctx, request, r, l.add) })
}

// EachPaper is Archive.EachPaper, without titles of what is not open to the reader.
func (r *Reader) EachPaper(ctx context.Context, tenant string, f func(PaperUnit) error) error {
	of, err := r.a.tenant(tenant)
	if err != nil {
		return err
	}
	l := &listing[PaperUnit]{r: r, tenant: of.ID, verb: VerbPaper, f: f, open: func(u PaperUnit) string { return r.toldOf(u.unit) }}
	return l.run(func() error { return r.a.eachPaper(ctx, tenant, r, l.add) })
}

// Acts is Archive.Acts; for whom, of whom and why, for those who have a role that reads.
func (r *Reader) Acts(tenant string, kind ActKind) ([]*Act, error) {
	acts, err := r.a.Acts(tenant, kind)
	var told []string
	for _, act := range acts {
		if err == nil {
			err = r.hush(act)
		}
		if !act.Withheld {
			told = addMissing(told, act.Units)
		}
	}
	if err == nil {
		err = r.logRead("", VerbAct, told)
	}
	if err != nil {
		return nil, err
	}
	return acts, nil
}

// Act is Archive.ActOf; for whom, of whom and why, for those who have a role that reads.
func (r *Reader) Act(id string) (*Act, error) {
	if err := r.a.knows("act", id); err != nil {
		return nil, err
	}
	act, err := r.a.ActOf(id)
	if err == nil {
		err = r.hush(act)
	}
	if err == nil && !act.Withheld {
		err = r.logRead(act.Tenant, VerbAct, act.Units)
	}
	if err != nil {
		return nil, err
	}
	return act, nil
}

// hush withholds of an act what names persons, or tells of them.
func (r *Reader) hush(act *Act) error {
	of, err := r.a.tenant(act.Tenant)
	if err == nil && of.mayIfNamed(r.agent, readingRoles...) != nil {
		act.Person, act.Owner, act.Reason, act.Withheld = "", "", "", true
		act.Event, act.Day, act.Starts, act.Triggers = "", "", nil, nil // what happened, and when, may tell a birth or a death
	}
	return err
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
	if err := r.a.knows("object", id); err != nil {
		return nil, nil, err
	}
	o, err := r.a.Object(id)
	if err == nil {
		err = r.logRefused(VerbGet, r.may(o.Unit))
	}
	if err == nil {
		err = r.logRead("", VerbGet, []string{o.Unit})
	}
	if err != nil {
		return nil, nil, err
	}
	return r.a.Get(ctx, id, w)
}

// OpenObject is Archive.OpenObject of what is open to the reader.
func (r *Reader) OpenObject(ctx context.Context, id string) (*Object, *Reading, error) {
	if err := r.a.knows("object", id); err != nil {
		return nil, nil, err
	}
	o, err := r.a.Object(id)
	if err == nil {
		err = r.logRefused(VerbGet, r.may(o.Unit))
	}
	if err == nil {
		err = r.logRead("", VerbGet, []string{o.Unit})
	}
	if err != nil {
		return nil, nil, err
	}
	reading, err := r.a.openObject(ctx, o)
	return o, reading, err
}

// Proof is Archive.Proof of what is open to the reader: a bundle holds documents. That of an object
// describes its unit as it was when the object came. What was destroyed is nobody's secret.
func (r *Reader) Proof(ctx context.Context, id string, w io.Writer) error {
	if err := r.a.knows("unit", id); err != nil {
		return err
	}
	unit, err := id, error(nil)
	if o, failed := r.a.Object(id); failed == nil {
		unit, err = o.Unit, r.mayVersion(o.Unit, o.record.Version)
	} else {
		err = r.may(unit)
	}
	err = r.logRefused(VerbProof, err)
	if err == nil {
		err = r.logRead("", VerbProof, []string{unit})
	}
	var destroyed *DestroyedError
	if err != nil && !errors.As(err, &destroyed) && !(errors.Is(err, ErrNotFound)) {
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

// handingOver is the reader who gives units away.
func (r *Reader) handingOver() *Reader {
	out := *r
	out.handover, out.purpose = true, retention.ToRead
	return &out
}

// MayHandOver gives a *NotOpenError when units are not the reader's to give away.
func (r *Reader) MayHandOver(units []string) error {
	if err := r.a.knows("unit", units...); err != nil {
		return err
	}
	r, bad := r.handingOver(), &NotOpenError{Handover: true}
	err := r.a.cat.view(func(t *tx) error {
		h := r.a.heirs(t, "", nil)
		for _, id := range units {
			u, err := r.a.unit(t, id, 0)
			if err != nil {
				return err
			}
			c, _, err := r.closed(t, h, u)
			if err != nil {
				return err
			}
			bad.add(c)
		}
		return nil
	})
	if err == nil && len(bad.Units) > 0 {
		err = bad
	}
	return err
}

// add adds a unit that is not open; nil is none.
func (e *NotOpenError) add(c *Closed) {
	switch {
	case c == nil:
	case len(e.Units) < maxClosedTold:
		e.Units = append(e.Units, c)
	default:
		e.More++
	}
}

// deliveryReply is the message of a DIP: units to read. All others give them away.
const deliveryReply = "ArchiveDeliveryRequestReply"

// openOnly looks at the units of an export: it drops those that are not open to its reader, or
// refuses.
func (e *export) openOnly(t *tx) error {
	r := e.r.reader
	if r == nil {
		return nil
	}
	if e.r.Message != deliveryReply {
		r = r.handingOver()
	}
	h, bad, closed := e.a.heirs(t, "", nil), &NotOpenError{Handover: r.handover}, map[string]bool{}
	isOpen := func(u *Unit) (bool, error) {
		c, used, err := r.closed(t, h, u)
		e.derogations = addMissing(e.derogations, used)
		closed[u.Unit] = c != nil
		bad.add(c)
		return c == nil, err
	}
	var open []*Unit
	for _, u := range e.units {
		is, err := isOpen(u)
		if err != nil {
			return err
		}
		if is {
			open = append(open, u)
		}
	}
	for _, u := range open {
		if err := e.borrowOpen(t, u, closed, isOpen); err != nil {
			return err
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

// borrowOpen leaves a unit of an export those objects of others that are open: an object is under
// the rules of the unit that it was deposited with, whoever refers to it.
func (e *export) borrowOpen(t *tx, u *Unit, closed map[string]bool, isOpen func(*Unit) (bool, error)) error {
	var lent []SharedObject
	for _, s := range u.Shared {
		if _, known := closed[s.Unit]; !known {
			owner, err := e.a.unit(t, s.Unit, 0)
			if err == nil {
				_, err = isOpen(owner)
			}
			if err != nil {
				return err
			}
		}
		if !closed[s.Unit] {
			lent = append(lent, s)
		}
	}
	u.Shared = lent
	return nil
}
