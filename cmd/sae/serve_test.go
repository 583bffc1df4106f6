package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sae/archive"
)

// servedProgram is sae serve as a process.
type servedProgram struct {
	t         *testing.T
	cmd       *exec.Cmd
	url, key  string
	admin     string
	errors    bytes.Buffer
	transport *http.Transport
}

// startServe begins the program, and waits until it listens.
func startServe(t *testing.T, program, dir string, args ...string) *servedProgram {
	t.Helper()
	s := &servedProgram{t: t, cmd: exec.Command(program, append([]string{"serve", "--dir", dir, "--as", "tester"}, args...)...), transport: &http.Transport{}}
	s.cmd.Stderr = &s.errors
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait(); s.transport.CloseIdleConnections() })
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if k, ok := strings.CutPrefix(lines.Text(), "key, for a day: "); ok {
			s.key = k
		}
		if u, ok := strings.CutPrefix(lines.Text(), "service: "); ok {
			s.url = u
		}
		if u, ok := strings.CutPrefix(lines.Text(), "admin: "); ok {
			s.admin = u
		}
		if s.url != "" && s.admin != "" {
			return s
		}
	}
	s.cmd.Wait()
	t.Fatalf("it does not listen: %s", &s.errors)
	return nil
}

// depositBody is a deposit of a text.
func depositBody(title, content string) (string, *bytes.Buffer) {
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	w.WriteField("metadata", fmt.Sprintf(`{"units":[{"title":%q,"content":{"part":"f","filename":"f.txt"}}]}`, title))
	f, _ := w.CreateFormFile("f", "f.txt")
	io.WriteString(f, content)
	w.Close()
	return w.FormDataContentType(), &body
}

// deposit asks for a deposit; the error is that no answer came.
func (s *servedProgram) deposit(key, content string) (status int, operation string, err error) {
	ct, body := depositBody(key, content)
	r, err := http.NewRequest("POST", s.url+"/v1/deposits", body)
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	r.Header.Set("Idempotency-Key", key)
	r.Header.Set("Content-Type", ct)
	resp, err := (&http.Client{Transport: s.transport}).Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	var d struct {
		Operation string `json:"operation"`
	}
	err = json.NewDecoder(resp.Body).Decode(&d)
	return resp.StatusCode, d.Operation, err
}

func writeServe(t *testing.T, dir, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, archive.ConfigName), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

// toldEvents is a webhook's receiver. It wants signatures, and what it did not have yet in its order; now
// and then it fails, and it answers late enough that a kill falls into a delivery.
type toldEvents struct {
	t       *testing.T
	secret  []byte
	mu      sync.Mutex
	units   map[string]bool
	refused map[string]bool // requests
	last    [2]int64        // of entries, and of what was noted
	twice   int
}

func (r *toldEvents) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	var e struct {
		ID   string `json:"id"`
		Data struct {
			Units   []string `json:"units"`
			Refused struct {
				Request string `json:"request"`
			} `json:"refused"`
		} `json:"data"`
	}
	body, err := io.ReadAll(q.Body)
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	m := hmac.New(sha256.New, r.secret)
	fmt.Fprintf(m, "%s.%s.%s", q.Header.Get("webhook-id"), q.Header.Get("webhook-timestamp"), body)
	if sum := "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil)); err != nil || q.Header.Get("webhook-signature") != sum {
		w.WriteHeader(http.StatusBadRequest) // also of what a kill cut short
		return
	}
	time.Sleep(time.Millisecond)
	if mathrand.IntN(200) == 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	digits, noted := strings.CutPrefix(e.ID, "n")
	of, seen := 0, false
	if noted {
		of, seen = 1, r.refused[e.Data.Refused.Request]
		r.refused[e.Data.Refused.Request] = true
	}
	number, err := strconv.ParseInt(digits, 10, 64)
	for _, u := range e.Data.Units {
		seen = seen || r.units[u]
		r.units[u] = true
	}
	switch {
	case err != nil:
		r.t.Errorf("event %q: %v", e.ID, err)
	case number > r.last[of]:
		r.last[of] = number
	case !seen:
		r.t.Errorf("event %q is told for the first time behind %d", e.ID, r.last[of])
	default:
		r.twice++
	}
}

// want waits until it was told of so many units.
func (r *toldEvents) want(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		r.mu.Lock()
		got := len(r.units)
		r.mu.Unlock()
		if got == n {
			return
		}
		if got > n || time.Now().After(end) {
			t.Fatalf("told of %d units, want %d", got, n)
		}
	}
}

// refusal asks for a deposit that is refused, and gives its request; "" when no answer came.
func (s *servedProgram) refusal(key string) string {
	r, err := http.NewRequest("POST", s.url+"/v1/deposits", strings.NewReader("no form"))
	if err != nil {
		return ""
	}
	r.Header.Set("Authorization", "Bearer "+s.key)
	r.Header.Set("Idempotency-Key", key)
	r.Header.Set("Content-Type", "text/plain")
	resp, err := (&http.Client{Transport: s.transport}).Do(r)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	var p struct {
		Instance string `json:"instance"`
	}
	if json.NewDecoder(resp.Body).Decode(&p) != nil || resp.StatusCode != http.StatusUnsupportedMediaType {
		return ""
	}
	return p.Instance
}

// TestServeKill kills the service at random moments. Who asks again with the same key, whether an
// answer came or not, finds one deposit for each key, and the one that was answered for. A webhook is
// told of every one of them, and of every deposit that was refused, in their order.
func TestServeKill(t *testing.T) {
	program, dir := buildProgram(t), filepath.Join(t.TempDir(), "archive")
	if out, err := exec.Command(program, "init", "--dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	told := &toldEvents{t: t, units: map[string]bool{}, refused: map[string]bool{}, last: [2]int64{-1, -1}}
	receiver := httptest.NewServer(told)
	defer receiver.Close()
	writeServe(t, dir, "serve: {listen: \"127.0.0.1:0\", seal-every: 1s}\n")
	out, err := exec.Command(program, "webhook", "add", "gru", receiver.URL, "--type", "sae.deposit,sae.refused", "--dir", dir, "--json").Output()
	var added struct {
		Secret string `json:"secret"`
	}
	if err == nil {
		err = json.Unmarshal(out, &added)
	}
	if err == nil {
		told.secret, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(added.Secret, "whsec_"))
	}
	if err != nil || len(told.secret) != 32 {
		t.Fatalf("%v: %s", err, out)
	}
	var refused []string            // requests
	answered := map[string]string{} // by key: its operation, "" when no answer came
	for round := range 8 {
		s := startServe(t, program, dir, "--dev")
		var mu sync.Mutex
		var wg sync.WaitGroup
		for client := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					key := fmt.Sprintf("%d-%d-%d", round, client, i)
					mu.Lock()
					answered[key] = ""
					mu.Unlock()
					status, operation, err := s.deposit(key, key)
					if err != nil {
						return
					}
					if status != 201 {
						t.Errorf("%s: %d", key, status)
						return
					}
					request := ""
					if i%4 == 3 {
						request = s.refusal(key + "-bad")
					}
					mu.Lock()
					answered[key] = operation
					if request != "" {
						refused = append(refused, request)
					}
					mu.Unlock()
				}
			})
		}
		time.Sleep(time.Duration(30+mathrand.IntN(300)) * time.Millisecond)
		s.cmd.Process.Signal(syscall.SIGKILL)
		s.cmd.Wait()
		wg.Wait()
	}
	s := startServe(t, program, dir, "--dev")
	lost := 0
	for key, before := range answered {
		status, operation, err := s.deposit(key, key)
		if err != nil || status != 201 || before != "" && operation != before {
			t.Fatalf("%s: %d %q, answered %q before, %v", key, status, operation, before, err)
		}
		if before == "" {
			lost++
		}
	}
	told.want(t, len(answered))
	told.mu.Lock()
	for _, request := range refused {
		if !told.refused[request] {
			t.Errorf("the refusal of %s was answered, and is not told", request)
		}
	}
	t.Logf("%d deposits, %d refusals, %d events twice", len(answered), len(refused), told.twice)
	told.mu.Unlock()
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("ended by a signal: %v\n%s", err, &s.errors)
	}
	if len(answered) < 50 || lost == 0 {
		t.Errorf("%d keys, %d without an answer: the test shows nothing", len(answered), lost)
	}
	a, err := archive.Open(dir, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	page, err := a.List(archive.Filter{Limit: 10_000})
	if err != nil || len(page.Units) != len(answered) {
		t.Errorf("%d units of %d keys, %v", len(page.Units), len(answered), err)
	}
	if report, err := a.Audit(context.Background(), "test", archive.AuditOptions{Sample: 1}); err != nil || !report.Sound() {
		t.Errorf("%v %+v", err, report)
	}
}

// TestServe serves over TLS with a certificate that is replaced, tells of its health beside, and
// finishes what it began when it is told to end.
func TestServe(t *testing.T) {
	program, dir := buildProgram(t), filepath.Join(t.TempDir(), "archive")
	if out, err := exec.Command(program, "init", "--dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	writeServe(t, dir, "serve: {listen: \"127.0.0.1:0\", admin-listen: \"127.0.0.1:0\", tls-cert: keys/s.pem, tls-key: keys/s.key}\n")
	pool := x509.NewCertPool()
	writePair(t, dir, "one", pool)
	key, err := exec.Command(program, "apikey", "create", "gru", "--role", "depositor", "--dir", dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	s := startServe(t, program, dir)
	s.key = strings.Fields(string(key))[len(strings.Fields(string(key)))-1]
	s.transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	served := func() string {
		c, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), &tls.Config{RootCAs: pool})
		if err != nil {
			return err.Error()
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := served(); got != "one" {
		t.Fatalf("it shows %q", got)
	}
	if status, _, err := s.deposit("k", "x"); status != 201 || err != nil {
		t.Fatal(status, err)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/readyz": "ready", "/metrics": `sae_requests_total{operation="createDeposit",status="201"} 1`} {
		r, err := http.Get(s.admin + path)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != 200 || !strings.Contains(string(b), want) || strings.Contains(string(b), "gru") {
			t.Errorf("%s: %s %s", path, r.Status, b)
		}
	}
	writePair(t, dir, "two", pool)
	for end := time.Now().Add(10 * time.Second); served() != "two"; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the certificate was replaced, it shows %q", served())
		}
	}
	// A request of which half has come when the program is told to end.
	ct, body := depositBody("slow", strings.Repeat("slow ", 1000))
	in, out := io.Pipe()
	r, _ := http.NewRequest("POST", s.url+"/v1/deposits", in)
	r.Header.Set("Authorization", "Bearer "+s.key)
	r.Header.Set("Idempotency-Key", "slow")
	r.Header.Set("Content-Type", ct)
	done := make(chan error, 1)
	go func() {
		resp, err := (&http.Client{Transport: s.transport}).Do(r)
		if err == nil && resp.StatusCode != 201 {
			err = fmt.Errorf("%s", resp.Status)
		}
		done <- err
	}()
	half := body.Next(body.Len() / 2)
	out.Write(half)
	time.Sleep(200 * time.Millisecond)
	s.cmd.Process.Signal(syscall.SIGTERM)
	time.Sleep(200 * time.Millisecond)
	io.Copy(out, body)
	out.Close()
	if err := <-done; err != nil {
		t.Errorf("what was begun is not finished: %v", err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("ended by a signal: %v\n%s", err, &s.errors)
	}
}

// writePair writes a certificate and its key.
func writePair(t *testing.T, dir, name string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	c.IPAddresses = append(c.IPAddresses, []byte{127, 0, 0, 1})
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, _ := x509.ParseCertificate(der)
	pool.AddCert(parsed)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{"keys/s.pem": {Type: "CERTIFICATE", Bytes: der}, "keys/s.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
