// Package procedure describes the procedures that citizen files belong to (an MDPH request, APA,
// RSA...): which documents are expected, which fields they have, under which rules they are kept,
// and which events start their retention. A procedure is a file in YAML, and takes no code.
//
// It knows neither the archive nor its schedule: whether the agreement, the agency, the rules,
// channels and triggers that a procedure names are there is for who has them.
package procedure

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
)

// Procedure is what a kind of citizen file is like.
type Procedure struct {
	ID          string     `yaml:"id" json:"id"`     // code, by which files name it
	Name        string     `yaml:"name" json:"name"` // for people
	Description string     `yaml:"description,omitempty" json:"description,omitempty"`
	Agreement   string     `yaml:"agreement,omitempty" json:"agreement,omitempty"` // archival agreement of its deposits; the tenant's first when absent
	Agency      string     `yaml:"originating-agency,omitempty" json:"originatingAgency,omitempty"`
	Channels    []string   `yaml:"channels" json:"channels"` // by which documents may come
	Rules       Rules      `yaml:"rules" json:"rules"`
	Processing  Processing `yaml:"processing" json:"processing"`
	Number      string     `yaml:"number,omitempty" json:"number,omitempty"` // what the whole of a file's number matches (RE2)
	Fields      []Field    `yaml:"fields,omitempty" json:"fields,omitempty"` // of a file
	Documents   []Document `yaml:"documents" json:"documents"`
	Events      []Event    `yaml:"events,omitempty" json:"events,omitempty"`

	// Tele says how completed forms come in; nil when none do.
	Tele *Teleprocedure `yaml:"teleprocedure,omitempty" json:"teleprocedure,omitempty"`

	number *regexp.Regexp
}

// Rules are the codes of the rules that files may have; the first is the default.
type Rules struct {
	Appraisal []string `yaml:"appraisal" json:"appraisal"`
	Access    []string `yaml:"access,omitempty" json:"access,omitempty"`
}

// Processing is what the record of processing says of the procedure (GDPR art. 30).
type Processing struct {
	Purpose    string   `yaml:"purpose" json:"purpose"`
	Basis      string   `yaml:"legal-basis" json:"legalBasis"`                                   // GDPR art. 6, and the law that says so
	Special    string   `yaml:"special-categories,omitempty" json:"specialCategories,omitempty"` // ground of GDPR art. 9(2), when there are such data
	Subjects   []string `yaml:"data-subjects" json:"dataSubjects"`
	Data       []string `yaml:"data" json:"data"` // categories
	Recipients []string `yaml:"recipients,omitempty" json:"recipients,omitempty"`
}

// Type is what the value of a field is.
type Type string

// The types, and what their values look like.
const (
	Text    Type = "text"    // any, in one line or several
	Date    Type = "date"    // YYYY-MM-DD
	Integer Type = "integer" // decimal, at most 18 digits
	Boolean Type = "boolean" // true or false
	Choice  Type = "choice"  // one of Values
)

// Types are all of them.
var Types = []Type{Text, Date, Integer, Boolean, Choice}

// Field is one field of metadata.
type Field struct {
	ID       string   `yaml:"id" json:"id"`
	Name     string   `yaml:"name,omitempty" json:"name,omitempty"`
	Type     Type     `yaml:"type" json:"type"`
	Required bool     `yaml:"required,omitempty" json:"required,omitempty"`
	Values   []string `yaml:"values,omitempty" json:"values,omitempty"`   // of a choice
	Pattern  string   `yaml:"pattern,omitempty" json:"pattern,omitempty"` // of a text: what the whole of it matches (RE2)

	pattern *regexp.Regexp
}

// Document is a type of documents.
type Document struct {
	ID       string   `yaml:"id" json:"id"`
	Name     string   `yaml:"name" json:"name"`
	Expected bool     `yaml:"expected,omitempty" json:"expected,omitempty"` // a file without one is not complete
	Most     int      `yaml:"at-most,omitempty" json:"atMost,omitempty"`    // in one file; 0: any number
	Channels []string `yaml:"channels,omitempty" json:"channels,omitempty"` // the procedure's when absent
	Rule     string   `yaml:"rule,omitempty" json:"rule,omitempty"`         // appraisal rule; the file's when absent
	Access   string   `yaml:"access-rule,omitempty" json:"accessRule,omitempty"`
	Fields   []Field  `yaml:"fields,omitempty" json:"fields,omitempty"`
}

// Event is what may happen to a file.
type Event struct {
	ID   string `yaml:"id" json:"id"`
	Name string `yaml:"name" json:"name"`
	// Trigger: on the day of the event start the rules of the file's units that wait for it.
	Trigger string `yaml:"trigger,omitempty" json:"trigger,omitempty"`
	Repeats bool   `yaml:"repeats,omitempty" json:"repeats,omitempty"` // it may happen more than once: the last counts
	Closes  bool   `yaml:"closes,omitempty" json:"closes,omitempty"`   // the file is closed with it
}

// The bounds of a procedure.
const (
	MaxFile  = 128 << 10 // bytes of YAML
	maxMarks = 5_000     // of its brackets, braces and anchors
	maxList  = 500       // entries of any list
	maxText  = 2_000     // bytes of any text
	maxValue = 100_000   // bytes of the value of a field
)

//go:embed shipped/*.yaml
var shipped embed.FS

// Shipped are the codes of the procedures that come with the program.
func Shipped() (ids []string) {
	files, err := fs.Glob(shipped, "shipped/*.yaml")
	if err != nil {
		panic(err) // the pattern is well-formed
	}
	for _, f := range files {
		ids = append(ids, strings.TrimSuffix(strings.TrimPrefix(f, "shipped/"), ".yaml"))
	}
	return ids
}

// ShippedFile is the file of a procedure that comes with the program; nil when there is none.
func ShippedFile(id string) []byte {
	if !slices.Contains(Shipped(), id) {
		return nil
	}
	b, err := shipped.ReadFile("shipped/" + id + ".yaml")
	if err != nil {
		panic(err) // it is in the program
	}
	return b
}

// Problems are what is wrong, each with the key.
type Problems []string

func (p Problems) Error() string { return strings.Join(p, "\n") }

func (p *Problems) addf(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

// Parse reads a procedure. Unknown keys are refused; an error of type Problems says all that is
// wrong.
func Parse(data []byte) (*Procedure, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("%d bytes: a procedure has at most %d", len(data), MaxFile)
	}
	if n := marks(data); n > maxMarks { // what each costs the reader of YAML grows with their number
		return nil, fmt.Errorf("%d brackets, braces and anchors: a procedure has at most %d", n, maxMarks)
	}
	p := &Procedure{}
	err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(p)
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty")
	}
	if err != nil {
		return nil, errors.New(cut(strings.TrimSpace(yaml.FormatError(err, false, true))))
	}
	if bad := p.check(); len(bad) > 0 {
		return nil, bad
	}
	return p, nil
}

func marks(data []byte) (n int) {
	for _, c := range data {
		if c == '[' || c == '{' || c == '&' {
			n++
		}
	}
	return n
}

// cut shortens the lines of an error that quotes what may be long.
func cut(s string) string {
	const most = 200 // bytes
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if len(l) > most {
			lines[i] = strings.ToValidUTF8(l[:most], "") + "..."
		}
	}
	return strings.Join(lines, "\n")
}

var code = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (p *Procedure) check() (bad Problems) {
	bad.code("id", p.ID)
	bad.text("name", p.Name, true)
	bad.text("description", p.Description, false)
	bad.texts("channels", p.Channels, true)
	bad.texts("rules.appraisal", p.Rules.Appraisal, true)
	bad.texts("rules.access", p.Rules.Access, false)
	bad.text("processing.purpose", p.Processing.Purpose, true)
	bad.text("processing.legal-basis", p.Processing.Basis, true)
	bad.text("processing.special-categories", p.Processing.Special, false)
	bad.texts("processing.data-subjects", p.Processing.Subjects, true)
	bad.texts("processing.data", p.Processing.Data, true)
	bad.texts("processing.recipients", p.Processing.Recipients, false)
	p.number = bad.pattern("number", p.Number)
	bad.fields("fields", p.Fields)
	if len(p.Documents) == 0 || len(p.Documents) > maxList {
		bad.addf("documents: %d: want 1 to %d types of documents", len(p.Documents), maxList)
		return bad
	}
	seen := map[string]bool{}
	for i := range p.Documents {
		p.checkDocument(fmt.Sprintf("documents[%d]", i), &p.Documents[i], seen, &bad)
	}
	if len(p.Events) > maxList {
		bad.addf("events: %d, more than %d", len(p.Events), maxList)
		return bad
	}
	seen = map[string]bool{}
	for i, e := range p.Events {
		at := fmt.Sprintf("events[%d]", i)
		bad.unique(at+".id", e.ID, seen)
		bad.text(at+".name", e.Name, true)
		if slices.Contains(reserved, e.ID) {
			bad.addf("%s.id: %q is reserved: sae file close and reopen record it", at, e.ID)
		}
	}
	p.checkTeleprocedure(&bad)
	return bad
}

func (p *Procedure) checkDocument(at string, d *Document, seen map[string]bool, bad *Problems) {
	bad.unique(at+".id", d.ID, seen)
	bad.text(at+".name", d.Name, true)
	if d.Most < 0 {
		bad.addf("%s.at-most: %d is negative", at, d.Most)
	}
	bad.texts(at+".channels", d.Channels, false)
	for _, c := range d.Channels {
		if !slices.Contains(p.Channels, c) {
			bad.addf("%s.channels: %q is not among those of the procedure: %s", at, c, strings.Join(p.Channels, ", "))
		}
	}
	bad.fields(at+".fields", d.Fields)
}

func (p *Problems) code(at, id string) {
	if !code.MatchString(id) {
		p.addf("%s: %q is not a code: letters, digits, dot, dash, underscore, at most 64", at, id)
	}
}

func (p *Problems) unique(at, id string, seen map[string]bool) {
	p.code(at, id)
	if seen[id] {
		p.addf("%s: %q is there twice", at, id)
	}
	seen[id] = true
}

func (p *Problems) text(at, s string, required bool) {
	switch {
	case required && strings.TrimSpace(s) == "":
		p.addf("%s: missing", at)
	case len(s) > maxText:
		p.addf("%s: %d bytes, more than %d", at, len(s), maxText)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, isControl):
		p.addf("%s: %q is not plain text", at, s)
	}
}

func (p *Problems) texts(at string, all []string, required bool) {
	if required && len(all) == 0 {
		p.addf("%s: missing", at)
	}
	if len(all) > maxList {
		p.addf("%s: %d, more than %d", at, len(all), maxList)
		return
	}
	seen := map[string]bool{}
	for i, s := range all {
		p.text(fmt.Sprintf("%s[%d]", at, i), s, true)
		if seen[s] {
			p.addf("%s[%d]: %q is there twice", at, i, s)
		}
		seen[s] = true
	}
}

func (p *Problems) fields(at string, all []Field) {
	if len(all) > maxList {
		p.addf("%s: %d, more than %d", at, len(all), maxList)
		return
	}
	seen := map[string]bool{}
	for i := range all {
		f, at := &all[i], fmt.Sprintf("%s[%d]", at, i)
		p.unique(at+".id", f.ID, seen)
		p.text(at+".name", f.Name, false)
		if !slices.Contains(Types, f.Type) {
			p.addf("%s.type: %q: want one of %v", at, f.Type, Types)
		}
		p.texts(at+".values", f.Values, f.Type == Choice)
		if f.Type != Choice && len(f.Values) > 0 {
			p.addf("%s.values: these are for a choice", at)
		}
		if f.Pattern == "" {
			continue
		}
		if f.Type != Text {
			p.addf("%s.pattern: this is for a text", at)
		}
		f.pattern = p.pattern(at+".pattern", f.Pattern)
	}
}

// pattern compiles what the whole of a text is to match; nil for none.
func (p *Problems) pattern(at, s string) *regexp.Regexp {
	if s == "" {
		return nil
	}
	p.text(at, s, false)
	re, err := regexp.Compile(`\A(?:` + s + `)\z`)
	if err != nil {
		p.addf("%s: %v", at, err)
	}
	return re
}

func isControl(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

// reserved are codes that no event of a procedure has: what is done to a file by hand.
var reserved = []string{"closed", "reopened"}

// Event finds an event by its code.
func (p *Procedure) Event(id string) (*Event, bool) {
	i := slices.IndexFunc(p.Events, func(e Event) bool { return e.ID == id })
	if i < 0 {
		return nil, false
	}
	return &p.Events[i], true
}

// NumberFits reports whether a file may have a number.
func (p *Procedure) NumberFits(number string) bool {
	return p.number == nil || p.number.MatchString(number)
}

// Document finds a type of documents by its code.
func (p *Procedure) Document(id string) (*Document, bool) {
	i := slices.IndexFunc(p.Documents, func(d Document) bool { return d.ID == id })
	if i < 0 {
		return nil, false
	}
	return &p.Documents[i], true
}

// Values says what is wrong with the values of fields, by their codes; nothing when all is well.
// It quotes no value: they are somebody's.
func Values(fields []Field, values map[string]string) (bad Problems) {
	known := map[string]bool{}
	for i := range fields {
		f := &fields[i]
		known[f.ID] = true
		v, given := values[f.ID]
		switch {
		case !given && f.Required:
			bad.addf("field %s is missing", f.ID)
		case given:
			if want := f.want(v); want != "" {
				bad.addf("field %s: its value is not %s", f.ID, want)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(values)) {
		if !known[id] {
			bad.addf("field %q is not known; known: %s", id, strings.Join(ids(fields), ", "))
		}
	}
	return bad
}

// want says what a value should be; "" when it is.
func (f *Field) want(v string) string {
	if len(v) > maxValue || !utf8.ValidString(v) || strings.ContainsFunc(v, isControl) {
		return fmt.Sprintf("plain text of at most %d bytes", maxValue)
	}
	ok, want := true, ""
	switch f.Type {
	case Date:
		_, err := time.Parse(time.DateOnly, v)
		ok, want = err == nil, "a day, YYYY-MM-DD"
	case Integer:
		_, err := strconv.ParseInt(v, 10, 64)
		ok, want = err == nil && len(v) <= 18, "a whole number of at most 18 digits"
	case Boolean:
		ok, want = v == "true" || v == "false", "true or false"
	case Choice:
		ok, want = slices.Contains(f.Values, v), "one of "+strings.Join(f.Values, ", ")
	default:
		switch {
		case f.Required && strings.TrimSpace(v) == "":
			ok, want = false, "given"
		case f.pattern != nil:
			ok, want = f.pattern.MatchString(v), "of the form "+f.Pattern
		}
	}
	if ok {
		return ""
	}
	return want
}

func ids(fields []Field) (out []string) {
	for _, f := range fields {
		out = append(out, f.ID)
	}
	return out
}
