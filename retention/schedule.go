package retention

import (
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Schedule is the rules of a tenant in force, by their ids. It is never changed.
type Schedule struct {
	rules map[string]Versioned
}

// Versioned is a rule as it stands in a schedule.
type Versioned struct {
	Rule
	Version int  `json:"version"` // from 1; each change adds one
	Ended   bool `json:"ended,omitempty"`
}

// NewSchedule makes a schedule of rules, the last of each id.
func NewSchedule(rules []Versioned) *Schedule {
	s := &Schedule{rules: make(map[string]Versioned, len(rules))}
	for _, r := range rules {
		s.rules[r.ID] = r
	}
	return s
}

// Rule finds a rule that has not ended.
func (s *Schedule) Rule(id string) (Versioned, bool) {
	r, ok := s.rules[id]
	return r, ok && !r.Ended
}

// Last is the last version of a rule, which may be its end.
func (s *Schedule) Last(id string) (Versioned, bool) {
	r, ok := s.rules[id]
	return r, ok
}

// All gives the rules that have not ended, by category and id.
func (s *Schedule) All() []Versioned {
	all := slices.DeleteFunc(slices.Collect(maps.Values(s.rules)), func(r Versioned) bool { return r.Ended })
	slices.SortFunc(all, func(x, y Versioned) int {
		return cmp.Or(cmp.Compare(slices.Index(Categories, x.Within()), slices.Index(Categories, y.Within())), cmp.Compare(x.ID, y.ID))
	})
	return all
}

// Digest is the SHA-256 of the rules as JSON, a line each, in the order of All. It commits to
// the schedule.
func (s *Schedule) Digest() [sha256.Size]byte {
	h := sha256.New()
	for _, r := range s.All() {
		b, err := json.Marshal(r)
		if err != nil {
			panic(err) // rules always encode
		}
		h.Write(append(b, '\n'))
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// MaxRules bounds the rules of a schedule.
const MaxRules = 20_000

// Change is one difference between two schedules.
type Change struct {
	ID     string   `json:"id"`
	What   string   `json:"what"` // "added", "changed" or "ended"
	Fields []string `json:"fields,omitempty"`
	Old    *Rule    `json:"old,omitempty"`
	New    *Rule    `json:"new,omitempty"`
}

// Diff says what rules would change. Those of the schedule that are not among them stay as
// they are, or end with replace.
func (s *Schedule) Diff(rules []Rule, replace bool) (out []Change) {
	named := map[string]bool{}
	for _, r := range rules {
		named[r.ID] = true
		old, ok := s.Rule(r.ID)
		if !ok {
			out = append(out, Change{ID: r.ID, What: "added", New: &r})
			continue
		}
		if fields := differ(old.Rule, r); len(fields) > 0 {
			out = append(out, Change{ID: r.ID, What: "changed", Fields: fields, Old: &old.Rule, New: &r})
		}
	}
	for _, old := range s.All() {
		if replace && !named[old.ID] {
			out = append(out, Change{ID: old.ID, What: "ended", Old: &old.Rule})
		}
	}
	slices.SortStableFunc(out, func(x, y Change) int { return cmp.Compare(x.ID, y.ID) })
	return out
}

// differ names the fields in which two rules differ.
func differ(x, y Rule) (fields []string) {
	x.Category, y.Category = x.Within(), y.Within()
	a, b := reflect.ValueOf(x), reflect.ValueOf(y)
	for i := range a.NumField() {
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("yaml"), ",")
			fields = append(fields, name)
		}
	}
	return fields
}

// With gives the schedule after changes.
func (s *Schedule) With(changes []Change) *Schedule {
	out := &Schedule{rules: maps.Clone(s.rules)}
	for _, c := range changes {
		r := Versioned{Rule: s.rules[c.ID].Rule, Version: s.rules[c.ID].Version + 1, Ended: c.New == nil}
		if c.New != nil {
			r.Rule = *c.New
		}
		out.rules[c.ID] = r
	}
	return out
}

// file is the YAML form of a schedule.
type file struct {
	Rules []Rule `yaml:"rules"`
}

// maxFile bounds the file of a schedule, in bytes.
const maxFile = 16 << 20

// ParseYAML reads a schedule: under "rules", a list of rules. The error lists all that is
// wrong.
func ParseYAML(b []byte) ([]Rule, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("the schedule has %d bytes, more than %d", len(b), maxFile)
	}
	var f file
	if err := yaml.UnmarshalWithOptions(b, &f, yaml.Strict()); err != nil {
		return nil, errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	return f.Rules, checkAll(f.Rules, func(i int) string { return fmt.Sprintf("rule %d", i+1) })
}

// FormatYAML writes what ParseYAML reads.
func FormatYAML(rules []Rule) ([]byte, error) { return yaml.Marshal(file{rules}) }

// checkAll wants every rule right, and each id once; where names a rule.
func checkAll(rules []Rule, where func(i int) string) error {
	var errs []error
	if len(rules) == 0 || len(rules) > MaxRules {
		errs = append(errs, fmt.Errorf("%d rules: a schedule has 1 to %d", len(rules), MaxRules))
	}
	first := map[string]int{}
	for i, r := range rules {
		if err := r.Check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", where(i), err))
		}
		if j, twice := first[r.ID]; twice && r.ID != "" {
			errs = append(errs, fmt.Errorf("%s: rule %s is there already, as %s", where(i), r.ID, where(j)))
		} else {
			first[r.ID] = i
		}
	}
	return errors.Join(errs...)
}

//go:embed starting.yaml
var starting []byte

// Starting is the schedule that comes with the program: social files of a département, each rule
// with its basis, and whether that was read or is to be confirmed.
func Starting() ([]Rule, error) { return ParseYAML(starting) }

// Complete gives rules, the partial ones of them with what the schedule has of what their form
// cannot say.
func (s *Schedule) Complete(rules []Rule) []Rule {
	out := slices.Clone(rules)
	for i, r := range out {
		out[i].Partial = false
		if old, ok := s.Rule(r.ID); ok && r.Partial {
			out[i] = old.Rule
			out[i].Category, out[i].Name, out[i].Description, out[i].Duration = r.Category, r.Name, r.Description, r.Duration
			if old.Category == "" && r.Category == Appraisal {
				out[i].Category = ""
			}
		}
	}
	return out
}
