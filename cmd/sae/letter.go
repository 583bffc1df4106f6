package main

import (
	"archive/zip"
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/archive/printed"
)

// writeLetter writes the answer to a request, or the letter that extends its time.
func (c *cli) writeLetter(ctx context.Context, a *archive.Archive, id string, extension bool, out string) error {
	x, err := c.reader(a).LetterContext(ctx, id)
	if err != nil {
		return err
	}
	l, err := printed.Letter(ctx, a, x, extension, c.agent)
	if err != nil {
		return err
	}
	return c.writeNew(out, l.PDF)
}

func (c *cli) gdprRegisterCmd() *cobra.Command {
	var tenant, out string
	cmd := &cobra.Command{
		Use:   "register [-o FILE.pdf]",
		Short: "Print the record of processing activities (art. 30), from the procedures and what the archive holds",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(true, func(a *archive.Archive) error {
				all, err := a.Register(cmd.Context(), tenant)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(all)
				}
				r, err := printed.Register(a, tenant, all)
				if err != nil {
					return err
				}
				if out == "" {
					return r.Text(c.out)
				}
				if err := c.writeNew(out, r.PDF); err != nil {
					return err
				}
				c.printf("record of processing activities written to %s\n", out)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().StringVarP(&out, "out", "o", "", "write a PDF; the file must not exist")
	return cmd
}

func (c *cli) gdprCheckCmd() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Name what to look at: units without rule or past due, late requests, subjects without open file, erasures that are due",
		Long: `Name what somebody should look at who answers for the protection of data; status 1 when there is
something. It names identifiers, and nobody.

  NO_RULE             a unit that no retention ever ends
  PAST_DUE            a unit that is to be destroyed, and is still there
  LATE_REQUEST        a request that should have been answered
  NO_OPEN_FILE        a subject without an open file
  ERASURE_DUE         units that were to be erased later, and now can be
  ERASURE_UNFINISHED  an erasure of which the person was told, and that is not carried out`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found := 0
			err := c.open(true, func(a *archive.Archive) error {
				return a.CheckGDPR(cmd.Context(), tenant, func(f archive.GDPRFinding) error {
					found++
					return c.told(f, "%-18s  %s  %-10s  %s\n", f.Code, f.ID, orText(f.Date, "-"), f.Do)
				})
			})
			if err != nil {
				return err
			}
			if found == 0 {
				if !c.json {
					c.printf("nothing to look at\n")
				}
				return nil
			}
			return errSaid
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	return cmd
}

// writeZip writes a new zip by f; when f fails, nothing is left behind.
func (c *cli) writeZip(file string, f func(archive.Files) error) error {
	return c.writeNew(file, func(w io.Writer) error { return zipped(w, f) })
}

// zipped writes a zip by f.
func zipped(w io.Writer, f func(archive.Files) error) error {
	z := zip.NewWriter(w)
	if err := f(archive.ZipFiles{Writer: z, Modified: time.Now()}); err != nil {
		return err
	}
	return z.Close()
}
