package main

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/archive"
)

func (c *cli) gdprCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gdpr",
		Short: "Protection of personal data: register, check, log, verify-log, purge-log",
	}
	cmd.AddCommand(c.gdprRegisterCmd(), c.gdprCheckCmd(), c.gdprLogCmd(), c.gdprVerifyLogCmd(), c.gdprPurgeLogCmd())
	return cmd
}

func (c *cli) gdprLogCmd() *cobra.Command {
	var f archive.AccessFilter
	var tenant, from, to, purpose string
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Print who read what, when and for what: as the data-protection officer",
		Long: `Print the log of accesses to personal data: who read which units when, how, for what and why,
or was refused. It is for who has the role data-protection-officer, and is logged itself. What
readers wrote down since is taken into the log before.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if f.From, err = parseDay(from, 0); err != nil {
				return usagef("--from %w", err)
			}
			if f.To, err = parseDay(to, 1); err != nil {
				return usagef("--to %w", err)
			}
			if purpose != "" {
				if f.Purpose, err = archive.ParsePurpose(purpose); err != nil {
					return usagef("--purpose %q: %w", purpose, err)
				}
			}
			return c.open(false, func(a *archive.Archive) error {
				enc := json.NewEncoder(c.out)
				enc.SetEscapeHTML(false)
				return c.reader(a).For(archive.ForAudit, c.why).AccessLog(cmd.Context(), tenant, f, func(x archive.Access) error {
					if c.json {
						return enc.Encode(x)
					}
					c.printAccess(&x)
					return nil
				})
			})
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	fl.StringVar(&f.Unit, "unit", "", "only what touched this unit")
	fl.StringVar(&f.Agent, "agent", "", "only of this person, as --as gives the name")
	fl.StringVar(&from, "from", "", "from this day, or RFC 3339 time, on")
	fl.StringVar(&to, "to", "", "up to this day included, or before this RFC 3339 time")
	fl.StringVar(&purpose, "purpose", "", "only for this purpose")
	fl.StringVar(&c.why, "why", "", "why the log is read; kept enciphered in it")
	return cmd
}

// printAccess prints a record on one line.
func (c *cli) printAccess(x *archive.Access) {
	c.printf("%s  %s  %s  %s  %s  %s", x.Time.UTC().Format(time.RFC3339), x.Name, x.Verb, x.Purpose, x.Outcome, orText(strings.Join(x.Units, " "), "-"))
	if len(x.Derogations) > 0 {
		c.printf("  by %s", strings.Join(x.Derogations, " "))
	}
	if x.Why != "" {
		c.printf("  (%s)", strings.Join(strings.Fields(x.Why), " "))
	}
	c.printf("\n")
}

func (c *cli) gdprVerifyLogCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "verify-log",
		Short: "Hold the log of accesses against the ledger: what was changed or removed is named",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				r, err := a.VerifyAccessLog()
				if err != nil {
					return err
				}
				if c.json {
					err = c.printJSON(r)
				} else {
					for _, f := range r.Findings {
						c.printf("! %s\n", f)
					}
					c.printf("%d records in %d chunks, of %d ledger entries; chunks purged: %d; findings: %d\n", r.Records, r.Chunks, r.Entries, r.Purged, len(r.Findings))
				}
				if err == nil && len(r.Findings) > 0 {
					err = errDamage
				}
				return err
			})
		},
	}
}

func (c *cli) gdprPurgeLogCmd() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "purge-log",
		Short: "Destroy what of the log of accesses was kept long enough (gdpr: access-log in sae.yaml, one year when absent)",
		Long: `Destroy the records of the log of accesses that were kept for the time that sae.yaml gives under
gdpr: access-log, one year when it gives none, with the keys under which they are: no old copy of
the archive opens them. Their number and the roots over them stay in the ledger. It is for who has
the role data-protection-officer or archivist.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(false, func(a *archive.Archive) error {
				r, err := a.PurgeAccessLog(cmd.Context(), c.agent, tenant)
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(r)
				}
				if r.Chunks == 0 {
					c.printf("nothing of the log is from before %s\n", r.Before)
					return nil
				}
				c.printf("%d records from before %s destroyed (ledger entry %d)\n", r.Records, r.Before, r.Entry)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "archival agency (default the first)")
	return cmd
}
