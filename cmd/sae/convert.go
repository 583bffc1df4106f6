package main

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sae/archive"
)

func (c *cli) convertCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "convert",
		Short: "Add copies in other formats to units: by hand, or by a program that sae.yaml names",
		Long: `A conversion adds a new version of a unit, with a copy of an object in another format. The
original stays, with its evidence: it is what proves. The copy is there to be read. The
ledger links both. Where roles name archivists, an archivist converts.`,
	}
	cmd.AddCommand(c.convertAddCmd(), c.convertRunCmd(), c.convertListCmd())
	return cmd
}

func (c *cli) convertAddCmd() *cobra.Command {
	var f archive.ConvertedFile
	var reason string
	cmd := &cobra.Command{
		Use:   "add UNIT FILE",
		Short: "Add a file, converted elsewhere, as a copy of an object",
		Example: "  sae convert add u… rapport.pdf --object o… --usage Dissemination --tool 'LibreOffice 24.2' \\\n" +
			"      --reason 'Word 97 ne se lira plus'",
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			fi, err := c.files.Stat(args[1])
			if err != nil {
				return err
			}
			if !fi.Mode().IsRegular() {
				return usagef("%s is not a file", args[1])
			}
			return c.open(false, func(a *archive.Archive) error {
				if f.Object == "" { // the only one that was deposited
					if f.Object, err = a.Resolve(args[0]); err != nil {
						return err
					}
				}
				f.Content = &archive.Content{Filename: filepath.Base(args[1]), Size: fi.Size(), Open: func() (io.ReadCloser, error) { return c.files.Open(args[1]) }}
				done, err := a.Convert(cmd.Context(), c.agent, archive.ConversionRequest{Unit: args[0], Files: []archive.ConvertedFile{f}, Reason: reason})
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(done)
				}
				return c.printConversion(done)
			})
		},
	}
	cmd.Flags().StringVar(&f.Object, "object", "", "object that the file was made from (default the only one that was deposited)")
	cmd.Flags().StringVar(&f.Usage, "usage", "Dissemination", "Dissemination, or BinaryMaster for a new master beside the old")
	cmd.Flags().StringVar(&f.Tool, "tool", "", "name and version of what made the file")
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept enciphered")
	return cmd
}

func (c *cli) printConversion(done *archive.Conversion) error {
	c.printf("unit %s: version %d (operation %s, ledger entry %d)\n", done.Unit, done.Version, done.Operation, done.Entry)
	return c.table(func(w io.Writer) {
		for _, o := range done.Objects {
			fmt.Fprintf(w, "  %s\t%s\t%s\t%s\tfrom %s\n", o.ID, o.Usage, orText(o.Format, "unknown"), bytesText(o.Size), o.From)
		}
	})
}

func (c *cli) convertRunCmd() *cobra.Command {
	var r archive.ConvertRun
	var all bool
	cmd := &cobra.Command{
		Use:   "run CONVERTER",
		Short: "Convert what a converter of sae.yaml takes; what it converted before is left alone",
		Long: `Run a converter of sae.yaml on the objects whose format it takes: of the units named, or of
all. Content goes to a private folder (TMPDIR says where), which is removed in all cases;
the program runs without a shell, with bounded time and space. What it gives must be of a
format that the converter names. Each unit is durable when the next begins: stopped at any
point, the same command goes on from there. What cannot be converted is told, and the exit
status is 1.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(r.Units) > 0) {
				return usagef("want --unit, or --all")
			}
			r.Converter = args[0]
			r.Each = func(s archive.ConvertStep) {
				switch {
				case c.json:
					c.printJSON(s)
				case s.Done != nil:
					c.printConversion(s.Done)
				default:
					fmt.Fprintf(c.errOut, "sae: unit %s, object %s: %s\n", s.Unit, s.Object, s.Why)
					if said := strings.TrimSpace(s.Said); said != "" && c.verbose {
						fmt.Fprintf(c.errOut, "%s\n", plainText(said))
					}
				}
			}
			return c.open(false, func(a *archive.Archive) error {
				out, err := a.RunConverter(cmd.Context(), c.agent, r)
				if out != nil {
					c.printOutcome(out)
				}
				if err == nil && out.Failed > 0 {
					err = errSaid
				}
				return err
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&r.Tenant, "tenant", "", "archival agency (default the first)")
	fl.StringSliceVar(&r.Units, "unit", nil, "units to convert")
	fl.BoolVar(&all, "all", false, "all units of the tenant")
	fl.IntVar(&r.Limit, "limit", 0, "units to convert at most (default all)")
	fl.StringVar(&r.Reason, "reason", "", "why; kept enciphered")
	return cmd
}

func (c *cli) printOutcome(out *archive.ConvertOutcome) {
	if c.json {
		c.printJSON(out)
		return
	}
	c.printf("%s (%s): %d objects of %d units converted, %d before, %d failed\n", out.Converter, out.Tool, out.Objects, out.Units, out.Already, out.Failed)
}

// plainText is what a stranger's program said, without what a terminal would obey.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

func (c *cli) convertListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the converters of sae.yaml",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				if c.json {
					return c.printJSON(a.Converters())
				}
				return c.table(func(w io.Writer) {
					for _, x := range a.Converters() {
						fmt.Fprintf(w, "%s\t%s\t%s -> %s\t%s\n", x.ID, x.UsageOf(), strings.Join(x.From, " "), strings.Join(x.To, " "), strings.Join(x.Command, " "))
					}
				})
			})
		},
	}
}
