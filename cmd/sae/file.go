package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/retention"
)

func (c *cli) fileCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "file",
		Short: "Citizen files: open, show, list, event, close, reopen, take-back",
		Long: `A citizen file (dossier usager) is a unit that belongs to a procedure and holds the documents of
one case. It is named by its number or its unit. Documents go into it by sae deposit --file.
What happens to it (a decision, a death, its closing) starts the rules that wait for it. See
docs/files.md.`,
	}
	cmd.AddCommand(c.fileOpenCmd(), c.purposeFlags(c.fileShowCmd()), c.purposeFlags(c.fileListCmd()), c.fileEventCmd(), c.fileCloseCmd(), c.fileReopenCmd(), c.fileTakeBackCmd())
	return cmd
}

func (c *cli) fileOpenCmd() *cobra.Command {
	var n archive.NewFile
	var values []string
	p := &personFlags{}
	cmd := &cobra.Command{
		Use:   "open --procedure PROCEDURE --number NUMBER",
		Short: "Open a citizen file",
		Example: `  sae file open --procedure MDPH --number MDPH-2026-00017 --subject h… --field depot=2026-03-02 --field nature=première
  sae file open --procedure APA --number APA-2026-4 --from identifiers.json --field depot=2026-03-02`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ids, err := c.readPersonFlags(p)
			if err == nil {
				n.Fields, err = parseValues(values)
			}
			if err != nil {
				return err
			}
			return c.open(false, func(a *archive.Archive) error {
				for _, id := range ids {
					s, err := a.FindSubject(n.Tenant, id)
					if err != nil {
						return err
					}
					n.Persons = append(n.Persons, s.ID)
				}
				d, err := a.OpenFile(cmd.Context(), c.agent, n)
				if err != nil {
					return err
				}
				return c.printDeposited(d, "")
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&n.Tenant, "tenant", "", "archival agency (default the first)")
	f.StringVar(&n.Procedure, "procedure", "", "code of the procedure: sae procedure list")
	f.StringVar(&n.Number, "number", "", "number of the file")
	f.StringVar(&n.Title, "title", "", "title (default the name of the procedure and the number)")
	f.StringVar(&n.Opened, "opened", "", "day on which it was opened, YYYY-MM-DD (default today)")
	f.StringArrayVar(&n.Persons, "subject", nil, "data subject whom it concerns; may be repeated")
	p.identifiers(cmd, "federated identifier of one whom it concerns")
	f.StringVar(&p.from, "from", "", `JSON file with "identifiers": [...] of whom it concerns, - for standard input, so that they do not show in the list of processes`)
	f.StringArrayVar(&values, "field", nil, "field of the procedure, NAME=VALUE; may be repeated")
	f.StringVar(&n.Rule, "rule", "", "appraisal rule, one of the procedure's (default its first)")
	f.StringVar(&n.Access, "access-rule", "", "access rule, one of the procedure's (default its first)")
	return cmd
}

// parseValues reads NAME=VALUE; nil for none.
func parseValues(all []string) (map[string]string, error) {
	var out map[string]string
	for _, s := range all {
		name, value, ok := strings.Cut(s, "=")
		_, twice := out[name]
		switch {
		case !ok || name == "":
			return nil, usagef("--field %q: want NAME=VALUE", s)
		case twice:
			return nil, usagef("--field %s is given twice", name)
		case out == nil:
			out = map[string]string{}
		}
		out[name] = value
	}
	return out, nil
}

func (c *cli) fileShowCmd() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "show NUMBER|UNIT",
		Short: "Show a citizen file: persons, events, documents, what is missing, rules, holds",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.open(true, func(a *archive.Archive) error {
				f, err := c.reader(a).File(tenant, args[0])
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(f)
				}
				return c.printFile(f)
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	return cmd
}

func (c *cli) printFile(f *archive.File) error {
	return c.table(func(w io.Writer) {
		fmt.Fprintf(w, "file\t%s\n", strings.TrimSpace(f.Number+" (unit "+f.Unit+")"))
		if f.Closed != nil {
			printClosed(w, f.Closed)
		} else {
			fmt.Fprintf(w, "title\t%s\n", f.Title)
		}
		fmt.Fprintf(w, "procedure\t%s\n", f.Procedure)
		fmt.Fprintf(w, "state\t%s%s\n", f.State, onlyIf(f.Opened != "", ", opened on "+f.Opened))
		for _, p := range f.Persons {
			fmt.Fprintf(w, "person\t%s\n", p)
		}
		for _, k := range slices.Sorted(maps.Keys(f.Fields)) {
			fmt.Fprintf(w, "field\t%s = %s\n", k, f.Fields[k])
		}
		for _, e := range f.Events {
			fmt.Fprintf(w, "event\t%s on %s%s%s (%s)\n", e.Event, e.Day, onlyIf(e.Name != "", ": "+e.Name), onlyIf(len(e.Starts) > 0, ", started "+strings.Join(e.Starts, " ")), e.Act)
		}
		printTerms(w, "", &f.FileTerms, f.Restricted)
		printDocuments(w, f)
	})
}

// printTerms prints rules, due date, holds and restriction of a file or a document, each line behind
// an indent.
func printTerms(w io.Writer, indent string, t *archive.FileTerms, restricted bool) {
	for _, r := range t.Rules {
		fmt.Fprintf(w, "%srule\t%s %s, %s%s\n", indent, r.Category, r.Rule, datesText(r.Start, r.End), onlyIf(r.Action != "", ", then "+r.Action))
	}
	if len(t.Rules) > 0 {
		fmt.Fprintf(w, "%sdue\t%s (%s today)\n", indent, orText(t.Assess.Due, "not known yet"), t.Assess.Verdict)
	}
	for _, r := range t.Assess.Reasons {
		if r.Code == retention.Held {
			fmt.Fprintf(w, "%sheld\tby %s on unit %s%s\n", indent, r.Rule, r.Unit, onlyIf(r.Date != "", ", until "+r.Date))
		}
	}
	if restricted {
		fmt.Fprintf(w, "%srestricted\tread for named purposes alone (GDPR art. 18)\n", indent)
	}
}

func datesText(start, end string) string {
	if start == "" {
		return "waits for its event"
	}
	return "from " + start + " to " + orText(end, "a day not known")
}

func printDocuments(w io.Writer, f *archive.File) {
	var counts []string
	for _, ch := range archive.Channels {
		counts = append(counts, fmt.Sprintf("%d %s", f.Channels[ch], ch))
	}
	fmt.Fprintf(w, "documents\t%d: %s\n", len(f.Documents), strings.Join(counts, ", "))
	switch {
	case f.Closed != nil:
	case f.Complete:
		fmt.Fprintf(w, "complete\tall expected documents are there\n")
	default:
		fmt.Fprintf(w, "missing\t%s\n", strings.Join(f.Missing, ", "))
	}
	if len(f.Unknown) > 0 {
		fmt.Fprintf(w, "unknown\t%s: types that the procedure does not have any more\n", strings.Join(f.Unknown, ", "))
	}
	for i := range f.Documents {
		d := &f.Documents[i]
		said := fmt.Sprintf("%s, %s", orText(d.Type, "no type"), orText(d.Title, "no title"))
		if d.Withheld {
			said = "not open to you"
		}
		fmt.Fprintf(w, "document\t%s  %s  %s\n", d.Unit, orText(string(d.Channel), "no channel"), said)
		printTerms(w, "  ", &d.FileTerms, d.Restricted)
	}
}

func (c *cli) fileListCmd() *cobra.Command {
	var f archive.FileFilter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List citizen files in the order in which they were opened, a page at a time",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				page, err := c.reader(a).Files(f)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(page)
				}
				err = c.table(func(w io.Writer) {
					for _, f := range page.Files {
						title := f.Title
						if f.Closed != nil {
							title = closedText(f.Closed)
						}
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", f.Unit, orText(f.Number, "-"), f.Procedure, f.State, title)
					}
				})
				c.printMore(page.Next)
				return err
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.Tenant, "tenant", "", "archival agency (default the first)")
	fl.StringVar(&f.Procedure, "procedure", "", "code of the procedure")
	fl.StringVar(&f.State, "state", "", "open or closed")
	fl.StringVar(&f.Person, "subject", "", "data subject whom they concern")
	fl.IntVar(&f.Limit, "limit", 100, "files on the page")
	fl.StringVar(&f.After, "after", "", "cursor that the page before gave")
	return cmd
}

// happenFlags are those of what happens to a file.
func happenFlags(cmd *cobra.Command, r *archive.EventRequest) {
	f := cmd.Flags()
	f.StringVar(&r.Tenant, "tenant", "", "archival agency (default the first)")
	f.StringVar(&r.Day, "day", "", "day on which it happened, YYYY-MM-DD (default today)")
	f.StringVar(&r.Reason, "reason", "", "why, for example the decision; kept enciphered")
}

func (c *cli) fileEventCmd() *cobra.Command {
	var r archive.EventRequest
	cmd := &cobra.Command{
		Use:     "event NUMBER|UNIT EVENT",
		Short:   "Record that an event of its procedure happened to a citizen file: rules that wait for it start",
		Example: "  sae file event MDPH-2026-00017 decision --day 2026-06-15",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.File, r.Event = args[0], args[1]
			return c.open(false, func(a *archive.Archive) error {
				act, err := a.RecordEvent(cmd.Context(), c.agent, r)
				return c.toldEvent(act, err)
			})
		},
	}
	happenFlags(cmd, &r)
	return cmd
}

func (c *cli) fileCloseCmd() *cobra.Command {
	var r archive.EventRequest
	cmd := &cobra.Command{
		Use:   "close NUMBER|UNIT",
		Short: "Close a citizen file: no document comes in any more, and rules that wait for its end start",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.File = args[0]
			return c.open(false, func(a *archive.Archive) error {
				act, err := a.CloseFile(cmd.Context(), c.agent, r)
				return c.toldEvent(act, err)
			})
		},
	}
	happenFlags(cmd, &r)
	return cmd
}

func (c *cli) fileReopenCmd() *cobra.Command {
	var r archive.EventRequest
	cmd := &cobra.Command{
		Use:   "reopen NUMBER|UNIT --reason TEXT",
		Short: "Open a closed citizen file again: what started with its end does not run any more",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.File = args[0]
			return c.open(false, func(a *archive.Archive) error {
				act, err := a.ReopenFile(cmd.Context(), c.agent, r)
				return c.toldEvent(act, err)
			})
		},
	}
	happenFlags(cmd, &r)
	return cmd
}

// toldEvent says what was recorded of a file, and which rules started.
func (c *cli) toldEvent(act *archive.Act, err error) error {
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(act)
	}
	c.printf("event %s on %s: act %s (ledger entry %d)\n", act.Event, act.Day, act.ID, act.Entry)
	for _, s := range act.Starts {
		c.printf("started %s from %s for unit %s\n", s.Rule, s.Start, s.Unit)
	}
	return nil
}

func (c *cli) fileTakeBackCmd() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "take-back ACT --reason TEXT",
		Short: "Take back an event of a citizen file, or its closing, that was recorded by mistake",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(false, func(a *archive.Archive) error {
				act, err := a.TakeBackEvent(cmd.Context(), c.agent, args[0], reason)
				if err != nil {
					return err
				}
				return c.told(act, "event %s of %s was taken back (ledger entry %d)\n", act.Event, act.Day, act.Ended.Entry)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept enciphered")
	return cmd
}
