package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/integrity/bundle"
)

func (c *cli) demoCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show the main job on a citizen file that it makes up: deposit, seal, prove, verify, tamper, repair",
		Long: `Show the main job, in a few seconds and without network: make up a citizen file of a
MDPH, deposit it, open a file of a procedure, seal it all, prove a document and verify the proof, damage a copy and
have it caught and repaired. Every step runs the verb that an archivist would type.
The archive stays, in ./sae-demo unless --dir says otherwise.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := &demo{cli: c, dir: "sae-demo", start: time.Now(), out: c.out}
			if cmd.Flags().Changed("dir") {
				d.dir = c.dir
			}
			if c.json {
				d.out = io.Discard
			}
			return d.run()
		},
	}
}

// demo runs the program's own verbs, one after the other.
type demo struct {
	*cli
	dir, folder, metadata string
	start                 time.Time
	out                   io.Writer
	result                demoResult
}

// demoResult is what the demonstration came to, and the JSON of sae demo --json.
type demoResult struct {
	Archive  string   `json:"archive"`
	Dir      string   `json:"dir"`
	Units    []string `json:"units"`
	Bundle   string   `json:"bundle"`
	Verdict  string   `json:"verdict"`
	Shell    string   `json:"verifyScript"` // what verify.sh said, or why it was not run
	Findings int      `json:"findings"`
	Repaired int      `json:"repaired"`
	Seconds  float64  `json:"seconds"`

	decision string // unit of the decision
}

func (d *demo) run() error {
	for _, step := range []func() error{d.create, d.deposit, d.file, d.seal, d.prove, d.script, d.tamper, d.repair, d.end} {
		if err := step(); err != nil {
			return fmt.Errorf("the demonstration failed: %w", err)
		}
	}
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, "\n== "+format+"\n", args...) }

// sae runs a verb as if it had been typed, shows it with what it prints, and wants
// the given exit status.
func (d *demo) sae(want int, args ...string) error {
	fmt.Fprintf(d.out, "$ sae --dir %s %s\n", quoteArg(d.dir), quote(args))
	var out bytes.Buffer
	status := run(append([]string{"--dir", d.dir, "--as", d.agent}, args...), strings.NewReader(""), &out, &out)
	for _, line := range shorten(strings.Split(strings.TrimRight(out.String(), "\n"), "\n")) {
		fmt.Fprintf(d.out, "  %s\n", line)
	}
	if status != want {
		return fmt.Errorf("sae %s ended with status %d instead of %d: %s", quote(args), status, want, out.String())
	}
	return nil
}

// shorten keeps the ends of a long output.
func shorten(lines []string) []string {
	const most, head, tail = 30, 12, 10
	if len(lines) <= most {
		return lines
	}
	gap := fmt.Sprintf("... %d lines more", len(lines)-head-tail)
	return append(append(append([]string(nil), lines[:head]...), gap), lines[len(lines)-tail:]...)
}

// ask runs a verb with --json and reads its answer.
func (d *demo) ask(answer any, want int, args ...string) error {
	var out, errOut bytes.Buffer
	status := run(append([]string{"--dir", d.dir, "--as", d.agent, "--json"}, args...), strings.NewReader(""), &out, &errOut)
	if status != want {
		return fmt.Errorf("sae %s ended with status %d instead of %d: %s", quote(args), status, want, errOut.String())
	}
	return json.Unmarshal(out.Bytes(), answer)
}

func quote(args []string) string {
	var out []string
	for _, a := range args {
		out = append(out, quoteArg(a))
	}
	return strings.Join(out, " ")
}

func quoteArg(a string) string {
	if a != "" && !strings.ContainsAny(a, " \t'\"$&|;<>()*?[]#~`\\!{}") {
		return a
	}
	return "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
}

func (d *demo) create() error {
	d.say("An archive: keys, configuration, two offers, a ledger")
	if err := d.sae(exitDone, "init", "--tenant", "cd-demo", "--tenant-name", "Département de démonstration"); err != nil {
		return err
	}
	config, err := archive.LoadConfig(d.dir)
	if err != nil {
		return err
	}
	d.result.Archive, d.result.Dir = config.Archive, d.dir
	d.folder, d.metadata, err = writeDemoFiles(filepath.Join(d.dir, "demo-files"))
	return err
}

func (d *demo) deposit() error {
	d.say("A citizen file (dossier usager) goes in: born digital, digitised, and a scan whose paper is kept")
	if err := d.sae(exitDone, "deposit", "--metadata", d.metadata, "--rule", "EXAMPLE-10Y", "--rule-start", "2031-03-31", d.folder); err != nil {
		return err
	}
	var page struct {
		Units []struct{ Unit, Title string }
	}
	if err := d.ask(&page, exitDone, "list", "--subject", demoSubject); err != nil {
		return err
	}
	for _, u := range page.Units {
		d.result.Units = append(d.result.Units, u.Unit)
		if u.Title == demoPDFs[2].title {
			d.result.decision = u.Unit
		}
	}
	if len(page.Units) != 1+len(demoPDFs)+len(demoScans) {
		return fmt.Errorf("%d units in the list", len(page.Units))
	}
	d.say("And paper that stays paper: a place, no bytes")
	return d.sae(exitDone, "deposit", "--channel", "paper", "--title", "Pièces d'origine du dossier", "--subject", demoSubject,
		"--parent", d.result.Units[0], "--paper-location", "Magasin 2, travée 14, boîte 1188", "--paper-id", "BX-1188")
}

// file opens a file of a procedure, for a person whom nothing on a command line names.
func (d *demo) file() error {
	d.say("A procedure, as YAML; a person; the file of her case, which says what is missing and when it may go")
	procedure, person, err := writeDemoCase(filepath.Join(d.dir, "demo-files"))
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"procedure", "add", procedure},
		{"subject", "new", "--from", person},
		{"file", "open", "--procedure", "FSL", "--number", demoFile, "--from", person},
		{"deposit", "--from", person, "--procedure", "FSL", "--document", "formulaire", filepath.Join(d.folder, demoPDFs[0].file)},
		{"file", "event", demoFile, "decision", "--reason", "commission du fonds de solidarité"},
		{"file", "show", demoFile},
	} {
		if err := d.sae(exitDone, args...); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) seal() error {
	d.say("One time-stamp (RFC 3161) over all of it and the ledger; this authority is embedded, so NOT qualified")
	if err := d.sae(exitDone, "seal"); err != nil {
		return err
	}
	if err := d.sae(exitDone, "stats"); err != nil {
		return err
	}
	d.say("Found again, though the index holds no word in clear")
	return d.sae(exitDone, "search", "notifications", "decision")
}

func (d *demo) prove() error {
	d.say("A proof of the decision that anyone verifies without this archive")
	d.result.Bundle = filepath.Join(d.dir, "demo-files", "decision.asice")
	if err := d.sae(exitDone, "proof", d.result.decision, "-o", d.result.Bundle); err != nil {
		return err
	}
	roots := filepath.Join(d.dir, "keys", "tsa-ca.pem")
	var report bundle.Report
	if err := d.ask(&report, exitDone, "verify", "--roots", roots, d.result.Bundle); err != nil {
		return err
	}
	d.result.Verdict = string(report.Verdict)
	return d.sae(exitDone, "verify", "--roots", roots, d.result.Bundle)
}

// script runs the bundle's own script, for those who trust no program of ours.
func (d *demo) script() error {
	d.say("The same with openssl and sha256sum alone, by the script inside the bundle")
	for _, tool := range []string{"sh", "openssl", "sha256sum", "awk"} {
		if _, err := exec.LookPath(tool); err != nil {
			d.result.Shell = tool + " is not installed: not run"
			fmt.Fprintf(d.out, "  %s\n", d.result.Shell)
			return nil
		}
	}
	dir := filepath.Join(d.dir, "demo-files", "decision")
	if err := unpack(d.result.Bundle, dir); err != nil {
		return err
	}
	roots, err := filepath.Abs(filepath.Join(d.dir, "keys", "tsa-ca.pem"))
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "$ sh %s %s\n", quoteArg(filepath.Join(dir, "verify.sh")), quoteArg(roots))
	out, err := exec.Command("sh", filepath.Join(dir, "verify.sh"), roots).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		fmt.Fprintf(d.out, "  %s", line)
	}
	if err != nil {
		return fmt.Errorf("verify.sh: %w: %s", err, out)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	d.result.Shell = lines[len(lines)-1]
	return nil
}

// unpack unpacks a bundle that was verified: its names are known to be tame.
func unpack(file, dir string) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return err
	}
	defer z.Close()
	return os.CopyFS(dir, z)
}

// tamper changes one byte in one copy and shows that content still comes out right.
func (d *demo) tamper() error {
	blob, err := firstBlob(filepath.Join(d.dir, "offers", "first", "blobs"))
	if err != nil {
		return err
	}
	d.say("Someone changes one byte of one copy: %s", blob)
	b, err := os.ReadFile(blob)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(blob, b, 0o600); err != nil {
		return err
	}
	d.say("Every document still comes out as it went in: a bad copy is passed over")
	for i, u := range d.result.Units[1:] {
		var out, errOut bytes.Buffer
		if status := run([]string{"--dir", d.dir, "get", u}, strings.NewReader(""), &out, &errOut); status != exitDone {
			return fmt.Errorf("sae get %s: %s", u, errOut.String())
		}
		name := demoFileNames()[i]
		want, err := os.ReadFile(filepath.Join(d.folder, name))
		if err != nil {
			return err
		}
		if !bytes.Equal(out.Bytes(), want) {
			return fmt.Errorf("%s came out changed", name)
		}
		fmt.Fprintf(d.out, "  %-32s unchanged, %s\n", name, bytesText(int64(len(want))))
		if errOut.Len() > 0 {
			fmt.Fprintf(d.out, "    %s", errOut.String())
		}
	}
	d.say("An audit catches it, and ends with status 3")
	return d.sae(exitDamaged, "audit")
}

func demoFileNames() (names []string) {
	for _, p := range demoPDFs {
		names = append(names, p.file)
	}
	for _, s := range demoScans {
		names = append(names, s.file)
	}
	return names
}

var errFound = errors.New("found")

func firstBlob(root string) (blob string, err error) {
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			blob, err = path, errFound
		}
		return err
	})
	if blob != "" {
		return blob, nil
	}
	return "", errors.Join(err, errors.New("the offer holds no copy"))
}

func (d *demo) repair() error {
	d.say("Repaired from the good copy, and the ledger says so")
	var report struct{ Findings, Repaired int }
	if err := d.ask(&report, exitDone, "audit", "--repair"); err != nil {
		return err
	}
	d.result.Findings, d.result.Repaired = report.Findings, report.Repaired
	fmt.Fprintf(d.out, "$ sae --dir %s audit --repair\n  findings: %d, repaired: %d\n", quoteArg(d.dir), report.Findings, report.Repaired)
	if report.Findings != 1 || report.Repaired != 1 {
		return fmt.Errorf("%d findings, %d repaired, instead of 1 and 1", report.Findings, report.Repaired)
	}
	return d.sae(exitDone, "audit")
}

func (d *demo) end() error {
	d.result.Seconds = time.Since(d.start).Seconds()
	if d.json {
		return d.printJSON(d.result)
	}
	d.say("Done in %.1f s. The archive is yours to go on with:", d.result.Seconds)
	for _, args := range d.commands() {
		fmt.Fprintf(d.out, "  %s --dir %s %s\n", programName(), quoteArg(d.dir), quote(args))
	}
	return nil
}

// programName is how the person who runs the demonstration can run the program again.
func programName() string {
	if strings.Contains(os.Args[0], "go-build") {
		return "go run ./cmd/sae"
	}
	return "sae"
}

// commands are those to go on with.
func (d *demo) commands() [][]string {
	return [][]string{
		{"status"},
		{"list", "--subject", demoSubject},
		{"file", "show", demoFile},
		{"show", d.result.decision},
		{"history", d.result.decision},
		{"get", d.result.decision, "-o", "decision.pdf"},
		{"search", "certificat", "médical"},
		{"ledger", "verify"},
		{"verify", "--roots", filepath.Join(d.dir, "keys", "tsa-ca.pem"), d.result.Bundle},
	}
}
