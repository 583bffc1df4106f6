package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"sae/archive"
)

// TestServiceFlags: what is wrong with the way to a service is said before anything is sent.
func TestServiceFlags(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("SAE_API_KEY", "")
	for name, text := range map[string]string{"empty": "\n", "two": "sae_a\nsae_b\n", "key": "sae_a\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for args, want := range map[string]string{
		"--server https://127.0.0.1:1":                                     "who asks?",
		"--server https://127.0.0.1:1 --key-file nowhere":                  "reading --key-file: open nowhere",
		"--server https://127.0.0.1:1 --key-file empty":                    "want one key, alone",
		"--server https://127.0.0.1:1 --key-file two":                      "want one key, alone",
		"--server https://127.0.0.1:1 --key-file key --ca nowhere":         "reading --ca: open nowhere",
		"--server https://127.0.0.1:1 --key-file key --ca key":             "holds no certificate",
		"--server https://127.0.0.1:1 --cert key":                          "go together",
		"--server https://127.0.0.1:1 --cert key --cert-key key":           "reading --cert and --cert-key",
		"--server https://127.0.0.1:1 --key-file key":                      "reaching https://127.0.0.1:1",
		"--server http://sae.example --key-file key":                       "without TLS, only a service on this machine",
		"--server sae.example --key-file key":                              "not the URL of a service",
		"--server https://127.0.0.1:1 --key-file key --dir x":              "--dir is of an archive on this machine",
		"--server https://127.0.0.1:1 --key-file key --as somebody --json": "--as is of an archive on this machine",
	} {
		r := do(t, "", append(strings.Fields(args), "list")...)
		if r.status == 0 || !strings.Contains(r.errOut, want) || strings.Contains(r.errOut, "sae_a") {
			t.Errorf("%s: %+v, want %q", args, r, want)
		}
	}
}

// TestKeyIsForTheServiceThatIsNamed: a redirect is not followed.
func TestKeyIsForTheServiceThatIsNamed(t *testing.T) {
	var stolen atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Store(true) }))
	defer elsewhere.Close()
	ts := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer ts.Close()
	t.Chdir(t.TempDir())
	t.Setenv("SAE_API_KEY", "sae_secret")
	r := do(t, "", "--server", ts.URL, "list")
	if r.status == 0 || stolen.Load() || !strings.Contains(r.errOut, "redirect") || strings.Contains(r.errOut, "sae_secret") {
		t.Errorf("%+v, asked elsewhere: %v", r, stolen.Load())
	}
}

// TestInUseByAService: who finds the archive served is told what to do.
func TestInUseByAService(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := archive.Create("archive", archive.New{}); err != nil {
		t.Fatal(err)
	}
	for command, told := range map[string]bool{"sae serve": true, "sae deposit": false} {
		a, err := archive.Open("archive", archive.Options{Command: command})
		if err != nil {
			t.Fatal(err)
		}
		r := do(t, "", "list", "--dir", "archive", "--lock-wait", "0s")
		if r.status != exitDamaged || !strings.Contains(r.errOut, "is in use") || strings.Contains(r.errOut, "--server URL") != told {
			t.Errorf("%s: %+v", command, r)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
