package cmis

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// Mapping says what is pulled out of a repository, and what becomes what. A value that begins with $ is
// a property of the object, such as $cmis:name; any other is taken as it is.
type Mapping struct {
	URL        string `yaml:"url"`                  // of the browser binding: of the service, or of one repository
	Repository string `yaml:"repository,omitempty"` // its id; the only one when absent
	Succinct   bool   `yaml:"succinct,omitempty"`   // properties without their definitions: less to send, and times only where the binding has them
	// Query is CMIS SQL that selects the folders, or documents, to pull. {since} in it is a time: since
	// when something may have changed.
	Query     string `yaml:"query"`
	Agreement string `yaml:"agreement,omitempty"`
	Agency    string `yaml:"originating-agency,omitempty"`
	// File is the number of the citizen file into which a folder goes; its documents then have a type.
	File     string     `yaml:"file,omitempty"`
	Versions string     `yaml:"versions,omitempty"` // all (when absent), or last
	Types    []TypeRule `yaml:"types,omitempty"`    // the first that matches an object
	Mark     *Mark      `yaml:"mark,omitempty"`     // absent: the repository is only read
}

// TypeRule says what objects of a type become.
type TypeRule struct {
	Type        string            `yaml:"type"` // of the object, or its base type; "*" for any
	Skip        bool              `yaml:"skip,omitempty"`
	Title       string            `yaml:"title,omitempty"`       // $cmis:name when absent
	Description string            `yaml:"description,omitempty"` // $cmis:description when absent
	Start       string            `yaml:"start-date,omitempty"`  // $cmis:creationDate when absent
	End         string            `yaml:"end-date,omitempty"`    // $cmis:lastModificationDate when absent
	Rule        string            `yaml:"rule,omitempty"`
	RuleStart   string            `yaml:"rule-start,omitempty"`
	Access      string            `yaml:"access-rule,omitempty"`
	AccessStart string            `yaml:"access-start,omitempty"`
	Document    string            `yaml:"document,omitempty"` // type of document, in a citizen file
	Custom      map[string]string `yaml:"custom,omitempty"`
}

// Mark says how what was archived is marked in the repository. In it, $unit, $operation, $entry and
// $time are those of the archive; $millis is the time as a property of type datetime wants it.
type Mark struct {
	Properties    map[string]string `yaml:"properties"`
	SecondaryType string            `yaml:"secondary-type,omitempty"` // is given to the object, and has the properties
	Documents     bool              `yaml:"documents,omitempty"`      // documents are marked, too
}

// The bounds of a mapping.
const (
	MaxMapping = 128 << 10
	maxMarks   = 5_000
	maxList    = 500
	maxText    = 10_000
)

// Problems are all that is wrong.
type Problems []string

func (p Problems) Error() string { return strings.Join(p, "\n") }

func (p *Problems) addf(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

var (
	exceptionForm = regexp.MustCompile(`^[A-Za-z]{1,64}$`)
	markForm      = regexp.MustCompile(`^[a-z][a-z2-7]{26}$`) // an identifier of the archive
)

// ParseMapping reads a mapping. Unknown keys are refused; an error of type Problems says all that is
// wrong.
func ParseMapping(data []byte) (*Mapping, error) {
	if len(data) > MaxMapping {
		return nil, fmt.Errorf("%d bytes: a mapping has at most %d", len(data), MaxMapping)
	}
	if n := bytes.Count(data, []byte("[")) + bytes.Count(data, []byte("{")) + bytes.Count(data, []byte("&")); n > maxMarks { // what each costs the reader of YAML grows with their number
		return nil, fmt.Errorf("%d brackets, braces and anchors: a mapping has at most %d", n, maxMarks)
	}
	m := &Mapping{}
	err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(m)
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty")
	}
	if err != nil {
		return nil, errors.New(strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	if bad := m.check(); len(bad) > 0 {
		return nil, bad
	}
	return m, nil
}

func (m *Mapping) check() (bad Problems) {
	u, err := url.Parse(m.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		bad.addf("url: want the URL of a browser binding, such as https://ged.example/cmis/browser")
	case u.User != nil:
		bad.addf("url: a password does not stand in an address: use --user-file or --token-file")
	}
	if strings.TrimSpace(m.Query) == "" {
		bad.addf("query: missing: want CMIS SQL, such as SELECT cmis:objectId FROM cmis:folder WHERE …")
	}
	if m.Versions != "" && m.Versions != "all" && m.Versions != "last" {
		bad.addf("versions: %q: want all or last", m.Versions)
	}
	if len(m.Types) > maxList {
		bad.addf("types: %d, more than %d", len(m.Types), maxList)
		return bad
	}
	seen := map[string]bool{}
	for i, t := range m.Types {
		at := fmt.Sprintf("types[%d]", i)
		switch {
		case t.Type == "":
			bad.addf("%s.type: missing", at)
		case seen[t.Type]:
			bad.addf("%s.type: %q is there twice", at, t.Type)
		}
		seen[t.Type] = true
		if t.Document != "" && m.File == "" {
			bad.addf("%s.document: a type of document is one of a citizen file: say which with file", at)
		}
		if len(t.Custom) > maxList {
			bad.addf("%s.custom: %d, more than %d", at, len(t.Custom), maxList)
		}
		for _, day := range []struct{ key, from string }{{"start-date", t.Start}, {"end-date", t.End}, {"rule-start", t.RuleStart}, {"access-start", t.AccessStart}} {
			if day.from != "" && !isProperty(day.from) {
				bad.addf("%s.%s: want a property, such as $cmis:creationDate", at, day.key)
			}
		}
	}
	if m.Mark != nil {
		m.Mark.check(&bad)
	}
	return bad
}

func (m *Mark) check(bad *Problems) {
	named := false
	for _, id := range slices.Sorted(maps.Keys(m.Properties)) {
		v := m.Properties[id]
		if isProperty(v) && !slices.Contains([]string{"$unit", "$operation", "$entry", "$time", "$millis"}, v) {
			bad.addf("mark.properties.%s: %q: want $unit, $operation, $entry, $time, $millis, or a text", id, v)
		}
		if strings.HasPrefix(id, "cmis:") && id != "cmis:description" {
			bad.addf("mark.properties.%s: it is the repository's own", id)
		}
		named = named || v == "$unit" || v == "$operation"
	}
	if !named {
		bad.addf("mark.properties: want one with $unit or $operation: by it the connector knows what it marked")
	}
}

func isProperty(s string) bool { return strings.HasPrefix(s, "$") }

// ruleOf is what objects of an object's type become.
func (m *Mapping) ruleOf(o *Object) TypeRule {
	r := TypeRule{Type: "*"}
	for _, want := range []string{o.Text(propType), o.Text(propBase), "*"} {
		if i := slices.IndexFunc(m.Types, func(t TypeRule) bool { return t.Type == want }); i >= 0 {
			r = m.Types[i]
			break
		}
	}
	for _, d := range []struct {
		value     *string
		otherwise string
	}{{&r.Title, "$" + propName}, {&r.Description, "$cmis:description"}, {&r.Start, "$" + propCreated}, {&r.End, "$" + propModified}} {
		if *d.value == "" {
			*d.value = d.otherwise
		}
	}
	return r
}

// text is what a value of the mapping is, of an object.
func (o *Object) text(from string) string {
	if !isProperty(from) {
		return from
	}
	return strings.TrimSpace(o.Text(from[1:]))
}

// day is the day that a value of the mapping is, of an object.
func (o *Object) day(from string) string {
	if from == "" {
		return ""
	}
	return o.Day(from[1:])
}
