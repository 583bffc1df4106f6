package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sae/archive"
)

// tus sends a request of the protocol; the error is that no answer came.
func (s *servedProgram) tus(method, at string, body io.Reader, headers ...string) (*http.Response, error) {
	r, err := http.NewRequest(method, s.url+at, body)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	r.Header.Set("Tus-Resumable", "1.0.0")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := (&http.Client{Transport: s.transport}).Do(r)
	if err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return resp, err
}

// testUpload is a body that is brought whatever ends the service.
type testUpload struct {
	key, contentType string
	body             []byte
	acknowledged     int // all that was ever told to be there
}

func newTestUpload(key, content string) *testUpload {
	ct, body := depositBody(key, content)
	return &testUpload{key: key, contentType: ct, body: body.Bytes()}
}

// bring goes on with the upload; killAt says after how many bytes of the body, and how much later, the
// service is killed, -1 for never. It gives where the operation is, once it is told.
func (u *testUpload) bring(s *servedProgram, killAt int, later time.Duration) string {
	t := s.t
	meta := "kind " + base64.StdEncoding.EncodeToString([]byte("deposit")) + ",content-type " + base64.StdEncoding.EncodeToString([]byte(u.contentType))
	created, err := s.tus("POST", "/v1/uploads", nil, "Idempotency-Key", u.key, "Upload-Length", strconv.Itoa(len(u.body)), "Upload-Metadata", meta)
	if err != nil || created.StatusCode != 201 {
		t.Fatalf("%v %v\n%s", created, err, &s.errors)
	}
	at := created.Header.Get("Location")
	head, err := s.tus("HEAD", at, nil)
	if err != nil || head.StatusCode != 200 {
		t.Fatalf("%v %v\n%s", head, err, &s.errors)
	}
	offset, err := strconv.Atoi(head.Header.Get("Upload-Offset"))
	if err != nil || offset < u.acknowledged || offset > len(u.body) {
		t.Fatalf("%s: offset %d, told before %d of %d", u.key, offset, u.acknowledged, len(u.body))
	}
	u.acknowledged = offset
	if operation := head.Header.Get("Operation-Location"); operation != "" {
		return operation
	}
	for offset < len(u.body) {
		end := len(u.body)
		if killAt >= 0 && mathrand.IntN(2) == 0 { // some come in small ones
			end = min(end, offset+1+mathrand.IntN(1<<20))
		}
		sent := &killing{Reader: bytes.NewReader(u.body[offset:end]), left: killAt - offset, kill: func() {
			time.AfterFunc(later, func() { s.cmd.Process.Signal(syscall.SIGKILL) })
		}}
		r, err := s.tus("PATCH", at, sent, "Content-Type", "application/offset+octet-stream", "Upload-Offset", strconv.Itoa(offset))
		if err != nil {
			return ""
		}
		if offset, err = strconv.Atoi(r.Header.Get("Upload-Offset")); err != nil || r.StatusCode != 204 || offset != end {
			t.Fatalf("%s %v\n%s", r.Status, r.Header, &s.errors)
		}
		if u.acknowledged = offset; offset == len(u.body) {
			return r.Header.Get("Operation-Location")
		}
	}
	t.Fatalf("%s is whole, and no operation", u.key)
	return ""
}

// killing kills once so many bytes were read.
type killing struct {
	io.Reader
	left int
	kill func()
	done atomic.Bool
}

func (k *killing) Read(p []byte) (int, error) {
	n, err := k.Reader.Read(p)
	if before := k.left; before >= 0 {
		if k.left -= n; k.left < 0 && k.done.CompareAndSwap(false, true) {
			k.kill()
		}
	}
	return n, err
}

// TestServeUploadKill kills the service in the middle of requests, and about the moment in which an
// upload becomes whole. What was told to be there is there afterwards, nothing is ever in clear, and each
// upload is archived once, byte by byte.
func TestServeUploadKill(t *testing.T) {
	program, dir := buildProgram(t), filepath.Join(t.TempDir(), "archive")
	if out, err := exec.Command(program, "init", "--dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	writeServe(t, dir, "serve: {listen: \"127.0.0.1:0\", seal-every: 1s}\n")
	const secret = "Mme Martin-Durand demande une carte. "
	noise := make([]byte, 12<<20)
	rand.Read(noise)
	contents := map[string]string{"large": secret + string(noise) + strings.Repeat(secret, 100_000)}
	uploads := []*testUpload{newTestUpload("large", contents["large"])}
	for i := range 5 {
		key := fmt.Sprint("small-", i)
		contents[key] = strings.Repeat(secret+key, 5000)
		uploads = append(uploads, newTestUpload(key, contents[key]))
	}
	kills := 0
	for _, u := range uploads {
		for round := 0; ; round++ {
			s := startServe(t, program, dir, "--dev")
			killAt, later := u.acknowledged+mathrand.IntN(max(1, len(u.body)-u.acknowledged)), time.Duration(mathrand.IntN(3000))*time.Microsecond
			if strings.HasPrefix(u.key, "small") {
				killAt = len(u.body) - 1
				later = time.Duration(mathrand.IntN(20_000)) * time.Microsecond
			}
			if round == 5 {
				killAt = -1
			}
			operation := u.bring(s, killAt, later)
			if killAt >= 0 {
				kills++
			}
			s.cmd.Process.Signal(syscall.SIGKILL)
			s.cmd.Wait()
			mustNotHold(t, dir, secret)
			if operation != "" {
				break
			}
		}
	}
	s := startServe(t, program, dir, "--dev")
	for _, u := range uploads {
		if got := s.statusOf(u.bring(s, -1, 0)); got != "archived" {
			t.Errorf("%s: %s", u.key, got)
		}
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("ended by a signal: %v\n%s", err, &s.errors)
	}
	mustBeArchived(t, dir, contents)
	if left, err := os.ReadDir(filepath.Join(dir, "jobs")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	t.Logf("killed %d times", kills)
}

// mustBeArchived wants each content once, by the title of its unit, and nothing else.
func mustBeArchived(t *testing.T, dir string, contents map[string]string) {
	t.Helper()
	a, err := archive.Open(dir, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	page, err := a.List(archive.Filter{Limit: 1000})
	if err != nil || len(page.Units) != len(contents) {
		t.Errorf("%d units of %d, %v", len(page.Units), len(contents), err)
	}
	for _, u := range page.Units {
		var got bytes.Buffer
		if _, _, err := a.Get(context.Background(), u.Objects[0].ID, &got); err != nil || got.String() != contents[u.Title] {
			t.Errorf("%s: %d bytes of %d, %v", u.Title, got.Len(), len(contents[u.Title]), err)
		}
	}
	if report, err := a.Audit(context.Background(), "test", archive.AuditOptions{Sample: 1}); err != nil || !report.Sound() {
		t.Errorf("%v %+v", err, report)
	}
}

// tusClient uploads a file by the client of tus's makers, as its documentation says; it ends the upload
// in the middle once, and goes on with it.
const tusClient = `
import * as tus from 'tus-js-client'
import * as fs from 'node:fs'
const [url, key, path, contentType] = process.argv.slice(2)
let cut = false, done = false
const upload = (at) => {
  const u = new tus.Upload(fs.createReadStream(path), {
    endpoint: url + '/v1/uploads', uploadUrl: at, chunkSize: 300000, uploadSize: fs.statSync(path).size, retryDelays: [0, 100],
    headers: { Authorization: 'Bearer ' + key, 'Idempotency-Key': 'tus-js' },
    metadata: { kind: 'deposit', 'content-type': contentType },
    onError: (e) => { console.error(String(e)); process.exit(1) },
    onChunkComplete: () => {
      if (cut) return
      cut = true
      u.abort().then(() => console.log('cut'))
      setTimeout(() => done || upload(u.url), 200)
    },
    onSuccess: ({ lastResponse }) => { done = true; console.log(JSON.stringify({ url: u.url, operation: lastResponse.getHeader('Operation-Location') })) },
  })
  u.start()
}
upload()
`

// TestServeUploadTusJS uploads by tus-js-client.
func TestServeUploadTusJS(t *testing.T) {
	skip := func(why any) {
		if os.Getenv("SAE_REQUIRE_PEERS") != "" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			skip(err)
		}
	}
	work := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "tus-js-client@4.3.1")
	install.Dir = work
	if out, err := install.CombinedOutput(); err != nil {
		skip(fmt.Sprintf("%v: %s", err, out))
	}
	program, dir := buildProgram(t), filepath.Join(t.TempDir(), "archive")
	if out, err := exec.Command(program, "init", "--dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	writeServe(t, dir, "serve: {listen: \"127.0.0.1:0\"}\n")
	s := startServe(t, program, dir, "--dev")
	content := strings.Repeat("Je demande une carte. ", 100_000)
	ct, body := depositBody("tus-js", content)
	file, script := filepath.Join(work, "body"), filepath.Join(work, "upload.mjs")
	if err := os.WriteFile(file, body.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, []byte(tusClient), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "node", script, s.url, s.key, file, ct)
	cmd.Dir = work
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s\n%s", err, out, &errs, &s.errors)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var done struct{ URL, Operation string }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &done); err != nil || !strings.Contains(string(out), "cut") {
		t.Fatalf("%v: %s", err, out)
	}
	if got := s.statusOf(done.Operation); got != "archived" {
		t.Error(got)
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
	mustBeArchived(t, dir, map[string]string{"tus-js": content})
}
