package retention

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const referentials = "../../shared/seda/expected/rules"

// TestReferentials reads the rule referentials that VITAM's tests accept and refuse.
func TestReferentials(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(referentials, "*.csv"))
	if err != nil || len(files) == 0 {
		t.Skip("no rule referentials in " + referentials)
	}
	says := map[string]string{
		"rules_ko_colonne_absente.csv":                                     "column RuleType is missing",
		"rules_ko_duration_negative.csv":                                   "want a number from 0",
		"rules_ko_holdrule_ruleMeasurement_non_vide_ruleDuration_vide.csv": "RuleDuration is empty",
		"rules_ko_holdrule_ruleMeasurement_vide_ruleDuration_non_vide.csv": "RuleMeasurement is empty",
		"rules_ko_ruleMeasurement_incorrect.csv":                           `RuleMeasurement "CENTURY"`,
		"rules_ko_ruleMeasurement_vide.csv":                                " is empty",
		"rules_ko_ruleType_vide.csv":                                       "RuleType is empty",
		"rules_ko_ruleValue_vide.csv":                                      "RuleValue is empty",
		"rules_ko_sans_id.csv":                                             "RuleId is empty",
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := ParseCSV(b)
		want := says[filepath.Base(path)]
		if strings.Contains(path, "_ko_") {
			if err == nil || !strings.Contains(err.Error(), "line ") || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", path, err, want)
			}
			continue
		}
		if err != nil || len(rules) < 60 {
			t.Errorf("%s: %d rules, %v", path, len(rules), err)
		}
		again, err := FormatCSV(rules)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseCSV(again); err != nil || !slices.EqualFunc(back, rules, func(x, y Rule) bool { return len(differ(x, y)) == 0 }) {
			t.Errorf("%s does not come back: %v", path, err)
		}
	}
}

func TestYAML(t *testing.T) {
	text := `rules:
  - id: A
    name: Dossier
    duration: P10Y
    trigger: last-decision
    final-action: Sort
    sampling: {every: 10}
    basis: "texte"
    status: to confirm
  - id: H
    category: HoldRule
  - id: C
    category: AccessRule
    duration: P0Y
`
	rules, err := ParseYAML([]byte(text))
	if err != nil || len(rules) != 3 || rules[0].Sampling.Every != 10 || rules[2].Duration.IsZero() || !rules[1].Duration.IsZero() {
		t.Fatalf("%+v %v", rules, err)
	}
	b, err := FormatYAML(rules)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := ParseYAML(b); err != nil || !slices.EqualFunc(back, rules, func(x, y Rule) bool { return len(differ(x, y)) == 0 }) {
		t.Errorf("%s %v", b, err)
	}
	for bad, says := range map[string]string{
		"rules: []": "0 rules", "rules:\n  - id: A\n": "no duration", "rules:\n  - id: A\n    duration: P1Y\n  - id: A\n    duration: P2Y\n": "there already",
		"rules:\n  - id: A\n    duration: 1Y\n": "duration", "rules:\n  - id: A\n    durée: P1Y\n": "durée", "x": "",
	} {
		if _, err := ParseYAML([]byte(bad)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestDiff(t *testing.T) {
	ten, five := Duration{Count: 10, Unit: Years}, Duration{Count: 5, Unit: Years}
	s := NewSchedule([]Versioned{{Rule: Rule{ID: "A", Duration: ten}, Version: 1}, {Rule: Rule{ID: "B", Duration: ten}, Version: 3}})
	rules := []Rule{{ID: "A", Category: Appraisal, Duration: ten}, {ID: "B", Duration: five, Basis: "x"}, {ID: "C", Duration: ten}}
	changes := s.Diff(rules, false)
	if len(changes) != 2 || changes[0].ID != "B" || !slices.Equal(changes[0].Fields, []string{"duration", "basis"}) || changes[1].What != "added" {
		t.Errorf("%+v", changes)
	}
	after := s.With(changes)
	if r, _ := after.Rule("B"); r.Version != 4 || r.Duration != five {
		t.Errorf("%+v", r)
	}
	if r, _ := s.Rule("B"); r.Version != 3 {
		t.Error("the schedule before was changed")
	}
	if len(after.Diff(rules, true)) != 0 {
		t.Error("the same again is a change")
	}
	if c := after.Diff(rules[:1], true); len(c) != 2 || c[0].What != "ended" || len(after.With(c).All()) != 1 {
		t.Errorf("%+v", c)
	}
	ended := after.With(after.Diff(rules[:1], true))
	if r, ok := ended.Last("B"); !ok || !r.Ended || r.Version != 5 {
		t.Errorf("%+v", r)
	}
	if r, _ := ended.With(ended.Diff(rules, true)).Rule("B"); r.Version != 6 { // it comes back
		t.Errorf("%+v", r)
	}
	if s.Digest() == after.Digest() || s.Digest() != NewSchedule(s.All()).Digest() {
		t.Error("the digest is not of the rules")
	}
}

// TestDiffGivesWhatIsAsked: whatever stands there, after the changes the rules are those asked.
func TestDiffGivesWhatIsAsked(t *testing.T) {
	draw := func(t *rapid.T) (out []Rule) {
		for _, id := range []string{"A", "B", "C", "D"} {
			if rapid.Bool().Draw(t, id) {
				out = append(out, Rule{ID: id, Duration: Duration{Count: rapid.IntRange(1, 3).Draw(t, "n"), Unit: Years}})
			}
		}
		return out
	}
	rapid.Check(t, func(t *rapid.T) {
		s := NewSchedule(nil)
		for range 3 {
			rules, replace := draw(t), rapid.Bool().Draw(t, "replace")
			before := len(s.All())
			s = s.With(s.Diff(rules, replace))
			for _, r := range rules {
				if have, ok := s.Rule(r.ID); !ok || have.Duration != r.Duration {
					t.Fatalf("%+v, want %+v", have, r)
				}
			}
			if n := len(s.All()); replace && n != len(rules) || n < before && !replace {
				t.Fatalf("%d rules of %d", n, len(rules))
			}
		}
	})
}

func FuzzParseCSV(f *testing.F) {
	f.Add([]byte("RuleId,RuleType,RuleValue,RuleDescription,RuleDuration,RuleMeasurement\nA,AppraisalRule,a,b,1,Year\n"))
	f.Add([]byte("\ufeffRuleId;RuleType;RuleValue;RuleDescription;RuleDuration;RuleMeasurement\nA;HoldRule;a;;;\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rules, err := ParseCSV(b)
		if err != nil {
			return
		}
		again, err := FormatCSV(rules)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseCSV(again); err != nil || len(back) != len(rules) {
			t.Fatalf("%q does not come back: %v", again, err)
		}
	})
}

func FuzzParseYAML(f *testing.F) {
	f.Add([]byte("rules:\n  - id: A\n    duration: P1Y\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if rules, err := ParseYAML(b); err == nil {
			for _, r := range rules {
				if err := r.Check(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// TestStarting: every rule of the starting schedule has a basis and a state, and says "official"
// only of the code.
func TestStarting(t *testing.T) {
	rules, err := Starting()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if r.Of(Hold) {
			continue
		}
		if r.Basis == "" || r.Status == "" || r.Name == "" || r.Trigger == "" || r.Of(Appraisal) && r.FinalAction == "" {
			t.Errorf("%+v", r)
		}
		if r.Status == Official && !strings.HasPrefix(r.Basis, "Code du patrimoine, art. ") {
			t.Errorf("%s is official by %s", r.ID, r.Basis)
		}
	}
}
