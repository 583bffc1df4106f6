package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"sae/archive"
	"sae/archive/serving"
)

// Queue works off what was received whole and waits. What waits is in the archive (see archive.Job):
// here is the order in which it is worked off, and what bounds it.
type Queue struct {
	a      *archive.Archive
	limits serving.Limits
	log    *slog.Logger
	// work does what a job asks for: it gives the ledger entry, or the answer to one that is refused.
	work func(ctx context.Context, r *archive.RunningJob) (entry int64, refused *jobAnswer, err error)
	// note notes that one is refused, before it is told. After a crash it may be noted once more.
	note func(ctx context.Context, r *archive.RunningJob, p *Problem) error

	// expire gives up uploads whose time is over; nil for none.
	expire func(ctx context.Context)

	mu      sync.Mutex
	waiting []waitingJob // in the order of their coming
	loads   map[string]*queueLoad
	changed chan struct{} // closed when a job has ended, or can be begun
}

// waitingJob is a job that waits for its turn.
type waitingJob struct {
	id, tenant string
	size       int64
	at         time.Time // not before
}

// queueLoad is what of a tenant waits, is worked off or is being received.
type queueLoad struct {
	n, running int
	bytes      int64
}

const (
	queueWorkers = 2
	// queueGrace is how long what is worked off may go on when the service ends; then it is begun anew
	// when the service begins again.
	queueGrace  = 30 * time.Second
	queueDelay  = time.Second // after a first failure; each further one doubles it
	queueLonger = 15 * time.Minute
)

// NewQueue takes up what an earlier process left.
func NewQueue(a *archive.Archive, limits serving.Limits, log *slog.Logger) (*Queue, error) {
	jobs, err := a.RecoverJobs()
	if err != nil {
		return nil, err
	}
	q := &Queue{a: a, limits: limits, log: log, loads: map[string]*queueLoad{}, changed: make(chan struct{})}
	for _, j := range jobs {
		l := q.load(j.Tenant)
		l.n, l.bytes = l.n+1, l.bytes+j.Size
		w := waitingJob{j.ID, j.Tenant, j.Size, time.Time{}}
		if n := runsOf(j); n > 2 { // what ends the program each time must not do so at once
			w.at = time.Now().Add(queueBackOff(n - 2))
		}
		q.waiting = append(q.waiting, w)
	}
	return q, nil
}

// load is that of a tenant; the caller holds mu.
func (q *Queue) load(tenant string) *queueLoad {
	if q.loads[tenant] == nil {
		q.loads[tenant] = &queueLoad{}
	}
	return q.loads[tenant]
}

// gauge is what of all tenants waits.
func (q *Queue) gauge() (n int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.loads {
		n, bytes = n+l.n, bytes+l.bytes
	}
	return n, bytes
}

// runsOf counts how often a job was begun.
func runsOf(j *archive.Job) (n int) {
	for _, e := range j.Events {
		if e.State == archive.JobRunning {
			n++
		}
	}
	return n
}

func queueBackOff(n int) time.Duration {
	return min(queueDelay<<min(n, 20), queueLonger)
}

// Run works jobs off until the context ends. What waits then waits for the next process.
func (q *Queue) Run(ctx context.Context) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(queueGrace, cancel) })()
	var wg sync.WaitGroup
	for range queueWorkers {
		wg.Go(func() {
			for w := q.next(ctx); w != nil; w = q.next(ctx) {
				q.run(work, w)
			}
		})
	}
	wg.Go(func() { q.forget(ctx) })
	wg.Wait()
}

// forget forgets what was kept long enough.
func (q *Queue) forget(ctx context.Context) {
	for {
		if q.expire != nil {
			q.expire(ctx)
		}
		n, err := q.a.ForgetJobs()
		if err != nil {
			q.log.Error("forgetting operations", "error", err)
		}
		pause := time.Hour
		if n > 0 {
			pause = time.Second // there may be more
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// next waits for a job that can be begun; nil when the context ended.
func (q *Queue) next(ctx context.Context) *waitingJob {
	for {
		w, wait, changed := q.take(time.Now())
		if ctx.Err() != nil {
			if w != nil {
				q.put(*w)
			}
			return nil
		}
		if w != nil {
			return w
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// take takes the first job of the tenant of which least is under way: nobody holds up the others. When
// there is none it says how long to wait.
func (q *Queue) take(now time.Time) (*waitingJob, time.Duration, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	best, wait := -1, time.Hour
	for i, w := range q.waiting {
		if w.at.After(now) {
			wait = min(wait, w.at.Sub(now))
			continue
		}
		if best < 0 || q.load(w.tenant).running < q.load(q.waiting[best].tenant).running {
			best = i
		}
	}
	if best < 0 {
		return nil, wait, q.changed
	}
	w := q.waiting[best]
	q.waiting = append(q.waiting[:best:best], q.waiting[best+1:]...)
	q.load(w.tenant).running++
	return &w, 0, q.changed
}

// put gives back a job that was taken, for later.
func (q *Queue) put(w waitingJob) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.load(w.tenant).running--
	q.waiting = append(q.waiting, w)
	q.tell()
}

// ended counts a job that was taken no more.
func (q *Queue) ended(w *waitingJob) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.load(w.tenant)
	l.running, l.n, l.bytes = l.running-1, l.n-1, l.bytes-w.size
	q.tell()
}

// tell wakes who waits; the caller holds mu.
func (q *Queue) tell() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// run works a job off.
func (q *Queue) run(ctx context.Context, w *waitingJob) {
	r, err := q.a.StartJob(w.id)
	switch {
	case errors.Is(err, archive.ErrBegun), errors.Is(err, archive.ErrNotFound): // cancelled
		q.ended(w)
		return
	case errors.Is(err, archive.ErrBodyLost):
		err = q.a.LoseJob(w.id)
		q.ended(w)
	case err == nil:
		err = q.end(ctx, w, r)
	default:
		q.later(w, queueLonger)
	}
	if err != nil {
		q.log.Error("working off", "operation", w.id, "error", err)
	}
}

// end does what a job asks for, and writes down what became of it.
func (q *Queue) end(ctx context.Context, w *waitingJob, r *archive.RunningJob) error {
	entry, refused, err := q.try(ctx, r)
	p := problemOf(err)
	if err != nil && p.Status < 500 && !errors.Is(err, archive.ErrUnderWay) && !errors.Is(err, context.Canceled) {
		refused, err = &jobAnswer{Problem: p}, nil
	}
	if err == nil && refused != nil {
		if err = q.note(ctx, r, refused.Problem); err != nil {
			p = problemOf(err)
		}
	}
	switch {
	case err == nil && refused == nil:
		err = r.Archived(entry)
	case err == nil:
		err = r.Refused(refused.Problem.Code, mustJSON(refused))
	default:
		pause := queueBackOff(runsOf(&r.Job))
		q.log.Error("an operation failed, and is tried again", "operation", w.id, "code", p.Code, "in", pause, "error", err)
		code := p.Code
		if ctx.Err() != nil {
			code, pause = archive.CodeInterrupted, 0
		}
		err = r.Delayed(code, time.Now().Add(pause))
		q.later(w, pause)
		return err
	}
	if err != nil { // whether it is archived the next start tells
		q.later(w, queueLonger)
		return err
	}
	q.ended(w)
	return nil
}

func (q *Queue) later(w *waitingJob, pause time.Duration) {
	again := *w
	again.at = time.Now().Add(pause)
	q.put(again)
}

// try does so; a panic is an error like others.
func (q *Queue) try(ctx context.Context, r *archive.RunningJob) (entry int64, refused *jobAnswer, err error) {
	defer func() {
		if p := recover(); p != nil {
			q.log.Error("panic", "operation", r.ID, "panic", p, "stack", string(debug.Stack()))
			err = errInternal
		}
	}()
	return q.work(r.Context(ctx), r)
}

// jobAnswer is what is kept of a job that was refused.
type jobAnswer struct {
	Problem *Problem `json:"problem"`
	Reply   []byte   `json:"reply,omitempty"` // ArchiveTransferReply
}

func hasEnded(j *archive.Job) bool {
	return j.State == archive.JobArchived || j.State == archive.JobRefused || j.State == archive.JobCancelled
}

// answerTo is the answer to a job that was refused; nil when it is not kept any more.
func (s *service) answerTo(j *archive.Job) (*jobAnswer, error) {
	b, err := s.a.JobAnswer(j.ID)
	if errors.Is(err, archive.ErrNotFound) {
		code := j.Events[len(j.Events)-1].Code
		for _, k := range kinds {
			if k.code == code {
				return &jobAnswer{Problem: &Problem{Status: k.status, Code: k.code, Reply: k.reply}}, nil
			}
		}
		return &jobAnswer{Problem: problemOf(errInternal)}, nil
	}
	if err != nil {
		return nil, err
	}
	a := &jobAnswer{}
	if err := json.Unmarshal(b, a); err != nil || a.Problem == nil {
		return nil, fmt.Errorf("reading the answer to an operation: %w", errors.Join(err, errInternal))
	}
	return a, nil
}
