package main

import (
	"errors"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sae/archive"
)

func (c *cli) ledgerCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "The integrity ledger: checkpoint, entries, proofs, export, verification",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return usagef("name a verb: sae ledger --help lists them") },
	}
	cmd.AddCommand(c.checkpointCmd(), c.entryCmd(), c.proveCmd(), c.consistencyCmd(), c.exportCmd(), c.verifyLedgerCmd(), c.acceptRollbackCmd())
	return cmd
}

func (c *cli) checkpointCmd() *cobra.Command {
	var key bool
	cmd := &cobra.Command{
		Use:   "checkpoint",
		Short: "Print the signed checkpoint (C2SP tlog-checkpoint)",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				signed, err := a.Checkpoint()
				switch {
				case err != nil:
					return err
				case c.json:
					return c.printJSON(map[string]string{"checkpoint": string(signed), "key": a.LedgerKey()})
				case key:
					c.printf("%s\n", a.LedgerKey())
				default:
					c.printf("%s", signed)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&key, "key", false, "print the ledger's key (note verifier key) instead")
	return cmd
}

// number reads the number of an entry, or a size.
func number(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, usagef("%q is not a number of the ledger: want 0, 1, 2...", s)
	}
	return n, nil
}

func (c *cli) entryCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "entry N",
		Short: "Print entry N, counted from 0, byte for byte",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := number(args[0])
			if err != nil {
				return err
			}
			return c.open(true, func(a *archive.Archive) error {
				b, err := a.Entry(n)
				if err == nil {
					c.printf("%s\n", b)
				}
				return err
			})
		},
	}
}

func (c *cli) proveCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "prove N",
		Short: "Print the proof that entry N is in the ledger of the last checkpoint (C2SP tlog-proof, the entry as its extra data)",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			n, err := number(args[0])
			if err != nil {
				return err
			}
			return c.open(true, func(a *archive.Archive) error {
				r, err := a.ProveEntry(n)
				switch {
				case err != nil:
					return err
				case c.json:
					return c.printJSON(map[string]any{"index": r.Index, "entry": string(r.Entry), "proof": r.Proof, "checkpoint": string(r.Checkpoint)})
				}
				c.printf("%s", r.Marshal())
				return nil
			})
		},
	}
}

func (c *cli) consistencyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "consistency M N",
		Short: "Print the proof that the ledger of N entries begins with that of M (RFC 6962 section 2.1.2)",
		Args:  cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := number(args[0])
			if err != nil {
				return err
			}
			n, err := number(args[1])
			if err != nil {
				return err
			}
			return c.open(true, func(a *archive.Archive) error {
				proof, older, newer, err := a.ProveConsistency(m, n)
				switch {
				case err != nil:
					return err
				case c.json:
					return c.printJSON(map[string]any{"older": m, "olderRoot": older, "newer": n, "newerRoot": newer, "proof": proof})
				}
				c.printf("%d %s\n%d %s\n", m, older, n, newer)
				for _, h := range proof {
					c.printf("%s\n", h)
				}
				return nil
			})
		},
	}
}

func (c *cli) exportCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "export DIR",
		Short: "Write the ledger as static tiles (C2SP tlog-tiles) into a new folder, or bring one up to date",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(true, func(a *archive.Archive) error {
				n, err := a.ExportTiles(cmd.Context(), args[0])
				switch {
				case err != nil:
					return err
				case c.json:
					return c.printJSON(map[string]any{"dir": args[0], "files": n})
				}
				c.printf("%d files written to %s; read them with the key: sae ledger checkpoint --key\n", n, args[0])
				return nil
			})
		},
	}
}

func (c *cli) verifyLedgerCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "verify",
		Short: "Recompute the whole ledger from its entries and hold it against the signed checkpoint",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				cp, err := a.VerifyLedger(true)
				switch {
				case err != nil:
					return err
				case c.json:
					return c.printJSON(map[string]any{"size": cp.Size, "root": cp.Root, "origin": cp.Origin})
				}
				c.printf("ledger verified: %d entries, root %s, as signed by %s\n", cp.Size, cp.Root, cp.Origin)
				return nil
			})
		},
	}
}

func (c *cli) acceptRollbackCmd() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "accept-rollback --reason TEXT",
		Short: "Record that an older catalogue is knowingly used: operations after it are lost",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if strings.TrimSpace(reason) == "" {
				return usagef("say why: --reason TEXT; it is kept enciphered, the ledger commits to it")
			}
			a, err := archive.Open(c.dir, archive.Options{Command: "sae ledger accept-rollback", Log: c.log(), AcceptRollback: true})
			if err != nil {
				return err
			}
			lost, index, err := a.AcceptRollback(cmd.Context(), c.agent, reason)
			if err := errors.Join(err, a.Close()); err != nil {
				return err
			}
			if c.json {
				return c.printJSON(map[string]int64{"lostSize": lost, "ledgerEntry": index})
			}
			c.printf("recorded as ledger entry %d: the ledger of %d entries that was signed before is given up\n", index, lost)
			return nil
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why an older catalogue is used")
	return cmd
}
