package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/archive"
	"sae/retention"
)

func (c *cli) rulesCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rules",
		Short: "The retention schedule (tableau de gestion): list, show, diff, import, export",
		Long: `The retention schedule of a tenant: how long units are kept, from which event on, by
which text, and what becomes of them then. Every version of every rule is kept, and every
change has a ledger entry. See docs/retention.md.`,
	}
	cmd.AddCommand(c.rulesListCmd(), c.rulesShowCmd(), c.rulesDiffCmd(), c.rulesImportCmd(), c.rulesExportCmd())
	return cmd
}

func (c *cli) rulesListCmd() *cobra.Command {
	var tenant, category string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Name the rules in force",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				s, err := a.Rules(tenant)
				if err != nil {
					return err
				}
				all := slices.DeleteFunc(s.All(), func(r retention.Versioned) bool { return category != "" && !r.Of(retention.Category(category)) })
				if c.json {
					return c.printJSON(all)
				}
				return c.table(func(w io.Writer) {
					fmt.Fprintln(w, "RULE\tCATEGORY\tDURATION\tFROM THE\tTHEN\tSTATUS\tNAME")
					for _, r := range all {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, categoryText(r.Rule), durationText(r.Rule), r.Trigger, actionText(r.Rule), r.Status, r.Name)
					}
				})
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().StringVar(&category, "category", "", "only rules of this category, for example AppraisalRule")
	return cmd
}

func categoryText(r retention.Rule) string {
	if r.Category == "" {
		return string(retention.Appraisal)
	}
	return string(r.Category)
}

func durationText(r retention.Rule) string {
	if r.Duration.IsZero() {
		return "-"
	}
	return r.Duration.String()
}

func actionText(r retention.Rule) string {
	if r.Sampling == nil {
		return string(r.FinalAction)
	}
	return string(r.FinalAction) + " (" + samplingText(r.Sampling) + ")"
}

func samplingText(s *retention.Sampling) string {
	switch {
	case s.Every > 0:
		return fmt.Sprintf("1 in %d", s.Every)
	case s.Largest > 0:
		return fmt.Sprintf("largest %d%%", s.Largest)
	case s.Random > 0:
		return fmt.Sprintf("random %d%%", s.Random)
	case len(s.Letters) > 0:
		return "letters " + strings.Join(s.Letters, " ")
	case len(s.Days) > 0:
		return "birthdays on " + strings.Trim(fmt.Sprint(s.Days), "[]")
	}
	return "years " + strings.Trim(fmt.Sprint(s.Years), "[]")
}

func (c *cli) rulesShowCmd() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "show RULE",
		Short: "Show a rule: its terms, its legal basis, its versions",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return c.open(true, func(a *archive.Archive) error {
				versions, err := a.RuleHistory(tenant, args[0])
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(versions)
				}
				return c.printRule(versions)
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	return cmd
}

func (c *cli) printRule(versions []archive.RuleVersion) error {
	r := versions[len(versions)-1]
	return c.table(func(w io.Writer) {
		line := func(name, value string) {
			if value != "" {
				fmt.Fprintf(w, "%s\t%s\n", name, strings.ReplaceAll(value, "\n", " "))
			}
		}
		line("rule", r.ID)
		line("category", categoryText(r.Rule))
		line("name", r.Name)
		line("description", r.Description)
		line("duration", durationText(r.Rule))
		line("from the", r.Trigger)
		line("then", actionText(r.Rule))
		line("basis", r.Basis)
		line("status", string(r.Status))
		line("in force", strings.TrimSpace(r.From+" to "+r.Until))
		for _, v := range versions {
			what := "changed"
			switch {
			case v.Version == 1:
				what = "added"
			case v.Ended:
				what = "ended"
			}
			fmt.Fprintf(w, "version %d\t%s %s (ledger entry %d)\n", v.Version, what, v.Time.Format(time.RFC3339), v.Entry)
		}
	})
}

// maxRules bounds the file of a schedule.
const maxRules = 64 << 20

// readRules reads a schedule from a file, by its ending: .csv is a rule referential.
func (c *cli) readRules(path string) ([]retention.Rule, error) {
	b, err := c.readBounded(path, maxRules)
	if err != nil {
		return nil, err
	}
	parse := retention.ParseYAML
	if strings.EqualFold(filepath.Ext(path), ".csv") {
		parse = retention.ParseCSV
	}
	rules, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rules, nil
}

// rulesSource reads the rules that a command names: a file, or the starting schedule.
func (c *cli) rulesSource(args []string, starting bool) ([]retention.Rule, error) {
	switch {
	case starting == (len(args) == 1):
		return nil, usagef("name a file of rules, or give --starting for the schedule that comes with the program")
	case starting:
		return retention.Starting()
	}
	return c.readRules(args[0])
}

func (c *cli) rulesDiffCmd() *cobra.Command {
	var tenant string
	var replace, starting bool
	cmd := &cobra.Command{
		Use:   "diff [FILE]",
		Short: "Say what importing a schedule would change, and for how many units",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			rules, err := c.rulesSource(args, starting)
			if err != nil {
				return err
			}
			return c.open(true, func(a *archive.Archive) error {
				p, err := a.PlanRules(cmd.Context(), tenant, rules, replace)
				if p == nil {
					return err
				}
				return errors.Join(c.printPlan(p), err)
			})
		},
	}
	c.rulesFlags(cmd, &tenant, &replace, &starting)
	return cmd
}

func (c *cli) rulesFlags(cmd *cobra.Command, tenant *string, replace, starting *bool) {
	cmd.Flags().StringVar(tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().BoolVar(replace, "replace", false, "end the rules that the file does not name; refused for those that units use")
	cmd.Flags().BoolVar(starting, "starting", false, "the starting schedule for a département's social files")
}

func (c *cli) printPlan(p *archive.RulesPlan) error {
	if c.json {
		return c.printJSON(p)
	}
	if len(p.Changes) == 0 {
		c.printf("no difference\n")
		return nil
	}
	return c.table(func(w io.Writer) {
		for _, ch := range p.Changes {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", ch.What, ch.ID, changeText(ch.Change), effectText(ch))
		}
	})
}

func changeText(ch retention.Change) string {
	if ch.What != "changed" {
		r := ch.New
		if r == nil {
			r = ch.Old
		}
		return strings.TrimSpace(durationText(*r) + " " + actionText(*r))
	}
	var out []string
	for _, f := range ch.Fields {
		switch f {
		case "duration":
			out = append(out, "duration "+durationText(*ch.Old)+" -> "+durationText(*ch.New))
		case "final-action", "sampling":
			out = append(out, f+" "+actionText(*ch.Old)+" -> "+actionText(*ch.New))
		default:
			out = append(out, f)
		}
	}
	return strings.Join(out, ", ")
}

func effectText(ch archive.RuleChange) string {
	out := fmt.Sprintf("%d units", ch.Units)
	if ch.Due > 0 {
		out += fmt.Sprintf(", %d become due", ch.Due)
	}
	if ch.Later > 0 {
		out += fmt.Sprintf(", %d are no longer due", ch.Later)
	}
	return out
}

func (c *cli) rulesImportCmd() *cobra.Command {
	var tenant string
	var replace, starting bool
	cmd := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Add and change rules, from YAML or from a rule referential in CSV",
		Long: `Add and change rules, from YAML or, when the file ends in .csv, from a rule referential
(RuleId, RuleType, RuleValue, RuleDescription, RuleDuration, RuleMeasurement). What changes is
shown first as "sae rules diff" shows it; all of it is one ledger entry.`,
		Example: "  sae rules import tableau.yaml\n  sae rules import --starting",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			rules, err := c.rulesSource(args, starting)
			if err != nil {
				return err
			}
			return c.open(false, func(a *archive.Archive) error {
				p, err := a.PlanRules(cmd.Context(), tenant, rules, replace)
				if err != nil {
					return err
				}
				if len(p.Changes) == 0 {
					c.printf("no difference\n")
					return nil
				}
				entry, err := a.ChangeRules(cmd.Context(), c.agent, p)
				if err != nil {
					return err
				}
				if err := c.printPlan(p); err != nil || c.json {
					return err
				}
				c.printf("%d rules changed (ledger entry %d)\n", len(p.Changes), entry)
				return nil
			})
		},
	}
	c.rulesFlags(cmd, &tenant, &replace, &starting)
	return cmd
}

func (c *cli) rulesExportCmd() *cobra.Command {
	var tenant, out string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the rules in force as YAML, or as a rule referential in CSV",
		Long: `Write the rules in force, as YAML or, with --out FILE.csv, as a rule referential, which has
no final actions, triggers, texts and states.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				s, err := a.Rules(tenant)
				if err != nil {
					return err
				}
				var rules []retention.Rule
				for _, r := range s.All() {
					rules = append(rules, r.Rule)
				}
				format := retention.FormatYAML
				if strings.EqualFold(filepath.Ext(out), ".csv") {
					format = retention.FormatCSV
				}
				b, err := format(rules)
				if err != nil {
					return err
				}
				if out == "" {
					_, err = io.Copy(c.out, bytes.NewReader(b))
					return err
				}
				return c.writeNew(out, func(w io.Writer) error { _, err := w.Write(b); return err })
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	cmd.Flags().StringVarP(&out, "out", "o", "", "file; it must not exist (default standard output)")
	return cmd
}
