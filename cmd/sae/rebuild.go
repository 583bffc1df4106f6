package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sae/archive"
)

func (c *cli) rebuildCmd() *cobra.Command {
	var from, root string
	var escrow archive.EscrowSource
	var acceptLoss bool
	cmd := &cobra.Command{
		Use:   "rebuild --from OFFER",
		Short: "Make a lost catalogue again from one offer and the root key",
		Long: `Make a lost catalogue again from one offer and the root key.

Every offer holds, beside the objects, a journal of the catalogue: this reads it and
makes the catalogue, the configuration and the keys again in the folder given by
--dir, which is new or has lost its catalogue.db. What is in place there is left as
it is. The root key is in no offer: it is read from keys/root below --dir, or from
the two-slot file that --root-key names, with --pkcs11-... when that is wrapped in a
token, or from a sealed copy (--escrow, --identity).

OFFER is the folder of an offer or, for a bucket, a YAML file that says how to reach
it, as under "s3:" in sae.yaml:
  endpoint: https://s3.example.org
  bucket: archives
  prefix: sae/

When the checkpoint slot is still in place, it tells whether the offer has all that
was acknowledged. Where it is lost too, a journal blob that is missing or damaged
ends the rebuilding: take another offer, or go back before it with --accept-loss.
Run "sae audit --repair" afterwards.`,
		Example: `  sae rebuild --dir /srv/archive --from /mnt/second
  sae rebuild --dir /srv/archive --from bucket.yaml --root-key /media/safe/root`,
		Args: cobra.NoArgs,
	}
	flags := tokenFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if from == "" {
			return usagef("--from names the offer to rebuild from")
		}
		token, err := given(flags)
		if err != nil {
			return err
		}
		in := archive.RebuildFrom{Dir: c.dir, Path: from, Root: root, PKCS11: token, AcceptLoss: acceptLoss, Log: c.log()}
		switch {
		case (escrow.File == "") != (escrow.Identity == ""), escrow.File != "" && root != "":
			return usagef("give either --root-key, or --escrow and --identity together")
		case escrow.File != "":
			in.Escrow = &escrow
		}
		return c.rebuild(cmd.Context(), in)
	}
	cmd.Flags().StringVar(&from, "from", "", "folder of the offer, or a YAML file that describes a bucket")
	cmd.Flags().StringVar(&root, "root-key", "", "two-slot file of the root key (default keys/root below --dir)")
	cmd.Flags().StringVar(&escrow.File, "escrow", "", "sealed copy of the root key (sae root escrow)")
	cmd.Flags().StringVar(&escrow.Identity, "identity", "", "file of the age identity that opens it")
	cmd.Flags().BoolVar(&acceptLoss, "accept-loss", false, "go back to what comes before a journal blob that is missing or damaged")
	return cmd
}

func (c *cli) rebuild(ctx context.Context, from archive.RebuildFrom) error {
	if fi, err := os.Stat(from.Path); err == nil && fi.Mode().IsRegular() {
		text, err := os.ReadFile(from.Path)
		if err != nil {
			return err
		}
		if from.S3, err = archive.ParseBucket(text); err != nil {
			return fmt.Errorf("reading %s: %w", from.Path, err)
		}
	}
	r, err := archive.Rebuild(ctx, from)
	if r == nil {
		return err
	}
	if c.json {
		if err2 := c.printJSON(r); err2 != nil {
			return err2
		}
		return err
	}
	for _, p := range r.Passed {
		c.printf("passed over %s\n", p)
	}
	c.printf("rebuilt archive %s from offer %s: %d rows of %d journal blobs\n", r.Archive, r.Offer, r.Rows, r.Blobs)
	if len(r.Files) > 0 {
		c.printf("put back %s\n", strings.Join(r.Files, ", "))
	}
	if err != nil {
		return err
	}
	c.printf("%d units, %d objects, a ledger of %d entries; now run: sae audit --repair\n", r.Units, r.Objects, r.Ledger)
	return nil
}
