package archive

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Gauges are what is watched of an archive all the time: unlike its Status it is told without going
// through what is archived.
type Gauges struct {
	Ledger       int64      // entries
	Pending      uint64     // leaves that wait for their seal
	PendingSince *time.Time // since when
	LastSeal     *time.Time
	Storing      int64 // deposits that are storing their content, or queued
	Queued       int   // operations that wait for the committer
	LastAudit    *AuditState
	LastBackup   *BackupState
	Free         uint64 // bytes where the catalogue lies
	Offers       []OfferGauge
	Counts       *Counts
}

// OfferGauge is one place for copies.
type OfferGauge struct {
	Name    string
	Down    bool
	Missing int64 // copies in the repair queue
	Bucket  bool  // then there is no end known of
	Free    uint64
	Size    uint64
}

// Gauges reads them.
func (a *Archive) Gauges() (*Gauges, error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	g := &Gauges{Storing: a.storing.Load(), Queued: len(a.queue), Counts: a.Counts()}
	g.Free, _ = space(a.dir)
	for i, o := range a.offers {
		c := &a.config.Offers[i]
		of := OfferGauge{Name: o.name, Down: o.down != nil, Bucket: c.S3 != nil}
		if !of.Bucket {
			of.Free, of.Size = space(c.Path)
		}
		g.Offers = append(g.Offers, of)
	}
	err := a.cat.view(func(t *tx) error {
		cp, err := a.checkpointIn(t)
		if err != nil {
			return err
		}
		g.Ledger = cp.Size
		n, since, err := t.waiting()
		if g.Pending = n; n > 0 {
			g.PendingSince = &since
		}
		if err != nil {
			return err
		}
		if g.LastBackup, err = t.lastBackup(); err != nil {
			return err
		}
		if g.LastAudit, err = t.lastAudit(); err != nil {
			return err
		}
		_, v, err := t.last(bktBatch, be64(^uint64(0)))
		if err != nil || v == nil {
			return err
		}
		rec, err := decodeBatch(v)
		g.LastSeal = &rec.Stamped
		return err
	})
	if err != nil {
		return nil, err
	}
	debts, err := a.debts()
	for _, d := range debts {
		if i := slices.IndexFunc(g.Offers, func(o OfferGauge) bool { return o.Name == d.offer }); i >= 0 {
			g.Offers[i].Missing++
		}
	}
	return g, err
}

// Ready says why the archive takes nothing in now; nil when it does.
func (a *Archive) Ready() error {
	switch err := a.failed.Load(); {
	case a.closed.Load():
		return errors.New("the archive is closed")
	case a.readOnly:
		return ErrReadOnly
	case err != nil:
		return fmt.Errorf("an earlier commit failed, reopen the archive: %w", *err)
	}
	_, err := a.Checkpoint()
	return err
}
