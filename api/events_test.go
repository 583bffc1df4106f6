package api

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
)

type feed struct {
	Events []CloudEvent `json:"events"`
	Next   string       `json:"next"`
}

// TestEvents: each deposit of a tenant is told once, in order, page by page; another tenant's is not.
func TestEvents(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Depositor)
	var want []string
	for i := range 7 {
		want = append(want, s.deposited(key, fmt.Sprint(i), "x").Units[0].ID)
		s.deposited(s.key("cd98", archive.Depositor), fmt.Sprint(i), "x")
	}
	var got []string
	from := "0"
	for {
		f := decode[feed](t, s.ask(key, "GET", fmt.Sprintf("/v1/events?limit=2&from=%s", from), nil).body)
		if len(f.Events) == 0 {
			break
		}
		for _, e := range f.Events {
			if e.Type == "sae.deposit" {
				got = append(got, e.Data.Units...)
			}
			if e.SpecVersion != "1.0" || e.Data.Entry == nil || e.ID != fmt.Sprint(*e.Data.Entry) || strings.Contains(e.Type, "apikey") {
				t.Errorf("%+v", e)
			}
		}
		from = f.Next
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	told := make(chan feed)
	go func() {
		told <- decode[feed](t, s.ask(key, "GET", fmt.Sprintf("/v1/events?wait=30&from=%s", from), nil).body)
	}()
	d := s.deposited(key, "later", "x")
	if f := <-told; len(f.Events) != 1 || *f.Events[0].Data.Entry != d.Entry || f.Next != fmt.Sprintf("%d.0", d.Entry+1) {
		t.Errorf("who waits is told %+v", f)
	}
	if r := s.deposit(key, "sealed", "x", "Prefer", "wait=50"); r.StatusCode != 201 {
		t.Fatal(r.Status)
	}
	f := decode[feed](t, s.ask(key, "GET", fmt.Sprintf("/v1/events?from=%d", d.Entry+2), nil).body)
	if len(f.Events) != 1 || f.Events[0].Type != "sae.seal" || f.Events[0].Data.Seal.Leaves < 2 {
		t.Errorf("%+v", f)
	}
}

// TestEventsFitTheirSchemas: what is told has the schema that is told of, and types do not change.
func TestEventsFitTheirSchemas(t *testing.T) {
	s := serve(t, nil)
	f := newFixture(t, s) // deposits, a file, an elimination, a unit that is due
	if _, err := s.a.NoteDue(context.Background(), "cd99", 90); err != nil {
		t.Fatal(err)
	}
	s.ask(s.key("cd99", archive.Depositor), "POST", "/v1/deposits", strings.NewReader("no form"), "Content-Type", "text/plain", "Idempotency-Key", "bad")
	if r := s.deposit(s.key("cd99", archive.Depositor), "sealed", "x", "Prefer", "wait=50"); r.StatusCode != 201 {
		t.Fatal(r.Status)
	}
	if r := f.ask("recordEvent", walks["recordEvent"], s.key("cd99", archive.Depositor)); r.StatusCode/100 != 2 {
		t.Fatalf("%s %s", r.Status, r.body)
	}
	registry := huma.NewMapRegistry("#/components/schemas/", schemaName)
	data := map[string]reflect.Type{}
	for _, x := range eventTypes {
		data[x.name] = x.data
	}
	page := decode[struct{ Events []map[string]any }](t, s.ask(s.key("cd99", archive.Auditor), "GET", "/v1/events?limit=1000", nil).body)
	seen := map[string]bool{}
	for _, e := range page.Events {
		name := e["type"].(string)
		seen[name] = true
		of, ok := data[name]
		if !ok {
			of = typeOf[EntryEvent]()
		}
		res := &huma.ValidateResult{}
		schema := registry.Schema(of, true, "")
		huma.Validate(registry, schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, e["data"], res)
		if len(res.Errors) > 0 {
			t.Errorf("%s: %v\n%v", name, e["data"], res.Errors)
		}
	}
	for _, name := range []string{"sae.deposit", "sae.refused", "sae.seal", "sae.due", "sae.file-event", "sae.elimination-proposed"} {
		if !seen[name] {
			t.Errorf("%s was not told: the test shows nothing of it", name)
		}
	}
	for _, said := range []string{"Martin", "Demande", "APA-1", "contenu", "Périmé", "depositor"} {
		if strings.Contains(fmt.Sprint(page.Events), said) {
			t.Errorf("events tell %q", said)
		}
	}
	doc := string(s.ask("", "GET", "/openapi.json", nil).body)
	text, err := os.ReadFile(filepath.Join("..", "docs", "api.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```json\n{\n \"EntryEvent\"")
	block, _, _ = strings.Cut(block, "```")
	schemas := decode[struct {
		Components struct {
			Schemas map[string]any `json:"schemas"`
		} `json:"components"`
	}](t, []byte(doc)).Components.Schemas
	for name, schema := range decode[map[string]any](t, []byte(`{"EntryEvent"`+block)) {
		if !reflect.DeepEqual(schema, schemas[name]) {
			t.Errorf("docs/api.md says of %s\n%v, it is\n%v", name, schema, schemas[name])
		}
	}
	for _, x := range eventTypes {
		if !strings.Contains(doc, fmt.Sprintf("%q:{\"post\"", x.name)) || !strings.Contains(string(text), "`"+x.name+"`") {
			t.Errorf("%s is not told of", x.name)
		}
	}
}
