// Package retention holds the rules of archival life as pure functions of rules,
// dates and trees. It knows nothing of storage.
//
// A rule is one line of a retention schedule (tableau de gestion, référentiel de
// conservation): how long units are kept (the DUA of an AppraisalRule, SEDA 2.x
// section Management) and what becomes of them then (FinalAction).
package retention

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Category is the kind of a management rule (SEDA 2.x, Management).
type Category string

// The categories (SEDA 2.2, ManagementType).
const (
	Appraisal      Category = "AppraisalRule" // retention, DUA
	Access         Category = "AccessRule"    // when it may be communicated
	Dissemination  Category = "DisseminationRule"
	Reuse          Category = "ReuseRule"
	Storage        Category = "StorageRule" // how long it is in current use
	Classification Category = "ClassificationRule"
	Hold           Category = "HoldRule" // must not be destroyed meanwhile
)

// Categories are all of them, in the order of SEDA.
var Categories = []Category{Storage, Appraisal, Access, Dissemination, Reuse, Classification, Hold}

// FinalAction is what becomes of a unit at the end of its retention (SEDA
// FinalAction, sort final).
type FinalAction string

// The final actions of appraisal. Sort stands in French schedules beside SEDA's two: part is
// kept, by a sampling method.
const (
	Keep    FinalAction = "Keep"
	Destroy FinalAction = "Destroy"
	Sort    FinalAction = "Sort"
)

// Status says how far a rule is founded.
type Status string

// The states of a rule.
const (
	Official  Status = "official"   // the text named as its basis says so
	ToConfirm Status = "to confirm" // with the Archives départementales, before it is used
)

// Rule is one line of a retention schedule.
type Rule struct {
	ID          string   `yaml:"id" json:"id"`                                       // code by which deposits name the rule
	Category    Category `yaml:"category,omitempty" json:"category,omitempty"`       // AppraisalRule when empty
	Name        string   `yaml:"name,omitempty" json:"name,omitempty"`               // what it is for, in a line
	Description string   `yaml:"description,omitempty" json:"description,omitempty"` // e.g. how its start is found
	Duration    Duration `yaml:"duration,omitempty" json:"duration,omitzero"`        // how long, e.g. P10Y, P6M, unlimited; a HoldRule may have none
	// Partial: it came from a form without final actions, triggers and the like; what a schedule
	// has of those stays.
	Partial     bool        `yaml:"-" json:"-"`
	Trigger     string      `yaml:"trigger,omitempty" json:"trigger,omitempty"` // event at which the duration starts, see Triggers
	FinalAction FinalAction `yaml:"final-action,omitempty" json:"finalAction,omitempty"`
	Sampling    *Sampling   `yaml:"sampling,omitempty" json:"sampling,omitempty"` // of Sort
	Basis       string      `yaml:"basis,omitempty" json:"basis,omitempty"`       // legal basis, with its citation
	Status      Status      `yaml:"status,omitempty" json:"status,omitempty"`
	From        string      `yaml:"from,omitempty" json:"from,omitempty"`   // first day on which deposits may name it, YYYY-MM-DD
	Until       string      `yaml:"until,omitempty" json:"until,omitempty"` // last day
}

// Triggers are the events at which a duration may start. That of birthdays is followed by the
// birthday's number: "birthday-21" starts on the 21st.
var Triggers = []string{"document-date", "file-closed", "last-decision", "end-of-right", "death", "birthday"}

var birthday = regexp.MustCompile(`^birthday-([0-9]{1,3})$`)

// StartOf is the day on which a duration starts by its trigger, when the event was on a day: for
// a birthday the event is the birth. The empty trigger is any event.
func (r *Rule) StartOf(event time.Time) time.Time {
	m := birthday.FindStringSubmatch(r.Trigger)
	if m == nil {
		return event
	}
	n, _ := strconv.Atoi(m[1])
	day, _ := Duration{Count: n, Unit: Years}.End(event)
	return day
}

// Event is the one of Triggers that the rule has; "" for none.
func (r *Rule) Event() string {
	if birthday.MatchString(r.Trigger) {
		return "birthday"
	}
	return r.Trigger
}

// Duration is a length of time in calendar units, or unlimited, or none. Its text form is
// that of ISO 8601 restricted to one unit (P10Y, P6M, P30D), "unlimited", or "" for none.
type Duration struct {
	Count     int
	Unit      Unit // 0 for none
	Unlimited bool
}

// Unit is a calendar unit.
type Unit byte

// The units.
const (
	Years  Unit = 'Y'
	Months Unit = 'M'
	Days   Unit = 'D'
)

var durationForm = regexp.MustCompile(`^P([0-9]{1,4})([YMD])$`)

// ParseDuration reads the text form of a duration.
func ParseDuration(s string) (Duration, error) {
	switch s {
	case "":
		return Duration{}, nil
	case "unlimited":
		return Duration{Unlimited: true}, nil
	}
	m := durationForm.FindStringSubmatch(s)
	if m == nil {
		return Duration{}, fmt.Errorf("duration %q: want P10Y, P6M, P30D or unlimited", s)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return Duration{}, fmt.Errorf("duration %q: %w", s, err)
	}
	return Duration{Count: n, Unit: Unit(m[2][0])}, nil
}

func (d Duration) String() string {
	switch {
	case d.Unlimited:
		return "unlimited"
	case d.Unit == 0:
		return ""
	}
	return fmt.Sprintf("P%d%c", d.Count, d.Unit)
}

// IsZero reports whether there is no duration; P0D is one.
func (d Duration) IsZero() bool { return d == Duration{} }

// MarshalText gives the text form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the text form.
func (d *Duration) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDuration(string(b))
	return err
}

// End is the first day on which the retention that began at start is over; ok is
// false when it never is, or there is no duration. A day that the month does not have becomes
// the month's last: one year after 29 February is 28 February.
func (d Duration) End(start time.Time) (end time.Time, ok bool) {
	y, m, day := start.Date()
	switch {
	case d.Unlimited || d.Unit == 0:
		return time.Time{}, false
	case d.Unit == Days:
		return time.Date(y, m, day+d.Count, 0, 0, 0, 0, start.Location()), true
	case d.Unit == Years:
		y += d.Count
	case d.Unit == Months:
		m += time.Month(d.Count)
	}
	first := time.Date(y, m, 1, 0, 0, 0, 0, start.Location())
	return first.AddDate(0, 0, min(day, first.AddDate(0, 1, -1).Day())-1), true
}

// Latest is the last day on which a retention may have begun that is over at a day; ok is false
// when there is none.
func (d Duration) Latest(at time.Time) (start time.Time, ok bool) {
	if d.Unlimited || d.Unit == 0 {
		return time.Time{}, false
	}
	y, m, day := at.Date()
	switch d.Unit {
	case Days:
		return time.Date(y, m, day-d.Count, 0, 0, 0, 0, at.Location()), true
	case Years:
		y -= d.Count
	case Months:
		m -= time.Month(d.Count)
	}
	// The ends of the days of that month do not go down, so the last that is not after at is
	// looked for from the month's end.
	first := time.Date(y, m, 1, 0, 0, 0, 0, at.Location())
	for start = first.AddDate(0, 1, -1); ; start = start.AddDate(0, 0, -1) {
		if end, _ := d.End(start); !end.After(at) {
			return start, true
		}
	}
}

var idForm = regexp.MustCompile(`^[\pL\pN_.:-]{1,100}$`)

// Check says what is wrong with a rule as a line of a schedule.
func (r Rule) Check() error {
	switch {
	case r.ID == "":
		return errors.New("the rule has no id")
	case !idForm.MatchString(r.ID):
		return fmt.Errorf("rule %q: an id has 1 to 100 letters, digits, and _ . : -", r.ID)
	case !slices.Contains(Categories, r.Within()):
		return fmt.Errorf("rule %s: category %q is not known; want one of %v", r.ID, r.Category, Categories)
	case r.Duration.IsZero() && r.Category != Hold:
		return fmt.Errorf("rule %s: no duration", r.ID)
	case !slices.Contains(Triggers, r.Trigger) && r.Trigger != "" && !birthday.MatchString(r.Trigger):
		return fmt.Errorf("rule %s: trigger %q is not known; want one of %v (birthday-21 for the 21st)", r.ID, r.Trigger, Triggers)
	case r.Status != "" && r.Status != Official && r.Status != ToConfirm:
		return fmt.Errorf("rule %s: status %q: want official or to confirm", r.ID, r.Status)
	}
	for _, day := range []string{r.From, r.Until} {
		if _, err := time.Parse(time.DateOnly, day); day != "" && err != nil {
			return fmt.Errorf("rule %s: %q is not a day: want YYYY-MM-DD", r.ID, day)
		}
	}
	if r.From != "" && r.Until != "" && r.From > r.Until {
		return fmt.Errorf("rule %s: it ends on %s, before it begins on %s", r.ID, r.Until, r.From)
	}
	for _, text := range []string{r.Name, r.Description, r.Basis} {
		if len(text) > 10_000 || !utf8.ValidString(text) {
			return fmt.Errorf("rule %s: a text is longer than 10,000 bytes, or not UTF-8", r.ID)
		}
	}
	return r.checkAction()
}

func (r *Rule) checkAction() error {
	known := map[Category][]FinalAction{Appraisal: {Keep, Destroy, Sort}, Storage: {"RestrictAccess", "Transfer", "Copy"}}[r.Within()]
	switch {
	case r.FinalAction != "" && !slices.Contains(known, r.FinalAction) && known == nil:
		return fmt.Errorf("rule %s: a rule of category %s has no final action", r.ID, r.Category)
	case r.FinalAction != "" && !slices.Contains(known, r.FinalAction):
		return fmt.Errorf("rule %s: final action %q: want one of %v", r.ID, r.FinalAction, known)
	case r.Sampling != nil && r.FinalAction != Sort:
		return fmt.Errorf("rule %s: a sampling method is for final action Sort", r.ID)
	case r.Sampling != nil:
		if err := r.Sampling.Check(); err != nil {
			return fmt.Errorf("rule %s: %w", r.ID, err)
		}
	}
	return nil
}

// Of reports whether the rule is of a category.
func (r *Rule) Of(c Category) bool { return r.Within() == c }

// Within is its category: of retention unless it says another.
func (r *Rule) Within() Category {
	if r.Category == "" {
		return Appraisal
	}
	return r.Category
}

// Valid reports whether deposits may name the rule on a day.
func (r *Rule) Valid(on time.Time) bool {
	day := on.Format(time.DateOnly)
	return (r.From == "" || r.From <= day) && (r.Until == "" || day <= r.Until)
}
