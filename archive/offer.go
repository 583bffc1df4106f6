package archive

import (
	"context"
	"fmt"
	"sync/atomic"

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
	if err == nil {
		err = s.Check(ctx, c.mark(archive))
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// where is how to name the place of an offer.
func (c *OfferConfig) where() string {
	if c.S3 == nil {
		return c.Path
	}
	return c.S3.String()
}
