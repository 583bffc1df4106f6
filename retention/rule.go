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
	"strconv"
	"time"
)

// Category is the kind of a management rule (SEDA 2.x, Management).
type Category string

// Appraisal is the AppraisalRule category: retention, DUA.
const Appraisal Category = "AppraisalRule"

// FinalAction is what becomes of a unit at the end of its retention (SEDA
// FinalAction, sort final).
type FinalAction string

// The final actions. Sort stands in French schedules beside SEDA's two: part is
// kept, by a sampling method.
const (
	Keep    FinalAction = "Keep"
	Destroy FinalAction = "Destroy"
	Sort    FinalAction = "Sort"
)

// Rule is one line of a retention schedule.
type Rule struct {
	ID          string      `yaml:"id" json:"id"`                                        // code by which deposits name the rule
	Category    Category    `yaml:"category,omitempty" json:"category,omitempty"`        // AppraisalRule when empty
	Duration    Duration    `yaml:"duration" json:"duration"`                            // how long, e.g. P10Y, P6M, unlimited
	FinalAction FinalAction `yaml:"final-action,omitempty" json:"finalAction,omitempty"` // Keep, Destroy or Sort
	Basis       string      `yaml:"basis,omitempty" json:"basis,omitempty"`              // legal basis, with its citation
}

// Duration is a length of time in calendar units, or unlimited. Its text form is
// that of ISO 8601 restricted to one unit (P10Y, P6M, P30D), or "unlimited".
type Duration struct {
	Years, Months, Days int
	Unlimited           bool
}

var durationForm = regexp.MustCompile(`^P([0-9]{1,4})([YMD])$`)

// ParseDuration reads the text form of a duration.
func ParseDuration(s string) (Duration, error) {
	if s == "unlimited" {
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
	switch m[2] {
	case "Y":
		return Duration{Years: n}, nil
	case "M":
		return Duration{Months: n}, nil
	}
	return Duration{Days: n}, nil
}

func (d Duration) String() string {
	switch {
	case d.Unlimited:
		return "unlimited"
	case d.Years > 0:
		return fmt.Sprintf("P%dY", d.Years)
	case d.Months > 0:
		return fmt.Sprintf("P%dM", d.Months)
	}
	return fmt.Sprintf("P%dD", d.Days)
}

// MarshalText gives the text form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the text form.
func (d *Duration) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDuration(string(b))
	return err
}

// End is the first day on which the retention that began at start is over; ok is
// false when it never is. A day that the month does not have becomes the month's
// last: one year after 29 February is 28 February.
func (d Duration) End(start time.Time) (end time.Time, ok bool) {
	if d.Unlimited {
		return time.Time{}, false
	}
	y, m, day := start.Date()
	first := time.Date(y+d.Years, m+time.Month(d.Months), 1, 0, 0, 0, 0, start.Location())
	lastDay := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(day, lastDay)-1+d.Days), true
}

// Check says what is wrong with a rule as a line of a schedule.
func (r Rule) Check() error {
	switch {
	case r.ID == "":
		return errors.New("the rule has no id")
	case r.Category != "" && r.Category != Appraisal:
		return fmt.Errorf("rule %s: category %q is not known", r.ID, r.Category)
	case r.Duration == Duration{}:
		return fmt.Errorf("rule %s: no duration", r.ID)
	}
	switch r.FinalAction {
	case Keep, Destroy, Sort:
		return nil
	}
	return fmt.Errorf("rule %s: final action %q: want Keep, Destroy or Sort", r.ID, r.FinalAction)
}
