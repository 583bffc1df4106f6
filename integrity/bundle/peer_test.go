package bundle

import (
	"bytes"
	"encoding/xml"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sae/integrity/ers/bctest"
)

// asicManifest is what a reader of ETSI EN 319 162-1 annex A.4 takes from a manifest.
type asicManifest struct {
	XMLName xml.Name `xml:"http://uri.etsi.org/02918/v1.2.1# ASiCManifest"`
	Record  struct {
		URI string `xml:"URI,attr"`
	} `xml:"http://uri.etsi.org/02918/v1.2.1# SigReference"`
	Objects []struct {
		URI string `xml:"URI,attr"`
	} `xml:"http://uri.etsi.org/02918/v1.2.1# DataObjectReference"`
}

// TestBouncyCastleAcceptsTheRecords gives each record of a bundle, with the members
// that its manifest lists, to an independent verifier.
func TestBouncyCastleAcceptsTheRecords(t *testing.T) {
	t.Parallel()
	accept := bctest.Verifier(t)
	for name, make := range samples {
		m := make(t)
		members := map[string][]byte{}
		for _, mem := range unzip(t, m.zip()) {
			members[mem.name] = mem.data
		}
		seen := 0
		for name, data := range members {
			if !strings.HasPrefix(name, "META-INF/ASiCEvidenceRecordManifest-") {
				continue
			}
			record, objects := listed(t, members, data)
			if err := accept(record, objects, m.rootsPEM()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			objects[0] = append(bytes.Clone(objects[0]), 'x')
			if err := accept(record, objects, m.rootsPEM()); err == nil {
				t.Errorf("%s: accepted for another content", name)
			}
			seen++
		}
		if want := len(m.bundle.Proofs) + len(m.bundle.Checkpoints); seen != want {
			t.Errorf("%s: %d manifests, want %d", name, seen, want)
		}
	}
}

// listed gives the record of a manifest and what it covers.
func listed(t testing.TB, members map[string][]byte, text []byte) (record []byte, objects [][]byte) {
	t.Helper()
	var m asicManifest
	check(t, xml.Unmarshal(text, &m))
	named := func(uri string) []byte {
		name, err := url.PathUnescape(uri)
		check(t, err)
		b, ok := members[name]
		if !ok {
			t.Fatalf("the manifest lists %q, which is not there", uri)
		}
		return b
	}
	for _, o := range m.Objects {
		objects = append(objects, named(o.URI))
	}
	return named(m.Record.URI), objects
}

// TestUnzipTakesBundles holds the container against Info-ZIP.
func TestUnzipTakesBundles(t *testing.T) {
	peer(t, "unzip")
	m := samples["names"](t)
	dir := t.TempDir()
	path := filepath.Join(dir, "bundle.asice")
	check(t, os.WriteFile(path, m.zip(), 0o600))
	if out, err := exec.Command("unzip", "-q", path, "-d", filepath.Join(dir, "x")).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	for _, mem := range unzip(t, m.zip()) {
		b, err := os.ReadFile(filepath.Join(dir, "x", mem.name))
		if err != nil || !bytes.Equal(b, mem.data) {
			t.Errorf("%s: other content, or %v", mem.name, err)
		}
	}
}
