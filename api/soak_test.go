package api

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sae/archive"
)

var soakFor = flag.Duration("soak", 0, "how long TestSoak loads the real program; not at all when 0")

// soak is the program under load, and what it was seen to use.
type soak struct {
	t        *testing.T
	dir      string
	cmd      *exec.Cmd
	errOut   bytes.Buffer // read when the program has ended
	addr     string
	admin    string
	dep      string // keys
	arc      string
	c        *http.Client
	mu       sync.Mutex
	units    []string // some of those that there are
	objects  []string
	statuses map[string]int // what was asked, and the status
	wrong    []string       // what should not have been answered
	acked    int
}

// used is what the program uses at a moment.
type used struct {
	at         time.Duration
	anonymous  float64 // bytes of memory that belong to no file
	resident   float64 // with pages of the catalogue, which are the system's to take
	heap       float64 // in use at the last collection
	goroutines float64
	files      float64 // descriptors
	spool      float64 // files
	large      float64 // files in the offers of a size that only uploads have that were broken off
}

// soakLarge is more than what is deposited whole, and less than what is broken off.
const soakLarge = 1 << 20

// TestSoak loads the real program, over TLS, with all that clients do, well and badly, and looks whether
// what it uses stays the same while the archive grows. It runs when -soak says how long:
//
//	go test ./api -run TestSoak -soak 30m -timeout 1h -v
func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("-soak says how long")
	}
	if runtime.GOOS != "linux" {
		t.Skip("what a process uses is read from /proc")
	}
	s := startSoak(t)
	ctx, stop := context.WithTimeout(context.Background(), *soakFor)
	defer stop()
	var wg sync.WaitGroup
	for _, w := range []struct {
		n     int
		every time.Duration
		do    func(ctx context.Context, r *rand.Rand) error
	}{
		{4, 40 * time.Millisecond, s.deposit},
		{1, 300 * time.Millisecond, s.transfer},
		{3, 15 * time.Millisecond, s.read},
		{1, 200 * time.Millisecond, s.search},
		{2, 0, s.poll()},
		{2, 50 * time.Millisecond, s.nonsense},
		{2, 100 * time.Millisecond, s.breakOff},
		{3, 0, s.slow},
	} {
		for range w.n {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(rand.Uint64(), 0))
				for ctx.Err() == nil {
					if err := w.do(ctx, r); err != nil && ctx.Err() == nil {
						s.fault("%v", err)
					}
					select {
					case <-ctx.Done():
					case <-time.After(time.Duration(float64(w.every) * 2 * r.Float64())):
					}
				}
			})
		}
	}
	seen := s.watch(ctx)
	wg.Wait()
	s.c.CloseIdleConnections()
	time.Sleep(3 * time.Second) // the slow ones are dropped
	rest := s.look(*soakFor)
	s.end()
	for what, n := range s.statuses {
		t.Logf("%6d %s", n, what)
	}
	for _, w := range s.wrong {
		t.Error(w)
	}
	if rest.spool > 0 || rest.large > 0 {
		t.Errorf("when nobody asks any more: %+v %v", rest, append(s.files("spool", 0), s.files("offers", soakLarge)...))
	}
	s.judge(seen)
	s.whole()
}

// startSoak makes an archive and serves it.
func startSoak(t *testing.T) *soak {
	t.Helper()
	program := filepath.Join(t.TempDir(), "sae")
	if out, err := exec.Command("go", "build", "-o", program, "sae/cmd/sae").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := &soak{t: t, dir: filepath.Join(t.TempDir(), "archive"), statuses: map[string]int{},
		c: &http.Client{Timeout: 2 * time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 32}}}
	if _, err := archive.Create(s.dir, archive.New{Tenant: "cd99", AcceptUnknown: []string{"agreements", "agencies", "rules"}}); err != nil {
		t.Fatal(err)
	}
	s.configure()
	s.cmd = exec.Command(program, "serve", "--dir", s.dir)
	s.cmd.Stderr = &s.errOut
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	for lines := bufio.NewScanner(out); s.admin == "" && lines.Scan(); {
		if u, ok := strings.CutPrefix(lines.Text(), "service: https://"); ok {
			s.addr = u
		}
		if u, ok := strings.CutPrefix(lines.Text(), "admin: "); ok {
			s.admin = u
		}
	}
	if s.addr == "" || s.admin == "" {
		s.cmd.Wait()
		t.Fatalf("it does not listen: %s", &s.errOut)
	}
	return s
}

// configure writes certificate and configuration, and makes keys.
func (s *soak) configure() {
	s.t.Helper()
	cert, key := certificate(s.t, pkix.Name{CommonName: "soak"}, nil, nil)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{"server.pem": {Type: "CERTIFICATE", Bytes: cert.Raw}, "server.key": {Type: "PRIVATE KEY", Bytes: der}} {
		if err := os.WriteFile(filepath.Join(s.dir, "keys", name), pem.EncodeToMemory(b), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	f, err := os.OpenFile(filepath.Join(s.dir, archive.ConfigName), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString("\nserve:\n  listen: 127.0.0.1:0\n  admin-listen: 127.0.0.1:0\n  tls-cert: keys/server.pem\n  tls-key: keys/server.key\n  seal-every: 3s\n  limits: {idle: 2s, per-second: 100000}\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	a, err := archive.Open(s.dir, archive.Options{Command: "soak"})
	if err != nil {
		s.t.Fatal(err)
	}
	defer a.Close()
	for role, secret := range map[archive.Role]*string{archive.Depositor: &s.dep, archive.Archivist: &s.arc} {
		if _, *secret, err = a.CreateAPIKey(context.Background(), "administrator", archive.NewAPIKey{Tenant: "cd99", Name: string(role), Roles: []archive.Role{role}, Expires: time.Now().Add(24 * time.Hour)}); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *soak) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.wrong) < 50 {
		s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
	}
}

// ask asks, and counts what is answered. Nothing is a 5xx but that there is too much to do.
func (s *soak) ask(ctx context.Context, what, key, method, path string, body io.Reader, headers ...string) (*reply, error) {
	r, err := http.NewRequestWithContext(ctx, method, "https://"+s.addr+path, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.c.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	s.mu.Lock()
	s.statuses[fmt.Sprint(what, " ", resp.StatusCode)]++
	s.mu.Unlock()
	if resp.StatusCode >= 500 && resp.StatusCode != http.StatusServiceUnavailable {
		return nil, fmt.Errorf("%s: %s %s", what, resp.Status, b)
	}
	return &reply{resp, b}, nil
}

var soakNoise = func() []byte {
	b := make([]byte, 8<<20)
	r := rand.NewChaCha8([32]byte{})
	r.Read(b)
	return b
}()

// some gives bytes of a length.
func some(r *rand.Rand, n int) string {
	from := r.IntN(len(soakNoise) - n + 1)
	return string(soakNoise[from : from+n])
}

// deposit deposits a file, and one time in four asks again, as after a lost answer.
func (s *soak) deposit(ctx context.Context, r *rand.Rand) error {
	ct, body := form(part{"metadata", oneFile, nil}, part{"f", some(r, 1+r.IntN(200<<10)), nil})
	key := fmt.Sprint("soak-", r.Uint64())
	var first Deposited
	for again := range 1 + r.IntN(4)/3 {
		got, err := s.ask(ctx, "deposit", s.dep, "POST", "/v1/deposits", bytes.NewReader(body.Bytes()), "Content-Type", ct, "Idempotency-Key", key)
		if err != nil {
			return err
		}
		var d Deposited
		if err := json.Unmarshal(got.body, &d); err != nil || got.StatusCode != http.StatusCreated {
			return fmt.Errorf("deposit: %s %s", got.Status, got.body)
		}
		if again > 0 && d.Operation != first.Operation {
			return fmt.Errorf("one key, two deposits: %s, %s", first.Operation, d.Operation)
		}
		first = d
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked++
	if len(s.units) < 1000 {
		s.units, s.objects = append(s.units, first.Units[0].ID), append(s.objects, first.Units[0].Objects[0].ID)
	} else {
		i := r.IntN(1000)
		s.units[i], s.objects[i] = first.Units[0].ID, first.Units[0].Objects[0].ID
	}
	return nil
}

// transfer sends packages, good ones and others; all lie in the spool for a while.
func (s *soak) transfer(ctx context.Context, r *rand.Rand) error {
	body, want := sip(s.t, "default").Bytes(), http.StatusCreated
	switch r.IntN(3) {
	case 0:
		body, want = []byte(some(r, 3<<20)), http.StatusUnprocessableEntity
	case 1:
		body, want = body[:len(body)-30], http.StatusUnprocessableEntity
	}
	got, err := s.ask(ctx, "transfer", s.dep, "PUT", "/v1/transfers/sip.zip", bytes.NewReader(body), "Content-Type", "application/zip", "Idempotency-Key", fmt.Sprint("t-", r.Uint64()))
	if err == nil && got.StatusCode != want {
		err = fmt.Errorf("transfer: %s %s, want %d", got.Status, got.body, want)
	}
	if want == http.StatusCreated && err == nil {
		s.mu.Lock()
		s.acked++
		s.mu.Unlock()
	}
	return err
}

// any is a unit and its object that there are.
func (s *soak) any(r *rand.Rand) (unit, object string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.units) == 0 {
		return "", ""
	}
	i := r.IntN(len(s.units))
	return s.units[i], s.objects[i]
}

func (s *soak) read(ctx context.Context, r *rand.Rand) error {
	unit, object := s.any(r)
	if unit == "" {
		return nil
	}
	what, path, headers, want := "show", "/v1/units/"+unit, []string(nil), []int{200}
	switch r.IntN(7) {
	case 0:
		what, path = "content", "/v1/objects/"+object+"/content"
	case 1:
		from := r.IntN(1000)
		what, path, headers, want = "range", "/v1/objects/"+object+"/content", []string{"Range", fmt.Sprintf("bytes=%d-%d", from, from+r.IntN(5000))}, []int{206, 416}
	case 2:
		what, path = "history", path+"/history"
	case 3:
		what, path, want = "proof", path+"/proof", []int{200, 409}
	case 4:
		what, path = "list", fmt.Sprintf("/v1/units?limit=%d", 1+r.IntN(50))
	case 5:
		what, path = "checkpoint", "/v1/ledger/checkpoint"
	}
	got, err := s.ask(ctx, what, s.arc, "GET", path, nil, headers...)
	if err == nil && !slices.Contains(want, got.StatusCode) {
		err = fmt.Errorf("%s: %s %.300s", what, got.Status, got.body)
	}
	return err
}

func (s *soak) search(ctx context.Context, _ *rand.Rand) error {
	got, err := s.ask(ctx, "search", s.arc, "POST", "/v1/search", strings.NewReader(`{"words":"demande"}`), "Content-Type", "application/json")
	if err == nil && got.StatusCode != 200 {
		err = fmt.Errorf("search: %s %s", got.Status, got.body)
	}
	return err
}

// poll follows the events.
func (s *soak) poll() func(context.Context, *rand.Rand) error {
	var mu sync.Mutex
	next := "0"
	return func(ctx context.Context, r *rand.Rand) error {
		mu.Lock()
		from := next
		mu.Unlock()
		got, err := s.ask(ctx, "events", s.arc, "GET", "/v1/events?limit=100&wait=1&from="+url.QueryEscape(from), nil)
		if err != nil {
			return err
		}
		var page struct {
			Next any `json:"next"`
		}
		d := json.NewDecoder(bytes.NewReader(got.body))
		d.UseNumber()
		if err := d.Decode(&page); err != nil || got.StatusCode != 200 {
			return fmt.Errorf("events: %s %s", got.Status, got.body)
		}
		mu.Lock()
		defer mu.Unlock()
		next = fmt.Sprint(page.Next)
		return nil
	}
}

// nonsense asks what nobody should.
func (s *soak) nonsense(ctx context.Context, r *rand.Rand) error {
	var got *reply
	var err error
	switch r.IntN(6) {
	case 0: // not HTTP, not even TLS
		conn, err := net.DialTimeout("tcp", s.addr, 5*time.Second)
		if err != nil {
			return err
		}
		io.WriteString(conn, some(r, r.IntN(3000)))
		return conn.Close()
	case 1:
		got, err = s.ask(ctx, "wrong key", "sae_"+strconv.Itoa(r.Int()), "GET", "/v1/units", nil)
	case 2:
		got, err = s.ask(ctx, "wrong body", s.dep, "POST", "/v1/deposits", strings.NewReader(some(r, 1000)), "Content-Type", "multipart/form-data; boundary=x", "Idempotency-Key", fmt.Sprint(r.Uint64()))
	case 3:
		got, err = s.ask(ctx, "nowhere", s.arc, "DELETE", "/v1/units/"+strconv.Itoa(r.Int()), nil)
	case 4:
		got, err = s.ask(ctx, "no such unit", s.arc, "GET", "/v1/units/u2222222222222222222222222a", nil)
	default:
		got, err = s.ask(ctx, "denied", s.dep, "GET", "/v1/access-log", nil)
	}
	if err == nil && got.StatusCode < 400 {
		err = fmt.Errorf("nonsense is answered by %s %s", got.Status, got.body)
	}
	return err
}

// raw opens a connection of its own.
func (s *soak) raw() (*tls.Conn, error) {
	return tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", s.addr, &tls.Config{InsecureSkipVerify: true})
}

// begin sends the head of a request with a body.
func begin(w io.Writer, method, path, key, contentType string, length, n int) {
	fmt.Fprintf(w, "%s %s HTTP/1.1\r\nHost: soak\r\nAuthorization: Bearer %s\r\nIdempotency-Key: cut-%d\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", method, path, key, n, contentType, length)
}

// breakOff ends a connection in the midst of an upload or of an answer.
func (s *soak) breakOff(_ context.Context, r *rand.Rand) error {
	conn, err := s.raw()
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	switch r.IntN(3) {
	case 0:
		ct, body := form(part{"metadata", oneFile, nil}, part{"f", some(r, 2*soakLarge+r.IntN(4*soakLarge)), nil})
		begin(conn, "POST", "/v1/deposits", s.dep, ct, body.Len(), r.Int())
		conn.Write(body.Bytes()[:soakLarge+r.IntN(body.Len()-soakLarge)]) // nothing of it may stay, however much came
	case 1:
		begin(conn, "PUT", "/v1/transfers/sip.zip", s.dep, "application/zip", 4*soakLarge, r.Int())
		io.WriteString(conn, some(r, r.IntN(4*soakLarge)))
	default:
		_, object := s.any(r)
		fmt.Fprintf(conn, "GET /v1/objects/%s/content HTTP/1.1\r\nHost: soak\r\nAuthorization: Bearer %s\r\n\r\n", object, s.arc)
		io.ReadFull(conn, make([]byte, 300))
	}
	return nil
}

// slow is a client that begins something and goes on with nothing: it is dropped.
func (s *soak) slow(ctx context.Context, r *rand.Rand) error {
	conn, err := s.raw()
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	ct, body := form(part{"metadata", oneFile, nil}, part{"f", some(r, 2*soakLarge), nil})
	begin(conn, "POST", "/v1/deposits", s.dep, ct, body.Len(), r.Int())
	conn.Write(body.Bytes()[:r.IntN(body.Len())])
	dropped := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, conn) // until the service ends it
		dropped <- err
	}()
	select {
	case <-ctx.Done():
	case err := <-dropped:
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			return errors.New("a client that sends nothing is not dropped")
		}
	}
	return nil
}

// watch looks at the program until the time is over.
func (s *soak) watch(ctx context.Context) (out []used) {
	began := time.Now()
	every := min(max(*soakFor/120, time.Second), 15*time.Second)
	for {
		select {
		case <-ctx.Done():
			return out
		case <-time.After(every):
			if u := s.look(time.Since(began)); u.files > 0 {
				out = append(out, u)
			}
		}
	}
}

// look reads what the program uses.
func (s *soak) look(at time.Duration) used {
	u := used{at: at}
	resp, err := http.Get(s.admin + "/metrics")
	if err != nil {
		s.fault("metrics: %v", err)
		return u
	}
	defer resp.Body.Close()
	read := func(r io.Reader, sep string, want map[string]*float64, unit float64) {
		for lines := bufio.NewScanner(r); lines.Scan(); {
			name, rest, _ := strings.Cut(lines.Text(), sep)
			if v := want[name]; v != nil {
				n, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 64)
				*v = n * unit
			}
		}
	}
	read(resp.Body, " ", map[string]*float64{"go_goroutines": &u.goroutines, "go_gc_heap_live_bytes": &u.heap, "process_open_fds": &u.files}, 1)
	status, err := os.Open(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		s.fault("the program has ended: %v", err)
		return used{}
	}
	defer status.Close()
	read(status, ":", map[string]*float64{"RssAnon": &u.anonymous, "VmRSS": &u.resident}, 1024)
	u.spool = float64(len(s.files("spool", 0)))
	u.large = float64(len(s.files("offers", soakLarge)))
	return u
}

// files are those of a size or more below a folder of the archive, without those of the journal, which
// grow with the archive.
func (s *soak) files(below string, size int64) (out []string) {
	filepath.WalkDir(filepath.Join(s.dir, below), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/blobs/j") {
			return nil // some go while they are looked at
		}
		if i, err := d.Info(); err == nil && i.Size() >= size {
			out = append(out, path)
		}
		return nil
	})
	return out
}

// end ends the program, as an operator does.
func (s *soak) end() {
	s.t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the program ended with %v", err)
	}
	for line := range strings.Lines(s.errOut.String()) {
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "panic") {
			s.t.Errorf("its log: %.500s", line)
			break
		}
	}
}

// judge holds the last third of the time behind warming up against the first.
func (s *soak) judge(seen []used) {
	s.t.Helper()
	if len(seen) < 20 {
		s.t.Fatalf("seen %d times: -soak is too short, or the program too slow", len(seen))
	}
	for i := 0; i < len(seen); i += max(1, len(seen)/20) {
		u := seen[i]
		s.t.Logf("%6s  anonymous %5.1f MiB  resident %5.1f MiB  heap %5.1f MiB  %3.0f goroutines  %3.0f files  %2.0f in the spool  %2.0f large", u.at.Round(time.Second), u.anonymous/(1<<20), u.resident/(1<<20), u.heap/(1<<20), u.goroutines, u.files, u.spool, u.large)
	}
	warm := seen[len(seen)/4:]
	third := len(warm) / 3
	for _, c := range []struct {
		what  string
		of    func(used) float64
		more  float64 // of the median, which a flat line may have by chance
		least float64 // that is looked at
	}{
		{"anonymous memory", func(u used) float64 { return u.anonymous }, 0.15, 24 << 20},
		{"heap", func(u used) float64 { return u.heap }, 0.15, 8 << 20},
		{"goroutines", func(u used) float64 { return u.goroutines }, 0.2, 10},
		{"open files", func(u used) float64 { return u.files }, 0.2, 10},
		{"files in the spool", func(u used) float64 { return u.spool }, 0, 5},
		{"large files in the offers", func(u used) float64 { return u.large }, 0, 10},
	} {
		first, last := median(warm[:third], c.of), median(warm[len(warm)-third:], c.of)
		if last > first+max(c.least, first*c.more) {
			s.t.Errorf("%s: grows from %.0f to %.0f", c.what, first, last)
		}
	}
}

func median(seen []used, of func(used) float64) float64 {
	var v []float64
	for _, u := range seen {
		v = append(v, of(u))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// whole audits the archive, and finds what was acknowledged in it.
func (s *soak) whole() {
	s.t.Helper()
	a, err := archive.Open(s.dir, archive.Options{Command: "soak"})
	if err != nil {
		s.t.Fatal(err)
	}
	defer a.Close()
	report, err := a.Audit(context.Background(), "soak", archive.AuditOptions{Sample: 1})
	if err != nil || len(report.List) > 0 {
		s.t.Errorf("the archive after it: %v, %+v", err, report)
	}
	status, err := a.Status()
	if err != nil || status.Units < int64(s.acked) {
		s.t.Errorf("%d units, of %d deposits that were acknowledged: %v", status.Units, s.acked, err)
	}
	s.t.Logf("%d deposits acknowledged, %d units", s.acked, status.Units)
}
