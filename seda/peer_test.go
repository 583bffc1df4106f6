package seda

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// samples is where real transfers and the official schemas are, when they are.
const samples = "../../shared/seda"

// needSamples skips a test that has none.
func needSamples(t testing.TB) {
	t.Helper()
	if _, err := os.Stat(samples); err != nil {
		t.Skipf("real transfers are missing: put them into %s", samples)
	}
}

// needPeer gives the path of a program that the test compares with.
func needPeer(t testing.TB, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("SAE_REQUIRE_PEERS") != "" {
			t.Fatalf("%s is missing: install %s", name, install)
		}
		t.Skipf("%s is missing: install %s", name, install)
	}
	return path
}

// manifests gives every manifest among the samples, by file and member.
func manifests(t testing.TB) map[string][]byte {
	t.Helper()
	needSamples(t)
	out := map[string][]byte{}
	err := filepath.WalkDir(samples, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/xsd/") || strings.Contains(path, "/expected/") {
			return err
		}
		rel, _ := filepath.Rel(samples, path)
		switch filepath.Ext(path) {
		case ".xml":
			out[rel], err = os.ReadFile(path)
		case ".zip":
			err = manifestsOfZip(path, rel, out)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func manifestsOfZip(path, rel string, out map[string][]byte) error {
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil // not every sample is a zip that can be read
	}
	defer z.Close()
	for _, f := range z.File {
		if strings.Contains(f.Name, "/") || !strings.HasSuffix(f.Name, ".xml") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			return err
		}
		out[rel+"!"+f.Name] = b
	}
	return nil
}

// onlyIDs is a visitor that minds what a schema does of identifiers: each there once.
type onlyIDs map[string]bool

func (onlyIDs) open(*validator, *frame)          {}
func (onlyIDs) value(*validator, *frame, []byte) {}
func (onlyIDs) close(*validator, *frame)         {}
func (ids onlyIDs) identifier(v *validator, kind idKind, value []byte, _ *frame) {
	if kind == isID && ids[string(value)] {
		v.find(IDDuplicate, Error, string(value), "", "")
	}
	ids[string(value)] = ids[string(value)] || kind == isID
}

// schemaFindings holds a document against the model alone.
func schemaFindings(t testing.TB, doc []byte, mode Mode) (Version, *Findings) {
	t.Helper()
	var fs Findings
	v, err := validate(bytes.NewReader(doc), mode, onlyIDs{}, &fs, nil)
	if err != nil {
		t.Fatal(err)
	}
	return v.version, &fs
}

// xmllint judges documents by the official schemas, as many at a time as there are.
func xmllint(t testing.TB, v Version, docs map[string][]byte) map[string]error {
	t.Helper()
	lint := needPeer(t, "xmllint", "libxml2-utils")
	schemas, err := filepath.Abs(filepath.Join(samples, "xsd"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	out := map[string]error{}
	args := []string{"--nonet", "--noout", "--schema", filepath.Join(schemas, v.String(), fmt.Sprintf("seda-%s-main.xsd", v))}
	files := map[string]string{}
	n := 0
	for name, doc := range docs {
		file := filepath.Join(dir, fmt.Sprintf("%d.xml", n))
		n++
		if err := os.WriteFile(file, doc, 0o600); err != nil {
			t.Fatal(err)
		}
		files[file], args = name, append(args, file)
	}
	cmd := exec.Command(lint, args...)
	cmd.Env = append(os.Environ(), "XML_CATALOG_FILES="+filepath.Join(schemas, "catalog.xml"))
	text, _ := cmd.CombinedOutput()
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if m := lintPlace.FindStringSubmatch(line); m != nil {
			name := files[m[1]]
			if out[name] == nil {
				out[name] = fmt.Errorf("%s", line)
			}
		}
	}
	return out
}

var lintPlace = regexp.MustCompile(`^(/[^:]*\.xml)(?::\d+: | fails to validate)`)

// TestStrictAsXmllint holds the strict verdict on every real manifest against libxml2
// with the official schemas.
func TestStrictAsXmllint(t *testing.T) {
	byVersion := map[Version]map[string][]byte{}
	ours := map[string]*Findings{}
	for name, doc := range manifests(t) {
		v, fs := schemaFindings(t, doc, Strict)
		if v == 0 || v == V20 {
			continue
		}
		if byVersion[v] == nil {
			byVersion[v] = map[string][]byte{}
		}
		byVersion[v][name], ours[name] = doc, fs
	}
	n := 0
	for v, docs := range byVersion {
		theirs := xmllint(t, v, docs)
		for name := range docs {
			n++
			if (theirs[name] != nil) != ours[name].Refused() {
				t.Errorf("%s: xmllint: %v; we: %v", name, theirs[name], ours[name].List)
			}
		}
	}
	t.Logf("%d manifests", n)
}

// TestStrictAsXSDLibrary does the same against the XSD library that applies an
// operator's schema files, which minds references too.
func TestStrictAsXSDLibrary(t *testing.T) {
	schemas := officialSchemas(t)
	for name, doc := range manifests(t) {
		v, ours := schemaFindings(t, doc, Strict)
		if schemas[v] != nil {
			compareWithLibrary(t, name, schemas[v], doc, ours)
		}
	}
}

// theLibraryErrs lists where the library judges otherwise than the standard, and than
// libxml2, which the same documents are shown to.
func theLibraryErrs(doc []byte, theirs, ours *Findings) bool {
	// The schema makes CustodialHistoryItem an extension by complexContent of a type with
	// simple content, which the library takes for empty.
	if bytes.Contains(doc, []byte("<CustodialHistoryItem")) {
		return true
	}
	for _, f := range theirs.List {
		// It knows no years beyond 9999, nor before our era.
		if !strings.Contains(f.Found, "negative year is not supported") && !strings.Contains(f.Found, "year must have 4 digits") && !strings.Contains(f.Found, "cvc-id.1") {
			return false
		}
	}
	for _, f := range ours.List {
		// It lets attributes of the prefix xml pass anywhere, and does not mind xml:id
		// inside elements of other namespaces.
		if f.Code != IDDuplicate && (f.Code != AttributeUnknown || !strings.HasPrefix(f.Found, "xml:")) {
			return false
		}
	}
	return true
}

func officialSchemas(t testing.TB) map[Version]*Schema {
	t.Helper()
	needSamples(t)
	out := map[Version]*Schema{}
	for _, v := range []Version{V21, V22, V23} {
		s, err := LoadSchema(filepath.Join(samples, "xsd", v.String(), fmt.Sprintf("seda-%s-main.xsd", v)))
		if err != nil {
			t.Fatal(err)
		}
		out[v] = s
	}
	return out
}

func compareWithLibrary(t *testing.T, name string, s *Schema, doc []byte, ours *Findings) bool {
	t.Helper()
	var theirs Findings
	if err := s.Validate(bytes.NewReader(doc), &theirs); err != nil {
		t.Fatal(err)
	}
	refused := false
	for _, f := range theirs.List {
		refused = refused || !strings.Contains(f.Found, "cvc-id.1")
	}
	if refused != ours.Refused() && !theLibraryErrs(doc, &theirs, ours) {
		t.Errorf("%s: the library: %v; we: %v", name, theirs.List, ours.List)
		return false
	}
	return true
}
