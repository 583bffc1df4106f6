package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/archive"
)

func (c *cli) auditCmd() *cobra.Command {
	var sample string
	var repair, removeExtra, continued, ciphertext, noKeys bool
	var watch, within time.Duration
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Re-read every copy of every object, the evidence and the ledger; repair bad copies from good ones",
		Long: `Re-read the archive: every record of the catalogue, the whole ledger, every batch and
token, every description, and every copy of every object in every offer. The
result goes into the ledger. With --repair a bad or missing copy is replaced by a
good one. The exit status is 3 when damage remains.

--sample 5% reads the copies of objects drawn at random; with --continue, of those
that follow on the last such audit: run daily with --sample 4%, every object is read
at least once in 25 days. Catalogue, ledger and evidence are read whole each time.

--no-keys only holds every copy against the SHA-256 of its ciphertext, where the root key is
not: nothing is repaired, nothing entered into the ledger.

--watch 1h --within 720h audits every hour, until interrupted, as much as it takes to
read every object at least once in 30 days; the archive is opened only meanwhile.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if noKeys {
				if cmd.Flags().NFlag() > 1 && (repair || removeExtra || continued || watch != 0) {
					return usagef("--no-keys only reads, and reads everything")
				}
				return c.scrub(cmd.Context())
			}
			share, err := parseSample(sample)
			if err != nil {
				return err
			}
			o := archive.AuditOptions{Sample: share, Repair: repair, RemoveExtra: removeExtra, Continue: continued, Ciphertext: ciphertext}
			if watch == 0 && within == 0 {
				return c.audit(cmd.Context(), o)
			}
			if watch <= 0 || within < watch {
				return usagef("--watch %s --within %s: want how often to audit, and the longer time within which every object is read", watch, within)
			}
			o.Sample, o.Continue = float64(watch)/float64(within), true
			return c.auditWatch(cmd.Context(), o, watch)
		},
	}
	cmd.Flags().StringVar(&sample, "sample", "100%", "share of the objects whose copies are read, such as 5%")
	cmd.Flags().BoolVar(&repair, "repair", false, "replace bad and missing copies")
	cmd.Flags().BoolVar(&continued, "continue", false, "with --sample: go on where the last audit that continued has ended, instead of drawing")
	cmd.Flags().DurationVar(&watch, "watch", 0, "audit again after this time, such as 1h, until interrupted; with --within")
	cmd.Flags().DurationVar(&within, "within", 0, "with --watch: read every object at least once within this time, such as 720h")
	cmd.Flags().BoolVar(&ciphertext, "ciphertext", false, "hold copies against the SHA-256 of their ciphertext, without deciphering them")
	cmd.Flags().BoolVar(&noKeys, "no-keys", false, "without the root key: copies against the SHA-256 of their ciphertext, and nothing else")
	cmd.Flags().BoolVar(&removeExtra, "remove-extra", false, "remove blobs that no object refers to (after a rollback: what a newer catalogue refers to)")
	return cmd
}

func (c *cli) audit(ctx context.Context, o archive.AuditOptions) error {
	return c.open(false, func(a *archive.Archive) error {
		bar := c.newBar(-1, "auditing")
		o.Progress = bar.set
		report, err := a.Audit(ctx, c.agent, o)
		bar.finish()
		if report == nil {
			return err
		}
		return errors.Join(c.printAudit(report), err)
	})
}

// auditWatch audits again and again; what is found is printed, and goes on standing in the
// status.
func (c *cli) auditWatch(ctx context.Context, o archive.AuditOptions, every time.Duration) error {
	return c.repeat(ctx, every, func() error {
		if err := c.audit(ctx, o); err != nil && !errors.Is(err, errDamage) && ctx.Err() == nil {
			c.log().Error("auditing failed, trying again", "in", every, "error", err)
		}
		return nil
	})
}

// scrub reads all copies without a key; damage ends with status 3.
func (c *cli) scrub(ctx context.Context) error {
	return c.openWith(archive.Options{NoKeys: true}, func(a *archive.Archive) error {
		s, err := a.Scrub(ctx)
		if err != nil {
			return err
		}
		if c.json {
			err = c.printJSON(s)
		} else {
			c.printf("read %d blobs in %d copies, %s\n", s.Blobs, s.Copies, bytesText(s.Bytes))
			for _, f := range s.Findings {
				c.printf("%s  %s  %s%s: %s\n", outcome(f), f.What, f.Where, inOffer(f.Offer), strings.ReplaceAll(f.Why, "\n", "; "))
			}
			c.printf("findings: %d\n", len(s.Findings))
		}
		if err == nil && len(s.Findings) > 0 {
			err = errDamage
		}
		return err
	})
}

func parseSample(s string) (float64, error) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !(n > 0 && n <= 100) {
		return 0, usagef("--sample %q: want a percentage above 0 and up to 100, such as 5%%", s)
	}
	return n / 100, nil
}

// printAudit prints a report; damage that remains ends with status 3.
func (c *cli) printAudit(r *archive.AuditReport) error {
	if c.json {
		if err := c.printJSON(r); err != nil {
			return err
		}
	} else {
		c.printf("audited %d units, %d objects, %d copies, %s of content, %d batches in %.1f s\n",
			r.Units, r.Objects, r.Copies, bytesText(r.Bytes), r.Batches, r.Seconds)
		for _, f := range r.List {
			c.printf("%s  %s  %s%s: %s\n", outcome(f), f.What, f.Where, inOffer(f.Offer), strings.ReplaceAll(f.Why, "\n", "; "))
		}
		c.printf("findings: %d, repaired: %d, lost: %d (ledger entry %d)\n", r.Findings, r.Repaired, r.Lost, r.Entry)
	}
	if !r.Sound() {
		return errDamage
	}
	return nil
}

func outcome(f archive.Finding) string {
	switch {
	case f.Repaired:
		return "REPAIRED"
	case f.Lost:
		return "LOST    "
	}
	return "DAMAGED "
}

func inOffer(name string) string {
	if name == "" {
		return ""
	}
	return " in offer " + name
}

func (c *cli) fsckCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "fsck",
		Short: "Hold catalogue, ledger, evidence and offers against each other, and say what to do about what does not fit",
		Long: `Hold catalogue, ledger, evidence and offers against each other, in both
directions: what one speaks of and another lacks, and what is there that nothing
speaks of. Of copies it looks at names and lengths; "sae audit" reads their bytes.
Nothing is changed. Exit status 3 when something was found.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(true, func(a *archive.Archive) error {
				r, err := a.Fsck(cmd.Context())
				if err != nil {
					return err
				}
				if c.json {
					err = c.printJSON(r)
				} else {
					for _, f := range r.Findings {
						c.printf("%-10s%s %s%s: %s\n          %s\n", strings.ToUpper(f.Kind), f.What, f.Where, inOffer(f.Offer), strings.ReplaceAll(f.Why, "\n", "; "), f.Do)
					}
					c.printf("%d ledger entries, %d leaves, %d batches, %d blobs in %d copies; findings: %d\n", r.Entries, r.Leaves, r.Batches, r.Blobs, r.Copies, len(r.Findings))
				}
				if err == nil && len(r.Findings) > 0 {
					err = errDamage
				}
				return err
			})
		},
	}
}

func (c *cli) repairCmd() *cobra.Command {
	var acceptLoss, reason string
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Make the copies that were missing when their deposits were acknowledged, delete those not used any more",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if (acceptLoss == "") != (reason == "") {
				return usagef("--accept-loss names an object of which no good copy is left, --reason says why it is given up: give both")
			}
			return c.open(false, func(a *archive.Archive) error {
				if acceptLoss != "" {
					entry, err := a.AcceptLoss(cmd.Context(), c.agent, acceptLoss, reason)
					if err == nil {
						c.printf("object %s is given up (ledger entry %d)\n", acceptLoss, entry)
					}
					return err
				}
				r, err := a.RepairQueue(cmd.Context(), c.agent)
				if err != nil {
					return err
				}
				if c.json {
					err = c.printJSON(r)
				} else {
					missing := 0
					for _, f := range r.Left {
						if f.What == "copy" {
							missing++
						}
					}
					c.printf("copies made: %d, still missing: %d\n", r.Copies, missing)
					if n := len(r.Left) - missing; r.Deleted > 0 || n > 0 {
						c.printf("copies deleted: %d, still to be deleted: %d\n", r.Deleted, n)
					}
					for _, f := range r.Left {
						c.printf("%s  %s%s: %s\n", map[bool]string{true: "missing", false: "not deleted"}[f.What == "copy"], f.Where, inOffer(f.Offer), strings.ReplaceAll(f.Why, "\n", "; "))
					}
				}
				if err == nil && len(r.Left) > 0 {
					err = errSaid
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&acceptLoss, "accept-loss", "", "give up this object, of which no good copy is left: the status names it no more")
	cmd.Flags().StringVar(&reason, "reason", "", "why it is given up; kept enciphered")
	return cmd
}

func (c *cli) compactCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "compact",
		Short: "Put small objects that have a blob each into packs, and reclaim what destroyed ones left in packs",
		Long: `Small objects of large deposits share blobs, packs, so that millions of them do not cost
a file or a PUT each. compact puts those of other deposits into packs too, writes packs anew
in which objects were destroyed, and deletes in every offer what is not used any more.
What a lock keeps is deleted by a later run, when the lock has ended.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.open(false, func(a *archive.Archive) error {
				r, err := a.Compact(cmd.Context())
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(r)
				}
				c.printf("objects moved: %d (%d had a blob each), blobs given up: %d, reclaimed: %s\n", r.Objects, r.Gathered, r.Blobs, bytesText(r.Reclaimed))
				c.printf("copies deleted: %d, still to be deleted: %d\n", r.Deleted, r.Waiting)
				if r.Locked > 0 {
					c.printf("a lock keeps %s that no object needs any more\n", bytesText(r.Locked))
				}
				return nil
			})
		},
	}
}

func (c *cli) statusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Counts, what waits for its seal, last audit, time-stamping certificates, offers, disks, and what to look at",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				s, err := a.Status()
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(s)
				}
				return c.printStatus(s)
			})
		},
	}
}

func (c *cli) printStatus(s *archive.Status) error {
	err := c.table(func(w io.Writer) {
		fmt.Fprintf(w, "archive\t%s (tenants: %s)\n", s.Archive, strings.Join(s.Tenants, ", "))
		fmt.Fprintf(w, "holds\t%d units, %d objects, %s\n", s.Units, s.Objects, bytesText(s.Bytes))
		fmt.Fprintf(w, "ledger\t%d entries, %d batches sealed\n", s.Ledger, s.Batches)
		if s.Pending > 0 {
			fmt.Fprintf(w, "to seal\t%d leaves, waiting since %s\n", s.Pending, timeText(s.PendingFrom))
		} else {
			fmt.Fprintf(w, "to seal\tnothing\n")
		}
		if s.LastSeal != nil {
			fmt.Fprintf(w, "last seal\t%s\n", timeText(s.LastSeal))
		}
		waiting := ""
		if s.Accesses.Waiting > 0 {
			waiting = fmt.Sprintf(", %d accesses to take in since %s", s.Accesses.Waiting, timeText(s.Accesses.Since))
		}
		fmt.Fprintf(w, "log of accesses\t%d records%s\n", s.Accesses.Records, waiting)
		if l := s.LastAudit; l != nil {
			fmt.Fprintf(w, "last audit\t%s: %d objects (%.0f%%), %d findings, %d repaired, %d lost\n",
				l.Time.Format(time.RFC3339), l.Objects, l.Sample*100, l.Findings, l.Repaired, l.Lost)
		} else {
			fmt.Fprintf(w, "last audit\tnever\n")
		}
		if b := s.LastBackup; b != nil {
			fmt.Fprintf(w, "last backup\t%s: generation %d, a ledger of %d entries, %s\n", timeText(&b.Time), b.Generation, b.Ledger, bytesText(b.Bytes))
		}
		for _, x := range s.Authorities {
			expires := "no token of it here yet"
			if x.Expires != nil {
				expires = "certificate until " + x.Expires.Format(time.DateOnly)
			}
			fmt.Fprintf(w, "time-stamps\t%s%s: %s\n", x.Name, map[bool]string{true: " (embedded, NOT qualified)"}[x.Embedded], expires)
		}
		for _, o := range s.Offers {
			state := fmt.Sprintf("up, %s free of %s", bytesText(int64(o.Free)), bytesText(int64(o.Size)))
			if o.Down != "" {
				state = "DOWN"
			}
			if o.Missing > 0 {
				state += fmt.Sprintf(", %d copies missing since %s", o.Missing, timeText(o.Since))
			}
			if o.Locked > 0 {
				state += fmt.Sprintf(", %d copies to delete when their locks end, the first at %s", o.Locked, timeText(o.LockEnd))
			}
			fmt.Fprintf(w, "offer\t%s: %s\n", o.Name, state)
		}
	})
	for _, p := range s.Problems {
		c.printf("! %s\n", p)
	}
	return err
}

func (c *cli) statsCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "Shares of the channels by which documents came, and of the formats",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				s, err := a.Stats()
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(s)
				}
				return c.table(func(w io.Writer) {
					fmt.Fprintf(w, "channel\tunits\tshare\tobjects\tsize\n")
					for _, x := range s.Channels {
						fmt.Fprintf(w, "%s\t%d\t%.1f%%\t%d\t%s\n", x.Channel, x.Units, x.Share*100, x.Objects, bytesText(x.Bytes))
					}
					fmt.Fprintf(w, "\nformat\tobjects\tsize\tname\n")
					for _, f := range s.Formats {
						fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", orText(f.PUID, "unknown"), f.Objects, bytesText(f.Bytes), f.Name)
					}
				})
			})
		},
	}
}
