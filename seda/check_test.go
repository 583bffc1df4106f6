package seda

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// transferOf is a small transfer around what a test puts into it.
func transferOf(objects, units string) string {
	return `<?xml version="1.0"?><ArchiveTransfer xmlns="` + V22.Namespace() + `"><Date>2026-01-01T00:00:00Z</Date><MessageIdentifier>m</MessageIdentifier>
<ArchivalAgreement>a</ArchivalAgreement><CodeListVersions/><DataObjectPackage>` + objects + `<DescriptiveMetadata>` + units + `</DescriptiveMetadata><ManagementMetadata/></DataObjectPackage>
<ArchivalAgency><Identifier>x</Identifier></ArchivalAgency><TransferringAgency><Identifier>y</Identifier></TransferringAgency></ArchiveTransfer>`
}

func unitOf(id, inside string) string {
	return `<ArchiveUnit id="` + id + `"><Content><Title>t</Title></Content>` + inside + `</ArchiveUnit>`
}

func objectOf(id, inside string) string {
	return fmt.Sprintf(`<BinaryDataObject id=%q>%s<Uri>c.txt</Uri><MessageDigest algorithm="SHA-256">%x</MessageDigest><Size>1</Size><FormatIdentification><FormatId>f</FormatId></FormatIdentification></BinaryDataObject>`,
		id, inside, sha256.Sum256([]byte("x")))
}

const refGroup = `<DataObjectReference><DataObjectGroupReferenceId>g</DataObjectGroupReferenceId></DataObjectReference>`

// TestFindings makes each finding of a manifest, and no other.
func TestFindings(t *testing.T) {
	group := func(inside ...string) string {
		return `<DataObjectGroup id="g">` + strings.Join(inside, "") + `</DataObjectGroup>`
	}
	for name, tc := range map[string]struct{ doc, want string }{
		"good":                 {transferOf(group(objectOf("o", "")), unitOf("u", refGroup)), ""},
		"object without group": {transferOf(objectOf("o", ""), unitOf("u", `<DataObjectReference><DataObjectReferenceId>o</DataObjectReferenceId></DataObjectReference>`)), ""},
		"id twice":             {transferOf("", unitOf("u", "")+unitOf("u", "")), "ID_DUPLICATE"},
		"dangling":             {transferOf("", unitOf("u", refGroup)), "REF_UNRESOLVED"},
		"unit as group":        {transferOf("", unitOf("g", refGroup)), "REF_KIND"},
		"link to a group":      {transferOf(group(objectOf("o", "")), unitOf("u", refGroup+`<ArchiveUnit id="l"><ArchiveUnitRefId>g</ArchiveUnitRefId></ArchiveUnit>`)), "REF_KIND"},
		"own child":            {transferOf("", unitOf("u", `<ArchiveUnit id="l"><ArchiveUnitRefId>u</ArchiveUnitRefId></ArchiveUnit>`)), "UNIT_CYCLE"},
		"orphan":               {transferOf(group(objectOf("o", "")), unitOf("u", "")), "GROUP_ORPHAN"},
		"lone object":          {transferOf(objectOf("o", ""), unitOf("u", "")), "GROUP_ORPHAN"},
		"no title":             {transferOf("", `<ArchiveUnit id="u"><Content><DescriptionLevel>Item</DescriptionLevel></Content></ArchiveUnit>`), "TITLE_MISSING"},
		"dates":                {transferOf("", `<ArchiveUnit id="u"><Content><Title>t</Title><StartDate>2020-02-01</StartDate><EndDate>2020-01-31</EndDate></Content></ArchiveUnit>`), "DATE_ORDER"},
		"same day":             {transferOf("", `<ArchiveUnit id="u"><Content><Title>t</Title><StartDate>2020-02-01</StartDate><EndDate>2020-02-01T00:00:00</EndDate></Content></ArchiveUnit>`), ""},
		"usage twice":          {transferOf(group(objectOf("o", ""), objectOf("p", "<DataObjectVersion>BinaryMaster_1</DataObjectVersion>")), unitOf("u", refGroup)), "USAGE_DUPLICATE"},
		"other versions":       {transferOf(group(objectOf("o", ""), objectOf("p", "<DataObjectVersion>BinaryMaster_2</DataObjectVersion>")), unitOf("u", refGroup)), ""},
		"paper as binary":      {transferOf(group(objectOf("o", "<DataObjectVersion>PhysicalMaster</DataObjectVersion>")), unitOf("u", refGroup)), "USAGE_KIND"},
		"version in letters":   {transferOf(group(objectOf("o", "<DataObjectVersion>BinaryMaster_x</DataObjectVersion>")), unitOf("u", refGroup)), "USAGE_INVALID"},
		"algorithm":            {strings.Replace(transferOf(group(objectOf("o", "")), unitOf("u", refGroup)), "SHA-256", "ROT13", 1), "DIGEST_ALGORITHM"},
		"digest too short":     {strings.Replace(transferOf(group(objectOf("o", "")), unitOf("u", refGroup)), "SHA-256", "SHA-512", 1), "VALUE_INVALID"},
		"leads out":            {strings.Replace(transferOf(group(objectOf("o", "")), unitOf("u", refGroup)), "c.txt", "../c.txt", 1), "URI_UNSAFE"},
		"no uri":               {strings.Replace(transferOf(group(objectOf("o", "")), unitOf("u", refGroup)), "<Uri>c.txt</Uri>", "", 1), "URI_MISSING"},
		"hold ends first": {transferOf("", `<ArchiveUnit id="u"><Management><HoldRule><Rule>h</Rule><StartDate>2020-01-02</StartDate><HoldEndDate>2020-01-01</HoldEndDate></HoldRule></Management><Content><Title>t</Title></Content></ArchiveUnit>`),
			"HOLD_DATES"},
		"not an element": {transferOf("", `<ArchiveUnit id="u"><Foo/><Content><Title>t</Title></Content></ArchiveUnit>`), ""},
		"DTD":            {"<!DOCTYPE x>" + transferOf("", ""), "XML_SYNTAX"},
		"no message":     {`<x xmlns="` + V22.Namespace() + `"/>`, "ROOT_UNKNOWN"},
		"no version":     {`<ArchiveTransfer xmlns="urn:x"/>`, "VERSION_UNKNOWN"},
		"2.0":            {strings.Replace(transferOf("", unitOf("u", "")), "seda:v2.2", "seda:v2.0", 1), ""},
	} {
		var fs Findings
		if _, err := checkManifest(strings.NewReader(tc.doc), Options{}, &fs); err != nil {
			t.Fatal(err)
		}
		if got := errorsOf(&fs); got != tc.want {
			t.Errorf("%s: %q, want %q: %v", name, got, tc.want, fs.List)
		}
	}
}

// TestLongCycle: a knot of many units is found without recursion, and shown once.
func TestLongCycle(t *testing.T) {
	var units strings.Builder
	const n = 50_000
	for i := range n {
		fmt.Fprintf(&units, `<ArchiveUnit id="u%d"><Content><Title>t</Title></Content><ArchiveUnit id="l%d"><ArchiveUnitRefId>u%d</ArchiveUnitRefId></ArchiveUnit></ArchiveUnit>`, i, i, (i+1)%n)
	}
	var fs Findings
	if _, err := checkManifest(strings.NewReader(transferOf("", units.String())), Options{}, &fs); err != nil {
		t.Fatal(err)
	}
	if fs.Errors != 1 || fs.List[0].Code != UnitCycle {
		t.Error(fs.Errors)
	}
}

// TestManyWarnings: however many there are, all is read, and it is accepted.
func TestManyWarnings(t *testing.T) {
	var units strings.Builder
	const n = 3 * maxFindings
	for i := range n {
		fmt.Fprintf(&units, `<ArchiveUnit id="u%d"><Content><Title>t</Title><Free/></Content></ArchiveUnit>`, i)
	}
	var fs Findings
	c, err := checkManifest(strings.NewReader(transferOf("", units.String())), Options{}, &fs)
	if err != nil || fs.Refused() || c.counts.Units != n || fs.Warnings != n || len(fs.List) != maxFindings || !fs.Truncated() {
		t.Error(err, fs.Errors, fs.Warnings, len(fs.List), c.counts)
	}
	fs = Findings{}
	if _, err := checkManifest(strings.NewReader(transferOf("", units.String())), Options{Mode: Strict}, &fs); err != nil || fs.Errors != maxFindings {
		t.Error(err, fs.Errors)
	}
}

// writeZip makes a zip of names and contents, in their order.
func writeZip(t *testing.T, members ...string) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		w, err := z.Create(members[i])
		if err == nil {
			_, err = io.WriteString(w, members[i+1])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return save(t, b.Bytes())
}

func save(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "package")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func tarOf(t *testing.T, headers []tar.Header, contents ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i, h := range headers {
		h.Mode, h.Size = 0o600, int64(len(contents[i]))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, contents[i])
	}
	w.Close()
	return b.Bytes()
}

var good = transferOf(`<DataObjectGroup id="g">`+objectOf("o", "")+`</DataObjectGroup>`, unitOf("u", refGroup))

// TestPackages reads the same transfer from each kind of package.
func TestPackages(t *testing.T) {
	names := []tar.Header{{Name: "a_manifest.xml"}, {Name: "c.txt"}}
	plain := tarOf(t, names, good, "x")
	backwards := tarOf(t, []tar.Header{{Name: "./c.txt"}, {Name: "./", Typeflag: tar.TypeDir}, {Name: "./manifest.xml"}}, "x", "", good)
	var packed bytes.Buffer
	g := gzip.NewWriter(&packed)
	g.Write(backwards)
	g.Close()
	folder := t.TempDir()
	for name, data := range map[string]string{"manifest.xml": good, "c.txt": "x"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, path := range map[string]string{"zip": writeZip(t, "manifest.xml", good, "c.txt", "x"), "tar": save(t, plain), "tar.gz": save(t, packed.Bytes()), "folder": folder,
		"manifest alone": save(t, []byte(transferOf("", unitOf("u", ""))))} {
		if found, units := checkFile(t, path, Options{}); len(found.List) > 0 || units != 1 {
			t.Errorf("%s: %d units, %v", name, units, found.List)
		}
		if got := Recognise(path); got != "ArchiveTransfer" {
			t.Errorf("%s: recognised as %q", name, got)
		}
	}
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Recognise(pipe); got != "" {
		t.Errorf("a pipe is recognised as %q", got)
	}
	for _, not := range []string{"", "plain text", "%PDF-1.7", "PK\x03\x04 not a zip", "<html/>"} {
		if got := Recognise(save(t, []byte(not))); got != "" {
			t.Errorf("%q: recognised as %q", not, got)
		}
	}
}

// TestHostilePackages refuses what could lead out of a package, hide in it, or burst.
func TestHostilePackages(t *testing.T) {
	link := tarOf(t, []tar.Header{{Name: "manifest.xml"}, {Name: "c.txt", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}}, good, "")
	bomb := func() string { // it only says that it is large: that is enough
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, name := range []string{"manifest.xml", "c.txt"} {
			w, err := z.CreateRaw(&zip.FileHeader{Name: name, Method: zip.Deflate, CompressedSize64: 1000, UncompressedSize64: 1 << 40})
			if err == nil {
				_, err = w.Write(make([]byte, 1000))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		z.Close()
		return save(t, b.Bytes())
	}
	for name, tc := range map[string]struct{ path, want string }{
		"up":                 {writeZip(t, "manifest.xml", good, "../c.txt", "x"), "PACKAGE_NAME"},
		"up in the middle":   {writeZip(t, "manifest.xml", good, "a/../../c.txt", "x"), "PACKAGE_NAME"},
		"absolute":           {writeZip(t, "manifest.xml", good, "/c.txt", "x"), "PACKAGE_NAME"},
		"backslash":          {writeZip(t, "manifest.xml", good, `a\c.txt`, "x"), "PACKAGE_NAME"},
		"drive":              {writeZip(t, "manifest.xml", good, `C:\c.txt`, "x"), "PACKAGE_NAME"},
		"twice":              {writeZip(t, "manifest.xml", good, "c.txt", "x", "c.txt", "y"), "PACKAGE_ENTRY"},
		"twice, in two ways": {writeZip(t, "manifest.xml", good, "c.txt", "x", "./c.txt", "y"), "PACKAGE_ENTRY"},
		"no manifest":        {writeZip(t, "a/manifest.xml", good, "c.txt", "x"), "PACKAGE_MANIFEST"},
		"two manifests":      {writeZip(t, "a_manifest.xml", good, "b_manifest.xml", good), "PACKAGE_MANIFEST"},
		"undeclared":         {writeZip(t, "manifest.xml", good, "c.txt", "x", "d.txt", "y"), "FILE_UNDECLARED"},
		"missing":            {writeZip(t, "manifest.xml", good), "FILE_MISSING"},
		"another content":    {writeZip(t, "manifest.xml", good, "c.txt", "y"), "DIGEST_MISMATCH"},
		"another size":       {writeZip(t, "manifest.xml", good, "c.txt", "xy"), "DIGEST_MISMATCH SIZE_MISMATCH"},
		"link":               {save(t, link), "PACKAGE_ENTRY"},
		"bomb":               {bomb(), "PACKAGE_UNREADABLE"},
		"cut zip":            {save(t, []byte("PK\x03\x04 and no more")), "PACKAGE_UNREADABLE"},
		"cut tar.gz":         {save(t, []byte{0x1f, 0x8b, 8, 0}), "PACKAGE_UNREADABLE"},
	} {
		found, _ := checkFile(t, tc.path, Options{})
		if got := errorsOf(found); got != tc.want {
			t.Errorf("%s: %q, want %q: %v", name, got, tc.want, found.List)
		}
	}
}

// FuzzManifest: no manifest makes a check fail otherwise than by findings, and what is
// accepted can be walked.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(transferOf("", unitOf("u", `<ArchiveUnit id="l"><ArchiveUnitRefId>u</ArchiveUnitRefId></ArchiveUnit>`))))
	f.Add([]byte(strings.Replace(good, "<Content>", `<Management><UpdateOperation><SystemId>x</SystemId></UpdateOperation></Management><Content>`, 1)))
	path := filepath.Join(f.TempDir(), "manifest.xml")
	f.Fuzz(func(t *testing.T, doc []byte) {
		for _, mode := range []Mode{Tolerant, Strict} {
			var fs Findings
			c, err := checkManifest(bytes.NewReader(doc), Options{Mode: mode}, &fs)
			if err != nil {
				t.Fatal(err)
			}
			if fs.Refused() || !c.carries() {
				continue
			}
			if err := os.WriteFile(path, doc, 0o600); err != nil {
				t.Fatal(err)
			}
			var pf Findings
			p, err := OpenPackage(path, &pf)
			if err != nil || p == nil {
				t.Fatal(err, pf.List)
			}
			tr, err := Check(p, Options{Mode: mode})
			if err == nil {
				err = tr.Walk(func(*Unit) error { return nil })
			}
			p.Close()
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzPackage: no package makes opening and checking fail otherwise than by findings.
func FuzzPackage(f *testing.F) {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, m := range [][2]string{{"manifest.xml", good}, {"c.txt", "x"}} {
		w, _ := z.Create(m[0])
		io.WriteString(w, m[1])
	}
	z.Close()
	f.Add(b.Bytes())
	f.Add([]byte("\x1f\x8b"))
	f.Add([]byte(good))
	path := filepath.Join(f.TempDir(), "package")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var fs Findings
		p, err := OpenPackage(path, &fs)
		if err != nil {
			t.Fatal(err)
		}
		if p == nil {
			return
		}
		defer p.Close()
		tr, err := Check(p, Options{})
		if err == nil {
			tr.Verify(t.Context(), nil)
		}
	})
}
