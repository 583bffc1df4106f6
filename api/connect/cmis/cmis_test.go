package cmis

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sae/api"
	"sae/api/client"
	"sae/archive"
	"sae/archive/archivetest"
	"sae/retention"
)

// world is a repository, an archive, and a connector between them.
type world struct {
	t     *testing.T
	g     *ged
	a     *archive.Archive
	p     *Puller
	near  http.RoundTripper
	lose  int  // answers of the archive that are lost from now on
	away  bool // the archive is not reached
	told  []Outcome
	waits []time.Duration
	state string
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.away {
		return nil, io.ErrUnexpectedEOF
	}
	answer, err := w.near.RoundTrip(r)
	if err == nil && w.lose > 0 {
		w.lose--
		return nil, io.ErrUnexpectedEOF
	}
	return answer, err
}

const mapping = `url: URL/browser
query: SELECT * FROM cmis:folder WHERE state = 'closed' AND cmis:lastModificationDate >= {since}
originating-agency: $service
types:
  - {type: note, skip: true}
  - {type: "cmis:folder", rule: EXAMPLE-5Y, rule-start: "$cmis:lastModificationDate", custom: {source: "$cmis:objectId"}}
  - {type: "*", custom: {version: "$cmis:versionLabel"}}
mark:
  properties: {"sae:unit": $unit}
  secondary-type: sae:archived
  documents: true
`

func newWorld(t *testing.T, edit ...string) *world {
	t.Helper()
	a := archivetest.Open(t, archive.New{Tenant: "cd99", AcceptUnknown: []string{"agencies"}})
	h, err := api.New(a, api.Config{Serving: a.Config().Serve.With()})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, g: newGED(t), a: a, state: filepath.Join(t.TempDir(), "state")}
	w.near = api.Local(h, api.Identity{Name: "ged", Roles: []archive.Role{archive.Depositor}})
	m, err := ParseMapping([]byte(strings.NewReplacer(append(edit, "URL", w.g.server.URL)...).Replace(mapping)))
	if err != nil {
		t.Fatal(err)
	}
	pause := func(_ context.Context, d time.Duration) error { w.waits = append(w.waits, d); return nil }
	w.p = &Puller{Mapping: m, Client: &client.Client{URL: "http://archive", HTTP: &http.Client{Transport: w}, Pause: pause},
		Browser: &Browser{URL: m.URL, Succinct: m.Succinct, User: "u", Password: "p", HTTP: w.g.server.Client(), Pause: pause}, Tell: func(o Outcome) { w.told = append(w.told, o) }}
	w.open()
	t.Cleanup(func() { w.p.State.Close() })
	return w
}

// open opens the state, as a program that starts does.
func (w *world) open() {
	w.t.Helper()
	if w.p.State != nil {
		w.p.State.Close()
	}
	s, err := OpenState(w.state)
	if err != nil {
		w.t.Fatal(err)
	}
	w.p.State = s
}

// pass runs a pass, and wants these outcomes: "f1 archived".
func (w *world) pass(want ...string) []Outcome {
	w.t.Helper()
	w.told = nil
	if err := w.p.Pass(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	var got []string
	for _, o := range w.told {
		got = append(got, o.ID+" "+string(o.Done))
		for _, s := range o.Problems {
			if strings.Contains(s, "Martin") {
				w.t.Errorf("it tells what the repository says of somebody: %s", s)
			}
		}
	}
	if !slices.Equal(got, want) {
		w.t.Fatalf("%v, want %v: %+v", got, want, w.told)
	}
	return w.told
}

// units is how many there are in the archive.
func (w *world) units() int {
	w.t.Helper()
	s, err := w.a.Status()
	if err != nil {
		w.t.Fatal(err)
	}
	return int(s.Units)
}

// closed fills the repository with a closed folder: a subfolder, a document with three versions, one
// without content, and what is left out.
func (w *world) closed(id string) {
	g := w.g
	g.folder(id, "root", "Dossier "+id).props["service"] = "MDPH"
	g.folder(id+"-sub", id, "Courriers")
	g.versioned(id+"-doc", id, "Notification", "v1", "v2", "v3")
	g.document(id+"-letter", id+"-sub", "Courrier", "bonjour")
	g.add(id+"-empty", baseDocument, id, "Vide")
	g.document(id+"-note", id, "Note", "x").props[propType] = "note"
	g.add(id+"-item", "cmis:item", id, "Autre")
	g.objects[id].props["state"] = "closed"
	g.touch(id)
}

const folderUnits = 1 + 1 + 4 + 1 + 1

func TestPull(t *testing.T) {
	for name, edit := range map[string][]string{"full": nil, "succinct": {"query:", "succinct: true\nquery:"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, edit...)
			w.closed("f1")
			w.closed("f2")
			w.g.page = 2
			w.p.DryRun = true
			w.pass("f1 would", "f2 would")
			if w.units() != 0 || slices.ContainsFunc(w.g.asked, func(s string) bool { return strings.HasPrefix(s, "update") || strings.HasPrefix(s, "content") }) {
				t.Error("a dry run does something")
			}
			w.p.DryRun = false
			told := w.pass("f1 archived", "f2 archived")
			if told[0].Units != folderUnits || told[0].Contents != 4 || told[0].Skipped != 2 || len(told[0].Problems) > 0 {
				t.Errorf("%+v", told[0])
			}
			w.holds("f1", told[0].Unit)
			w.pass()
			if w.units() != 2*folderUnits {
				t.Errorf("%d units", w.units())
			}
			// A state that is lost is no harm: the marks tell.
			w.g.change("f1", "sae:unit", told[0].Unit)
			w.open()
			w.pass()
		})
	}
}

// holds holds what was archived of a folder against the repository.
func (w *world) holds(id, unit string) {
	w.t.Helper()
	r := w.a.As("test", retention.ToRead)
	u, err := r.Unit(unit, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	if u.Title != "Dossier "+id || u.Custom["source"] != id || u.Agency != "MDPH" || u.StartDate != "2026-03-02" {
		w.t.Errorf("%+v", u)
	}
	titles := map[string]string{}
	page, err := r.List(archive.Filter{Tenant: "cd99", Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, s := range page.Units {
		titles[s.Title] = s.Unit
	}
	for title, content := range map[string]string{"Notification (version 1.0)": "v1", "Notification (version 3.0)": "v3", "Courrier": "bonjour"} {
		v, err := r.Unit(titles[title], 0)
		if err != nil || len(v.Objects) != 1 {
			w.t.Fatalf("%s: %v in %v", title, err, titles)
		}
		var b bytes.Buffer
		if _, _, err := r.Get(context.Background(), v.Objects[0].ID, &b); err != nil || b.String() != content {
			w.t.Errorf("%s: %q, %v", title, b.String(), err)
		}
	}
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	for object, want := range map[string]bool{id: true, id + "-doc": true, id + "-letter": true, id + "-empty": true, id + "-sub": false, id + "-doc;1": false, id + "-note": false} {
		mark, _ := w.g.objects[object].props["sae:unit"].(string)
		types := fmt.Sprint(w.g.objects[object].props[propSecondary])
		if markForm.MatchString(mark) != want || strings.Contains(types, "sae:archived") != want || !strings.Contains(types, "autre") {
			w.t.Errorf("%s: mark %q, types %s", object, mark, types)
		}
	}
	if w.g.objects[id].props["sae:unit"] != unit || w.g.objects[id+"-letter"].props["sae:unit"] != titles["Courrier"] && id == "f2" {
		w.t.Errorf("marked with other units")
	}
}

func TestNoMoreItems(t *testing.T) {
	w := newWorld(t)
	w.closed("f1")
	w.g.page, w.g.noMore = 3, true
	if told := w.pass("f1 archived"); told[0].Units != folderUnits {
		t.Errorf("%+v", told)
	}
}

// TestChanged: what changes while it is read is not archived by the pass, whenever it changes.
func TestChanged(t *testing.T) {
	for _, what := range []string{"content f1-doc;2", "content f1-letter", "update f1"} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.closed("f1")
			once := false
			w.g.before = func(selector, id string) {
				if selector+" "+id == what && !once {
					once = true
					w.g.change("f1", "note", "changed")
				}
			}
			w.pass("f1 changed")
			archived := w.units()
			if strings.HasPrefix(what, "content") && archived != 0 {
				t.Errorf("%d units", archived)
			}
			if w.g.objects["f1"].props["sae:unit"] != nil {
				t.Error("it is marked")
			}
			w.open()
			w.pass("f1 archived")
			if w.units() != archived+folderUnits {
				t.Errorf("%d units, after %d", w.units(), archived)
			}
			w.pass()
		})
	}
	w := newWorld(t)
	w.closed("f1")
	w.g.objects["f1-letter"].props[propOut] = true
	w.pass("f1 changed")
	w.g.change("f1-letter", propOut, false)
	w.pass("f1 archived")
}

// TestDocumentChangedBeforeItsMark: the folder is archived and marked; the document is named.
func TestDocumentChangedBeforeItsMark(t *testing.T) {
	w := newWorld(t)
	w.closed("f1")
	w.g.before = func(selector, id string) {
		if selector == "update" && id == "f1" {
			w.g.change("f1-letter", "note", "changed")
		}
	}
	told := w.pass("f1 archived")
	if len(told[0].Problems) != 1 || !strings.Contains(told[0].Problems[0], "not marked: marking f1-letter: the repository answers 409 updateConflict") {
		t.Errorf("%+v", told)
	}
	w.pass()
}

func TestOnce(t *testing.T) {
	w := newWorld(t)
	w.closed("f1")
	w.p.Client.Tries = 1
	w.lose = 1
	w.pass("f1 later") // it was deposited, and nobody knows
	w.open()
	w.pass("f1 archived")
	if w.units() != folderUnits {
		t.Errorf("%d units", w.units())
	}

	// The repository goes away between the deposit and the marks, or loses the answer to one.
	for i, what := range []string{"update f2", "update f3-letter"} {
		id := fmt.Sprintf("f%d", i+2)
		w.closed(id)
		w.g.fault = func(selector, id string) (int, string) {
			if selector+" "+id == what {
				return 503, ""
			}
			return 0, ""
		}
		w.pass(id + " later")
		w.g.fault = nil
		if i == 1 {
			w.g.mu.Lock()
			done, err := w.p.State.load("R", id)
			if err != nil || len(done.Marks) == 0 {
				t.Fatalf("%+v, %v", done, err)
			}
			o := w.g.objects[done.Marks[0].ID] // the mark was made, and the answer lost
			o.props["sae:unit"] = done.Units[done.Marks[0].Unit]
			w.g.touch(o.id)
			w.g.mu.Unlock()
		}
		w.open()
		if told := w.pass(id + " archived"); len(told[0].Problems) > 0 {
			t.Errorf("%+v", told)
		}
		w.pass()
	}
	if w.units() != 3*folderUnits {
		t.Errorf("%d units", w.units())
	}
}

func TestDoubt(t *testing.T) {
	w := newWorld(t)
	w.closed("f1")
	w.p.Client.Tries, w.away = 1, true
	w.pass("f1 later")
	w.away = false
	done, err := w.p.State.load("R", "f1")
	if err != nil || done.Asked == nil {
		t.Fatalf("%+v, %v", done, err)
	}
	long := done.Asked.Add(-remembered - time.Hour)
	done.Asked = &long
	if err := w.p.State.save(done); err != nil {
		t.Fatal(err)
	}
	if told := w.pass("f1 refused"); !strings.Contains(told[0].Problems[0], "no answer came") {
		t.Errorf("%+v", told)
	}
}

// TestBusy: a repository that is busy is asked again, when it says.
func TestBusy(t *testing.T) {
	w := newWorld(t)
	w.closed("f1")
	busy := map[string]int{}
	w.g.fault = func(what, id string) (int, string) {
		if busy[what]++; busy[what] == 1 && what != "update" {
			return 503, ""
		}
		return 0, ""
	}
	w.pass("f1 archived")
	if len(w.waits) != 6 || slices.ContainsFunc(w.waits, func(d time.Duration) bool { return d != 7*time.Second }) {
		t.Errorf("waited %v", w.waits)
	}
}

// TestContentIsHeld: what is not as it was declared is not archived.
func TestContentIsHeld(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil      func(o *thing)
		done, want string
	}{
		"long":      {func(o *thing) { o.content = append(o.content, '!') }, "refused", "longer than the 7 bytes"},
		"short":     {func(o *thing) { o.content = o.content[:3] }, "later", "ended after 3 of 7 bytes"},
		"sha-256":   {func(o *thing) { o.content[0]++ }, "refused", "does not have the digest"},
		"md5 alone": {func(o *thing) { o.props[propHash] = "{md5}" + strings.Repeat("0", 32) }, "refused", "does not have the digest"},
		"too large": {func(o *thing) { o.props[propLength], o.props[propHash], o.content = nil, nil, make([]byte, 2000) }, "refused", "more than 1000 bytes"},
		"untitled":  {func(o *thing) { o.props[propName] = "" }, "refused", "has no title"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.p.Most = 1000
			w.closed("f1")
			w.closed("f2")
			tt.spoil(w.g.objects["f1-letter"])
			told := w.pass("f1 "+tt.done, "f2 archived")
			if !strings.Contains(strings.Join(told[0].Problems, "\n"), tt.want) {
				t.Errorf("%+v", told[0])
			}
			if w.units() != folderUnits {
				t.Errorf("%d units", w.units())
			}
		})
	}
}

// TestMarkThatDoesNotHold: a repository that takes a mark and does not show it is not archived again and
// again.
func TestMarkThatDoesNotHold(t *testing.T) {
	w := newWorld(t)
	w.closed("f1")
	w.g.before = func(selector, id string) {
		if selector == "object" && id == "f1" {
			w.g.mu.Lock()
			w.g.objects["f1"].props["sae:unit"] = nil
			w.g.mu.Unlock()
		}
	}
	w.pass("f1 refused")
	w.pass("f1 refused")
	if w.units() != folderUnits {
		t.Errorf("%d units", w.units())
	}
}

func TestWithoutMark(t *testing.T) {
	w := newWorld(t, mapping[strings.Index(mapping, "mark:"):], "")
	w.closed("f1")
	w.pass("f1 archived")
	w.pass("f1 unchanged")
	w.g.change("f1-letter", "note", "x")
	w.pass("f1 archived") // another state of it
	if w.units() != 2*folderUnits {
		t.Errorf("%d units", w.units())
	}
}

// TestSince: the cursor moves with what was done, and not past what was not.
func TestSince(t *testing.T) {
	w := newWorld(t)
	w.closed("f1")
	w.closed("f2")
	w.g.objects["f2-letter"].content = nil
	w.pass("f1 archived", "f2 later")
	since, err := w.p.State.since("R")
	if err != nil || since.UnixMilli() > w.g.objects["f2"].props[propModified].(int64) || since.IsZero() {
		t.Errorf("%v, %v", since, err)
	}
	w.g.objects["f2-letter"].content = []byte("bonjour")
	w.pass("f2 archived")
	w.pass()
}

func TestDenied(t *testing.T) {
	w := newWorld(t)
	w.closed("f1")
	w.p.Browser.Password = "other"
	if err := w.p.Pass(context.Background()); err == nil || !strings.Contains(err.Error(), "401 permissionDenied") || strings.Contains(err.Error(), "Martin") {
		t.Errorf("%v", err)
	}
	w.p.Browser.Password, w.p.Browser.Repository = "p", "X"
	if err := w.p.Pass(context.Background()); err == nil || !strings.Contains(err.Error(), `"X" is not there; there are: R`) {
		t.Errorf("%v", err)
	}
}

func TestParseMapping(t *testing.T) {
	for _, tt := range []struct{ old, new, want string }{
		{"url: URL/browser", "url: ftp://x", "url: want the URL"},
		{"url: URL/browser", "url: https://u:p@x/", "--user-file"},
		{"query: SELECT", "query: ''\nx: SELECT", `unknown field "x"`},
		{"type: note", "type: ''", "types[0].type: missing"},
		{"type: note", "type: cmis:folder", "types[1].type: \"cmis:folder\" is there twice"},
		{"skip: true", "document: rib", "types[0].document: a type of document"},
		{`"$cmis:lastModificationDate"`, "2026-01-01", "types[1].rule-start: want a property"},
		{"$unit", "$unite", `mark.properties.sae:unit: "$unite"`},
		{"sae:unit", "cmis:name", "it is the repository's own"},
		{"$unit", "oui", "mark.properties: want one with $unit"},
		{"URL/browser", "URL/browser\nversions: some", `versions: "some"`},
	} {
		text := strings.Replace(mapping, tt.old, tt.new, 1)
		if _, err := ParseMapping([]byte(strings.Replace(text, "URL", "https://ged.example", 1))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.new, err)
		}
	}
}

func FuzzParseMapping(f *testing.F) {
	f.Add([]byte(strings.Replace(mapping, "URL", "https://ged.example", 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseMapping(data)
		if err == nil && (m.URL == "" || m.Query == "") {
			t.Errorf("%+v", m)
		}
		var bad Problems
		if errors.As(err, &bad) && len(bad) == 0 {
			t.Error("refused for nothing")
		}
	})
}

// FuzzObject reads what a repository may send.
func FuzzObject(f *testing.F) {
	f.Add([]byte(`{"succinctProperties":{"cmis:objectId":"1","cmis:lastModificationDate":1795638482051,"cmis:contentStreamHash":["{sha-1}00"]}}`))
	f.Add([]byte(`{"properties":{"x":{"id":"cmis:objectId","type":"id","value":["1",null,{}]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var raw rawObject
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if d.Decode(&raw) != nil {
			return
		}
		o, err := raw.object()
		if err != nil {
			return
		}
		if o.ID == "" || len(o.ID) > maxID || o.length() < -1 {
			t.Errorf("%+v", o)
		}
		if day := o.Day(propModified); day != "" {
			if _, err := time.Parse(time.DateOnly, day); err != nil {
				t.Error(err)
			}
		}
		declared(o)
		(&Mapping{}).ruleOf(o)
	})
}

// TestNobodyIsHeldUp: folders that cannot be read do not keep those behind them from being archived, and
// the cursor does not pass them; a repository that is away ends the pass.
func TestNobodyIsHeldUp(t *testing.T) {
	w := newWorld(t)
	var want []string
	for i := range 5 {
		id := fmt.Sprintf("f%d", i)
		w.closed(id)
		if i < 4 {
			w.g.objects[id+"-letter"].content = nil // cut short
			want = append(want, id+" later")
		}
	}
	w.pass(append(want, "f4 archived")...)
	w.g.fault = func(what, id string) (int, string) {
		if id == "f0" {
			return 403, "permissionDenied"
		}
		return 0, ""
	}
	w.pass("f0 refused", "f1 later", "f2 later", "f3 later")
	if since, err := w.p.State.since("R"); err != nil || since.UnixMilli() > w.g.objects["f0"].props[propModified].(int64) {
		t.Errorf("%v, %v", since, err)
	}
	w.g.fault = func(what, _ string) (int, string) {
		if what == "object" {
			return 503, ""
		}
		return 0, ""
	}
	w.pass("f0 later", "f1 later", "f2 later")
}

// TestIntoCitizenFile puts folders into the citizen file that they name.
func TestIntoCitizenFile(t *testing.T) {
	w := newWorld(t, "originating-agency: $service", "file: $numero", mapping[strings.Index(mapping, "  - {type: \"cmis:folder\""):strings.Index(mapping, "mark:")],
		"  - {type: cmis:document, document: courrier}\n")
	ctx := context.Background()
	_, err := w.a.AddProcedure(ctx, "test", "cd99", []byte(`id: APA
name: APA
channels: [digital]
rules: {appraisal: [EXAMPLE-10Y]}
processing: {purpose: p, legal-basis: b, data-subjects: [s], data: [d]}
documents: [{id: courrier, name: Courrier}]
`))
	if err == nil {
		_, err = w.a.OpenFile(ctx, "test", archive.NewFile{Tenant: "cd99", Procedure: "APA", Number: "APA-1"})
	}
	if err != nil {
		t.Fatal(err)
	}
	w.g.folder("f1", "root", "Dossier f1").props["numero"] = "APA-1"
	w.g.document("d1", "f1", "Courrier", "bonjour")
	w.g.versioned("d2", "f1", "Notification", "v1", "v2")
	w.g.change("f1", "state", "closed")
	w.g.folder("f2", "root", "Sans numéro")
	w.g.change("f2", "state", "closed")
	w.g.folder("f3", "root", "Inconnu").props["numero"] = "APA-2"
	w.g.change("f3", "state", "closed")
	told := w.pass("f1 archived", "f2 refused", "f3 refused")
	if !strings.Contains(fmt.Sprint(told[1].Problems), "f2 has nothing at $numero") || !strings.Contains(fmt.Sprint(told[2].Problems), "not-found") {
		t.Errorf("%+v", told)
	}
	f, err := w.a.As("test", retention.ToRead).File("cd99", "APA-1")
	if err != nil || len(f.Documents) != 3 {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestHostileRepository: what a repository may send is bounded, and it sends nobody elsewhere.
func TestHostileRepository(t *testing.T) {
	for name, tt := range map[string]struct{ answer, want string }{
		"deep":        {`{"R":{"repositoryId":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}}`, "nested deeper than"},
		"twice":       {`{"R":{},"R":{}}`, "a key is there twice"},
		"no JSON":     {`<html>`, "not well-formed"},
		"no address":  {`{"R":{"repositoryId":"R"}}`, "no address"},
		"cut":         {`{"R":{"repositoryId"`, "unexpected EOF"},
		"elsewhere":   {`{"R":{"repositoryUrl":"http://elsewhere.invalid/browser/R","rootFolderUrl":"http://elsewhere.invalid/browser/R/root"}}`, ""},
		"two of them": {`{"R":{},"S":{}}`, `"" is not there; there are: R, S`},
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			b := &Browser{URL: "http://ged.example/browser", HTTP: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
				if asked++; r.URL.Host != "ged.example" {
					t.Errorf("asked %s", r.URL.Host)
				}
				body := tt.answer
				if asked > 1 {
					body = `{"succinctProperties":{"cmis:objectId":"1"}}`
				}
				return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
			})}}
			err := b.Connect(context.Background())
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%v, want %s", err, tt.want)
				}
				return
			}
			if o, err := b.object(context.Background(), "1"); err != nil || o.ID != "1" || asked != 2 {
				t.Errorf("%v, %v", o, err)
			}
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
