package api

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	tusd "github.com/tus/tusd/v2/pkg/handler"

	"sae/archive"
	"sae/archive/serving"
)

// uploadMetadata writes the header.
func uploadMetadata(said map[string]string) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(said)) {
		pairs = append(pairs, key+" "+base64.StdEncoding.EncodeToString([]byte(said[key])))
	}
	return strings.Join(pairs, ",")
}

// createUpload asks for an upload of n bytes.
func (s *served) createUpload(key, once string, n int, said map[string]string, headers ...string) *reply {
	s.t.Helper()
	headers = append([]string{"Tus-Resumable", "1.0.0", "Upload-Length", strconv.Itoa(n), "Upload-Metadata", uploadMetadata(said)}, headers...)
	if once != "" {
		headers = append(headers, "Idempotency-Key", once)
	}
	return s.ask(key, "POST", "/v1/uploads", nil, headers...)
}

func (s *served) newUpload(key, once string, n int, said map[string]string) string {
	s.t.Helper()
	r := s.createUpload(key, once, n, said)
	at := r.Header.Get("Location")
	if r.StatusCode != 201 || !strings.HasPrefix(at, "/v1/uploads/j") || r.Header.Get("Upload-Expires") == "" || r.Header.Get("Tus-Resumable") != "1.0.0" {
		s.t.Fatalf("%s %v %s\n%s", r.Status, r.Header, r.body, s.log)
	}
	return at
}

func (s *served) patch(key, at string, offset int, b []byte, headers ...string) *reply {
	s.t.Helper()
	headers = append([]string{"Tus-Resumable", "1.0.0", "Content-Type", tusMedia, "Upload-Offset", strconv.Itoa(offset)}, headers...)
	return s.ask(key, "PATCH", at, bytes.NewReader(b), headers...)
}

func (s *served) offset(key, at string) int {
	s.t.Helper()
	r := s.ask(key, "HEAD", at, nil, "Tus-Resumable", "1.0.0")
	n, err := strconv.Atoi(r.Header.Get("Upload-Offset"))
	if r.StatusCode != 200 || err != nil {
		s.t.Fatalf("%s %v", r.Status, r.Header)
	}
	return n
}

// asDeposit is what is said of a multipart body.
func asDeposit(contentType string) map[string]string {
	return map[string]string{"kind": "deposit", "content-type": contentType}
}

func asTransfer(name string) map[string]string {
	return map[string]string{"kind": "transfer", "filename": name}
}

// TestUpload: a deposit that comes in pieces of all sizes is archived once, byte by byte, and is nowhere
// in clear before.
func TestUpload(t *testing.T) {
	hold := make(chan struct{})
	s := serveHeld(t, nil, hold)
	key, arc := s.key("cd99", archive.Depositor), s.key("cd99", archive.Archivist)
	const secret = "Mme Martin-Durand demande "
	content := strings.Repeat(secret, 20_000)
	ct, form := form(part{"metadata", oneFile, nil}, part{"f", content, nil})
	body := form.Bytes()
	at := s.newUpload(key, "1", len(body), asDeposit(ct))
	if again := s.createUpload(key, "1", len(body), asDeposit(ct)); again.StatusCode != 201 || again.Header.Get("Location") != at || again.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("a retry: %s %v", again.Status, again.Header)
	}
	if other := s.createUpload(key, "1", len(body)+1, asDeposit(ct)); other.StatusCode != 422 || other.problem(t).Code != "key-reused" {
		t.Errorf("another under the key: %s %s", other.Status, other.body)
	}
	for offset, n := 0, 1; offset < len(body); n *= 7 {
		if got := s.offset(key, at); got != offset {
			t.Fatalf("offset %d instead of %d", got, offset)
		}
		end := min(len(body), offset+n)
		r := s.patch(key, at, offset, body[offset:end])
		if offset = end; r.StatusCode != 204 || r.Header.Get("Upload-Offset") != strconv.Itoa(end) || (r.Header.Get("Operation-Location") != "") != (end == len(body)) {
			t.Fatalf("%s %v %s\n%s", r.Status, r.Header, r.body, s.log)
		}
		mustNotHold(t, s.dir, secret)
	}
	operation := strings.Replace(at, "uploads", "operations", 1)
	for range 2 { // before it is worked off, and after
		r := s.ask(key, "HEAD", at, nil, "Tus-Resumable", "1.0.0")
		if r.StatusCode != 200 || r.Header.Get("Operation-Location") != operation || r.Header.Get("Upload-Offset") != strconv.Itoa(len(body)) || r.Header.Get("Upload-Expires") != "" {
			t.Errorf("%s %v", r.Status, r.Header)
		}
		if r = s.patch(key, at, len(body), nil); r.StatusCode != 204 || r.Header.Get("Operation-Location") != operation {
			t.Errorf("%s %v %s", r.Status, r.Header, r.body)
		}
		if r = s.createUpload(key, "1", len(body), asDeposit(ct)); r.StatusCode != 201 || r.Header.Get("Operation-Location") != operation || r.Header.Get("Location") != at {
			t.Errorf("%s %v %s", r.Status, r.Header, r.body)
		}
		if hold != nil {
			close(hold)
			hold = nil
		}
		if o := s.ended(key, operation); o.Status != archive.JobArchived {
			t.Fatalf("%+v\n%s", o, s.log)
		}
	}
	if r := s.ask(key, "DELETE", at, nil, "Tus-Resumable", "1.0.0"); r.StatusCode != 409 || r.problem(t).Code != "begun" {
		t.Errorf("%s %s", r.Status, r.body)
	}
	d := decode[Deposited](t, s.ask(key, "GET", s.ended(key, operation).Deposit, nil).body)
	if got := s.ask(arc, "GET", "/v1/objects/"+d.Units[0].Objects[0].ID+"/content", nil); string(got.body) != content {
		t.Errorf("%s: %d bytes of %d", got.Status, len(got.body), len(content))
	}
	// The same deposit at once, under the same key, is the same one.
	form2 := bytes.NewReader(body)
	if r := s.ask(key, "POST", "/v1/deposits", form2, "Content-Type", ct, "Idempotency-Key", "1"); r.StatusCode != 201 || decode[Deposited](t, r.body).Operation != d.Operation {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if n := s.units("cd99"); n != 1 {
		t.Errorf("%d units", n)
	}
	s.noJobFiles()
	if n, bytes := s.queue.gauge(); n != 0 || bytes != 0 {
		t.Errorf("still counted: %d, %d bytes", n, bytes)
	}
}

// TestUploadTransfer: a package, whole with its creation; one that is none is refused as an operation.
func TestUploadTransfer(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Depositor)
	b := sip(t, "default").Bytes()
	said := asTransfer("sip.zip")
	sum := sha256.Sum256(b)
	said["repr-digest"] = digestHeader(sum[:])
	whole := func(once string, b []byte, headers ...string) *reply {
		return s.ask(key, "POST", "/v1/uploads", bytes.NewReader(b), append([]string{"Tus-Resumable", "1.0.0", "Upload-Length", strconv.Itoa(len(b)), "Upload-Metadata", uploadMetadata(said), "Content-Type", tusMedia, "Idempotency-Key", once}, headers...)...)
	}
	r := whole("1", b)
	operation := r.Header.Get("Operation-Location")
	if r.StatusCode != 201 || r.Header.Get("Upload-Offset") != strconv.Itoa(len(b)) || operation == "" {
		t.Fatalf("%s %v %s\n%s", r.Status, r.Header, r.body, s.log)
	}
	if o := s.ended(key, operation); o.Status != archive.JobArchived || o.Reply == "" {
		t.Errorf("%+v\n%s", o, s.log)
	}
	if again := whole("1", b); again.StatusCode != 201 || again.Header.Get("Operation-Location") != operation || again.Header.Get("Upload-Offset") != strconv.Itoa(len(b)) {
		t.Errorf("a retry: %s %v %s", again.Status, again.Header, again.body)
	}
	// The same package by PUT, under the same key, is the same transfer.
	if r := s.ask(key, "PUT", "/v1/transfers/sip.zip", bytes.NewReader(b), "Idempotency-Key", "1"); r.StatusCode != 201 || r.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%s %v", r.Status, r.Header)
	}
	if r := whole("2", append(bytes.Clone(b), 0)); r.StatusCode != 400 || r.problem(t).Code != "digest-mismatch" {
		t.Errorf("another digest: %s %s", r.Status, r.body)
	}
	said = asTransfer("sip.zip")
	if o := s.ended(key, whole("3", []byte("no package")).Header.Get("Operation-Location")); o.Status != archive.JobRefused || o.Problem == nil {
		t.Errorf("%+v", o)
	}
	if o := s.ended(key, whole("4", nil).Header.Get("Operation-Location")); o.Status != archive.JobRefused {
		t.Errorf("an empty one: %+v", o)
	}
	events := s.ask(s.key("cd99", archive.Archivist), "GET", "/v1/events?type=sae.refused", nil)
	if n := strings.Count(string(events.body), `"sae.refused"`); n != 3 {
		t.Errorf("%d refusals are told: %s", n, events.body)
	}
}

// TestUploadRefused: each thing that is wrong has its problem, and changes nothing.
func TestUploadRefused(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Depositor)
	at := s.newUpload(key, "1", 100, asTransfer("sip.zip"))
	if r := s.patch(key, at, 0, []byte("0123456789")); r.StatusCode != 204 {
		t.Fatalf("%s %s", r.Status, r.body)
	}
	sum := sha1.Sum([]byte("other"))
	good := sha256.Sum256([]byte("abc"))
	for name, c := range map[string]struct {
		got    *reply
		status int
		code   string
	}{
		"version":       {s.ask(key, "POST", "/v1/uploads", nil, "Upload-Length", "3", "Upload-Metadata", uploadMetadata(asTransfer("x"))), 412, "tus-version"},
		"length":        {s.createUpload(key, "", -1, asTransfer("x")), 400, "malformed"},
		"too long":      {s.createUpload(key, "", 1<<40, asTransfer("x")), 413, "too-large"},
		"no kind":       {s.createUpload(key, "", 1, map[string]string{"filename": "x"}), 422, "invalid"},
		"unknown key":   {s.createUpload(key, "", 1, map[string]string{"kind": "transfer", "filename": "x", "name": "x"}), 422, "invalid"},
		"bad name":      {s.createUpload(key, "", 1, asTransfer("../x")), 422, "invalid"},
		"no type":       {s.createUpload(key, "", 1, map[string]string{"kind": "deposit"}), 422, "invalid"},
		"bad type":      {s.createUpload(key, "", 1, asDeposit("text/plain")), 422, "invalid"},
		"no base64":     {s.ask(key, "POST", "/v1/uploads", nil, "Tus-Resumable", "1.0.0", "Upload-Length", "3", "Upload-Metadata", "kind !"), 400, "malformed"},
		"put together":  {s.createUpload(key, "", 1, asTransfer("x"), "Upload-Concat", "partial"), 422, "invalid"},
		"no length yet": {s.createUpload(key, "", 1, asTransfer("x"), "Upload-Defer-Length", "1"), 422, "invalid"},
		"offset":        {s.patch(key, at, 9, []byte("x")), 409, "offset-mismatch"},
		"offset beyond": {s.patch(key, at, 11, []byte("x")), 409, "offset-mismatch"},
		"no offset":     {s.ask(key, "PATCH", at, strings.NewReader("x"), "Tus-Resumable", "1.0.0", "Content-Type", tusMedia), 400, "malformed"},
		"media type":    {s.ask(key, "PATCH", at, strings.NewReader("x"), "Tus-Resumable", "1.0.0", "Upload-Offset", "10"), 415, "media-type"},
		"too much":      {s.patch(key, at, 10, make([]byte, 91)), 413, "too-large"},
		"checksum":      {s.patch(key, at, 10, []byte("abc"), "Upload-Checksum", "sha1 "+base64.StdEncoding.EncodeToString(sum[:])), 460, "checksum-mismatch"},
		"algorithm":     {s.patch(key, at, 10, []byte("abc"), "Upload-Checksum", "md5 AAAA"), 400, "malformed"},
		"no checksum":   {s.patch(key, at, 10, []byte("abc"), "Upload-Checksum", "sha1 AAAA"), 400, "malformed"},
		"other person":  {s.patch(s.key("cd99", archive.Archivist), at, 10, []byte("abc")), 404, "not-found"},
		"other tenant":  {s.patch(s.key("cd98", archive.Depositor), at, 10, []byte("abc")), 404, "not-found"},
		"not there":     {s.patch(key, "/v1/uploads/"+archive.NewJobID(), 0, nil), 404, "not-found"},
		"an operation":  {s.patch(key, "/v1/uploads/"+strings.TrimPrefix(s.depositLater(key, "9", "x").Header.Get("Location"), "/v1/operations/"), 0, nil), 404, "not-found"},
		"not yet one":   {s.ask(key, "GET", strings.Replace(at, "uploads", "operations", 1), nil), 404, "not-found"},
		"method":        {s.ask(key, "PUT", at, nil), 405, "method"},
	} {
		if c.got.StatusCode != c.status || c.got.problem(t).Code != c.code {
			t.Errorf("%s: %s %s", name, c.got.Status, c.got.body)
		}
	}
	if r := s.patch(key, at, 10, []byte("abc"), "Upload-Checksum", "sha256 "+base64.StdEncoding.EncodeToString(good[:])); r.StatusCode != 204 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if got := s.offset(key, at); got != 13 {
		t.Errorf("offset %d", got)
	}
	r := s.ask(key, "OPTIONS", "/v1/uploads", nil)
	if r.StatusCode != 200 || r.Header.Get("Tus-Version") != "1.0.0" || !strings.Contains(r.Header.Get("Tus-Extension"), "checksum") || r.Header.Get("Tus-Max-Size") == "" || r.Header.Get("Tus-Checksum-Algorithm") != "sha1,sha256" {
		t.Errorf("%s %v", r.Status, r.Header)
	}
	if r := s.ask(key, "DELETE", at, nil, "Tus-Resumable", "1.0.0"); r.StatusCode != 204 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	if r := s.ask(key, "HEAD", at, nil, "Tus-Resumable", "1.0.0"); r.StatusCode != 404 {
		t.Errorf("%s", r.Status)
	}
	s.noJobFiles()
	if strings.Contains(s.log.String(), "sip.zip") {
		t.Error("the log names a file")
	}
}

// TestUploadCut: what came of a request that was cut is durable, and the upload goes on from there.
func TestUploadCut(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Depositor)
	b := sip(t, "default").Bytes()
	at := s.newUpload(key, "1", len(b), asTransfer("sip.zip"))
	half := len(b) / 2
	ctx, cut := context.WithCancel(context.Background())
	pr, pw := io.Pipe()
	r, err := http.NewRequestWithContext(ctx, "PATCH", s.ts.URL+at, pr)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Authorization": {"Bearer " + key}, "Tus-Resumable": {"1.0.0"}, "Content-Type": {tusMedia}, "Upload-Offset": {"0"}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if resp, err := s.c.Do(r); err == nil {
			resp.Body.Close()
		}
	}()
	pw.Write(b[:half])
	cut()
	pw.CloseWithError(io.ErrClosedPipe)
	<-ended
	var p *reply
	for p == nil || p.StatusCode == 409 { // as long as what is left of the request before is on its way
		got := s.offset(key, at)
		if p == nil && got > half {
			t.Fatalf("offset %d, %d were sent", got, half)
		}
		p = s.patch(key, at, got, b[got:])
	}
	if o := s.ended(key, p.Header.Get("Operation-Location")); o.Status != archive.JobArchived {
		t.Errorf("%s %s %+v", p.Status, p.body, o)
	}
}

// TestUploadAtOnce: several processes of a client bring the same upload, without knowing of each other:
// they get in each other's way, and it is archived once, as it is.
func TestUploadAtOnce(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Depositor)
	ct, form := form(part{"metadata", oneFile, nil}, part{"f", strings.Repeat("0123456789", 50_000), nil})
	body := form.Bytes()
	var wg sync.WaitGroup
	operations := make([]string, 4)
	for i := range operations {
		wg.Go(func() {
			for end := time.Now().Add(20 * time.Second); operations[i] == "" && time.Now().Before(end); time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) {
				r := s.ask(key, "POST", "/v1/uploads", bytes.NewReader(body[:1000]), "Tus-Resumable", "1.0.0", "Upload-Length", strconv.Itoa(len(body)), "Upload-Metadata", uploadMetadata(asDeposit(ct)), "Content-Type", tusMedia, "Idempotency-Key", "1")
				at := r.Header.Get("Location")
				if r.StatusCode == 409 {
					continue
				}
				if r.StatusCode != 201 {
					t.Errorf("%s %s", r.Status, r.body)
					return
				}
				offset := s.offset(key, at)
				r = s.patch(key, at, offset, body[offset:min(len(body), offset+100_000)])
				if r.StatusCode != 204 && r.StatusCode != 409 && r.StatusCode != 423 {
					t.Errorf("%s %s", r.Status, r.body)
					return
				}
				operations[i] = r.Header.Get("Operation-Location")
			}
		})
	}
	wg.Wait()
	for _, at := range operations {
		if at == "" || at != operations[0] {
			t.Fatalf("%v", operations)
		}
	}
	if o := s.ended(key, operations[0]); o.Status != archive.JobArchived {
		t.Errorf("%+v\n%s", o, s.log)
	}
	if n := s.units("cd99"); n != 1 {
		t.Errorf("%d units", n)
	}
	s.noJobFiles()
}

// TestUploadLimits: what is not whole is bounded by client and tenant, also over a restart, and is free
// again when it is given up.
func TestUploadLimits(t *testing.T) {
	s := serve(t, func(c *serving.Config) {
		c.Limits.Uploads, c.Limits.UploadBytes, c.Limits.WaitingBytes = 2, 1000, 1500
	})
	key, other := s.key("cd99", archive.Depositor), s.key("cd99", archive.Archivist)
	at := s.newUpload(key, "1", 600, asTransfer("x"))
	code := func(r *reply, status int, code string) {
		t.Helper()
		if r.StatusCode != status || status >= 400 && r.problem(t).Code != code || status > 422 && r.Header.Get("Retry-After") == "" {
			t.Errorf("%s %v %s, want %d %s", r.Status, r.Header, r.body, status, code)
		}
	}
	code(s.createUpload(key, "2", 500, asTransfer("x")), 429, "too-many-uploads")
	code(s.createUpload(key, "2", 300, asTransfer("x")), 201, "")
	code(s.createUpload(key, "3", 1, asTransfer("x")), 429, "too-many-uploads")
	code(s.createUpload(other, "1", 700, asTransfer("x")), 503, "queue-full")
	code(s.createUpload(other, "1", 600, asTransfer("x")), 201, "")
	code(s.createUpload(key, "1", 600, asTransfer("x")), 201, "") // a retry needs no place
	code(s.ask(key, "DELETE", at, nil, "Tus-Resumable", "1.0.0"), 204, "")
	code(s.createUpload(key, "3", 700, asTransfer("x")), 503, "queue-full")
	code(s.createUpload(key, "3", 600, asTransfer("x")), 201, "")
}

// TestUploadExpires: in its time alone.
func TestUploadExpires(t *testing.T) {
	s := serve(t, func(c *serving.Config) { c.Limits.UploadKeep = time.Nanosecond })
	key := s.key("cd99", archive.Depositor)
	at := s.newUpload(key, "1", 5, asTransfer("x"))
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if r := s.ask(key, "HEAD", at, nil, "Tus-Resumable", "1.0.0"); r.StatusCode == 404 {
			break
		}
	}
	if r := s.patch(key, at, 0, []byte("x")); r.StatusCode != 404 {
		t.Errorf("%s %s", r.Status, r.body)
	}
	s.queue.expire(context.Background())
	s.noJobFiles()
	if n, bytes := s.queue.gauge(); n != 0 || bytes != 0 {
		t.Errorf("still counted: %d, %d bytes", n, bytes)
	}
	if r := s.createUpload(key, "1", 6, asTransfer("x")); r.StatusCode != 201 {
		t.Errorf("its key is not free: %s %s", r.Status, r.body)
	}
}

func TestUploadNoSpace(t *testing.T) {
	p := problemOf(noSpace(fmt.Errorf("keeping a piece: %w", syscall.ENOSPC)))
	if p.Status != 503 || p.Code != "upload-no-space" {
		t.Errorf("%+v", p)
	}
	if other := errors.New("x"); noSpace(other) != other {
		t.Error("another error is told as no space")
	}
}

// FuzzUploadMetadata: what is taken tusd reads the same, and is bounded; the rest is an error of the
// request.
func FuzzUploadMetadata(f *testing.F) {
	for _, header := range []string{"", "kind dHJhbnNmZXI=", uploadMetadata(asTransfer("sip.zip")), uploadMetadata(asDeposit("multipart/form-data; boundary=x")), "a", "a b c", " kind  eA==", "a eA==,a eA==", ",", "é eA==", "a /w==", "repr-digest c2hhLTI1Nj06eDo="} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		said, err := parseUploadMetadata(header)
		if err != nil {
			if p := problemOf(err); p.Status != 400 {
				t.Errorf("%v: %d", err, p.Status)
			}
			return
		}
		if theirs := tusd.ParseMetadataHeader(header); !maps.Equal(said, theirs) {
			t.Errorf("%q: %v, tusd %v", header, said, theirs)
		}
		if len(said) > maxUploadKeys {
			t.Errorf("%d keys", len(said))
		}
		if err := said.check(); err != nil {
			if p := problemOf(err); p.Status != 422 || len(p.Faults) == 0 {
				t.Errorf("%v: %+v", said, p)
			}
			return
		}
		if len(mustJSON(said.job(make([]byte, 32)))) < 10 {
			t.Errorf("%v", said)
		}
	})
}
