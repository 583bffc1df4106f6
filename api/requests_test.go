package api

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"sae/archive"
)

// asker asks in the name of a role, and counts its keys.
type asker struct {
	*served
	n int
}

// post writes, and wants a status; match is an If-Match, "" for none.
func (c *asker) post(role archive.Role, path, body, match string, want int) *reply {
	c.t.Helper()
	c.n++
	headers := []string{"Idempotency-Key", fmt.Sprintf("step-%d", c.n)}
	if body != "" {
		headers = append(headers, "Content-Type", "application/json")
	}
	if match != "" {
		headers = append(headers, "If-Match", match)
	}
	r := c.ask(c.key("cd99", role), "POST", path, strings.NewReader(body), headers...)
	if r.StatusCode != want {
		c.t.Fatalf("POST %s %s: %s %s", path, body, r.Status, r.body)
	}
	return r
}

// tag is the entity tag of a resource.
func (c *asker) tag(path string) string {
	c.t.Helper()
	r := c.ask(c.key("cd99", archive.Archivist), "GET", path, nil)
	if r.StatusCode != 200 || r.Header.Get("ETag") == "" {
		c.t.Fatalf("GET %s: %s %s", path, r.Status, r.body)
	}
	return r.Header.Get("ETag")
}

// open opens a request and has the identity checked.
func (c *asker) open(article int, subject string) (path string) {
	c.t.Helper()
	r := c.post(archive.Depositor, "/v1/requests", fmt.Sprintf(`{"article":%d,"subject":%q,"who":"Claire Martin","address":["1 rue des Lilas"],"wish":"mes données"}`, article, subject), "", 201)
	path = r.Header.Get("Location")
	c.post(archive.OriginatingAgency, path+"/identify", `{"method":"au guichet"}`, "", 201)
	return path
}

// TestErasureOverHTTP takes a request for erasure from its opening to its certificate.
func TestErasureOverHTTP(t *testing.T) {
	s := serve(t, nil)
	f := newFixture(t, s)
	c := &asker{served: s}
	path := c.open(17, f.subject)
	analysed := decode[Analysed](t, c.post(archive.Archivist, path+"/analyse", "", "", 201).body)
	if len(analysed.Findings) == 0 {
		t.Fatalf("%+v", analysed)
	}
	decision := `{"outcome":"granted","legalBasis":"RGPD art. 17(1)(d)","eraseUnits":[{"numbers":[1],"ground":"17(1)(d)"}]}`
	if p := c.post(archive.DataProtection, path+"/decide", decision, "", 428).problem(t); p.Code != "if-match-required" {
		t.Errorf("%+v", p)
	}
	c.post(archive.DataProtection, path+"/decide", decision, "*", 428)
	before := c.tag(path)
	c.post(archive.OriginatingAgency, path+"/identify", `{"method":"par lettre"}`, "", 201)
	if p := c.post(archive.DataProtection, path+"/decide", decision, before, 412).problem(t); p.Code != "changed" {
		t.Errorf("%+v", p)
	}
	match := c.tag(path)
	decided := c.post(archive.DataProtection, path+"/decide", decision, match, 201)
	c.n-- // the same key: the answer to a retry, with the If-Match that it had
	again := c.post(archive.DataProtection, path+"/decide", decision, match, 201)
	if again.Header.Get("Idempotency-Replayed") != "true" || !bytes.Equal(again.body, decided.body) {
		t.Errorf("%v\n%s\n%s", again.Header, decided.body, again.body)
	}
	letter := s.ask(s.key("cd99", archive.DataProtection), "GET", path+"/letter", nil)
	if letter.StatusCode != 200 || !bytes.HasPrefix(letter.body, []byte("%PDF")) || letter.Header.Get("Content-Type") != "application/pdf" {
		t.Errorf("letter: %s %.80q", letter.Status, letter.body)
	}
	if p := c.post(archive.Archivist, path+"/erasure", "", c.tag(path), 422).problem(t); !strings.Contains(fmt.Sprint(p.Faults), "not answered") {
		t.Errorf("%+v", p)
	}
	c.post(archive.DataProtection, path+"/answer", `{}`, "", 201)
	c.post(archive.DataProtection, path+"/erasure", "", c.tag(path), 403)
	c.n++
	r := s.ask(s.key("cd99", archive.Archivist), "POST", path+"/erasure", nil, "Idempotency-Key", "erase", "If-Match", c.tag(path), "Prefer", "wait=50")
	if x := decode[Execution](t, r.body); r.StatusCode != 200 || x.State != executed || x.Destroyed != 1 || x.Certificate == nil {
		t.Fatalf("%s %s\n%s", r.Status, r.body, s.log)
	}
	r = s.ask(s.key("cd99", archive.Archivist), "POST", path+"/erasure", nil, "Idempotency-Key", "erase", "If-Match", `"0-x"`)
	if r.StatusCode != 200 || r.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("a retry: %s %s", r.Status, r.body)
	}
	if r := s.ask(s.key("cd99", archive.Auditor), "GET", "/v1/units/"+f.file, nil); r.StatusCode != http.StatusGone {
		t.Errorf("%s %s", r.Status, r.body)
	}
	for format, begins := range map[string]string{"json": "{", "pdf": "%PDF", "asice": "PK"} {
		r := s.ask(s.key("cd99", archive.Auditor), "GET", path+"/certificate?format="+format, nil)
		if r.StatusCode != 200 || !strings.HasPrefix(string(r.body), begins) || strings.Contains(string(r.body), "Martin") {
			t.Errorf("certificate as %s: %s %.100q", format, r.Status, r.body)
		}
	}
	shown := s.ask(s.key("cd99", archive.DataProtection), "GET", path, nil)
	if strings.Contains(string(shown.body), "Martin") || strings.Contains(s.log.String(), "Martin") {
		t.Errorf("what the request said of the person is there still: %s", shown.body)
	}
}

// TestRestrictionAndCorrection: a person objects to what is kept, and has it restricted and corrected.
func TestRestrictionAndCorrection(t *testing.T) {
	s := serve(t, nil)
	f := newFixture(t, s)
	c := &asker{served: s}
	path := c.open(16, f.subject)
	c.post(archive.DataProtection, path+"/decide", `{"outcome":"granted","legalBasis":"RGPD art. 16"}`, c.tag(path), 201)
	unit, subject := "/v1/units/"+f.file, "/v1/subjects/"+f.subject
	correct := path + "/corrections/units/" + f.file
	stale := c.tag(unit)
	if r := s.ask(s.key("cd99", archive.Archivist), "GET", "/v1/files/"+f.number, nil, "If-None-Match", c.tag("/v1/files/"+f.number)); r.StatusCode != 304 {
		t.Errorf("a file that did not change: %s %s", r.Status, r.body)
	}
	c.post(archive.Archivist, "/v1/files/"+f.number+"/events", `{"event":"decision"}`, `"1-x"`, 412)
	c.post(archive.Archivist, correct, `{"title":"Dossier de Mme Martin","note":"titre"}`, stale, 201)
	c.post(archive.Archivist, correct, `{"title":"Autre","note":"titre"}`, stale, 412)
	c.post(archive.Archivist, correct, `{"title":"Dossier de Claire Martin","note":"prénom","restrict":true}`, c.tag(unit), 201)
	c.post(archive.Archivist, path+"/corrections/subject", `{"givenNames":"Claire","reason":"état civil"}`, c.tag(subject), 201)
	c.post(archive.Archivist, path+"/end", `{"reason":"corrigé"}`, c.tag(path), 201)
	if r := s.ask(s.key("cd99", archive.Auditor), "GET", unit, nil); !strings.Contains(string(r.body), "Dossier de Claire Martin") {
		t.Errorf("%s", r.body)
	}
	restricted := c.open(18, f.subject)
	c.post(archive.DataProtection, restricted+"/decide", `{"outcome":"granted","legalBasis":"RGPD art. 18(1)(a)"}`, c.tag(restricted), 201)
	q := decode[archive.Request](t, c.post(archive.Archivist, restricted+"/restriction", `{}`, c.tag(restricted), 201).body)
	if q.State() != archive.RequestExecuted {
		t.Errorf("%+v", q)
	}
	if r := s.ask(s.key("cd99", archive.Archivist), "GET", "/v1/units/"+f.file, nil); r.StatusCode != 200 || strings.Contains(string(r.body), "Martin") {
		t.Errorf("a restricted unit is read for its instruction: %s %s", r.Status, r.body)
	}
	acts := decode[struct {
		Acts []archive.Act `json:"acts"`
	}](t, s.ask(s.key("cd99", archive.DataProtection), "GET", "/v1/restrictions", nil).body)
	if len(acts.Acts) != 2 {
		t.Fatalf("%+v", acts)
	}
	for _, act := range acts.Acts {
		at := "/v1/restrictions/" + act.ID
		tag := c.tag(at)
		c.post(archive.DataProtection, at+"/lift", `{"reason":"litige terminé"}`, tag, 201)
		c.post(archive.DataProtection, at+"/lift", `{"reason":"litige terminé"}`, tag, 412)
	}
	if r := s.ask(s.key("cd99", archive.Archivist), "GET", "/v1/units/"+f.file, nil); !strings.Contains(string(r.body), "Martin") {
		t.Errorf("%s", r.body)
	}
}

// TestPackageOverHTTP: who asks for access gets a zip, and the log says who made it.
func TestPackageOverHTTP(t *testing.T) {
	s := serve(t, nil)
	f := newFixture(t, s)
	c := &asker{served: s}
	path := c.open(15, f.subject)
	if r := c.post(archive.Archivist, path+"/package", "", "", 422); r.problem(t).Code != "refused" {
		t.Errorf("before the decision: %s", r.body)
	}
	c.post(archive.DataProtection, path+"/decide", `{"outcome":"granted","legalBasis":"RGPD art. 15"}`, c.tag(path), 201)
	r := c.post(archive.Archivist, path+"/package", "", "", 200)
	z, err := zip.NewReader(bytes.NewReader(r.body), int64(len(r.body)))
	if err != nil || len(z.File) < 2 {
		t.Fatalf("%v %d", err, len(r.body))
	}
	c.post(archive.Archivist, path+"/end", `{}`, c.tag(path), 201)
	log := s.ask(s.key("cd99", archive.DataProtection), "GET", "/v1/access-log?purpose=data-subject-request", nil, "X-Purpose-Reason", "contrôle", "X-Agent", "archivist")
	if log.StatusCode != 200 || !strings.Contains(string(log.body), `"package"`) || !strings.Contains(string(log.body), `{"records":`) {
		t.Errorf("%s %s", log.Status, log.body)
	}
	dpo := s.key("cd99", archive.DataProtection)
	page := decode[struct {
		Requests []archive.Request `json:"requests"`
		Next     string            `json:"next"`
	}](t, s.ask(dpo, "GET", "/v1/requests?all=true&limit=1", nil).body)
	if len(page.Requests) != 1 || page.Next != page.Requests[0].ID {
		t.Fatalf("%+v", page)
	}
	rest := s.ask(dpo, "GET", "/v1/requests?all=true&after="+page.Next, nil)
	if !strings.Contains(string(rest.body), path[len("/v1/requests/"):]) || strings.Contains(string(rest.body), page.Next) {
		t.Errorf("%s", rest.body)
	}
	if p := s.ask(dpo, "GET", "/v1/requests?after=nonsense", nil).problem(t); p.Status != 422 {
		t.Errorf("%+v", p)
	}
	if r := s.ask(dpo, "GET", "/v1/gdpr/register.pdf", nil); r.StatusCode != 200 || !bytes.HasPrefix(r.body, []byte("%PDF")) {
		t.Errorf("%s", r.Status)
	}
}

// TestNoDecisionOnWhatChanged: of many who change what they read at the same time, one does.
func TestNoDecisionOnWhatChanged(t *testing.T) {
	s := serve(t, nil)
	f := newFixture(t, s)
	c := &asker{served: s}
	path := "/v1/subjects/" + f.subject
	tag := c.tag(path)
	key := s.key("cd99", archive.Archivist)
	var wg sync.WaitGroup
	var mu sync.Mutex
	codes := map[int]int{}
	for i := range 8 {
		wg.Go(func() {
			r := s.ask(key, "POST", path+"/rectify", strings.NewReader(fmt.Sprintf(`{"givenNames":"Claire %d","reason":"x"}`, i)), "Content-Type", "application/json", "Idempotency-Key", fmt.Sprint("r", i), "If-Match", tag)
			mu.Lock()
			defer mu.Unlock()
			codes[r.StatusCode]++
		})
	}
	wg.Wait()
	if codes[201] != 1 || codes[412] != 7 {
		t.Errorf("%v", codes)
	}
	subject, err := s.a.Subject(f.subject)
	if err != nil || subject.Version != 2 {
		t.Errorf("%+v %v", subject, err)
	}
}

// TestLinkingTellsNoNames: who has no role that reads links identifiers, and is told no names.
func TestLinkingTellsNoNames(t *testing.T) {
	s := serve(t, nil)
	f := newFixture(t, s)
	c := &asker{served: s}
	r := c.post(archive.Depositor, "/v1/subjects/"+f.subject+"/identities", `{"issuer":"https://sso.example","sub":"7"}`, "", 201)
	if strings.Contains(string(r.body), "Martin") || !strings.Contains(string(r.body), `"withheld":true`) {
		t.Errorf("%s", r.body)
	}
	other, err := s.a.NewSubject(context.Background(), "archivist", "cd99", archive.PersonData{FamilyName: "Martin"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	from, into := "/v1/subjects/"+f.subject, "/v1/subjects/"+other.ID
	merged := c.post(archive.DataProtection, from+"/merge", fmt.Sprintf(`{"into":%q,"reason":"même état civil"}`, other.ID), c.tag(from), 201)
	if !strings.Contains(string(merged.body), other.ID) {
		t.Errorf("%s", merged.body)
	}
	split := decode[archive.Subject](t, c.post(archive.DataProtection, into+"/split", fmt.Sprintf(`{"merged":%q,"reason":"homonymes"}`, f.subject), c.tag(into), 201).body)
	if split.ID != f.subject || split.MergedInto != "" {
		t.Errorf("%+v", split)
	}
}
