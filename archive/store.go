package archive

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"sync"

	"sae/archive/blobs"
)

// syncOffers syncs the offers used, at the same time, and gives the errors of
// those that failed.
func (a *Archive) syncOffers(used map[int]bool) map[int]error {
	errs := make([]error, len(a.offers))
	var wg sync.WaitGroup
	for i := range used {
		wg.Go(func() { errs[i] = a.offers[i].blobs.Sync(context.Background()) })
	}
	wg.Wait()
	failed := map[int]error{}
	for i, err := range errs {
		if err != nil {
			a.offers[i].lostSyncs.Add(1)
			failed[i] = err
		}
	}
	return failed
}

// syncLanded syncs the offers in which blobs landed.
func (a *Archive) syncLanded(landings []*landing) map[int]error {
	used := map[int]bool{}
	for _, l := range landings {
		for _, i := range l.in {
			used[i] = true
		}
	}
	return a.syncOffers(used)
}

var errEarlierSync = errors.New("a sync of this offer failed after the copy was begun: the system may have dropped what it could not write, and a later sync does not tell")

// landing is where a blob landed: indexes into Archive.offers of those that took it,
// and why the others did not. The blobs of an operation that fared alike share one.
type landing struct {
	policy *policy
	in     []int
	failed map[int]error
	// lostSyncs is, per offer, how many of its syncs had failed when the blob was
	// begun: if one more has since, the blob's bytes may be gone.
	lostSyncs []uint64
}

// settle takes the offers that could not be synced out of the landings of one
// operation and says whether it has changed any, and whether the policy still accepts them.
func (a *Archive) settle(landings []*landing, notSynced map[int]error) (changed bool, err error) {
	for _, l := range landings {
		before := len(l.in)
		in := l.in[:0:0]
		for _, i := range l.in {
			switch err := notSynced[i]; {
			case err != nil:
				l.fail(i, err)
			case a.offers[i].lostSyncs.Load() != l.lostSyncs[i]:
				l.fail(i, errEarlierSync)
			default:
				in = append(in, i)
			}
		}
		changed = changed || len(in) < before
		if l.in = in; !l.policy.enough(len(in)) {
			return true, l.policy.explain(len(in), l.failed, a.offers)
		}
	}
	return changed, nil
}

func (l *landing) fail(offer int, err error) {
	if l.failed == nil {
		l.failed = map[int]error{}
	}
	l.failed[offer] = err
}

// copies writes the same ciphertext to every offer, and its SHA-256. An offer
// that fails is left out, as far as the policy allows.
type copies struct {
	a       *Archive
	session string // of the blob, and its number in it
	number  uint64
	size    int64
	any     bool // one copy is enough, whatever the policy says
	at      *landing
	writers []blobs.Writer // per offer; nil when it failed
	sum     hash.Hash
}

// name is the blob's.
func (c *copies) name() string { return blobs.Name(c.session, c.number) }

// createCopies begins a blob in every offer that a policy wants written at once. With any,
// one copy is enough.
func (a *Archive) createCopies(ctx context.Context, session string, p *policy, any bool) (*copies, error) {
	c := &copies{a: a, session: session, number: a.blobs.Add(1), any: any, writers: make([]blobs.Writer, len(a.offers)), sum: sha256.New()}
	c.at = &landing{policy: p, lostSyncs: make([]uint64, len(a.offers))}
	name := c.name()
	for i, o := range a.offers {
		c.at.lostSyncs[i] = o.lostSyncs.Load()
		if !p.now[i] {
			continue
		}
		err := o.writable()
		if err == nil {
			c.writers[i], err = o.blobs.Create(ctx, name)
		}
		if err != nil {
			c.writers[i] = nil
			c.at.fail(i, err)
		}
	}
	return c, c.enough()
}

// left is how many offers still take the blob.
func (c *copies) left() (n int) {
	for _, w := range c.writers {
		if w != nil {
			n++
		}
	}
	return n
}

// enough refuses, and removes what was written, when too few offers are left.
func (c *copies) enough() error {
	left := c.left()
	if c.at.policy.enough(left) || c.any && left > 0 {
		return nil
	}
	c.abort()
	return c.at.policy.explain(left, c.at.failed, c.a.offers)
}

// Write hashes p and writes it to every offer, all at the same time when it is long.
func (c *copies) Write(p []byte) (int, error) {
	errs := make([]error, len(c.writers))
	var wg sync.WaitGroup
	for i, w := range c.writers {
		switch {
		case w == nil:
		case len(p) < behindSize:
			_, errs[i] = w.Write(p)
		default:
			wg.Go(func() { _, errs[i] = w.Write(p) })
		}
	}
	c.sum.Write(p)
	c.size += int64(len(p))
	wg.Wait()
	failed := false
	for i, err := range errs {
		if err != nil {
			c.a.offers[i].fails(err, c.a.pause)
			c.writers[i].Abort()
			c.writers[i] = nil
			c.at.fail(i, err)
			failed = true
		}
	}
	if failed {
		if err := c.enough(); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// close ends the blob in every offer; it becomes durable with the next sync.
func (c *copies) close() error {
	for i, w := range c.writers {
		if w == nil {
			continue
		}
		if err := w.Close(); err != nil {
			c.a.offers[i].fails(err, c.a.pause)
			w.Abort()
			c.writers[i] = nil
			c.at.fail(i, err)
			continue
		}
		c.at.in = append(c.at.in, i)
	}
	return c.enough()
}

func (c *copies) abort() {
	for i, w := range c.writers {
		if w != nil {
			w.Abort()
			c.writers[i] = nil
		}
	}
}
