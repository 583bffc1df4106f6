package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	tusd "github.com/tus/tusd/v2/pkg/handler"
)

// uploadLocks lets one request at a time have an upload. Another that wants it cuts the body of the one
// that has it: mostly that is a client's own, over a line that broke, of which only the client knows. It
// is tusd's Locker; the bodies are ours to cut, since tusd reads what it has of them without a lock.
type uploadLocks struct {
	mu   sync.Mutex
	held map[string]*uploadLock
}

type uploadLock struct {
	of       *uploadLocks
	id       string
	released chan struct{}
	body     *tusBody // nil when nothing is read
}

const (
	lockWait  = 20 * time.Second // for a request that has the upload, to end
	lockAgain = 50 * time.Millisecond
)

// NewLock implements tusd.Locker.
func (l *uploadLocks) NewLock(id string) (tusd.Lock, error) {
	return &uploadLock{of: l, id: id, released: make(chan struct{})}, nil
}

// Lock implements tusd.Lock.
func (l *uploadLock) Lock(ctx context.Context, _ func()) error {
	if t, ok := ctx.Value(tusKey{}).(*tusRequest); ok {
		l.body = t.body
	}
	for {
		before := l.take()
		if before == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return tusd.ErrLockTimeout
		case <-before.released:
		case <-time.After(lockAgain):
		}
	}
}

// take gives who has the lock, nil when it is had now. Its body is cut again each time: a read that began
// just then has a deadline of its own.
func (l *uploadLock) take() *uploadLock {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	if before := l.of.held[l.id]; before != nil {
		before.body.cut()
		return before
	}
	l.of.held[l.id] = l
	return nil
}

// Unlock implements tusd.Lock.
func (l *uploadLock) Unlock() error {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	delete(l.of.held, l.id)
	close(l.released)
	return nil
}

// tusBody is the body of a request, which can be cut. It tells tusd of an end that came too soon in the
// way that it knows.
type tusBody struct {
	io.ReadCloser
	t       *tusRequest
	control *http.ResponseController

	mu      sync.Mutex
	reading bool
	isCut   bool
}

// cut ends the body, when there is more of it: of a connection that is not read any more the next
// request must not be harmed.
func (b *tusBody) cut() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reading {
		b.isCut = true
		b.control.SetReadDeadline(time.Now()) // of a recorder in tests there is none
	}
}

func (b *tusBody) wasCut() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.isCut
}

func (b *tusBody) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	b.reading = !b.isCut
	b.mu.Unlock()
	if b.wasCut() {
		b.t.failed(errUploadCut)
		return 0, io.ErrUnexpectedEOF
	}
	n, err = b.ReadCloser.Read(p)
	if err != nil {
		b.mu.Lock()
		b.reading = false
		b.mu.Unlock()
	}
	if errors.Is(err, errIncomplete) {
		b.t.failed(errUploadCut)
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
