package procedure

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Teleprocedure says what of a form that was completed on a platform becomes what of a citizen file. A
// value that begins with a slash is a JSON Pointer (RFC 6901) into the answers of the form; any other
// is taken as it is.
type Teleprocedure struct {
	Person Account           `yaml:"person" json:"person"`
	Names  PersonNames       `yaml:"names,omitempty" json:"names,omitzero"` // of a person who is not known yet
	Number string            `yaml:"number" json:"number"`                  // of a file that is opened
	Opened string            `yaml:"opened,omitempty" json:"opened,omitempty"`
	Title  string            `yaml:"title,omitempty" json:"title,omitempty"` // of a file that is opened
	Fields map[string]string `yaml:"fields,omitempty" json:"fields,omitempty"`
	Form   FormDocument      `yaml:"form" json:"form"`
	// Answers is what the answers themselves become, as a file of JSON; nil: they are not deposited.
	Answers *FormDocument `yaml:"answers,omitempty" json:"answers,omitempty"`
	Pieces  []Piece       `yaml:"pieces,omitempty" json:"pieces,omitempty"`
	Event   *FormEvent    `yaml:"event,omitempty" json:"event,omitempty"` // recorded when all is deposited
}

// Account is by what a person is known: who names her, and how (OpenID Connect: iss, sub).
type Account struct {
	Issuer string `yaml:"issuer" json:"issuer"`
	Sub    string `yaml:"sub" json:"sub"`
}

// PersonNames are names and birth of a person.
type PersonNames struct {
	Family     string `yaml:"family-name,omitempty" json:"familyName,omitempty"`
	Birth      string `yaml:"birth-name,omitempty" json:"birthName,omitempty"`
	Given      string `yaml:"given-names,omitempty" json:"givenNames,omitempty"`
	BirthDate  string `yaml:"birth-date,omitempty" json:"birthDate,omitempty"`
	BirthPlace string `yaml:"birth-place,omitempty" json:"birthPlace,omitempty"`
}

// FormDocument is what the form becomes.
type FormDocument struct {
	Document string            `yaml:"document" json:"document"` // type
	Title    string            `yaml:"title,omitempty" json:"title,omitempty"`
	Date     string            `yaml:"date,omitempty" json:"date,omitempty"`
	Fields   map[string]string `yaml:"fields,omitempty" json:"fields,omitempty"`
}

// Piece is what pieces of one type of the platform become.
type Piece struct {
	Type         string `yaml:"type" json:"type"` // the platform's word; "*" for those of no other
	FormDocument `yaml:",inline"`
}

// FormEvent is the event that a deposited form is.
type FormEvent struct {
	ID  string `yaml:"id" json:"id"`
	Day string `yaml:"day,omitempty" json:"day,omitempty"` // today when absent
}

// Piece finds what a piece becomes, by the platform's word for its type.
func (t *Teleprocedure) Piece(word string) (*Piece, bool) {
	for _, want := range []string{word, "*"} {
		if i := slices.IndexFunc(t.Pieces, func(p Piece) bool { return p.Type == want }); i >= 0 {
			return &t.Pieces[i], true
		}
	}
	return nil, false
}

// IsPointer reports whether a value of a mapping points into the answers.
func IsPointer(s string) bool { return strings.HasPrefix(s, "/") }

// checkTeleprocedure holds a mapping against the procedure that it is for.
func (p *Procedure) checkTeleprocedure(bad *Problems) {
	t := p.Tele
	if t == nil {
		return
	}
	value := func(at, s string, required bool) { bad.value("teleprocedure."+at, s, required) }
	value("person.issuer", t.Person.Issuer, true)
	value("person.sub", t.Person.Sub, true)
	value("names.family-name", t.Names.Family, false)
	value("names.birth-name", t.Names.Birth, false)
	value("names.given-names", t.Names.Given, false)
	value("names.birth-date", t.Names.BirthDate, false)
	value("names.birth-place", t.Names.BirthPlace, false)
	value("number", t.Number, true)
	value("opened", t.Opened, false)
	value("title", t.Title, false)
	if t.Number != "" && !IsPointer(t.Number) {
		bad.addf("teleprocedure.number: %q is the same for every file: want a pointer into the answers, such as /reference", t.Number)
	}
	if t.Person.Sub != "" && !IsPointer(t.Person.Sub) {
		bad.addf("teleprocedure.person.sub: it is the same for everybody: want a pointer into the answers, such as /user/sub")
	}
	bad.mapped("teleprocedure.fields", t.Fields, p.Fields)
	p.checkMapped("teleprocedure.form", &t.Form, bad)
	if t.Answers != nil {
		p.checkMapped("teleprocedure.answers", t.Answers, bad)
	}
	if len(t.Pieces) > maxList {
		bad.addf("teleprocedure.pieces: %d, more than %d", len(t.Pieces), maxList)
		return
	}
	seen := map[string]bool{}
	for i := range t.Pieces {
		at := fmt.Sprintf("teleprocedure.pieces[%d]", i)
		bad.text(at+".type", t.Pieces[i].Type, true)
		if seen[t.Pieces[i].Type] {
			bad.addf("%s.type: %q is there twice", at, t.Pieces[i].Type)
		}
		seen[t.Pieces[i].Type] = true
		p.checkMapped(at, &t.Pieces[i].FormDocument, bad)
	}
	if t.Event == nil {
		return
	}
	value("event.day", t.Event.Day, false)
	if _, known := p.Event(t.Event.ID); !known {
		bad.addf("teleprocedure.event.id: %q is no event of the procedure", t.Event.ID)
	}
}

// checkMapped holds what a document becomes against its type.
func (p *Procedure) checkMapped(at string, m *FormDocument, bad *Problems) {
	bad.value(at+".title", m.Title, false)
	bad.value(at+".date", m.Date, false)
	d, known := p.Document(m.Document)
	if !known {
		bad.addf("%s.document: %q is no type of document of the procedure", at, m.Document)
		return
	}
	channels := d.Channels
	if len(channels) == 0 {
		channels = p.Channels
	}
	if !slices.Contains(channels, "digital") {
		bad.addf("%s.document: %q does not come by channel digital, as a form does", at, m.Document)
	}
	bad.mapped(at+".fields", m.Fields, d.Fields)
}

// mapped holds the mapped values of fields against those that there are.
func (p *Problems) mapped(at string, values map[string]string, fields []Field) {
	for _, id := range slices.Sorted(maps.Keys(values)) {
		if !slices.ContainsFunc(fields, func(f Field) bool { return f.ID == id }) {
			p.addf("%s: field %q is not known; known: %s", at, id, strings.Join(ids(fields), ", "))
		}
		p.value(at+"."+id, values[id], true)
	}
	for _, f := range fields {
		if _, given := values[f.ID]; f.Required && !given {
			p.addf("%s: field %s is required: say where it comes from", at, f.ID)
		}
	}
}

// value wants a text, or a JSON Pointer: in it "~" stands only before 0 or 1 (RFC 6901 section 3).
func (p *Problems) value(at, s string, required bool) {
	p.text(at, s, required)
	if !IsPointer(s) {
		return
	}
	for rest := s; ; {
		_, after, found := strings.Cut(rest, "~")
		if !found {
			return
		}
		if !strings.HasPrefix(after, "0") && !strings.HasPrefix(after, "1") {
			p.addf("%s: %q is not a JSON Pointer: in one, ~ is written ~0", at, s)
			return
		}
		rest = after
	}
}
