package archive

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sae/seda"
)

const samples = "../../shared/seda"

// openTransfer opens a package that must be one.
func openTransfer(t testing.TB, path string) *seda.Package {
	t.Helper()
	var fs seda.Findings
	p, err := seda.OpenPackage(path, &fs)
	if err != nil || p == nil {
		t.Fatal(err, fs.List)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// accepting makes an archive that accepts what transfers name.
func accepting(t testing.TB) *Archive {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "archive")
	if _, err := Create(dir, New{AcceptUnknown: acceptable}); err != nil {
		t.Fatal(err)
	}
	a, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close() })
	return a
}

// exportTo exports to a zip and gives its path.
func exportTo(t testing.TB, a *Archive, r ExportRequest) (string, *ExportOutcome) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "export.zip")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z := zip.NewWriter(f)
	out, err := a.Export(context.Background(), "test", r, ZipFiles{z, time.Now()})
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return path, out
}

// reply gives the ArchiveTransferReply of an outcome.
func reply(t testing.TB, out *TransferOutcome) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := out.WriteReply(context.Background(), &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unitsOf gives the units that a transfer brought.
func unitsOf(t testing.TB, a *Archive, out *TransferOutcome) (units []DepositedUnit) {
	t.Helper()
	err := a.UnitsOf(out.Receipt.Index, func(u DepositedUnit) error {
		units = append(units, u)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return units
}

func manifest(t testing.TB, p *seda.Package) []byte {
	t.Helper()
	r, err := p.Open(p.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// lint runs xmllint on a document and gives what it prints; it skips a test where there
// is none.
func lint(t testing.TB, doc []byte, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("xmllint")
	if err != nil {
		if os.Getenv("SAE_REQUIRE_PEERS") != "" {
			t.Fatal("xmllint is missing: install libxml2-utils")
		}
		t.Skip("xmllint is missing: install libxml2-utils")
	}
	schemas, err := filepath.Abs(filepath.Join(samples, "xsd"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, append(args, "--nonet", "-")...)
	cmd.Env = append(os.Environ(), "XML_CATALOG_FILES="+filepath.Join(schemas, "catalog.xml"))
	cmd.Stdin = bytes.NewReader(doc)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w: %.600s", err, errOut.String())
	}
	return out.String(), nil
}

func schemaOf(v seda.Version) string {
	abs, _ := filepath.Abs(filepath.Join(samples, "xsd", v.String(), fmt.Sprintf("seda-%s-main.xsd", v)))
	return abs
}

var contents = regexp.MustCompile(`(?s)<ArchiveUnit id="([^"]*)">\s*(?:<ArchiveUnitProfile.*?</ArchiveUnitProfile>)?\s*(<Management>.*?</Management>|<Management></Management>)?\s*(<Content>.*?</Content>)`)

var comments = regexp.MustCompile(`(?s)<!--.*?-->`)

// elements gives Management and Content of each unit of a manifest, in exclusive
// canonical form, made by libxml2. White space between elements does not count.
func elements(t testing.TB, doc []byte) map[string]string {
	t.Helper()
	c14n, err := lint(t, doc, "--exc-c14n")
	if err != nil {
		t.Fatal(err)
	}
	c14n = comments.ReplaceAllString(c14n, "") // canonical XML is without comments; libxml2's has them
	out := map[string]string{}
	for _, m := range contents.FindAllStringSubmatch(c14n, -1) {
		out[m[1]] = m[2] + m[3]
	}
	return out
}

// TestTransfersComeBack deposits real transfers and exports them: the same elements, the
// same files, valid in each version, and accepted again by another archive, with proofs.
func TestTransfersComeBack(t *testing.T) {
	if _, err := os.Stat(samples); err != nil {
		t.Skipf("real transfers are missing: put them into %s", samples)
	}
	a, other := accepting(t), accepting(t)
	paths, _ := filepath.Glob(filepath.Join(samples, "samples-ok", "2.*", "*.zip"))
	if testing.Short() || raced {
		rand.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
		paths = paths[:min(len(paths), 15)]
	}
	dialect, _ := filepath.Glob(filepath.Join(samples, "samples-vitam-dialect", "*.zip"))
	for _, path := range dialect {
		p := openTransfer(t, path)
		in, err := a.DepositTransfer(context.Background(), "test", Transfer{Package: p})
		if errors.Is(err, ErrRefused) {
			continue // cut, or attached to a unit that is not there
		}
		if err != nil {
			t.Fatal(err)
		}
		v, err := seda.ParseVersion(in.Header.Version.String())
		if err != nil {
			t.Fatal(err)
		}
		file, _ := exportTo(t, a, ExportRequest{IDs: []string{in.Operation}, Message: "ArchiveTransfer", Version: v})
		got := elements(t, manifest(t, openTransfer(t, file)))
		for id, e := range elements(t, manifest(t, p)) {
			if got[id] != e {
				t.Errorf("%s: unit %s came back as\n%s\nnot\n%s", path, id, got[id], e)
			}
		}
	}
	for _, path := range paths {
		p := openTransfer(t, path)
		in, err := a.DepositTransfer(context.Background(), "test", Transfer{Package: p})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		if _, err := lint(t, reply(t, in), "--noout", "--schema", schemaOf(max(in.Header.Version, seda.V21))); err != nil {
			t.Errorf("%s: reply: %v", path, err)
		}
		want := elements(t, manifest(t, p))
		if len(want) != in.Counts.Units {
			t.Errorf("%s: %d units compared of %d", path, len(want), in.Counts.Units)
		}
		for _, v := range []seda.Version{seda.V21, seda.V22, seda.V23} {
			for _, message := range []string{"ArchiveDeliveryRequestReply", "ArchiveTransfer"} {
				file, _ := exportTo(t, a, ExportRequest{IDs: []string{in.Operation}, Message: message, Version: v})
				out := openTransfer(t, file)
				doc := manifest(t, out)
				if _, err := lint(t, doc, "--noout", "--schema", schemaOf(v)); err != nil {
					t.Errorf("%s: %s of %s: %v", path, message, v, err)
				}
				if v != max(in.Header.Version, seda.V21) {
					continue
				}
				got := elements(t, doc)
				for id, e := range want {
					if got[id] != e {
						t.Errorf("%s: unit %s came back as\n%s\nnot\n%s", path, id, got[id], e)
					}
				}
				if message == "ArchiveTransfer" {
					if _, err := other.DepositTransfer(context.Background(), "test", Transfer{Package: out}); err != nil {
						t.Errorf("%s: the other archive: %v", path, err)
					}
				}
			}
		}
	}
	for _, one := range []*Archive{a, other} {
		mustSeal(t, one)
		if r, err := one.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
			t.Error(r, err)
		}
	}
}

// simple is a transfer of one unit with one object in the manifest itself.
func simple(extra, content string) string {
	return `<?xml version="1.0"?><ArchiveTransfer xmlns="fr:gouv:culture:archivesdefrance:seda:v2.2"><Date>2026-01-01T00:00:00Z</Date><MessageIdentifier>m</MessageIdentifier>
<ArchivalAgreement>general</ArchivalAgreement><CodeListVersions/><DataObjectPackage><BinaryDataObject id="o"><Attachment filename="a.txt">` + base64.StdEncoding.EncodeToString([]byte(content)) +
		`</Attachment><MessageDigest algorithm="md5">` + "900150983cd24fb0d6963f7d28e17f72" + `</MessageDigest><Size>3</Size></BinaryDataObject><DescriptiveMetadata>
<ArchiveUnit id="u">` + extra + `<Content><Title>Titre</Title><OriginatingAgencyArchiveUnitIdentifier>N-1</OriginatingAgencyArchiveUnitIdentifier></Content>
<DataObjectReference><DataObjectReferenceId>o</DataObjectReferenceId></DataObjectReference></ArchiveUnit></DescriptiveMetadata><ManagementMetadata><OriginatingAgencyIdentifier>MDPH</OriginatingAgencyIdentifier></ManagementMetadata></DataObjectPackage>
<ArchivalAgency><Identifier>AD</Identifier></ArchivalAgency><TransferringAgency><Identifier>T</Identifier></TransferringAgency></ArchiveTransfer>`
}

func packageOf(t testing.TB, manifest string) *seda.Package {
	t.Helper()
	path := filepath.Join(t.TempDir(), "manifest.xml")
	if err := os.WriteFile(path, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	return openTransfer(t, path)
}

// TestInlineContent: content in the manifest is archived as a file is.
func TestInlineContent(t *testing.T) {
	a := accepting(t)
	in, err := a.DepositTransfer(context.Background(), "test", Transfer{Package: packageOf(t, simple("", "abc"))})
	if err != nil {
		t.Fatal(err, in)
	}
	var b bytes.Buffer
	if _, _, err := a.Get(context.Background(), unitsOf(t, a, in)[0].Objects[0].ID, &b); err != nil || b.String() != "abc" {
		t.Errorf("%q, %v", b.String(), err)
	}
	if in.Findings.List[0].Code != seda.DigestWeak && in.Findings.List[len(in.Findings.List)-1].Code != seda.DigestWeak {
		t.Errorf("MD5 without a word: %v", in.Findings.List)
	}
	if _, err := a.DepositTransfer(context.Background(), "test", Transfer{Package: packageOf(t, simple("", "abd"))}); !errors.Is(err, ErrRefused) {
		t.Errorf("another content: %v", err)
	}
}

// TestRefusedTransferLeavesNothing: neither units, nor blobs, nor an entry; but a reply.
func TestRefusedTransferLeavesNothing(t *testing.T) {
	a := accepting(t)
	before, err := a.Status()
	if err != nil {
		t.Fatal(err)
	}
	for name, doc := range map[string]string{"digest": simple("", "abd"), "structure": simple("<Foo/><Bar", "abc"), "attachment": simple("<Management><UpdateOperation><SystemId>unobody</SystemId></UpdateOperation></Management>", "abc")} {
		out, err := a.DepositTransfer(context.Background(), "test", Transfer{Package: packageOf(t, doc)})
		if !errors.Is(err, ErrRefused) || out == nil || !strings.Contains(string(reply(t, out)), "<ReplyCode>KO</ReplyCode>") || out.Operation != "" {
			t.Errorf("%s: %v, %+v", name, err, out)
		}
	}
	after, err := a.Status()
	if err != nil || after.Ledger != before.Ledger || after.Units != 0 || after.Objects != 0 {
		t.Errorf("%v, %+v", err, after)
	}
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Error(r, err)
	}
}

// TestAttachment attaches a unit to one that is in the archive, by its identifier and by
// a metadata field; what names none, or several, is refused.
func TestAttachment(t *testing.T) {
	a := accepting(t)
	first, err := a.DepositTransfer(context.Background(), "test", Transfer{Package: packageOf(t, simple("", "abc"))})
	if err != nil {
		t.Fatal(err)
	}
	update := func(by string) string {
		doc := simple("", "abc")
		unit := `<ArchiveUnit id="above"><Management><UpdateOperation>` + by + `</UpdateOperation></Management><Content><Title>x</Title></Content><ArchiveUnit id="u">`
		doc = strings.Replace(doc, `<ArchiveUnit id="u">`, unit, 1)
		return strings.Replace(doc, "</ArchiveUnit></DescriptiveMetadata>", "</ArchiveUnit></ArchiveUnit></DescriptiveMetadata>", 1)
	}
	key := func(value string) string {
		return "<ArchiveUnitIdentifierKey><MetadataName>OriginatingAgencyArchiveUnitIdentifier</MetadataName><MetadataValue>" + value + "</MetadataValue></ArchiveUnitIdentifierKey>"
	}
	for i, by := range []string{"<SystemId>" + unitsOf(t, a, first)[0].ID + "</SystemId>", key("N-1")} {
		if i == 1 { // by now there are two
			if _, err := a.DepositTransfer(context.Background(), "test", Transfer{Package: packageOf(t, update(by))}); !errors.Is(err, ErrRefused) {
				t.Errorf("several units have the field: %v", err)
			}
			continue
		}
		in, err := a.DepositTransfer(context.Background(), "test", Transfer{Package: packageOf(t, update(by))})
		if err != nil || len(unitsOf(t, a, in)) != 1 {
			t.Fatalf("%v, %+v", err, in)
		}
		u, err := a.Unit(unitsOf(t, a, in)[0].ID)
		if err != nil || len(u.Parents) != 1 || u.Parents[0] != unitsOf(t, a, first)[0].ID {
			t.Errorf("%v, parents %v", err, u.Parents)
		}
	}
	if _, err := a.DepositTransfer(context.Background(), "test", Transfer{Package: packageOf(t, update(key("N-2")))}); !errors.Is(err, ErrRefused) {
		t.Errorf("no unit has the field: %v", err)
	}
}

// TestTransferRecord: manifest and reply are archived with the transfer, and proved.
func TestTransferRecord(t *testing.T) {
	a := accepting(t)
	doc := simple("", "abc")
	in, err := a.DepositTransfer(context.Background(), "test", Transfer{Package: packageOf(t, doc)})
	if err != nil {
		t.Fatal(err)
	}
	mustSeal(t, a)
	record, err := a.Unit(in.Operation)
	if err != nil || record.SEDA.Header.Identifier != in.Header.Identifier {
		t.Fatal(err, record)
	}
	u, err := a.Unit(record.SEDA.Messages)
	if err != nil || len(u.Objects) != 2 {
		t.Fatal(err, u)
	}
	for i, want := range []string{doc, string(reply(t, in))} {
		var b bytes.Buffer
		if _, _, err := a.Get(context.Background(), u.Objects[i].ID, &b); err != nil || b.String() != want {
			t.Errorf("%s: %v", u.Objects[i].Filename, err)
		}
	}
	for _, id := range []string{record.Unit, u.Unit} {
		if err := a.Proof(context.Background(), id, io.Discard); err != nil {
			t.Error(err)
		}
	}
	page, err := a.List(Filter{})
	if err != nil || len(page.Units) != 1 {
		t.Error(err, len(page.Units))
	}
}

// TestExportOfAnOperation: the operation of a deposit that is no transfer names its units too.
func TestExportOfAnOperation(t *testing.T) {
	a := accepting(t)
	d := deposit(t, a, digital("one", "1"), digital("two", "2"))
	deposit(t, a, digital("three", "3"))
	path, out := exportTo(t, a, ExportRequest{IDs: []string{d.Operation}, Message: "ArchiveDeliveryRequestReply", Version: seda.V22})
	if out.Units != 2 || out.Objects != 2 {
		t.Errorf("%+v", out)
	}
	openTransfer(t, path)
	if _, err := a.Export(context.Background(), "test", ExportRequest{IDs: []string{newID(opID)}, Message: "ArchiveTransfer", Version: seda.V22}, nil); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}
