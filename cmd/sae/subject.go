package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sae/archive"
)

func (c *cli) subjectCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "subject",
		Short: "Data subjects, whom citizen files concern: new, find, show, list, link, unlink, merge, split, rectify",
		Long: `A data subject is the person whom citizen files concern. It has names and a birth, and
federated identifiers: ISSUER#SUB, the issuer and the sub of an OpenID Connect provider. Of
identifiers the archive keeps keyed pseudonyms alone, never the sub.

What stands on a command line shows in the list of processes. Names and identifiers can
come from a file instead, or from standard input: --from FILE.json, --from -
  {"familyName": "...", "birthName": "...", "givenNames": "...", "birthDate": "YYYY-MM-DD",
   "birthPlace": "...", "identifiers": ["ISSUER#SUB"]}
See docs/files.md.`,
	}
	cmd.AddCommand(c.subjectNewCmd(), c.purposeFlags(c.subjectFindCmd()), c.purposeFlags(c.subjectShowCmd()), c.purposeFlags(c.subjectListCmd()), c.subjectLinkCmd(), c.subjectUnlinkCmd(),
		c.subjectMergeCmd(), c.subjectSplitCmd(), c.subjectRectifyCmd())
	return cmd
}

// personFlags say who somebody is: in flags, or in a file.
type personFlags struct {
	archive.PersonData
	Identifiers []string `json:"identifiers"`

	from string
}

const fromHelp = "names and identifiers from a JSON file, - for standard input, so that they do not show in the list of processes"

func (p *personFlags) names(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.FamilyName, "family-name", "", "family name")
	f.StringVar(&p.BirthName, "birth-name", "", "name at birth")
	f.StringVar(&p.GivenNames, "given-names", "", "given names")
	f.StringVar(&p.BirthDate, "birth-date", "", "day of birth, YYYY-MM-DD")
	f.StringVar(&p.BirthPlace, "birth-place", "", "place of birth")
}

func (p *personFlags) identifiers(cmd *cobra.Command, usage string) {
	cmd.Flags().StringArrayVar(&p.Identifiers, "identifier", nil, usage+": ISSUER#SUB; may be repeated")
}

func (p *personFlags) file(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.from, "from", "", fromHelp)
}

// maxPersonFile bounds the file of --from.
const maxPersonFile = 1 << 20

// read adds what the file of --from says, and gives the identifiers. Flags win over the file.
func (c *cli) readPersonFlags(p *personFlags) ([]archive.FederatedID, error) {
	if p.from != "" {
		said, err := c.readPerson(p.from)
		if err != nil {
			return nil, err
		}
		for _, f := range []struct {
			to   *string
			from string
		}{{&p.FamilyName, said.FamilyName}, {&p.BirthName, said.BirthName}, {&p.GivenNames, said.GivenNames}, {&p.BirthDate, said.BirthDate}, {&p.BirthPlace, said.BirthPlace}} {
			*f.to = orText(*f.to, f.from)
		}
		p.Identifiers = append(p.Identifiers, said.Identifiers...)
	}
	return parseIdentifiers(p.Identifiers)
}

func (c *cli) readPerson(path string) (p personFlags, err error) {
	in := c.in
	if path != "-" {
		f, err := c.files.Open(path)
		if err != nil {
			return p, err
		}
		defer f.Close()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, maxPersonFile+1))
	if err == nil && len(b) > maxPersonFile {
		err = fmt.Errorf("more than %d bytes", maxPersonFile)
	}
	if err != nil {
		return p, fmt.Errorf("reading --from %s: %w", path, err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		line, col := position(b, errorOffset(err, d.InputOffset()))
		return p, fmt.Errorf("--from %s:%d:%d: %w", path, line, col, plainJSONError(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return p, fmt.Errorf("--from %s: something stands behind the JSON object", path)
	}
	return p, nil
}

func parseIdentifiers(all []string) (ids []archive.FederatedID, err error) {
	for _, s := range all {
		id, err := archive.ParseFederatedID(s)
		if err != nil {
			return nil, usageError{err}
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// oneIdentifier is the one that is given, as an argument or in the file of --from.
func (c *cli) oneIdentifier(p *personFlags, args []string) (archive.FederatedID, error) {
	p.Identifiers = append(p.Identifiers, args...)
	ids, err := c.readPersonFlags(p)
	if err == nil && len(ids) != 1 {
		err = usagef("%d identifiers: name one, ISSUER#SUB, or give it in --from", len(ids))
	}
	if err != nil {
		return archive.FederatedID{}, err
	}
	return ids[0], nil
}

func (c *cli) subjectNewCmd() *cobra.Command {
	var tenant string
	p := &personFlags{}
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Record a data subject",
		Example: `  sae subject new --family-name Martin --given-names 'Jeanne Louise' --birth-date 1954-02-11 \
      --identifier https://fournisseur.example#af31-0007
  sae subject new --from - < person.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ids, err := c.readPersonFlags(p)
			if err != nil {
				return err
			}
			return c.open(false, func(a *archive.Archive) error {
				s, err := a.NewSubject(cmd.Context(), c.agent, tenant, p.PersonData, ids)
				if err != nil {
					return err
				}
				return c.toldSubject(a, s, "subject %s (ledger entry %d)\n", s.ID, s.Entry)
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	p.names(cmd)
	p.identifiers(cmd, "federated identifier")
	p.file(cmd)
	return cmd
}

// toldSubject says what was done to a subject; as JSON, the subject as who did it may see it.
func (c *cli) toldSubject(a *archive.Archive, s *archive.Subject, format string, args ...any) error {
	if !c.json {
		c.printf(format, args...)
		return nil
	}
	shown, err := c.reader(a).Subject(s.ID)
	if err != nil {
		return err
	}
	return c.printJSON(shown)
}

func (c *cli) subjectFindCmd() *cobra.Command {
	var tenant string
	p := &personFlags{}
	cmd := &cobra.Command{
		Use:   "find",
		Short: "Find a data subject by an identifier, or by the family name (or that at birth)",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			ids, err := c.readPersonFlags(p)
			switch {
			case err != nil:
				return err
			case len(ids) > 1, len(ids) == 1 && p.PersonData != archive.PersonData{}, len(ids) == 0 && p.FamilyName == "":
				return usagef("find by one --identifier, or by --family-name with or without --given-names and --birth-date")
			}
			return c.open(true, func(a *archive.Archive) error {
				found := []*archive.Subject{}
				if len(ids) == 0 {
					found, err = c.reader(a).Subjects(tenant, p.PersonData)
				} else {
					var s *archive.Subject
					s, err = c.reader(a).FindSubject(tenant, ids[0])
					found = append(found, s)
				}
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(append([]*archive.Subject{}, found...))
				}
				return c.printSubjects(found)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	f.StringVar(&p.FamilyName, "family-name", "", "family name, or name at birth; accents, case, dashes do not matter")
	f.StringVar(&p.GivenNames, "given-names", "", "how the given names begin")
	f.StringVar(&p.BirthDate, "birth-date", "", "day of birth, YYYY-MM-DD")
	f.StringArrayVar(&p.Identifiers, "identifier", nil, "federated identifier: ISSUER#SUB")
	p.file(cmd)
	return cmd
}

// printSubjects prints a line for each subject, which begins with its identifier.
func (c *cli) printSubjects(all []*archive.Subject) error {
	return c.table(func(w io.Writer) {
		for _, s := range all {
			files := fmt.Sprintf("%d files", len(s.Files))
			if s.MergedInto != "" {
				files = "merged into " + s.MergedInto
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", s.ID, orText(s.FamilyName, hushedText(s)), s.GivenNames, s.BirthDate, files)
		}
	})
}

func hushedText(s *archive.Subject) string {
	if s.Withheld {
		return "(for who has a role that reads)"
	}
	return orText(s.BirthName, "-")
}

func (c *cli) subjectShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show SUBJECT",
		Short: "Show a data subject: names, identifiers by issuer and date, files, who was merged into it",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.open(true, func(a *archive.Archive) error {
				s, err := c.reader(a).Subject(args[0])
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(s)
				}
				return c.printSubject(a, s)
			})
		},
	}
}

func (c *cli) printSubject(a *archive.Archive, s *archive.Subject) error {
	open := map[string]*archive.File{} // to the reader
	for f := (archive.FileFilter{Tenant: s.Tenant, Person: s.ID}); ; {
		page, err := c.reader(a).Files(f)
		if err != nil {
			return err
		}
		for _, file := range page.Files {
			open[file.Unit] = file
		}
		if f.After = page.Next; f.After == "" {
			break
		}
	}
	return c.table(func(w io.Writer) {
		fmt.Fprintf(w, "subject\t%s (version %d, ledger entry %d)\n", s.ID, s.Version, s.Entry)
		printPerson(w, &s.Person)
		if s.Withheld {
			fmt.Fprintf(w, "names\t%s\n", hushedText(s))
		}
		for _, m := range s.Merged {
			fmt.Fprintf(w, "merged\t%s\n", m)
		}
		for _, f := range s.Files {
			said := "(not open to you)"
			if file := open[f.Unit]; file != nil {
				said = fmt.Sprintf("%s  %s, %s", file.Number, file.Procedure, file.State)
			}
			fmt.Fprintf(w, "file\t%s  %s%s\n", f.Unit, said, onlyIf(f.Subject != s.ID, ", of "+f.Subject))
		}
	})
}

// printPerson prints what the record of a subject says.
func printPerson(w io.Writer, p *archive.Person) {
	for _, x := range [][2]string{{"family name", p.FamilyName}, {"birth name", p.BirthName}, {"given names", p.GivenNames}, {"born", p.BirthDate}, {"birth place", p.BirthPlace},
		{"merged into", p.MergedInto}, {"split from", p.SplitFrom}} {
		if x[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", x[0], x[1])
		}
	}
	for _, i := range p.Identities {
		fmt.Fprintf(w, "identifier\tof %s, linked %s\n", i.Issuer, i.Linked.UTC().Format(time.DateOnly))
	}
}

func (c *cli) subjectListCmd() *cobra.Command {
	var tenant, after string
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List data subjects, a page at a time",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				page, err := c.reader(a).ListSubjects(tenant, after, limit)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(page)
				}
				if err := c.printSubjects(page.Subjects); err != nil {
					return err
				}
				c.printMore(page.Next)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().IntVar(&limit, "limit", 100, "subjects on the page")
	cmd.Flags().StringVar(&after, "after", "", "cursor that the page before gave")
	return cmd
}

// printMore says how the next page is asked for, when there is one.
func (c *cli) printMore(next string) {
	if next != "" {
		c.printf("more: --after %s\n", next)
	}
}

func (c *cli) subjectLinkCmd() *cobra.Command {
	return c.identityCmd("link", "Link a federated identifier to a data subject", func(cmd *cobra.Command, a *archive.Archive, subject string, id archive.FederatedID, reason string) (*archive.Subject, error) {
		return a.LinkIdentity(cmd.Context(), c.agent, subject, id, reason)
	})
}

func (c *cli) subjectUnlinkCmd() *cobra.Command {
	return c.identityCmd("unlink", "Take a federated identifier from a data subject", func(cmd *cobra.Command, a *archive.Archive, subject string, id archive.FederatedID, reason string) (*archive.Subject, error) {
		return a.UnlinkIdentity(cmd.Context(), c.agent, subject, id, reason)
	})
}

func (c *cli) identityCmd(name, short string, do func(*cobra.Command, *archive.Archive, string, archive.FederatedID, string) (*archive.Subject, error)) *cobra.Command {
	var reason string
	p := &personFlags{}
	cmd := &cobra.Command{
		Use:   name + " SUBJECT [ISSUER#SUB]",
		Short: short,
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := c.oneIdentifier(p, args[1:])
			if err != nil {
				return err
			}
			return c.open(false, func(a *archive.Archive) error {
				s, err := do(cmd, a, args[0], id, reason)
				if err != nil {
					return err
				}
				return c.toldSubject(a, s, "subject %s: %sed one of %s, it has %d identifiers (ledger entry %d)\n", s.ID, name, id.Issuer, len(s.Identities), s.Entry)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept enciphered")
	p.file(cmd)
	return cmd
}

func (c *cli) subjectMergeCmd() *cobra.Command {
	var into, reason string
	cmd := &cobra.Command{
		Use:   "merge SUBJECT --into SUBJECT",
		Short: "Say that a data subject is the same person as another; sae subject split takes it back",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if into == "" {
				return usagef("name the other one: --into SUBJECT")
			}
			return c.open(false, func(a *archive.Archive) error {
				s, err := a.MergeSubjects(cmd.Context(), c.agent, args[0], into, reason)
				if err != nil {
					return err
				}
				return c.toldSubject(a, s, "subject %s is merged into %s (ledger entry %d)\n", s.ID, s.MergedInto, s.Entry)
			})
		},
	}
	cmd.Flags().StringVar(&into, "into", "", "the subject that stays")
	cmd.Flags().StringVar(&reason, "reason", "", "how it is known; kept enciphered")
	return cmd
}

func (c *cli) subjectSplitCmd() *cobra.Command {
	var files []string
	var r archive.SplitRequest
	p := &personFlags{}
	cmd := &cobra.Command{
		Use:   "split SUBJECT",
		Short: "Take apart what is not one person: who was merged, or identifiers and files for a new subject",
		Example: `  sae subject split h… --merged h… --reason 'deux personnes de même nom'
  sae subject split h… --file MDPH-2026-00017 --family-name Martin --reason 'deux personnes'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := c.readPersonFlags(p)
			if err != nil {
				return err
			}
			r.Identities, r.Person = ids, p.PersonData
			return c.open(false, func(a *archive.Archive) error {
				if r.Files, err = unitsOfFiles(a, args[0], files); err != nil {
					return err
				}
				s, err := a.SplitSubject(cmd.Context(), c.agent, args[0], r)
				if err != nil {
					return err
				}
				return c.toldSubject(a, s, "subject %s was split from %s (ledger entry %d)\n", s.ID, args[0], s.Entry)
			})
		},
	}
	cmd.Flags().StringVar(&r.Merged, "merged", "", "a subject that was merged into it: it comes out as it was")
	cmd.Flags().StringArrayVar(&files, "file", nil, "citizen file of the new subject, its number or unit; may be repeated")
	cmd.Flags().StringVar(&r.Reason, "reason", "", "how it is known; kept enciphered")
	p.identifiers(cmd, "federated identifier of the new subject")
	p.names(cmd)
	p.file(cmd)
	return cmd
}

// unitsOfFiles are the units of citizen files of a subject's tenant.
func unitsOfFiles(a *archive.Archive, subject string, names []string) (units []string, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	s, err := a.Subject(subject)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, name := range names {
		unit, err := a.FileOf(s.Tenant, name)
		units, errs = append(units, unit), append(errs, err)
	}
	return units, errors.Join(errs...)
}

func (c *cli) subjectRectifyCmd() *cobra.Command {
	var reason string
	p := &personFlags{}
	cmd := &cobra.Command{
		Use:   "rectify SUBJECT",
		Short: "Correct names and birth of a data subject; what is not named stays",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ids, err := c.readPersonFlags(p)
			if err == nil && len(ids) > 0 {
				err = usagef("identifiers are not corrected: sae subject link, unlink")
			}
			if err != nil {
				return err
			}
			return c.open(false, func(a *archive.Archive) error {
				s, err := a.RectifySubject(cmd.Context(), c.agent, args[0], "", p.PersonData, reason)
				if err != nil {
					return err
				}
				return c.toldSubject(a, s, "subject %s, version %d (ledger entry %d)\n", s.ID, s.Version, s.Entry)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept enciphered")
	p.names(cmd)
	p.file(cmd)
	return cmd
}
