package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/retention"
)

func (c *cli) accessCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "access",
		Short: "Access: why a unit is open or not, and derogations: explain, grant, list, revoke",
		Long: `While an AccessRule of a unit runs (Code du patrimoine art. L213-2), it is read by who has a
role that reads, and by who has a derogation (art. L213-3). While a ClassificationRule runs, by
who has a derogation for that alone. get, export, show, list, search and proof obey. See
docs/access.md.`,
	}
	cmd.AddCommand(c.accessExplainCmd(), c.accessGrantCmd(), c.actListCmd(archive.DerogationAct), c.actShowCmd(archive.DerogationAct), c.accessRevokeCmd())
	return cmd
}

func (c *cli) accessExplainCmd() *cobra.Command {
	var person, purpose, at string
	cmd := &cobra.Command{
		Use:   "explain ID",
		Short: "Say whether a unit is open to a person, which rules stand against it, and until when",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if person == "" {
				person = c.agent
			}
			p, err := archive.ParsePurpose(purpose)
			if err != nil {
				return usagef("--purpose %q: %w", purpose, err)
			}
			return c.open(true, func(a *archive.Archive) error {
				closed, err := a.As(person, retention.ToRead).For(p, "").Explain(args[0], at)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(map[string]any{"unit": args[0], "purpose": p, "open": closed == nil, "closed": closed})
				}
				if closed == nil {
					c.printf("unit %s is open to %s for %s\n", args[0], person, p)
					return nil
				}
				c.printf("unit %s is not open to %s for %s", args[0], person, p)
				if closed.From != "" {
					c.printf(" before %s", closed.From)
				}
				c.printf("\n")
				for _, b := range closed.Bars {
					c.printf("  %s %s of unit %s, %s\n", b.Category, orText(b.Rule, "without rule"), b.Unit, orText(span(b.Start, b.End), "no dates"))
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&person, "for", "", "the person (default who asks)")
	cmd.Flags().StringVar(&purpose, "purpose", "access", "access, dissemination, reuse, or another of reading")
	cmd.Flags().StringVar(&at, "at", "", "day for which it is asked (default today)")
	return cmd
}

// reader reads as who runs the program, for the purpose that was said.
func (c *cli) reader(a *archive.Archive) *archive.Reader {
	return a.As(c.agent, retention.ToRead).For(archive.Purpose(orText(string(c.purpose), string(archive.ForInstruction))), c.why)
}

// purposeFlags are for verbs that read.
func (c *cli) purposeFlags(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().Func("purpose", "what it is read for, as the log of accesses has it: access, dissemination or reuse, of which the rules must be over, or instruction (the default), legal-claims, consent, protection-of-others, public-interest, data-subject-request, audit", func(s string) (err error) {
		c.purpose, err = archive.ParsePurpose(s)
		return err
	})
	cmd.Flags().StringVar(&c.why, "why", "", "why it is read; kept enciphered in the log of accesses")
	return cmd
}

func (c *cli) accessGrantCmd() *cobra.Command {
	var tenant string
	var text archive.ActText
	var categories []string
	cmd := &cobra.Command{
		Use:     "grant --to NAME --until DATE ID...",
		Short:   "Let a person read units, and all below them, that are not open yet: as an archivist",
		Example: "  sae access grant --to 'chercheuse-12' --until 2027-06-30 --reason 'dérogation du 3 mars 2026' u…",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text.Units = args
			for _, s := range categories {
				text.Categories = append(text.Categories, retention.Category(s))
			}
			return c.doAct(cmd, tenant, archive.DerogationAct, text)
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().StringVar(&text.Person, "to", "", "the name by which the person acts (--as); kept enciphered")
	cmd.Flags().StringVar(&text.Until, "until", "", "first day on which it is over, YYYY-MM-DD")
	cmd.Flags().StringVar(&text.Reason, "reason", "", "why; kept enciphered")
	cmd.Flags().StringSliceVar(&categories, "category", []string{string(retention.Access)}, "of rules that are derogated from: AccessRule, ClassificationRule, DisseminationRule, ReuseRule")
	return cmd
}

func (c *cli) accessRevokeCmd() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "revoke DEROGATION",
		Short: "Take a derogation back",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.endAct(cmd, archive.DerogationAct, args[0], reason, "revoked")
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept enciphered")
	return cmd
}

// printClosed says what is withheld of a unit, and until when.
func printClosed(w io.Writer, closed *archive.Closed) {
	fmt.Fprintf(w, "not open\t%s\n", closedText(closed))
	for _, b := range closed.Bars {
		fmt.Fprintf(w, "  %s\t%s of unit %s, %s\n", b.Category, orText(b.Rule, "without rule"), b.Unit, orText(span(b.Start, b.End), "no dates"))
	}
}

func closedText(closed *archive.Closed) string {
	return strings.TrimSpace("(not open " + orText(strings.TrimSuffix("before "+closed.From, "before "), "to you") + ")")
}
