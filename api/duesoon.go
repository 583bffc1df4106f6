package api

import (
	"context"
	"log/slog"
	"time"

	"sae/archive"
)

// dueEvery is how often it is looked which units are due soon: days count, not hours.
const dueEvery = 12 * time.Hour

// TellDue has the units noted whose retention is over within some days, from time to time, until the
// context ends.
func TellDue(ctx context.Context, a *archive.Archive, within int, log *slog.Logger) {
	for ctx.Err() == nil {
		for _, of := range a.Config().Tenants {
			if _, err := a.NoteDue(ctx, of.ID, within); err != nil && ctx.Err() == nil {
				log.Error("telling what is due", "error", err)
			}
		}
		rest(ctx, dueEvery)
	}
}
