package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDocExamples runs the examples of docs/api.md, one behind the other, against sae serve --dev.
func TestDocExamples(t *testing.T) { runDoc(t, "api.md", "") }

// TestConnectorExamples does so with those of docs/connectors.md, whose procedure the archive has.
func TestConnectorExamples(t *testing.T) { runDoc(t, "connectors.md", "apa.yaml") }

// runDoc runs the examples of a document. procedure is a file that they write, and that is added before.
func runDoc(t *testing.T, doc, procedure string) {
	for _, tool := range []string{"bash", "curl", "jq", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("SAE_REQUIRE_PEERS") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", doc))
	if err != nil {
		t.Fatal(err)
	}
	program := buildProgram(t)
	if out, err := exec.Command("go", "build", "-o", filepath.Join(filepath.Dir(program), "sae-verify"), "../sae-verify").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir := filepath.Join(t.TempDir(), "archive")
	if out, err := exec.Command(program, "init", "--dir", dir, "--accept-unknown", "agreements,agencies,rules").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if procedure != "" {
		_, after, ok := strings.Cut(string(text), "cat > "+procedure+" <<'END'\n")
		file := filepath.Join(t.TempDir(), procedure)
		body, _, ended := strings.Cut(after, "\nEND\n")
		if !ok || !ended || os.WriteFile(file, []byte(body), 0o600) != nil {
			t.Fatalf("%s does not write %s", doc, procedure)
		}
		if out, err := exec.Command(program, "procedure", "add", file, "--dir", dir).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	writeServe(t, dir, "serve: {listen: \"127.0.0.1:0\", vitam: {tenants: {0: archives}}}\n")
	s := startServe(t, program, dir, "--dev")
	script := "set -euo pipefail\n"
	for _, block := range strings.Split(string(text), "\n```sh\n")[1:] {
		block, _, _ = strings.Cut(block, "\n```")
		script += block + "\n"
	}
	script = strings.NewReplacer("http://127.0.0.1:8443", s.url, "http://127.0.0.1:8444", s.admin, "KEY=sae_...", "KEY="+s.key, "127.0.0.1:8445", freeAddress(t)).Replace(script)
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "ROOTS="+filepath.Join(dir, "keys", "tsa-ca.pem"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s\n%s", err, out, &s.errors)
	}
}

// freeAddress is an address on which nothing listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
