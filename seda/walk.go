package seda

import (
	"errors"
	"fmt"
	"slices"

	"sae/seda/scan"
)

// Unit is an archive unit of a transfer.
type Unit struct {
	ID         string       // XML id
	Line       int          // of its start tag
	Index      int          // among the units of the transfer, from 0
	Parents    []int        // by Index
	Objects    []UnitObject // those of its groups too
	Profile    string       // ArchiveUnitProfile
	Update     *Update      // it is a unit of the archive, not a new one
	Management []byte       // the element as XML; nil for none
	Content    []byte       // the element as XML
	Title      string       // the first
	Level      string       // DescriptionLevel
	StartDate  string
	EndDate    string
	Rules      []RuleSet // a set a category
	Fields     []Field
}

// Field is a metadata field by which a unit can be named: an identifier in Content, or
// its Title.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// UnitObject is a data object of a unit.
type UnitObject struct {
	Index int    // among Transfer.Objects
	Group string // XML id of its group, "" for none
	XML   []byte // the element
}

// Update says which unit of an archive a unit of a transfer is (UpdateOperation): the one
// with SystemID, or the only one with this Value of a metadata Field.
type Update struct{ SystemID, Field, Value string }

// RuleSet is what Management says of one category of rules (SEDA 2.x RuleType).
type RuleSet struct {
	Category    string   `json:"category"`
	Rules       []Rule   `json:"rules,omitempty"`
	FinalAction string   `json:"finalAction,omitempty"`
	Prevent     bool     `json:"preventInheritance,omitempty"`
	RefNonRules []string `json:"refNonRuleIds,omitempty"`
	Properties  []Field  `json:"properties,omitempty"` // ClassificationLevel and the like, in their order
}

// NeedAuthorization is the category under which Management's NeedAuthorization is given, which
// is of none: as the only property.
const NeedAuthorization = "NeedAuthorization"

// Rule is a management rule as it is declared.
type Rule struct {
	ID        string `json:"rule"`
	StartDate string `json:"startDate,omitempty"`
	Hold      *Hold  `json:"hold,omitempty"` // of a HoldRule that says more
}

// Hold is what a HoldRule says besides (SEDA 2.2 HoldRuleType).
type Hold struct {
	EndDate              string `json:"holdEndDate,omitempty"`
	Owner                string `json:"holdOwner,omitempty"`
	ReassessingDate      string `json:"holdReassessingDate,omitempty"`
	Reason               string `json:"holdReason,omitempty"`
	PreventRearrangement string `json:"preventRearrangement,omitempty"` // true or false
}

// Walk reads the units of a transfer that was checked and accepted, children before
// their parents. It keeps the graph and the declarations of data objects in memory,
// and of units one at a time.
func (t *Transfer) Walk(each func(*Unit) error) error {
	r, err := t.Package.Open(t.Package.Manifest)
	if err != nil {
		return fmt.Errorf("reading the manifest: %w", err)
	}
	defer r.Close()
	w := &walker{t: t, each: each, object: -1}
	w.prepare()
	var again Findings
	_, err = validate(r, t.c.o.Mode, w, &again, w.token)
	switch {
	case err != nil:
		return fmt.Errorf("reading the manifest: %w", err)
	case w.err != nil:
		return w.err
	case w.units != len(t.c.graph.units):
		return errors.New("reading the manifest: it has changed since it was checked")
	}
	return nil
}

type walker struct {
	t     *Transfer
	each  func(*Unit) error
	err   error
	units int // read so far

	stack  []*Unit
	object int // index of the data object that is open, or was last
	xml    packed
	rule   ruleReader
	rec    recorder
	record func(xml []byte) // takes what is recorded; nil when nothing is

	index   []int32 // by thing: of a unit, its index; else -1
	parents lists   // of units, by index
	groups  lists   // of objects, by thing
}

// prepare turns the graph round: parents of each unit, objects of each group.
func (w *walker) prepare() {
	g := &w.t.c.graph
	w.index = slices.Repeat([]int32{-1}, len(g.things))
	for i, n := range g.units {
		w.index[n] = int32(i)
	}
	w.parents = newLists(len(g.units), func(add func(list, item int32)) {
		for _, e := range g.edges {
			if child, parent := w.index[g.target(e.child)], w.index[e.parent]; child >= 0 && parent >= 0 {
				add(child, parent)
			}
		}
	})
	w.groups = newLists(len(g.things), func(add func(list, item int32)) {
		for i := range w.t.Objects {
			if o := &w.t.Objects[i]; o.Group >= 0 {
				add(o.Group, int32(i))
			}
		}
	})
}

// token goes on recording.
func (w *walker) token(v *validator, k scan.Kind) bool {
	if w.record != nil && w.rec.token(k) {
		w.record(w.rec.buf)
		w.record = nil
	}
	return w.err == nil
}

func (w *walker) keep(v *validator, take func([]byte)) {
	w.rec.begin(v.s, v.version.Namespace(), w.rec.buf[:0])
	w.record = take
}

func (w *walker) open(v *validator, f *frame) {
	if f.decl == nil {
		return
	}
	w.rule.open(f)
	switch f.decl.act {
	case actUnit:
		w.stack = append(w.stack, &Unit{ID: f.id, Line: v.s.Line(), Index: -1})
	case actContent:
		u := w.top()
		w.keep(v, func(xml []byte) { u.Content = slices.Clone(xml) })
	case actManagement:
		u := w.top()
		w.keep(v, func(xml []byte) { u.Management = slices.Clone(xml) })
	case actUpdate:
		w.top().Update = &Update{}
	case actBinary, actPhysical:
		if w.object++; w.object < len(w.t.Objects) {
			w.keep(v, w.xml.add)
		}
	}
}

func (w *walker) top() *Unit { return w.stack[len(w.stack)-1] }

func (w *walker) value(v *validator, f *frame, value []byte) {
	if f.decl == nil || len(w.stack) == 0 {
		return
	}
	u := w.top()
	w.rule.value(f, value)
	switch f.decl.act {
	case actTitle:
		if u.Title == "" {
			u.Title = string(value)
		}
		u.Fields = append(u.Fields, Field{f.decl.name, string(value)})
	case actField:
		u.Fields = append(u.Fields, Field{f.decl.name, string(value)})
	case actLevel:
		u.Level = string(value)
	case actStart:
		u.StartDate = string(value)
	case actEnd:
		u.EndDate = string(value)
	case actUnitProfile:
		u.Profile = string(value)
	case actUpdateID:
		u.Update.SystemID = string(value)
	case actUpdateField:
		u.Update.Field = string(value)
	case actUpdateValue:
		u.Update.Value = string(value)
	case actObjectRef, actGroupRef:
		if v.inUnit() {
			w.refer(u, value)
		}
	}
}

// refer gives a unit the objects that a DataObjectReference of its own names.
func (w *walker) refer(u *Unit, id []byte) {
	g := &w.t.c.graph
	n, ok := g.ids[string(id)]
	if !ok {
		return
	}
	if t := g.things[n]; t.kind == objectThing {
		w.give(u, int(t.ref), "")
		return
	} else if t.kind == groupThing && t.ref >= 0 {
		n = t.ref // a second name
	}
	for _, i := range w.groups.of(n) {
		w.give(u, int(i), g.names[n])
	}
}

func (w *walker) give(u *Unit, object int, group string) {
	if !slices.ContainsFunc(u.Objects, func(o UnitObject) bool { return o.Index == object }) {
		u.Objects = append(u.Objects, UnitObject{object, group, w.xml.get(object)})
	}
}

func (w *walker) close(v *validator, f *frame) {
	if f.decl == nil {
		return
	}
	if rules := w.rule.close(f); rules != nil && len(w.stack) > 0 {
		w.top().Rules = append(w.top().Rules, rules...)
	}
	if f.decl.act != actUnit {
		return
	}
	u := w.top()
	w.stack = w.stack[:len(w.stack)-1]
	n, known := w.t.c.graph.ids[u.ID]
	if u.Content == nil || !known || w.err != nil {
		return // it only refers to another
	}
	u.Index = int(w.index[n])
	if u.Index < 0 {
		w.err = errors.New("reading the manifest: it has changed since it was checked")
		return
	}
	for _, p := range w.parents.of(int32(u.Index)) {
		if !slices.Contains(u.Parents, int(p)) {
			u.Parents = append(u.Parents, int(p))
		}
	}
	w.units++
	w.err = w.each(u)
}

func (w *walker) identifier(*validator, idKind, []byte, *frame) {}

// ruleReader gathers the rules of a category.
type ruleReader struct {
	set RuleSet
}

func (r *ruleReader) open(f *frame) {
	if f.decl.act == actCategory {
		r.set = RuleSet{Category: f.decl.name}
	}
}

func (r *ruleReader) value(f *frame, value []byte) {
	v := string(value)
	switch f.decl.act {
	case actRule:
		r.set.Rules = append(r.set.Rules, Rule{ID: v})
	case actFinalAction:
		r.set.FinalAction = v
	case actPrevent:
		r.set.Prevent = isTrue(v)
	case actRefNonRule:
		r.set.RefNonRules = append(r.set.RefNonRules, v)
	case actNeedAuthorization:
		r.set = RuleSet{Category: NeedAuthorization, Properties: []Field{{NeedAuthorization, boolean(v)}}}
	case actRuleProperty:
		if f.decl.name == "NeedReassessingAuthorization" {
			v = boolean(v)
		}
		r.set.Properties = append(r.set.Properties, Field{f.decl.name, v})
	default:
		if n := len(r.set.Rules); n > 0 {
			r.set.Rules[n-1].value(f, v)
		}
	}
}

func (r *Rule) value(f *frame, v string) {
	hold := func() *Hold {
		if r.Hold == nil {
			r.Hold = &Hold{}
		}
		return r.Hold
	}
	switch f.decl.act {
	case actRuleStart:
		r.StartDate = v
	case actHoldEnd:
		hold().EndDate = v
	case actHoldOwner:
		hold().Owner = v
	case actHoldReassessing:
		hold().ReassessingDate = v
	case actHoldReason:
		hold().Reason = v
	case actHoldRearrangement:
		hold().PreventRearrangement = boolean(v)
	}
}

// isTrue reads an xsd:boolean.
func isTrue(v string) bool { return v == "true" || v == "1" }

func boolean(v string) string {
	if isTrue(v) {
		return "true"
	}
	return "false"
}

// close gives the rules of a category that ends.
func (r *ruleReader) close(f *frame) []RuleSet {
	if f.decl.act != actCategory && f.decl.act != actNeedAuthorization {
		return nil
	}
	set := r.set
	r.set = RuleSet{}
	return []RuleSet{set}
}
