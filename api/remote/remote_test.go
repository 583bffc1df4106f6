package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// serve runs verb for every client that asks.
func serve(t testing.TB, verb func(context.Context, *Session) int) *Client {
	t.Helper()
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := Accept(w, r, 5*time.Second)
		if err != nil {
			t.Log("accepting:", err)
			return
		}
		if err := s.Run(func(ctx context.Context) int { return verb(ctx, s) }); err != nil {
			t.Log("running:", err)
		}
	}))
	t.Cleanup(ts.Close)
	return &Client{URL: ts.URL, HTTP: ts.Client()}
}

// ran is what came of a verb.
type ran struct {
	status      int
	err         error
	out, errOut string
}

func (c *Client) try(ctx context.Context, in string, named Named, args ...string) ran {
	ask := Ask{Verb: "try"}
	for _, a := range args {
		ask.Args = append(ask.Args, []byte(a))
	}
	var out, errOut bytes.Buffer
	status, err := c.Run(ctx, ask, Streams{strings.NewReader(in), &out, &errOut}, named)
	return ran{status, err, out.String(), errOut.String()}
}

func TestStreamsAndStatus(t *testing.T) {
	c := serve(t, func(_ context.Context, s *Session) int {
		b, err := io.ReadAll(s.In)
		if err != nil {
			t.Error(err)
		}
		s.ErrOut.Write([]byte("first\n"))
		s.Out.Write(b)
		s.ErrOut.Write(s.Ask.Args[0])
		return 7
	})
	in := strings.Repeat("0123456789", 100_000)
	r := c.try(t.Context(), in, Named{}, "\xff\xfe é")
	if r.err != nil || r.status != 7 || r.out != in || r.errOut != "first\n\xff\xfe é" {
		t.Errorf("%v, status %d, %d bytes, %q", r.err, r.status, len(r.out), r.errOut)
	}
}

// TestFilesAreAsHere does everything with files here and from afar, and compares.
func TestFilesAreAsHere(t *testing.T) {
	t.Chdir(t.TempDir())
	large := make([]byte, 5*maxChunk+17)
	rand.NewChaCha8([32]byte{}).Read(large)
	for name, data := range map[string][]byte{"docs/large": large, "docs/empty": nil, "docs/deep/er/x": []byte("x"), "docs/\xe9t\xe9": []byte("latin-1"), "alone": []byte("alone")} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range maxPage + 3 { // more than a page
		if err := errors.Join(os.MkdirAll("docs/many", 0o700), os.WriteFile(filepath.Join("docs/many", string(rune('a'+i%26))+strings.Repeat("n", i/26)), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink("large", "docs/link"), os.Symlink("alone", "outside")); err != nil {
		t.Fatal(err)
	}
	var far string
	c := serve(t, func(_ context.Context, s *Session) int { far = look(s.Files); return 0 })
	here := look(Disk{})
	if r := c.try(t.Context(), "", Named{Trees: []string{"docs", "outside", "absent"}, Files: []string{"alone"}}); r.err != nil || r.status != 0 {
		t.Fatal(r)
	}
	of := strings.Split(far, "\n")
	for i, line := range strings.Split(here, "\n") {
		if i >= len(of) || of[i] != line {
			t.Fatalf("line %d: here %q, from afar %q", i, line, of[min(i, len(of)-1)])
		}
	}
	if len(of) < 100+maxPage {
		t.Errorf("%d lines show nothing", len(of))
	}
}

// look tells all about some files.
func look(files Files) string {
	var b strings.Builder
	say := func(what string, v any, err error) {
		b.WriteString(what)
		switch v := v.(type) {
		case fs.FileInfo:
			if err == nil {
				b.WriteString(" " + v.Mode().String() + " " + v.Name() + " " + v.ModTime().UTC().String())
			}
		case string:
			b.WriteString(" " + v)
		}
		if err != nil {
			b.WriteString(" error " + err.Error())
			if errors.Is(err, fs.ErrNotExist) {
				b.WriteString(" (not there)")
			}
		}
		b.WriteString("\n")
	}
	for _, p := range []string{"docs", "alone", "outside", "absent", "docs/absent"} {
		i, err := files.Stat(p)
		say("stat "+p, i, err)
		i, err = files.Lstat(p)
		say("lstat "+p, i, err)
		target, err := files.ReadLink(p)
		say("readlink "+p, target, err)
		say("base "+p, files.Base(p), nil)
		say("readable "+p, nil, files.Readable(p))
	}
	err := fs.WalkDir(files, "docs", func(path string, d fs.DirEntry, err error) error {
		say("walk "+path, nil, err)
		if err != nil {
			return nil
		}
		i, err := files.Lstat(path)
		say("lstat", i, err)
		if d.Type().IsRegular() {
			say("readable", nil, files.Readable(path))
			f, err := files.Open(path)
			if err != nil {
				say("open", nil, err)
				return nil
			}
			i, err := f.Stat()
			say("stat", i, err)
			data, err := io.ReadAll(f)
			say("read", fmt.Sprintf("%d bytes, %x", len(data), sha256.Sum256(data)), err)
			at := make([]byte, 10)
			for _, off := range []int64{3, 2*maxChunk - 5, 5*maxChunk + 10, maxChunk, 1 << 40} {
				n, err := f.(io.ReaderAt).ReadAt(at, off)
				say("at", fmt.Sprintf("%x", at[:n]), err)
			}
			again, err := files.Lstat(path)
			say("again", again, err)
			if !files.Same(i, again) {
				say("not the same", nil, nil)
			}
			say("close", nil, f.Close())
		}
		return nil
	})
	say("walked", nil, err)
	return b.String()
}

func TestWriting(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("there", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), maxChunk/4)
	c := serve(t, func(_ context.Context, s *Session) int {
		w, err := s.Files.Create("new")
		if err == nil {
			_, err = w.Write(large)
		}
		if err == nil {
			err = w.Keep()
		}
		if err != nil {
			t.Error(err)
		}
		if w, err = s.Files.Create("dropped"); err == nil {
			w.Write(large)
			err = w.Drop()
		}
		if err != nil {
			t.Error(err)
		}
		if _, err := s.Files.Create("there"); err == nil || err.Error() != "there exists already; name another file" {
			t.Error(err)
		}
		d, err := s.Files.CreateFolder("folder")
		if err != nil {
			t.Error(err)
			return 1
		}
		for _, name := range []string{"a", "x/y/b"} {
			w, err := d.Create(name)
			if err == nil {
				_, err = io.WriteString(w, name)
			}
			if err == nil {
				err = w.Close()
			}
			if err != nil {
				t.Error(err)
			}
		}
		if err := errors.Join(d.Mkdir("empty"), d.Keep()); err != nil {
			t.Error(err)
		}
		if _, err := s.Files.Create("left"); err != nil { // neither kept nor dropped
			t.Error(err)
		}
		if d, err := s.Files.CreateFolder("left-folder"); err != nil {
			t.Error(err)
		} else if w, err := d.Create("x"); err != nil {
			t.Error(err)
		} else {
			w.Write([]byte("x"))
		}
		return 0
	})
	r := c.try(t.Context(), "", Named{New: []string{"new", "dropped", "there", "folder", "left", "left-folder"}})
	if r.err != nil || r.status != 0 {
		t.Fatal(r)
	}
	if got := filesBelow(t, "."); !slices.Equal(got, []string{"folder/a", "folder/x/y/b", "new", "there"}) {
		t.Error(got)
	}
	if b, err := os.ReadFile("new"); err != nil || !bytes.Equal(b, large) {
		t.Error(len(b), err)
	}
	if i, err := os.Stat("folder/empty"); err != nil || !i.IsDir() {
		t.Error(err)
	}
}

func filesBelow(t testing.TB, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			out = append(out, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestInterrupt: the verb is told, may still say something, and gives its status.
func TestInterrupt(t *testing.T) {
	begun := make(chan struct{})
	c := serve(t, func(ctx context.Context, s *Session) int {
		close(begun)
		<-ctx.Done()
		io.WriteString(s.ErrOut, "interrupted")
		return 1
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-begun; cancel() }()
	if r := c.try(ctx, "", Named{}); r.err != nil || r.status != 1 || r.errOut != "interrupted" {
		t.Error(r)
	}
}

// TestLostConnection: the verb's context ends, and what it still wants of files fails.
func TestLostConnection(t *testing.T) {
	t.Chdir(t.TempDir())
	ended := make(chan error, 1)
	c := serve(t, func(ctx context.Context, s *Session) int {
		w, err := s.Files.Create("new")
		if err != nil {
			t.Error(err)
		}
		w.Write([]byte("half"))
		io.WriteString(s.Out, "go")
		<-ctx.Done()
		_, err = s.Files.Stat("new")
		ended <- err
		return 0
	})
	out := writerFunc(func([]byte) (int, error) { return 0, errors.New("the pipe is closed") })
	_, err := c.Run(t.Context(), Ask{Verb: "try"}, Streams{strings.NewReader(""), out, io.Discard}, Named{New: []string{"new"}})
	if err == nil || err.Error() != "the pipe is closed" {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, errGone) {
		t.Error(err)
	}
	if got := filesBelow(t, "."); len(got) > 0 {
		t.Errorf("left: %v", got)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"":                        "not the URL",
		"sae.example":             "not the URL",
		"ftp://sae.example":       "not the URL",
		"https://u:p@sae.example": "not the URL",
		"https://sae.example?x":   "not the URL",
		"http://sae.example":      "without TLS",
		"http://127.evil.example": "without TLS",
		"http://localhost.evil":   "without TLS",
		"http://127.0.0.1:1/sae":  "reaching",
		"https://127.0.0.1:1":     "reaching",
	} {
		c := &Client{URL: url, Key: "sae_secret", HTTP: http.DefaultClient}
		_, err := c.Run(t.Context(), Ask{}, Streams{}, Named{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "sae_secret") {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"title":"Denied","detail":"not \u001b[31mfor you"}`)
	}))
	defer ts.Close()
	_, err := (&Client{URL: ts.URL, HTTP: ts.Client()}).Run(t.Context(), Ask{}, Streams{}, Named{})
	var refused *Refused
	if !errors.As(err, &refused) || refused.Status != 403 || err.Error() != "Denied: not [31mfor you" {
		t.Error(err)
	}
}

// hostile is a service that sends what it wants, and gives what the client answers to it.
func hostile(t *testing.T, named Named, send func(ctx context.Context, c *websocket.Conn) error) (err error) {
	t.Helper()
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		c.SetReadLimit(maxFrame)
		defer c.CloseNow()
		if _, err := receive(r.Context(), c); err != nil {
			t.Error(err)
		}
		if err := send(r.Context(), c); err != nil {
			t.Error(err)
		}
		for { // until the client goes
			f, err := receive(r.Context(), c)
			if err != nil {
				return
			}
			if bytes.Contains(f.data, []byte("secret")) || bytes.Contains(f.head, []byte("c2VjcmV0")) {
				t.Errorf("the client gave: %q %q", f.head, f.data)
			}
		}
	}))
	defer ts.Close()
	_, err = (&Client{URL: ts.URL, HTTP: ts.Client()}).Run(t.Context(), Ask{}, Streams{strings.NewReader(""), io.Discard, io.Discard}, named)
	return err
}

func sendRequests(requests ...string) func(context.Context, *websocket.Conn) error {
	return func(ctx context.Context, c *websocket.Conn) error {
		for i, r := range requests {
			f := &frame{kind: frameRequest, id: uint32(i + 1), head: []byte(r)}
			if err := c.Write(ctx, websocket.MessageBinary, f.append(nil)); err != nil {
				return err
			}
		}
		return nil
	}
}

// requestOf is the head of a request.
func requestOf(op, path string, handle int) string {
	r := request{Op: op, Path: []byte(path), Handle: handle, N: 100}
	b, _ := json.Marshal(r)
	return string(b)
}

// TestHostileService: whatever a service asks for, it gets and makes nothing but what the command names.
func TestHostileService(t *testing.T) {
	base := t.TempDir()
	for _, dir := range []string{"work/docs/sub", "elsewhere"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(base, "work"))
	for _, name := range []string{"secret", "docs2", "../elsewhere/secret", "docs/a", "meta.csv"} {
		if err := os.WriteFile(name, []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile("docs/a", []byte("given"), 0o600)
	os.WriteFile("meta.csv", []byte("given"), 0o600)
	if err := errors.Join(os.Symlink("../../elsewhere", "docs/out"), os.Symlink("/etc", "docs/etc"), os.Symlink("../secret", "docs/link")); err != nil {
		t.Fatal(err)
	}
	before := filesBelow(t, base)
	named := Named{Trees: []string{"docs"}, Files: []string{"meta.csv"}, New: []string{"out.zip"}}
	absolute := filepath.Join(base, "work", "secret")
	for _, path := range []string{"secret", "./secret", "docs/../secret", "docs/sub/../../secret", "../elsewhere/secret", absolute, "/etc/passwd", "docs2", "..", ".", "", "meta.csv/x", "docs\x00"} {
		for _, op := range []string{opStat, opLstat, opReadLink, opList, opReadable, opOpen, opCreate, opFolder} {
			err := hostile(t, named, sendRequests(requestOf(op, path, 0)))
			var no *NotNamedError
			if !errors.As(err, &no) && !errors.Is(err, errFrame) && (path != "docs\x00" && path != "meta.csv/x") {
				t.Errorf("%s %q: %v", op, path, err)
			}
		}
	}
	// Out by a link: the system says no, and the command may go on.
	for _, path := range []string{"docs/link", "docs/out/secret", "docs/etc/passwd", "docs/out"} {
		for _, op := range []string{opStat, opOpen, opList, opReadable} {
			hostile(t, named, func(ctx context.Context, c *websocket.Conn) error {
				sendRequests(requestOf(op, path, 0), requestOf(opRead, "", 1))(ctx, c)
				f, err := receive(ctx, c)
				if err != nil {
					t.Errorf("%s %s: %v", op, path, err)
					return nil
				}
				var a answer
				if f.read(&a); a.Err == nil {
					t.Errorf("%s %s is answered: %s", op, path, f.head)
				}
				c.CloseNow()
				return nil
			})
		}
	}
	// Out of a folder that is being made.
	for _, path := range []string{"../x", "/tmp/sae-x", "a/../../x", ""} {
		for _, op := range []string{opCreateIn, opMkdirIn} {
			var no *NotNamedError
			if err := hostile(t, named, sendRequests(requestOf(opFolder, "out.zip", 0), requestOf(op, path, 1))); !errors.As(err, &no) {
				t.Errorf("%s %q: %v", op, path, err)
			}
		}
	}
	// What is not of the protocol ends it.
	for _, r := range []string{"{", `{"op":"rm"}`, `{"op":"read","handle":7,"n":1}`, `{"op":"read","n":-1}`, `{"op":"write","handle":1}`, `{"op":"list","path":"ZG9jcw==","n":100000}`,
		`{"op":"stdin","n":99999999}`, `{"op":"keep","handle":1}`, `{"op":"close","handle":0}`} {
		if err := hostile(t, named, sendRequests(r)); !errors.Is(err, errFrame) {
			t.Errorf("%s: %v", r, err)
		}
	}
	flood := make([]string, 40*maxFlying)
	for i := range flood {
		flood[i] = requestOf(opStdin, "", 0)
	}
	if err := hostile(t, named, func(ctx context.Context, c *websocket.Conn) error { sendRequests(flood...)(ctx, c); return nil }); err == nil {
		t.Error("a flood is taken")
	}
	if got := filesBelow(t, base); !slices.Equal(got, before) {
		t.Errorf("%v, before: %v", got, before)
	}
}

// TestHostileClient: what no client says ends the session, and a verb that walks does not go on for ever.
func TestHostileClient(t *testing.T) {
	for name, reply := range map[string]func(r *request) *canned{
		"a name that is a way": func(*request) *canned {
			return &canned{head: `{"list":[{"name":"Li4=","mode":2147483648}],"more":true}`}
		},
		"itself": func(*request) *canned {
			return &canned{head: `{"list":[{"name":"Lg==","mode":2147483648}],"more":true}`}
		},
		"the same page, always": func(*request) *canned {
			return &canned{head: `{"list":[{"name":"YQ==","mode":2147483648}],"more":true}`}
		},
		"a page of nothing":      func(*request) *canned { return &canned{head: `{"more":true}`} },
		"no JSON":                func(*request) *canned { return &canned{head: `{`} },
		"a size below nothing":   func(*request) *canned { return &canned{head: `{"list":[{"name":"YQ==","size":-1}]}`} },
		"folders without an end": func(*request) *canned { return &canned{head: `{"list":[{"name":"YQ==","mode":2147483648}]}`} },
	} {
		done := make(chan error, 1)
		ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := Accept(w, r, 5*time.Second)
			if err != nil {
				t.Error(err)
				return
			}
			s.Run(func(context.Context) int {
				done <- fs.WalkDir(s.Files, "x", func(_ string, _ fs.DirEntry, err error) error { return err })
				return 0
			})
		}))
		c, _, err := websocket.Dial(t.Context(), ts.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.Write(t.Context(), websocket.MessageBinary, (&frame{kind: frameAsk, head: []byte(`{"version":1}`)}).append(nil))
		go func() {
			for {
				f, err := receive(context.Background(), c)
				if err != nil {
					return
				}
				var r request
				f.read(&r)
				out := &canned{head: `{"info":{"name":"eA==","mode":2147483648}}`}
				if r.Op == opList {
					out = reply(&r)
				}
				c.Write(context.Background(), websocket.MessageBinary, (&frame{kind: frameAnswer, id: f.id, head: []byte(out.head), data: out.data}).append(nil))
			}
		}()
		select {
		case err := <-done:
			if err == nil {
				t.Errorf("%s: taken", name)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s: it goes on for ever", name)
		}
		c.CloseNow()
		ts.Close()
	}
}

type canned struct {
	head string
	data []byte
}
