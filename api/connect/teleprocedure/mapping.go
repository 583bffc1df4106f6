package teleprocedure

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sae/api"
	"sae/archive/procedure"
)

// plan is what a submission becomes.
type plan struct {
	person api.Person
	names  api.Names
	file   api.NewFile
	units  []api.Unit // those with a file of the submission first, in the order of its files
	event  *api.FileEvent
}

// mapping reads answers as a procedure says.
type mapping struct {
	answers any
	bad     Problems
}

// plan says what becomes of a submission, or all that is wrong with it.
func (s *Submission) plan(p *procedure.Procedure) (*plan, error) {
	t := p.Tele
	if t == nil {
		return nil, Problems{fmt.Sprintf("procedure %s takes no forms: it has no teleprocedure section", p.ID)}
	}
	m := &mapping{answers: any(s.Answers)}
	out := &plan{
		person: api.Person{Issuer: m.must("person.issuer", t.Person.Issuer), Sub: m.must("person.sub", t.Person.Sub)},
		names: api.Names{FamilyName: m.text("names.family-name", t.Names.Family), BirthName: m.text("names.birth-name", t.Names.Birth), GivenNames: m.text("names.given-names", t.Names.Given),
			BirthDate: m.day("names.birth-date", t.Names.BirthDate), BirthPlace: m.text("names.birth-place", t.Names.BirthPlace)},
		file: api.NewFile{Procedure: p.ID, Number: m.must("number", t.Number), Title: m.text("title", t.Title), Opened: m.day("opened", t.Opened), Fields: m.fields("fields", t.Fields, p.Fields)},
	}
	if out.file.Number != "" && !p.NumberFits(out.file.Number) {
		m.bad.addf("number: it is not of the form %s", p.Number)
	}
	out.units = append(out.units, m.unit("form", p, &t.Form, s.Form))
	for i, f := range s.Pieces {
		piece, known := t.Piece(f.Type)
		if !known {
			m.bad.addf("pieces[%d].type: %q is not mapped by procedure %s", i, f.Type, p.ID)
			continue
		}
		out.units = append(out.units, m.unit(where(i+1), p, &piece.FormDocument, f))
	}
	if t.Answers != nil {
		out.units = append(out.units, m.unit("answers", p, t.Answers, File{Name: "answers.json"}))
	}
	if t.Event != nil {
		out.event = &api.FileEvent{Event: t.Event.ID, Happening: api.Happening{Day: m.day("event.day", t.Event.Day)}}
	}
	if len(m.bad) > 0 {
		return nil, m.bad
	}
	return out, nil
}

// unit is what a file becomes.
func (m *mapping) unit(at string, p *procedure.Procedure, d *procedure.FormDocument, f File) api.Unit {
	kind, _ := p.Document(d.Document) // the procedure was checked: it is there
	u := api.Unit{Title: m.text(at+".title", d.Title), StartDate: m.day(at+".date", d.Date), Document: d.Document, Custom: m.fields(at+".fields", d.Fields, kind.Fields),
		Content: &api.UnitContent{Filename: f.Name, SHA256: f.SHA256}}
	if u.Title == "" {
		u.Title = f.Title
	}
	if u.Title == "" {
		u.Title = kind.Name
	}
	return u
}

// fields reads the mapped fields, and holds them against what they are to be.
func (m *mapping) fields(at string, mapped map[string]string, fields []procedure.Field) map[string]string {
	values := map[string]string{}
	for _, f := range fields {
		from, given := mapped[f.ID]
		if !given {
			continue
		}
		read := m.text
		if f.Type == procedure.Date {
			read = m.day
		}
		if v := read(at+"."+f.ID, from); v != "" {
			values[f.ID] = v
		}
	}
	for _, s := range procedure.Values(fields, values) {
		m.bad.addf("%s: %s", at, s)
	}
	return values
}

// must is a text that has to be there.
func (m *mapping) must(at, from string) string {
	before := len(m.bad)
	s := m.text(at, from)
	if s == "" && len(m.bad) == before {
		m.bad.addf("%s: the answers have nothing at %s", at, from)
	}
	return s
}

// text is the text that a value of the mapping stands for; "" when the answers have none.
func (m *mapping) text(at, from string) string {
	if !procedure.IsPointer(from) {
		return from
	}
	v, ok := lookUp(m.answers, from)
	if !ok {
		return ""
	}
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return strings.TrimSpace(v)
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	m.bad.addf("%s: what the answers have at %s is not one value", at, from)
	return ""
}

// day is a day that is written as platforms do: 2026-03-02, 2026-03-02T10:00:00+01:00, 02/03/2026.
func (m *mapping) day(at, from string) string {
	s := m.text(at, from)
	if s == "" {
		return ""
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339, "02/01/2006"} {
		if day, err := time.Parse(layout, s); err == nil {
			return day.Format(time.DateOnly)
		}
	}
	m.bad.addf("%s: what the answers have at %s is not a day: want YYYY-MM-DD, DD/MM/YYYY or a time of RFC 3339", at, from)
	return ""
}

// lookUp evaluates a JSON Pointer (RFC 6901 section 4).
func lookUp(v any, pointer string) (any, bool) {
	for _, token := range strings.Split(pointer, "/")[1:] {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		switch in := v.(type) {
		case map[string]any:
			next, ok := in[token]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(in) || strconv.Itoa(i) != token {
				return nil, false
			}
			v = in[i]
		default:
			return nil, false
		}
	}
	return v, true
}
