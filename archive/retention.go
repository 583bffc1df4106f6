package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sae/retention"
	"sae/seda"
)

// What may become of a unit follows from the rules that it and the units above it declare, as
// their last versions say, and the schedule as it is. Nothing of it is stored: an index finds
// the units that declare a rule, by the day from which it runs, and all below them are looked at.

// declared is what a unit declares itself.
func declared(u *Unit, s *retention.Schedule) *retention.Declared {
	d := &retention.Declared{ID: u.Unit, Agency: u.Agency, Categories: map[retention.Category]*retention.DeclaredCategory{}}
	if u.SEDA == nil {
		if u.Rule != nil {
			d.Categories[retention.Appraisal] = plainRule(u.Rule, s)
		}
		if u.AccessRule != nil {
			d.Categories[retention.Access] = plainRule(u.AccessRule, s)
		}
		return d
	}
	for _, set := range u.SEDA.Rules {
		declareSet(d, set, s)
	}
	above := &retention.Declared{Categories: map[retention.Category]*retention.DeclaredCategory{}}
	for _, set := range u.SEDA.Defaults {
		declareSet(above, set, s)
	}
	d.Default(above)
	return d
}

func plainRule(r *AppliedRule, s *retention.Schedule) *retention.DeclaredCategory {
	c := &retention.DeclaredCategory{Rules: []retention.Applied{{Rule: r.Rule, Start: r.StartDate, End: endOf(s, r.Rule, r.StartDate, "")}}}
	if r.FinalAction != "" {
		c.Properties = []retention.Property{{Name: "FinalAction", Value: r.FinalAction}}
	}
	return c
}

func declareSet(d *retention.Declared, set seda.RuleSet, s *retention.Schedule) {
	if set.Category == seda.NeedAuthorization {
		d.Global = properties(set.Properties)
		return
	}
	c := &retention.DeclaredCategory{Prevent: set.Prevent, RefNonRules: set.RefNonRules, Properties: properties(set.Properties)}
	if set.FinalAction != "" {
		c.Properties = append(c.Properties, retention.Property{Name: "FinalAction", Value: set.FinalAction})
	}
	for _, r := range set.Rules {
		a := retention.Applied{Rule: r.ID, Start: dayOf(r.StartDate)}
		if h := r.Hold; h != nil {
			a.HoldEnd, a.HoldOwner, a.HoldReason = dayOf(h.EndDate), h.Owner, h.Reason
			a.HoldReassessing, a.HoldRearrange = dayOf(h.ReassessingDate), h.PreventRearrangement
		}
		a.End = endOf(s, r.ID, a.Start, a.HoldEnd)
		c.Rules = append(c.Rules, a)
	}
	d.Categories[retention.Category(set.Category)] = c
}

func properties(fields []seda.Field) (out []retention.Property) {
	for _, f := range fields {
		out = append(out, retention.Property{Name: f.Name, Value: f.Value})
	}
	return out
}

// dayOf is the day of an xsd:date or xsd:dateTime, without its time zone.
func dayOf(date string) string { return date[:min(len(date), len(time.DateOnly))] }

// endOf is the end of a rule by the schedule; "" for a rule that it does not have.
func endOf(s *retention.Schedule, rule, start, holdEnd string) string {
	r, _ := s.Last(rule) // one that has ended still holds what names it
	return retention.EndOf(r.Duration, start, holdEnd)
}

// heirs computes what applies to units, keeping what it found of those above them.
type heirs struct {
	a     *Archive
	t     *tx
	rules map[string]*retention.Schedule // by tenant, instead of those in force
	known map[string]*retention.Inheritance
	path  map[string]bool // those being computed
	acts  map[string]*Act // that were read
	// limits are restrictions of units, as far as they were looked for.
	limits map[string][]*Act
	// procedures are those of citizen files that were read, by tenant and code.
	procedures map[[2]string]*ProcedureVersion
}

// maxKept bounds the units that are kept.
const maxKept = 50_000

func (a *Archive) heirs(t *tx, tenant string, s *retention.Schedule) *heirs {
	h := &heirs{a: a, t: t, known: map[string]*retention.Inheritance{}, path: map[string]bool{}, acts: map[string]*Act{}, procedures: map[[2]string]*ProcedureVersion{}, rules: map[string]*retention.Schedule{}}
	if s != nil {
		h.rules[tenant] = s
	}
	return h
}

// procedure is the last version of a procedure.
func (h *heirs) procedure(tenant, id string) (p *ProcedureVersion, err error) {
	if p = h.procedures[[2]string{tenant, id}]; p == nil {
		if p, err = h.t.procedure(tenant, id); err == nil {
			h.procedures[[2]string{tenant, id}] = p
		}
	}
	return p, err
}

// of gives what applies to a unit.
func (h *heirs) of(id string) (*retention.Inheritance, error) {
	if in := h.known[id]; in != nil {
		return in, nil
	}
	u, err := h.a.unit(h.t, id, 0)
	if err != nil {
		return nil, err
	}
	return h.ofUnit(u)
}

func (h *heirs) ofUnit(u *Unit) (*retention.Inheritance, error) {
	if h.path[u.Unit] {
		return nil, &DamagedError{What: "unit", Where: u.Unit, Why: "it stands above itself"}
	}
	h.path[u.Unit] = true
	defer delete(h.path, u.Unit)
	var parents []*retention.Inheritance
	for _, p := range u.Parents {
		in, err := h.of(p)
		var destroyed *DestroyedError
		if errors.As(err, &destroyed) { // while the unit was being deposited: nothing comes from there
			continue
		}
		if err != nil {
			return nil, err
		}
		parents = append(parents, in)
	}
	s := h.rules[u.Tenant]
	if s == nil {
		s = h.a.schedule(u.Tenant)
	}
	acts, err := h.a.actsOn(h.t, u.Unit, h.acts)
	if err != nil {
		return nil, err
	}
	d := declared(u, s)
	applyActs(d, acts, s)
	in := retention.Inherit(d, parents)
	if len(h.known) >= maxKept {
		clear(h.known)
	}
	h.known[u.Unit] = in
	return in, nil
}

// Retention is what applies to a unit, and what may become of it on a day.
type Retention struct {
	Unit        string                                      `json:"unit"`
	Title       string                                      `json:"title"`
	Agency      string                                      `json:"originatingAgency,omitempty"`
	At          string                                      `json:"at"`
	Assessment  retention.Assessment                        `json:"assessment"`
	Categories  map[retention.Category]*retention.Inherited `json:"rules"`
	Global      []retention.InheritedProperty               `json:"global,omitempty"`
	Schedule    map[string]retention.Versioned              `json:"schedule"` // the rules that are named
	Unscheduled []string                                    `json:"unscheduled,omitempty"`
}

// Retention explains what applies to a unit on a day, YYYY-MM-DD.
func (a *Archive) Retention(id, at string) (*Retention, error) {
	if err := a.knows("unit", id); err != nil {
		return nil, err
	}
	if err := checkDay(at); err != nil {
		return nil, err
	}
	var out *Retention
	err := a.cat.view(func(t *tx) error {
		u, err := a.unit(t, id, 0)
		if err != nil {
			return err
		}
		in, err := a.heirs(t, "", nil).ofUnit(u)
		if err != nil {
			return err
		}
		out = &Retention{Unit: u.Unit, Title: u.Title, Agency: u.Agency, At: at, Assessment: retention.Appraise(in, at), Categories: in.Categories, Global: in.Global, Schedule: map[string]retention.Versioned{}}
		out.name(a.schedule(u.Tenant))
		return nil
	})
	return out, err
}

// name looks up the rules that are named.
func (r *Retention) name(s *retention.Schedule) {
	for _, c := range retention.Categories {
		for _, rule := range r.Categories[c].Rules {
			if v, ok := s.Last(rule.Rule); ok {
				r.Schedule[rule.Rule] = v
			} else if !slices.Contains(r.Unscheduled, rule.Rule) {
				r.Unscheduled = append(r.Unscheduled, rule.Rule)
			}
		}
	}
}

func checkDay(at string) error {
	if _, err := time.Parse(time.DateOnly, at); err != nil {
		return &Refusal{Problems: []string{fmt.Sprintf("%q is not a day: want YYYY-MM-DD", at)}}
	}
	return nil
}

// Index rows of rules: kind, keyed hash of tenant and rule, day on which it begins to run,
// leaf. The hash is shorter than that of other rows, so that the day has its place.
const (
	idxRule   = 'r'
	ruleHash  = 8
	noStart   = ^uint64(0) // the day of a rule without start
	secsOfDay = 24 * 60 * 60
)

func (a *Archive) rulePrefix(tenant, rule string) []byte {
	return a.indexPrefix(idxRule, tenant, rule)[:1+ruleHash]
}

// dayNumber counts days so that their order is that of their numbers.
func dayNumber(day string) uint64 {
	t, err := time.Parse(time.DateOnly, day)
	if err != nil {
		return noStart
	}
	return uint64(t.Unix()/secsOfDay + 1<<32)
}

// ruleIndex are the rows by which a unit is found under the rules that it declares.
func (a *Archive) ruleIndex(r *unitRecord, d *Description) (out []record) {
	u := &Unit{Description: *d}
	for _, c := range declared(u, a.schedule(r.Tenant)).Categories {
		for _, rule := range c.Rules {
			out = append(out, a.ruleRow(r, rule.Rule, rule.Start))
		}
	}
	return out
}

// ruleRow names the year alone of the day on which the rule starts to run: many start with a birth,
// a death or a decision, and rows are in clear. It finds a unit up to a year too early.
func (a *Archive) ruleRow(r *unitRecord, rule, start string) record {
	if start != "" {
		start = start[:min(len(start), 4)] + "-01-01"
	}
	key := append(a.rulePrefix(r.Tenant, rule), be64(dayNumber(start))...)
	return record{bktIndex, append(key, be64(r.deposited().Leaf)...), unitKey(r.Unit, r.Version)}
}

// declaring calls f for the units that declare a rule which began on a day in [from, to].
func (a *Archive) declaring(t *tx, tenant, rule string, from, to uint64, f func(unit string) error) error {
	prefix := a.rulePrefix(tenant, rule)
	end, err := t.end()
	if err != nil {
		return err
	}
	limit := prefixEnd(prefix)
	if to != noStart {
		limit = append(bytes.Clone(prefix), be64(to+1)...)
	}
	return t.scan(bktIndex, append(bytes.Clone(prefix), be64(from)...), limit, func(k, v []byte) (bool, error) {
		if indexLeaf(k) >= end {
			return true, nil
		}
		id, version := splitUnitKey(v)
		rec, _, err := t.unitRecord(id, 0)
		if errors.Is(err, ErrNotFound) { // a row that an archive from before still has
			return true, nil
		}
		if err == nil && rec.Version == version { // an older version's rules are not those of the unit
			err = f(id)
		}
		return err == nil, err
	})
}

// under calls f for a unit and all below it, each once over all calls with the same seen.
func (a *Archive) under(t *tx, id string, seen map[string]bool, f func(id string) error) error {
	stack := []string{id}
	for len(stack) > 0 {
		id := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[id] {
			continue
		}
		seen[id] = true
		if err := f(id); err != nil {
			return err
		}
		rec, _, err := t.unitRecord(id, 0)
		if err != nil {
			return err
		}
		below, err := a.children(t, rec)
		if err != nil {
			return err
		}
		slices.Reverse(below) // the first is taken next
		stack = append(stack, below...)
	}
	return nil
}

// candidates calls f for all units of which some appraisal rule may have ended by a day, or does in its
// year, each once.
func (a *Archive) candidates(ctx context.Context, t *tx, tenant string, s *retention.Schedule, at time.Time, f func(id string) error) error {
	seen := map[string]bool{}
	for _, r := range s.All() {
		latest, ok := r.Duration.Latest(at)
		if !ok || !r.Of(retention.Appraisal) {
			continue
		}
		err := a.declaring(t, tenant, r.ID, 0, dayNumber(latest.Format(time.DateOnly)), func(id string) error {
			return a.under(t, id, seen, func(id string) error {
				if err := ctx.Err(); err != nil {
					return err
				}
				return f(id)
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// DueUnit is a unit of which a retention is over.
type DueUnit struct {
	ID      string               `json:"id"`
	Title   string               `json:"title"`
	Agency  string               `json:"originatingAgency,omitempty"`
	Objects int                  `json:"objects"`
	Bytes   int64                `json:"bytes"`
	Rules   []string             `json:"rules"`
	Assess  retention.Assessment `json:"assessment"`

	unit *Unit
	over bool // some rule is: it is found by the year
}

// someOver reports whether an appraisal rule of a unit is over on a day.
func someOver(in *retention.Inheritance, at string) bool {
	return slices.ContainsFunc(in.Categories[retention.Appraisal].Rules, func(r retention.InheritedRule) bool { return r.End != "" && r.End <= at })
}

// ChosenBy reports whether a filter chooses the unit, by all but dates and states.
func (u *DueUnit) ChosenBy(f *Filter) bool { return f.chooses(u.unit) }

// Due calls f for every unit of a tenant with an appraisal rule that is over on a day,
// YYYY-MM-DD, whatever else keeps it: its assessment says so. Units that are damaged are passed over,
// and are the error at the end.
func (a *Archive) Due(ctx context.Context, tenant, at string, f func(DueUnit) error) error {
	return a.due(ctx, tenant, at, nil, f)
}

// due is Due as a reader may see it; nil is the archive itself.
func (a *Archive) due(ctx context.Context, tenant, at string, r *Reader, f func(DueUnit) error) error {
	of, err := a.tenant(tenant)
	if err != nil {
		return err
	}
	if err := checkDay(at); err != nil {
		return err
	}
	day, _ := time.Parse(time.DateOnly, at)
	s := a.schedule(of.ID)
	broken := &brokenUnits{}
	err = a.cat.view(func(t *tx) error {
		h := a.heirs(t, "", nil)
		one := func(id string) (d DueUnit, err error) {
			u, err := a.unit(t, id, 0)
			if err != nil {
				return d, err
			}
			in, err := h.ofUnit(u)
			if err != nil {
				return d, err
			}
			d = dueUnit(u, in, at)
			d.over = someOver(in, at)
			if d.unit, err = r.shown(t, h, u); err == nil {
				d.Title = d.unit.Title
			}
			return d, err
		}
		return a.candidates(ctx, t, of.ID, s, day, func(id string) error {
			d, err := one(id)
			switch {
			case err != nil:
				return broken.add(err)
			case !d.over:
				return nil
			}
			return f(d)
		})
	})
	return errors.Join(err, broken.err())
}

// maxDamageTold bounds the damaged units that an error names.
const maxDamageTold = 20

// brokenUnits gathers the damage met on a walk that goes on.
type brokenUnits struct {
	told []error
	all  int
}

// add gives the error back when it is no damage.
func (b *brokenUnits) add(err error) error {
	var damage *DamagedError
	if !errors.As(err, &damage) {
		return err
	}
	if b.all++; b.all <= maxDamageTold {
		b.told = append(b.told, err)
	}
	return nil
}

func (b *brokenUnits) err() error {
	if b.all > len(b.told) {
		return errors.Join(append(b.told, fmt.Errorf("and %d more damaged units: sae fsck", b.all-len(b.told)))...)
	}
	return errors.Join(b.told...)
}

func dueUnit(u *Unit, in *retention.Inheritance, at string) DueUnit {
	d := DueUnit{ID: u.Unit, Title: u.Title, Agency: u.Agency, Objects: len(u.Objects), Rules: []string{}, Assess: retention.Appraise(in, at), unit: u}
	for _, o := range u.Objects {
		d.Bytes += o.Size
	}
	for _, r := range in.Categories[retention.Appraisal].Rules {
		if !slices.Contains(d.Rules, r.Rule) {
			d.Rules = append(d.Rules, r.Rule)
		}
	}
	return d
}

// touched counts what a change of a rule does to the units under it.
func (a *Archive) touched(ctx context.Context, p *RulesPlan, c retention.Change) (RuleChange, error) {
	out := RuleChange{Change: c}
	today := now().Format(time.DateOnly)
	err := a.cat.view(func(t *tx) error {
		before, after := a.heirs(t, p.Tenant, p.before), a.heirs(t, p.Tenant, p.after)
		seen := map[string]bool{}
		return a.declaring(t, p.Tenant, c.ID, 0, noStart, func(id string) error {
			return a.under(t, id, seen, func(id string) error {
				out.Units++
				x, err := before.of(id)
				if err != nil {
					return err
				}
				y, err := after.of(id)
				if err != nil {
					return err
				}
				switch was, is := over(x, today), over(y, today); {
				case !was && is:
					out.Due++
				case was && !is:
					out.Later++
				}
				return ctx.Err()
			})
		})
	})
	return out, err
}

// over reports whether every retention of a unit is over, and there is one.
func over(in *retention.Inheritance, at string) bool {
	due := retention.Appraise(in, at).Due
	return due != "" && due <= at
}

// CalendarLine counts the units whose retention ends in a year, by what then becomes of them.
type CalendarLine struct {
	Year    int              `json:"year"` // 0: the end is not known, or never
	Units   int64            `json:"units"`
	Bytes   int64            `json:"bytes"`
	Actions map[string]int64 `json:"finalActions"` // units by final action
}

// Calendar counts a tenant's units by the year in which their retention ends.
func (a *Archive) Calendar(ctx context.Context, tenant string) ([]CalendarLine, error) {
	of, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	years := map[int]*CalendarLine{}
	err = a.cat.view(func(t *tx) error {
		h, last := a.heirs(t, "", nil), ""
		return t.eachUnit(func(r *unitRecord) error {
			if r.Tenant != of.ID || r.Unit == last || !isUnit(r.Unit) {
				return ctx.Err()
			}
			last = r.Unit // its other versions stand behind it
			u, err := a.unit(t, r.Unit, 0)
			if err != nil {
				return err
			}
			in, err := h.ofUnit(u)
			if err != nil {
				return err
			}
			countYear(years, dueUnit(u, in, "9999-12-31"), in)
			return ctx.Err()
		})
	})
	if err != nil {
		return nil, err
	}
	var out []CalendarLine
	for _, l := range years {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(x, y CalendarLine) int { return x.Year - y.Year })
	return out, nil
}

func countYear(years map[int]*CalendarLine, u DueUnit, in *retention.Inheritance) {
	year := 0
	if day, err := time.Parse(time.DateOnly, u.Assess.Due); err == nil {
		year = day.Year()
	}
	l := years[year]
	if l == nil {
		l = &CalendarLine{Year: year, Actions: map[string]int64{}}
		years[year] = l
	}
	l.Units++
	l.Bytes += u.Bytes
	action := ""
	for _, p := range in.Categories[retention.Appraisal].Properties {
		if p.Name != "FinalAction" {
			continue
		}
		if action != "" && action != p.Value {
			action = "several"
			break
		}
		action = p.Value
	}
	l.Actions[action]++
}

// isUnit tells units from the records of transfers.
func isUnit(id string) bool { return id[:1] == unitID }
