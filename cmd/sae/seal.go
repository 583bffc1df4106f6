package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"sae/archive"
)

func (c *cli) sealCmd() *cobra.Command {
	var watch time.Duration
	cmd := &cobra.Command{
		Use:   "seal",
		Short: "Time-stamp everything that waits for its seal",
		Long: `Time-stamp everything that is archived and not sealed yet, under as few tokens as
possible. The authorities of the configuration are tried in order; when none
answers, the exit status is 1, nothing is lost and what waited waits on.

With --watch the archive is opened only while it seals, so that deposits by other
processes go in between; missing copies are made at the same time.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if watch <= 0 {
				return c.open(false, func(a *archive.Archive) error { return c.seal(ctx, a, true) })
			}
			return c.watch(ctx, watch)
		},
	}
	cmd.Flags().DurationVar(&watch, "watch", 0, "repeat after this time, such as 10m, until interrupted")
	return cmd
}

// sealAll seals what waits in the archive as a whole, also for a verb that knows a tenant's alone.
func (c *cli) sealAll(ctx context.Context, a *archive.Archive) ([]archive.Sealed, error) {
	if c.served != nil {
		return c.served.Seal(ctx)
	}
	return a.Seal(ctx, c.agent)
}

// seal seals and prints the batches; sayNone tells when there was nothing to do.
func (c *cli) seal(ctx context.Context, a *archive.Archive, sayNone bool) error {
	batches, err := c.sealAll(ctx, a)
	if c.json && (len(batches) > 0 || sayNone) {
		return errors.Join(err, c.printJSON(map[string]any{"batches": append([]archive.Sealed{}, batches...)}))
	}
	for _, b := range batches {
		c.printf("sealed batch %s: %d leaves with checkpoint %d, time-stamped %s by %s (ledger entry %d)\n",
			b.Batch, b.Leaves, b.Checkpoint, b.Stamped.UTC().Format(time.RFC3339), b.Authority, b.Entry)
	}
	if err == nil && len(batches) == 0 && sayNone {
		c.printf("nothing to seal\n")
	}
	return err
}

// watch seals again and again; a failure is told and tried again the next time.
func (c *cli) watch(ctx context.Context, every time.Duration) error {
	return c.repeat(ctx, every, func() error {
		err := c.open(false, func(a *archive.Archive) error {
			_, repairErr := a.RepairQueue(ctx, c.agent)
			return errors.Join(repairErr, c.seal(ctx, a, false))
		})
		var damaged *archive.DamagedError
		if errors.As(err, &damaged) {
			return err
		}
		if err != nil && ctx.Err() == nil {
			c.log().Warn("sealing failed, trying again", "in", every, "error", err)
		}
		return nil
	})
}

// repeat does f again and again, until it fails, ctx ends, or the service that runs it is to end.
func (c *cli) repeat(ctx context.Context, every time.Duration, f func() error) error {
	var stopping <-chan struct{}
	if c.served != nil {
		stopping = c.served.stopping
	}
	for {
		if err := f(); err != nil {
			return err
		}
		select {
		case <-stopping:
			return nil
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}
