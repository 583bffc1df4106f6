package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/integrity/bundle"
	"sae/integrity/certificate"
)

func (c *cli) proofCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "proof ID -o FILE.asice",
		Short: "Write a proof bundle: documents with all that is needed to verify them without this archive",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if file == "" {
				return usagef("name the file to write: -o FILE.asice")
			}
			return c.open(true, func(a *archive.Archive) error {
				err := c.writeNew(file, func(w io.Writer) error { return c.reader(a).Proof(cmd.Context(), args[0], w) })
				if err != nil {
					return fmt.Errorf("writing the proof of %s: %w", args[0], err)
				}
				if c.json {
					return c.printJSON(map[string]string{"id": args[0], "bundle": file})
				}
				c.printf("proof of %s written to %s\nverify it: sae-verify --roots ROOTS.pem %s\n", args[0], file, file)
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&file, "output", "o", "", "file to write (must not exist)")
	return c.purposeFlags(cmd)
}

func (c *cli) verifyCmd() *cobra.Command {
	var o bundle.FileOptions
	cmd := &cobra.Command{
		Use:   "verify FILE.asice|CERTIFICATE.json",
		Short: "Verify a proof bundle or a destruction certificate; needs no archive",
		Long:  bundle.VerifyHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			report, err := certificate.VerifyAny(args[0], o)
			if err != nil {
				return err
			}
			if c.json {
				err = c.printJSON(report)
			} else {
				err = report.WriteText(c.out)
			}
			if err == nil && !report.Accepted(o.TrustBundledRoots) {
				err = errSaid
			}
			return err
		},
	}
	cmd.Flags().StringVar(&o.Roots, "roots", "", "PEM file of the time-stamping authorities' root certificates")
	cmd.Flags().StringVar(&o.LedgerKey, "ledger-key", "", "the ledger's key (note verifier key), when you know it")
	cmd.Flags().BoolVar(&o.TrustBundledRoots, "trust-bundled-roots", false, "accept the roots that the bundle carries itself")
	return cmd
}
