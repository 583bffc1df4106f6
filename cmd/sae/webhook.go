package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/api"
	"sae/archive"
)

func (c *cli) webhookCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Webhooks, which sae serve tells what happens: add, list, show, disable, remove, replay",
		Long: `A webhook is an address to which sae serve sends each event of a tenant, signed. While the archive is
served, webhooks are managed over HTTP (/v1/webhooks). NAME is the name of a webhook, or its identifier.
The ledger has each change.`,
	}
	var tenant string
	cmd.PersistentFlags().StringVar(&tenant, "tenant", "", "archival agency (default the first in the configuration)")
	cmd.AddCommand(c.webhookAddCmd(&tenant), c.webhookListCmd(&tenant), c.webhookShowCmd(&tenant), c.webhookStopCmd(&tenant, true), c.webhookStopCmd(&tenant, false),
		c.webhookSecretCmd(&tenant), c.webhookRemoveCmd(&tenant), c.deadLettersCmd(&tenant), c.webhookReplayCmd(&tenant))
	return cmd
}

func (c *cli) webhookAddCmd(tenant *string) *cobra.Command {
	var n archive.NewWebhook
	cmd := &cobra.Command{
		Use:     "add NAME URL",
		Short:   "Register a webhook, which is told what happens from now on; its secret is printed this once",
		Example: "  sae webhook add gru https://gru.cd99.example/sae --type sae.deposit --type sae.refused",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			n.Tenant, n.Name, n.URL = *tenant, args[0], args[1]
			return c.open(false, func(a *archive.Archive) error {
				w, secret, err := a.AddWebhook(cmd.Context(), c.agent, n)
				if err != nil {
					return err
				}
				return c.printSecret(a, w, secret)
			})
		},
	}
	cmd.Flags().StringSliceVar(&n.Types, "type", nil, "type of event that it is told; may be repeated (default all)")
	return cmd
}

// printSecret prints a webhook, with a secret that was drawn.
func (c *cli) printSecret(a *archive.Archive, w *archive.Webhook, secret string) error {
	if c.json {
		x, err := api.HookOf(a, w)
		if err != nil {
			return err
		}
		return c.printJSON(api.HookWithSecret{ShownHook: *x, Secret: secret})
	}
	c.printf("webhook %s, %s: ledger entry %d\n", w.ID, w.Name, w.Entry)
	if secret != "" {
		c.printf("%s\n", secret)
	}
	return nil
}

func (c *cli) webhookListCmd(tenant *string) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List webhooks, and where each is",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				hooks, err := api.HooksOf(a, *tenant)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(hooks)
				}
				return c.table(func(w io.Writer) {
					for _, h := range hooks {
						fmt.Fprintf(w, "%s\t%s\t%s\t%d behind\t%d dead letters\t%s\n", h.ID, h.Name, h.URL, h.Behind, h.Dead, hookTrouble(h))
					}
				})
			})
		},
	}
}

// hookTrouble says in words what is wrong with a webhook.
func hookTrouble(h *api.ShownHook) string {
	switch {
	case h.Disabled != nil:
		return "disabled since " + h.Disabled.Format(time.RFC3339)
	case h.Gone:
		return "it answered 410: stopped, until sae webhook enable"
	case h.Failing != nil:
		return fmt.Sprintf("failing since %s (%s, %d times)", h.Failing.Format(time.RFC3339), h.Why, h.Tries)
	}
	return "well"
}

func (c *cli) webhookShowCmd(tenant *string) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Show a webhook, and where it is",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.open(true, func(a *archive.Archive) error {
				w, err := a.WebhookOf(*tenant, args[0])
				if err != nil {
					return err
				}
				h, err := api.HookOf(a, w)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(h)
				}
				types := "all"
				if len(h.Types) > 0 {
					types = strings.Join(h.Types, ", ")
				}
				return c.table(func(w io.Writer) {
					fmt.Fprintf(w, "webhook\t%s\nname\t%s\naddress\t%s\nevents\t%s\nsecrets\t%d\nadded\t%s\nat\t%s (%d behind)\ndead letters\t%d\nstate\t%s\n",
						h.ID, h.Name, h.URL, types, h.Secrets, h.Created.Format(time.RFC3339), h.At, h.Behind, h.Dead, hookTrouble(h))
				})
			})
		},
	}
}

// changeWebhook changes a webhook, and prints it.
func (c *cli) changeWebhook(cmd *cobra.Command, tenant, word string, change archive.WebhookChange) error {
	return c.open(false, func(a *archive.Archive) error {
		w, err := a.WebhookOf(tenant, word)
		if err != nil {
			return err
		}
		w, secret, err := a.ChangeWebhook(cmd.Context(), c.agent, tenant, w.ID, change)
		if err != nil {
			return err
		}
		return c.printSecret(a, w, secret)
	})
}

func (c *cli) webhookStopCmd(tenant *string, stop bool) *cobra.Command {
	use, short := "enable NAME", "Let a webhook go on where it stopped, also one that answered 410"
	if stop {
		use, short = "disable NAME", "Stop a webhook where it is: it is told nothing until it is enabled"
	}
	return &cobra.Command{Use: use, Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.changeWebhook(cmd, *tenant, args[0], archive.WebhookChange{Disabled: &stop})
		}}
}

func (c *cli) webhookSecretCmd(tenant *string) *cobra.Command {
	return &cobra.Command{
		Use:       "secret NAME rotate|retire",
		Short:     "Replace a secret: rotate draws a second, and both sign; retire drops the first",
		Args:      cobra.ExactArgs(2),
		ValidArgs: []string{"rotate", "retire"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.changeWebhook(cmd, *tenant, args[0], archive.WebhookChange{Secret: archive.SecretChange(args[1])})
		},
	}
}

func (c *cli) webhookRemoveCmd(tenant *string) *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a webhook, with its secrets and its dead letters",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(false, func(a *archive.Archive) error {
				w, err := a.WebhookOf(*tenant, args[0])
				if err == nil {
					err = a.RemoveWebhook(cmd.Context(), c.agent, *tenant, w.ID)
				}
				if err != nil {
					return err
				}
				c.printf("webhook %s, %s, is removed\n", w.ID, w.Name)
				return nil
			})
		},
	}
}

func (c *cli) deadLettersCmd(tenant *string) *cobra.Command {
	return &cobra.Command{
		Use:     "deadletters NAME",
		Aliases: []string{"dead-letters"},
		Short:   "List the events that a webhook did not take in its time",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.open(true, func(a *archive.Archive) error {
				hook, err := a.WebhookOf(*tenant, args[0])
				if err != nil {
					return err
				}
				all := []archive.DeadLetter{}
				err = a.DeadLetters(*tenant, hook.ID, func(d archive.DeadLetter) (bool, error) { all = append(all, d); return true, nil })
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
	var from, since string
	var letters bool
	cmd := &cobra.Command{
		Use:     "replay NAME",
		Short:   "Deliver again: all from a cursor or a time on, or the dead letters",
		Example: "  sae webhook replay gru --from 1200\n  sae webhook replay gru --since 2026-05-01T00:00:00Z\n  sae webhook replay gru --dead-letters",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f := cmd.Flags()
			if named := slices.DeleteFunc([]string{"from", "since", "dead-letters"}, func(x string) bool { return !f.Changed(x) }); len(named) != 1 {
				return usagef("name a cursor with --from, a time with --since, or --dead-letters: one of them")
			}
			return c.open(false, func(a *archive.Archive) error {
				w, err := a.WebhookOf(*tenant, args[0])
				if err != nil {
					return err
				}
				if letters {
					n, err := a.ReplayLetters(cmd.Context(), *tenant, w.ID)
					if err == nil {
						c.printf("%d dead letters will be delivered again\n", n)
					}
					return err
				}
				at, err := placeOf(a, from, since)
				if err == nil {
					err = a.ReplayHook(cmd.Context(), *tenant, w.ID, at)
				}
				if err != nil {
					return err
				}
				c.printf("webhook %s is told again what happened from %s on\n", w.Name, at)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "cursor, or ledger entry, from which on")
	cmd.Flags().StringVar(&since, "since", "", "time from which on, such as 2026-05-01T00:00:00Z")
	cmd.Flags().BoolVar(&letters, "dead-letters", false, "the dead letters, once each")
	return cmd
}

// placeOf is the place in the feed that a cursor or a time names.
func placeOf(a *archive.Archive, from, since string) (archive.Cursor, error) {
	if since == "" {
		return archive.ParseCursor(strings.TrimSpace(from))
	}
	at, err := time.Parse(time.RFC3339, since)
	if err != nil {
		return archive.Cursor{}, usagef("--since %q: want a time such as 2026-05-01T00:00:00Z", since)
	}
	return a.FeedSince(at)
}
