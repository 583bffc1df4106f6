package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/archive/printed"
)

// executedJSON is the outcome of executing, with its certificate.
type executedJSON struct {
	*archive.Executed
	Certificate *archive.Certificate `json:"certificate,omitempty"`
}

// certify seals what is not sealed, and archives the certificate of an elimination; none when
// nothing was destroyed.
func (c *cli) certify(ctx context.Context, a *archive.Archive, id string, destroyed int64) (*archive.Certificate, error) {
	if destroyed == 0 {
		return nil, nil
	}
	return printed.Certify(ctx, a, c.agent, id)
}

func (c *cli) certificateCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "certificate ELIMINATION [-o FILE.json|FILE.pdf|FILE.asice]",
		Short: "Write the destruction certificate of an elimination; make it, when it is not there yet",
		Long: `Write the destruction certificate of an elimination that was executed. As JSON it proves,
without this archive, that each unit existed, since when it was sealed, when it was destroyed
and under which visa: sae verify FILE.json. As PDF it is for people, in French. As .asice it is
the proof bundle of both. Executing makes it; when no time-stamping authority answered then, an
archivist makes it with this command.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(false, func(a *archive.Archive) error {
				cert, err := a.CertificateOf(args[0])
				if errors.Is(err, archive.ErrNotFound) {
					if _, err := a.Elimination(args[0]); err != nil {
						return err
					}
					cert, err = c.certify(cmd.Context(), a, args[0], 1)
				}
				if err != nil {
					return err
				}
				if out == "" {
					return c.told(cert, "destruction certificate of %s: record %s, objects %s (JSON) and %s (PDF), ledger entry %d\n", cert.Elimination, cert.Record, cert.JSON, cert.PDF, cert.Entry)
				}
				if err := c.writeNew(out, func(w io.Writer) error { return c.writeCertificate(cmd.Context(), a, cert, out, w) }); err != nil {
					return err
				}
				return c.told(cert, "destruction certificate of %s written to %s\n", cert.Elimination, out)
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "file; it must not exist")
	return cmd
}

// told prints v as JSON, or a line.
func (c *cli) told(v any, format string, args ...any) error {
	if c.json {
		return c.printJSON(v)
	}
	c.printf(format, args...)
	return nil
}

func (c *cli) writeCertificate(ctx context.Context, a *archive.Archive, cert *archive.Certificate, file string, w io.Writer) error {
	object := map[string]string{".json": cert.JSON, ".pdf": cert.PDF}[filepath.Ext(file)]
	switch {
	case object != "":
		_, _, err := a.Get(ctx, object, w)
		return err
	case filepath.Ext(file) == ".asice":
		return a.Proof(ctx, cert.Record, w)
	}
	return fmt.Errorf("%s: name a file that ends in .json, .pdf or .asice", file)
}
