package seda

import (
	"fmt"
	"strings"
)

// Code says what kind of finding it is. Codes are stable: a program can act on them.
type Code string

// Severity is what a finding means for the transfer.
type Severity uint8

// The severities. A transfer with an Error is refused.
const (
	Warning Severity = iota + 1
	Error
)

func (s Severity) String() string {
	if s == Error {
		return "error"
	}
	return "warning"
}

// MarshalText writes "error" or "warning".
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one thing that a check noticed.
type Finding struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	File     string   `json:"file,omitempty"` // in the package; "" for the manifest
	Line     int      `json:"line,omitempty"` // of the manifest, from 1
	Path     string   `json:"path,omitempty"` // elements from the root, those with an XML id with it
	ID       string   `json:"id,omitempty"`   // XML id of what it is about
	Expected string   `json:"expected,omitempty"`
	Found    string   `json:"found,omitempty"`
}

// Language is one that findings can be read in.
type Language string

// The languages.
const (
	French  Language = "fr"
	English Language = "en"
)

// Sentence says the finding in a language.
func (f Finding) Sentence(l Language) string {
	t, ok := sentences[f.Code]
	if !ok {
		return string(f.Code)
	}
	s := t.en
	if l == French {
		s = t.fr
	}
	return strings.NewReplacer("{id}", f.ID, "{expected}", f.Expected, "{found}", f.Found, "{file}", f.File).Replace(s)
}

// String is the finding on a line, in English.
func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", f.Severity, f.Code)
	switch {
	case f.Line > 0:
		fmt.Fprintf(&b, " line %d", f.Line)
	case f.File != "":
		fmt.Fprintf(&b, " %s", f.File)
	}
	fmt.Fprintf(&b, ": %s", f.Sentence(English))
	if f.Path != "" {
		fmt.Fprintf(&b, " [%s]", f.Path)
	}
	return b.String()
}

// Mode says how a transfer is held against the standard.
type Mode uint8

// The modes. Tolerant accepts, with warnings, what is met in practice: elements of a
// later version, free elements where the schema foresees extensions, free attributes.
const (
	Tolerant Mode = iota
	Strict
)

func (m Mode) String() string {
	if m == Strict {
		return "strict"
	}
	return "tolerant"
}

// ParseMode reads "strict" or "tolerant".
func ParseMode(s string) (Mode, error) {
	for _, m := range []Mode{Tolerant, Strict} {
		if m.String() == s {
			return m, nil
		}
	}
	return 0, fmt.Errorf("mode %q: want strict or tolerant", s)
}

// maxFindings bounds a report, of errors and of warnings each: a document that is wrong
// everywhere is not read to its end for ever longer lists.
const maxFindings = 10_000

// Findings collects findings, in the order in which they were made.
type Findings struct {
	List     []Finding
	Errors   int
	Warnings int
	Full     bool // there are as many errors as are kept: reading ends
}

// Add adds one.
func (fs *Findings) Add(f Finding) {
	n := &fs.Warnings
	if f.Severity == Error {
		n = &fs.Errors
	}
	*n++
	if *n <= maxFindings {
		fs.List = append(fs.List, f)
	}
	fs.Full = fs.Errors >= maxFindings
}

// Truncated reports whether more findings were made than are kept.
func (fs *Findings) Truncated() bool { return fs.Errors+fs.Warnings > len(fs.List) || fs.Full }

// Refused reports whether there is an Error among them.
func (fs *Findings) Refused() bool { return fs.Errors > 0 }
