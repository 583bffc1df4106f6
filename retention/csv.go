package retention

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The columns of a rule referential in CSV, as VITAM 7 imports it. It has no final actions:
// in SEDA those stand with the units.
var csvColumns = []string{"RuleId", "RuleType", "RuleValue", "RuleDescription", "RuleDuration", "RuleMeasurement"}

var measurements = map[string]Unit{"year": Years, "month": Months, "day": Days}

// maxCount bounds the number of a duration.
const maxCount = 9999

// ParseCSV reads a rule referential. The separator is a comma, or a semicolon when the first
// line has one; a byte order mark is skipped. The error lists all that is wrong, by line.
func ParseCSV(b []byte) ([]Rule, error) {
	if len(b) > maxFile {
		return nil, fmt.Errorf("the referential has %d bytes, more than %d", len(b), maxFile)
	}
	if !utf8.Valid(b) {
		return nil, errors.New("the referential is not UTF-8: convert it, for example with iconv")
	}
	b = bytes.TrimPrefix(b, []byte("\ufeff"))
	r := csv.NewReader(bytes.NewReader(b))
	if first, _, _ := bytes.Cut(b, []byte{'\n'}); bytes.Contains(first, []byte{';'}) {
		r.Comma = ';'
	}
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("reading the line of column names: %w", err)
	}
	at, err := columnsOf(head)
	if err != nil {
		return nil, err
	}
	var rules []Rule
	var lines []int
	var errs []error
	for len(rules) <= MaxRules {
		row, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, errors.Join(append(errs, err)...)
		}
		line, _ := r.FieldPos(0)
		rule, err := csvRule(func(column string) string { return strings.TrimSpace(row[at[column]]) })
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", line, err))
			continue
		}
		rules, lines = append(rules, rule), append(lines, line)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return rules, checkAll(rules, func(i int) string { return fmt.Sprintf("line %d", lines[i]) })
}

func columnsOf(head []string) (map[string]int, error) {
	at := map[string]int{}
	var errs []error
	for i, name := range head {
		name = strings.TrimSpace(name)
		if !slices.Contains(csvColumns, name) {
			errs = append(errs, fmt.Errorf("line 1: column %q is not known; want %s", name, strings.Join(csvColumns, ", ")))
		}
		if _, twice := at[name]; twice {
			errs = append(errs, fmt.Errorf("line 1: column %s is there twice", name))
		}
		at[name] = i
	}
	for _, name := range csvColumns {
		if _, ok := at[name]; !ok {
			errs = append(errs, fmt.Errorf("line 1: column %s is missing", name))
		}
	}
	return at, errors.Join(errs...)
}

// csvRule reads one line.
func csvRule(field func(string) string) (Rule, error) {
	r := Rule{Partial: true, ID: field("RuleId"), Category: Category(field("RuleType")), Name: field("RuleValue"), Description: field("RuleDescription")}
	switch {
	case r.ID == "":
		return r, errors.New("RuleId is empty")
	case r.Category == "":
		return r, fmt.Errorf("rule %s: RuleType is empty", r.ID)
	case r.Name == "":
		return r, fmt.Errorf("rule %s: RuleValue is empty", r.ID)
	}
	var err error
	r.Duration, err = csvDuration(r.Category, field("RuleDuration"), field("RuleMeasurement"))
	if err != nil {
		return r, fmt.Errorf("rule %s: %w", r.ID, err)
	}
	return r, nil
}

func csvDuration(c Category, count, measure string) (Duration, error) {
	if count == "" && measure == "" && c == Hold {
		return Duration{}, nil
	}
	unit, ok := measurements[strings.ToLower(measure)]
	switch {
	case count == "":
		return Duration{}, errors.New("RuleDuration is empty")
	case measure == "":
		return Duration{}, errors.New("RuleMeasurement is empty: want Year, Month or Day")
	case !ok:
		return Duration{}, fmt.Errorf("RuleMeasurement %q: want Year, Month or Day", measure)
	case strings.EqualFold(count, "unlimited"):
		return Duration{Unlimited: true}, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxCount {
		return Duration{}, fmt.Errorf("RuleDuration %q: want a number from 0 to %d, or unlimited", count, maxCount)
	}
	return Duration{Count: n, Unit: unit}, nil
}

// FormatCSV writes what ParseCSV reads: without final actions, triggers and the like.
func FormatCSV(rules []Rule) ([]byte, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	w.Write(csvColumns)
	for _, r := range rules {
		count, measure := strconv.Itoa(r.Duration.Count), map[Unit]string{Years: "Year", Months: "Month", Days: "Day"}[r.Duration.Unit]
		switch {
		case r.Duration.Unlimited:
			count, measure = "unlimited", "Year"
		case r.Duration.IsZero():
			count = ""
		}
		name := r.Name
		if name == "" {
			name = r.ID
		}
		w.Write([]string{r.ID, string(r.Within()), name, r.Description, count, measure})
	}
	w.Flush()
	return b.Bytes(), w.Error()
}
