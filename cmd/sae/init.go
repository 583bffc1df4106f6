package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"sae/archive"
)

func (c *cli) initCmd() *cobra.Command {
	var n archive.New
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Create an archive: keys, configuration, a first tenant, two offers, an embedded time-stamping authority",
		Long: `Create an archive in the folder given by --dir, which must be new or empty.

The keys are drawn (files 0600), the configuration is written with comments, two
offers are made below the folder, and an embedded time-stamping authority, which
is NOT qualified and serves evaluation. Read sae.yaml, then put the offers and the
slots on disks of their own and name a real authority before real use.`,
		Example: "  sae init --dir /srv/archive --tenant cd99 --tenant-name 'Département 99' --origin archives.cd99.example/sae",
		Args:    cobra.NoArgs,
	}
	flags := tokenFlags(cmd)
	cmd.RunE = func(*cobra.Command, []string) (err error) {
		if n.PKCS11, err = given(flags); err != nil {
			return err
		}
		config, err := archive.Create(c.dir, n)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(map[string]any{"archive": config.Archive, "dir": c.dir, "origin": config.Origin, "tenant": config.Tenants[0].ID})
		}
		c.printf("archive %s created in %s\n", config.Archive, c.dir)
		c.printf("configuration: %s (read it: rules, offers, time-stamping)\n", filepath.Join(c.dir, archive.ConfigName))
		if n.PKCS11 != nil {
			c.printf("root key:      %s, wrapped under a key of token %s: without the token it is lost; see sae root escrow\n", config.Slots.Root, n.PKCS11.Token)
		} else {
			c.printf("root key:      %s (keep it out of backups of the catalogue; whoever has it reads everything)\n", config.Slots.Root)
		}
		c.printf("time-stamps:   embedded authority, NOT QUALIFIED: for evaluation only\n")
		return nil
	}
	cmd.Flags().StringVar(&n.Tenant, "tenant", "", "code of the first archival agency (default archives)")
	cmd.Flags().StringVar(&n.TenantName, "tenant-name", "", "its name")
	cmd.Flags().StringVar(&n.Origin, "origin", "", "name of the ledger in its checkpoints, such as archives.example.org/sae (default drawn)")
	cmd.Flags().StringSliceVar(&n.AcceptUnknown, "accept-unknown", nil, "what SEDA transfers may name that the configuration does not list: agreements, agencies, rules")
	return cmd
}
