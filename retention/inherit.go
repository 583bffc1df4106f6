package retention

import (
	"cmp"
	"slices"
	"time"
)

// Inheritance of rules over the graph of units, as SEDA 2.x declares it (PreventInheritance,
// RefNonRuleId) and the field's reference system computes it:
//
//   - a unit has its own rules, and those of its parents, along every path;
//   - in a category where it prevents inheritance it has its own alone;
//   - a rule that it declares itself, or names in RefNonRuleId, does not come from above;
//   - what somebody decided afterwards (a hold) comes down all the same;
//   - the same rule from two ancestors is two rules, each with its own dates;
//   - a property (FinalAction, ClassificationLevel...) comes from above unless the unit
//     has one of that name itself;
//   - a unit of an originating agency to which no FinalAction of that agency's comes has
//     FinalAction Keep of its own: what nobody decided on is not destroyed.

// Declared is what a unit declares itself.
type Declared struct {
	ID         string
	Agency     string // originating agency; "" for units of a classification scheme
	Categories map[Category]*DeclaredCategory
	Global     []Property // of no category: NeedAuthorization
}

// DeclaredCategory is what a unit declares in one category.
type DeclaredCategory struct {
	Rules       []Applied
	Properties  []Property
	Otherwise   FinalAction // final action when neither it nor anything above has one; "" is Keep
	Prevent     bool        // PreventInheritance
	RefNonRules []string    // RefNonRuleId
}

// Default adds what a transfer declares for all its units (SEDA ManagementMetadata) to one at its
// top. It comes as if from above, and is the unit's own.
func (u *Declared) Default(from *Declared) {
	for c, f := range from.Categories {
		d := u.Categories[c]
		if d == nil {
			d = &DeclaredCategory{}
			u.Categories[c] = d
		}
		if d.Prevent {
			continue
		}
		own := slices.Clone(d.Rules)
		for _, r := range f.Rules {
			if !slices.Contains(d.RefNonRules, r.Rule) && !slices.ContainsFunc(own, func(a Applied) bool { return a.Rule == r.Rule }) {
				d.Rules = append(d.Rules, r)
			}
		}
		d.Properties = addMissing(d.Properties, f.Properties)
	}
	u.Global = addMissing(u.Global, from.Global)
}

func addMissing(to, from []Property) []Property {
	for _, p := range from {
		if !slices.ContainsFunc(to, func(x Property) bool { return x.Name == p.Name }) {
			to = append(to, p)
		}
	}
	return to
}

// Applied is a rule as it applies to a unit.
type Applied struct {
	Rule  string `json:"rule"`
	Start string `json:"startDate,omitempty"` // YYYY-MM-DD
	End   string `json:"endDate,omitempty"`   // first day on which it is over; "" when that is not known, or never
	// Of a HoldRule:
	HoldEnd         string `json:"holdEndDate,omitempty"`
	HoldOwner       string `json:"holdOwner,omitempty"`
	HoldReason      string `json:"holdReason,omitempty"`
	HoldReassessing string `json:"holdReassessingDate,omitempty"`
	HoldRearrange   string `json:"preventRearrangement,omitempty"`
	// Decided: somebody decided so afterwards, and nothing that a unit declares keeps it from
	// coming down.
	Decided bool `json:"-"`
}

// Property is a named value beside rules.
type Property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// From says where something inherited comes from.
type From struct {
	Unit   string     `json:"unit"`
	Agency string     `json:"originatingAgency,omitempty"`
	Paths  [][]string `json:"paths"` // from the unit that inherits up to Unit, at most MaxPaths
}

// MaxPaths bounds the paths that are kept of each rule: a graph may have very many.
const MaxPaths = 32

// InheritedRule is a rule of a unit, its own or inherited.
type InheritedRule struct {
	From
	Applied
}

// InheritedProperty is a property of a unit, its own or inherited.
type InheritedProperty struct {
	From
	Property
}

// Inherited is all that applies to a unit in one category.
type Inherited struct {
	Rules      []InheritedRule     `json:"rules"`
	Properties []InheritedProperty `json:"properties"`
}

// Inheritance is all that applies to a unit. It is never changed.
type Inheritance struct {
	Unit, Agency string
	Categories   map[Category]*Inherited
	Global       []InheritedProperty
}

// Inherit gives what applies to a unit, of which all parents' are known.
func Inherit(u *Declared, parents []*Inheritance) *Inheritance {
	out := &Inheritance{Unit: u.ID, Agency: u.Agency, Categories: map[Category]*Inherited{}}
	for _, c := range Categories {
		d := u.Categories[c]
		if d == nil {
			d = &DeclaredCategory{}
		}
		in := &Inherited{Rules: ownRules(u, d), Properties: ownProperties(u, d.Properties)}
		out.Categories[c] = in
		above := parents
		if d.Prevent {
			above = nil
		}
		in.implicit(u, c, d.Otherwise, above)
		in.inherit(u, c, d, parents)
	}
	out.Global = ownProperties(u, u.Global)
	own := len(out.Global)
	for _, p := range parents {
		out.Global = addProperties(out.Global, own, u.ID, p.Global)
	}
	return out
}

func ownRules(u *Declared, d *DeclaredCategory) (out []InheritedRule) {
	for _, r := range d.Rules {
		out = append(out, InheritedRule{From{u.ID, u.Agency, [][]string{{u.ID}}}, r})
	}
	return out
}

func ownProperties(u *Declared, properties []Property) (out []InheritedProperty) {
	for _, p := range properties {
		out = append(out, InheritedProperty{From{u.ID, u.Agency, [][]string{{u.ID}}}, p})
	}
	return out
}

// implicit gives a unit the final action that nobody gave it.
func (in *Inherited) implicit(u *Declared, c Category, action FinalAction, parents []*Inheritance) {
	if c != Appraisal || u.Agency == "" && action == "" {
		return
	}
	decides := func(p InheritedProperty) bool { return p.Name == finalAction && p.Agency == u.Agency }
	if slices.ContainsFunc(in.Properties, decides) {
		return
	}
	for _, p := range parents {
		if slices.ContainsFunc(p.Categories[c].Properties, decides) {
			return
		}
	}
	in.Properties = append(in.Properties, ownProperties(u, []Property{{finalAction, string(cmp.Or(action, Keep))}})...)
}

const finalAction = "FinalAction"

// inherit adds what comes from the parents.
func (in *Inherited) inherit(u *Declared, c Category, d *DeclaredCategory, parents []*Inheritance) {
	own := len(in.Properties)
	for _, p := range parents {
		for _, r := range p.Categories[c].Rules {
			declared := slices.ContainsFunc(d.Rules, func(a Applied) bool { return a.Rule == r.Rule })
			if (declared || d.Prevent || slices.Contains(d.RefNonRules, r.Rule)) && !r.Decided {
				continue
			}
			i := slices.IndexFunc(in.Rules, func(x InheritedRule) bool { return x.Unit == r.Unit && x.Applied == r.Applied })
			if i < 0 {
				i = len(in.Rules)
				in.Rules = append(in.Rules, InheritedRule{From{r.Unit, r.Agency, nil}, r.Applied})
			}
			in.Rules[i].Paths = addPaths(in.Rules[i].Paths, u.ID, r.Paths)
		}
		if !d.Prevent {
			in.Properties = addProperties(in.Properties, own, u.ID, p.Categories[c].Properties)
		}
	}
}

// addProperties adds properties from above to those of a unit, of which the first own hide
// others of their name.
func addProperties(to []InheritedProperty, own int, unit string, from []InheritedProperty) []InheritedProperty {
	for _, p := range from {
		if slices.ContainsFunc(to[:own], func(x InheritedProperty) bool { return x.Name == p.Name }) {
			continue
		}
		i := slices.IndexFunc(to, func(x InheritedProperty) bool { return x.Unit == p.Unit && x.Name == p.Name })
		if i < 0 {
			i = len(to)
			to = append(to, InheritedProperty{From{p.Unit, p.Agency, nil}, p.Property})
		}
		to[i].Paths = addPaths(to[i].Paths, unit, p.Paths)
	}
	return to
}

// addPaths adds paths of a parent, each begun with the unit.
func addPaths(to [][]string, unit string, from [][]string) [][]string {
	for _, p := range from {
		if len(to) == MaxPaths {
			break
		}
		to = append(to, append([]string{unit}, p...))
	}
	return to
}

// EndOf is the day on which a rule that starts on a day is over: by the rule's duration; for a
// HoldRule without duration, by the hold's own end. It is "" when that is not known, or never.
func EndOf(d Duration, start, holdEnd string) string {
	if d.IsZero() {
		return holdEnd
	}
	day, err := time.Parse(time.DateOnly, start)
	if err != nil {
		return ""
	}
	end, ok := d.End(day)
	if !ok || end.Year() > 9999 {
		return ""
	}
	return end.Format(time.DateOnly)
}
