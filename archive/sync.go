package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"

	"sae/archive/blobs"
	"sae/integrity"
)

// SyncOptions say how copies are made.
type SyncOptions struct {
	Bandwidth int64                                            // bytes a second, of all copies together; 0: no limit
	Progress  func(copies, ofCopies int64, bytes, total int64) // called after each copy; may be nil
}

// Synced is what a sync did to an offer.
type Synced struct {
	Offer   string    `json:"offer"`
	Wanted  int64     `json:"wanted"`  // blobs that belong into it
	Made    int64     `json:"made"`    // copies
	Bytes   int64     `json:"bytes"`   // of them
	Left    []Finding `json:"left"`    // copies that could not be made, and why
	Settled int64     `json:"settled"` // copies that were owed and are there
}

// SyncOffer makes every copy that an offer lacks, from any other offer, on behalf of agent:
// after it was added, was down, or lost its disk. What is there is not read: that is for an
// audit. Stopped at any point, it goes on from there when it is called again. Deposits go on
// meanwhile.
func (a *Archive) SyncOffer(ctx context.Context, agent, name string, o SyncOptions) (*Synced, error) {
	if err := a.archiveWide(); err != nil {
		return nil, err
	}
	if a.readOnly {
		return nil, ErrReadOnly
	}
	to := a.offerNamed(name)
	if to < 0 {
		return nil, fmt.Errorf("offer %q: %w", name, ErrNotFound)
	}
	if a.offers[to].down != nil {
		return nil, fmt.Errorf("offer %s is down: %w", name, a.offers[to].down)
	}
	s := &syncing{a: a, to: to, o: o, owed: map[string]bool{}, out: &Synced{Offer: name, Left: []Finding{}}}
	if err := s.find(ctx); err != nil {
		return nil, fmt.Errorf("syncing offer %s: %w", name, err)
	}
	err := s.copyAll(ctx, agent)
	if err == nil {
		err = a.setLocks(ctx)
	}
	if err != nil {
		return s.out, fmt.Errorf("syncing offer %s: %w", name, err)
	}
	return s.out, nil
}

type syncing struct {
	a     *Archive
	to    int
	o     SyncOptions
	out   *Synced
	lacks []wholeBlob
	owed  map[string]bool // those of them that lie there all the same
	total int64
	pace  *pace
	mu    sync.Mutex
	made  []repairedCopy
}

// present is the set of blobs that lie in an offer, by session and number: a bit each, in
// words of 64, since those of a session have almost all numbers from 1 on.
type present map[string]map[uint64]uint64

func (p present) add(name string) {
	session, n, err := blobs.Split(name)
	if err != nil {
		return
	}
	if p[session] == nil {
		p[session] = map[uint64]uint64{}
	}
	p[session][n/64] |= 1 << (n % 64)
}

func (p present) has(name string) bool {
	session, n, err := blobs.Split(name)
	return err == nil && p[session][n/64]&(1<<(n%64)) != 0
}

// find lists what the offer has and what it should have.
func (s *syncing) find(ctx context.Context) error {
	a := s.a
	have := present{}
	if err := a.offers[s.to].blobs.List(ctx, "", func(name string, _ int64) error { have.add(name); return nil }); err != nil {
		return err
	}
	debts := map[string]bool{}
	want := func(b wholeBlob) error {
		if !b.policy.wants(s.to) {
			return ctx.Err()
		}
		s.out.Wanted++
		switch {
		case !have.has(b.name):
			s.total += max(b.size, 0)
		case debts[b.name]: // it lies there, whole or not: a sync may have failed
			s.owed[b.name] = true
		default:
			return ctx.Err()
		}
		s.lacks = append(s.lacks, b)
		return ctx.Err()
	}
	return a.cat.view(func(t *tx) error {
		prefix := []byte(a.offers[s.to].name + "\x00")
		err := t.scan(bktDebt, prefix, prefixEnd(prefix), func(k, _ []byte) (bool, error) {
			debts[strings.TrimPrefix(string(k), string(prefix))] = true
			return true, nil
		})
		if err != nil {
			return err
		}
		return a.eachBlob(t, want)
	})
}

// recordEvery is how many copies are synced and recorded at a time.
const recordEvery = 1000

func (s *syncing) copyAll(ctx context.Context, agent string) error {
	s.pace = newPace(s.o.Bandwidth)
	work := make(chan wholeBlob)
	var wg sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for b := range work {
				s.copyOne(ctx, b)
			}
		})
	}
	var err error
	for _, b := range s.lacks {
		if err = ctx.Err(); err != nil {
			break
		}
		work <- b
		s.mu.Lock()
		full := len(s.made) >= recordEvery
		s.mu.Unlock()
		if full {
			if err = s.record(agent); err != nil {
				break
			}
		}
	}
	close(work)
	wg.Wait()
	return errors.Join(err, s.record(agent))
}

// record makes durable what was copied so far, enters it into the ledger, and takes it out of
// what is owed.
func (s *syncing) record(agent string) error {
	s.mu.Lock()
	made := s.made
	s.made = nil
	s.mu.Unlock()
	if len(made) == 0 {
		return nil
	}
	return s.a.recordRepairs(context.Background(), agent, made)
}

func (s *syncing) copyOne(ctx context.Context, b wholeBlob) {
	if s.owed[b.name] && s.a.cipherCopy(ctx, s.to, b) == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.made = append(s.made, repairedCopy{s.to, b.name})
		s.out.Settled++
		return
	}
	err := s.a.copyFromAny(ctx, s.to, b, s.pace)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if ctx.Err() == nil {
			s.out.Left = append(s.out.Left, Finding{What: "copy", Where: b.name, Offer: s.out.Offer, Why: err.Error()})
		}
		return
	}
	s.made = append(s.made, repairedCopy{s.to, b.name})
	s.out.Made++
	s.out.Bytes += max(b.size, 0)
	if s.o.Progress != nil {
		s.o.Progress(s.out.Made, int64(len(s.lacks)), s.out.Bytes, s.total)
	}
}

// pace lets a number of bytes pass in a second.
type pace struct {
	mu     sync.Mutex
	perSec int64
	next   time.Time
}

func newPace(perSec int64) *pace { return &pace{perSec: perSec} }

// reader slows r down; a pace of 0 does not.
func (p *pace) reader(ctx context.Context, r io.Reader) io.Reader {
	if p == nil || p.perSec == 0 {
		return &contextReader{ctx, r}
	}
	return &paced{ctx, r, p}
}

type paced struct {
	ctx context.Context
	r   io.Reader
	p   *pace
}

func (r *paced) Read(b []byte) (int, error) {
	n, err := r.r.Read(b[:min(len(b), 64<<10)])
	r.p.mu.Lock()
	if now := time.Now(); r.p.next.Before(now) {
		r.p.next = now
	}
	r.p.next = r.p.next.Add(time.Duration(float64(n) / float64(r.p.perSec) * float64(time.Second)))
	wait := time.Until(r.p.next)
	r.p.mu.Unlock()
	select {
	case <-time.After(wait):
	case <-r.ctx.Done():
		return n, r.ctx.Err()
	}
	return n, err
}

// AddOffer marks a new place as an offer of the archive in dir and writes it into the
// configuration. It has no copies before SyncOffer.
func AddOffer(ctx context.Context, dir string, c OfferConfig, o Options) error {
	config, err := LoadConfig(dir)
	if err != nil {
		return err
	}
	for _, have := range config.Offers {
		if have.Name == c.Name {
			return &Refusal{Problems: []string{fmt.Sprintf("offer %s is in the configuration already", c.Name)}}
		}
	}
	placed := c
	placed.within(dir)
	return locked(dir, "offer add", func() error {
		edited, err := changeConfig(dir, func(e *configEditor) error { return e.addOffer(c) })
		if err != nil {
			return err
		}
		if err := placed.create(ctx, o.FS, config.Archive); err != nil {
			return err
		}
		return edited.store(o.FS)
	})
}

// RecordOffer enters into the ledger what was done to an offer.
func (a *Archive) RecordOffer(ctx context.Context, agent, name, act string) error {
	if err := a.archiveWide(); err != nil {
		return err
	}
	_, _, err := a.commit(ctx, a.offerOperation(agent, name, act))
	return err
}

func (a *Archive) offerOperation(agent, name, act string) *operation {
	return &operation{id: newID(opID), entry: integrity.Entry{Kind: integrity.Offer, Tenant: a.config.Tenants[0].ID, Agent: agentID(a.indexKey, agent)},
		detail: func(position) any { return integrity.OfferDetail{Offer: name, Act: act} }}
}

// DrainOffer ends, or resumes, writing to an offer.
func DrainOffer(dir, name string, drain bool, o Options) error {
	return locked(dir, "offer drain", func() error {
		edited, err := changeConfig(dir, func(e *configEditor) error { return e.drainOffer(name, drain) })
		if err != nil {
			return err
		}
		return edited.store(o.FS)
	})
}

// RemoveOffer takes an offer out of the configuration, on behalf of agent, when every blob
// lies in as many other offers as its policy wants. What lies in the place stays there.
func (a *Archive) RemoveOffer(ctx context.Context, agent, name string) error {
	if err := a.archiveWide(); err != nil {
		return err
	}
	i := a.offerNamed(name)
	switch {
	case i < 0:
		return fmt.Errorf("offer %q: %w", name, ErrNotFound)
	case !a.config.Offers[i].Drain:
		return &Refusal{Problems: []string{fmt.Sprintf("offer %s is in use: run sae offer drain %s first, then sae offer sync", name, name)}}
	}
	have := make([]present, len(a.offers))
	for n, of := range a.offers {
		have[n] = present{}
		if n == i || of.down != nil {
			continue
		}
		if err := of.blobs.List(ctx, "", func(blob string, _ int64) error { have[n].add(blob); return nil }); err != nil {
			return fmt.Errorf("removing offer %s: %w", name, err)
		}
	}
	debts, err := a.debts()
	if err != nil {
		return err
	}
	owed := map[string]bool{}
	for _, d := range debts {
		owed[string(debtKey(d.offer, d.blob))] = true
	}
	lacking := int64(0)
	err = a.cat.view(func(t *tx) error {
		return a.eachBlob(t, func(b wholeBlob) error {
			copies := 0
			for n := range have {
				if b.policy.wants(n) && have[n].has(b.name) && !owed[string(debtKey(a.offers[n].name, b.name))] {
					copies++
				}
			}
			if copies < b.policy.copies {
				lacking++
			}
			return ctx.Err()
		})
	})
	if err != nil {
		return err
	}
	if lacking > 0 {
		return &Refusal{Problems: []string{fmt.Sprintf("%d blobs have too few copies in the other offers: run sae offer sync for those first", lacking)}}
	}
	edited, err := changeConfig(a.dir, func(e *configEditor) error { return e.removeOffer(name) })
	if err != nil {
		return err
	}
	op := a.offerOperation(agent, name, "removed")
	for _, d := range debts {
		if d.offer == name {
			op.deletes = append(op.deletes, record{bucket: bktDebt, key: debtKey(name, d.blob)})
		}
	}
	err = a.cat.view(func(t *tx) error {
		all, err := t.unused()
		for _, u := range all {
			if u.offer == name {
				op.deletes = append(op.deletes, record{bucket: bktUnused, key: debtKey(name, u.blob)})
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	if _, _, err := a.commit(ctx, op); err != nil {
		return err
	}
	return edited.store(a.fs)
}
