package archive

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sae/archive/risk"
	"sae/retention"
)

// TestFormats counts what a tenant holds, once whatever the versions; what came with transfers
// beside units, and what was destroyed, is not counted.
func TestFormats(t *testing.T) {
	ctx := context.Background()
	a := accepting(t)
	d := deposit(t, a, letter("one"), letter("two"), digital("three", "plain text"), digital("empty", ""))
	convert(t, a, d.Units[0], "Dissemination", pdf("1"))
	convert(t, a, d.Units[0], "BinaryMaster", pdf("2"))
	if _, err := a.DepositTransfer(ctx, "test", Transfer{Package: packageOf(t, simple("", "abc"))}); err != nil {
		t.Fatal(err)
	}
	lines, err := a.Formats(ctx, "", risk.Own())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lines {
		got = append(got, fmt.Sprintf("%s %s %d/%d/%d", l.Risk, l.PUID, l.Objects, l.Units, l.Converted))
	}
	// an empty file is what its name says
	if want := "watch fmt/18 2/1/0, watch fmt/45 2/2/1, low x-fmt/111 3/3/0"; strings.Join(got, ", ") != want {
		t.Errorf("%v, not %s", got, want)
	}
	if lines[1].Bytes != int64(2*len(rtf("one"))) || lines[1].Name != "Rich Text Format" || lines[1].Note.Note == "" || len(lines[1].To) == 0 {
		t.Errorf("%+v", lines[1])
	}
	seen, after := map[string]int{}, ""
	for range 10 {
		page, err := a.As("test", retention.ToRead).FormatUnits(ctx, "", "fmt/45", after, 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Objects {
			seen[o.Unit]++
			if o.Converted != (o.Unit == d.Units[0].ID) {
				t.Errorf("%+v", o)
			}
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if len(seen) != 2 || seen[d.Units[0].ID] != 1 || seen[d.Units[1].ID] != 1 {
		t.Errorf("pages name %v", seen)
	}
	for _, bad := range []struct {
		after string
		limit int
	}{{"x", 1}, {"", 0}, {"", maxPage + 1}} {
		if _, err := a.As("test", retention.ToRead).FormatUnits(ctx, "", "fmt/45", bad.after, bad.limit); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
	if err := destroyUnits(t, a, d.Units[0].ID); err != nil {
		t.Fatal(err)
	}
	if lines, err := a.Formats(ctx, "", risk.Own()); err != nil || len(lines) != 2 {
		t.Errorf("%+v %v", lines, err)
	}
	if _, err := a.Formats(ctx, "none", risk.Own()); err == nil {
		t.Error("formats of a tenant that is not there")
	}
}

// TestTenantRisks: a tenant's own notes take the place of the program's.
func TestTenantRisks(t *testing.T) {
	dir := createEdited(t, func(c string) string {
		return strings.Replace(c, "    accept-unknown:", "    formats: formats.yaml\n    accept-unknown:", 1)
	})
	a := reopened(t, dir)
	defer a.Close()
	if _, err := a.Risks(""); err == nil {
		t.Error("notes that are not there are in force")
	}
	writeFileAt(t, filepath.Join(dir, "formats.yaml"), []byte("formats:\n  - ids: [fmt/45]\n    risk: high\n    note: ours\n    why: x\n"))
	if _, err := a.Risks(""); err == nil || !strings.Contains(err.Error(), "formats.yaml") || !strings.Contains(err.Error(), "why") {
		t.Error(err)
	}
	writeFileAt(t, filepath.Join(dir, "formats.yaml"), []byte("formats:\n  - ids: [fmt/45]\n    risk: high\n    note: ours\n"))
	r, err := a.Risks("")
	if err != nil || r.Of("fmt/45").Risk != risk.High || r.Of("fmt/95").Risk != risk.Low {
		t.Errorf("%+v %v", r, err)
	}
}

// withConverter is an archive with a converter that is a shell script: $1 is {in}, $2 {out}.
func withConverter(t *testing.T, script, more string) *Archive {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	path := filepath.Join(t.TempDir(), "convert.sh")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
		t.Fatal(err)
	}
	a := newArchive(t, func(c string) string {
		return c + fmt.Sprintf("\nconverters:\n  - {id: to-pdf, from: [fmt/45], to: [fmt/18], command: [%s, \"{in}\", \"{out}\"], extension: pdf, tool: test 1%s}\n", path, more)
	})
	return a
}

// toPDF makes a PDF that says what it was made from; what says "broken" it cannot convert.
const toPDF = `grep -q broken "$1" && { echo "broken: $(cat "$1")" >&2; exit 1; }
printf '%%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n%% %s\ntrailer<</Root 1 0 R>>\n%%%%EOF\n' "$(cat "$1")" > "$2"`

// TestRunConverter converts what is to be converted, once; what cannot be is told and left alone.
func TestRunConverter(t *testing.T) {
	ctx := context.Background()
	a := withConverter(t, toPDF, "")
	d := deposit(t, a, letter("one"), letter("two"), letter("broken"), digital("text", "x"), NewUnit{Parent: -1, Title: "folder"}, letter("three"))
	run := func(r ConvertRun) (*ConvertOutcome, []ConvertStep) {
		t.Helper()
		var steps []ConvertStep
		r.Converter, r.Reason, r.Each = "to-pdf", "RTF goes", func(s ConvertStep) { steps = append(steps, s) }
		out, err := a.RunConverter(ctx, "alice", r)
		if err != nil {
			t.Fatal(err)
		}
		if left, _ := os.ReadDir(os.TempDir()); len(left) > 0 {
			t.Errorf("%v is left", left)
		}
		return out, steps
	}
	stale := filepath.Join(os.TempDir(), a.convertPrefix()+"killed")
	if err := os.MkdirAll(filepath.Join(stale, "1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if out, steps := run(ConvertRun{Units: []string{d.Units[0].ID, d.Units[3].ID}}); out.Objects != 1 || out.Failed != 0 || len(steps) != 1 {
		t.Errorf("%+v %+v", out, steps)
	}
	u, err := a.Unit(d.Units[0].ID)
	if err != nil || len(u.Objects) != 2 || u.Objects[1].Filename != "one.pdf" || u.Objects[1].Usage != "Dissemination_1" || u.Objects[1].ConvertedBy != "test 1" || !strings.Contains(getText(t, a, u.Objects[1].ID), rtf("one")) {
		t.Errorf("%+v %v", u, err)
	}
	if out, _ := run(ConvertRun{Limit: 1}); out.Units != 1 {
		t.Errorf("%+v", out)
	}
	out, steps := run(ConvertRun{})
	if out.Units != 1 || out.Already != 2 || out.Failed != 1 {
		t.Errorf("%+v", out)
	}
	for _, s := range steps {
		if s.Done == nil && (s.Unit != d.Units[2].ID || s.Why != "exit status 1" && !strings.Contains(s.Why, "exit status 1") || !strings.Contains(s.Said, "broken: ")) {
			t.Errorf("%+v", s)
		}
	}
	if out, _ := run(ConvertRun{}); out.Units != 0 || out.Already != 3 || out.Failed != 1 {
		t.Errorf("again: %+v", out)
	}
	for name, r := range map[string]ConvertRun{
		"no converter": {Converter: "none", Reason: "r"},
		"no reason":    {Converter: "to-pdf"},
		"limit":        {Converter: "to-pdf", Reason: "r", Limit: -1},
		"no unit":      {Converter: "to-pdf", Reason: "r", Units: []string{newID(unitID)}},
		"a transfer":   {Converter: "to-pdf", Reason: "r", Units: []string{d.Operation}},
		"tenant":       {Converter: "to-pdf", Reason: "r", Tenant: "none"},
	} {
		if _, err := a.RunConverter(ctx, "alice", r); err == nil {
			t.Errorf("%s: it ran", name)
		}
	}
}

// TestRunConverterChecks: what is not of a format that the converter may give is refused, and
// nothing of it is kept.
func TestRunConverterChecks(t *testing.T) {
	a := withConverter(t, `echo "no PDF" > "$2"`, "")
	d := deposit(t, a, letter("one"))
	blobs := len(objectBlobs(t, a, 0))
	var said string
	out, err := a.RunConverter(context.Background(), "alice", ConvertRun{Converter: "to-pdf", Reason: "r", Each: func(s ConvertStep) { said = s.Why }})
	if err != nil || out.Failed != 1 || out.Units != 0 || !strings.Contains(said, "not fmt/18") {
		t.Errorf("%+v %q %v", out, said, err)
	}
	if u, err := a.Unit(d.Units[0].ID); err != nil || u.Version != 1 || len(objectBlobs(t, a, 0)) != blobs {
		t.Errorf("%+v %v", u, err)
	}
}

// TestRunConverterStops: a run that is stopped goes on from there.
func TestRunConverterStops(t *testing.T) {
	a := withConverter(t, toPDF, "")
	var units []NewUnit
	for i := range 5 {
		units = append(units, letter(fmt.Sprint(i)))
	}
	deposit(t, a, units...)
	ctx, cancel := context.WithCancel(context.Background())
	r := ConvertRun{Converter: "to-pdf", Reason: "r", Each: func(ConvertStep) { cancel() }}
	if out, err := a.RunConverter(ctx, "alice", r); err == nil || out.Units != 1 {
		t.Errorf("%+v %v", out, err)
	}
	if left, _ := os.ReadDir(os.TempDir()); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	r.Each = nil
	if out, err := a.RunConverter(context.Background(), "alice", r); err != nil || out.Units != 4 || out.Already != 1 {
		t.Errorf("%+v %v", out, err)
	}
}

// TestToConvert: copies for reading are not converted, nor what was itself made from an object
// that the converter takes.
func TestToConvert(t *testing.T) {
	a := withConverter(t, toPDF, ", usage: BinaryMaster")
	d := deposit(t, a, letter("one"))
	original := d.Units[0].Objects[0].ID
	for i, usage := range []string{"Dissemination", "BinaryMaster"} { // RTF from RTF, by another version of a program
		r := copyOf(d.Units[0].ID, original, usage, "")
		r.Files[0].Content = text("again.rtf", rtf(fmt.Sprint(i)))
		if _, err := a.Convert(context.Background(), "alice", r); err != nil {
			t.Fatal(err)
		}
	}
	convert(t, a, d.Units[0], "Dissemination", pdf("for reading")) // of the same format, but another usage
	out, err := a.RunConverter(context.Background(), "alice", ConvertRun{Converter: "to-pdf", Reason: "r"})
	if err != nil || out.Objects != 1 || out.Already != 0 {
		t.Errorf("%+v %v", out, err)
	}
	u, err := a.Unit(d.Units[0].ID)
	if last := u.Objects[len(u.Objects)-1]; err != nil || last.ConvertedFrom != original || last.Usage != "BinaryMaster_3" {
		t.Errorf("%+v %v", u.Objects, err)
	}
}

// TestGhostscript converts with a real program, as the example in sae.yaml does.
func TestGhostscript(t *testing.T) {
	if _, err := exec.LookPath("gs"); err != nil {
		t.Skip("gs is missing: install ghostscript")
	}
	_, example, _ := strings.Cut(configTemplate, "#   converters:\n")
	t.Setenv("TMPDIR", t.TempDir())
	a := newArchive(t, func(c string) string {
		return c + "\nconverters:\n" + strings.ReplaceAll(example, "#  ", "")
	})
	c := text("page.pdf", "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"+
		"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n")
	d := deposit(t, a, NewUnit{Parent: -1, Title: "page", Channel: Digital, Content: c})
	out, err := a.RunConverter(context.Background(), "alice", ConvertRun{Converter: "pdfa", Reason: "r"})
	if err != nil || out.Objects != 1 || !strings.HasPrefix(out.Tool, "Ghostscript ") {
		t.Fatalf("%+v %v", out, err)
	}
	if u, err := a.Unit(d.Units[0].ID); err != nil || u.Objects[1].Format.PUID != "fmt/477" {
		t.Errorf("%+v %v", u, err)
	}
}

// TestConverterConfig: a converter that cannot work is refused, with its line.
func TestConverterConfig(t *testing.T) {
	dir := createEdited(t, nil)
	good := "\nconverters:\n  - {id: c, from: [fmt/45], to: [fmt/18], command: [x, \"{in}\", \"{outdir}\"], tool: x}\n"
	text := string(readFile(t, filepath.Join(dir, ConfigName)))
	if _, err := parseConfig([]byte(text + good)); err != nil {
		t.Fatal(err)
	}
	for change, want := range map[string]string{
		"id: c|id: a b":                  `"a b" is not a code`,
		"{in}|in":                        "no argument has {in}",
		"tool: x|tool: ''":               "tool: missing",
		"to: [fmt/18]|to: [pdf]":         `"pdf" is not a PRONOM identifier`,
		"tool: x|tool: x, shell: true":   "unknown field",
		"tool: x|tool: x, timeout: 900h": "want at most 24h",
	} {
		old, new, _ := strings.Cut(change, "|")
		if _, err := parseConfig([]byte(text + strings.Replace(good, old, new, 1))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", change, err)
		}
	}
	if _, err := parseConfig([]byte(text + good + strings.TrimPrefix(good, "\nconverters:\n"))); err == nil || !strings.Contains(err.Error(), "there twice") {
		t.Error(err)
	}
}
