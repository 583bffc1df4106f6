package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/api"
	"sae/archive"
	"sae/archive/serving"
)

func (c *cli) webhookCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Webhooks of sae serve: where each is, what was given up, deliver again",
		Long: `Webhooks are named in sae.yaml (serve.webhooks) and told what happens by sae serve. Here is said where
each is; what is asked for here is done when the archive is served.`,
	}
	var tenant string
	cmd.PersistentFlags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	cmd.AddCommand(c.webhookListCmd(&tenant), c.deadLettersCmd(&tenant), c.webhookReplayCmd(&tenant))
	return cmd
}

// webhooksOf are the webhooks of a tenant, as the configuration names them.
func (c *cli) webhooksOf(a *archive.Archive, tenant string) (out []serving.Webhook) {
	first := a.Config().Tenants[0].ID
	mine := first
	if c.served != nil { // the configuration is of all tenants
		mine = c.served.Tenant
	}
	wanted := orText(tenant, mine)
	for _, h := range a.Config().Serve.With().Webhooks {
		if orText(h.Tenant, first) == wanted && (c.served == nil || wanted == mine) {
			h.Tenant = tenant
			out = append(out, h)
		}
	}
	return out
}

// webhookOf wants a webhook of a tenant.
func (c *cli) webhookOf(a *archive.Archive, tenant, name string) error {
	for _, h := range c.webhooksOf(a, tenant) {
		if h.Name == name {
			return nil
		}
	}
	return fmt.Errorf("webhook %q is not in sae.yaml (serve.webhooks) for this tenant: %w", name, archive.ErrNotFound)
}

func (c *cli) webhookListCmd(tenant *string) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List webhooks, and where each is",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				hooks, err := api.HooksOf(a, c.webhooksOf(a, *tenant), *tenant)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(hooks)
				}
				return c.table(func(w io.Writer) {
					for _, h := range hooks {
						fmt.Fprintf(w, "%s\t%s\tat %s\t%d behind\t%d dead letters\t%s\n", h.Name, h.URL, h.At, h.Behind, h.Dead, hookTrouble(h))
					}
				})
			})
		},
	}
}

// hookTrouble says in words what is wrong with a webhook.
func hookTrouble(h api.ShownHook) string {
	switch {
	case h.Gone:
		return "it answered 410: stopped, until sae webhook replay"
	case h.Failing != nil:
		return fmt.Sprintf("failing since %s (%s, %d times)", h.Failing.Format(time.RFC3339), h.Why, h.Tries)
	}
	return "well"
}

func (c *cli) deadLettersCmd(tenant *string) *cobra.Command {
	return &cobra.Command{
		Use:   "dead-letters NAME",
		Short: "List the events that a webhook did not take in its time",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.open(true, func(a *archive.Archive) error {
				if err := c.webhookOf(a, *tenant, args[0]); err != nil {
					return err
				}
				all := []archive.DeadLetter{}
				err := a.DeadLetters(*tenant, args[0], func(d archive.DeadLetter) (bool, error) { all = append(all, d); return true, nil })
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(all)
				}
				return c.table(func(w io.Writer) {
					for _, d := range all {
						again := ""
						if d.Again {
							again = "to be delivered again"
						}
						fmt.Fprintf(w, "%s\t%s\tgiven up %s\t%s, %d times\t%s\n", d.ID, d.Type, d.Given.Format(time.RFC3339), d.Why, d.Tries, again)
					}
				})
			})
		},
	}
}

func (c *cli) webhookReplayCmd(tenant *string) *cobra.Command {
	var from string
	var letters bool
	cmd := &cobra.Command{
		Use:     "replay NAME",
		Short:   "Deliver again: all from a cursor on, or the dead letters",
		Example: "  sae webhook replay gru --from 1200\n  sae webhook replay gru --dead-letters",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if letters == (from != "") {
				return usagef("name a cursor with --from, or --dead-letters")
			}
			return c.open(false, func(a *archive.Archive) error {
				if err := c.webhookOf(a, *tenant, args[0]); err != nil {
					return err
				}
				if letters {
					n, err := a.ReplayLetters(cmd.Context(), *tenant, args[0])
					if err == nil {
						c.printf("%d dead letters will be delivered again\n", n)
					}
					return err
				}
				at, err := archive.ParseCursor(strings.TrimSpace(from))
				if err != nil {
					return err
				}
				if err := a.ReplayHook(cmd.Context(), *tenant, args[0], at); err != nil {
					return err
				}
				c.printf("webhook %s is told again what happened from %s on\n", args[0], at)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "cursor, or ledger entry, from which on")
	cmd.Flags().BoolVar(&letters, "dead-letters", false, "the dead letters, once each")
	return cmd
}
