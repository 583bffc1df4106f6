package teleprocedure

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sae/api"
	"sae/api/client"
	"sae/archive"
	"sae/archive/archivetest"
	"sae/archive/durable"
	"sae/archive/procedure"
	"sae/retention"
)

const apa = `id: APA
name: Demande d'APA
channels: [digital]
rules: {appraisal: [EXAMPLE-10Y]}
processing: {purpose: p, legal-basis: b, data-subjects: [s], data: [d]}
number: "APA-[0-9-]+"
fields:
  - {id: depot, type: date, required: true}
  - {id: seul, type: boolean}
documents:
  - {id: formulaire, name: Formulaire}
  - {id: donnees, name: Réponses}
  - {id: rib, name: RIB, at-most: 2}
events:
  - {id: depot, name: Dépôt}
teleprocedure:
  person: {issuer: "https://fc.example", sub: /usager/sub}
  names: {family-name: /usager/nom, birth-date: /usager/naissance}
  number: /reference
  opened: /depose
  fields: {depot: /depose, seul: /foyer/0/seul}
  form: {document: formulaire, date: /depose}
  answers: {document: donnees}
  pieces:
    - {type: releve, document: rib}
  event: {id: depot, day: /depose}
`

// world is an archive, a drop folder, and a connector between them.
type world struct {
	t     *testing.T
	a     *archive.Archive
	path  string
	calls http.RoundTripper // what the client goes through
	away  bool              // the archive is not reached
	lose  int               // answers that are lost from now on
	cut   int               // requests that are let through before the archive is away; 0: all
	told  []Outcome
	d     *Depositor
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	if w.cut > 0 {
		if w.cut--; w.cut == 0 {
			w.away = true
		}
	}
	if w.away {
		return nil, io.ErrUnexpectedEOF
	}
	answer, err := w.calls.RoundTrip(r)
	if w.lose > 0 {
		w.lose--
		return nil, io.ErrUnexpectedEOF
	}
	return answer, err
}

func newWorld(t *testing.T) *world {
	t.Helper()
	a := archivetest.Open(t, archive.New{Tenant: "cd99"})
	p, err := a.AddProcedure(context.Background(), "test", "cd99", []byte(apa))
	if err != nil {
		t.Fatal(err)
	}
	h, err := api.New(a, api.Config{Serving: a.Config().Serve.With()})
	if err != nil {
		t.Fatal(err)
	}
	// A depositor's rights are enough.
	w := &world{t: t, a: a, path: filepath.Join(t.TempDir(), "[drop]"), calls: api.Local(h, api.Identity{Name: "tele", Roles: []archive.Role{archive.Depositor}})}
	w.d = &Depositor{Client: &client.Client{URL: "http://archive", HTTP: &http.Client{Transport: w}, Pause: func(context.Context, time.Duration) error { return nil }},
		Procedures: func(id string) (*procedure.Procedure, error) {
			if id != "APA" {
				return nil, Problems{"procedure: none"}
			}
			return p.Procedure, nil
		}, Tell: func(o Outcome) { w.told = append(w.told, o) }}
	w.open()
	t.Cleanup(func() { w.d.Folder.Close() })
	return w
}

// open opens the folder, as a program that starts does.
func (w *world) open() {
	w.t.Helper()
	if w.d.Folder != nil {
		w.d.Folder.Close()
	}
	f, err := OpenFolder(w.path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.d.Folder = f
}

func (w *world) pass() []Outcome {
	w.t.Helper()
	w.told = nil
	if err := w.d.Pass(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	return w.told
}

// form is a submission with its files.
func form(id, sub, number string) (map[string]any, map[string]string) {
	files := map[string]string{"form.pdf": "formulaire " + id, "rib.pdf": "rib " + id}
	return map[string]any{"id": id, "procedure": "APA",
		"answers": map[string]any{"reference": number, "depose": "02/03/2026", "usager": map[string]any{"sub": sub, "nom": "Martin", "naissance": "1944-02-11T00:00:00Z"}, "foyer": []any{map[string]any{"seul": true}}},
		"form":    map[string]any{"file": "form.pdf", "sha256": sum(files["form.pdf"])},
		"pieces":  []any{map[string]any{"file": "rib.pdf", "type": "releve", "sha256": sum(files["rib.pdf"])}}}, files
}

func sum(s string) string { b := sha256.Sum256([]byte(s)); return hex.EncodeToString(b[:]) }

func encode(v any) string { b, _ := json.Marshal(v); return string(b) }

// drop puts a submission into in/.
func (w *world) drop(name string, manifest any, files map[string]string) {
	w.t.Helper()
	dir := filepath.Join(w.path, "in", name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	files = maps.Clone(files)
	files[ManifestName] = encode(manifest)
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) ls(sub string) []string {
	w.t.Helper()
	entries, err := os.ReadDir(filepath.Join(w.path, sub))
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// problems are those of the report on a submission.
func (w *world) problems(name string) string {
	w.t.Helper()
	var r Report
	b, err := os.ReadFile(filepath.Join(w.path, "refused", name+".report.json"))
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Join(r.Problems, "\n")
}

// deposited wants the file of a number to have as many documents, and the event once.
func (w *world) deposited(number string, documents int) {
	w.t.Helper()
	f, err := w.a.As("test", retention.ToRead).File("cd99", number)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(f.Documents) != documents || len(f.Events) != 1 || f.Events[0].Day != "2026-03-02" {
		w.t.Errorf("%s: %d documents, events %+v", number, len(f.Documents), f.Events)
	}
}

func TestFolder(t *testing.T) {
	w := newWorld(t)
	m, files := form("TP-1", "af31", "APA-2026-1")
	w.drop("a", m, files)
	if told := w.pass(); len(told) != 1 || told[0].State != Deposited || told[0].Problems != 0 {
		t.Fatalf("%+v", told)
	}
	w.deposited("APA-2026-1", 3)
	if got := w.ls("done"); !slices.Equal(got, []string{"a", "a.answer.json"}) || len(w.ls("in")) != 0 {
		t.Errorf("done %v, in %v", got, w.ls("in"))
	}
	var answer Answer
	b, err := os.ReadFile(filepath.Join(w.path, "done", "a.answer.json"))
	if err != nil || json.Unmarshal(b, &answer) != nil || !answer.Opened || answer.Deposit.Receipt == "" || answer.Event == "" || answer.ID != "TP-1" {
		t.Errorf("%s, %v", b, err)
	}

	// A zip of the same person goes into her open file; her event happened already, which is said.
	m, files = form("TP-2", "af31", "APA-2026-2")
	path := filepath.Join(w.path, "in", "b.zip")
	writeZip(t, path, m, files)
	if told := w.pass(); len(told) != 1 || told[0].State != Deposited || told[0].Problems == 0 {
		t.Fatalf("%+v", told)
	}
	w.deposited("APA-2026-1", 6)

	// The same submission again is answered again, and not deposited again; another of its id is refused.
	writeZip(t, path, m, files)
	w.open()
	if told := w.pass(); len(told) != 1 || told[0].State != Deposited {
		t.Fatalf("%+v", told)
	}
	w.deposited("APA-2026-1", 6)
	m["answers"].(map[string]any)["reference"] = "APA-2026-3"
	w.drop("c", m, files)
	if told := w.pass(); told[0].State != Refused || !strings.Contains(w.problems("c"), "another submission of this id") {
		t.Fatalf("%+v", told)
	}
}

func writeZip(t *testing.T, path string, manifest any, files map[string]string) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	files = maps.Clone(files)
	files[ManifestName] = encode(manifest)
	for name, text := range files {
		f, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(f, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), os.WriteFile(path, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// TestRefused: all that is wrong is in the report, and nothing of it in what is told.
func TestRefused(t *testing.T) {
	w := newWorld(t)
	outside := filepath.Join(w.path, "..", "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		change func(m map[string]any, files map[string]string)
		want   []string
	}{
		"all": {func(m map[string]any, files map[string]string) {
			m["answers"] = map[string]any{"reference": "X", "depose": "hier", "usager": []any{}, "foyer": []any{map[string]any{"seul": "peut-être"}}}
			m["pieces"].([]any)[0].(map[string]any)["type"] = "chat"
			files["rib.pdf"] = "autre chose"
			files["oublié.pdf"] = "x"
		}, []string{"person.sub: the answers have nothing at /usager/sub", "number: it is not of the form", "fields.depot: what the answers have at /depose is not a day", "field seul: its value is not true or false",
			`pieces[0].type: "chat" is not mapped`, "pieces[0]: its SHA-256", `"oublié.pdf" lies there`}},
		"names": {func(m map[string]any, _ map[string]string) {
			m["form"].(map[string]any)["file"] = "../../../secret"
			m["pieces"].([]any)[0].(map[string]any)["file"] = "C:\\x"
		}, []string{"form.file: want the name of a file", "pieces[0].file: want the name"}},
		"missing":   {func(_ map[string]any, files map[string]string) { delete(files, "form.pdf") }, []string{"form: the file is missing"}},
		"keys":      {func(m map[string]any, _ map[string]string) { m["more"] = 1 }, []string{`unknown field "more"`}},
		"empty":     {func(m map[string]any, _ map[string]string) { clear(m) }, []string{"id: want", "procedure: want", "answers: missing", "form.file: missing", "form.sha256"}},
		"procedure": {func(m map[string]any, _ map[string]string) { m["procedure"] = "RSA" }, []string{"procedure: none"}},
		"of the archive": {func(m map[string]any, files map[string]string) {
			piece := m["pieces"].([]any)[0]
			for _, name := range []string{"2.pdf", "3.pdf"} {
				files[name] = "x"
				m["pieces"] = append(m["pieces"].([]any), map[string]any{"file": name, "type": piece.(map[string]any)["type"], "sha256": sum("x")})
			}
		}, []string{"Refused (422 refused)", "at most 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			m, files := form("TP-"+strings.ReplaceAll(name, " ", "."), "af31", "APA-1")
			tt.change(m, files)
			w.drop(name, m, files)
			told := w.pass()
			if len(told) != 1 || told[0].State != Refused {
				t.Fatalf("%+v", told)
			}
			got := w.problems(name)
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("%s\nhas no %q", got, want)
				}
			}
			if strings.Contains(got, "peut-être") || strings.Contains(fmt.Sprint(told), "oublié") {
				t.Errorf("it tells too much: %s, %v", got, told)
			}
		})
	}
	if s, err := w.a.Status(); err != nil || s.Units > 1 { // the file that was opened for the last one
		t.Errorf("%d units, %v", s.Units, err)
	}

	// A link out of the folder is not followed, and a refused submission that is corrected is deposited.
	m, files := form("TP-link", "af32", "APA-2")
	delete(files, "form.pdf")
	m["form"].(map[string]any)["sha256"] = sum("secret")
	w.drop("link", m, files)
	if err := os.Symlink(outside, filepath.Join(w.path, "in", "link", "form.pdf")); err != nil {
		t.Fatal(err)
	}
	if told := w.pass(); told[0].State != Refused || !strings.Contains(w.problems("link"), "form: the file is missing, or cannot be opened") {
		t.Errorf("%+v", told)
	}
	m, files = form("TP-link", "af32", "APA-2")
	w.drop("corrected", m, files)
	if told := w.pass(); told[0].State != Deposited {
		t.Errorf("%+v", told)
	}
	w.deposited("APA-2", 3)
}

func TestIncomplete(t *testing.T) {
	w := newWorld(t)
	for name, text := range map[string]string{"no manifest": "", "torn": `{"id": "TP-`} {
		dir := filepath.Join(w.path, "in", name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if text != "" {
			if err := os.WriteFile(filepath.Join(dir, ManifestName), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	torn := filepath.Join(w.path, "in", "torn.zip")
	for _, name := range []string{torn, filepath.Join(w.path, "in", "x.zip.part"), filepath.Join(w.path, "in", "notes.txt")} {
		if err := os.WriteFile(name, []byte("PK"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if told := w.pass(); len(told) != 0 || len(w.ls("in")) != 5 {
		t.Errorf("%+v %v", told, w.ls("in"))
	}
	// One that is not complete for long is told, and those behind it go on.
	long := time.Now().Add(-2 * abandoned)
	if err := os.Chtimes(filepath.Join(w.path, "in", "no manifest"), long, long); err != nil {
		t.Fatal(err)
	}
	if told := w.pass(); len(told) != 1 || told[0].State != Incomplete || strings.Contains(told[0].Why, "no manifest") {
		t.Errorf("%+v", told)
	}
	if err := os.Remove(filepath.Join(w.path, "in", "no manifest")); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * settled)
	if err := errors.Join(os.Chtimes(torn, old, old), os.Chtimes(filepath.Join(w.path, "in", "torn", ManifestName), old, old)); err != nil {
		t.Fatal(err)
	}
	if told := w.pass(); len(told) != 2 || told[0].State != Refused || told[1].State != Refused {
		t.Errorf("%+v", told)
	}
}

// TestOnceWhateverIsLost ends each run after one more request, with its answer lost or not, and once with
// the archive away; then a new one goes on. All is deposited once.
func TestOnceWhateverIsLost(t *testing.T) {
	w := newWorld(t)
	for n := 1; n <= 6; n++ { // find, subject, file, deposit, event
		for _, lost := range []bool{false, true} {
			number := fmt.Sprintf("APA-%d-%d", n, map[bool]int{false: 0, true: 1}[lost])
			t.Run(fmt.Sprintf("%d %v", n, lost), func(t *testing.T) {
				w.t = t
				m, files := form("TP-"+number, "sub-"+number, number)
				w.drop(number, m, files)
				w.d.Client.Tries = 1
				if w.cut, w.lose = n, 0; lost {
					w.cut = 0
					w.calls, w.lose = &countdown{w.calls, n - 1, w}, 0
				}
				told := w.pass()
				if c, ok := w.calls.(*countdown); ok {
					w.calls = c.RoundTripper
				}
				if n < 6 && (len(told) != 1 || told[0].State != Later) {
					t.Fatalf("%+v", told)
				}
				w.away, w.cut, w.lose = false, 0, 0
				w.open()
				if told := w.pass(); n < 6 && (len(told) != 1 || told[0].State != Deposited || told[0].Problems != 0) {
					t.Fatalf("%+v", told)
				}
				w.deposited(number, 3)
			})
		}
	}
}

// countdown loses the answer after so many, and all behind it.
type countdown struct {
	http.RoundTripper
	left int
	w    *world
}

func (c *countdown) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.RoundTripper.RoundTrip(r)
	if c.left--; c.left < 0 {
		c.w.away = true
		return nil, io.ErrUnexpectedEOF
	}
	return answer, err
}

// TestOnceWhateverTheDiskDoes fails each step on the disk in turn, and all behind it, as a crash does.
func TestOnceWhateverTheDiskDoes(t *testing.T) {
	w := newWorld(t)
	for n := 1; ; n++ {
		number := fmt.Sprintf("APA-%d", n)
		m, files := form("TP-"+number, "sub-"+number, number)
		w.drop(number, m, files)
		steps := 0
		w.d.Folder.disk = durable.FS{Fault: func(durable.Op, string) error {
			if steps++; steps >= n {
				return errors.New("the power is cut")
			}
			return nil
		}}
		err := w.d.Pass(context.Background())
		w.open()
		w.pass()
		w.deposited(number, 3)
		if len(w.ls("in")) != 0 {
			t.Fatalf("step %d: %v stays", n, w.ls("in"))
		}
		if err == nil && steps < n {
			if n < 20 {
				t.Errorf("only %d steps", n)
			}
			return
		}
	}
}

func TestDoubtIsNotDepositedTwice(t *testing.T) {
	w := newWorld(t)
	m, files := form("TP-1", "af31", "APA-1")
	w.drop("a", m, files)
	w.d.Client.Tries = 1
	w.calls = &countdown{w.calls, 3, w} // the deposit is done, and its answer lost
	if told := w.pass(); told[0].State != Later {
		t.Fatalf("%+v", told)
	}
	w.away = false
	w.calls = w.calls.(*countdown).RoundTripper
	ref := Ref("APA", "TP-1")
	r, err := w.d.Folder.load(ref)
	if err != nil {
		t.Fatal(err)
	}
	r.Asked[deposit] = time.Now().Add(-remembered - time.Hour)
	if err := w.d.Folder.save(ref, r); err != nil {
		t.Fatal(err)
	}
	if told := w.pass(); told[0].State != Refused || !strings.Contains(w.problems("a"), "look into file u") {
		t.Errorf("%+v", told)
	}
}

// TestDeniedEndsThePass: what is wrong with the connector is not held against submissions.
func TestDeniedEndsThePass(t *testing.T) {
	w := newWorld(t)
	h, err := api.New(w.a, api.Config{Serving: w.a.Config().Serve.With()})
	if err != nil {
		t.Fatal(err)
	}
	w.calls = api.Local(h, api.Identity{Name: "x", Roles: []archive.Role{archive.Administrator}})
	m, files := form("TP-1", "af31", "APA-1")
	w.drop("a", m, files)
	if err := w.d.Pass(context.Background()); err == nil || len(w.ls("in")) != 1 || len(w.ls("refused")) != 0 {
		t.Errorf("%v, in %v, refused %v", err, w.ls("in"), w.ls("refused"))
	}
}

func (w *world) push(secret string) (*httptest.Server, *bytes.Buffer) {
	var log bytes.Buffer
	p := &Push{Folder: w.d.Folder, Secret: []byte(secret), Most: 1 << 20, Nudge: func() {
		if err := w.d.Pass(context.Background()); err != nil {
			w.t.Error(err)
		}
	}, Log: slog.New(slog.NewTextHandler(&log, nil))}
	ts := httptest.NewServer(p.Handler())
	w.t.Cleanup(ts.Close)
	return ts, &log
}

func post(t *testing.T, ts *httptest.Server, contentType, body string, headers ...string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequest("POST", ts.URL+"/submissions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := ts.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var said map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, said
}

// pushed gives a submission as one JSON.
func asJSON(m map[string]any, files map[string]string) string {
	for _, f := range append([]any{m["form"]}, m["pieces"].([]any)...) {
		f := f.(map[string]any)
		f["content"] = base64.StdEncoding.EncodeToString([]byte(files[f["file"].(string)]))
	}
	return encode(m)
}

func TestPush(t *testing.T) {
	w := newWorld(t)
	const secret = "a secret of the platform"
	ts, log := w.push(secret)
	bearer := []string{"Authorization", "Bearer " + secret}
	m, files := form("TP-1", "af31", "APA-1")
	body := asJSON(m, files)

	if status, _ := post(t, ts, "application/json", body); status != 401 {
		t.Errorf("nobody: %d", status)
	}
	if status, _ := post(t, ts, "application/json", body, "Authorization", "Bearer other"); status != 401 {
		t.Errorf("another secret: %d", status)
	}
	if status, _ := post(t, ts, "application/json", body, signature, sum("x")); status != 401 || len(w.ls("in")) != 0 {
		t.Errorf("another signature: %d, in %v", status, w.ls("in"))
	}
	mac := hmac.New(sha256.New, []byte(secret))
	io.WriteString(mac, body)
	status, said := post(t, ts, "application/json", body, signature, "sha256="+hex.EncodeToString(mac.Sum(nil)), "Prefer", "wait=30")
	if status != 201 || said["state"] != "deposited" || said["file"] == nil || !strings.Contains(fmt.Sprint(said["deposit"]), sum(files["form.pdf"])) {
		t.Fatalf("%d %v", status, said)
	}
	w.deposited("APA-1", 3)
	if status, said := post(t, ts, "application/json", body, bearer...); status != 200 || said["state"] != "deposited" {
		t.Errorf("pushed again: %d %v", status, said)
	}
	m["answers"].(map[string]any)["reference"] = "APA-9"
	if status, said := post(t, ts, "application/json", encode(m), bearer...); status != 409 || said["code"] != "id-used" {
		t.Errorf("another of its id: %d %v", status, said)
	}
	w.deposited("APA-1", 3)

	m, files = form("TP-2", "af32", "APA-2")
	var b bytes.Buffer
	parts := multipart.NewWriter(&b)
	parts.WriteField("submission", encode(m))
	for _, name := range []string{"rib.pdf", "form.pdf"} {
		f, _ := parts.CreateFormFile("file", name)
		io.WriteString(f, files[name])
	}
	parts.Close()
	if status, said := post(t, ts, parts.FormDataContentType(), b.String(), bearer...); status != 202 || said["state"] != "received" {
		t.Errorf("%d %v", status, said)
	}
	w.deposited("APA-2", 3)

	m, files = form("TP-3", "af33", "bad")
	if status, said := post(t, ts, "application/json", asJSON(m, files), append(bearer, "Prefer", "wait=30")...); status != 422 || !strings.Contains(fmt.Sprint(said["errors"]), "number") {
		t.Errorf("%d %v", status, said)
	}
	for name, tt := range map[string]struct {
		contentType, body string
		status            int
	}{
		"text":       {"text/plain", "x", 415},
		"no JSON":    {"application/json", "{", 422},
		"no content": {"application/json", encode(m)[:0] + strings.ReplaceAll(encode(m), `"content"`, `"title"`), 422},
		"large":      {"application/json", strings.Repeat(" ", 2<<20), 413},
		"torn":       {parts.FormDataContentType(), b.String()[:b.Len()-10], 400},
		"escape":     {"application/json", strings.ReplaceAll(asJSON(m, files), "form.pdf", "../form.pdf"), 422},
	} {
		if status, said := post(t, ts, tt.contentType, tt.body, bearer...); status != tt.status {
			t.Errorf("%s: %d %v, want %d", name, status, said, tt.status)
		}
	}
	if got := w.ls("in"); len(got) != 0 {
		t.Errorf("in: %v", got)
	}
	for _, name := range []string{"Martin", "af31", "form.pdf", "APA-1", "TP-1"} {
		if strings.Contains(log.String(), name) {
			t.Errorf("the log names %s", name)
		}
	}
}

// TestPushIsDurable: whatever step on the disk fails, what was not durable is not said to be taken.
func TestPushIsDurable(t *testing.T) {
	w := newWorld(t)
	const secret = "a secret of the platform"
	p := &Push{Folder: w.d.Folder, Secret: []byte(secret), Most: 1 << 20, Nudge: func() {}, Log: slog.New(slog.DiscardHandler)}
	ts := httptest.NewServer(p.Handler())
	defer ts.Close()
	m, files := form("TP-1", "af31", "APA-1")
	body := asJSON(m, files)
	for n := 1; ; n++ {
		steps := 0
		w.d.Folder.disk = durable.FS{Fault: func(durable.Op, string) error {
			if steps++; steps == n {
				return errors.New("the disk is full")
			}
			return nil
		}}
		status, _ := post(t, ts, "application/json", body, "Authorization", "Bearer "+secret)
		if steps < n {
			if status != 202 || n < 8 {
				t.Errorf("step %d: %d", n, status)
			}
			break
		}
		if status == 202 || status == 200 {
			t.Errorf("step %d failed, and it was taken: %d", n, status)
		}
	}
	w.open()
	if told := w.pass(); len(told) != 1 || told[0].State != Deposited {
		t.Errorf("%+v", told)
	}
}

func FuzzParseManifest(f *testing.F) {
	m, _ := form("TP-1", "af31", "APA-1")
	f.Add([]byte(encode(m)))
	f.Add([]byte(`{"id":"a","procedure":"b","answers":{},"form":{"file":"..","sha256":""}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseManifest(bytes.NewReader(data))
		if err != nil {
			return
		}
		for _, file := range s.files() {
			if !filepath.IsLocal(file.Name) || filepath.Base(file.Name) != file.Name || file.Name == ManifestName {
				t.Errorf("name %q", file.Name)
			}
		}
		p, err := procedure.Parse([]byte(apa))
		if err != nil {
			t.Fatal(err)
		}
		if want, err := s.plan(p); err == nil && (want.person.Sub == "" || !p.NumberFits(want.file.Number) || len(want.units) != len(s.files())+1) {
			t.Errorf("%+v", want)
		}
	})
}

func TestLookUp(t *testing.T) { // the examples of RFC 6901 section 5
	var doc any
	if err := json.Unmarshal([]byte(`{"foo": ["bar", "baz"], "": 0, "a/b": 1, "m~n": 8, " ": 7}`), &doc); err != nil {
		t.Fatal(err)
	}
	for pointer, want := range map[string]any{"/foo/0": "bar", "/": 0.0, "/a~1b": 1.0, "/m~0n": 8.0, "/ ": 7.0, "/foo/00": nil, "/foo/-": nil, "/foo/2": nil, "/foo/bar": nil, "/none/x": nil} {
		if got, _ := lookUp(doc, pointer); got != want {
			t.Errorf("%s: %v, want %v", pointer, got, want)
		}
	}
}
