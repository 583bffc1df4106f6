package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// Session is the service's end of a connection: the streams and the files of who asked for a verb.
type Session struct {
	Ask         Ask
	In          io.Reader
	Out, ErrOut io.Writer
	Files       Files

	// Bytes of frames, so far.
	Received, Sent atomic.Int64

	conn    *websocket.Conn
	idle    time.Duration
	ctx     context.Context // ends with the connection
	end     context.CancelCauseFunc
	out     *output
	flying  chan struct{} // requests without an answer
	running context.CancelFunc

	mu      sync.Mutex
	waiting map[uint32]chan *reply
	last    uint32
}

// reply is an answer with its data.
type reply struct {
	answer
	data []byte
}

// Bounds of a session.
const (
	maxFlying    = 64
	askWithin    = 30 * time.Second
	answerWithin = 10 * time.Minute // a disk may have to spin up; a person may have to type
	pingEvery    = 20 * time.Second
)

// errGone is of a connection that was lost, or given up.
var errGone = errors.New("the connection to the client was lost")

// Accept takes a connection over, and reads what it is to do. A client that takes and says nothing for
// the time idle is dropped. What stands against the request itself was answered.
func Accept(w http.ResponseWriter, r *http.Request, idle time.Duration) (*Session, error) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return nil, fmt.Errorf("accepting a connection: %w", err)
	}
	conn.SetReadLimit(maxFrame)
	ctx, end := context.WithCancelCause(context.WithoutCancel(r.Context())) // whose own context means nothing now
	s := &Session{conn: conn, idle: idle, ctx: ctx, end: end, flying: make(chan struct{}, maxFlying), waiting: map[uint32]chan *reply{}, running: func() {}}
	s.out = &output{s: s}
	s.Out, s.ErrOut = stream{s.out, frameOut}, stream{s.out, frameErr}
	s.In = &input{s: s}
	s.Files = newFar(s)
	if err := s.begin(); err != nil {
		end(err)
		conn.Close(websocket.StatusPolicyViolation, "")
		return nil, err
	}
	return s, nil
}

func (s *Session) begin() error {
	ctx, cancel := context.WithTimeout(s.ctx, min(s.idle, askWithin))
	defer cancel()
	f, err := receive(ctx, s.conn)
	if err != nil {
		return err
	}
	if f.kind != frameAsk {
		return errFrame
	}
	if err := f.read(&s.Ask); err != nil {
		return err
	}
	if s.Ask.Version != Version {
		return fmt.Errorf("%w: version %d of the protocol, not %d", errFrame, s.Ask.Version, Version)
	}
	return nil
}

// receive reads a frame.
func receive(ctx context.Context, conn *websocket.Conn) (*frame, error) {
	kind, b, err := conn.Read(ctx)
	if err != nil {
		return nil, err
	}
	if kind != websocket.MessageBinary {
		return nil, errFrame
	}
	return parseFrame(b)
}

// Run runs f until it ends, and tells the client the status that it gives. The context of f ends when the
// client interrupts, or is gone; then the error says so.
func (s *Session) Run(f func(context.Context) (status int)) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	s.running = cancel
	var wg sync.WaitGroup
	wg.Go(s.receiveAll)
	wg.Go(s.pingAll)
	defer wg.Wait()
	defer s.conn.CloseNow()
	defer s.end(nil)
	status := f(ctx)
	s.out.flush()
	head, err := json.Marshal(exit{status})
	if err == nil {
		err = s.send(&frame{kind: frameExit, head: head})
	}
	if err != nil {
		return err
	}
	// The client closes when it has done what is left, such as writing what was printed.
	select {
	case <-s.ctx.Done():
	case <-time.After(min(s.idle, leaveWithin)):
	}
	return nil
}

// receiveAll takes what the client sends, until the connection ends.
func (s *Session) receiveAll() {
	for {
		f, err := receive(s.ctx, s.conn)
		if err != nil {
			s.end(fmt.Errorf("%w: %w", errGone, err))
			return
		}
		s.Received.Add(int64(frameHead + len(f.head) + len(f.data)))
		switch f.kind {
		case frameInterrupt:
			s.running()
		case frameAnswer:
			err = s.answered(f)
		default:
			err = errFrame
		}
		if err != nil {
			s.end(err)
			return
		}
	}
}

func (s *Session) answered(f *frame) error {
	r := &reply{data: f.data}
	if err := f.read(&r.answer); err != nil {
		return err
	}
	s.mu.Lock()
	waits := s.waiting[f.id]
	delete(s.waiting, f.id)
	s.mu.Unlock()
	if waits == nil {
		return fmt.Errorf("%w: an answer to nothing", errFrame)
	}
	<-s.flying
	waits <- r
	return nil
}

// pingAll notices a client that is gone without a word.
func (s *Session) pingAll() {
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(pingEvery):
		}
		ctx, cancel := context.WithTimeout(s.ctx, s.idle)
		err := s.conn.Ping(ctx)
		cancel()
		if err != nil {
			s.end(fmt.Errorf("%w: %w", errGone, err))
			return
		}
	}
}

// send sends a frame; a client that takes nothing for too long is dropped.
func (s *Session) send(f *frame) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.idle)
	defer cancel()
	b := f.append(make([]byte, 0, frameHead+len(f.head)+len(f.data)))
	s.Sent.Add(int64(len(b)))
	err := s.conn.Write(ctx, websocket.MessageBinary, b)
	if err != nil {
		if cause := context.Cause(s.ctx); cause != nil {
			return cause
		}
		err = fmt.Errorf("%w: %w", errGone, err)
		s.end(err)
	}
	return err
}

// begun is a request that has no answer yet.
type begun struct {
	s     *Session
	reply chan *reply
}

// post asks for something without waiting for the answer. When too much is under way, it waits.
func (s *Session) post(r *request, data []byte) (*begun, error) {
	select {
	case s.flying <- struct{}{}:
	case <-s.ctx.Done():
		return nil, context.Cause(s.ctx)
	}
	head, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	b := &begun{s, make(chan *reply, 1)}
	s.mu.Lock()
	s.last++
	id := s.last
	s.waiting[id] = b.reply
	s.mu.Unlock()
	return b, s.send(&frame{kind: frameRequest, id: id, head: head, data: data})
}

// wait gives the answer.
func (b *begun) wait() (*reply, error) {
	select {
	case r := <-b.reply:
		if r.Err != nil {
			return r, r.Err.err()
		}
		return r, nil
	case <-b.s.ctx.Done():
		return nil, context.Cause(b.s.ctx)
	case <-time.After(answerWithin):
		err := fmt.Errorf("%w: no answer for %v", errGone, answerWithin)
		b.s.end(err)
		return nil, err
	}
}

// ask asks for something, and waits for the answer.
func (s *Session) ask(r *request, data []byte) (*reply, error) {
	b, err := s.post(r, data)
	if err != nil {
		return nil, err
	}
	return b.wait()
}

// output is what a verb prints, on both streams, in its order. It is gathered for a moment, so that a
// table is not a frame for each cell.
type output struct {
	s *Session

	mu    sync.Mutex
	kind  byte
	held  []byte
	timer *time.Timer
}

const (
	gatherFor  = 20 * time.Millisecond
	gatherMost = 64 << 10
)

// stream is one of them.
type stream struct {
	out  *output
	kind byte
}

func (w stream) Write(p []byte) (n int, err error) {
	o := w.out
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(p) > 0 {
		if o.kind != w.kind || len(o.held) == gatherMost {
			if err := o.flushLocked(); err != nil {
				return n, err
			}
			o.kind = w.kind
		}
		take := min(len(p), gatherMost-len(o.held))
		o.held = append(o.held, p[:take]...)
		n, p = n+take, p[take:]
	}
	if o.timer == nil {
		o.timer = time.AfterFunc(gatherFor, func() { o.flush() })
	}
	return n, nil
}

func (o *output) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flushLocked()
}

func (o *output) flushLocked() error {
	if o.timer != nil {
		o.timer.Stop()
		o.timer = nil
	}
	if len(o.held) == 0 {
		return nil
	}
	err := o.s.send(&frame{kind: o.kind, data: o.held})
	o.held = o.held[:0]
	return err
}

// input is standard input of the client.
type input struct {
	s   *Session
	mu  sync.Mutex
	eof bool
}

func (in *input) Read(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.eof || len(p) == 0 {
		if in.eof {
			return 0, io.EOF
		}
		return 0, nil
	}
	r, err := in.s.ask(&request{Op: opStdin, N: min(len(p), maxChunk)}, nil)
	if err != nil {
		return 0, err
	}
	if len(r.data) > len(p) {
		return 0, errFrame
	}
	n := copy(p, r.data)
	if r.EOF {
		in.eof = true
		if n == 0 {
			return 0, io.EOF
		}
	}
	return n, nil
}
