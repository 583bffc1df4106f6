package retention_test

import (
	"slices"
	"testing"

	"sae/retention"
)

// TestBars says for each purpose which rules stand against it: those of its categories that run, or
// of which nobody knows the end.
func TestBars(t *testing.T) {
	rule := func(id, end string) retention.Applied {
		return retention.Applied{Rule: id, Start: "2000-01-01", End: end}
	}
	top := retention.Inherit(&retention.Declared{ID: "top", Agency: "MDPH", Categories: map[retention.Category]*retention.DeclaredCategory{
		retention.Access:        {Rules: []retention.Applied{rule("A1", "2050-01-01"), rule("A2", "2020-01-01")}},
		retention.Dissemination: {Rules: []retention.Applied{rule("D", "")}},
		retention.Reuse:         {Rules: []retention.Applied{rule("R", "2030-01-01")}},
		retention.Appraisal:     {Rules: []retention.Applied{rule("DUA", "2090-01-01")}},
	}}, nil)
	below := retention.Inherit(&retention.Declared{ID: "below", Agency: "MDPH", Categories: map[retention.Category]*retention.DeclaredCategory{
		retention.Access:         {RefNonRules: []string{"A1"}, Rules: []retention.Applied{rule("A3", "2026-05-02")}},
		retention.Classification: {Properties: []retention.Property{{Name: "ClassificationLevel", Value: "Secret"}}},
	}}, []*retention.Inheritance{top})
	classified := func(authorised string) *retention.Inheritance {
		return retention.Inherit(&retention.Declared{ID: "classified", Categories: map[retention.Category]*retention.DeclaredCategory{
			retention.Classification: {Rules: []retention.Applied{rule("C", "2010-01-01")}, Properties: []retention.Property{{Name: "ClassificationLevel", Value: "Secret"}, {Name: "NeedReassessingAuthorization", Value: authorised}}},
		}}, nil)
	}
	level := func(id string, rules ...retention.Applied) *retention.Inheritance {
		return retention.Inherit(&retention.Declared{ID: id, Categories: map[retention.Category]*retention.DeclaredCategory{
			retention.Classification: {Rules: rules, Properties: []retention.Property{{Name: "ClassificationLevel", Value: "Secret"}}},
		}}, nil)
	}
	over := level("over", rule("C", "2010-01-01"))
	twoParents := retention.Inherit(&retention.Declared{ID: "child"}, []*retention.Inheritance{level("levelled"), over})
	relevelled := retention.Inherit(&retention.Declared{ID: "relevelled", Categories: map[retention.Category]*retention.DeclaredCategory{
		retention.Classification: {Properties: []retention.Property{{Name: "ClassificationLevel", Value: "Confidentiel"}}},
	}}, []*retention.Inheritance{over})
	for _, c := range []struct {
		in      *retention.Inheritance
		purpose retention.Purpose
		at      string
		rules   []string
		from    string
	}{
		{top, retention.ToRead, "2010-01-01", []string{"A1", "A2"}, "2050-01-01"},
		{top, retention.ToRead, "2020-01-01", []string{"A1"}, "2050-01-01"},
		{top, retention.ToRead, "2049-12-31", []string{"A1"}, "2050-01-01"},
		{top, retention.ToRead, "2050-01-01", nil, ""},
		{top, retention.ToPublish, "2060-01-01", []string{"D"}, ""},
		{top, retention.ToReuse, "2029-12-31", []string{"A1", "R"}, "2050-01-01"},
		{top, retention.ToReuse, "2050-01-01", nil, ""},
		{below, retention.ToRead, "2026-05-01", []string{"A3", ""}, ""},
		{below, retention.ToRead, "2026-05-02", []string{""}, ""},
		{classified("false"), retention.ToRead, "2010-01-01", nil, ""},
		{over, retention.ToRead, "2010-01-01", nil, ""},
		{twoParents, retention.ToRead, "2010-01-01", []string{""}, ""},
		{relevelled, retention.ToRead, "2010-01-01", nil, ""},
		{classified("true"), retention.ToRead, "2010-01-01", []string{"C"}, ""},
	} {
		bars := retention.Bars(c.in, c.purpose, c.at)
		var got []string
		for _, b := range bars {
			got = append(got, b.Rule)
		}
		slices.Sort(got)
		slices.Sort(c.rules)
		if !slices.Equal(got, c.rules) || retention.OpenFrom(bars) != c.from {
			t.Errorf("%s on %s: %q, open from %q, want %q, %q", c.purpose, c.at, got, retention.OpenFrom(bars), c.rules, c.from)
		}
	}
}
