package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	good  = "../../integrity/bundle/testdata/1.asice"
	roots = "../../integrity/bundle/testdata/1.roots.pem"
)

// ledgerKey is the one of the good bundle.
func ledgerKey(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../integrity/bundle/testdata/1.key")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// damaged is the good bundle with a byte changed.
func damaged(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	path := filepath.Join(t.TempDir(), "damaged.asice")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStatus(t *testing.T) {
	bad, key := damaged(t), ledgerKey(t)
	other := strings.Replace(key, "+", "2+", 1)
	for name, tc := range map[string]struct {
		args   []string
		status int
		out    string // must be in it; "-" for nothing at all
		errOut string
	}{
		"verified":             {[]string{"--roots", roots, good}, 0, "verdict: verified\n", "-"},
		"verified, known key":  {[]string{"--roots", roots, "--ledger-key", key, good}, 0, "verdict: verified\n", "-"},
		"one dash":             {[]string{"-roots", roots, good}, 0, "verdict: verified\n", "-"},
		"two bundles":          {[]string{"--roots", roots, good, good}, 0, "Décision n° 1.txt", "-"},
		"other key":            {[]string{"--roots", roots, "--ledger-key", other, good}, 1, "verdict: failed\n", "failed"},
		"own roots":            {[]string{good}, 1, "own roots", "own roots"},
		"own roots accepted":   {[]string{"--trust-bundled-roots", good}, 0, "own roots", "-"},
		"JSON":                 {[]string{"--json", "--roots", roots, good}, 0, `"verdict":"verified"`, "-"},
		"JSON, own roots":      {[]string{"--json", good}, 1, "own roots", "own roots"},
		"damaged":              {[]string{"--roots", roots, bad}, 1, "-", "not a proof bundle"},
		"damaged, own roots":   {[]string{"--trust-bundled-roots", bad}, 1, "-", "not a proof bundle"},
		"one of two damaged":   {[]string{"--roots", roots, bad, good}, 1, "verdict: verified\n", "not a proof bundle"},
		"no such bundle":       {[]string{"--roots", roots, "none.asice"}, 1, "-", "none.asice"},
		"no such roots":        {[]string{"--roots", "none.pem", good}, 1, "-", "none.pem"},
		"roots from a bundle":  {[]string{"--roots", good, good}, 1, "-", "not a text file"},
		"roots that are none":  {[]string{"--roots", "main.go", good}, 1, "-", "no PEM certificate"},
		"nothing":              {nil, 2, "-", "usage:"},
		"options only":         {[]string{"--json"}, 2, "-", "usage:"},
		"unknown option":       {[]string{"--rots", roots, good}, 2, "-", "usage:"},
		"option without value": {[]string{"--roots"}, 2, "-", "usage:"},
		"help":                 {[]string{"--help"}, 2, "-", "trusted list"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			if status := run(tc.args, &out, &errOut); status != tc.status {
				t.Errorf("status %d, want %d", status, tc.status)
			}
			for want, have := range map[string]string{tc.out: out.String(), tc.errOut: errOut.String()} {
				if want == "-" && have != "" || want != "-" && !strings.Contains(have, want) {
					t.Errorf("said %q, want %q", have, want)
				}
			}
		})
	}
}

// TestJSON holds the form of a report, which other programs read.
func TestJSON(t *testing.T) {
	var out, errOut bytes.Buffer
	if status := run([]string{"--json", "--roots", roots, good}, &out, &errOut); status != 0 {
		t.Fatal(errOut.String())
	}
	var report struct {
		Verdict   string
		Documents []map[string]any
		Checks    []map[string]any
	}
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&report); err != nil {
		t.Fatal(err)
	}
	if d.More() {
		t.Error("more than one value")
	}
	wantKeys(t, "document", report.Documents, []string{"member", "id", "unit", "sha256", "archived", "stamped", "operation", "ledgerIndex"}, nil)
	wantKeys(t, "check", report.Checks, []string{"name", "target", "status"}, []string{"detail"})
	if doc := report.Documents[1]; doc["id"] != "o1" || doc["unit"] != "u1" || doc["ledgerIndex"] != 3. || doc["member"] != "documents/o1/Décision n° 1.txt" {
		t.Errorf("%v", doc)
	}
	for _, c := range report.Checks {
		if s := c["status"]; s != "OK" && s != "not checkable" {
			t.Errorf("%v", c)
		}
	}
}

func wantKeys(t *testing.T, what string, list []map[string]any, always, sometimes []string) {
	t.Helper()
	if len(list) < 2 {
		t.Fatalf("%d of %s", len(list), what)
	}
	for _, m := range list {
		known := 0
		for _, k := range always {
			if _, ok := m[k]; !ok {
				t.Errorf("%s %v has no %s", what, m, k)
			}
			known++
		}
		for _, k := range sometimes {
			if _, ok := m[k]; ok {
				known++
			}
		}
		if len(m) != known {
			t.Errorf("%s %v has other fields", what, m)
		}
	}
}
