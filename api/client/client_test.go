package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sae/api"
	"sae/archive"
	"sae/archive/archivetest"
)

// serve makes an archive, and a client of it that does not wait between tries.
func serve(t *testing.T) (http.Handler, *Client, *archive.Archive) {
	t.Helper()
	a := archivetest.Open(t, archive.New{Tenant: "cd99", AcceptUnknown: []string{"agreements", "agencies", "rules"}})
	h, err := api.New(a, api.Config{Serving: a.Config().Serve.With()})
	if err != nil {
		t.Fatal(err)
	}
	who := api.Identity{Name: "test", Roles: archive.Roles, By: "test"}
	return h, &Client{URL: "http://archive", HTTP: &http.Client{Transport: api.Local(h, who)}, Pause: noPause}, a
}

func noPause(context.Context, time.Duration) error { return nil }

func one(title, text string) (*api.DepositMetadata, []Content) {
	return &api.DepositMetadata{Units: []api.Unit{{Title: title, Content: &api.UnitContent{Part: "p", Filename: "a.txt"}}}},
		[]Content{{"p", func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }}}
}

// lossy loses answers: the request was done.
type lossy struct {
	http.RoundTripper
	lose int
}

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.RoundTripper.RoundTrip(r)
	if err == nil && l.lose > 0 {
		l.lose--
		return nil, io.ErrUnexpectedEOF
	}
	return answer, err
}

func TestDepositOnceAfterLostAnswers(t *testing.T) {
	_, c, a := serve(t)
	c.HTTP.Transport = &lossy{c.HTTP.Transport, 2}
	m, contents := one("Demande", "contenu")
	d, err := c.Deposit(context.Background(), "k1", m, contents, nil)
	if err != nil || len(d.Units) != 1 {
		t.Fatalf("%+v, %v", d, err)
	}
	again, err := c.ShowDeposit(context.Background(), d.Entry)
	if err != nil || again.Operation != d.Operation {
		t.Errorf("%+v, %v", again, err)
	}
	if status, err := a.Status(); err != nil || status.Units != 1 {
		t.Errorf("%d units: deposited more than once? %v", status.Units, err)
	}
	c.HTTP.Transport.(*lossy).lose = 100
	m, contents = one("Autre", "contenu")
	if _, err := c.Deposit(context.Background(), "k2", m, contents, nil); !Later(err) {
		t.Errorf("no answer at all: %v", err)
	}
}

// TestNothingOfWhatIsGivenUp: a content that cannot be read, and a check that fails at the end, leave
// nothing in the archive, over the network and within the process.
func TestNothingOfWhatIsGivenUp(t *testing.T) {
	h, c, a := serve(t)
	ts := httptest.NewServer(h)
	defer ts.Close()
	_, secret, err := a.CreateAPIKey(context.Background(), "test", archive.NewAPIKey{Name: "x", Roles: archive.Roles, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	far := &Client{URL: ts.URL, Key: secret, HTTP: ts.Client(), Pause: noPause}
	broken := errors.New("the disk is broken")
	for name, c := range map[string]*Client{"near": c, "far": far} {
		t.Run(name, func(t *testing.T) {
			m, contents := one("Demande", strings.Repeat("contenu", 100_000))
			if _, err := c.Deposit(context.Background(), name+"1", m, contents, func() error { return broken }); !errors.Is(err, broken) || Later(err) {
				t.Errorf("a check that fails: %v", err)
			}
			contents[0].Open = func() (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(strings.NewReader("x"), failing{broken})), nil
			}
			if _, err := c.Deposit(context.Background(), name+"2", m, contents, nil); !errors.Is(err, broken) {
				t.Errorf("a content that cannot be read: %v", err)
			}
			contents[0].Open = func() (io.ReadCloser, error) { return nil, broken }
			if _, err := c.Deposit(context.Background(), name+"3", m, contents, nil); !errors.Is(err, broken) {
				t.Errorf("a content that cannot be opened: %v", err)
			}
		})
	}
	if status, err := a.Status(); err != nil || status.Units != 0 {
		t.Errorf("%d units, %v", status.Units, err)
	}
}

type failing struct{ error }

func (f failing) Read([]byte) (int, error) { return 0, f.error }

// TestRefusedEarly: the archive refuses by the metadata, before it reads a large content; the refusal
// is what is told, and not that the connection was cut.
func TestRefusedEarly(t *testing.T) {
	h, _, a := serve(t)
	ts := httptest.NewServer(h)
	defer ts.Close()
	_, secret, err := a.CreateAPIKey(context.Background(), "test", archive.NewAPIKey{Name: "x", Roles: archive.Roles, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	c := &Client{URL: ts.URL, Key: secret, HTTP: ts.Client(), Pause: noPause}
	for range 20 {
		m, contents := one("Demande", strings.Repeat("x", 8<<20))
		m.File = "APA-none"
		_, err = c.Deposit(context.Background(), "early", m, contents, nil)
		var p *Problem
		if !errors.As(err, &p) || p.Code != "not-found" || !Refused(err) {
			t.Fatalf("%v", err)
		}
	}
}

func TestProblem(t *testing.T) {
	_, c, _ := serve(t)
	_, err := c.OpenFile(context.Background(), "k", api.NewFile{Procedure: "none", Number: "1"})
	var p *Problem
	if !errors.As(err, &p) || p.Code != "not-found" || p.Status != 404 || Later(err) || Ours(err) || !Refused(err) {
		t.Errorf("%v", err)
	}
	h, _, _ := serve(t)
	c.HTTP.Transport = api.Local(h, api.Identity{Name: "x", Roles: []archive.Role{archive.Auditor}})
	if _, err := c.NewSubject(context.Background(), "k", api.NewSubject{Names: api.Names{FamilyName: "Martin"}}); !Ours(err) || Refused(err) {
		t.Errorf("%v", err)
	}
}

// TestAgain holds what is tried again, and how long is waited, against a server that answers by a script.
func TestAgain(t *testing.T) {
	for _, tt := range []struct {
		name    string
		answers []string // status, and Retry-After
		waits   []time.Duration
		err     string
	}{
		{"busy, then done", []string{"503 7", "429 2", "200"}, []time.Duration{7 * time.Second, 2 * time.Second}, ""},
		{"as long as it wants, at most", []string{"503 86400", "200"}, []time.Duration{longest}, ""},
		{"a proxy", []string{"502", "504", "200"}, []time.Duration{firstWait, 2 * firstWait}, ""},
		{"cut", []string{"cut", "200"}, []time.Duration{firstWait}, ""},
		{"half an answer", []string{"half", "200"}, []time.Duration{firstWait}, ""},
		{"refused for good", []string{"422"}, nil, "status-422"},
		{"away", []string{"503", "503", "503", "503", "503", "503"}, []time.Duration{firstWait, 2 * firstWait, 4 * firstWait, 8 * firstWait, 16 * firstWait}, "status-503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var bodies [][]byte
			ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				b, err := io.ReadAll(r.Body)
				if err != nil || r.Header.Get("Idempotency-Key") != "k" {
					t.Errorf("%v, key %q", err, r.Header.Get("Idempotency-Key"))
				}
				_, params, _ := strings.Cut(r.Header.Get("Content-Type"), "boundary=")
				bodies = append(bodies, bytes.ReplaceAll(b, []byte(params), nil))
				status, wait, _ := strings.Cut(tt.answers[len(bodies)-1], " ")
				if wait != "" {
					w.Header().Set("Retry-After", wait)
				}
				switch status {
				case "cut":
					conn, _, _ := http.NewResponseController(w).Hijack()
					conn.(*net.TCPConn).SetLinger(0)
					conn.Close()
				case "half":
					w.Header().Set("Content-Length", "1000")
					io.WriteString(w, `{"operation":`)
				case "200":
					io.WriteString(w, `{"operation":"p1"}`)
				default:
					w.WriteHeader(map[string]int{"422": 422, "429": 429, "502": 502, "503": 503, "504": 504}[status])
				}
			}))
			defer ts.Close()
			var waits []time.Duration
			c := &Client{URL: ts.URL, HTTP: ts.Client(), Pause: func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }}
			m, contents := one("Demande", "contenu")
			d, err := c.Deposit(context.Background(), "k", m, contents, nil)
			if tt.err == "" && (err != nil || d.Operation != "p1") || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("%+v, %v", d, err)
			}
			if len(waits) != len(tt.waits) {
				t.Fatalf("waited %v, want %v", waits, tt.waits)
			}
			for i := range waits {
				if waits[i] != tt.waits[i] {
					t.Errorf("waited %v, want %v", waits, tt.waits)
				}
			}
			if len(bodies) != len(tt.answers) {
				t.Fatalf("%d requests", len(bodies))
			}
			for _, b := range bodies {
				if !bytes.Equal(b, bodies[0]) {
					t.Errorf("sent again, it is another: %q, %q", b, bodies[0])
				}
			}
		})
	}
}
