package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"sae/archive"
)

// schema is as much of JSON Schema as the interface uses.
type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"`
	Format     string            `json:"format"`
	Enum       []any             `json:"enum"`
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
	Items      *schema           `json:"items"`
	Additional any               `json:"additionalProperties"`
	Minimum    *float64          `json:"minimum"`
	Maximum    *float64          `json:"maximum"`
	MinLength  int               `json:"minLength"`
	MaxLength  *int              `json:"maxLength"`
	MinItems   int               `json:"minItems"`
	Pattern    string            `json:"pattern"`
}

type parameter struct {
	Name   string `json:"name"`
	In     string `json:"in"`
	Schema schema `json:"schema"`
}

type described struct {
	ID         string      `json:"operationId"`
	Parameters []parameter `json:"parameters"`
	Body       *struct {
		Content map[string]struct {
			Schema schema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
}

// maker draws requests from the interface, now valid, now not.
type maker struct {
	*rand.Rand
	schemas map[string]schema
	f       *fixture
	tame    bool            // what is drawn is as the schema says, as far as the maker understands it
	past    map[string]bool // operations that got past their schema
	known   []string        // identifiers that there are
}

// wild reports whether the next thing drawn is not to be as the schema says.
func (m *maker) wild() bool { return !m.tame && m.IntN(8) == 0 }

var texts = []string{"", "x", "Demande", "APA-1", "decision", "apa", "2024-02-30", "2024-02-29", "é\u0301\U0001F600", "\x00\x1f", "../../etc/passwd", "%00", "'; DROP TABLE", strings.Repeat("long ", 3000), "-1", "99999999999999999999", "null", "bytes=0-"}

// said is what a property says when it is to make sense; "" for nothing in particular.
func (m *maker) said(name string) string {
	of := map[string][]string{"units": {m.f.unit, m.f.file}, "picks": {m.f.unit}, "subject": {m.f.subject}, "into": {m.f.subject}, "merged": {m.f.subject}, "persons": {m.f.subject}, "files": {m.f.file},
		"rule": {"APA"}, "event": {"decision"}, "procedure": {"apa"}, "grounds": {"17(3)(b)", "12(6)"}, "issuer": {"https://i.example"}, "sub": {"1", "2"}, "until": {"2999-01-01"}, "originatingAgency": {"MDPH"},
		"file": {apa, "rules: []", "id: x", m.f.file}, "letter": {strings.Repeat("ab", 32)}, "operations": {"showStatus"}, "parents": {m.f.file}, "birthDate": {"1950-01-02"}, "received": {today()}, "sent": {today()},
		"xml": {"<x/>", "<ArchiveTransferReply xmlns=\"fr:gouv:culture:archivesdefrance:seda:v2.2\"/>"}, "expires": {inAnHour()}}[name]
	if len(of) == 0 {
		return ""
	}
	return of[m.IntN(len(of))]
}

// fits makes a text as long as a schema wants it.
func (s *schema) fits(text string) string {
	for len(text) < s.MinLength {
		text += "x"
	}
	if s.MaxLength != nil && len(text) > *s.MaxLength {
		text = strings.ToValidUTF8(text[:*s.MaxLength], "")
	}
	return text
}

func (m *maker) text(format string) string {
	switch n := m.IntN(4); {
	case n == 0 && len(m.known) > 0:
		return m.known[m.IntN(len(m.known))]
	case format == "date" && !m.wild():
		return fmt.Sprintf("20%02d-%02d-%02d", m.IntN(100), 1+m.IntN(12), 1+m.IntN(28))
	case format == "date-time" && !m.wild():
		return fmt.Sprintf("20%02d-01-01T00:00:00Z", m.IntN(100))
	}
	return texts[m.IntN(len(texts))]
}

func (m *maker) value(name string, s schema, depth int) any {
	if s.Ref != "" {
		s = m.schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	if m.wild() || depth > 5 && !m.tame {
		return []any{nil, true, -1, 1e300, "x", []any{}, map[string]any{"a": 1}}[m.IntN(7)]
	}
	if len(s.Enum) > 0 {
		return s.Enum[m.IntN(len(s.Enum))]
	}
	kind, _ := s.Type.(string)
	if kinds, ok := s.Type.([]any); ok && len(kinds) > 0 {
		kind, _ = kinds[0].(string)
	}
	switch kind {
	case "object":
		out := map[string]any{}
		for name, p := range s.Properties {
			if slices.Contains(s.Required, name) && !m.wild() || m.IntN(2) == 0 && name != "$schema" {
				out[name] = m.value(name, p, depth+1)
			}
		}
		if m.wild() {
			out[m.text("")] = m.text("")
		}
		return out
	case "array":
		out := []any{}
		for range m.IntN(4) + s.MinItems {
			if s.Items != nil {
				out = append(out, m.value(name, *s.Items, depth+1))
			}
		}
		return out
	case "integer":
		if m.tame && s.Minimum != nil && s.Maximum != nil {
			return int64(*s.Minimum) + m.Int64N(int64(*s.Maximum-*s.Minimum)+1)
		}
		if m.tame {
			return 1 + m.IntN(2)
		}
		return []int64{0, 1, 2, -1, 100, 1 << 40, -1 << 63}[m.IntN(7)]
	case "number":
		if m.tame {
			return 0.5
		}
		return m.Float64() * 1e6
	case "boolean":
		return m.IntN(2) == 0
	}
	if !m.tame {
		return m.text(s.Format)
	}
	if text := m.said(name); text != "" {
		return text
	}
	text := m.text(s.Format)
	if s.Format == "date" {
		text = fmt.Sprintf("20%02d-%02d-%02d", m.IntN(24), 1+m.IntN(12), 1+m.IntN(28))
	}
	return s.fits(text)
}

var fuzzRounds = 60

// TestNoRequestIsAnInternalError asks for every operation with what its schema says, and with what it
// does not: nothing of it is ever a 5xx, nor makes the archive unsound. What is drawn as the schema says
// gets past it: of most operations the archive itself says what it thinks of it.
func TestNoRequestIsAnInternalError(t *testing.T) {
	s := serve(t, nil)
	f := newFixture(t, s)
	type interfaceOf struct {
		Paths      map[string]map[string]described `json:"paths"`
		Components struct {
			Schemas map[string]schema `json:"schemas"`
		} `json:"components"`
	}
	var docs [2]interfaceOf // of the service, and of those who run it
	for i, b := range [][]byte{s.ask("", "GET", "/openapi.json", nil).body, s.administer("", "GET", "/openapi.json", nil).body} {
		if err := json.Unmarshal(b, &docs[i]); err != nil {
			t.Fatal(err)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m := &maker{Rand: rand.New(rand.NewPCG(seed, 0)), f: f, past: map[string]bool{}, known: []string{f.operation, f.upload, guidOf(0, f.operation), f.elimination, f.unit, f.object, f.file, f.subject, f.request, f.hold, f.derogation, f.start, f.event, "1", "2"}}
	seen, plain := map[string]map[int]int{}, map[string]bool{} // plain: nothing can be wrong with it
	for range fuzzRounds {
		for _, doc := range docs {
			m.schemas = doc.Components.Schemas
			for path, item := range doc.Paths {
				for method, op := range item {
					plain[op.ID] = op.Body == nil && !slices.ContainsFunc(op.Parameters, func(p parameter) bool {
						return !slices.Contains([]string{"Idempotency-Key", "Prefer", "If-None-Match"}, p.Name)
					})
					status := m.ask(s, strings.ToUpper(method), path, op)
					if seen[op.ID] == nil {
						seen[op.ID] = map[int]int{}
					}
					seen[op.ID][status]++
				}
			}
		}
	}
	for id := range roles {
		if len(seen[id]) == 0 {
			t.Errorf("%s was not asked for", id)
		}
	}
	t.Logf("%d of %d operations got past their schema", len(m.past), len(roles))
	if len(m.past)*10 < len(roles)*9 {
		t.Errorf("too few got past: only %v", slices.Sorted(maps.Keys(m.past)))
	}
	s.settle()
	if report, err := s.a.Audit(context.Background(), "administrator", archive.AuditOptions{Sample: 1}); err != nil || !report.Sound() {
		t.Errorf("after it: %v %+v", err, report)
	}
	for id, statuses := range seen {
		refused := 0
		for status, n := range statuses {
			if status >= 400 {
				refused += n
			}
		}
		if refused == 0 && !plain[id] {
			t.Errorf("%s: nothing was refused: %v", id, statuses)
		}
	}
}

// named is what a parameter of a path names, mostly.
func (m *maker) named(operation, parameter string) string {
	switch parameter {
	case "act":
		for part, id := range map[string]string{"Derogation": m.f.derogation, "Start": m.f.start, "Event": m.f.event} {
			if strings.Contains(operation, part) {
				return id
			}
		}
		return m.f.hold
	}
	return map[string]string{"request": m.f.request, "subject": m.f.subject, "unit": m.f.unit, "elimination": m.f.elimination, "file": m.f.file, "object": m.f.object, "rule": "APA", "procedure": "apa"}[parameter]
}

// read is the entity tag of what a path is about.
func (m *maker) read(s *served, path string) string {
	parts := strings.Split(path, "/")
	at := strings.Join(parts[:min(4, len(parts))], "/")
	if i := slices.Index(parts, "units"); i > 2 && i+1 < len(parts) { // a correction is of a unit
		at = "/v1/units/" + parts[i+1]
	}
	return s.ask(s.key("cd99", archive.Archivist), "GET", at, nil).Header.Get("ETag")
}

// ask draws one request: every third makes sense.
func (m *maker) ask(s *served, method, path string, op described) int {
	m.tame = m.IntN(3) == 0
	keys := roles[op.ID]
	key := s.key("cd99", keys[m.IntN(len(keys))])
	var headers []string
	query := url.Values{}
	for _, p := range op.Parameters {
		text := fmt.Sprint(m.value(p.Name, p.Schema, 1))
		if id := m.named(op.ID, p.Name); id != "" && (m.tame || m.IntN(2) == 0) {
			text = id
		}
		switch p.In {
		case "path":
			path = strings.NewReplacer("{"+p.Name+"}", url.PathEscape(text), "{"+p.Name+"...}", strings.ReplaceAll(url.PathEscape(text), "%2F", "/")).Replace(path)
		case "query":
			if m.IntN(3) == 0 && p.Name != "wait" {
				query.Set(p.Name, text)
			}
		case "header":
			text = strings.Map(func(r rune) rune {
				if r < ' ' || r == 0x7f {
					return -1
				}
				return r
			}, text)
			if p.Name == "Idempotency-Key" && !m.wild() {
				text = fmt.Sprint("fuzz-", m.Uint64())
			}
			if p.Name == "Prefer" && !strings.HasPrefix(path, "/v1/deposits") && !strings.HasPrefix(path, "/v1/transfers") {
				continue // it would wait
			}
			if p.Name == "If-Match" && !m.wild() {
				text = m.read(s, path)
			}
			door := map[string]string{"X-Tenant-Id": "0", "X-Context-Id": "DEFAULT_WORKFLOW", "X-Action": "RESUME", "X-Http-Method-Override": "GET", "Prefer": "respond-async",
				"Tus-Resumable": "1.0.0", "Upload-Length": "100", "Upload-Offset": "0", "Upload-Metadata": "kind dHJhbnNmZXI=,filename eA=="}[p.Name]
			if door != "" && !m.wild() {
				text = door
			}
			if m.IntN(3) == 0 || p.Name == "Idempotency-Key" || door != "" || p.Name == "If-Match" && !m.wild() {
				headers = append(headers, p.Name, text)
			}
		}
	}
	var body io.Reader
	if op.Body != nil {
		for media, c := range op.Body.Content {
			b, _ := json.Marshal(m.value("", c.Schema, 0))
			switch {
			case media == "multipart/form-data":
				meta, _ := json.Marshal(m.value("", m.schemas["DepositMetadata"], 0))
				ct, form := form(part{"metadata", string(meta), nil}, part{m.text(""), m.text(""), nil})
				headers, body = append(headers, "Content-Type", ct), form
			case m.wild():
				headers, body = append(headers, "Content-Type", "text/plain"), strings.NewReader(string(b[:len(b)/2]))
			default:
				headers, body = append(headers, "Content-Type", media), strings.NewReader(string(b))
			}
		}
	}
	ask := s.ask
	if administration[op.ID] {
		ask = s.administer
	}
	r := ask(key, method, path+"?"+query.Encode(), body, headers...)
	var p Problem
	if json.Unmarshal(r.body, &p); p.Code != "invalid" && p.Code != "malformed" && p.Code != "media-type" {
		m.past[op.ID] = true
	}
	// To clients of VITAM another tenant is a 401.
	if r.StatusCode >= 500 || r.StatusCode == 401 && !strings.Contains(path, "-external/") {
		s.t.Errorf("%s %s?%s: %s %s\n%v", method, path, query.Encode(), r.Status, r.body, headers)
	}
	return r.StatusCode
}
