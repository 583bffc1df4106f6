package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"sae/archive"
	"sae/integrity"
)

var killRounds = flag.Int("kill.rounds", 60, "rounds of TestKill")

// acknowledged is a deposit that the program said is archived.
type acknowledged struct {
	depositLine
	receipt integrity.Receipt
}

// depositLine is a line that sae deposit --json prints.
type depositLine struct {
	Operation string `json:"operation"`
	Units     []struct {
		ID      string `json:"id"`
		Objects []struct {
			ID     string `json:"id"`
			SHA256 string `json:"sha256"`
		} `json:"objects"`
	} `json:"units"`
	Receipt string `json:"receipt"`
}

// TestKill kills the real program at random moments of concurrent deposits, seals
// and audits, and looks each time whether all that it acknowledged is there, whole,
// and nothing else.
func TestKill(t *testing.T) {
	rounds := *killRounds
	if testing.Short() {
		rounds = min(rounds, 10)
	}
	k := &killer{t: t, program: buildProgram(t), dir: filepath.Join(t.TempDir(), "archive"), work: t.TempDir(), seen: map[string]bool{}}
	k.run(0, nil, "init")
	for round := range rounds {
		k.killDeposits(round)
		switch round % 5 {
		case 2:
			k.run(time.Duration(rand.IntN(100))*time.Millisecond, nil, "compact")
		case 3:
			k.run(time.Duration(rand.IntN(60))*time.Millisecond, nil, "seal")
		case 4:
			k.run(time.Duration(rand.IntN(200))*time.Millisecond, nil, "audit", "--repair", "--sample", "20%")
		}
		k.check(round)
		if t.Failed() {
			return
		}
	}
	k.finish()
	t.Logf("%d rounds: %d deposits acknowledged, %d units in the archive", rounds, len(k.acked), len(k.seen))
}

// buildProgram builds the program, once for all tests.
func buildProgram(t *testing.T) string {
	t.Helper()
	build.once.Do(func() {
		build.program = filepath.Join(build.dir, "sae")
		if out, err := exec.Command("go", "build", "-o", build.program, ".").CombinedOutput(); err != nil {
			build.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if build.err != nil {
		t.Fatal(build.err)
	}
	return build.program
}

var build struct {
	once         sync.Once
	dir, program string
	err          error
}

func TestMain(m *testing.M) {
	if os.Getenv(atADistance) != "" { // as the program of scripts
		os.Exit(runAtADistance(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	var err error
	if build.dir, err = os.MkdirTemp("", "sae-test-*"); err != nil {
		panic(err)
	}
	status := m.Run()
	os.RemoveAll(build.dir)
	os.Exit(status)
}

type killer struct {
	t                  *testing.T
	program, dir, work string
	acked              []acknowledged
	seen               map[string]bool // units found in the archive
	cursor             string
}

// run runs the program, kills it after a time if that is not zero, and gives the
// whole lines it printed.
func (k *killer) run(after time.Duration, in []string, args ...string) (lines []string) {
	cmd := exec.Command(k.program, append([]string{"--dir", k.dir}, args...)...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(strings.Join(in, "\n")), &out, &errOut
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	if after > 0 {
		timer := time.AfterFunc(after, func() { cmd.Process.Kill() })
		defer timer.Stop()
	}
	if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() >= 0 {
		k.t.Fatalf("sae %v: %v: %s%s", args, err, out.String(), errOut.String()) // it ended by itself, and badly
	}
	text := out.String()
	for line := range strings.Lines(text[:strings.LastIndex(text, "\n")+1]) {
		lines = append(lines, line)
	}
	return lines
}

// killDeposits deposits many files at the same time and kills the program.
func (k *killer) killDeposits(round int) {
	var paths []string
	folder := filepath.Join(k.work, fmt.Sprint(round))
	if err := os.Mkdir(folder, 0o700); err != nil {
		k.t.Fatal(err)
	}
	for i := range 80 {
		size := rand.IntN(20_000)
		if i%20 == 0 {
			size = 1<<20 + rand.IntN(1<<20)
		}
		content := make([]byte, size)
		for j := range content {
			content[j] = byte(rand.Uint32())
		}
		path := filepath.Join(folder, fmt.Sprintf("%d.bin", i))
		if err := os.WriteFile(path, content, 0o600); err != nil {
			k.t.Fatal(err)
		}
		paths = append(paths, path)
	}
	after := time.Duration(20+rand.IntN(250)) * time.Millisecond
	for _, line := range k.run(after, paths, "deposit", "--each", "--json", "--jobs", "16", "--files-from", "-") {
		var a acknowledged
		err := json.Unmarshal([]byte(line), &a.depositLine)
		if err == nil {
			a.receipt, err = integrity.ParseReceipt([]byte(a.Receipt))
		}
		if err != nil {
			k.t.Fatalf("line %q: %v", line, err)
		}
		k.acked = append(k.acked, a)
	}
	if err := os.RemoveAll(folder); err != nil {
		k.t.Fatal(err)
	}
}

// check opens the archive, which sweeps, and holds it against what was
// acknowledged in this round.
func (k *killer) check(round int) {
	if round%6 == 5 { // the catalogue is lost too
		k.lose(round)
	}
	a, err := archive.Open(k.dir, archive.Options{Command: "check"})
	if err != nil {
		k.t.Fatalf("round %d: %v", round, err)
	}
	defer a.Close()
	k.readNew(a)
	for _, d := range k.acked {
		for _, u := range d.Units {
			if !k.seen[u.ID] {
				k.t.Errorf("round %d: unit %s was acknowledged and is not there", round, u.ID)
			}
		}
	}
	k.consistent(a)
	if round%10 == 9 { // it reads the whole archive
		k.noOrphans(a)
	}
}

// lose loses the catalogue and makes it again from one of the offers, chosen by the round. The
// first opening sweeps what the killed process left.
func (k *killer) lose(round int) {
	if err := os.Remove(filepath.Join(k.dir, "catalogue.db")); err != nil {
		k.t.Fatal(err)
	}
	offer := []string{"first", "second"}[round/6%2]
	r, err := archive.Rebuild(context.Background(), archive.RebuildFrom{Dir: k.dir, Path: filepath.Join(k.dir, "offers", offer)})
	if err != nil {
		k.t.Fatalf("round %d: rebuilding from %s: %v", round, offer, err)
	}
	if len(r.Files) > 0 {
		k.t.Errorf("round %d: %v was put back, and was there", round, r.Files)
	}
}

// readNew reads every unit that was not seen before: whether acknowledged or not,
// it must be whole, and be what was acknowledged.
func (k *killer) readNew(a *archive.Archive) {
	want := map[string]string{}
	for _, d := range k.acked {
		for _, u := range d.Units {
			for _, o := range u.Objects {
				want[o.ID] = o.SHA256
			}
		}
	}
	for {
		page, err := a.List(archive.Filter{After: k.cursor, Limit: 1000})
		if err != nil {
			k.t.Fatal(err)
		}
		for _, u := range page.Units {
			if k.seen[u.Unit] {
				continue
			}
			k.seen[u.Unit] = true
			if len(u.Objects) != 1 {
				k.t.Errorf("unit %s is half there: %d objects", u.Unit, len(u.Objects))
			}
			for _, o := range u.Objects {
				sum := sha256.New()
				_, bad, err := a.Get(context.Background(), o.ID, sum)
				got := fmt.Sprintf("%x", sum.Sum(nil))
				if w, ok := want[o.ID]; err != nil || len(bad) > 0 || ok && w != got || got != o.SHA256 {
					k.t.Errorf("object %s: %v, %v, sha256 %s, acknowledged %s", o.ID, err, bad, got, w)
				}
			}
		}
		if page.Next == "" {
			return
		}
		k.cursor = page.Next
	}
}

// consistent verifies every receipt ever given against the ledger as it is now.
func (k *killer) consistent(a *archive.Archive) {
	key, err := note.NewVerifier(a.LedgerKey())
	if err != nil {
		k.t.Fatal(err)
	}
	signed, err := a.Checkpoint()
	if err != nil {
		k.t.Fatal(err)
	}
	now, err := integrity.ParseCheckpoint(signed, key)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, d := range k.acked {
		entry, cp, err := d.receipt.Check(key)
		if err != nil || entry.Operation != d.Operation {
			k.t.Fatalf("receipt of %s: %+v, %v", d.Operation, entry, err)
		}
		proof, _, _, err := a.ProveConsistency(cp.Size, now.Size)
		if err == nil {
			err = integrity.CheckConsistency(cp, now, proof)
		}
		if err != nil {
			k.t.Fatalf("receipt of %s: %v", d.Operation, err)
		}
	}
}

// noOrphans wants no blob in any offer that belongs to nothing, and no row too many.
func (k *killer) noOrphans(a *archive.Archive) {
	f, err := a.Fsck(context.Background())
	if err != nil {
		k.t.Fatal(err)
	}
	for _, x := range f.Findings {
		if x.Kind != "missing" { // of what is missing the rebuilt catalogue knows more than one offer has
			k.t.Errorf("%+v", x)
		}
	}
}

// finish seals and audits what came of it. A catalogue that was rebuilt may know a journal blob
// that the killed process had written to one offer only.
func (k *killer) finish() {
	a, err := archive.Open(k.dir, archive.Options{Command: "check"})
	if err != nil {
		k.t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.Seal(context.Background(), "test"); err != nil {
		k.t.Fatal(err)
	}
	report, err := a.Audit(context.Background(), "test", archive.AuditOptions{Sample: 1, Repair: true})
	if err != nil || !report.Sound() || report.Objects != int64(len(k.seen)) {
		k.t.Errorf("audit: %+v, %v; %d units seen", report, err, len(k.seen))
	}
}

// ask asks the program, which must be content, for a value in JSON. It is many times as
// fast as the archive within a test with the race detector.
func (k *killer) ask(v any, args ...string) {
	k.t.Helper()
	out, err := exec.Command(k.program, append([]string{"--dir", k.dir, "--json"}, args...)...).Output()
	if err == nil {
		err = json.Unmarshal(out, v)
	}
	if err != nil {
		k.t.Fatalf("%v: %v: %s", args, err, out)
	}
}

// TestKillStages kills the program in large deposits, which take several transactions:
// each is there whole, or not at all.
func TestKillStages(t *testing.T) {
	const units = 20_001
	rounds := max(*killRounds/10, 3)
	k := &killer{t: t, program: buildProgram(t), dir: filepath.Join(t.TempDir(), "archive"), work: t.TempDir(), seen: map[string]bool{}}
	k.run(0, nil, "init", "--accept-unknown", "agreements,agencies")
	manifest := filepath.Join(k.work, "manifest.xml")
	f, err := os.Create(manifest)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(f, `<ArchiveTransfer xmlns="fr:gouv:culture:archivesdefrance:seda:v2.2"><Date>2026-03-01T12:00:00Z</Date><MessageIdentifier>large</MessageIdentifier><ArchivalAgreement>a</ArchivalAgreement><CodeListVersions/><DataObjectPackage><DescriptiveMetadata><ArchiveUnit id="U0"><Content><DescriptionLevel>RecordGrp</DescriptionLevel><Title>Dossiers</Title></Content>`)
	for i := range units - 1 {
		fmt.Fprintf(f, `<ArchiveUnit id="U%d"><Content><DescriptionLevel>Item</DescriptionLevel><Title>Dossier %d</Title></Content></ArchiveUnit>`, i+1, i)
	}
	fmt.Fprint(f, `</ArchiveUnit></DescriptiveMetadata><ManagementMetadata/></DataObjectPackage><ArchivalAgency><Identifier>A</Identifier></ArchivalAgency><TransferringAgency><Identifier>T</Identifier></TransferringAgency></ArchiveTransfer>`)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	k.run(0, nil, "deposit", manifest)
	whole := time.Since(start)
	var last int64 = units
	for round := range rounds {
		k.run(time.Duration(float64(whole)*(0.3+0.8*rand.Float64())), nil, "deposit", manifest)
		a, err := archive.Open(k.dir, archive.Options{Command: "check"}) // it sweeps
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if round == rounds-1 { // it reads the whole archive
			k.noOrphans(a)
		}
		a.Close()
		var s archive.Status
		if k.ask(&s, "status"); s.Units != last && s.Units != last+units {
			t.Errorf("round %d: %d units behind %d", round, s.Units, last)
		}
		last = s.Units
		var r archive.AuditReport
		if k.ask(&r, "audit", "--sample", "100%"); !r.Sound() || r.Units != last+2*(last/units) { // with the two records of each transfer
			t.Errorf("round %d: audit %+v", round, r)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d rounds: %d deposits of %d", rounds, last/units, units)
}
