package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sae/archive"
)

func (c *cli) offerCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "offer",
		Short: "Places for copies: list, add, drain, remove, sync",
		Long: `Places for copies. Each offer is a folder or an S3 bucket, holds every object
enciphered and the journal of the catalogue, and is enough to rebuild the rest from.`,
	}
	cmd.AddCommand(c.offerListCmd(), c.offerAddCmd(), c.offerDrainCmd(), c.offerRemoveCmd(), c.offerSyncCmd())
	return cmd
}

func (c *cli) offerListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Name the offers, where they lie, what they miss",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return c.open(true, func(a *archive.Archive) error {
				s, err := a.Status()
				if err != nil {
					return err
				}
				if c.json {
					return c.printJSON(s.Offers)
				}
				return c.table(func(w io.Writer) {
					fmt.Fprintln(w, "NAME\tSTATE\tMISSING\tFREE\tPLACE")
					for _, o := range s.Offers {
						state, free := "in use", "-"
						switch {
						case o.Down != "":
							state = "down: " + o.Down
						case o.Drain:
							state = "draining"
						}
						if o.Size > 0 {
							free = bytesText(int64(o.Free))
						}
						fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", o.Name, state, o.Missing, free, o.Path)
					}
				})
			})
		},
	}
}

// syncFlags say how copies are made.
type syncFlags struct{ bandwidth string }

func (f *syncFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.bandwidth, "bandwidth", "", "bytes a second for all copies together, such as 500k, 20M (default no limit)")
}

// parseBytes reads a number of bytes, with k, M or G behind it for powers of 1000.
func parseBytes(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	factor := int64(1)
	for suffix, f := range map[string]int64{"k": 1e3, "M": 1e6, "G": 1e9} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			s, factor = rest, f
			break
		}
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is not a number of bytes: want such as 500k, 20M", s)
	}
	return n * factor, nil
}

func (c *cli) offerAddCmd() *cobra.Command {
	var path, bucket string
	var later bool
	sf := &syncFlags{}
	cmd := &cobra.Command{
		Use:   "add NAME (--path FOLDER | --s3 FILE)",
		Short: "Add a place for copies, and copy all that belongs into it",
		Long: `Add a place for copies, and copy all that belongs into it.

The place is a folder, which is made, or a bucket that exists already, described by
a YAML file as under "s3:" in sae.yaml; locks need a bucket with Object Lock. It is
marked as this archive's and written into sae.yaml. Interrupted, "sae offer sync"
goes on.`,
		Example: `  sae offer add third --path /mnt/third
  sae offer add cloud --s3 bucket.yaml --bandwidth 20M`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o := archive.OfferConfig{Name: args[0], Path: path}
			if (path == "") == (bucket == "") {
				return usagef("give either --path or --s3")
			}
			if path != "" {
				var err error
				if o.Path, err = filepath.Abs(path); err != nil {
					return err
				}
			}
			if bucket != "" {
				text, err := os.ReadFile(bucket)
				if err != nil {
					return err
				}
				if o.S3, err = archive.ParseBucket(text); err != nil {
					return fmt.Errorf("reading %s: %w", bucket, err)
				}
			}
			rate, err := parseBytes(sf.bandwidth)
			if err != nil {
				return usageError{err}
			}
			if err := c.waiting(func() error { return archive.AddOffer(cmd.Context(), c.dir, o, archive.Options{}) }); err != nil {
				return err
			}
			return c.open(false, func(a *archive.Archive) error {
				if err := a.RecordOffer(cmd.Context(), c.agent, o.Name, "added"); err != nil {
					return err
				}
				if later {
					c.printf("offer %s was added; run: sae offer sync %s\n", o.Name, o.Name)
					return nil
				}
				return c.syncOffer(cmd.Context(), a, o.Name, rate)
			})
		},
	}
	cmd.Flags().StringVar(&path, "path", "", "folder of the offer")
	cmd.Flags().StringVar(&bucket, "s3", "", "YAML file that describes the bucket")
	cmd.Flags().BoolVar(&later, "no-sync", false, "copy nothing yet")
	sf.add(cmd)
	return cmd
}

func (c *cli) offerDrainCmd() *cobra.Command {
	var resume bool
	cmd := &cobra.Command{
		Use:   "drain NAME",
		Short: "End writing to an offer; its copies are still read",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := c.waiting(func() error { return archive.DrainOffer(c.dir, args[0], !resume, archive.Options{}) }); err != nil {
				return err
			}
			act := "drained"
			if resume {
				act = "resumed"
			}
			return c.open(false, func(a *archive.Archive) error {
				if err := a.RecordOffer(cmd.Context(), c.agent, args[0], act); err != nil {
					return err
				}
				c.printf("offer %s: %s\n", args[0], act)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&resume, "resume", false, "write to it again")
	return cmd
}

func (c *cli) offerRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "remove NAME",
		Short: "Take a drained offer out of the configuration, when enough copies lie in the others",
		Long: `Take a drained offer out of the configuration, when enough copies lie in the
others. What lies in the place is not deleted: it is ciphertext that this archive does
not need any more.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.open(false, func(a *archive.Archive) error {
				if err := a.RemoveOffer(cmd.Context(), c.agent, args[0]); err != nil {
					return err
				}
				c.printf("offer %s was removed\n", args[0])
				return nil
			})
		},
	}
}

func (c *cli) offerSyncCmd() *cobra.Command {
	f := &syncFlags{}
	cmd := &cobra.Command{
		Use:   "sync [NAME...]",
		Short: "Make the copies that offers lack (default all offers)",
		RunE: func(cmd *cobra.Command, names []string) error {
			rate, err := parseBytes(f.bandwidth)
			if err != nil {
				return usageError{err}
			}
			return c.open(false, func(a *archive.Archive) error {
				if len(names) == 0 {
					for _, o := range a.Config().Offers {
						if !o.Drain {
							names = append(names, o.Name)
						}
					}
				}
				var errs []error
				for _, n := range names {
					errs = append(errs, c.syncOffer(cmd.Context(), a, n, rate))
				}
				return errors.Join(errs...)
			})
		},
	}
	f.add(cmd)
	return cmd
}

func (c *cli) syncOffer(ctx context.Context, a *archive.Archive, name string, rate int64) error {
	bar := c.newBar(0, "copying to "+name)
	r, err := a.SyncOffer(ctx, c.agent, name, archive.SyncOptions{Bandwidth: rate, Progress: func(_, _, done, total int64) { bar.set(done, total) }})
	bar.finish()
	if r == nil {
		return err
	}
	if c.json {
		if err2 := c.printJSON(r); err2 != nil {
			return err2
		}
	} else {
		c.printf("offer %s: %d of %d blobs were missing, %d copies made, %s; still missing: %d\n", r.Offer, r.Made+int64(len(r.Left)), r.Wanted, r.Made, bytesText(r.Bytes), len(r.Left))
		for _, f := range r.Left {
			c.printf("missing  %s: %s\n", f.Where, strings.ReplaceAll(f.Why, "\n", "; "))
		}
	}
	if err == nil && len(r.Left) > 0 {
		err = errSaid
	}
	return err
}
