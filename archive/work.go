package archive

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Work is what the archive does that is counted, and can be traced.
type Work string

// The works.
const (
	WorkDeposit Work = "deposit" // also of a transfer: from the first check to the receipt
	WorkStore   Work = "store"   // of it: contents into the offers
	WorkCommit  Work = "commit"  // of it and all others: waiting for the committer, and the transaction
	WorkSeal    Work = "seal"
	WorkStamp   Work = "stamp" // of it: the time-stamping authorities, until one answers
	WorkAudit   Work = "audit"
	WorkBackup  Work = "backup"
)

// Works are all of them.
var Works = []Work{WorkDeposit, WorkStore, WorkCommit, WorkSeal, WorkStamp, WorkAudit, WorkBackup}

// WorkBounds are the bounds by which times are counted, in seconds.
var WorkBounds = []float64{0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 600, 3600}

// WorkCount is how often something was done since the archive was opened.
type WorkCount struct {
	Done    int64
	Failed  int64   // refusals, too
	Seconds float64 // that all of it took
	Within  []int64 // those that took up to each of WorkBounds
}

// AuthorityCount is what a time-stamping authority was asked since the archive was opened.
type AuthorityCount struct {
	Name     string
	Requests int64 // each with all its tries
	Failed   int64
	Last     *time.Time // of the last token
}

// Counts are what was done since the archive was opened.
type Counts struct {
	Work        map[Work]WorkCount
	Units       int64 // deposited
	Objects     int64
	Bytes       int64 // of content
	Authorities []AuthorityCount
}

// counters count it.
type counters struct {
	units, objects, bytes atomic.Int64

	mu          sync.Mutex // guards those below
	work        map[Work]*WorkCount
	authorities map[string]*AuthorityCount
}

// begin begins a work. end is called with what came of it, once.
func (a *Archive) begin(ctx context.Context, w Work) (_ context.Context, end func(error)) {
	traced := func(error) {}
	if a.trace != nil {
		ctx, traced = a.trace(ctx, w)
	}
	began := time.Now()
	return ctx, func(err error) {
		a.counters.count(w, time.Since(began), err)
		traced(err)
	}
}

func (c *counters) count(w Work, took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.work == nil {
		c.work = map[Work]*WorkCount{}
	}
	n := c.work[w]
	if n == nil {
		n = &WorkCount{Within: make([]int64, len(WorkBounds))}
		c.work[w] = n
	}
	if n.Done++; err != nil {
		n.Failed++
	}
	n.Seconds += took.Seconds()
	for i, b := range WorkBounds {
		if took.Seconds() <= b {
			n.Within[i]++
		}
	}
}

// took counts what an intake brought.
func (c *counters) took(in *intake) {
	c.units.Add(int64(in.items - len(in.stored)))
	c.objects.Add(int64(len(in.stored)))
	for i := range in.stored {
		c.bytes.Add(in.stored[i].size)
	}
}

// asked counts a request to an authority.
func (c *counters) asked(name string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.authorities == nil {
		c.authorities = map[string]*AuthorityCount{}
	}
	n := c.authorities[name]
	if n == nil {
		n = &AuthorityCount{Name: name}
		c.authorities[name] = n
	}
	if n.Requests++; err != nil {
		n.Failed++
		return
	}
	when := time.Now()
	n.Last = &when
}

// Counts gives what was done since the archive was opened.
func (a *Archive) Counts() *Counts {
	c := &a.counters
	out := &Counts{Work: map[Work]WorkCount{}, Units: c.units.Load(), Objects: c.objects.Load(), Bytes: c.bytes.Load()}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range Works {
		n := WorkCount{Within: make([]int64, len(WorkBounds))}
		if have := c.work[w]; have != nil {
			n = *have
			n.Within = append([]int64(nil), have.Within...)
		}
		out.Work[w] = n
	}
	for _, auth := range a.authorities {
		n := AuthorityCount{Name: auth.name}
		if have := c.authorities[auth.name]; have != nil {
			n = *have
		}
		out.Authorities = append(out.Authorities, n)
	}
	return out
}
