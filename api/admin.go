package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/integrity"
)

// What those who run the archive ask for. It is on the listener of administration alone: whoever reaches
// only the service reaches none of it, whatever key he has.

func (s *service) addAdministration() {
	add(s, huma.Operation{OperationID: "showStats", Method: http.MethodGet, Path: "/v1/stats", Summary: "Units by channel, and objects by format, of all tenants"}, s.showStats)
	add(s, huma.Operation{OperationID: "sealNow", Method: http.MethodPost, Path: "/v1/seal", DefaultStatus: http.StatusCreated, Summary: "Seal what waits for its time-stamp",
		Description: "The service seals by itself, too. The answer to a retry names the last batch."}, s.sealNow)
	add(s, huma.Operation{OperationID: "startAudit", Method: http.MethodPost, Path: "/v1/audit", Summary: "Read the archive again: copies, evidence, ledger, catalogue",
		Description: "202 means that it is under way: ask how far it is, or wait with Prefer. Its result is in the ledger.", Responses: taskResponses(s)}, s.startAudit)
	add(s, huma.Operation{OperationID: "showAudit", Method: http.MethodGet, Path: "/v1/audit", Summary: "The audit under way, or the last since the service began"}, s.showTask("audit"))
	add(s, huma.Operation{OperationID: "startRepair", Method: http.MethodPost, Path: "/v1/repair", Summary: "Make the copies that are missing, and delete those that are not used any more", Responses: taskResponses(s)}, s.startRepair)
	add(s, huma.Operation{OperationID: "showRepair", Method: http.MethodGet, Path: "/v1/repair", Summary: "The repair under way, or the last since the service began, and what is missing in which offer"}, s.showTask("repair"))
	add(s, huma.Operation{OperationID: "verifyAccessLog", Method: http.MethodGet, Path: "/v1/access-log/check", Summary: "Hold the log of accesses against the ledger: what was changed or removed is named"}, s.verifyAccessLog)
}

type statsOutput struct {
	Body *archive.Stats
}

func (s *service) showStats(context.Context, *Identity, *struct{}) (*statsOutput, error) {
	st, err := s.a.Stats()
	return &statsOutput{st}, err
}

type sealInput struct {
	Keyed
}

// SealedNow are the batches that were sealed.
type SealedNow struct {
	Sealed []archive.Sealed `json:"sealed"`
}

func (s *service) sealNow(ctx context.Context, who *Identity, in *sealInput) (*done[SealedNow], error) {
	out, replayed, err := once(ctx, s, who, in.Key, "sealNow", nil, func(ctx context.Context) (SealedNow, error) {
		all, err := s.a.Seal(ctx, who.Name)
		return SealedNow{append([]archive.Sealed{}, all...)}, err
	}, func(entry int64) (SealedNow, error) {
		var d integrity.SealDetail
		err := s.detail(entry, &d)
		return SealedNow{[]archive.Sealed{{Batch: d.Batch, Leaves: d.Leaves, Authority: d.Authority, Stamped: d.Stamped, Checkpoint: d.Checkpoint, Entry: entry}}}, err
	}, integrity.Seal)
	if err != nil {
		return nil, err
	}
	return &done[SealedNow]{Replayed: replayed, Body: out}, nil
}

// Task is what is done to the archive as a whole.
type Task struct {
	State   string               `json:"state" enum:"not-begun,running,ended" doc:"since the service began"`
	Begun   *time.Time           `json:"begun,omitempty"`
	Read    int64                `json:"read,omitempty" doc:"bytes, by now"`
	Audit   *archive.AuditReport `json:"audit,omitempty" doc:"what an audit found"`
	Repair  *archive.Repaired    `json:"repair,omitempty" doc:"what a repair came to"`
	Missing []archive.OfferGauge `json:"offers,omitempty" doc:"copies that are missing"`
	Problem *Problem             `json:"problem,omitempty" doc:"why it could not be carried through"`
}

// taskResponses are those of what may be under way after its answer.
func taskResponses(s *service) map[string]*huma.Response {
	content := map[string]*huma.MediaType{"application/json": {Schema: s.api.OpenAPI().Components.Schemas.Schema(typeOf[Task](), true, "Task")}}
	return map[string]*huma.Response{"200": {Description: "it has ended", Content: content}, "202": {Description: "it is under way", Content: content}}
}

type taskOutput struct {
	Status   int
	Location string `header:"Location"`
	Applied  string `header:"Preference-Applied"`
	Replayed string `header:"Idempotency-Replayed"`
	Body     *Task
}

// outcomes are what tasks came to, since the service began.
type outcomes struct {
	mu        sync.Mutex
	audit     *archive.AuditReport
	repair    *archive.Repaired
	converted map[string]converted // by tenant
}

func (s *service) task(ctx context.Context, name string) (*Task, error) {
	t := &Task{State: notBegun}
	s.outcomes.mu.Lock()
	if name == "audit" {
		t.Audit = s.outcomes.audit
	} else {
		t.Repair = s.outcomes.repair
	}
	s.outcomes.mu.Unlock()
	if r := s.executions.of(name); r != nil {
		t.State, t.Begun, t.Read = running, &r.begun, r.done.Load()
		if r.over() {
			t.State = "ended"
			if r.err != nil {
				t.Problem = problemOf(r.err).in(requestOf(ctx).language, requestOf(ctx).id)
			}
		}
	}
	if name == "repair" {
		g, err := s.a.Gauges()
		if err != nil {
			return nil, err
		}
		t.Missing = g.Offers
	}
	return t, nil
}

func (s *service) showTask(name string) func(context.Context, *Identity, *struct{}) (*taskOutput, error) {
	return func(ctx context.Context, _ *Identity, _ *struct{}) (*taskOutput, error) {
		t, err := s.task(ctx, name)
		return &taskOutput{Status: http.StatusOK, Body: t}, err
	}
}

// Auditing says what an audit reads.
type Auditing struct {
	Sample     float64 `json:"sample,omitempty" minimum:"0.0001" maximum:"1" default:"1" doc:"share of the objects whose copies are read"`
	Continue   bool    `json:"continue,omitempty" doc:"go on behind the last audit that did, instead of drawing at random"`
	Ciphertext bool    `json:"ciphertext,omitempty" doc:"hold copies against their ciphertext only, which is faster"`
	Repair     bool    `json:"repair,omitempty" doc:"replace a bad or missing copy by a good one"`
}

type auditInput struct {
	Keyed
	Prefer string `header:"Prefer" doc:"wait=SECONDS waits for its end, at most 60 seconds (RFC 7240)"`
	Body   Auditing
}

func (s *service) startAudit(ctx context.Context, who *Identity, in *auditInput) (*taskOutput, error) {
	b := in.Body
	return s.startTask(ctx, who, in.Key, in.Prefer, "audit", "startAudit", b, integrity.Audit, func(ctx context.Context, r *run) error {
		report, err := s.a.Audit(ctx, who.Name, archive.AuditOptions{Sample: b.Sample, Continue: b.Continue, Ciphertext: b.Ciphertext, Repair: b.Repair, Progress: func(bytes, _ int64) { r.done.Store(bytes) }})
		if err != nil {
			return err
		}
		s.outcomes.mu.Lock()
		defer s.outcomes.mu.Unlock()
		s.outcomes.audit = report
		return nil
	})
}

type repairInput struct {
	Keyed
	Prefer string `header:"Prefer" doc:"wait=SECONDS waits for its end, at most 60 seconds (RFC 7240)"`
}

func (s *service) startRepair(ctx context.Context, who *Identity, in *repairInput) (*taskOutput, error) {
	return s.startTask(ctx, who, in.Key, in.Prefer, "repair", "startRepair", nil, integrity.Repair, func(ctx context.Context, _ *run) error {
		out, err := s.a.RepairQueue(ctx, who.Name)
		if err != nil {
			return err
		}
		s.outcomes.mu.Lock()
		defer s.outcomes.mu.Unlock()
		s.outcomes.repair = out
		return nil
	})
}

func (s *service) startTask(ctx context.Context, who *Identity, key, prefer, name, operation string, request any, ends integrity.Kind, do func(context.Context, *run) error) (*taskOutput, error) {
	r, replayed, err := s.behind(ctx, who, key, name, operation, request, ends, func(ctx context.Context) (context.Context, error) { return ctx, nil }, do)
	if err != nil {
		return nil, err
	}
	out := &taskOutput{Status: http.StatusOK, Location: "/v1/" + name, Replayed: replayed, Applied: r.wait(ctx, prefer)}
	if r != nil && r.over() && r.err != nil {
		return nil, r.err
	}
	if out.Body, err = s.task(ctx, name); err != nil {
		return nil, err
	}
	if out.Body.State == running {
		out.Status = http.StatusAccepted
	}
	return out, nil
}

type logCheckOutput struct {
	Body *archive.AccessLogCheck
}

func (s *service) verifyAccessLog(context.Context, *Identity, *struct{}) (*logCheckOutput, error) {
	c, err := s.a.VerifyAccessLog()
	return &logCheckOutput{c}, err
}
