package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/archive"
)

func (c *cli) holdCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hold",
		Short: "Holds (gel): units that must not be destroyed for now: set, lift, list, show",
		Long: `A hold (SEDA HoldRule, gel) keeps units, and all below them, from being destroyed until a
day, or until it is lifted: a dispute, an inquiry, a request. Why, and for whom, is kept
enciphered; the ledger has an entry for each hold, and for its end.`,
	}
	cmd.AddCommand(c.holdSetCmd(), c.holdLiftCmd(), c.holdReviewCmd(), c.actListCmd(archive.HoldAct), c.actShowCmd(archive.HoldAct))
	return cmd
}

func (c *cli) holdSetCmd() *cobra.Command {
	var tenant string
	var text archive.ActText
	cmd := &cobra.Command{
		Use:     "set ID...",
		Short:   "Put units on hold, and all below them",
		Example: "  sae hold set --reason 'recours du 3 mars 2026, TA de Melun' --owner 'service juridique' u…",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text.Units = args
			return c.doAct(cmd, tenant, archive.HoldAct, text)
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().StringVar(&text.Reason, "reason", "", "why; kept enciphered")
	cmd.Flags().StringVar(&text.Owner, "owner", "", "who wants it; kept enciphered")
	cmd.Flags().StringVar(&text.Until, "until", "", "first day on which it is over, YYYY-MM-DD (default until it is lifted)")
	cmd.Flags().StringVar(&text.Review, "review", "", "day on which it is to be looked at again, YYYY-MM-DD: sae status says when that is late")
	cmd.Flags().StringVar(&text.Class, "class", "", "what it is for: "+strings.Join(archive.HoldClasses, ", ")+"; kept enciphered")
	return cmd
}

func (c *cli) holdReviewCmd() *cobra.Command {
	var next, reason string
	cmd := &cobra.Command{
		Use:   "review HOLD",
		Short: "Say that a hold was looked at again and stays",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(false, func(a *archive.Archive) error {
				act, err := a.ReviewHold(cmd.Context(), c.agent, args[0], next, reason)
				if err != nil {
					return err
				}
				return c.told(act, "hold %s stays; to be looked at again: %s\n", act.ID, orText(act.Review, "no day"))
			})
		},
	}
	cmd.Flags().StringVar(&next, "next", "", "day on which it is to be looked at the next time, YYYY-MM-DD (default none)")
	cmd.Flags().StringVar(&reason, "reason", "", "why it stays; kept enciphered")
	return cmd
}

func (c *cli) doAct(cmd *cobra.Command, tenant string, kind archive.ActKind, text archive.ActText) error {
	return c.open(false, func(a *archive.Archive) error {
		act, err := a.Act(cmd.Context(), c.agent, tenant, kind, text)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(act)
		}
		c.printf("%s %s on %d units (ledger entry %d)\n", act.Kind, act.ID, len(act.Units), act.Entry)
		return nil
	})
}

func (c *cli) endAct(cmd *cobra.Command, kind archive.ActKind, id, reason, what string) error {
	return c.open(false, func(a *archive.Archive) error {
		if act, err := a.ActOf(id); err != nil {
			return err
		} else if act.Kind != kind {
			return fmt.Errorf("%s is a %s, not a %s", id, act.Kind, kind)
		}
		act, err := a.EndAct(cmd.Context(), c.agent, id, reason)
		if err != nil {
			return err
		}
		if c.json {
			return c.printJSON(act)
		}
		c.printf("%s %s was %s (ledger entry %d)\n", act.Kind, act.ID, what, act.Ended.Entry)
		return nil
	})
}

func (c *cli) holdLiftCmd() *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "lift HOLD",
		Short: "Lift a hold",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.endAct(cmd, archive.HoldAct, args[0], reason, "lifted")
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why; kept enciphered")
	return cmd
}

func (c *cli) actListCmd(kind archive.ActKind) *cobra.Command {
	var tenant string
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: fmt.Sprintf("Name each %s in force", kind),
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				acts, err := c.reader(a).Acts(tenant, kind)
				if err != nil {
					return err
				}
				shown := []*archive.Act{}
				for _, act := range acts {
					if all || act.Ended == nil {
						shown = append(shown, act)
					}
				}
				if c.json {
					return c.printJSON(shown)
				}
				return c.table(func(w io.Writer) {
					for _, act := range shown {
						fmt.Fprintf(w, "%s\t%s\t%s\t%d units\t%s\n", act.ID, act.Time.Format(time.RFC3339), actState(act), len(act.Units), whyText(act))
					}
				})
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().BoolVar(&all, "all", false, "those that ended too")
	return cmd
}

func whyText(act *archive.Act) string {
	if act.Withheld {
		return "(for who has a role that reads)"
	}
	return act.Reason
}

func actState(act *archive.Act) string {
	switch {
	case act.Ended != nil:
		return "ended " + act.Ended.Time.Format(time.DateOnly)
	case act.Review != "" && act.Review <= today():
		return "review late since " + act.Review
	case act.Kind == archive.DerogationAct:
		return "until " + act.Until + ", for " + orText(act.Person, "a person")
	case act.Until != "":
		return "until " + act.Until
	case act.Review != "":
		return "review on " + act.Review
	case act.Kind == archive.StartAct:
		return act.Rule + " from " + act.Start
	case act.Kind == archive.SampleAct:
		return fmt.Sprintf("%s, %d kept", act.Rule, len(act.Kept))
	case act.Kind == archive.EventAct && act.Event != "":
		return act.Event + " on " + act.Day
	case act.Kind == archive.RestrictionAct && act.Before > 0:
		return fmt.Sprintf("in force, versions before %d", act.Before)
	}
	return "in force"
}

func (c *cli) actShowCmd(kind archive.ActKind) *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: fmt.Sprintf("Show a %s: its units, its reason, its end", kind),
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.open(true, func(a *archive.Archive) error {
				act, err := c.reader(a).Act(args[0])
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(act)
				}
				return c.table(func(w io.Writer) {
					fmt.Fprintf(w, "%s\t%s\n", act.Kind, act.ID)
					fmt.Fprintf(w, "set\t%s (ledger entry %d)\n", act.Time.Format(time.RFC3339), act.Entry)
					fmt.Fprintf(w, "state\t%s\n", actState(act))
					if act.Ended != nil {
						fmt.Fprintf(w, "ended\t%s (ledger entry %d)\n", act.Ended.Time.Format(time.RFC3339), act.Ended.Entry)
					}
					for _, x := range [][2]string{{"for", act.Owner}, {"class", act.Class}, {"person", act.Person}, {"review", act.Review}, {"event", act.Event}, {"day", act.Day},
						{"purposes", purposesText(act)}, {"request", act.Request}} {
						if x[1] != "" {
							fmt.Fprintf(w, "%s\t%s\n", x[0], x[1])
						}
					}
					for _, s := range act.Starts {
						fmt.Fprintf(w, "starts\t%s from %s for unit %s\n", s.Rule, s.Start, s.Unit)
					}
					fmt.Fprintf(w, "reason\t%s\n", whyText(act))
					for _, u := range act.Units {
						fmt.Fprintf(w, "unit\t%s\n", u)
					}
				})
			})
		},
	}
}

// purposesText are the purposes for which a restriction lets units be read.
func purposesText(act *archive.Act) string {
	if act.Kind != archive.RestrictionAct || act.Withheld && act.Purposes == nil {
		return ""
	}
	var all []string
	for _, p := range act.Purposes {
		all = append(all, string(p))
	}
	return orText(strings.Join(all, ", "), "none")
}

func (c *cli) retentionStartCmd() *cobra.Command {
	var tenant, event, start string
	var text archive.ActText
	cmd := &cobra.Command{
		Use:   "start --rule RULE --event DATE ID...",
		Short: "Say on which day the retention of a rule starts for units, now that its event is known",
		Long: `Say on which day the retention of a rule starts for units. --event is the day of the event
that the rule names as its trigger: for birthday-18 the day of birth. --start is the day
itself. The units then declare the rule, from that day, whatever day they declared before.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (event == "") == (start == "") {
				return usagef("give --event, the day of the event that starts the rule, or --start, the day itself")
			}
			text.Units, text.Start = args, start
			if event == "" {
				return c.doAct(cmd, tenant, archive.StartAct, text)
			}
			day, err := time.Parse(time.DateOnly, event)
			if err != nil {
				return usagef("--event %q is not a day: want YYYY-MM-DD", event)
			}
			err = c.open(true, func(a *archive.Archive) error {
				s, err := a.Rules(tenant)
				if err == nil {
					r, _ := s.Rule(text.Rule)
					text.Start = r.StartOf(day).Format(time.DateOnly)
				}
				return err
			})
			if err != nil {
				return err
			}
			return c.doAct(cmd, tenant, archive.StartAct, text)
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().StringVar(&text.Rule, "rule", "", "appraisal rule")
	cmd.Flags().StringVar(&event, "event", "", "day of the event, YYYY-MM-DD")
	cmd.Flags().StringVar(&start, "start", "", "day on which it starts, YYYY-MM-DD")
	cmd.Flags().StringVar(&text.Reason, "reason", "", "why, for example the decision; kept enciphered")
	return cmd
}

// actsCmd are the verbs on acts that can be taken back.
func (c *cli) actsCmd(use, short string, kind archive.ActKind) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short + ": list, show, take back"}
	var reason string
	back := &cobra.Command{
		Use:   "take-back ID",
		Short: fmt.Sprintf("Take a %s back", kind),
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.endAct(cmd, kind, args[0], reason, "taken back")
		},
	}
	back.Flags().StringVar(&reason, "reason", "", "why; kept enciphered")
	cmd.AddCommand(c.actListCmd(kind), c.actShowCmd(kind), back)
	return cmd
}
