package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/api"
	"sae/archive"
)

func (c *cli) apiKeyCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apikey",
		Short: "API keys, with which programs ask things of sae serve: create, list, revoke",
		Long: `A key is for a tenant, has roles, and is good until a day. While the archive is served, keys are
created and revoked over HTTP (/v1/apikeys). The ledger has each creation and revocation.`,
	}
	cmd.AddCommand(c.apiKeyCreateCmd(), c.apiKeyListCmd(), c.apiKeyRevokeCmd())
	return cmd
}

func (c *cli) apiKeyCreateCmd() *cobra.Command {
	var n archive.NewAPIKey
	var roles []string
	var days int
	cmd := &cobra.Command{
		Use:     "create NAME",
		Short:   "Create a key for who acts as NAME; the secret is printed this once",
		Example: "  sae apikey create teleprocedure-mdph --role depositor --days 365",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if days < 1 {
				return usagef("--days %d: want at least 1", days)
			}
			if err := api.KnownOperations(n.Operations); err != nil {
				return err
			}
			n.Name, n.Expires = args[0], time.Now().AddDate(0, 0, days)
			for _, r := range roles {
				n.Roles = append(n.Roles, archive.Role(r))
			}
			return c.open(false, func(a *archive.Archive) error {
				k, secret, err := a.CreateAPIKey(cmd.Context(), c.agent, n)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(api.CreatedAPIKey{APIKey: *k, Secret: secret})
				}
				c.printf("key %s for %s (%s), until %s\n%s\n", k.ID, k.Name, rolesText(k.Roles), k.Expires.Format(time.DateOnly), secret)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&n.Tenant, "tenant", "", "archival agency (default the first in the configuration)")
	f.StringSliceVar(&roles, "role", nil, "role of the key; may be repeated")
	f.StringSliceVar(&n.Operations, "operation", nil, "operation to which it is limited, such as createDeposit; may be repeated")
	f.IntVar(&days, "days", 365, "for how many days it is good")
	return cmd
}

func rolesText(roles []archive.Role) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return strings.Join(words, ", ")
}

func (c *cli) apiKeyListCmd() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List keys, also those that are not good any more",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				keys, err := a.APIKeys(tenant)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(keys)
				}
				return c.table(func(w io.Writer) {
					for _, k := range keys {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Name, rolesText(k.Roles), strings.Join(k.Operations, ", "), keyState(k))
					}
				})
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first in the configuration)")
	return cmd
}

func keyState(k *archive.APIKey) string {
	switch {
	case k.Revoked != nil:
		return "revoked " + k.Revoked.Format(time.DateOnly)
	case !time.Now().Before(k.Expires):
		return "expired " + k.Expires.Format(time.DateOnly)
	}
	return "until " + k.Expires.Format(time.DateOnly)
}

func (c *cli) apiKeyRevokeCmd() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "revoke KEY",
		Short: "Revoke a key: nobody acts by it any more",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(false, func(a *archive.Archive) error {
				k, err := a.RevokeAPIKey(cmd.Context(), c.agent, tenant, args[0])
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(k)
				}
				c.printf("key %s of %s is revoked: ledger entry %d\n", k.ID, k.Name, k.Entry)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first in the configuration)")
	return cmd
}
