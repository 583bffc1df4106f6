package api

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
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
	known   []string // identifiers that there are
}

// wild reports whether the next thing drawn is not to be as the schema says.
func (m *maker) wild() bool { return m.IntN(8) == 0 }

var texts = []string{"", "x", "Demande", "APA-1", "decision", "apa", "2024-02-30", "2024-02-29", "é\u0301\U0001F600", "\x00\x1f", "../../etc/passwd", "%00", "'; DROP TABLE", strings.Repeat("long ", 3000), "-1", "99999999999999999999", "null", "bytes=0-"}

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

func (m *maker) value(s schema, depth int) any {
	if s.Ref != "" {
		s = m.schemas[strings.TrimPrefix(s.Ref, "#/components/schemas/")]
	}
	if m.wild() || depth > 5 {
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
			if slices.Contains(s.Required, name) && !m.wild() || m.IntN(2) == 0 {
				out[name] = m.value(p, depth+1)
			}
		}
		if m.wild() {
			out[m.text("")] = m.text("")
		}
		return out
	case "array":
		out := []any{}
		for range m.IntN(4) {
			if s.Items != nil {
				out = append(out, m.value(*s.Items, depth+1))
			}
		}
		return out
	case "integer":
		return []int64{0, 1, 2, -1, 100, 1 << 40, -1 << 63}[m.IntN(7)]
	case "number":
		return m.Float64() * 1e6
	case "boolean":
		return m.IntN(2) == 0
	}
	return m.text(s.Format)
}

var fuzzRounds = 60

// TestNoRequestIsAnInternalError asks for every operation with what its schema says, and with what it
// does not: nothing of it is ever a 5xx, nor makes the archive unsound.
func TestNoRequestIsAnInternalError(t *testing.T) {
	s := serve(t, nil)
	f := newFixture(t, s)
	var doc struct {
		Paths      map[string]map[string]described `json:"paths"`
		Components struct {
			Schemas map[string]schema `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(s.ask("", "GET", "/openapi.json", nil).body, &doc); err != nil {
		t.Fatal(err)
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	m := &maker{Rand: rand.New(rand.NewPCG(seed, 0)), schemas: doc.Components.Schemas, known: []string{f.operation, f.upload, guidOf(0, f.operation), f.elimination, f.unit, f.object, f.file, f.subject, "1", "2"}}
	seen, plain := map[string]map[int]int{}, map[string]bool{} // plain: nothing can be wrong with it
	for range fuzzRounds {
		for path, item := range doc.Paths {
			for method, op := range item {
				plain[op.ID] = op.Body == nil && len(op.Parameters) == 0
				status := m.ask(s, strings.ToUpper(method), path, op)
				if seen[op.ID] == nil {
					seen[op.ID] = map[int]int{}
				}
				seen[op.ID][status]++
			}
		}
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

// ask draws one request.
func (m *maker) ask(s *served, method, path string, op described) int {
	keys := roles[op.ID]
	key := s.key("cd99", keys[m.IntN(len(keys))])
	var headers []string
	query := url.Values{}
	for _, p := range op.Parameters {
		text := fmt.Sprint(m.value(p.Schema, 1))
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
			door := map[string]string{"X-Tenant-Id": "0", "X-Context-Id": "DEFAULT_WORKFLOW", "X-Action": "RESUME", "X-Http-Method-Override": "GET", "Prefer": "respond-async",
				"Tus-Resumable": "1.0.0", "Upload-Length": "100", "Upload-Offset": "0", "Upload-Metadata": "kind dHJhbnNmZXI=,filename eA=="}[p.Name]
			if door != "" && !m.wild() {
				text = door
			}
			if m.IntN(3) == 0 || p.Name == "Idempotency-Key" || door != "" {
				headers = append(headers, p.Name, text)
			}
		}
	}
	var body io.Reader
	if op.Body != nil {
		for media, c := range op.Body.Content {
			b, _ := json.Marshal(m.value(c.Schema, 0))
			switch {
			case media == "multipart/form-data":
				meta, _ := json.Marshal(m.value(m.schemas["DepositMetadata"], 0))
				ct, form := form(part{"metadata", string(meta), nil}, part{m.text(""), m.text(""), nil})
				headers, body = append(headers, "Content-Type", ct), form
			case m.wild():
				headers, body = append(headers, "Content-Type", "text/plain"), strings.NewReader(string(b[:len(b)/2]))
			default:
				headers, body = append(headers, "Content-Type", media), strings.NewReader(string(b))
			}
		}
	}
	r := s.ask(key, method, path+"?"+query.Encode(), body, headers...)
	// To clients of VITAM another tenant is a 401.
	if r.StatusCode >= 500 || r.StatusCode == 401 && !strings.Contains(path, "-external/") {
		s.t.Errorf("%s %s?%s: %s %s\n%v", method, path, query.Encode(), r.Status, r.body, headers)
	}
	return r.StatusCode
}
