package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/seda"
)

// exportFlags are the flags of export.
type exportFlags struct {
	request archive.ExportRequest
	version string
	as      string
	file    string
}

func (c *cli) exportUnitsCmd() *cobra.Command {
	f := &exportFlags{}
	cmd := &cobra.Command{
		Use:   "export ID...",
		Short: "Hand out units with their content as a SEDA package: a DIP, or a transfer to another archive",
		Long: `Hand out units as a SEDA package (zip): each unit named, with all that it holds; for the
identifier of an operation, all its units. What came by SEDA goes out as it came:
every element of Content and Management is the same. The export is entered into the
ledger.

  --as dip          an ArchiveDeliveryRequestReply, for who asked to read
  --as transfer     an ArchiveTransfer, for another archive; this program accepts it back
  --as restitution  an ArchiveRestitutionRequestReply, for the originating agency

A version of SEDA that has no element for something leaves it out, and says so.`,
		Example: `  sae export ID --seda 2.2 -o dip.zip
  sae export OPERATION --as transfer --archive ARCHIVES-DEPARTEMENTALES --with-proof -o transfer.zip`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error { return c.export(cmd.Context(), f, ids) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.version, "seda", "2.1", "version of SEDA: 2.1, 2.2 or 2.3")
	fl.StringVar(&f.as, "as", "dip", "dip, transfer or restitution")
	fl.StringVarP(&f.file, "output", "o", "", "file to write (must not exist)")
	fl.StringSliceVar(&f.request.Usages, "usage", nil, "usages to hand out, such as BinaryMaster,Dissemination (default all)")
	fl.BoolVar(&f.request.WithProof, "with-proof", false, "add a proof bundle of each unit")
	fl.StringVar(&f.request.Comment, "comment", "", "comment of the message")
	fl.StringVar(&f.request.Agreement, "agreement", "", "ArchivalAgreement of the message (default the one it came under)")
	fl.StringVar(&f.request.Archive, "archive", "", "ArchivalAgency of the message (default the tenant)")
	fl.StringVar(&f.request.Requester, "requester", "", "who asked for the DIP")
	fl.StringVar(&f.request.InReplyTo, "in-reply-to", "", "MessageIdentifier of the request that is answered")
	cmd.MarkFlagRequired("output")
	return cmd
}

// exportMessages are the messages of an export, by what --as says.
var exportMessages = map[string]string{"dip": "ArchiveDeliveryRequestReply", "transfer": "ArchiveTransfer", "restitution": "ArchiveRestitutionRequestReply"}

func (c *cli) export(ctx context.Context, f *exportFlags, ids []string) error {
	v, err := seda.ParseVersion(f.version)
	if err != nil {
		return usageError{err}
	}
	message, ok := exportMessages[f.as]
	if !ok {
		return usagef("--as %q: want dip, transfer or restitution", f.as)
	}
	f.request.IDs, f.request.Version, f.request.Message = ids, v, message
	return c.open(false, func(a *archive.Archive) error {
		var out *archive.ExportOutcome
		err := writeNew(f.file, func(w io.Writer) (err error) {
			out, err = a.Export(ctx, c.agent, f.request, w)
			return err
		})
		if err != nil {
			return fmt.Errorf("writing %s: %w", f.file, err)
		}
		return c.printExport(f.file, out)
	})
}

func (c *cli) printExport(file string, out *archive.ExportOutcome) error {
	if c.json {
		return c.printJSON(struct {
			File string `json:"file"`
			*archive.ExportOutcome
			Ledger ledgerPlace `json:"ledger"`
		}{file, out, ledgerPlace{out.Receipt.Index, checkpointSize(out.Receipt.Checkpoint)}})
	}
	for _, l := range out.Lost {
		c.printf("! %s: SEDA %s has no %s: left out\n", l.Unit, out.Version, strings.Join(l.Elements, ", "))
	}
	c.printf("%s: %s of SEDA %s, %d units, %d objects, %s (operation %s, ledger entry %d)\n", file, out.Message, out.Version, out.Units, out.Objects,
		bytesText(out.Bytes), out.Operation, out.Receipt.Index)
	return nil
}
