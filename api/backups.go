package api

import (
	"context"
	"log/slog"
	"time"

	"sae/archive"
	"sae/archive/serving"
)

// Backups backs the archive up, from time to time.
type Backups struct {
	A      *archive.Archive
	Agent  string // in whose name
	Config serving.Backup
	Log    *slog.Logger
}

// backupRetry is after how long a backup that failed is tried again, at most.
const backupRetry = 10 * time.Minute

// Run makes a backup whenever the last one is old enough, also one that was made by hand, or by the
// service before this one, until the context ends. One that is cut off then is gone on with by the next.
func (b *Backups) Run(ctx context.Context) {
	failed := false
	for {
		wait, err := b.due()
		if err != nil {
			b.Log.Error("reading when the last backup was", "error", err)
		}
		if failed || err != nil {
			wait = max(wait, min(b.Config.Every, backupRetry))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		failed = !b.once(ctx)
	}
}

// due is for how long the last backup will do.
func (b *Backups) due() (time.Duration, error) {
	last, err := b.A.LastBackup()
	if err != nil || last == nil {
		return 0, err
	}
	return time.Until(last.Time.Add(b.Config.Every)), nil
}

func (b *Backups) once(ctx context.Context) bool {
	done, err := b.A.BackupInto(ctx, b.Agent, b.Config.Folder, archive.BackupOptions{Keep: b.Config.Keep})
	switch {
	case ctx.Err() != nil:
		return true
	case err != nil:
		b.Log.Error("backing up", "error", err)
		return false
	}
	b.Log.Info("backed up", "generation", done.Generation, "ledger", done.Ledger, "bytes", done.Bytes, "new", done.NewBytes, "lacking", len(done.Lacking), "took", time.Duration(done.Seconds*float64(time.Second)).Round(time.Millisecond))
	return true
}
