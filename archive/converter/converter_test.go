package converter

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script is a converter that is a shell script; $1 is {in}, $2 {out}, $3 {outdir}.
func script(t *testing.T, body string) *Config {
	t.Helper()
	path := filepath.Join(t.TempDir(), "convert.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o700); err != nil {
		t.Fatal(err)
	}
	return &Config{ID: "test", From: []string{"fmt/45"}, To: []string{"fmt/18"}, Command: []string{path, "{in}", "{out}", "{outdir}"}, Extension: "pdf", Tool: "test 1"}
}

// runOn runs a converter on "content", in a temporary folder of the test's own.
func runOn(t *testing.T, ctx context.Context, c *Config) (got string, err error) {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	f, err := NewFolder("sae-test-")
	if err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(f.path); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", fi.Mode(), err)
	}
	path, err := c.Run(ctx, f, ".rtf", func(w io.Writer) error {
		_, err := io.WriteString(w, "content")
		return err
	})
	if err == nil {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got = string(b)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(tmp); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	return got, err
}

func TestRun(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	for name, c := range map[string]struct {
		body string
		got  string // or
		why  string
		said string
	}{
		"converted":          {body: `tr a-z A-Z < "$1" > "$2"`, got: "CONTENT"},
		"another name":       {body: `cp "$1" "$3/other.pdf"`, got: "content"},
		"the extension":      {body: `basename "$1" > "$2"`, got: "document.rtf\n"},
		"no shell":           {body: `printf %s "$#" > "$2"`, got: "3"},
		"its own home":       {body: `echo x > "$HOME/a"; echo x > "$TMPDIR/b"; case "$HOME" in "$(dirname "$(dirname "$1")")"/*) echo mine > "$2";; esac`, got: "mine\n"},
		"no secrets":         {body: `env | grep -c AWS > "$2"; test -s "$2"`, got: "0\n"},
		"what is left of it": {body: `cp "$1" "$2"; sleep 60 >/dev/null 2>&1 & exit 0`, got: "content"},
		"read-only folders":  {body: `cp "$1" "$2"; mkdir -p "$HOME/a/b"; chmod 500 "$HOME/a"`, got: "content"},
		"fails":              {body: `echo 'no such glyph' >&2; exit 3`, why: "exit status 3", said: "no such glyph"},
		"says much":          {body: `yes | head -c 100000; exit 1`, why: "exit status 1", said: "y\ny\n"},
		"no file":            {body: `exit 0`, why: "0 files, not one"},
		"two files":          {body: `cp "$1" "$2"; cp "$1" "$3/b"`, why: "2 files, not one"},
		"an empty file":      {body: `: > "$2"`, why: "empty"},
		"a folder":           {body: `mkdir "$2"`, why: "not a file"},
		"a link":             {body: `ln -s /etc/passwd "$2"`, why: "not a file"},
		"a pipe":             {body: `mkfifo "$2"`, why: "not a file"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := runOn(t, context.Background(), script(t, c.body))
			var failed *FailedError
			switch {
			case c.why == "" && (err != nil || got != c.got):
				t.Errorf("%q %v", got, err)
			case c.why != "" && (!errors.As(err, &failed) || !strings.Contains(failed.Why, c.why) || !strings.Contains(failed.Said, c.said) || len(failed.Said) > maxSaid):
				t.Errorf("%q %v", got, err)
			}
		})
	}
}

// TestRunIsBounded: what takes too long, or too much, is ended with all that it started.
func TestRunIsBounded(t *testing.T) {
	alive := filepath.Join(t.TempDir(), "alive")
	slow := script(t, `(while :; do date > `+alive+`; sleep 0.05; done) & sleep 1000`)
	slow.Timeout = 300 * time.Millisecond
	var failed *FailedError
	if _, err := runOn(t, context.Background(), slow); !errors.As(err, &failed) || !strings.Contains(failed.Why, "longer than 300ms") {
		t.Error(err)
	}
	os.Remove(alive)
	time.Sleep(300 * time.Millisecond)
	if _, err := os.Stat(alive); err == nil {
		t.Error("a process that it started goes on")
	}
	large := script(t, `cat /dev/zero > "$2"`)
	large.MaxSize = 1 << 20
	if _, err := runOn(t, context.Background(), large); !errors.As(err, &failed) || !strings.Contains(failed.Why, "more than 1048576 bytes") {
		t.Error(err)
	}
	quick := script(t, `head -c 2000000 /dev/zero > "$2"`)
	quick.MaxSize = 1 << 20
	if _, err := runOn(t, context.Background(), quick); !errors.As(err, &failed) || !strings.Contains(failed.Why, "more than 1048576 bytes") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := runOn(t, ctx, script(t, `sleep 1000`)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	missing := script(t, ``)
	missing.Command[0] = "/no/such/program"
	if _, err := runOn(t, context.Background(), missing); !errors.As(err, &failed) {
		t.Error(err)
	}
}

func TestSweep(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, prefix := range []string{"sae-convert-a-", "sae-convert-b-"} {
		if _, err := NewFolder(prefix); err != nil {
			t.Fatal(err)
		}
	}
	if err := Sweep("sae-convert-a-"); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(os.TempDir()); len(left) != 1 || !strings.HasPrefix(left[0].Name(), "sae-convert-b-") {
		t.Errorf("%v", left)
	}
}

func TestToolName(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for want, c := range map[string]Config{
		"Writer 24":       {Tool: "Writer 24"},
		"tool 1.2 bytes?": {Version: []string{"printf", "tool 1.2 \x1bbytes\xff\nmore"}},
		"Tool 3":          {Tool: "Tool", Version: []string{"echo", "3"}},
	} {
		if got, err := c.ToolName(context.Background()); err != nil || got != want {
			t.Errorf("%q instead of %q, %v", got, want, err)
		}
	}
	for _, c := range []Config{{Version: []string{"true"}}, {Version: []string{"false"}}} {
		if got, err := c.ToolName(context.Background()); err == nil {
			t.Errorf("%q", got)
		}
	}
}

func TestProblems(t *testing.T) {
	good := Config{From: []string{"fmt/40"}, To: []string{"fmt/95"}, Command: []string{"c", "{in}", "{outdir}"}, Tool: "c 1"}
	if bad := good.Problems(); len(bad) > 0 {
		t.Errorf("%v", bad)
	}
	for key, change := range map[string]func(*Config){
		"from":      func(c *Config) { c.From = []string{"pdf"} },
		"to":        func(c *Config) { c.To = []string{"fmt/40"} },
		"usage":     func(c *Config) { c.Usage = "TextContent" },
		"command":   func(c *Config) { c.Command = []string{"c", "{outdir}"} },
		"extension": func(c *Config) { c.Command = []string{"c", "{in}", "{out}"} },
		"tool":      func(c *Config) { c.Tool = "" },
		"timeout":   func(c *Config) { c.Timeout = -1 },
		"max-size":  func(c *Config) { c.MaxSize = -1 },
	} {
		c := good
		change(&c)
		if bad := c.Problems(); len(bad) != 1 || bad[key] == "" {
			t.Errorf("%s: %v", key, bad)
		}
	}
}
