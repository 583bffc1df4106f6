package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sae/api/remote"
	"sae/archive"
	"sae/seda"
)

func (c *cli) transferCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "transfer",
		Short: "Final archiving: what is to be kept for ever goes to another archive",
		Long: `Units whose retention is over and whose final action is Keep go to the archive that keeps
them for ever, as ArchiveTransfers of SEDA with their proofs. An archivist proposes a frozen,
numbered list and sends it; another one acknowledges with the ArchiveTransferReplies, which are
held against what was sent, digest by digest, before anything is destroyed here. See
docs/retention.md.`,
	}
	cmd.AddCommand(c.proposeCmd(archive.ForTransfer), c.requestsCmd(archive.ForTransfer), c.requestCmd(archive.ForTransfer), c.sendCmd(), c.acknowledgeCmd(),
		c.eliminateStepCmd("withdraw", "Give a transfer up: the units stay", archive.Withdrawn))
	return cmd
}

func (c *cli) sendCmd() *cobra.Command {
	var r archive.ExportRequest
	var version, dir string
	cmd := &cobra.Command{
		Use:   "send TRANSFER -o FOLDER",
		Short: "Write the packages of a transfer, with proofs, for the other archive",
		Long: `Write the packages of a transfer into a folder: one ArchiveTransfer for each deposit that
the units came by, with a proof bundle of each unit and the ledger entry by which they are
handed over. What is not to be kept any more, has changed, or is not sealed yet is left out. It
can be sent again until it is acknowledged; replies are then to the packages sent last.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if r.Version, err = seda.ParseVersion(version); err != nil {
				return usageError{err}
			}
			return c.open(false, func(a *archive.Archive) error { return c.send(cmd.Context(), a, args[0], r, dir) })
		},
	}
	cmd.Flags().StringVar(&version, "seda", "2.2", "version of SEDA: 2.1, 2.2 or 2.3")
	cmd.Flags().StringVar(&r.Agreement, "agreement", "", "the other archive's ArchivalAgreement (default the one each came under)")
	cmd.Flags().StringVarP(&dir, "output", "o", "", "folder to write (must not exist)")
	cmd.MarkFlagRequired("output")
	return cmd
}

// send writes packages into a folder that is there only when all of them are.
func (c *cli) send(ctx context.Context, a *archive.Archive, id string, r archive.ExportRequest, dir string) (err error) {
	var lost []string
	var sent *archive.SentTransfer
	err = c.writeFolder(dir, func(d remote.NewFolder) (err error) {
		sent, err = a.SendTransfer(ctx, c.agent, id, r, func(name string, write func(archive.Files) (*archive.ExportOutcome, error)) error {
			return inFolder(d, name+".zip", func(w io.Writer) error {
				return zipped(w, func(files archive.Files) error {
					x, err := write(files)
					if err != nil {
						return err
					}
					for _, l := range x.Lost {
						lost = append(lost, fmt.Sprintf("! %s: SEDA %s has no %s: left out", l.Unit, x.Version, l.Elements))
					}
					return nil
				})
			})
		})
		return err
	})
	if err != nil {
		return err
	}
	if c.json {
		return c.printJSON(sent)
	}
	for _, l := range lost {
		c.printf("%s\n", l)
	}
	c.printf("transfer %s: sent (ledger entry %d), %d packages in %s, left out: %d\n", sent.Transfer, sent.Entry, len(sent.Packages), dir, len(sent.Left))
	for _, p := range sent.Packages {
		c.printf("package %s: %s.zip, %d units\n", p.Message, p.Operation, p.Units)
	}
	c.printKept(sent.Left)
	return nil
}

func (c *cli) acknowledgeCmd() *cobra.Command {
	var leave bool
	cmd := &cobra.Command{
		Use:   "acknowledge TRANSFER REPLY.xml...",
		Short: "Verify the replies of the other archive, then destroy here what it has",
		Long: `Verify the ArchiveTransferReplies of the other archive against what was sent: every unit and
every object, digest by digest. Then destroy here what it has; a tombstone says where each unit
is now. An archivist does it who neither proposed nor sent it. A reply that says no digests
destroys nothing. Stopped at any point, run it again: it goes on from there, without replies.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var replies []archive.ReplySource
			for _, name := range args[1:] {
				data, err := c.readBounded(name, archive.MaxReply)
				if err != nil {
					return err
				}
				replies = append(replies, archive.ReplySource{Name: name, Data: data})
			}
			return c.open(false, func(a *archive.Archive) error {
				x, err := a.AcknowledgeTransfer(cmd.Context(), c.agent, args[0], replies, leave, nil)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(x)
				}
				c.printExecuted("transfer", x)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&leave, "leave-rest", false, "packages without a reply, or refused by the other archive: their units stay")
	return cmd
}
