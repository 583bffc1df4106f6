package bundle

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sae/integrity"
)

var update = flag.Bool("update", false, "add a bundle of this version to testdata, where there is none of its name")

// TestOldBundlesVerify: every bundle that was ever given out must be verified by
// every later version. Bundles are only added to testdata, never replaced.
func TestOldBundlesVerify(t *testing.T) {
	if *update {
		addBundle(t, "testdata/1")
	}
	paths, err := filepath.Glob("testdata/*.asice")
	check(t, err)
	if len(paths) == 0 {
		t.Fatal("no bundle in testdata")
	}
	for _, path := range paths {
		base := path[:len(path)-len(".asice")]
		key, err := os.ReadFile(base + ".key")
		check(t, err)
		r, err := VerifyFile(path, FileOptions{Roots: base + ".roots.pem", LedgerKey: string(key)})
		check(t, err)
		if r.Verdict != Verified || len(r.Documents) == 0 {
			t.Errorf("%s: %s: %v", path, r.Verdict, problems(r))
		}
		for _, c := range r.Checks {
			if c.Status != integrity.OK && c.Name != "text for people" {
				t.Errorf("%s: %s", path, c.Name)
			}
		}
	}
}

func addBundle(t *testing.T, base string) {
	t.Helper()
	if _, err := os.Stat(base + ".asice"); err == nil {
		return
	}
	m := newMaker(t)
	m.now = time.Now().UTC().Truncate(time.Second)
	m.fill(3)
	m.deposit("u1", 2, file{"o1", "Décision n° 1.txt", "Le conseil départemental décide.\n"})
	m.fill(1)
	m.seal(2)
	check(t, os.MkdirAll(filepath.Dir(base), 0o755))
	check(t, os.WriteFile(base+".asice", m.zip(), 0o644))
	check(t, os.WriteFile(base+".roots.pem", m.rootsPEM(), 0o644))
	check(t, os.WriteFile(base+".key", []byte(m.vkey), 0o644))
}

func TestVerifyFileRefuses(t *testing.T) {
	const good, roots = "testdata/1.asice", "testdata/1.roots.pem"
	for name, tc := range map[string]struct {
		path string
		o    FileOptions
	}{
		"no file":                 {"testdata/none.asice", FileOptions{Roots: roots}},
		"a folder":                {"testdata", FileOptions{Roots: roots}},
		"no bundle":               {roots, FileOptions{Roots: roots}},
		"no roots":                {good, FileOptions{Roots: "testdata/none.pem"}},
		"roots that are a bundle": {good, FileOptions{Roots: good}},
	} {
		if r, err := VerifyFile(tc.path, tc.o); err == nil {
			t.Errorf("%s: %s", name, r.Verdict)
		}
	}
}
