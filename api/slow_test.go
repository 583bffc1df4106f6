package api

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sae/archive"
	"sae/archive/serving"
)

// TestSlowClientsAreDropped: a client that sends nothing more is dropped, keeps nobody from being
// served, and nothing of what it sent is kept.
func TestSlowClientsAreDropped(t *testing.T) {
	s := serve(t, func(c *serving.Config) { c.Limits.Idle, c.Limits.Concurrent = 300*time.Millisecond, 4 })
	key := s.key("cd99", archive.Depositor)
	ct, body := form(part{"metadata", oneFile, nil}, part{"f", strings.Repeat("slow ", 1000), nil})
	ends := make(chan error, 3)
	for i := range 3 {
		in, out := io.Pipe()
		defer out.Close()
		r, err := http.NewRequest("POST", s.ts.URL+"/v1/deposits", in)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Authorization": {"Bearer " + key}, "Content-Type": {ct}, "Idempotency-Key": {fmt.Sprint("slow", i)}}
		go func() {
			resp, err := s.c.Do(r)
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode < 400 {
					err = fmt.Errorf("half of a deposit: %s", resp.Status)
				} else {
					err = nil
				}
			}
			ends <- err
		}()
		if _, err := out.Write(body.Bytes()[:body.Len()/2]); err != nil {
			t.Fatal(err)
		}
	}
	if r := s.deposit(key, "quick", "x"); r.StatusCode != 201 {
		t.Errorf("beside slow ones: %s %s", r.Status, r.body)
	}
	for range 3 {
		<-ends // however it ended: with an answer, or without
	}
	if n := s.units("cd99"); n != 1 {
		t.Errorf("%d units", n)
	}
}

// TestStalledBodiesAreDropped: a client that stops in the midst of a body is dropped, wherever that is,
// and also when it was answered without its body having been read. The server reads what is left of a
// body, a quarter of a megabyte at most, before it answers and before the next request.
func TestStalledBodiesAreDropped(t *testing.T) {
	s := serve(t, func(c *serving.Config) { c.Limits.Idle = 300 * time.Millisecond })
	key := s.key("cd99", archive.Depositor)
	ct, whole := form(part{"metadata", oneFile, nil}, part{"f", strings.Repeat("stalled ", 24<<10), nil})
	body := whole.String()
	for why, c := range map[string]struct {
		key, path string
		sent      int
	}{
		"no key, no body":          {"", "/v1/deposits", 0},
		"no key, half of a body":   {"", "/v1/deposits", len(body) / 2},
		"not for its role":         {key, "/v1/subjects/find", 10},
		"nowhere":                  {key, "/v1/nowhere", 10},
		"no body":                  {key, "/v1/deposits", 0},
		"in the metadata":          {key, "/v1/deposits", 30},
		"early in the content":     {key, "/v1/deposits", 1000},
		"a little is missing":      {key, "/v1/deposits", len(body) - 100<<10},
		"the last byte":            {key, "/v1/deposits", len(body) - 1},
		"another type":             {key, "/v1/eliminations", 5},
		"a package, nothing of it": {key, "/v1/transfers/x.zip", 0},
		"a package":                {key, "/v1/transfers/x.zip", len(body) - 1},
	} {
		t.Run(why, func(t *testing.T) {
			t.Parallel()
			conn := s.raw(t)
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(30 * time.Second))
			method := "POST"
			if strings.Contains(c.path, "transfers") {
				method = "PUT"
			}
			fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nIdempotency-Key: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", method, c.path, c.key, strings.ReplaceAll(why, " ", "-"), ct, len(body))
			io.WriteString(conn, body[:c.sent])
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("it is not dropped")
			}
		})
	}
}

// raw is a connection of its own.
func (s *served) raw(t testing.TB) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", s.ts.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestDamagedContentIsNeverTakenForWhole: when no copy is good, the answer is a problem, or its
// connection is cut.
func TestDamagedContentIsNeverTakenForWhole(t *testing.T) {
	s := serveDamaged(t)
	key := s.key("cd99", archive.Depositor)
	d := s.deposited(key, "k", strings.Repeat("0123456789abcdef", 100_000))
	damage(t, filepath.Join(s.dir, "offers"))
	r, err := http.NewRequest("GET", s.ts.URL+"/v1/objects/"+d.Units[0].Objects[0].ID+"/content", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.key("cd99", archive.Auditor))
	resp, err := s.c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode < 500 {
		t.Errorf("%s, %d bytes without an error", resp.Status, len(b))
	}
	if strings.Contains(string(b), s.dir) || !strings.Contains(s.log.String(), "no good copy") {
		t.Errorf("told: %.200q\n%s", b, s.log)
	}
	if !strings.Contains(s.log.String(), "operation=objectContent method=GET") {
		t.Errorf("the request is not in the log:\n%s", s.log)
	}
}

// damage changes a byte late in every large file below a folder.
func damage(t *testing.T, dir string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || len(b) < 1<<20 {
			return err
		}
		n++
		b[len(b)-1000] ^= 1
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		return os.WriteFile(path, bytes.Clone(b), 0o600)
	})
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
}
