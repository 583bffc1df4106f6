package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/api/remote"
	"sae/archive"
	"sae/archive/bagit"
	"sae/seda"
)

// exportFlags are the flags of export.
type exportFlags struct {
	request archive.ExportRequest
	version string
	kind    string
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

  --kind dip          an ArchiveDeliveryRequestReply, for who asked to read
  --kind transfer     an ArchiveTransfer, for another archive; this program accepts it back
  --kind restitution  an ArchiveRestitutionRequestReply, for the originating agency

A version of SEDA that has no element for something leaves it out, and says so.`,
		Example: `  sae export ID --seda 2.2 -o dip.zip
  sae export OPERATION --kind transfer --archive ARCHIVES-DEPARTEMENTALES --with-proof -o transfer.zip`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, ids []string) error { return c.export(cmd.Context(), f, ids) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.version, "seda", "2.1", "version of SEDA: 2.1, 2.2 or 2.3")
	fl.StringVar(&f.kind, "kind", "dip", "dip, transfer or restitution")
	fl.StringVarP(&f.file, "output", "o", "", "file to write (must not exist)")
	fl.StringSliceVar(&f.request.Usages, "usage", nil, "usages to hand out, such as BinaryMaster,Dissemination (default all)")
	fl.BoolVar(&f.request.WithProof, "with-proof", false, "add a proof bundle of each unit")
	fl.StringVar(&f.request.Comment, "comment", "", "comment of the message")
	fl.StringVar(&f.request.Agreement, "agreement", "", "ArchivalAgreement of the message (default the one it came under)")
	fl.StringVar(&f.request.Archive, "archive", "", "ArchivalAgency of the message (default the tenant)")
	fl.StringVar(&f.request.Requester, "requester", "", "who asked for the DIP")
	fl.StringVar(&f.request.InReplyTo, "in-reply-to", "", "MessageIdentifier of the request that is answered")
	c.purposeFlags(cmd)
	fl.BoolVar(&f.request.OpenOnly, "open-only", false, "leave out units that are not open, instead of refusing")
	cmd.MarkFlagRequired("output")
	return cmd
}

// exportMessages are the messages of an export, by what --kind says.
var exportMessages = map[string]string{"dip": "ArchiveDeliveryRequestReply", "transfer": "ArchiveTransfer", "restitution": "ArchiveRestitutionRequestReply"}

func (c *cli) export(ctx context.Context, f *exportFlags, ids []string) error {
	v, err := seda.ParseVersion(f.version)
	if err != nil {
		return usageError{err}
	}
	message, ok := exportMessages[f.kind]
	if !ok {
		return usagef("--kind %q: want dip, transfer or restitution", f.kind)
	}
	f.request.IDs, f.request.Version, f.request.Message = ids, v, message
	return c.open(false, func(a *archive.Archive) error {
		var out *archive.ExportOutcome
		err := c.writeNew(f.file, func(w io.Writer) (err error) {
			z := zip.NewWriter(w)
			if out, err = c.reader(a).Export(ctx, f.request, archive.ZipFiles{Writer: z, Modified: time.Now()}); err != nil {
				return err
			}
			return z.Close()
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
	if out.NotOpen > 0 {
		c.printf("! %d units are not open: left out\n", out.NotOpen)
	}
	c.printf("%s: %s of SEDA %s, %d units, %d objects, %s (operation %s, ledger entry %d)\n", file, out.Message, out.Version, out.Units, out.Objects,
		bytesText(out.Bytes), out.Operation, out.Receipt.Index)
	return nil
}

// restituteFlags are the flags of restitute.
type restituteFlags struct {
	tenant, agency, version, dir, replyTo string
	bag                                   bool
}

func (c *cli) restituteCmd() *cobra.Command {
	f := &restituteFlags{}
	cmd := &cobra.Command{
		Use:   "restitute",
		Short: "Give an originating agency all that is hers, with proofs",
		Long: `Give an originating agency all that is hers, with proofs: for reversibility. The folder
that is written holds, for each operation that archived units of the agency, a SEDA
package (ArchiveRestitutionRequestReply) with the content and a proof bundle of each unit.
With --bagit the folder is a bag (BagIt, RFC 8493), the packages unpacked in it. All units
must be sealed.`,
		Example: "  sae restitute --originating-agency MDPH -o /media/disk/mdph --bagit",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.restitute(cmd.Context(), f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.tenant, "tenant", "", "archival agency (default the first in the configuration)")
	fl.StringVar(&f.agency, "originating-agency", "", "whose units")
	fl.StringVar(&f.version, "seda", "2.2", "version of SEDA: 2.1, 2.2 or 2.3")
	fl.StringVarP(&f.dir, "output", "o", "", "folder to write (must not exist)")
	fl.StringVar(&f.replyTo, "in-reply-to", "", "MessageIdentifier of the ArchiveRestitutionRequest")
	c.purposeFlags(cmd)
	fl.BoolVar(&f.bag, "bagit", false, "write a bag (RFC 8493)")
	cmd.MarkFlagRequired("originating-agency")
	cmd.MarkFlagRequired("output")
	return cmd
}

func (c *cli) restitute(ctx context.Context, f *restituteFlags) error {
	v, err := seda.ParseVersion(f.version)
	if err != nil {
		return usageError{err}
	}
	return c.open(false, func(a *archive.Archive) (err error) {
		operations, units, err := a.HoldingsOf(f.tenant, f.agency)
		if err != nil {
			return err
		}
		if _, err := c.files.Lstat(f.dir); err == nil {
			return fmt.Errorf("%s exists already; name another folder", f.dir)
		}
		reader := c.reader(a)
		for _, op := range operations { // all, before a package of any is in the ledger
			if err := reader.MayHandOver(units[op]); err != nil {
				return fmt.Errorf("restituting operation %s: %w", op, err)
			}
		}
		var total archive.ExportOutcome
		export := func(op string, files archive.Files) error {
			out, err := reader.Export(ctx, archive.ExportRequest{IDs: units[op], Exact: true, Message: exportMessages["restitution"], Version: v, WithProof: true,
				InReplyTo: f.replyTo}, files)
			if err != nil {
				return fmt.Errorf("restituting operation %s: %w", op, err)
			}
			total.Units, total.Objects, total.Bytes = total.Units+out.Units, total.Objects+out.Objects, total.Bytes+out.Bytes
			total.Lost = append(total.Lost, out.Lost...)
			return nil
		}
		err = c.writeFolder(f.dir, func(d remote.NewFolder) error {
			if f.bag {
				return writeBag(d, f.agency, operations, export)
			}
			return writeZips(d, operations, export)
		})
		if err != nil {
			return err
		}
		total.Message, total.Version = exportMessages["restitution"], v.String()
		if c.json {
			return c.printJSON(map[string]any{"folder": f.dir, "operations": len(operations), "units": total.Units, "objects": total.Objects, "bytes": total.Bytes, "lost": total.Lost})
		}
		for _, l := range total.Lost {
			c.printf("! %s: SEDA %s has no %s: left out\n", l.Unit, total.Version, strings.Join(l.Elements, ", "))
		}
		c.printf("%s: %d operations, %d units, %d objects, %s\n", f.dir, len(operations), total.Units, total.Objects, bytesText(total.Bytes))
		return nil
	})
}

// writeZips writes a package of each operation.
func writeZips(d remote.NewFolder, operations []string, export func(string, archive.Files) error) error {
	for _, op := range operations {
		err := inFolder(d, op+".zip", func(w io.Writer) error {
			return zipped(w, func(files archive.Files) error { return export(op, files) })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// below writes files below a folder of others.
type below struct {
	files archive.Files
	dir   string
}

func (b below) File(name string) (io.Writer, error) { return b.files.File(path.Join(b.dir, name)) }

func writeBag(d remote.NewFolder, agency string, operations []string, export func(string, archive.Files) error) error {
	bag := bagit.Begin(d)
	for _, op := range operations {
		if err := export(op, below{bag, op}); err != nil {
			return errors.Join(err, bag.Close())
		}
	}
	return bag.Close(bagit.Field{Name: "Source-Organization", Value: agency}, bagit.Field{Name: "External-Description", Value: "Restitution of archives, a SEDA package in each folder"})
}
