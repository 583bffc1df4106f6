package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync/atomic"
	"time"

	"sae/archive/blobs"
	"sae/archive/durable"
	"sae/archive/s3"
)

// offer is a configured place for copies.
type offer struct {
	name  string
	blobs blobs.Store
	down  error // why it could not be opened; nil when it could

	lostSyncs atomic.Uint64 // syncs that failed
	ailing    atomic.Pointer[ailment]
}

// ailment is the last failure to write to a bucket. Each takes all its tries and their waits:
// for a while after one, copies are not even begun.
type ailment struct {
	err   error
	until time.Time
}

// ailingFor is for how long.
const ailingFor = 10 * time.Second

// fails notes that a copy could not be written.
func (o *offer) fails(err error, pause time.Duration) {
	if _, remote := o.blobs.(*s3.Store); remote && !errors.Is(err, fs.ErrExist) && !errors.Is(err, context.Canceled) {
		o.ailing.Store(&ailment{err, time.Now().Add(pause)})
	}
}

// writable gives why no copy is to be begun now; nil when one is.
func (o *offer) writable() error {
	if o.down != nil {
		return o.down
	}
	if a := o.ailing.Load(); a != nil && time.Now().Before(a.until) {
		return fmt.Errorf("it failed a moment ago, and is tried again in %s: %w", time.Until(a.until).Round(time.Second), a.err)
	}
	return nil
}

// mark is what the offer's place says of itself.
func (c *OfferConfig) mark(archive string) blobs.Mark {
	return blobs.Mark{Format: 1, Archive: archive, Offer: c.Name}
}

// create makes and marks the place of a new offer.
func (c *OfferConfig) create(ctx context.Context, fs durable.FS, archive string) error {
	if c.S3 == nil {
		return blobs.CreateDir(fs, c.Path, c.mark(archive))
	}
	s, err := s3.New(*c.S3)
	if err == nil {
		err = s.Mark(ctx, c.mark(archive))
	}
	if err != nil {
		return fmt.Errorf("creating offer %s: %w", c.Name, err)
	}
	return nil
}

// open opens the place of an offer; one that is not this archive's is refused.
func (c *OfferConfig) open(ctx context.Context, fs durable.FS, archive string) (blobs.Store, error) {
	if c.S3 == nil {
		return blobs.OpenDir(fs, c.Path, c.mark(archive))
	}
	s, err := s3.New(*c.S3)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if err := s.Check(ctx, c.mark(archive)); err != nil {
		return nil, err
	}
	return s, nil
}

// openTimeout is how long a bucket may take to answer when the archive is opened; one that
// takes longer is down.
const openTimeout = 15 * time.Second

// offerNamed gives the index of an offer, -1 when the configuration has none of that name.
func (a *Archive) offerNamed(name string) int {
	return slices.IndexFunc(a.offers, func(o *offer) bool { return o.name == name })
}

// where is how to name the place of an offer.
func (c *OfferConfig) where() string {
	if c.S3 == nil {
		return c.Path
	}
	return c.S3.String()
}
