package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/integrity"
)

func (c *cli) showCmd() *cobra.Command {
	var version int
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show a unit or an object",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.open(true, func(a *archive.Archive) error {
				unit := args[0]
				if o, err := a.Object(args[0]); err == nil {
					unit = o.Unit
				}
				u, err := c.reader(a).Unit(unit, version)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(u)
				}
				return c.printUnit(u)
			})
		},
	}
	cmd.Flags().IntVar(&version, "version", 0, "version of the unit (default the last)")
	return c.purposeFlags(cmd)
}

func (c *cli) printUnit(u *archive.Unit) error {
	return c.table(func(w io.Writer) {
		row := func(name, format string, args ...any) {
			if v := fmt.Sprintf(format, args...); v != "" && v != "[]" {
				fmt.Fprintf(w, "%s\t%s\n", name, v)
			}
		}
		row("unit", "%s (version %d, %s)", u.Unit, u.Version, u.Level)
		if u.Closed != nil {
			printClosed(w, u.Closed)
		}
		row("title", "%s", u.Title)
		row("description", "%s", u.Description.Description)
		row("subject", "%s", u.Subject)
		if f := u.File; f != nil {
			row("citizen file", "of procedure %s, version %d when it was opened", f.Procedure, f.Version)
			row("persons", "%s", strings.Join(f.Persons, " "))
		}
		row("document", "%s", u.Document)
		if u.Person != nil {
			printPerson(w, u.Person)
		}
		row("channel", "%s", u.Channel)
		row("agreement", "%s", u.Agreement)
		row("originating agency", "%s", u.Agency)
		row("dates", "%s", span(u.StartDate, u.EndDate))
		if u.Rule != nil {
			row("rule", "%s: %s from %s, then %s", u.Rule.Rule, u.Rule.Duration, orText(u.Rule.StartDate, "a date not given"), u.Rule.FinalAction)
		}
		if r := u.AccessRule; r != nil {
			row("access rule", "%s: %s from %s", r.Rule, r.Duration, orText(r.StartDate, "a date not given"))
		}
		if s := u.Scan; s != nil {
			row("scanned", "by %s on %s, %s, %s; paper kept: %t", s.By, s.Date, s.Device, s.Settings, s.PaperKept != nil && *s.PaperKept)
		}
		if p := u.Paper; p != nil {
			row("paper", "%s %s", p.Location, p.PhysicalID)
		}
		if g := u.PaperGone; g != nil {
			row("paper destroyed", "%s, under elimination %s (ledger entry %d): the copy stays", timeText(&g.Time), g.Under, g.Entry)
		}
		for k, v := range u.Custom {
			row(k, "%s", v)
		}
		for _, n := range u.Corrections {
			row("corrected", "version %d: %s: %s", n.Version, strings.Join(n.Fields, ", "), n.Note)
		}
		if s := u.SEDA; s != nil {
			row("manifest and reply", "%s", s.Messages)
		}
		row("parents", "%v", u.Parents)
		row("children", "%v", u.Children)
		for _, o := range u.Objects {
			row("object", "%s  %s  %s  %s", o.ID, o.Filename, bytesText(o.Size), o.Usage)
			if o.ConvertedFrom != "" {
				row("  converted from", "%s by %s on %s", o.ConvertedFrom, o.ConvertedBy, timeText(o.Converted))
			}
			row("  format", "%s %s %s %s", orText(o.Format.PUID, "unknown"), o.Format.Name, o.Format.Version, o.Format.Warning)
			row("  sha256", "%s", o.SHA256)
		}
		row("archived", "%s, operation %s, ledger entry %d", timeText(&u.Archived), u.Operation, u.Entry)
		if r := u.Revised; r != nil {
			row("this version", "%s, operation %s, ledger entry %d", timeText(&r.Time), r.Operation, r.Entry)
		}
		row("sealed", "%s", timeText(u.Sealed))
	})
}

func span(from, to string) string {
	if from == "" && to == "" {
		return ""
	}
	return from + " / " + to
}

func orText(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (c *cli) listCmd() *cobra.Command {
	var f archive.Filter
	var from, to string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List units in the order in which they were archived, a page at a time",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) (err error) {
			if f.From, err = parseDay(from, 0); err != nil {
				return usagef("--from %w", err)
			}
			if f.To, err = parseDay(to, 1); err != nil {
				return usagef("--to %w", err)
			}
			return c.open(true, func(a *archive.Archive) error {
				page, err := c.reader(a).List(f)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(page)
				}
				if err := c.printUnits(page.Units); err != nil {
					return err
				}
				if page.Next != "" {
					c.printf("more: --after %s\n", page.Next)
				}
				return nil
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.Tenant, "tenant", "", "archival agency (default the first in the configuration)")
	fl.StringVar(&f.Subject, "subject", "", "identifier of the citizen file")
	fl.StringVar(&f.Agreement, "agreement", "", "archival agreement")
	fl.StringVar(&f.Agency, "originating-agency", "", "originating agency")
	fl.StringVar((*string)(&f.Channel), "channel", "", "digital, digitised, paper or both")
	fl.StringVar(&f.State, "state", "", "pending or sealed")
	fl.StringVar(&from, "from", "", "archived from this day, or RFC 3339 time, on")
	fl.StringVar(&to, "to", "", "archived up to this day included, or before this RFC 3339 time")
	fl.IntVar(&f.Limit, "limit", 100, "units on the page")
	fl.StringVar(&f.After, "after", "", "cursor that the page before gave")
	return c.purposeFlags(cmd)
}

// parseDay reads a day, moved by add days, or a time.
func parseDay(s string, add int) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, time.Local); err == nil {
		return t.AddDate(0, 0, add), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%q: want YYYY-MM-DD or RFC 3339", s)
	}
	return t, nil
}

func (c *cli) printUnits(units []*archive.Unit) error {
	return c.table(func(w io.Writer) {
		for _, u := range units {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", u.Unit, timeText(&u.Archived), orText(string(u.Channel), "folder"), sealedText(u), titleText(u))
		}
	})
}

func titleText(u *archive.Unit) string {
	if u.Closed != nil {
		return closedText(u.Closed)
	}
	return u.Title
}

func sealedText(u *archive.Unit) string {
	if u.Sealed == nil {
		return "pending"
	}
	return "sealed"
}

func (c *cli) searchCmd() *cobra.Command {
	var tenant string
	var limit int
	cmd := &cobra.Command{
		Use:   "search WORDS...",
		Short: "Find units by words of their titles, descriptions, subjects, file names and fields (French stemming)",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, words []string) error {
			if limit < 1 {
				return usagef("--limit %d: want at least 1", limit)
			}
			return c.open(true, func(a *archive.Archive) error {
				units, err := c.reader(a).Search(tenant, join(words), limit)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(archive.Page{Units: units})
				}
				return c.printUnits(units)
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first in the configuration)")
	cmd.Flags().IntVar(&limit, "limit", 50, "units at most")
	return c.purposeFlags(cmd)
}

func join(words []string) (s string) {
	for _, w := range words {
		s += w + " "
	}
	return s
}

func (c *cli) getCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "get ID",
		Short: "Get the content of an object, byte for byte, checked on the way out",
		Long: `Get the content of an object, or of a unit's only object that was deposited, to a new file
or to standard output; a copy in another format is got by its own identifier. A copy that is bad or missing is told and the next one read; when none is
good the exit status is 3 and no file is left behind.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(true, func(a *archive.Archive) error {
				id, err := a.Resolve(args[0])
				if err != nil {
					return err
				}
				var bad []archive.Failure
				copyTo := func(w io.Writer) (err error) {
					_, bad, err = c.reader(a).Get(cmd.Context(), id, w)
					return err
				}
				if file == "" {
					err = copyTo(c.out)
				} else {
					err = c.writeNew(file, copyTo)
				}
				for _, f := range bad {
					fmt.Fprintf(c.errOut, "sae: the copy in offer %s is bad: %v; run sae audit --repair\n", f.Offer, f.Err)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "file to write (must not exist)")
	return c.purposeFlags(cmd)
}

func (c *cli) historyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "history ID",
		Short: "Print every ledger entry on a unit",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.open(true, func(a *archive.Archive) error {
				unit := args[0]
				if o, err := a.Object(unit); err == nil {
					unit = o.Unit
				}
				events, err := a.History(unit)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(map[string]any{"unit": unit, "events": events})
				}
				return c.table(func(w io.Writer) {
					for _, e := range events {
						fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\n", e.Index, e.Entry.Time.Format(time.RFC3339), e.Entry.Kind, e.Entry.Operation, what(e.Item))
					}
				})
			})
		},
	}
}

// what says what of a unit an entry touched.
func what(it *integrity.Item) string {
	switch {
	case it == nil:
		return "covers the unit"
	case it.Object != "":
		return "object " + it.Object
	}
	return fmt.Sprintf("description, version %d", it.Version)
}
