package api

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/hex"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sae/archive"
	"sae/archive/serving"
)

// vitamClient does what VITAM's own clients do (IngestExternalClient, AdminExternalClient and
// VitamPoolingClient, as documented and as their sources say), and holds answers against what these
// take: which headers are read, which words are known, which statuses mean what.
type vitamClient struct {
	t      *testing.T
	s      *served
	key    string
	tenant string
}

var (
	vitamStates   = []string{"PAUSE", "RUNNING", "COMPLETED"}
	vitamStatuses = []string{"UNKNOWN", "STARTED", "ALREADY_EXECUTED", "OK", "WARNING", "KO", "FATAL"}
)

func (c *vitamClient) ask(method, path string, body io.Reader, headers ...string) *reply {
	c.t.Helper()
	r := c.s.ask(c.key, method, path, body, append([]string{"X-Tenant-Id", c.tenant, "X-Access-Contract-Id", "contrat", "X-Application-Id", "app"}, headers...)...)
	if r.StatusCode >= 400 && method != "HEAD" {
		c.error(r)
	}
	return r
}

// error wants the form of an error.
func (c *vitamClient) error(r *reply) VitamError {
	c.t.Helper()
	e := decode[VitamError](c.t, r.body)
	if r.Header.Get("Content-Type") != "application/json" || e.HTTPCode != r.StatusCode || e.Code == "" || e.Context == "" || e.State != "KO" && e.State != "FATAL" || e.Message == "" || e.Description == "" {
		c.t.Errorf("no VitamError: %s %v %s", r.Status, r.Header, r.body)
	}
	return e
}

// ingest is IngestExternalClient.ingest: it gives the identifier of the operation.
func (c *vitamClient) ingest(body io.Reader, headers ...string) *reply {
	c.t.Helper()
	return c.ask("POST", "/ingest-external/v1/ingests", body, append([]string{"X-Context-Id", "DEFAULT_WORKFLOW", "X-ACTION", "RESUME", "Content-Type", "application/octet-stream", "Accept", "application/xml"}, headers...)...)
}

func (c *vitamClient) mustIngest(body io.Reader, headers ...string) string {
	c.t.Helper()
	r := c.ingest(body, headers...)
	id := r.Header.Get("X-Request-Id")
	if b, err := base32Lower.DecodeString(id); r.StatusCode != 202 || err != nil || len(id) != 36 || len(b) != 22 || b[0] != 1 {
		c.t.Fatalf("%s %v %s\n%s", r.Status, r.Header, r.body, c.s.log)
	}
	return id
}

// wait is VitamPoolingClient.wait: it gives the status in the end.
func (c *vitamClient) wait(id string) string {
	c.t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		r := c.ask("HEAD", "/admin-external/v1/operations/"+id, nil, "Accept", "application/json")
		state, status := r.Header.Get("X-Global-Execution-State"), r.Header.Get("X-Global-Execution-Status")
		if r.StatusCode/100 != 2 || !slices.Contains(vitamStates, state) || !slices.Contains(vitamStatuses, status) || len(r.body) > 0 {
			c.t.Fatalf("%s %v", r.Status, r.Header)
		}
		if state == "COMPLETED" {
			if r.StatusCode != 200 {
				c.t.Errorf("completed: %s", r.Status)
			}
			return status
		}
		if state == "PAUSE" || r.StatusCode != 202 {
			c.t.Errorf("the client takes it for an end: %s %s %s", r.Status, state, status)
		}
	}
	c.t.Fatalf("it does not end\n%s", c.s.log)
	return ""
}

// details is AdminExternalClient.getOperationProcessExecutionDetails.
func (c *vitamClient) details(id string) VitamItemStatus {
	c.t.Helper()
	r := c.ask("GET", "/admin-external/v1/operations/"+id, nil, "X-Action", id, "Accept", "application/json")
	v := decode[VitamResponse[VitamItemStatus]](c.t, r.body)
	if !bytes.Contains(r.body, []byte(`"$hits"`)) || v.Code != r.StatusCode || v.Hits.Total != 1 || len(v.Results) != 1 || len(v.Results[0].Meter) != len(vitamStatuses) || !slices.Contains(vitamStatuses, v.Results[0].Status) {
		c.t.Fatalf("%s %s", r.Status, r.body)
	}
	return v.Results[0]
}

func newVitamClient(t *testing.T, s *served) *vitamClient {
	return &vitamClient{t, s, s.key("cd99", archive.Depositor), "0"}
}

func TestVitamIngest(t *testing.T) {
	c := newVitamClient(t, serve(t, nil))
	if r := c.ask("GET", "/ingest-external/v1/status", nil); r.StatusCode != 204 {
		t.Errorf("%s", r.Status)
	}
	package0 := soundSIP(t)
	id := c.mustIngest(bytes.NewReader(package0))
	if status := c.wait(id); status != "OK" {
		t.Fatalf("%s %+v\n%s", status, c.details(id), c.s.log)
	}
	if d := c.details(id); d.State != "COMPLETED" || d.Status != "OK" || d.Meter[3] != 1 {
		t.Errorf("%+v", d)
	}
	atr := c.ask("GET", "/ingest-external/v1/ingests/"+id+"/archivetransferreply", nil, "Accept", "application/octet-stream")
	if atr.StatusCode != 200 || !bytes.Contains(atr.body, []byte("<SystemId>u")) || atr.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%s %s", atr.Status, atr.body)
	}
	if old := c.ask("GET", "/ingest-external/v1/ingests/"+id+"/reports", nil); !bytes.Equal(old.body, atr.body) {
		t.Errorf("%s %s", old.Status, old.body)
	}
	m := c.ask("GET", "/ingest-external/v1/ingests/"+id+"/manifests", nil, "Accept", "application/octet-stream")
	if m.StatusCode != 200 || !bytes.Equal(m.body, inZip(t, package0, "manifest.xml")) {
		t.Errorf("%s %s", m.Status, m.body)
	}
	r := c.ask("GET", "/ingest-external/v1/operations/"+id, nil)
	if v := decode[VitamResponse[VitamItemStatus]](t, r.body); r.StatusCode != 200 || v.Results[0].Status != "OK" || r.Header.Get("X-Global-Execution-State") != "COMPLETED" {
		t.Errorf("the older form: %s %s", r.Status, r.body)
	}
	warned := c.mustIngest(sip(t, "default"))
	if status := c.wait(warned); status != "WARNING" {
		t.Errorf("a reply with warnings: %s", status)
	}
	if n := c.s.units("cd99"); n != 2 {
		t.Errorf("%d units", n)
	}
}

func inZip(t *testing.T, b []byte, name string) []byte {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := z.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// soundSIP is a transfer about which there is nothing to say.
func soundSIP(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w, b := zip.NewWriter(&out), sip(t, "default").Bytes()
	for _, name := range []string{"manifest.xml", "content/a.txt"} {
		content := bytes.Replace(inZip(t, b, name), []byte("<Size>3</Size>"), []byte("<Size>3</Size><FormatIdentification><FormatId>x-fmt/111</FormatId></FormatIdentification>"), 1)
		f, err := w.Create(name)
		if err == nil {
			_, err = f.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// asTar gives a zip as tar.
func asTar(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range []string{"manifest.xml", "content/a.txt"} {
		content := inZip(t, b, name)
		err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o600})
		if err == nil {
			_, err = w.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestVitamPackages(t *testing.T) {
	c := newVitamClient(t, serve(t, nil))
	inTar := asTar(t, soundSIP(t))
	var inGzip bytes.Buffer
	z := gzip.NewWriter(&inGzip)
	z.Write(inTar)
	z.Close()
	for media, body := range map[string][]byte{"application/x-tar": inTar, "application/gzip": inGzip.Bytes(), "application/zip": soundSIP(t)} {
		id := c.mustIngest(bytes.NewReader(body), "Content-Type", media)
		if status := c.wait(id); status != "OK" {
			t.Errorf("%s: %s %+v", media, status, c.details(id))
		}
	}
}

func TestVitamRefused(t *testing.T) {
	c := newVitamClient(t, serve(t, nil))
	for name, body := range map[string][]byte{"agreement": sip(t, "nowhere").Bytes(), "no package": []byte("x"), "empty": nil} {
		id := c.mustIngest(bytes.NewReader(body))
		if status := c.wait(id); status != "KO" {
			t.Errorf("%s: %s", name, status)
		}
		if d := c.details(id); d.State != "COMPLETED" || d.Message == "" {
			t.Errorf("%s: %+v", name, d)
		}
		if r := c.ask("GET", "/ingest-external/v1/ingests/"+id+"/archivetransferreply", nil); r.StatusCode != 200 || !bytes.Contains(r.body, []byte("<ReplyCode>KO</ReplyCode>")) {
			t.Errorf("%s: %s %s", name, r.Status, r.body)
		}
		if r := c.ask("GET", "/ingest-external/v1/ingests/"+id+"/manifests", nil); r.StatusCode != 404 {
			t.Errorf("%s: %s", name, r.Status)
		}
	}
	if n := c.s.units("cd99"); n != 0 {
		t.Errorf("%d units", n)
	}
}

func TestVitamHeaders(t *testing.T) {
	c := newVitamClient(t, serve(t, nil))
	body := soundSIP(t)
	for _, x := range []struct {
		what    string
		headers []string
		status  int
	}{
		{"a test", []string{"X-Context-Id", "BLANK_TEST"}, 400},
		{"a holding scheme", []string{"X-Context-Id", "HOLDING_SCHEME"}, 400},
		{"a filing scheme", []string{"X-Context-Id", "FILING_SCHEME"}, 400},
		{"an unknown context", []string{"X-Context-Id", "UNHEARD"}, 400},
		{"step by step", []string{"X-Action", "NEXT"}, 400},
		{"a path", []string{"Content-Type", "application/json"}, 415},
		{"no tenant", []string{"X-Tenant-Id", ""}, 412},
		{"a foreign tenant", []string{"X-Tenant-Id", "1"}, 401},
		{"an unknown tenant", []string{"X-Tenant-Id", "7"}, 401},
		{"no number", []string{"X-Tenant-Id", "cd99"}, 401},
		{"a negative number", []string{"X-Tenant-Id", "-1"}, 401},
		{"a wrong digest", []string{"X-Manifest-Digest-Algorithm", "SHA-512", "X-Manifest-Digest-Value", strings.Repeat("00", 64)}, 400},
		{"a digest without algorithm", []string{"X-Manifest-Digest-Value", strings.Repeat("00", 64)}, 400},
	} {
		if r := c.ingest(bytes.NewReader(body), x.headers...); r.StatusCode != x.status {
			t.Errorf("%s: %s %s", x.what, r.Status, r.body)
		}
	}
	if jobs, _, err := c.s.a.Jobs(archive.JobFilter{Tenant: "cd99", Limit: 10}); err != nil || len(jobs) > 0 {
		t.Errorf("%v %v", jobs, err)
	}
	c.s.noJobFiles()
	sum := sha512.Sum512(inZip(t, body, "manifest.xml"))
	id := c.mustIngest(bytes.NewReader(body), "X-Manifest-Digest-Algorithm", "SHA-512", "X-Manifest-Digest-Value", hex.EncodeToString(sum[:]), "Idempotency-Key", "1")
	if again := c.mustIngest(bytes.NewReader(body), "Idempotency-Key", "1"); again != id {
		t.Errorf("a retry is another ingest: %s %s", id, again)
	}
	if status := c.wait(id); status != "OK" {
		t.Error(status)
	}
	for _, path := range []string{"/admin-external/v1/operations/" + guidOf(0, archive.NewJobID()), "/admin-external/v1/operations/" + strings.ToUpper(id), "/admin-external/v1/operations/" + guidOf(1, mustID(t, id)), "/admin-external/v1/operations/x",
		"/admin-external/v1/operations/" + id[:35] + "b", "/ingest-external/v1/ingests/" + id + "/unheard", "/ingest-external/v1/ingests/x/manifests"} {
		if r := c.ask("GET", path, nil); r.StatusCode != 404 {
			t.Errorf("%s: %s %s", path, r.Status, r.body)
		}
	}
	if r := c.ask("PUT", "/admin-external/v1/operations/"+id, nil, "X-Action", "NEXT"); r.StatusCode != 400 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if r := c.ask("DELETE", "/admin-external/v1/operations/"+id, nil); r.StatusCode != 409 {
		t.Errorf("cancelled when it has ended: %s %s", r.Status, r.body)
	}
	c.key = ""
	if r := c.ingest(bytes.NewReader(body)); r.StatusCode != 401 {
		t.Errorf("%s", r.Status)
	}
	c.key = c.s.key("cd99", archive.Auditor)
	if r := c.ingest(bytes.NewReader(body)); r.StatusCode != 403 {
		t.Errorf("%s", r.Status)
	}
}

func mustID(t *testing.T, guid string) string {
	t.Helper()
	id, err := ofGUID(0, guid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestVitamList(t *testing.T) {
	c := newVitamClient(t, serve(t, nil))
	good, bad := c.mustIngest(sip(t, "default")), c.mustIngest(sip(t, "nowhere"))
	c.wait(good)
	c.wait(bad)
	today := time.Now().UTC().Format(time.DateOnly)
	for query, want := range map[string][]string{
		"":                              {good, bad},
		`{}`:                            {good, bad},
		`{"unheard":1}`:                 {good, bad},
		`{"id":"` + bad + `"}`:          {bad},
		`{"statuses":["OK"]}`:           {good},
		`{"states":["RUNNING"]}`:        {},
		`{"listProcessTypes":["X"]}`:    {},
		`{"startDateMin":"2999-01-01"}`: {},
		`{"startDateMin":"` + today + `","startDateMax":"` + today + `"}`: {good, bad},
	} {
		for _, method := range []string{"GET", "POST"} {
			r := c.ask(method, "/admin-external/v1/operations", strings.NewReader(query), "Content-Type", "application/json", "X-Http-Method-Override", "GET")
			v := decode[VitamResponse[VitamProcess]](t, r.body)
			got := []string{}
			for _, p := range v.Results {
				got = append(got, p.ID)
				if p.Type != "INGEST" || !slices.Contains(vitamStates, p.State) || p.Date == "" {
					t.Errorf("%+v", p)
				}
			}
			if r.StatusCode != 200 || !slices.Equal(got, want) || v.Hits.Total != len(want) {
				t.Errorf("%s %s: %s %v, want %v", method, query, r.Status, got, want)
			}
		}
	}
	for _, query := range []string{"{", `[]`, `{"startDateMin":"yesterday"}`} {
		if r := c.ask("GET", "/admin-external/v1/operations", strings.NewReader(query), "Content-Type", "application/json"); r.StatusCode != 400 {
			t.Errorf("%s: %s %s", query, r.Status, r.body)
		}
	}
	if r := c.ask("POST", "/admin-external/v1/operations", strings.NewReader("{}"), "Content-Type", "application/json"); r.StatusCode != 400 {
		t.Errorf("%s", r.Status)
	}
}

func TestVitamCancel(t *testing.T) {
	c := newVitamClient(t, stuck(t, nil))
	id := c.mustIngest(sip(t, "default"))
	if d := c.details(id); d.State != "RUNNING" || d.Status != "STARTED" {
		t.Errorf("%+v", d)
	}
	if r := c.ask("GET", "/ingest-external/v1/ingests/"+id+"/archivetransferreply", nil); r.StatusCode != 404 {
		t.Errorf("%s", r.Status)
	}
	for range 2 {
		r := c.ask("DELETE", "/admin-external/v1/operations/"+id, nil)
		if v := decode[VitamResponse[VitamItemStatus]](t, r.body); r.StatusCode != 200 || v.Results[0].State != "COMPLETED" || v.Results[0].Status != "FATAL" {
			t.Errorf("%s %s", r.Status, r.body)
		}
	}
	if status := c.wait(id); status != "FATAL" {
		t.Error(status)
	}
	c.s.noJobFiles()
}

// TestVitamIsShut: without tenants there is no door.
func TestVitamIsShut(t *testing.T) {
	s := serve(t, func(c *serving.Config) { c.Vitam = serving.Vitam{} })
	for _, path := range []string{"/ingest-external/v1/status", "/admin-external/v1/operations"} {
		if r := s.ask(s.key("cd99", archive.Depositor), http.MethodGet, path, nil); r.StatusCode != 404 {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
}

func FuzzGUID(f *testing.F) {
	f.Add(uint32(0), guidOf(0, "jaaaaaaaaaaaaaaaaaaaaaaaaaa"))
	f.Add(uint32(1), "aeaqaaaaaet33ntwabmk6aku62rngaaaaaaq")
	f.Add(uint32(9), "")
	f.Fuzz(func(t *testing.T, tenant uint32, guid string) {
		if id, err := ofGUID(tenant, guid); err == nil && guidOf(tenant, id) != guid {
			t.Errorf("%q of %d: %q", guid, tenant, id)
		}
	})
}
