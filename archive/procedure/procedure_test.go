package procedure

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestShipped(t *testing.T) {
	if ids := Shipped(); !slices.Contains(ids, "MDPH") || len(ids) < 3 {
		t.Errorf("shipped: %v", ids)
	}
	for _, id := range Shipped() {
		p, err := Parse(ShippedFile(id))
		if err != nil || p.ID != id {
			t.Errorf("%s: %+v, %v", id, p, err)
		}
	}
	if ShippedFile("../procedure") != nil || ShippedFile("") != nil {
		t.Error("it gives what is not shipped")
	}
}

const small = `id: P
name: A procedure
channels: [digital, paper]
rules: {appraisal: [R]}
processing: {purpose: p, legal-basis: b, data-subjects: [s], data: [d]}
documents: [{id: form, name: Form, fields: [{id: n, type: integer}]}]
`

// mapped is small, with forms that come in.
const mapped = small + `fields: [{id: f, type: date, required: true}]
events: [{id: e, name: E}]
teleprocedure:
  person: {issuer: "https://sso.example", sub: /sub}
  number: /number
  fields: {f: /day}
  form: {document: form, fields: {n: /n}}
  answers: {document: form}
  pieces: [{type: x, document: form}, {type: "*", document: form, title: /title}]
  event: {id: e, day: /day}
`

func TestTeleprocedure(t *testing.T) {
	p, err := Parse([]byte(mapped))
	if err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]string{"x": "x", "y": "*"} {
		if piece, ok := p.Tele.Piece(word); !ok || piece.Type != want || piece.Document != "form" {
			t.Errorf("%s: %+v", word, piece)
		}
	}
	for _, tt := range []struct{ old, new, want string }{
		{"sub: /sub", "sub: ''", "teleprocedure.person.sub: missing"},
		{"sub: /sub", "sub: af31", "teleprocedure.person.sub: it is the same for everybody"},
		{"number: /number", "number: A-1", `teleprocedure.number: "A-1" is the same for every file`},
		{"{f: /day}", "{}", "teleprocedure.fields: field f is required"},
		{"{f: /day}", "{f: /day, g: x}", `teleprocedure.fields: field "g" is not known; known: f`},
		{"form: {document: form,", "form: {document: letter,", `teleprocedure.form.document: "letter" is no type`},
		{"fields: {n: /n}", "fields: {n: /n~2}", `teleprocedure.form.fields.n: "/n~2" is not a JSON Pointer`},
		{"answers: {document: form}", "answers: {document: a}", "teleprocedure.answers.document"},
		{"{type: x,", "{type: '*',", `teleprocedure.pieces[1].type: "*" is there twice`},
		{"event: {id: e,", "event: {id: d,", `teleprocedure.event.id: "d" is no event`},
		{"event: {id: e,", "event: {id: e, more: 1,", `unknown field "more"`},
		{"channels: [digital, paper]", "channels: [paper]", `"form" does not come by channel digital`},
	} {
		text := strings.Replace(mapped, tt.old, tt.new, 1)
		if _, err := Parse([]byte(text)); text == mapped || err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.new, err, tt.want)
		}
	}
}

func TestParse(t *testing.T) {
	p, err := Parse([]byte(small))
	if err != nil {
		t.Fatal(err)
	}
	if d, ok := p.Document("form"); !ok || d.Fields[0].Type != Integer {
		t.Errorf("%+v", d)
	}
	if _, ok := p.Document("other"); ok {
		t.Error("a document that is not there")
	}
	for _, tt := range []struct{ name, old, new, want string }{
		{"empty", small, "", "empty"},
		{"unknown key", "name: A procedure", "nam: A procedure", `unknown field "nam"`},
		{"no code", "id: P", "id: a b", `id: "a b" is not a code`},
		{"no name", "name: A procedure", "name: ' '", "name: missing"},
		{"no channel", "[digital, paper]", "[]", "channels: missing"},
		{"channel twice", "[digital, paper]", "[paper, paper]", `channels[1]: "paper" is there twice`},
		{"no rule", "[R]", "[]", "rules.appraisal: missing"},
		{"no purpose", "purpose: p", "purpose: ''", "processing.purpose: missing"},
		{"no basis", "legal-basis: b, ", "", "processing.legal-basis: missing"},
		{"no documents", "[{id: form, name: Form, fields: [{id: n, type: integer}]}]", "[]", "documents: 0"},
		{"document twice", "[{id: form,", "[{id: form, name: F}, {id: form,", `documents[1].id: "form" is there twice`},
		{"foreign channel", "name: Form,", "name: Form, channels: [both],", `documents[0].channels: "both" is not among those`},
		{"negative", "name: Form,", "name: Form, at-most: -1,", "documents[0].at-most: -1 is negative"},
		{"type", "type: integer", "type: number", `documents[0].fields[0].type: "number"`},
		{"choice without values", "type: integer", "type: choice", "documents[0].fields[0].values: missing"},
		{"values without choice", "type: integer", "type: text, values: [a]", "these are for a choice"},
		{"pattern", "type: integer", "type: text, pattern: '('", "documents[0].fields[0].pattern: error parsing"},
		{"pattern of no text", "type: integer", "type: date, pattern: 'a'", "this is for a text"},
		{"control character", "name: A procedure", `name: "a\0b"`, "is not plain text"},
		{"long", "name: A procedure", "name: " + strings.Repeat("a", maxText+1), "2001 bytes, more than 2000"},
		{"event", "documents:", "events: [{id: e}]\ndocuments:", "events[0].name: missing"},
		{"too large", small, strings.Repeat(" ", MaxFile+1), "at most 131072"},
		{"bomb", small, strings.Repeat("[", maxMarks+1), "5001 brackets, braces and anchors"},
		{"long line", small, strings.Repeat("[", maxMarks), "..."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(small, tt.old, tt.new, 1)
			if text == small {
				t.Fatal("nothing was changed")
			}
			if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
		})
	}
}

// TestParseSaysAll: all that is wrong is said at once.
func TestParseSaysAll(t *testing.T) {
	_, err := Parse([]byte("id: ''\n"))
	bad, ok := err.(Problems)
	if !ok || len(bad) != 9 {
		t.Errorf("%d problems: %v", len(bad), err)
	}
}

func TestValues(t *testing.T) {
	p, err := Parse([]byte(strings.Replace(small, "[{id: n, type: integer}]", `[{id: n, type: integer}, {id: day, type: date, required: true}, {id: yes, type: boolean},
  {id: one, type: choice, values: [a, b]}, {id: ref, type: text, pattern: "[A-Z]{2}"}]`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ values, want string }{
		{`{"day":"2026-02-28"}`, ""},
		{`{"day":"2026-02-28","n":"-12","yes":"true","one":"b","ref":"AB"}`, ""},
		{`{}`, "field day is missing"},
		{`{"day":"28/02/2026"}`, "field day: its value is not a day, YYYY-MM-DD"},
		{`{"day":"2026-02-30"}`, "field day: its value is not a day, YYYY-MM-DD"},
		{`{"day":"2026-02-28","n":"1.5"}`, "field n: its value is not a whole number of at most 18 digits"},
		{`{"day":"2026-02-28","n":"1234567890123456789"}`, "field n: its value is not a whole number of at most 18 digits"},
		{`{"day":"2026-02-28","yes":"oui"}`, "field yes: its value is not true or false"},
		{`{"day":"2026-02-28","one":"c"}`, "field one: its value is not one of a, b"},
		{`{"day":"2026-02-28","ref":"ABC"}`, "field ref: its value is not of the form [A-Z]{2}"},
		{`{"day":"2026-02-28","ref":"AB\n"}`, "field ref: its value is not of the form [A-Z]{2}"},
		{`{"day":"2026-02-28","Day":"x"}`, `field "Day" is not known; known: n, day, yes, one, ref`},
	} {
		var values map[string]string
		if err := json.Unmarshal([]byte(tt.values), &values); err != nil {
			t.Fatal(err)
		}
		d, _ := p.Document("form")
		if got := Values(d.Fields, values).Error(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.values, got, tt.want)
		}
	}
}

// FuzzParse: what is read has all that it must have, and nothing makes it panic.
func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte(mapped))
	for _, id := range Shipped() {
		f.Add(ShippedFile(id))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err == nil && (p.ID == "" || len(p.Documents) == 0 || len(p.Rules.Appraisal) == 0 || p.Processing.Basis == "") {
			t.Errorf("%q gives %+v", b, p)
		}
	})
}
