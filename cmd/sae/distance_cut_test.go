package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sae/api"
	"sae/archive"
)

// cutter passes connections on, and cuts them after so many bytes of the client; never when it is negative.
type cutter struct {
	net.Listener
	to     string
	after  atomic.Int64
	passed atomic.Int64
	wg     sync.WaitGroup
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l, to: to}
	c.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.wg.Go(func() { c.pass(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); c.wg.Wait() })
	return c
}

func (c *cutter) pass(client net.Conn) {
	defer client.Close()
	service, err := net.Dial("tcp", c.to)
	if err != nil {
		return
	}
	defer service.Close()
	c.wg.Go(func() { io.Copy(client, service); client.Close() })
	if after := c.after.Load(); after >= 0 {
		io.CopyN(service, client, after)
		return
	}
	n, _ := io.Copy(service, client)
	c.passed.Store(n)
}

// TestCutWhileDepositing: wherever the connection is cut, a deposit is archived whole or not at all, and
// never acknowledged without being archived.
func TestCutWhileDepositing(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("SAE_DIR", "archive")
	if r := do(t, "", "init"); r.status != 0 {
		t.Fatal(r)
	}
	if err := os.Mkdir("docs", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if err := os.WriteFile(filepath.Join("docs", name), bytes.Repeat([]byte(name), 700<<10), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	a, err := archive.Open("archive", archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := serveOver(a, "tester", "", false)
	if err != nil {
		t.Fatal(err)
	}
	proxy := newCutter(t, strings.TrimPrefix(d.url, "https://"))
	deposit := func(after int64) result {
		proxy.after.Store(after)
		return do(t, "", "--server", "https://"+proxy.Addr().String(), "--ca", d.ca, "--cert", d.cert, "--cert-key", d.certKey, "deposit", "docs", "--receipt", "out/receipt")
	}
	count := func() int64 {
		t.Helper()
		s, err := a.Status()
		if err != nil {
			t.Fatal(err)
		}
		return s.Units
	}
	if r := deposit(-1); r.status != 0 || count() != 4 {
		t.Fatalf("%+v, %d units", r, count())
	}
	for proxy.passed.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	whole, lost := proxy.passed.Load(), 0
	for _, after := range []int64{100, 3000, whole / 10, whole / 3, whole / 2, whole * 3 / 4, whole * 9 / 10, whole - 9000, whole - 3000, whole - 1000, whole - 500, whole - 200, whole - 60} {
		before := count()
		r := deposit(after)
		deadline := time.Now().Add(20 * time.Second)
		for d.running.Load() > 0 && time.Now().Before(deadline) { // the service notices by itself
			time.Sleep(time.Millisecond)
		}
		made := count() - before
		switch {
		case made != 0 && made != 4:
			t.Errorf("cut after %d of %d bytes: %d units", after, whole, made)
		case r.status == 0 && made == 0:
			t.Errorf("cut after %d of %d bytes: acknowledged, and not archived: %+v", after, whole, r)
		case r.status != 0 && !strings.Contains(r.errOut, "sae: "):
			t.Errorf("cut after %d of %d bytes: nothing is said: %+v", after, whole, r)
		}
		if (r.files != "") != (r.status == 0) && made == 0 {
			t.Errorf("cut after %d of %d bytes: left behind: %s", after, whole, r.files)
		}
		if made == 0 {
			lost++
		}
	}
	if lost < 5 {
		t.Errorf("%d deposits were cut: the test shows little", lost)
	}
	d.close()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if r := do(t, "", "audit"); r.status != 0 {
		t.Errorf("%+v", r)
	}
	if r := do(t, "", "fsck"); r.status != 0 {
		t.Errorf("%+v", r)
	}
}

// TestServiceEndsWhileVerbsRun: a verb that runs may end, one that would go on for ever ends, no other
// begins; and one that takes too long is interrupted.
func TestServiceEndsWhileVerbsRun(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "archive")
	if _, err := archive.Create(dir, archive.New{}); err != nil {
		t.Fatal(err)
	}
	a, err := archive.Open(dir, archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	service, stop := context.WithCancel(t.Context())
	verbs := newRunner(service)
	command := func(verb string, in io.Reader, args ...string) (*api.Command, *bytes.Buffer) {
		var out bytes.Buffer
		return &api.Command{Verb: verb, Args: args, Agent: "tester", Archive: a, Seal: func(ctx context.Context) ([]archive.Sealed, error) { return a.Seal(ctx, "tester") }, In: in, Out: &out, Err: &out, Files: &noFiles{}}, &out
	}
	reads, writes := io.Pipe()
	var status [2]int
	var wg sync.WaitGroup
	typing, said := command("subject find", reads, "--from=-")
	wg.Go(func() { status[0] = verbs.run(t.Context(), typing) })
	watching, _ := command("seal", strings.NewReader(""), "--watch=1h")
	wg.Go(func() { status[1] = verbs.run(t.Context(), watching) })
	if _, err := io.WriteString(writes, `{"familyName":`); err != nil { // it has begun
		t.Fatal(err)
	}
	stop()
	ended := make(chan struct{})
	go func() { verbs.end(time.Hour); close(ended) }()
	for {
		late, out := command("list", strings.NewReader(""))
		if s := verbs.run(t.Context(), late); s == exitRefused && strings.Contains(out.String(), "the service is ending") {
			break
		}
	}
	select {
	case <-ended:
		t.Error("the service ended before the verb")
	default:
	}
	io.WriteString(writes, `"Martin"}`)
	writes.Close()
	wg.Wait()
	<-ended
	if status != [2]int{0, 0} {
		t.Errorf("%v: %s", status, said)
	}

	service, stop = context.WithCancel(t.Context())
	verbs = newRunner(service)
	forever, _ := command("seal", strings.NewReader(""), "--watch=1h")
	served := make(chan int)
	interrupted, cancel := context.WithCancel(t.Context())
	go func() { served <- verbs.run(interrupted, forever) }()
	cancel() // as by its client
	if s := <-served; s != 0 {
		t.Error(s)
	}
	stop()
	verbs.end(0)
}

// TestManyAtATime: verbs of many clients run side by side, each on its own streams and files.
func TestManyAtATime(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("SAE_DIR", "archive")
	if r := do(t, "", "init"); r.status != 0 {
		t.Fatal(r)
	}
	a, err := archive.Open("archive", archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := serveOver(a, "tester", "", false)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			name := string(rune('a' + n))
			if err := os.WriteFile(name, []byte(name), 0o600); err != nil {
				t.Error(err)
			}
			for range 4 {
				var out, errOut bytes.Buffer
				at := []string{"--server", d.url, "--ca", d.ca, "--cert", d.cert, "--cert-key", d.certKey}
				if s := run(append(at, "deposit", name), nil, &out, &errOut); s != 0 {
					t.Errorf("status %d: %s", s, &errOut)
					return
				}
				object := identifiers("o", out.String())[0]
				out.Reset()
				if s := run(append(at, "get", object), nil, &out, &errOut); s != 0 || out.String() != name {
					t.Errorf("status %d: %q for %q: %s", s, &out, name, &errOut)
				}
			}
		})
	}
	wg.Wait()
	d.close()
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if r := do(t, "", "fsck"); r.status != 0 {
		t.Errorf("%+v", r)
	}
}
