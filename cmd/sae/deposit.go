package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/spf13/cobra"

	"sae/api/remote"
	"sae/archive"
)

// depositFlags are the flags of deposit.
type depositFlags struct {
	deposit   archive.Deposit
	flags     fields
	paper     archive.PhysicalObject
	scan      archive.Scan
	paperKept string
	metadata  string
	follow    bool
	each      bool
	jobs      int
	filesFrom string
	receipt   string
	waitSeal  bool
	reply     string
	ack       string
	plain     bool
	person    personFlags
	values    []string
}

func (c *cli) depositCmd() *cobra.Command {
	d := &depositFlags{}
	cmd := &cobra.Command{
		Use:   "deposit PATH...",
		Short: "Deposit files and folders, as one operation: all of it is archived, or nothing",
		Long: `Deposit files and folders, as one operation: all of it is archived, or nothing.

A folder becomes a tree of units, each file a unit with one object. What is printed
was written to as many offers as the configuration wants and is in the ledger: it
is acknowledged. The time-stamp comes with sae seal, or --wait-seal.

A SEDA ArchiveTransfer (a zip, a tar, a tar.gz, a folder with its manifest at the
root, or a manifest alone) is recognised and archived as the units that it
describes; all that is wrong with it is reported at once, and --reply writes the
ArchiveTransferReply. "sae seda check" says the same without depositing.

--file, or --identifier, puts the documents into a citizen file: each is of a type of the
file's procedure (--document), comes by a channel of that type and has its fields. What
the type says of rules, and the file of agreement and agency, need not be said.

The channel says how the documents came, because their probative value differs:
  digital    born digital
  digitised  paper that was scanned; needs the scan record (--scan-..., --paper-kept)
  paper      paper only; no PATH, but --title and --paper-location
  both       the paper is kept beside its copy; needs both

Metadata comes from a JSON or CSV file. JSON: {"subject": "...", "files": {"PATH":
{"title": "..."}}}, fields for all files and, by their path below the folder
deposited, for each. CSV: a column "file" and a column per field. Fields: title,
description, startDate, endDate, subject, channel, rule, ruleStart, accessRule,
accessStart, scan.by,
scan.date, scan.device, scan.settings, scan.paperKept, scan.process, scan.control,
scan.pages, paper.location, paper.physicalId, paper.pages, document (type, by the procedure of
the citizen file), custom.NAME (of a document in a citizen file: the fields of its type).`,
		Example: `  sae deposit --subject MDPH-2026-00017 --rule EXAMPLE-10Y form.pdf
  sae deposit --channel digitised --scan-by 'atelier 2' --scan-date 2026-03-02 --scan-device 'Kodak i3450' \
      --scan-settings '300 dpi, grey' --paper-kept=false dossier/
  sae deposit --file MDPH-2026-00017 --document notification --field date=2026-06-15 notification.pdf
  sae deposit --channel paper --title 'Dossier papier' --paper-location 'Magasin 2, travée 14'`,
		RunE: func(cmd *cobra.Command, paths []string) error { return c.deposit(cmd.Context(), d, paths) },
	}
	f := cmd.Flags()
	f.StringVar(&d.deposit.Tenant, "tenant", "", "archival agency (default the first in the configuration)")
	f.StringVar(&d.deposit.Agreement, "agreement", "", "archival agreement (default the tenant's first)")
	f.StringVar(&d.deposit.Agency, "originating-agency", "", "originating agency")
	f.StringArrayVar(&d.deposit.Parents, "parent", nil, "existing unit under which to deposit; may be repeated")
	f.StringVar(&d.flags.Title, "title", "", "title of the one file or folder deposited (default its name)")
	f.StringVar(&d.flags.Description, "description", "", "description of the one file or folder deposited")
	f.StringVar(&d.flags.Subject, "subject", "", "identifier of the citizen file")
	f.StringVar(&d.flags.Rule, "rule", "", "appraisal rule")
	f.StringVar(&d.flags.RuleStart, "rule-start", "", "start date of the rule, YYYY-MM-DD")
	f.StringVar(&d.flags.Access, "access-rule", "", "access rule: before it is over, only who has a role that reads, or a derogation")
	f.StringVar(&d.flags.AccessStart, "access-start", "", "start date of the access rule, YYYY-MM-DD")
	f.StringVar((*string)(&d.flags.Channel), "channel", "", "digital (default), digitised, paper or both")
	f.StringVar(&d.scan.By, "scan-by", "", "scan record: who scanned")
	f.StringVar(&d.scan.Date, "scan-date", "", "scan record: when, YYYY-MM-DD or RFC 3339")
	f.StringVar(&d.scan.Device, "scan-device", "", "scan record: make, model, serial number")
	f.StringVar(&d.scan.Settings, "scan-settings", "", "scan record: resolution, colour, format")
	f.StringVar(&d.scan.Process, "scan-process", "", "scan record: reference of the tested process (NF Z42-026)")
	f.StringVar(&d.scan.Control, "scan-control", "", "scan record: how the copy was compared with the paper")
	f.IntVar(&d.scan.Pages, "scan-pages", 0, "scan record: pages")
	f.StringVar(&d.paperKept, "paper-kept", "", "scan record: whether the paper is kept, true or false")
	f.StringVar(&d.paper.Location, "paper-location", "", "where the paper stands")
	f.StringVar(&d.paper.PhysicalID, "paper-id", "", "barcode or box of the paper")
	f.IntVar(&d.paper.Pages, "paper-pages", 0, "pages of the paper")
	f.StringVar(&d.deposit.File, "file", "", "citizen file into which the documents go: its number or its unit")
	f.StringArrayVar(&d.person.Identifiers, "identifier", nil, "ISSUER#SUB of a data subject: the documents go into the one open citizen file of that person")
	f.StringVar(&d.person.from, "from", "", `JSON file with "identifiers": ["ISSUER#SUB"], - for standard input: as --identifier, which shows in the list of processes`)
	f.StringVar(&d.deposit.Procedure, "procedure", "", "with --identifier: of which procedure the file is")
	f.StringVar(&d.flags.Document, "document", "", "type of the documents, by the procedure of the citizen file")
	f.StringArrayVar(&d.values, "field", nil, "field of the type of the documents, NAME=VALUE; may be repeated")
	f.StringVar(&d.metadata, "metadata", "", "JSON or CSV file")
	f.BoolVar(&d.follow, "follow", false, "follow symbolic links")
	f.BoolVar(&d.each, "each", false, "every PATH is a deposit of its own, printed as soon as it is acknowledged")
	f.IntVar(&d.jobs, "jobs", 16, "with --each: deposits at the same time")
	f.StringVar(&d.filesFrom, "files-from", "", "read further PATHs from a file, one a line; - is standard input")
	f.StringVar(&d.receipt, "receipt", "", "write the receipt (C2SP tlog-proof) to this file")
	f.StringVar(&d.reply, "reply", "", "SEDA: write the ArchiveTransferReply to this file, also when the transfer is refused")
	f.StringVar(&d.ack, "acknowledgement", "", "SEDA: write the Acknowledgement of receipt to this file")
	f.BoolVar(&d.plain, "plain", false, "deposit a SEDA transfer as the file or folder it is, without reading it")
	f.BoolVar(&d.waitSeal, "wait-seal", false, "seal before returning; exit 1 when no authority answers, the deposit stays")
	return cmd
}

func (c *cli) deposit(ctx context.Context, d *depositFlags, paths []string) error {
	more, err := c.morePaths(d)
	if err != nil {
		return err
	}
	if paths = append(paths, more...); d.each && d.receipt != "" {
		return usagef("--receipt is for one deposit, --each makes many; with --json each line holds its receipt")
	}
	if d.jobs < 1 {
		return usagef("--jobs %d: want at least 1", d.jobs)
	}
	if err := d.complete(); err != nil {
		return err
	}
	if err := c.intoFile(d); err != nil {
		return err
	}
	meta, err := c.readMetadata(d.metadata)
	if err != nil {
		return err
	}
	if handled, err := c.depositSEDA(ctx, d, paths); handled || err != nil {
		return err
	}
	groups := [][]string{paths}
	if d.each {
		groups = groups[:0]
		for _, p := range paths {
			groups = append(groups, []string{p})
		}
	}
	return c.open(false, func(a *archive.Archive) error {
		if err := c.depositAll(ctx, a, d, meta, groups); err != nil {
			return err
		}
		if !d.waitSeal {
			return nil
		}
		return c.seal(ctx, a, false)
	})
}

// morePaths reads the paths of --files-from.
func (c *cli) morePaths(d *depositFlags) ([]string, error) {
	if d.filesFrom == "" {
		return nil, nil
	}
	in := c.in
	if d.filesFrom != "-" {
		f, err := c.files.Open(d.filesFrom)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	return readPaths(in)
}

// readPaths reads paths, one a line.
func readPaths(in io.Reader) (paths []string, err error) {
	s := bufio.NewScanner(in)
	s.Buffer(nil, 64<<10)
	for s.Scan() {
		if s.Text() != "" {
			paths = append(paths, s.Text())
		}
	}
	return paths, s.Err()
}

// intoFile reads who it is whose citizen file the documents go into.
func (c *cli) intoFile(d *depositFlags) (err error) {
	if d.flags.Custom, err = parseValues(d.values); err != nil {
		return err
	}
	if d.person.from == "" && len(d.person.Identifiers) == 0 {
		if d.deposit.Procedure != "" && d.deposit.File == "" {
			return usagef("--procedure says which file of a person is meant: give --identifier, or --file")
		}
		return nil
	}
	if d.deposit.File != "" {
		return usagef("--file and --identifier both name the file: give one")
	}
	if d.person.from == "-" && d.filesFrom == "-" {
		return usagef("--from and --files-from cannot both read standard input")
	}
	d.deposit.Person, err = c.oneIdentifier(&d.person, nil)
	return err
}

// complete puts the scan and paper flags into the fields.
func (d *depositFlags) complete() error {
	if d.paperKept != "" {
		if err := setBool(&d.scan.PaperKept, d.paperKept); err != nil {
			return usagef("--paper-kept %q: want true or false", d.paperKept)
		}
	}
	if d.scan != (archive.Scan{}) {
		d.flags.Scan = &d.scan
	}
	if d.paper != (archive.PhysicalObject{}) {
		d.flags.Paper = &d.paper
	}
	return nil
}

// depositAll deposits each group of paths as one operation, --jobs of them at a
// time, and prints each as it is acknowledged.
func (c *cli) depositAll(ctx context.Context, a *archive.Archive, d *depositFlags, meta *metadata, groups [][]string) error {
	var mu sync.Mutex // of the output
	var wg sync.WaitGroup
	var errs []error
	slots := make(chan struct{}, d.jobs)
	for _, paths := range groups {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			done, err := c.depositOne(ctx, a, d, meta, paths)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				err = c.printDeposited(done, d.receipt)
			}
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (c *cli) depositOne(ctx context.Context, a *archive.Archive, d *depositFlags, meta *metadata, paths []string) (*archive.Deposited, error) {
	dep := d.deposit
	var nodes []node
	var err error
	if len(paths) > 0 {
		if nodes, err = walk(c.files, paths, d.follow); err != nil {
			return nil, fmt.Errorf("nothing was deposited:\n%w", err)
		}
	}
	if !d.each {
		if err := meta.unused(nodes); err != nil {
			return nil, err
		}
	}
	if dep.Units, err = d.units(c.files, nodes, meta); err != nil {
		return nil, err
	}
	bar := c.newBar(totalSize(nodes), "depositing")
	defer bar.finish()
	if !d.each {
		dep.Progress = bar.add
	}
	return a.Deposit(ctx, c.agent, dep)
}

// units turns what was walked into units. Without any file there is paper only.
func (d *depositFlags) units(files remote.Files, nodes []node, meta *metadata) ([]archive.NewUnit, error) {
	if len(nodes) == 0 {
		f := meta.all.over(d.flags)
		if f.Channel != archive.Paper {
			return nil, usagef("no PATH was given; only --channel paper has no file")
		}
		return []archive.NewUnit{newUnit(f, -1, "paper")}, nil
	}
	if (d.flags.Title != "" || d.flags.Description != "") && len(roots(nodes)) > 1 {
		return nil, usagef("--title and --description are for one file or folder; several were given: use --metadata")
	}
	units := make([]archive.NewUnit, len(nodes))
	for i, n := range nodes {
		flags := d.flags
		if n.parent >= 0 { // title and description are the top's
			flags.Title, flags.Description = "", ""
		}
		if n.info.IsDir() { // type and fields are those of documents
			flags.Document, flags.Custom = "", nil
		}
		f := meta.of(n, flags)
		if f.Title == "" {
			f.Title = n.name
		}
		if n.info.IsDir() {
			f.Channel, f.Scan, f.Paper, f.Document = "", nil, nil, ""
		} else if f.Channel == "" {
			f.Channel = archive.Digital
		}
		units[i] = newUnit(f, n.parent, fmt.Sprintf("%q", n.path))
		if !n.info.IsDir() {
			units[i].Content = n.content(files)
		}
	}
	return units, nil
}

func newUnit(f fields, parent int, where string) archive.NewUnit {
	return archive.NewUnit{Parent: parent, Where: where, Title: f.Title, Description: f.Description, StartDate: f.StartDate,
		EndDate: f.EndDate, Subject: f.Subject, Channel: f.Channel, Scan: f.Scan, Paper: f.Paper, Rule: f.Rule, RuleStart: f.RuleStart, Access: f.Access, AccessStart: f.AccessStart, Custom: f.Custom, Document: f.Document}
}

// depositJSON is the JSON of a deposit.
type depositJSON struct {
	*archive.Deposited
	Ledger struct {
		Index int64 `json:"index"`
		Size  int64 `json:"size"`
	} `json:"ledger"`
	Receipt string `json:"receipt"` // C2SP tlog-proof
}

func (c *cli) printDeposited(d *archive.Deposited, receiptFile string) error {
	size := checkpointSize(d.Receipt.Checkpoint)
	if receiptFile != "" {
		if err := c.writeFile(receiptFile, d.Receipt.Marshal()); err != nil {
			return fmt.Errorf("the deposit is archived as %s; writing its receipt: %w", d.Operation, err)
		}
	}
	if c.json {
		out := depositJSON{Deposited: d, Receipt: string(d.Receipt.Marshal())}
		out.Ledger.Index, out.Ledger.Size = d.Receipt.Index, size
		return c.printJSON(out)
	}
	for _, u := range d.Units {
		c.printArchived(u)
	}
	c.printf("archived: operation %s, entry %d of a ledger of %d\n", d.Operation, d.Receipt.Index, size)
	return nil
}

// printArchived prints a unit that was archived, and its objects.
func (c *cli) printArchived(u archive.DepositedUnit) {
	c.printf("unit   %s  %s\n", u.ID, u.Title)
	for _, o := range u.Objects {
		c.printf("object %s  sha256 %s  %s  %s\n", o.ID, o.SHA256, bytesText(o.Size), orText(o.Format, "unknown format"))
	}
}

// checkpointSize reads the size in a checkpoint that the archive has just signed.
func checkpointSize(signed []byte) (n int64) {
	fmt.Sscanf(string(afterLine(signed)), "%d", &n)
	return n
}

func afterLine(b []byte) []byte {
	for i, x := range b {
		if x == '\n' {
			return b[i+1:]
		}
	}
	return nil
}
