package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/seda"
)

// A deposit that prefers so (RFC 7240, respond-async) is answered once its body is durable, and worked
// off later: it is an operation then, of which is told until 30 days after its end.

// The kinds of operations.
const (
	kindDeposit  = "deposit"
	kindTransfer = "transfer"
)

// Operation is a deposit that is worked off later. What was archived is told of by its links alone.
type Operation struct {
	ID       string           `json:"operation"`
	Kind     string           `json:"kind" enum:"deposit,transfer"`
	Status   archive.JobState `json:"status" enum:"received,running,delayed,archived,refused,cancelled" doc:"delayed: it failed for now, and is tried again at retry"`
	Received time.Time        `json:"received"`
	Ended    *time.Time       `json:"ended,omitempty"`
	Retry    *time.Time       `json:"retry,omitempty"`
	Events   []OperationEvent `json:"events"`
	Entry    *int64           `json:"ledgerEntry,omitempty" doc:"when it is archived"`
	Deposit  string           `json:"deposit,omitempty" doc:"where it is told what was archived"`
	Reply    string           `json:"reply,omitempty" doc:"where the ArchiveTransferReply is"`
	Problem  *Problem         `json:"problem,omitempty" doc:"all that is wrong, when it was refused"`
}

// OperationEvent is a step of an operation.
type OperationEvent struct {
	Time   time.Time        `json:"time"`
	Status archive.JobState `json:"status"`
	Code   string           `json:"code,omitempty" doc:"of the problem because of which it is so"`
}

func (s *service) addOperations() {
	replies := binary("application/xml", "ArchiveTransferReply of a transfer that was archived, or refused")
	add(s, huma.Operation{OperationID: "listOperations", Method: http.MethodGet, Path: "/v1/operations", Summary: "Deposits that are worked off later, in the order of their coming",
		Description: "A depositor is told of his own."}, s.listOperations)
	add(s, huma.Operation{OperationID: "showOperation", Method: http.MethodGet, Path: "/v1/operations/{operation}", Summary: "What became of a deposit that is worked off later"}, s.showOperation)
	add(s, huma.Operation{OperationID: "operationReply", Method: http.MethodGet, Path: "/v1/operations/{operation}/reply", Summary: "The ArchiveTransferReply of an operation that has ended",
		Description: "For who deposited.", Responses: replies}, s.operationReply)
	add(s, huma.Operation{OperationID: "cancelOperation", Method: http.MethodDelete, Path: "/v1/operations/{operation}", DefaultStatus: http.StatusOK, Summary: "Cancel an operation that was not begun",
		Description: "What was received of it is not kept. Cancelled once more it stays cancelled."}, s.cancelOperation)
}

// jsonOf tells of an answer in JSON.
func jsonOf[T any](registry huma.Registry, description string) *huma.Response {
	return &huma.Response{Description: description, Content: map[string]*huma.MediaType{"application/json": {Schema: registry.Schema(typeOf[T](), true, typeOf[T]().Name())}}}
}

// later reports whether a request prefers to be worked off later, and can be.
func (s *service) later(prefer string) bool {
	_, ok := preferred(prefer, "respond-async")
	return ok && s.queue != nil
}

// newJob is a job of who asks.
func (s *service) newJob(who *Identity, key, kind string, said any) archive.NewJob {
	return archive.NewJob{ID: s.of(who).JobID(who.Name, who.Tenant, key), Tenant: who.Tenant, Kind: kind,
		JobRequest: archive.JobRequest{Agent: who.Name, Key: key, Said: mustJSON(said)}}
}

// jobDeposit and jobTransfer are what jobs say.
type jobDeposit struct {
	ContentType string `json:"contentType"`
}

type jobTransfer struct {
	transferSaid
	SHA256 []byte `json:"sha256"`
}

// acceptDeposit makes a job of a multipart body. It is read once more, so that a request that cannot be
// one is refused at once, and a retry is known for one, however its parts are separated.
func (s *service) acceptDeposit(n archive.NewJob, body depositBody) (*archive.Job, bool, error) {
	if _, err := openParts(body.contentType, body.digest, bytes.NewReader(nil)); err != nil {
		return nil, false, err
	}
	d, err := parseDigests(body.digest)
	if err != nil {
		return nil, false, err
	}
	return s.queue.accept(n, d.check(body), func(b *archive.JobBody, n *archive.NewJob) error {
		r, err := b.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		p, m, err := depositBody{body.contentType, "", r}.begin(s)
		if err != nil {
			return err
		}
		print := fingerprint{}
		m.told(print.add)
		m.deposit(n.Tenant, p)
		err = p.each(print.add)
		n.Fingerprint = print.b
		return err
	})
}

// acceptTransfer makes a job of a package.
func (s *service) acceptTransfer(n archive.NewJob, said transferSaid, d digests, in *transferInput) (*archive.Job, bool, error) {
	return s.queue.accept(n, d.check(in.body), func(b *archive.JobBody, n *archive.NewJob) error {
		print := fingerprint{}
		said.told(print.add, b.SHA256)
		n.Fingerprint = print.b
		n.Said = mustJSON(jobTransfer{said, b.SHA256[:]})
		return nil
	})
}

// fingerprint tells requests apart as a key does that is used for one at once.
type fingerprint struct{ b []byte }

func (f *fingerprint) add(part []byte) {
	sum := sha256.Sum256(part)
	f.b = append(f.b, sum[:]...)
}

func (s *service) createDepositLater(ctx context.Context, who *Identity, in *depositInput) (*depositOutput, error) {
	began := time.Now()
	n := s.newJob(who, in.Key, kindDeposit, jobDeposit{in.ContentType})
	j, was, err := s.acceptDeposit(n, depositBody{in.ContentType, in.ContentDigest, in.body})
	if err != nil {
		return nil, err
	}
	out := &depositOutput{Status: http.StatusAccepted, Applied: "respond-async"}
	if was {
		out.Replayed = repeated
	}
	if j, err = s.waitForEnd(ctx, in.Prefer, j); err != nil {
		return nil, err
	}
	wait := waitOf(in.Prefer)
	if wait > 0 {
		out.Applied += ", wait=" + strconv.Itoa(int(wait.Seconds()))
	}
	if wait > 0 && j.State == archive.JobArchived {
		d, err := s.deposited(who, *j.Entry)
		if err == nil {
			_, err = s.waitForSeal(ctx, who, wait-time.Since(began), &d)
		}
		out.Status, out.Location, out.Body = http.StatusCreated, depositAt(d.Entry), d
		return out, err
	}
	if wait > 0 && j.State == archive.JobRefused {
		answer, err := s.answerTo(j)
		if err != nil {
			return nil, err
		}
		return nil, answer.Problem
	}
	op, err := s.operation(who, j, in.Language)
	out.Location, out.Body = operationAt(j.ID), op
	return out, err
}

func (s *service) depositTransferLater(ctx context.Context, who *Identity, in *transferInput, said transferSaid, d digests) (*transferOutput, error) {
	j, was, err := s.acceptTransfer(s.newJob(who, in.Key, kindTransfer, nil), said, d, in)
	if err != nil {
		return nil, err
	}
	if j, err = s.waitForEnd(ctx, in.Prefer, j); err != nil {
		return nil, err
	}
	out := &transferOutput{Status: http.StatusAccepted, Location: operationAt(j.ID)}
	if waitOf(in.Prefer) > 0 && hasEnded(j) && j.State != archive.JobCancelled {
		out, err = s.replyOf(ctx, who, j)
	} else {
		var op *Operation
		if op, err = s.operation(who, j, in.Language); err == nil {
			out.ContentType, out.Body = "application/json", mustJSON(op)
		}
	}
	if err != nil {
		return nil, err
	}
	out.Applied, out.Replayed = "respond-async", ""
	if was {
		out.Replayed = repeated
	}
	return out, nil
}

// waitForEnd waits as long as a request prefers, until a job has ended.
func (s *service) waitForEnd(ctx context.Context, prefer string, j *archive.Job) (*archive.Job, error) {
	wait := waitOf(prefer)
	if wait == 0 {
		return j, nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return s.queue.wait(ctx, j.ID)
}

func operationAt(id string) string { return "/v1/operations/" + id }

// work does what a job asks for: what is done of a request at once.
func (s *service) work(ctx context.Context, r *archive.RunningJob) (entry int64, refused *jobAnswer, err error) {
	body, err := r.Body()
	if err != nil {
		return 0, nil, err
	}
	defer body.Close()
	who := &Identity{Name: r.Request.Agent, Tenant: r.Tenant}
	switch r.Kind {
	case kindDeposit:
		var said jobDeposit
		if err := json.Unmarshal(r.Request.Said, &said); err != nil {
			return 0, nil, fmt.Errorf("reading what a job says: %w", err)
		}
		d, _, err := s.deposit(ctx, who, r.Request.Key, depositBody{said.ContentType, "", body})
		if err != nil {
			return 0, nil, err
		}
		return d.Entry, nil, nil
	case kindTransfer:
		var said jobTransfer
		if err := json.Unmarshal(r.Request.Said, &said); err != nil || len(said.SHA256) != sha256.Size {
			return 0, nil, fmt.Errorf("reading what a job says: %w", errors.Join(err, errInternal))
		}
		return s.workTransfer(ctx, who, r, said, body)
	}
	return 0, nil, fmt.Errorf("a job of kind %q: %w", r.Kind, errInternal)
}

// noteJob notes that a job is refused, as of a request that is.
func (s *service) noteJob(ctx context.Context, r *archive.RunningJob, p *Problem) error {
	operation := "createDeposit"
	if r.Kind == kindTransfer {
		operation = "depositTransfer"
	}
	ctx = context.WithValue(ctx, requestKey{}, &request{id: r.ID})
	return s.noteRefused(ctx, &Identity{Name: r.Request.Agent, Tenant: r.Tenant}, operation, p.Code, p.Status, len(p.Faults))
}

func (s *service) workTransfer(ctx context.Context, who *Identity, r *archive.RunningJob, said jobTransfer, body sipBody) (entry int64, refused *jobAnswer, err error) {
	out, err := s.transfer(ctx, who, r.Request.Key, said.transferSaid, body, [sha256.Size]byte(said.SHA256))
	var none *unreadableError
	switch {
	case errors.As(err, &none):
		var reply bytes.Buffer
		if err := none.reply(r.ID, r.Tenant).Write(&reply); err != nil {
			return 0, nil, err
		}
		return 0, &jobAnswer{problemOf(err), reply.Bytes()}, nil
	case err != nil:
		return 0, nil, err
	case out.refused != nil:
		return 0, &jobAnswer{problemOf(out.refused), out.Body}, nil
	}
	return out.entry, nil, nil
}

// reply says of a package that cannot be read what is wrong with it.
func (e *unreadableError) reply(id, agency string) *seda.Reply {
	when := time.Now().UTC().Truncate(time.Millisecond)
	return &seda.Reply{Identifier: id, Date: when, To: seda.Header{ArchivalAgency: agency}, Code: seda.OutcomeKO, Events: seda.EventsOf(e.findings, when)}
}

// jobOf is a job that who asks may be told of.
func (s *service) jobOf(who *Identity, id string) (*archive.Job, error) {
	j, err := s.of(who).Job(id)
	if err == nil && (j.Tenant != who.Tenant || j.State == archive.JobReceiving || s.onlyOwn(who) && !s.own(who, j)) {
		err = fmt.Errorf("operation %q: %w", id, archive.ErrNotFound)
	}
	return j, err
}

// onlyOwn reports whether who asks is told of his own operations alone.
func (s *service) onlyOwn(who *Identity) bool { return !slices.Contains(who.Roles, archive.Archivist) }

func (s *service) own(who *Identity, j *archive.Job) bool { return j.Agent == s.a.Pseudonym(who.Name) }

// operation is a job as it is told of; all that is wrong with a refused one may name persons.
func (s *service) operation(who *Identity, j *archive.Job, language string) (*Operation, error) {
	o := &Operation{ID: j.ID, Kind: j.Kind, Status: j.State, Received: j.Received, Retry: j.Retry, Entry: j.Entry, Events: []OperationEvent{}}
	for _, e := range j.Events {
		o.Events = append(o.Events, OperationEvent{e.Time, e.State, e.Code})
	}
	if hasEnded(j) {
		o.Ended = &j.Events[len(j.Events)-1].Time
	}
	if j.Entry != nil {
		o.Deposit = depositAt(*j.Entry)
	}
	if j.State == archive.JobRefused {
		answer, err := s.answerTo(j)
		if err != nil {
			return nil, err
		}
		o.Problem = answer.Problem.in(language, "")
	}
	if j.Kind == kindTransfer && (j.State == archive.JobArchived || j.State == archive.JobRefused) {
		o.Reply = operationAt(j.ID) + "/reply"
	}
	return o, nil
}

type listOperationsInput struct {
	After    string `query:"after" pattern:"^j[a-z2-7]{26}$" doc:"the next of the page before"`
	Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	Language string `header:"Accept-Language"`
}

type listOperationsOutput struct {
	Body struct {
		Operations []*Operation `json:"operations"`
		Next       string       `json:"next,omitempty" doc:"to ask with as after; absent at the end"`
	}
}

func (s *service) listOperations(_ context.Context, who *Identity, in *listOperationsInput) (*listOperationsOutput, error) {
	f := archive.JobFilter{Tenant: who.Tenant, After: in.After, Limit: in.Limit}
	if s.onlyOwn(who) {
		f.Agent = s.a.Pseudonym(who.Name)
	}
	jobs, more, err := s.of(who).Jobs(f)
	if err != nil {
		return nil, err
	}
	out := &listOperationsOutput{}
	out.Body.Operations = []*Operation{}
	for _, j := range jobs {
		o, err := s.operation(who, j, in.Language)
		if err != nil {
			return nil, err
		}
		out.Body.Operations = append(out.Body.Operations, o)
	}
	if more {
		out.Body.Next = jobs[len(jobs)-1].ID
	}
	return out, nil
}

// OperationPath names an operation.
type OperationPath struct {
	Operation string `path:"operation" pattern:"^j[a-z2-7]{26}$"`
}

type showOperationInput struct {
	OperationPath
	Prefer   string `header:"Prefer" doc:"wait=SECONDS waits until it has ended, at most 60 seconds (RFC 7240)"`
	Language string `header:"Accept-Language"`
}

type operationOutput struct {
	Body *Operation
}

func (s *service) showOperation(ctx context.Context, who *Identity, in *showOperationInput) (*operationOutput, error) {
	j, err := s.jobOf(who, in.Operation)
	if err == nil && s.queue != nil {
		j, err = s.waitForEnd(ctx, in.Prefer, j)
	}
	if err != nil {
		return nil, err
	}
	o, err := s.operation(who, j, in.Language)
	return &operationOutput{o}, err
}

type cancelOperationInput struct {
	Keyed
	OperationPath
	Language string `header:"Accept-Language"`
}

func (s *service) cancelOperation(_ context.Context, who *Identity, in *cancelOperationInput) (*operationOutput, error) {
	j, err := s.jobOf(who, in.Operation)
	if err == nil && j.State != archive.JobCancelled {
		if s.queue != nil {
			j, err = s.queue.cancel(j.ID)
		} else {
			j, err = s.of(who).CancelJob(j.ID)
		}
	}
	if err != nil {
		return nil, err
	}
	o, err := s.operation(who, j, in.Language)
	return &operationOutput{o}, err
}

// operationReply gives the reply to who deposited: it tells of what is in the units.
func (s *service) operationReply(ctx context.Context, who *Identity, in *OperationPath) (*transferOutput, error) {
	j, err := s.jobOf(who, in.Operation)
	if err == nil && !s.own(who, j) {
		err = fmt.Errorf("the reply is for who deposited: %w", archive.ErrNotFound)
	}
	if err == nil && j.Kind != kindTransfer {
		err = fmt.Errorf("reply of a %s: %w", j.Kind, archive.ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	out, err := s.replyOf(ctx, who, j)
	if err != nil {
		return nil, err
	}
	out.Status, out.Replayed = http.StatusOK, ""
	return out, nil
}

// replyOf is the reply of a job that has ended.
func (s *service) replyOf(ctx context.Context, who *Identity, j *archive.Job) (*transferOutput, error) {
	switch {
	case !hasEnded(j):
		return nil, errNotEnded
	case j.State == archive.JobArchived:
		return s.replied(ctx, who, *j.Entry)
	case j.State == archive.JobCancelled:
		return nil, fmt.Errorf("reply of a cancelled operation: %w", archive.ErrNotFound)
	}
	answer, err := s.answerTo(j)
	if err != nil {
		return nil, err
	}
	if answer.Reply == nil { // such as one that was depositing under a key of another request
		return nil, answer.Problem
	}
	out := &transferOutput{Status: http.StatusUnprocessableEntity}
	return out.with(answer.Reply), nil
}
