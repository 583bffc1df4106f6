package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/api/remote"
	"sae/archive"
	"sae/seda"
)

func (c *cli) sedaCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "seda",
		Short: "Check and draw SEDA messages and packages, without an archive",
	}
	cmd.AddCommand(c.sedaCheckCmd(), c.sedaTreeCmd(), c.sedaPackCmd())
	return cmd
}

// checkFlags are the flags of seda check.
type checkFlags struct {
	mode      string
	agreement string
	schema    string
}

func (c *cli) sedaCheckCmd() *cobra.Command {
	f := &checkFlags{}
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Say all that is wrong with a SEDA message or package, without depositing it",
		Long: `Say all that is wrong with a SEDA message or package (SIP, DIP), without an archive
and without depositing it. FILE is a zip, a tar, a tar.gz, a folder, or a manifest.

Everything is checked, and all findings are reported: the XML, the elements, their
order and types after SEDA 2.1, 2.2 or 2.3, identifiers and references, cycles, usages,
dates, each file with its size, digest and format. An error refuses the transfer (exit 1),
a warning does not (exit 0).

The mode "strict" wants what the official schema wants. "tolerant" accepts, with warnings,
what is met in practice: elements of a later version, and free elements where the schema
foresees extensions. What needs the archive's own rules, agreements and agencies is
checked when depositing.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.sedaCheck(cmd.Context(), f, args[0]) },
	}
	cmd.Flags().StringVar(&f.mode, "mode", "tolerant", "strict or tolerant")
	cmd.Flags().StringVar(&f.agreement, "agreement", "", "archival agreement to assume when the manifest names none")
	cmd.Flags().StringVar(&f.schema, "schema", "", "main file of a schema to apply as well, official or of a profile")
	return cmd
}

// sedaJSON is the JSON of a check.
type sedaJSON struct {
	File       string        `json:"file"`
	Acceptable bool          `json:"acceptable"`
	Mode       string        `json:"mode"`
	Version    string        `json:"version,omitempty"`
	Header     *seda.Header  `json:"header,omitempty"`
	Counts     *seda.Counts  `json:"counts,omitempty"`
	Errors     int           `json:"errors"`
	Warnings   int           `json:"warnings"`
	Truncated  bool          `json:"truncated,omitempty"`
	Findings   []findingJSON `json:"findings"`
}

type findingJSON struct {
	seda.Finding
	French  string `json:"fr"`
	English string `json:"en"`
}

func findingsJSON(fs *seda.Findings) []findingJSON {
	out := []findingJSON{}
	for _, f := range fs.List {
		out = append(out, findingJSON{f, f.Sentence(seda.French), f.Sentence(seda.English)})
	}
	return out
}

func (c *cli) sedaCheck(ctx context.Context, f *checkFlags, file string) error {
	mode, err := seda.ParseMode(f.mode)
	if err != nil {
		return usageError{err}
	}
	var findings seda.Findings
	t, err := checkPackage(ctx, file, seda.Options{Mode: mode, Agreement: f.agreement}, &findings)
	if err != nil {
		return fmt.Errorf("checking %s: %w", file, err)
	}
	if t != nil {
		defer t.Package.Close()
		if f.schema != "" {
			s, err := seda.LoadSchema(f.schema)
			if err == nil {
				err = s.ValidateManifest(t.Package, &findings)
			}
			if err != nil {
				return err
			}
		}
	}
	if err := c.printCheck(file, mode, t, &findings); err != nil {
		return err
	}
	if findings.Refused() {
		return errSaid
	}
	return nil
}

// checkPackage opens and checks a package whole; there is no transfer when it cannot be
// opened.
func checkPackage(ctx context.Context, file string, o seda.Options, findings *seda.Findings) (*seda.Transfer, error) {
	p, err := seda.OpenPackage(file, findings)
	if err != nil || p == nil {
		return nil, err
	}
	t, err := seda.Check(p, o)
	if err == nil {
		err = t.Verify(ctx, archive.Identify)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	for _, f := range t.Findings.List {
		findings.Add(f)
	}
	findings.Errors, findings.Warnings = max(findings.Errors, t.Findings.Errors), max(findings.Warnings, t.Findings.Warnings)
	return t, nil
}

func (c *cli) printCheck(file string, mode seda.Mode, t *seda.Transfer, fs *seda.Findings) error {
	if c.json {
		out := sedaJSON{File: file, Acceptable: !fs.Refused(), Mode: mode.String(), Errors: fs.Errors, Warnings: fs.Warnings,
			Truncated: fs.Truncated(), Findings: findingsJSON(fs)}
		if t != nil {
			out.Version, out.Header, out.Counts = t.Header.Version.String(), &t.Header, &t.Counts
		}
		return c.printJSON(out)
	}
	if t != nil {
		c.printf("%s of SEDA %s, checked %sly: %d units, %d groups, %d binary and %d physical objects, %s\n", t.Header.Message, t.Header.Version, mode,
			t.Counts.Units, t.Counts.Groups, t.Counts.Binary, t.Counts.Physical, bytesText(t.Counts.Bytes))
	}
	for _, f := range fs.List {
		c.printFinding(f)
	}
	if fs.Truncated() {
		c.printf("more findings were made than are shown\n")
	}
	verdict := "acceptable"
	if fs.Refused() {
		verdict = "refused"
	}
	c.printf("%s: %s, %d errors, %d warnings\n", file, verdict, fs.Errors, fs.Warnings)
	return nil
}

// printFinding prints a finding on two or three lines.
func (c *cli) printFinding(f seda.Finding) {
	where := []string{}
	if f.Line > 0 {
		where = append(where, fmt.Sprintf("line %d", f.Line))
	}
	if f.File != "" {
		where = append(where, f.File)
	}
	c.printf("%-8s%s  %s\n        %s\n        %s\n", strings.ToUpper(f.Severity.String()), f.Code, strings.Join(where, ", "), f.Sentence(seda.English), f.Sentence(seda.French))
	if f.Path != "" {
		c.printf("        %s\n", f.Path)
	}
}

func (c *cli) sedaTreeCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "tree FILE",
		Short: "Draw the archive units of a SEDA transfer and their data objects",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			var findings seda.Findings
			p, err := seda.OpenPackage(args[0], &findings)
			if err != nil {
				return fmt.Errorf("reading %s: %w", args[0], err)
			}
			if p == nil {
				return errors.New(findings.List[0].String())
			}
			defer p.Close()
			t, err := seda.Check(p, seda.Options{Agreement: "any"})
			if err != nil {
				return fmt.Errorf("reading %s: %w", args[0], err)
			}
			for _, f := range t.Findings.List {
				if f.Code == seda.XMLSyntax || f.Code == seda.VersionUnknown || f.Code == seda.RootUnknown || f.Code == seda.UnitCycle {
					return fmt.Errorf("%s: %s", args[0], f)
				}
			}
			return c.printTree(t)
		},
	}
}

// treeUnit is a unit as it is drawn.
type treeUnit struct {
	ID       string       `json:"id"`
	Title    string       `json:"title"`
	Level    string       `json:"level,omitempty"`
	Objects  []treeObject `json:"objects,omitempty"`
	Children []*treeUnit  `json:"children,omitempty"`
	inside   bool
	drawn    bool
}

type treeObject struct {
	ID    string `json:"id"`
	Usage string `json:"usage"`
	File  string `json:"file,omitempty"`
	Size  int64  `json:"size,omitempty"`
}

func (c *cli) printTree(t *seda.Transfer) error {
	units := make([]*treeUnit, t.Counts.Units)
	parents := make([][]int, t.Counts.Units)
	err := t.Walk(func(u *seda.Unit) error {
		n := &treeUnit{ID: u.ID, Title: u.Title, Level: u.Level}
		for _, o := range u.Objects {
			d := t.Objects[o.Index]
			n.Objects = append(n.Objects, treeObject{d.ID, d.Usage, d.URI, max(d.Size, 0)})
		}
		units[u.Index], parents[u.Index] = n, u.Parents
		return nil
	})
	if err != nil {
		return err
	}
	for i, above := range parents {
		for _, p := range above {
			units[p].Children = append(units[p].Children, units[i])
			units[i].inside = true
		}
	}
	var top []*treeUnit
	for _, u := range units {
		if !u.inside {
			top = append(top, u)
		}
	}
	if c.json {
		return c.printJSON(top)
	}
	c.printf("%s %s, SEDA %s\n", t.Header.Message, t.Header.Identifier, t.Header.Version)
	for i, u := range top {
		c.drawUnit(u, "", i == len(top)-1)
	}
	return nil
}

// drawUnit draws a unit below a prefix; one with several parents is drawn whole once.
func (c *cli) drawUnit(u *treeUnit, prefix string, last bool) {
	branch, below := "├── ", "│   "
	if last {
		branch, below = "└── ", "    "
	}
	level := ""
	if u.Level != "" {
		level = " (" + u.Level + ")"
	}
	if u.drawn && len(u.Children)+len(u.Objects) > 0 {
		c.printf("%s%s%s%s [%s, drawn above]\n", prefix, branch, u.Title, level, u.ID)
		return
	}
	u.drawn = true
	c.printf("%s%s%s%s [%s]\n", prefix, branch, u.Title, level, u.ID)
	for i, o := range u.Objects {
		mark := "├─ "
		if i == len(u.Objects)-1 && len(u.Children) == 0 {
			mark = "└─ "
		}
		c.printf("%s%s%s %s %s\n", prefix+below, mark, o.Usage, o.File, bytesText(o.Size))
	}
	for i, child := range u.Children {
		c.drawUnit(child, prefix+below, i == len(u.Children)-1)
	}
}

func (c *cli) sedaPackCmd() *cobra.Command {
	r := seda.PackRequest{Identify: archive.Identify}
	var version, output string
	cmd := &cobra.Command{
		Use:   "pack FOLDER",
		Short: "Make a SEDA transfer (SIP) of a folder and a CSV that describes it",
		Long: `Make a SEDA transfer (SIP) of a folder and a CSV that describes it.

The CSV has a line for each unit. File is its path in the folder (a folder is a unit
that holds those below it; "." is the folder itself); instead, ID and ParentID can say
which unit holds which. The other columns are elements of Content, with or without
"Content." before them, and of Management: DescriptionLevel, Title, StartDate,
Keyword.KeywordContent, Management.AppraisalRule.Rule, Management.AppraisalRule.FinalAction...
A number makes several of an element: Tag.0, Tag.1; Management.AccessRule.Rule.0,
Management.AccessRule.StartDate.0. ".attr" gives it attributes: Title.attr with
xml:lang="fr". Commas or semicolons stand between columns.

The transfer is checked before it is given: what is wrong is said, and nothing is
written.`,
		Example: "  sae seda pack export-ged/ --metadata metadata.csv --agreement AV-MDPH --originating-agency MDPH -o SIP.zip",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if r.Version, err = seda.ParseVersion(version); err != nil {
				return usageError{err}
			}
			r.Folder = args[0]
			if r.Header.Identifier == "" {
				r.Header.Identifier = "transfer-" + time.Now().UTC().Format("20060102T150405.000Z")
			}
			return c.pack(cmd.Context(), r, output)
		},
	}
	f := cmd.Flags()
	f.StringVar(&r.CSV, "metadata", "", "the CSV")
	f.StringVarP(&output, "output", "o", "", "file to write (must not exist)")
	f.StringVar(&version, "seda", "2.2", "version of SEDA: 2.1, 2.2 or 2.3")
	f.BoolVar(&r.All, "all", false, "take files that the CSV does not name, too")
	f.StringVar(&r.Header.Identifier, "identifier", "", "MessageIdentifier (default made from the time)")
	f.StringVar(&r.Header.Comment, "comment", "", "Comment")
	f.StringVar(&r.Header.Agreement, "agreement", "general", "ArchivalAgreement")
	f.StringVar(&r.Header.ArchivalAgency, "archive", "", "ArchivalAgency")
	f.StringVar(&r.Header.TransferringAgency, "transferring-agency", "", "TransferringAgency")
	f.StringVar(&r.Header.OriginatingAgency, "originating-agency", "", "OriginatingAgencyIdentifier")
	f.StringVar(&r.Header.SubmissionAgency, "submission-agency", "", "SubmissionAgencyIdentifier")
	cmd.MarkFlagRequired("metadata")
	cmd.MarkFlagRequired("output")
	return cmd
}

// pack writes the package and checks it; one that would be refused is not kept.
func (c *cli) pack(ctx context.Context, r seda.PackRequest, output string) error {
	var counts *seda.Counts
	var findings seda.Findings
	err := writeChecked(output, func(w io.Writer) (err error) {
		counts, err = seda.Pack(ctx, r, w)
		return err
	}, func(file string) error {
		t, err := checkPackage(ctx, file, seda.Options{Mode: seda.Strict}, &findings)
		if err != nil {
			return err
		}
		if t != nil {
			t.Package.Close()
		}
		if findings.Refused() {
			return errSaid
		}
		return nil
	})
	if errors.Is(err, errSaid) {
		for _, f := range findings.List {
			c.printFinding(f)
		}
		c.printf("%s is not written: the transfer would be refused, %d errors\n", output, findings.Errors)
		return errSaid
	}
	if err != nil {
		return fmt.Errorf("packing %s: %w", r.Folder, err)
	}
	if c.json {
		return c.printJSON(map[string]any{"file": output, "messageIdentifier": r.Header.Identifier, "counts": counts})
	}
	c.printf("%s: transfer %s of SEDA %s, %d units, %d objects, %s\n", output, r.Header.Identifier, r.Version, counts.Units, counts.Binary, bytesText(counts.Bytes))
	return nil
}

// writeChecked writes a new file by f, and gives it its name when check agrees. It is of this machine:
// a package is made where its files are.
func writeChecked(path string, f func(io.Writer) error, check func(file string) error) error {
	w, err := remote.Disk{}.Begin(path)
	if err != nil {
		return err
	}
	if err = f(w); err == nil {
		err = check(w.Name())
	}
	if err != nil {
		w.Drop() // the error says more
		return err
	}
	return w.Keep()
}
