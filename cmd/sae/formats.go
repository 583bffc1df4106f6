package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/archive/risk"
)

func (c *cli) formatsCmd() *cobra.Command {
	var tenant, file string
	cmd := &cobra.Command{
		Use:   "formats",
		Short: "What is held in which format (PRONOM), with the risk of each, greatest first",
		Long: `Count the objects of a tenant's units by format, as PRONOM identifies them, with a note on
the risk that each will not be readable any more: high, unknown, watch, low. A tenant's own
notes (formats: in sae.yaml) and those of --risks take the place of the program's, format
by format. Manifests and replies of transfers are not counted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withRisks(tenant, file, func(a *archive.Archive, risks *risk.Registry) error {
				lines, err := a.Formats(cmd.Context(), tenant, risks)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(map[string]any{"formats": lines, "sources": risks.Sources})
				}
				return c.printFormats(lines)
			})
		},
	}
	cmd.PersistentFlags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	cmd.PersistentFlags().StringVar(&file, "risks", "", "file of risk notes that take the place of those in force")
	cmd.AddCommand(c.formatUnitsCmd(&tenant), c.risksCmd(&tenant, &file))
	return cmd
}

// withRisks opens the archive and the risk notes in force for a tenant.
func (c *cli) withRisks(tenant, file string, f func(*archive.Archive, *risk.Registry) error) error {
	return c.open(true, func(a *archive.Archive) error {
		risks, err := a.Risks(tenant)
		if err == nil && file != "" {
			risks, err = risks.WithFileIn(func(name string) (io.ReadCloser, error) { return c.files.Open(name) }, file)
		}
		if err != nil {
			return err
		}
		return f(a, risks)
	})
}

func (c *cli) printFormats(lines []archive.FormatLine) error {
	return c.table(func(w io.Writer) {
		fmt.Fprintln(w, "risk\tformat\tname\tMIME\tobjects\tsize\tunits\tconverted\tto\tnote")
		for _, l := range lines {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%d\t%d\t%s\t%s\n", l.Risk, orText(l.PUID, risk.Unidentified), orText(strings.TrimSpace(l.Name+" "+l.Version), "-"),
				orText(l.MIME, "-"), l.Objects, bytesText(l.Bytes), l.Units, l.Converted, orText(strings.Join(l.To, " "), "-"), l.Note.Note)
		}
	})
}

func (c *cli) formatUnitsCmd(tenant *string) *cobra.Command {
	var after string
	var limit int
	cmd := &cobra.Command{
		Use:     "units FORMAT",
		Short:   "Name the units that hold a format, a page at a time",
		Example: "  sae formats units fmt/40\n  sae formats units unidentified",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			puid := args[0]
			if puid == risk.Unidentified {
				puid = ""
			} else if !risk.ValidPUID(puid) {
				return usagef("%q is not a PRONOM identifier such as fmt/40, nor %q", puid, risk.Unidentified)
			}
			return c.open(true, func(a *archive.Archive) error {
				page, err := c.reader(a).FormatUnits(cmd.Context(), *tenant, puid, after, limit)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(page)
				}
				return c.printHeld(page)
			})
		},
	}
	cmd.Flags().StringVar(&after, "after", "", "cursor that the page before gave")
	cmd.Flags().IntVar(&limit, "limit", 100, "units on the page")
	return cmd
}

func (c *cli) printHeld(page archive.HeldPage) error {
	err := c.table(func(w io.Writer) {
		for _, o := range page.Objects {
			state := "-"
			if o.Converted {
				state = "converted"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", o.Unit, o.Object, o.Usage, bytesText(o.Size), state, orText(o.Title, "(not open)"))
		}
	})
	if page.Next != "" {
		c.printf("more: --after %s\n", page.Next)
	}
	return err
}

func (c *cli) risksCmd(tenant, file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "risks [FORMAT...]",
		Short: "Show the risk notes in force, and on what they rest",
		RunE: func(_ *cobra.Command, ids []string) error {
			for _, id := range ids {
				if id != risk.Unidentified && !risk.ValidPUID(id) {
					return usagef("%q is not a PRONOM identifier such as fmt/40, nor %q", id, risk.Unidentified)
				}
			}
			return c.withRisks(*tenant, *file, func(_ *archive.Archive, risks *risk.Registry) error {
				var notes []risk.Note
				for _, id := range ids {
					notes = append(notes, risks.Of(id))
				}
				if len(ids) == 0 {
					notes = risks.All()
				}
				if c.json {
					return c.printJSON(map[string]any{"notes": notes, "sources": risks.Sources})
				}
				return c.printRisks(notes, risks.Sources)
			})
		},
	}
}

func (c *cli) printRisks(notes []risk.Note, sources map[string]string) error {
	named := map[string]bool{}
	err := c.table(func(w io.Writer) {
		fmt.Fprintln(w, "risk\tformat\tto\tbasis\tnote")
		for _, n := range notes {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", n.Risk, n.IDs[0], orText(strings.Join(n.To, " "), "-"), orText(strings.Join(n.Basis, " "), "-"), n.Note)
			for _, b := range n.Basis {
				named[b] = true
			}
		}
	})
	for _, b := range slices.Sorted(maps.Keys(named)) {
		c.printf("%s: %s\n", b, sources[b])
	}
	return err
}
