package retention

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// graph is a random graph of units: those of lower numbers are parents of those of higher ones.
type graph struct {
	units   []*Declared
	parents [][]int
}

func drawGraph(t *rapid.T) graph {
	var g graph
	rules := []string{"R1", "R2", "R3"}
	for i := range rapid.IntRange(1, 7).Draw(t, "units") {
		u := &Declared{ID: fmt.Sprint("u", i), Agency: rapid.SampledFrom([]string{"A", "B", ""}).Draw(t, "agency"), Categories: map[Category]*DeclaredCategory{}}
		for _, c := range []Category{Appraisal, Hold} {
			if rapid.Bool().Draw(t, "declares") {
				d := &DeclaredCategory{Prevent: rapid.IntRange(0, 4).Draw(t, "prevents") == 0}
				for _, r := range rules {
					switch rapid.IntRange(0, 4).Draw(t, r) {
					case 0:
						d.Rules = append(d.Rules, Applied{Rule: r, Start: "2000-01-01", End: rapid.SampledFrom([]string{"", "2010-01-01", "2030-01-01"}).Draw(t, "end")})
					case 1:
						if !d.Prevent {
							d.RefNonRules = append(d.RefNonRules, r)
						}
					}
				}
				if c == Appraisal && rapid.Bool().Draw(t, "decides") {
					d.Properties = []Property{{finalAction, rapid.SampledFrom([]string{"Keep", "Destroy"}).Draw(t, "action")}}
				}
				u.Categories[c] = d
			}
		}
		var parents []int
		for p := range i {
			if rapid.IntRange(0, 2).Draw(t, "parent") == 0 {
				parents = append(parents, p)
			}
		}
		g.units, g.parents = append(g.units, u), append(g.parents, parents)
	}
	return g
}

func (g *graph) inherit() []*Inheritance {
	var out []*Inheritance
	for i, u := range g.units {
		var above []*Inheritance
		for _, p := range g.parents[i] {
			above = append(above, out[p])
		}
		out = append(out, Inherit(u, above))
	}
	return out
}

// paths are all paths from a unit upwards.
func (g *graph) paths(i int) [][]int {
	out := [][]int{{i}}
	for _, p := range g.parents[i] {
		for _, rest := range g.paths(p) {
			out = append(out, append([]int{i}, rest...))
		}
	}
	return out
}

// naiveRules goes along every path and lets each unit on it stop what it stops.
func (g *graph) naiveRules(i int, c Category) map[string]bool {
	out := map[string]bool{}
	for _, path := range g.paths(i) {
		top := g.units[path[len(path)-1]]
		if top.Categories[c] == nil {
			continue
		}
		for _, r := range top.Categories[c].Rules {
			through := true
			for _, below := range path[:len(path)-1] {
				d := g.units[below].Categories[c]
				if d != nil && (d.Prevent || slices.Contains(d.RefNonRules, r.Rule) || slices.ContainsFunc(d.Rules, func(a Applied) bool { return a.Rule == r.Rule })) {
					through = false
				}
			}
			if through {
				out[fmt.Sprint(top.ID, " ", r.Rule, " ", r.End, " by ", path)] = true
			}
		}
	}
	return out
}

func TestInheritAsAlongEveryPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGraph(t)
		for i, in := range g.inherit() {
			for _, c := range []Category{Appraisal, Hold} {
				got := map[string]bool{}
				for _, r := range in.Categories[c].Rules {
					for _, p := range r.Paths {
						var path []int
						for _, id := range p {
							var n int
							fmt.Sscanf(id, "u%d", &n)
							path = append(path, n)
						}
						got[fmt.Sprint(r.Unit, " ", r.Rule, " ", r.End, " by ", path)] = true
					}
				}
				if want := g.naiveRules(i, c); !maps.Equal(got, want) {
					t.Fatalf("u%d %s: %v, want %v", i, c, got, want)
				}
			}
		}
	})
}

// TestOtherwise: a final action for want of another stands only where nobody said one, and is the
// unit's own there.
func TestOtherwise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGraph(t)
		before := g.inherit()
		i := rapid.IntRange(0, len(g.units)-1).Draw(t, "unit")
		u := g.units[i]
		if u.Categories[Appraisal] == nil {
			u.Categories[Appraisal] = &DeclaredCategory{}
		}
		said := len(u.Categories[Appraisal].Properties) > 0
		for _, p := range g.parents[i] {
			said = said || !u.Categories[Appraisal].Prevent && slices.ContainsFunc(before[p].Categories[Appraisal].Properties, func(p InheritedProperty) bool { return p.Agency == u.Agency })
		}
		u.Categories[Appraisal].Otherwise = Destroy
		var own []string
		for _, p := range g.inherit()[i].Categories[Appraisal].Properties {
			if p.Unit == u.ID {
				own = append(own, p.Value)
			}
		}
		was := slices.ContainsFunc(before[i].Categories[Appraisal].Properties, func(p InheritedProperty) bool { return p.Unit == u.ID })
		switch {
		case said && (len(own) > 0) != was:
			t.Fatalf("%s: own final actions %v", u.ID, own)
		case !said && !slices.Equal(own, []string{"Destroy"}):
			t.Fatalf("%s: own final actions %v, want Destroy", u.ID, own)
		}
	})
}

// TestNothingUndecidedIsDestroyed: what no final action of its own agency reaches is kept, and
// whatever a hold reaches, or a retention that runs, is not eliminable.
func TestNothingUndecidedIsDestroyed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGraph(t)
		for i, in := range g.inherit() {
			a := Appraise(in, "2020-01-01")
			if a.Verdict != Eliminable {
				continue
			}
			for _, r := range in.Categories[Appraisal].Rules {
				if r.End == "" || r.End > "2020-01-01" {
					t.Fatalf("u%d is eliminable while %+v runs", i, r)
				}
			}
			for _, p := range in.Categories[Appraisal].Properties {
				if p.Value != "Destroy" {
					t.Fatalf("u%d is eliminable with %+v", i, p)
				}
			}
			for _, h := range in.Categories[Hold].Rules {
				if h.End == "" || h.End > "2020-01-01" {
					t.Fatalf("u%d is eliminable while held: %+v", i, h)
				}
			}
			if len(in.Categories[Appraisal].Rules) == 0 || len(in.Categories[Appraisal].Properties) == 0 {
				t.Fatalf("u%d is eliminable without rule or final action", i)
			}
		}
	})
}

func TestAppraise(t *testing.T) {
	rule := func(unit, agency, id, end string) InheritedRule {
		return InheritedRule{From{unit, agency, nil}, Applied{Rule: id, End: end}}
	}
	action := func(unit, agency, value string) InheritedProperty {
		return InheritedProperty{From{unit, agency, nil}, Property{finalAction, value}}
	}
	for name, c := range map[string]struct {
		rules   []InheritedRule
		actions []InheritedProperty
		holds   []InheritedRule
		want    Verdict
		due     string
		reasons string
	}{
		"over":               {[]InheritedRule{rule("u", "A", "R", "2020-01-01")}, []InheritedProperty{action("u", "A", "Destroy")}, nil, Eliminable, "2020-01-01", ""},
		"over tomorrow":      {[]InheritedRule{rule("u", "A", "R", "2020-01-02")}, []InheritedProperty{action("u", "A", "Destroy")}, nil, NotDue, "2020-01-02", "RULE_RUNS"},
		"the longest holds":  {[]InheritedRule{rule("u", "A", "R", "2001-01-01"), rule("p", "A", "S", "2050-01-01")}, []InheritedProperty{action("u", "A", "Destroy")}, nil, NotDue, "2050-01-01", "RULE_RUNS"},
		"one never ends":     {[]InheritedRule{rule("u", "A", "R", "2001-01-01"), rule("p", "A", "S", "")}, []InheritedProperty{action("u", "A", "Destroy")}, nil, NotDue, "", "NO_END"},
		"keep":               {[]InheritedRule{rule("u", "A", "R", "2020-01-01")}, []InheritedProperty{action("u", "A", "Keep")}, nil, ToKeep, "2020-01-01", "FINAL_ACTION_KEEP"},
		"sort":               {[]InheritedRule{rule("u", "A", "R", "2020-01-01")}, []InheritedProperty{action("u", "A", "Sort")}, nil, ToSort, "2020-01-01", ""},
		"no rule":            {nil, []InheritedProperty{action("u", "A", "Destroy")}, nil, Unruled, "", "NO_RULE"},
		"nothing":            {nil, nil, nil, Unruled, "", ""},
		"two parents differ": {[]InheritedRule{rule("p", "A", "R", "2020-01-01")}, []InheritedProperty{action("p", "A", "Destroy"), action("q", "A", "Keep")}, nil, Conflict, "2020-01-01", "FINAL_ACTION_INCONSISTENCY"},
		"another agency's retention runs": {[]InheritedRule{rule("p", "A", "R", "2020-01-01"), rule("q", "B", "S", "2030-01-01")}, []InheritedProperty{action("p", "A", "Destroy"), action("q", "B", "Destroy")}, nil,
			Conflict, "2030-01-01", "RULE_RUNS KEEP_ACCESS_SP"},
		"another agency keeps": {[]InheritedRule{rule("p", "A", "R", "2020-01-01"), rule("q", "B", "S", "2010-01-01")}, []InheritedProperty{action("p", "A", "Destroy"), action("q", "B", "Keep")}, nil,
			Conflict, "2020-01-01", "FINAL_ACTION_KEEP KEEP_ACCESS_SP"},
		"both agencies agree": {[]InheritedRule{rule("p", "A", "R", "2020-01-01"), rule("q", "B", "S", "2010-01-01")}, []InheritedProperty{action("p", "A", "Destroy"), action("q", "B", "Destroy")}, nil, Eliminable, "2020-01-01", ""},
		"held":                {[]InheritedRule{rule("u", "A", "R", "2020-01-01")}, []InheritedProperty{action("u", "A", "Destroy")}, []InheritedRule{rule("p", "A", "H", "")}, Conflict, "2020-01-01", "HOLD"},
		"held until tomorrow": {[]InheritedRule{rule("u", "A", "R", "2020-01-01")}, []InheritedProperty{action("u", "A", "Destroy")}, []InheritedRule{rule("p", "A", "H", "2020-01-02")}, Conflict, "2020-01-01", "HOLD"},
		"was held":            {[]InheritedRule{rule("u", "A", "R", "2020-01-01")}, []InheritedProperty{action("u", "A", "Destroy")}, []InheritedRule{rule("p", "A", "H", "2020-01-01")}, Eliminable, "2020-01-01", ""},
	} {
		in := &Inheritance{Unit: "u", Categories: map[Category]*Inherited{Appraisal: {Rules: c.rules, Properties: c.actions}, Hold: {Rules: c.holds}}}
		got := Appraise(in, "2020-01-01")
		var codes []string
		for _, r := range got.Reasons {
			codes = append(codes, string(r.Code))
		}
		if got.Verdict != c.want || got.Due != c.due || strings.Join(codes, " ") != c.reasons {
			t.Errorf("%s: %+v, want %s %s %s", name, got, c.want, c.due, c.reasons)
		}
	}
}

func TestEndOf(t *testing.T) {
	ten := Duration{Count: 10, Unit: Years}
	for _, c := range []struct {
		d                    Duration
		start, holdEnd, want string
	}{
		{ten, "2000-01-01", "", "2010-01-01"}, {ten, "", "", ""}, {ten, "soon", "", ""}, {Duration{Unlimited: true}, "2000-01-01", "", ""},
		{Duration{}, "2000-01-01", "2005-01-01", "2005-01-01"}, {Duration{}, "2000-01-01", "", ""}, {Duration{Count: 9999, Unit: Years}, "2000-01-01", "", ""},
	} {
		if got := EndOf(c.d, c.start, c.holdEnd); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}
