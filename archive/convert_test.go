package archive

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"sae/integrity"
	"sae/integrity/bundle"
	"sae/seda"
)

// pdf is content that PRONOM identifies as PDF 1.4 (fmt/18), different for each text.
func pdf(text string) string {
	return "%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n% " + text + "\ntrailer<</Root 1 0 R>>\n%%EOF\n"
}

// rtf is content that PRONOM identifies as RTF (fmt/45).
func rtf(text string) string { return `{\rtf1\ansi ` + text + `}` }

func letter(title string) NewUnit {
	return NewUnit{Parent: -1, Title: title, Channel: Digital, Content: text(title+".rtf", rtf(title))}
}

// copyOf asks for a PDF as a copy of an object.
func copyOf(unit, object, usage, content string) ConversionRequest {
	return ConversionRequest{Unit: unit, Reason: "RTF goes", Files: []ConvertedFile{
		{Object: object, Usage: usage, Tool: "Writer 24.2", Content: text("copy.pdf", content)}}}
}

func convert(t *testing.T, a *Archive, d DepositedUnit, usage, content string) *Conversion {
	t.Helper()
	c, err := a.Convert(context.Background(), "alice", copyOf(d.ID, d.Objects[0].ID, usage, content))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func getText(t *testing.T, a *Archive, object string) string {
	t.Helper()
	var b bytes.Buffer
	if _, _, err := a.Get(context.Background(), object, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestConvertAddsAVersion: the original, its version and their evidence stay; the unit stands once
// in every list, where it stood; all that reads units shows the last version.
func TestConvertAddsAVersion(t *testing.T) {
	ctx := context.Background()
	a := newArchive(t, nil)
	d := deposit(t, a, letter("first"), digital("second", "2"))
	mustSeal(t, a)
	unit, original := d.Units[0].ID, d.Units[0].Objects[0].ID
	before, err := a.Object(original)
	if err != nil {
		t.Fatal(err)
	}
	v1, err := a.Unit(unit)
	if err != nil {
		t.Fatal(err)
	}
	c := convert(t, a, d.Units[0], "Dissemination", pdf("one"))
	m := convert(t, a, d.Units[0], "BinaryMaster", pdf("two"))
	if c.Version != 2 || m.Version != 3 || c.Objects[0].Usage != "Dissemination_1" || m.Objects[0].Usage != "BinaryMaster_2" || c.Objects[0].Format != "fmt/18" {
		t.Fatalf("%+v %+v", c, m)
	}
	if got := getText(t, a, original); got != rtf("first") {
		t.Errorf("the original is %q", got)
	}
	if got := getText(t, a, m.Objects[0].ID); got != pdf("two") {
		t.Errorf("the copy is %q", got)
	}
	after, err := a.Object(original)
	if err != nil || after.record.Leaf != before.record.Leaf || after.record.Entry != before.record.Entry || after.SHA256 != before.SHA256 {
		t.Errorf("the original's record changed: %+v %v", after, err)
	}
	u, err := a.Unit(unit)
	if err != nil || u.Version != 3 || len(u.Objects) != 3 || u.Operation != d.Operation || u.Entry != v1.Entry || u.Revised.Operation != m.Operation || u.Sealed != nil || u.Channel != Digital {
		t.Errorf("%+v %v", u, err)
	}
	if u.Objects[0].Group == "" || u.Objects[1].Group != u.Objects[0].Group || u.Objects[2].ConvertedFrom != original || u.Objects[2].ConvertedBy != "Writer 24.2" || u.Objects[2].Converted == nil {
		t.Errorf("%+v", u.Objects)
	}
	for version, objects := range map[int]int{1: 1, 2: 2, 3: 3} {
		if u, err := a.UnitVersion(unit, version); err != nil || u.Version != version || len(u.Objects) != objects {
			t.Errorf("version %d: %+v %v", version, u, err)
		}
	}
	if again, err := a.UnitVersion(unit, 1); err != nil || !bytes.Equal(again.doc, v1.doc) || again.Sealed == nil {
		t.Errorf("the first version is not as it was sealed: %v", err)
	}
	for _, version := range []int{-1, 4, 1 << 32} {
		if _, err := a.UnitVersion(unit, version); !errors.Is(err, ErrNotFound) {
			t.Errorf("version %d: %v", version, err)
		}
	}
	if id, err := a.Resolve(unit); err != nil || id != original {
		t.Errorf("the unit stands for %s, %v", id, err)
	}
	for state, want := range map[string][]string{"": {unit, d.Units[1].ID}, "pending": {unit}, "sealed": {d.Units[1].ID}} {
		page, err := a.List(Filter{State: state})
		var got []string
		for _, u := range page.Units {
			got = append(got, u.Unit)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: listed %v, %v", state, got, err)
		}
	}
	if page, err := a.List(Filter{Limit: 1}); err != nil || len(page.Units) != 1 || page.Units[0].Version != 3 {
		t.Errorf("%+v %v", page, err)
	}
	if page, err := a.List(Filter{State: "pending", To: now().Add(-time.Hour)}); err != nil || len(page.Units) != 0 {
		t.Errorf("came before the last hour: %+v %v", page, err)
	}
	if found, err := a.Search("", "copy", 10); err != nil || len(found) != 1 || found[0].Version != 3 {
		t.Errorf("%+v %v", found, err)
	}
	events, err := a.History(unit)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range events {
		kinds = append(kinds, string(e.Entry.Kind))
	}
	if got := strings.Join(kinds, " "); got != "deposit deposit seal conversion conversion conversion conversion" {
		t.Errorf("history: %s", got)
	}
	if reason, tools, err := a.ConversionText(c.Operation); err != nil || reason != "RTF goes" || !slices.Equal(tools, []string{"Writer 24.2"}) {
		t.Errorf("%q %q %v", reason, tools, err)
	}
	entry, _, err := c.Receipt.Check(a.verifier)
	var detail integrity.ConversionDetail
	if err == nil {
		err = entry.ReadDetail(integrity.Conversion, &detail)
	}
	if err != nil || len(detail.Converted) != 1 || detail.Converted[0] != (integrity.Converted{From: original, Object: c.Objects[0].ID}) || entry.Items.Count != 2 {
		t.Errorf("%+v %+v %v", entry, detail, err)
	}
	if s, err := a.Status(); err != nil || s.Units != 2 {
		t.Errorf("%d units, %v", s.Units, err)
	}
	if s, err := a.Stats(); err != nil || s.Channels[0].Units != 2 || s.Channels[0].Objects != 4 {
		t.Errorf("%+v %v", s, err)
	}
	mustSeal(t, a)
	for id, documents := range map[string]int{unit: 4, original: 2, m.Objects[0].ID: 2} {
		var b bytes.Buffer
		if err := a.Proof(ctx, id, &b); err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(readFile(t, filepath.Join(a.dir, tsaCAFile)))
		report, err := bundle.Verify(bytes.NewReader(b.Bytes()), int64(b.Len()), bundle.Options{Roots: roots})
		if err != nil || !report.Accepted(true) || len(report.Documents) != documents {
			t.Errorf("%s: %d documents, %v %v", id, len(report.Documents), report, err)
		}
	}
	mustFsck(t, a)
}

// TestConvertRefuses: nothing that is wrong leaves anything.
func TestConvertRefuses(t *testing.T) {
	a := newArchive(t, func(c string) string {
		return strings.Replace(c, "    accept-unknown:", "    roles: {archivist: [alice]}\n    accept-unknown:", 1)
	})
	d := deposit(t, a, letter("one"), letter("two"), NewUnit{Parent: -1, Title: "folder"})
	unit, object := d.Units[0].ID, d.Units[0].Objects[0].ID
	blobs := len(objectBlobs(t, a, 0))
	for name, c := range map[string]struct {
		agent  string
		change func(*ConversionRequest)
		want   string
	}{
		"no role":        {"bob", func(*ConversionRequest) {}, "role archivist"},
		"no unit":        {"alice", func(r *ConversionRequest) { r.Unit = newID(unitID) }, "not found"},
		"no identifier":  {"alice", func(r *ConversionRequest) { r.Unit = "x" }, "not found"},
		"another's":      {"alice", func(r *ConversionRequest) { r.Files[0].Object = d.Units[1].Objects[0].ID }, "is not one of unit"},
		"a folder":       {"alice", func(r *ConversionRequest) { r.Unit = d.Units[2].ID }, "is not one of unit"},
		"usage":          {"alice", func(r *ConversionRequest) { r.Files[0].Usage = "Thumbnail" }, "want Dissemination or BinaryMaster"},
		"no tool":        {"alice", func(r *ConversionRequest) { r.Files[0].Tool = " " }, "no tool"},
		"no reason":      {"alice", func(r *ConversionRequest) { r.Reason = "" }, "no reason"},
		"no file":        {"alice", func(r *ConversionRequest) { r.Files = nil }, "0 files"},
		"a path":         {"alice", func(r *ConversionRequest) { r.Files[0].Content.Filename = "a/b" }, "not a plain name"},
		"a control":      {"alice", func(r *ConversionRequest) { r.Files[0].Tool = "a\x1bb" }, "control character"},
		"another format": {"alice", func(r *ConversionRequest) { r.Files[0].Formats = []string{"fmt/95", "fmt/354"} }, "its format is fmt/18, not fmt/95 or fmt/354"},
		"the original":   {"alice", func(r *ConversionRequest) { r.Files[0].Content = text("same.rtf", rtf("one")) }, "this content already"},
		"twice":          {"alice", func(r *ConversionRequest) { r.Files = append(r.Files, r.Files[0]) }, "this content already"},
		"wrong size":     {"alice", func(r *ConversionRequest) { r.Files[0].Content.Size = 3 }, "3 bytes declared"},
	} {
		r := copyOf(unit, object, "Dissemination", pdf("x"))
		c.change(&r)
		if _, err := a.Convert(context.Background(), c.agent, r); err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, ErrRefused) && !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(objectBlobs(t, a, 0)); n != blobs {
		t.Errorf("%d blobs, there were %d", n, blobs)
	}
	if u, err := a.Unit(unit); err != nil || u.Version != 1 {
		t.Errorf("%+v %v", u, err)
	}
}

// TestConvertTogether: conversions of one unit at once each make a version of their own, and none
// is lost; of those that would make the same copy, one does.
func TestConvertTogether(t *testing.T) {
	const n = 8
	a := newArchive(t, nil)
	d := deposit(t, a, letter("one"))
	unit, object := d.Units[0].ID, d.Units[0].Objects[0].ID
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if _, err := a.Convert(context.Background(), "alice", copyOf(unit, object, "Dissemination", pdf(fmt.Sprint(i)))); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { deposit(t, a, digital("other", "x")) })
	}
	wg.Wait()
	u, err := a.Unit(unit)
	if err != nil || u.Version != n+1 || len(u.Objects) != n+1 {
		t.Fatalf("version %d with %d objects, %v", u.Version, len(u.Objects), err)
	}
	usages := map[string]bool{}
	for version := 1; version <= n+1; version++ {
		if v, err := a.UnitVersion(unit, version); err != nil || len(v.Objects) != version {
			t.Errorf("version %d: %v", version, err)
		}
		usages[u.Objects[version-1].Usage] = true
	}
	if len(usages) != n+1 {
		t.Errorf("usages are there twice: %v", usages)
	}
	blobs := len(objectBlobs(t, a, 0))
	done := make(chan error, n)
	for i := range n {
		go func() {
			r := copyOf(unit, object, "BinaryMaster", pdf(fmt.Sprint("master", i)))
			r.Files[0].Formats = []string{"fmt/18"}
			_, err := a.Convert(context.Background(), "alice", r)
			done <- err
		}()
	}
	made := 0
	for range n {
		if err := <-done; err == nil {
			made++
		} else if !errors.Is(err, errConverted) {
			t.Error(err)
		}
	}
	if got := len(objectBlobs(t, a, 0)); made != 1 || got != blobs+1 {
		t.Errorf("%d made, %d blobs where there were %d", made, got, blobs)
	}
	mustFsck(t, a)
}

// TestConvertIsAllOrNothing fails at each step of the commit: the unit has either version, whole.
func TestConvertIsAllOrNothing(t *testing.T) {
	for _, step := range []string{"commit", "committed"} {
		dir := createEdited(t, nil)
		a := reopened(t, dir)
		d := deposit(t, a, letter("one"))
		a.cat.fault = func(at string) error {
			if at == step {
				return errors.New("fault")
			}
			return nil
		}
		if _, err := a.Convert(context.Background(), "alice", copyOf(d.Units[0].ID, d.Units[0].Objects[0].ID, "Dissemination", pdf("x"))); !errors.Is(err, errUncertain) {
			t.Errorf("%s: %v", step, err)
		}
		a.cat.fault = nil
		a.Close()
		a = reopened(t, dir)
		want := map[string]int{"commit": 1, "committed": 2}[step]
		if u, err := a.Unit(d.Units[0].ID); err != nil || u.Version != want || len(u.Objects) != want {
			t.Errorf("%s: %+v %v", step, u, err)
		}
		if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
			t.Errorf("%s: %+v %v", step, r.List, err)
		}
		a.Close()
	}
}

// TestConvertedIsDestroyed: with a unit go all its versions and copies: nothing of them opens with
// a copy of everything from before and the root key of afterwards, and no row is left.
func TestConvertedIsDestroyed(t *testing.T) {
	ctx := context.Background()
	dir := createEdited(t, nil)
	a := reopened(t, dir)
	defer func() { a.Close() }()
	u := letter(planted)
	u.Rule, u.RuleStart = "EXAMPLE-5Y", "2015-01-01"
	d := deposit(t, a, u, digital("stays", "s"))
	unit := d.Units[0].ID
	if _, err := a.Act(ctx, "alice", "", StartAct, ActText{Units: []string{unit}, Rule: "EXAMPLE-10Y", Start: "2001-01-01", Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	c := convert(t, a, d.Units[0], "Dissemination", pdf(planted))
	convert(t, a, d.Units[0], "BinaryMaster", pdf(planted+" master"))
	mustSeal(t, a)
	var keys []uint64
	if err := a.cat.view(func(t *tx) error {
		doomed, err := a.doom(t, unit, "test", 1, nil)
		keys = doomed.keys
		return err
	}); err != nil || len(keys) != 8 { // three versions, three objects, what was said with two conversions
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	a.Close()
	before := filepath.Join(t.TempDir(), "before")
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	restorePermissions(t, before)
	a = reopened(t, dir)
	if err := destroyUnits(t, a, unit); err != nil {
		t.Fatal(err)
	}
	if _, err := a.deleteUnused(ctx); err != nil {
		t.Fatal(err)
	}
	var destroyed *DestroyedError
	for version := range 4 {
		if _, err := a.UnitVersion(unit, version); !errors.As(err, &destroyed) {
			t.Errorf("version %d: %v", version, err)
		}
	}
	if _, err := a.Object(c.Objects[0].ID); !errors.As(err, &destroyed) {
		t.Error(err)
	}
	if err := a.cat.view(func(tx *tx) error {
		for _, b := range []bucket{bktUnit, bktIndex, bktObject} {
			err := tx.scan(b, nil, nil, func(k, v []byte) (bool, error) {
				if bytes.Contains(append(bytes.Clone(k), v...), []byte(unit)) {
					t.Errorf("a row of it is left in %s: %x", b, k)
				}
				return true, nil
			})
			if err != nil {
				return err
			}
		}
		for _, n := range keys {
			if _, err := a.vault.Unwrap(keyStore{tx}, n); err == nil {
				t.Errorf("key %d still opens", n)
			}
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	stone, _, err := a.Tombstone(unit)
	if err != nil || stone.Version != 3 || len(stone.Objects) != 3 || stone.Entry != 1 {
		t.Errorf("%+v %v", stone, err)
	}
	if n := len(objectBlobs(t, a, 0)); n != 1 {
		t.Errorf("%d blobs", n)
	}
	mustSeal(t, a)
	if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r.List, err)
	}
	mustFsck(t, a)
	notIn(t, dir, planted)
	nothingOpens(t, before, dir)
}

// TestConvertAfterTheVisa: what is converted when it has its visa is another than the one that was
// visaed: it stays.
func TestConvertAfterTheVisa(t *testing.T) {
	a, d := eliminating(t, 2)
	convert(t, a, d.Units[1], "Dissemination", pdf("before")) // is visaed so
	e := propose(t, a)
	if e.Units != 2 {
		t.Fatalf("%d units: one is listed by each of its versions", e.Units)
	}
	visaed(t, a, e)
	convert(t, a, d.Units[0], "Dissemination", pdf("after"))
	x, err := a.ExecuteElimination(context.Background(), "dave", e.ID, "", nil)
	if err != nil || x.Destroyed != 1 || len(x.Kept) != 1 || x.Kept[0].Unit != d.Units[0].ID || x.Kept[0].Reason != keptVersion {
		t.Fatalf("%+v %v", x, err)
	}
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r.List, err)
	}
	mustFsck(t, a)
}

// TestConvertedIsDueOnce: a unit is found once under its rules, and under those that an act has
// started for it before or after it was converted.
func TestConvertedIsDueOnce(t *testing.T) {
	ctx := context.Background()
	a := newArchive(t, nil)
	d := deposit(t, a, letter("by an act"), letter("by another"))
	start := func(u DepositedUnit) {
		if _, err := a.Act(ctx, "alice", "", StartAct, ActText{Units: []string{u.ID}, Rule: "EXAMPLE-5Y", Start: "2010-01-01", Reason: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	start(d.Units[0])
	for _, u := range d.Units {
		convert(t, a, u, "Dissemination", pdf(u.ID))
		convert(t, a, u, "Dissemination", pdf(u.ID+"again"))
	}
	start(d.Units[1])
	due := map[string]int{}
	if err := a.Due(ctx, "", "2020-01-01", func(u DueUnit) error { due[u.ID]++; return nil }); err != nil {
		t.Fatal(err)
	}
	if len(due) != 2 || due[d.Units[0].ID] != 1 || due[d.Units[1].ID] != 1 {
		t.Errorf("%v", due)
	}
	lines, err := a.Calendar(ctx, "")
	if err != nil || len(lines) != 1 || lines[0].Units != 2 {
		t.Errorf("%+v %v", lines, err)
	}
}

// TestConvertedIsExported: the versions of an object go out in one data object group, valid in
// every version of SEDA, and another archive takes them.
func TestConvertedIsExported(t *testing.T) {
	ctx := context.Background()
	a, other := accepting(t), accepting(t)
	d := deposit(t, a, letter("plain"), NewUnit{Parent: -1, Title: "both", Channel: Both, Content: text("scan.rtf", rtf("scan")),
		Paper: &PhysicalObject{Location: "box 1"}, Scan: &Scan{By: "x", Date: "2020-01-01", Device: "d", Settings: "s", PaperKept: new(bool)}}.kept())
	operations, units := []string{d.Operation}, d.Units
	in, err := a.DepositTransfer(ctx, "test", Transfer{Package: packageOf(t, simple("", "abc"))}) // an object without group
	if err != nil {
		t.Fatal(err)
	}
	operations, units = append(operations, in.Operation), append(units, unitsOf(t, a, in)...)
	paths, _ := filepath.Glob(filepath.Join(samples, "samples-ok", "2.*", "*.zip"))
	most := 25
	if raced {
		most = 8
	}
	for _, path := range paths[:min(len(paths), most)] {
		in, err := a.DepositTransfer(ctx, "test", Transfer{Package: openTransfer(t, path)})
		if err != nil {
			t.Fatal(path, err)
		}
		n := 0
		for _, u := range unitsOf(t, a, in) {
			if len(u.Objects) > 0 && n < 3 {
				units, n = append(units, u), n+1
			}
		}
		if n > 0 {
			operations = append(operations, in.Operation)
		}
	}
	for _, u := range units {
		convert(t, a, u, "BinaryMaster", pdf(u.ID+" master"))
		convert(t, a, u, "Dissemination", pdf(u.ID))
	}
	for _, op := range operations {
		for _, v := range []seda.Version{seda.V21, seda.V22, seda.V23} {
			for _, message := range []string{"ArchiveDeliveryRequestReply", "ArchiveTransfer"} {
				file, out := exportTo(t, a, ExportRequest{IDs: []string{op}, Message: message, Version: v})
				p := openTransfer(t, file)
				doc := manifest(t, p)
				usages := []string{"BinaryMaster_2", "Dissemination_1"}
				if op == d.Operation { // a transfer's own stays as it was written
					usages = append(usages, "BinaryMaster_1")
				}
				for _, usage := range usages {
					if !bytes.Contains(doc, []byte("<DataObjectVersion>"+usage+"<")) {
						t.Errorf("%s: no %s", op, usage)
					}
				}
				if message == "ArchiveTransfer" {
					if _, err := other.DepositTransfer(ctx, "test", Transfer{Package: p}); err != nil {
						t.Errorf("%s, %s: the other archive: %v", op, v, err)
					}
				}
				if _, err := lint(t, doc, "--noout", "--schema", schemaOf(v)); err != nil {
					t.Errorf("%s: %s of %s: %v", op, message, v, err)
				}
				if out.Operation == "" {
					t.Error("no operation")
				}
			}
		}
	}
	_, out := exportTo(t, a, ExportRequest{IDs: []string{d.Units[0].ID}, Message: "ArchiveDeliveryRequestReply", Version: seda.V22, Usages: []string{"Dissemination"}})
	if out.Objects != 1 {
		t.Errorf("%d objects for reading", out.Objects)
	}
	mustSeal(t, a)
	exportTo(t, a, ExportRequest{IDs: []string{d.Units[0].ID}, Message: "ArchiveTransfer", Version: seda.V22, WithProof: true})
	for _, one := range []*Archive{a, other} {
		if r, err := one.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
			t.Error(r.List, err)
		}
	}
	mustFsck(t, a)
}

// kept says of a scan that its paper is kept.
func (u NewUnit) kept() NewUnit {
	*u.Scan.PaperKept = true
	return u
}

// TestConvertedIsFoundChanged: a link, or what was said, that the catalogue changes, an audit finds.
func TestConvertedIsFoundChanged(t *testing.T) {
	a := reopened(t, createEdited(t, nil))
	defer a.Close()
	d := deposit(t, a, letter("one"), letter("two"))
	c := convert(t, a, d.Units[0], "Dissemination", pdf("x"))
	o, err := a.Object(c.Objects[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	v1, _ := a.UnitVersion(d.Units[0].ID, 1)
	for name, change := range map[string]func(*tx) error{
		"another source": func(t *tx) error {
			r := o.record
			r.From = d.Units[1].Objects[0].ID
			return t.put(bktObject, []byte(o.ID), encodeRecord(r, o.key, append(o.salt[:], o.digest[:]...)))
		},
		"no reason":  func(t *tx) error { return t.delete(bktOp, []byte(c.Operation)) },
		"no version": func(t *tx) error { return t.delete(bktUnit, unitKey(d.Units[0].ID, 2)) },
		"no old":     func(t *tx) error { return t.delete(bktUnit, unitKey(d.Units[0].ID, 1)) },
		"old index row": func(t *tx) error {
			return t.put(bktIndex, a.indexRows(&v1.record, &v1.Description)[0].key, unitKey(d.Units[0].ID, 1))
		},
	} {
		before := rows(t, a)
		if err := a.update(nil, change); err != nil {
			t.Fatal(err)
		}
		if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || r.Sound() {
			t.Errorf("%s: it is sound, %v", name, err)
		}
		if f, err := a.Fsck(context.Background()); err != nil || len(f.Findings) == 0 {
			t.Errorf("%s: fsck finds nothing, %v", name, err)
		}
		putBack(t, a, before)
	}
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r.List, err)
	}
}

// putBack stores what rows gave of units, objects, index and operations.
func putBack(t *testing.T, a *Archive, before map[string]string) {
	t.Helper()
	err := a.update(nil, func(t *tx) error {
		for row, value := range before {
			name, key, _ := strings.Cut(row, "/")
			for _, b := range []bucket{bktUnit, bktObject, bktIndex, bktOp} {
				if name != string(b) {
					continue
				}
				k, err := hex.DecodeString(key)
				if err == nil {
					err = t.put(b, k, []byte(value))
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestConvertedIsLocked: in a bucket with Object Lock a copy is locked and held as its original is.
func TestConvertedIsLocked(t *testing.T) {
	dir, r, bucket := inCloud(t, "governance", "offer-down: refuse")
	a := reopened(t, dir)
	defer func() { a.Close() }()
	u := letter("one")
	u.Rule, u.RuleStart = "EXAMPLE-5Y", now().AddDate(-1, 0, 0).Format(time.DateOnly)
	d := deposit(t, a, u, letter("free"))
	if _, err := a.Act(context.Background(), "alice", "", HoldAct, ActText{Units: []string{d.Units[0].ID}, Reason: "dispute"}); err != nil {
		t.Fatal(err)
	}
	lockOf := func(object string) (until time.Time, held bool) {
		o, err := a.Object(object)
		if err != nil {
			t.Fatal(err)
		}
		_, end, _ := r.Client.GetObjectRetention(context.Background(), bucket.Bucket, "sae/blobs/"+o.record.Blob, "")
		on, _ := r.Client.GetObjectLegalHold(context.Background(), bucket.Bucket, "sae/blobs/"+o.record.Blob, minio.GetObjectLegalHoldOptions{})
		if end != nil {
			until = *end
		}
		return until, on != nil && *on == minio.LegalHoldEnabled
	}
	for i, u := range d.Units {
		c := convert(t, a, u, "Dissemination", pdf(u.ID))
		until, held := lockOf(u.Objects[0].ID)
		cUntil, cHeld := lockOf(c.Objects[0].ID)
		if !until.Equal(cUntil) || held != cHeld || held != (i == 0) || until.IsZero() != (i == 1) {
			t.Errorf("unit %d: original %v %v, copy %v %v", i, until, held, cUntil, cHeld)
		}
	}
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r.List, err)
	}
}

// TestConvertedIsPacked: compaction moves copies as it does originals.
func TestConvertedIsPacked(t *testing.T) {
	a := newArchive(t, nil)
	a.packFrom = 3
	var units []NewUnit
	for i := range 4 {
		units = append(units, letter(fmt.Sprint(i)))
	}
	d := deposit(t, a, units...)
	for _, u := range d.Units {
		convert(t, a, u, "Dissemination", pdf(u.ID))
	}
	c, err := a.Compact(context.Background())
	if err != nil || c.Gathered != 4 {
		t.Fatalf("%+v %v", c, err)
	}
	for _, u := range d.Units {
		v, err := a.Unit(u.ID)
		if err != nil || getText(t, a, v.Objects[1].ID) != pdf(u.ID) || v.Objects[1].ConvertedFrom != u.Objects[0].ID {
			t.Errorf("%+v %v", v, err)
		}
	}
	mustFsck(t, a)
	if err := destroyUnits(t, a, d.Units[0].ID); err != nil {
		t.Fatal(err)
	}
	mustFsck(t, a)
}

// TestConvertSeveral: the objects of a unit are converted as one version, a pack of them too.
func TestConvertSeveral(t *testing.T) {
	a := newArchive(t, nil)
	a.packFrom = 3
	d := deposit(t, a, letter("one"))
	r := copyOf(d.Units[0].ID, d.Units[0].Objects[0].ID, "Dissemination", pdf("0"))
	for i := range 5 {
		r.Files = append(r.Files, copyOf(r.Unit, r.Files[0].Object, "BinaryMaster", pdf(fmt.Sprint("m", i))).Files...)
	}
	c, err := a.Convert(context.Background(), "alice", r)
	if err != nil || c.Version != 2 || len(c.Objects) != 6 || c.Objects[5].Usage != "BinaryMaster_6" {
		t.Fatalf("%+v %v", c, err)
	}
	for i, o := range c.Objects {
		want := pdf("0")
		if i > 0 {
			want = pdf(fmt.Sprint("m", i-1))
		}
		if getText(t, a, o.ID) != want {
			t.Errorf("object %d is another", i)
		}
	}
	mustFsck(t, a)
}
