package api

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sae/archive"
	"sae/archive/printed"
	"sae/integrity"
)

// What destroys, or audits, takes its time: it goes on behind its request, and is asked how far it is. The ledger
// knows what it came to; of what is under way only the progress is kept here. Stopped at any point, by a
// crash too, it goes on from there when it is asked for again.

// Executions are those under way.
type Executions struct {
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu   sync.Mutex
	runs map[string]*run // the last of each elimination, and of audit and repair
}

// run is one that was begun.
type run struct {
	by    string // who asked, and by which key
	begun time.Time
	done  atomic.Int64  // units destroyed, or bytes read
	ended chan struct{} // closed at its end
	err   error         // why it ended before all was done; read when it has ended
}

// NewExecutions gives executions of which none is under way.
func NewExecutions() *Executions {
	x := &Executions{runs: map[string]*run{}}
	x.ctx, x.stop = context.WithCancel(context.Background())
	return x
}

// Stop lets what is under way end with its present transaction, and waits for that. The archive is
// closed afterwards.
func (x *Executions) Stop() {
	x.mu.Lock() // what was let in before is waited for
	x.stop()
	x.mu.Unlock()
	x.wg.Wait()
}

// of is the last run of an elimination; nil for none.
func (x *Executions) of(id string) *run {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.runs[id]
}

// begin begins a run, unless there is one. What ctx carries but its end goes with it.
func (x *Executions) begin(ctx context.Context, id, by string, do func(context.Context, *run) error) (*run, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if r := x.runs[id]; r != nil && !r.over() || x.ctx.Err() != nil {
		return nil, archive.ErrUnderWay
	}
	r := &run{by: by, begun: time.Now().UTC(), ended: make(chan struct{})}
	x.runs[id] = r
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(x.ctx, cancel)
	x.wg.Go(func() {
		defer close(r.ended)
		defer cancel()
		defer unhook()
		r.err = do(ctx, r)
	})
	return r, nil
}

func (r *run) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// States of executions.
const (
	notBegun = "not-begun"
	running  = "running"
	stopped  = "stopped" // it is asked for again, and goes on
	executed = "executed"
)

// Execution is how far what destroys units is.
type Execution struct {
	Elimination string               `json:"elimination"`
	State       string               `json:"state" enum:"not-begun,running,stopped,executed"`
	Units       int64                `json:"units" doc:"of the list"`
	Destroyed   int64                `json:"destroyed" doc:"units, by now"`
	Begun       *time.Time           `json:"begun,omitempty" doc:"the last run"`
	Entry       int64                `json:"ledgerEntry,omitempty" doc:"by which it was executed"`
	Kept        []archive.Kept       `json:"kept,omitempty" doc:"of the list, and not refused: what was not destroyed, and why"`
	Deleted     int64                `json:"deleted" doc:"copies that are gone"`
	Waiting     int64                `json:"waiting" doc:"copies that cannot be deleted yet: without their key"`
	Certificate *archive.Certificate `json:"certificate,omitempty"`
	Problem     *Problem             `json:"problem,omitempty" doc:"why it stopped, or has no certificate yet"`
}

// execution says how far an elimination is.
func (s *service) execution(ctx context.Context, e *archive.Elimination) (*Execution, error) {
	out := &Execution{Elimination: e.ID, State: notBegun, Units: e.Units}
	if e.Begun {
		out.State = stopped
	}
	if r := s.executions.of(e.ID); r != nil {
		out.Begun, out.Destroyed = &r.begun, r.done.Load()
		switch {
		case !r.over():
			out.State = running
		case r.err != nil:
			p := problemOf(r.err)
			out.Problem = p.in(requestOf(ctx).language, requestOf(ctx).id)
		}
	}
	for _, step := range e.Steps {
		if step.Step != archive.ExecutedStep {
			continue
		}
		words, err := s.views[e.Tenant].StepWords(step)
		if err != nil {
			return nil, err
		}
		out.Entry, out.Destroyed, out.Kept, out.Deleted, out.Waiting = step.Entry, words.Destroyed, words.Kept, words.Deleted, words.Waiting
		if out.State != running { // its certificate is being made
			out.State = executed
		}
	}
	cert, err := s.views[e.Tenant].CertificateOf(e.ID)
	if err == nil {
		out.Certificate = cert
	} else if !errors.Is(err, archive.ErrNotFound) {
		return nil, err
	}
	return out, nil
}

// Destroying is what every operation that destroys takes.
type Destroying struct {
	Keyed
	IfMatch
	Prefer string `header:"Prefer" doc:"wait=SECONDS waits for its end, at most 60 seconds (RFC 7240)"`
}

// destruction is what is destroyed under an elimination.
type destruction struct {
	operation string
	id        string // elimination
	read      string // what If-Match is of
	request   any    // as it was asked
	may       func() error
	ends      integrity.Kind
	do        func(ctx context.Context, progress func(int64)) error
	location  string
}

type executionOutput struct {
	Status   int
	Location string `header:"Location"`
	Applied  string `header:"Preference-Applied"`
	Replayed string `header:"Idempotency-Replayed"`
	Body     *Execution
}

// behind begins, once, what goes on behind its request: prepare says what stands against it, and gives the
// context in which it takes place. r is nil when it took place before.
func (s *service) behind(ctx context.Context, who *Identity, key, id, operation string, request any, ends integrity.Kind, prepare func(context.Context) (context.Context, error), do func(ctx context.Context, r *run) error) (r *run, replayed string, err error) {
	by := who.Tenant + "\x00" + who.Name + "\x00" + key
	o, err := s.of(who).Once(who.Name, who.Tenant, key)
	if r := s.executions.of(id); errors.Is(err, archive.ErrUnderWay) && r != nil && r.by == by {
		return r, repeated, nil
	}
	if err != nil {
		return nil, "", err
	}
	handed := false // to the run
	defer func() {
		if !handed {
			o.End()
		}
	}()
	o.EndsWith(ends)
	o.Add([]byte(operation + " " + id))
	o.Add(mustJSON(request))
	if _, before, err := o.Done(); err != nil || before {
		return nil, repeated, err
	}
	within, err := prepare(o.Context(ctx))
	if err != nil {
		return nil, "", err
	}
	asked := requestOf(ctx).id
	r, err = s.executions.begin(within, id, by, func(ctx context.Context, r *run) (err error) {
		defer o.End()
		defer func() {
			if p := recover(); p != nil { // as of a handler: the service goes on
				s.log.Error("panic", "request", asked, "operation", operation, "panic", p, "stack", string(debug.Stack()))
				err = errInternal
			}
		}()
		if err = do(ctx, r); err != nil {
			s.endedEarly(asked, operation, err)
		}
		return err
	})
	handed = err == nil
	return r, "", err
}

// endedEarly logs that what went on behind a request ended before all was done. What is ours to look at
// is told with its cause; what is the request's fault may name somebody.
func (s *service) endedEarly(request, operation string, err error) {
	p := problemOf(err)
	if p.Status < 500 {
		s.log.Warn("it ended early", "request", request, "operation", operation, "code", p.Code)
		return
	}
	s.log.Error("it ended early", "request", request, "operation", operation, "code", p.Code, "error", err)
}

// destroy begins a destruction once, and waits for it as long as the request prefers.
func (s *service) destroy(ctx context.Context, who *Identity, in Destroying, d destruction) (*executionOutput, error) {
	prepare := func(ctx context.Context) (context.Context, error) {
		ctx, err := s.expecting(ctx, d.read, in.IfMatch, true)
		if err == nil && d.may != nil {
			err = d.may()
		}
		return ctx, err
	}
	r, replayed, err := s.behind(ctx, who, in.Key, d.id, d.operation, d.request, d.ends, prepare, func(ctx context.Context, r *run) error { return d.do(ctx, r.done.Store) })
	if err != nil {
		return nil, err
	}
	return s.waitExecuted(ctx, in.Prefer, r, d, replayed)
}

// wait waits for the end of a run, as long as a request prefers; it says how long that is.
func (r *run) wait(ctx context.Context, prefer string) (applied string) {
	value, _ := preferred(prefer, "wait")
	seconds, err := strconv.Atoi(value)
	if err != nil || seconds < 1 || r == nil {
		return ""
	}
	seconds = min(seconds, maxWait)
	select {
	case <-r.ended:
	case <-ctx.Done():
	case <-time.After(time.Duration(seconds) * time.Second):
	}
	return "wait=" + strconv.Itoa(seconds)
}

// waitExecuted answers with how far it is, after the wait that a request prefers.
func (s *service) waitExecuted(ctx context.Context, prefer string, r *run, d destruction, replayed string) (*executionOutput, error) {
	out := &executionOutput{Status: http.StatusOK, Location: d.location, Replayed: replayed, Applied: r.wait(ctx, prefer)}
	e, err := s.of(identityOf(ctx)).Elimination(d.id)
	if err != nil {
		return nil, err
	}
	if out.Body, err = s.execution(ctx, e); err != nil {
		return nil, err
	}
	switch {
	case out.Body.State == running:
		out.Status = http.StatusAccepted
	case out.Body.State != executed && r != nil && r.err != nil:
		return nil, r.err
	}
	return out, nil
}

// endsWith is the kind of the ledger entry of a step.
func endsWith(kind archive.RequestKind, step archive.EliminationStep) integrity.Kind {
	return integrity.Kind(kind.String() + "-" + string(step))
}

type executeInput struct {
	Destroying
	EliminationPath
	Body struct {
		Reason string `json:"reason,omitempty" maxLength:"10000" doc:"of paper: how it is destroyed, by whom, under which reference; kept enciphered"`
	}
}

func (s *service) executeElimination(ctx context.Context, who *Identity, in *executeInput) (*executionOutput, error) {
	e, err := s.eliminated(who, in.Elimination)
	if err != nil {
		return nil, err
	}
	return s.destroy(ctx, who, in.Destroying, destruction{operation: "executeElimination", id: e.ID, read: e.ID, request: in.Body, location: "/v1/eliminations/" + e.ID + "/execution",
		ends: endsWith(e.Kind, archive.ExecutedStep),
		may:  func() error { return s.of(who).MayExecute(who.Name, e.ID, in.Body.Reason) },
		do: func(ctx context.Context, progress func(int64)) error {
			done, err := s.of(who).ExecuteElimination(ctx, who.Name, e.ID, in.Body.Reason, progress)
			if err == nil && done.Destroyed > 0 && e.Kind == archive.ForElimination {
				_, err = printed.Certify(ctx, s.of(who), who.Name, e.ID)
			}
			return err
		}})
}

// Acknowledgement are the replies of the archive to which units went.
type Acknowledgement struct {
	Replies   []TransferReply `json:"replies" maxItems:"1000" doc:"none when a run before was stopped: it goes on"`
	LeaveRest bool            `json:"leaveRest,omitempty" doc:"packages without a reply, or refused by the other archive: their units stay"`
}

// TransferReply is an ArchiveTransferReply.
type TransferReply struct {
	Name string `json:"name" minLength:"1" maxLength:"200" doc:"how it is named in what is said of it"`
	XML  string `json:"xml" minLength:"1" maxLength:"67108864"`
}

type acknowledgeInput struct {
	Destroying
	EliminationPath
	Body Acknowledgement
}

func (s *service) acknowledgeTransfer(ctx context.Context, who *Identity, in *acknowledgeInput) (*executionOutput, error) {
	e, err := s.eliminated(who, in.Elimination)
	if err != nil {
		return nil, err
	}
	var replies []archive.ReplySource
	for _, r := range in.Body.Replies {
		replies = append(replies, archive.ReplySource{Name: r.Name, Data: []byte(r.XML)})
	}
	return s.destroy(ctx, who, in.Destroying, destruction{operation: "acknowledgeTransfer", id: e.ID, read: e.ID, request: in.Body, location: "/v1/eliminations/" + e.ID + "/execution",
		ends: endsWith(e.Kind, archive.ExecutedStep),
		do: func(ctx context.Context, progress func(int64)) error {
			_, err := s.of(who).AcknowledgeTransfer(ctx, who.Name, e.ID, replies, in.Body.LeaveRest, progress)
			return err
		}})
}

type executionInput struct {
	EliminationPath
}

func (s *service) showExecution(ctx context.Context, who *Identity, in *executionInput) (*executionOutput, error) {
	e, err := s.eliminated(who, in.Elimination)
	if err != nil {
		return nil, err
	}
	x, err := s.execution(ctx, e)
	return &executionOutput{Status: http.StatusOK, Body: x}, err
}

type eraseInput struct {
	Destroying
	RequestPath
}

func (s *service) executeErasure(ctx context.Context, who *Identity, in *eraseInput) (*executionOutput, error) {
	q, err := s.dataRequest(who, in.Request)
	if err == nil && q.Erasure == "" {
		err = &archive.Refusal{Problems: []string{"request " + q.ID + " allows no erasure"}}
	}
	if err != nil {
		return nil, err
	}
	return s.destroy(ctx, who, in.Destroying, destruction{operation: "executeErasure", id: q.Erasure, read: q.ID, location: "/v1/requests/" + q.ID + "/erasure",
		ends: ledgerKind(archive.RequestExecuted),
		may:  func() error { return s.of(who).MayErase(who.Name, q.ID) },
		do: func(ctx context.Context, progress func(int64)) error {
			done, err := s.of(who).ExecuteErasure(ctx, who.Name, q.ID, progress)
			if err != nil || done.Destroyed == 0 {
				return err
			}
			if _, err := s.of(who).CertificateOf(q.Erasure); !errors.Is(err, archive.ErrNotFound) {
				return err // by a run before
			}
			_, err = printed.Certify(ctx, s.of(who), who.Name, q.Erasure)
			return err
		}})
}

type erasureInput struct {
	RequestPath
}

func (s *service) showErasure(ctx context.Context, who *Identity, in *erasureInput) (*executionOutput, error) {
	q, err := s.dataRequest(who, in.Request)
	if err == nil && q.Erasure == "" {
		err = archive.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	e, err := s.of(who).Elimination(q.Erasure)
	if err != nil {
		return nil, err
	}
	x, err := s.execution(ctx, e)
	return &executionOutput{Status: http.StatusOK, Body: x}, err
}
