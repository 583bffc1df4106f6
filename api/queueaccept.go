package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"sae/archive"
)

// accept makes a job of a body: when it returns nil all of it is durable. print tells it from others of
// the same identifier; it may refuse it. One that there is already is given with was.
func (q *Queue) accept(n archive.NewJob, body io.Reader, print func(b *archive.JobBody, n *archive.NewJob) error) (j *archive.Job, was bool, err error) {
	in, err := q.reserve(n.Tenant, body)
	if err != nil {
		return nil, false, err
	}
	defer in.release()
	b, err := q.a.SpoolBody(in)
	if err == nil {
		if err = print(b, &n); err != nil {
			b.Discard()
		} else {
			j, was, err = q.a.AcceptJob(n, b)
		}
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = fmt.Errorf("%w: %w", errNoSpace, err)
	}
	if err == nil && !was {
		q.enter(j)
	}
	return j, was, err
}

// enter lets a job be worked off that was accepted.
func (q *Queue) enter(j *archive.Job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.load(j.Tenant)
	l.n, l.bytes = l.n+1, l.bytes+j.Size
	q.waiting = append(q.waiting, waitingJob{id: j.ID, tenant: j.Tenant, size: j.Size})
	q.tell()
}

// reserved is a body that is being received: what came of it counts among what waits, until release.
type reserved struct {
	io.Reader
	q      *Queue
	tenant string
	bytes  int64
}

// reserve counts a job that is to come.
func (q *Queue) reserve(tenant string, body io.Reader) (*reserved, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.load(tenant)
	if l.n >= q.limits.Waiting {
		return nil, fmt.Errorf("%d operations wait: %w", l.n, errQueueFull)
	}
	l.n++
	return &reserved{Reader: body, q: q, tenant: tenant}, nil
}

func (r *reserved) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	l := r.q.load(r.tenant)
	r.bytes, l.bytes = r.bytes+int64(n), l.bytes+int64(n)
	switch most := r.q.limits.WaitingBytes; {
	case r.bytes > most:
		return n, errTooLarge
	case l.bytes > most:
		return n, errQueueFull
	}
	return n, err
}

func (r *reserved) release() {
	r.q.mu.Lock()
	defer r.q.mu.Unlock()
	l := r.q.load(r.tenant)
	l.n, l.bytes = l.n-1, l.bytes-r.bytes
}

// cancel ends a job that was not begun.
func (q *Queue) cancel(id string) (*archive.Job, error) {
	j, err := q.a.CancelJob(id)
	if err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, w := range q.waiting {
		if w.id == id {
			q.waiting = append(q.waiting[:i:i], q.waiting[i+1:]...)
			l := q.load(w.tenant)
			l.n, l.bytes = l.n-1, l.bytes-w.size
			break
		}
	}
	q.tell()
	return j, nil
}

// wait waits until a job has ended, or the context has.
func (q *Queue) wait(ctx context.Context, id string) (*archive.Job, error) {
	for {
		q.mu.Lock()
		changed := q.changed
		q.mu.Unlock()
		j, err := q.a.Job(id)
		if err != nil || hasEnded(j) {
			return j, err
		}
		select {
		case <-ctx.Done():
			return j, nil
		case <-changed:
		}
	}
}
