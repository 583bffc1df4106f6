package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/integrity"
	"sae/seda"
)

// An elimination is proposed, looked at, agreed to, visaed and executed, each by another person.
// Transfers, and the destruction of paper, are requests of the same form.

const (
	eliminationRoot = "/v1/eliminations/{elimination}"
	maxReply        = 9 << 20   // bytes of a request with a reply of SEDA
	maxReplies      = 128 << 20 // and of one with those to all packages of a transfer
)

func (s *service) addEliminations() {
	add(s, huma.Operation{OperationID: "listEliminations", Method: http.MethodGet, Path: "/v1/eliminations", Summary: "Requests to eliminate, with the steps that were taken"}, s.listEliminations)
	add(s, huma.Operation{OperationID: "showElimination", Method: http.MethodGet, Path: "/v1/eliminations/{elimination}", Summary: "A request to eliminate: its bordereau and its steps"}, s.showElimination)
	add(s, huma.Operation{OperationID: "listEliminationUnits", Method: http.MethodGet, Path: "/v1/eliminations/{elimination}/units", Summary: "The units of a request, as they are now",
		Description: "As lines of JSON (application/x-ndjson); the last line is {\"units\": N}. Without it the list is not whole.",
		Responses:   binary("application/x-ndjson", "a unit on each line")}, s.listEliminationUnits)
	add(s, huma.Operation{OperationID: "proposeElimination", Method: http.MethodPost, Path: "/v1/eliminations", DefaultStatus: http.StatusCreated, Summary: "Freeze the list of what may be eliminated",
		Description: "By an archivist. Nothing is destroyed before it was agreed to, visaed and executed. A transfer freezes what is to be kept for ever and goes to another archive."}, s.proposeElimination)
	add(s, huma.Operation{OperationID: "stepElimination", Method: http.MethodPost, Path: "/v1/eliminations/{elimination}/steps", DefaultStatus: http.StatusCreated, Summary: "Agree to a request, give it the visa, refuse or withdraw it",
		Description: "Each step is for its role, and by another person than those before. " + needsMatch}, s.stepElimination)
	add(s, huma.Operation{OperationID: "listEliminationSteps", Method: http.MethodGet, Path: eliminationRoot + "/steps", Summary: "The steps of a request, with what was said with each"}, s.listEliminationSteps)
	add(s, huma.Operation{OperationID: "executeElimination", Method: http.MethodPost, Path: eliminationRoot + "/execute", Summary: "Destroy what has its visa: it cannot be taken back",
		Description: "By an archivist who took no other step. Every unit is looked at again before it goes: a rule, a hold or a unit below it that came meanwhile keeps it. " + goesOn + " " + needsMatch,
		Responses:   accepted(s)}, s.executeElimination)
	add(s, huma.Operation{OperationID: "showExecution", Method: http.MethodGet, Path: eliminationRoot + "/execution", Summary: "How far an execution is, and what it came to"}, s.showExecution)
	add(s, huma.Operation{OperationID: "printBordereau", Method: http.MethodGet, Path: eliminationRoot + "/bordereau", Summary: "Bordereau d'élimination, in French, to be signed", Responses: binary("application/pdf", "the bordereau")}, s.bordereau)
	add(s, huma.Operation{OperationID: "eliminationCertificate", Method: http.MethodGet, Path: eliminationRoot + "/certificate", Summary: "Destruction certificate: what was destroyed, when, under which visa; it names nobody",
		Responses: certificateResponses()}, s.eliminationCertificate)
	add(s, huma.Operation{OperationID: "makeEliminationCertificate", Method: http.MethodPost, Path: eliminationRoot + "/certificate", DefaultStatus: http.StatusCreated, Summary: "Make the destruction certificate, when no time-stamping authority answered at the execution"}, s.makeEliminationCertificate)
	add(s, huma.Operation{OperationID: "eliminationMessage", Method: http.MethodGet, Path: eliminationRoot + "/message", Summary: "A message of SEDA about a request: to agree, to visa, or that units were destroyed",
		Responses: binary("application/xml", "the message")}, s.eliminationMessage)
	add(s, huma.Operation{OperationID: "replyToElimination", Method: http.MethodPost, Path: eliminationRoot + "/reply", DefaultStatus: http.StatusCreated, Summary: "Take the step that a reply in SEDA says: agree, visa or refuse",
		Description: "As the person who has the role for it. " + needsMatch, MaxBodyBytes: maxReply}, s.replyToElimination)
	add(s, huma.Operation{OperationID: "acknowledgeTransfer", Method: http.MethodPost, Path: eliminationRoot + "/acknowledge", Summary: "Verify the replies of the archive to which units went, then destroy here what it has",
		Description: "By an archivist who neither proposed nor sent it. Every unit and object must be in a reply, with the digest of what is here. What is wrong with a reply is the problem of the execution. " + goesOn + " " + needsMatch,
		Responses:   accepted(s), MaxBodyBytes: maxReplies, BodyReadTimeout: -1}, s.acknowledgeTransfer)
}

// eliminated is a request of who asks' tenant.
func (s *service) eliminated(who *Identity, id string) (*archive.Elimination, error) {
	e, err := s.of(who).Elimination(id)
	if err == nil && e.Kind == archive.ForErasure {
		err = fmt.Errorf("elimination %q: %w", id, archive.ErrNotFound)
	}
	return e, err
}

type eliminationsOutput struct {
	Body struct {
		Eliminations []*archive.Elimination `json:"eliminations"`
		Next         string                 `json:"next,omitempty"`
	}
}

func (s *service) listEliminations(_ context.Context, who *Identity, in *Paged) (*eliminationsOutput, error) {
	all, err := s.of(who).Eliminations(who.Tenant, archive.ForElimination, archive.ForTransfer, archive.ForPaper)
	if err != nil {
		return nil, err
	}
	out := &eliminationsOutput{}
	out.Body.Eliminations, out.Body.Next, err = pageOf(all, *in, func(e *archive.Elimination) string { return e.ID })
	return out, err
}

// EliminationPath names a request.
type EliminationPath struct {
	Elimination string `path:"elimination" pattern:"^[a-z][a-z2-7]{26}$"`
}

type eliminationInput struct {
	Reads
	EliminationPath
}

type showEliminationInput struct {
	Reads
	Fresh
	EliminationPath
}

func eliminationDone(e *archive.Elimination, replayed string) *done[*archive.Elimination] {
	return &done[*archive.Elimination]{ETag: etag(e.AsOf(), e), Replayed: replayed, Location: "/v1/eliminations/" + e.ID, Body: e}
}

func (s *service) showElimination(_ context.Context, who *Identity, in *showEliminationInput) (*shown[*archive.Elimination], error) {
	e, err := s.eliminated(who, in.Elimination)
	if err != nil {
		return nil, err
	}
	return show(e.AsOf(), in.Fresh, e), nil
}

func (s *service) listEliminationUnits(ctx context.Context, who *Identity, in *eliminationInput) (*huma.StreamResponse, error) {
	e, err := s.eliminated(who, in.Elimination)
	if err != nil {
		return nil, err
	}
	r := s.reader(who, in.Reads)
	return s.lines("listEliminationUnits", "units", func(add func(any) error) error {
		return r.EachListed(ctx, e.ID, func(u archive.ListedUnit) error { return add(u) })
	}), nil
}

// lines gives a list as lines of JSON, and at its end how many of what there were.
func (s *service) lines(operation, what string, each func(add func(any) error) error) *huma.StreamResponse {
	return s.stream(operation, "application/x-ndjson", "", func(w io.Writer) error {
		n, out := 0, json.NewEncoder(w)
		err := each(func(v any) error {
			n++
			return out.Encode(v)
		})
		if err != nil {
			return err
		}
		return out.Encode(map[string]int{what: n})
	})
}

// NewElimination says what to propose.
type NewElimination struct {
	At     string `json:"at,omitempty" format:"date" doc:"day on which retentions are to be over; today when absent"`
	Agency string `json:"originatingAgency,omitempty" maxLength:"200" doc:"whose units; of all when absent"`
	Reason string `json:"reason,omitempty" maxLength:"1000"`
	Kind   string `json:"kind,omitempty" enum:"elimination,transfer,paper" default:"elimination" doc:"what becomes of the units: they are destroyed; they go to another archive; their paper is destroyed, their copies stay"`
	To     string `json:"to,omitempty" maxLength:"200" doc:"of a transfer: ArchivalAgency of the archive that takes them"`
}

type proposeInput struct {
	Keyed
	Body NewElimination
}

func (s *service) proposeElimination(ctx context.Context, who *Identity, in *proposeInput) (*done[*archive.Elimination], error) {
	b := in.Body
	if b.At == "" {
		b.At = today()
	}
	kind := archive.RequestKind(b.Kind)
	if b.Kind == "elimination" {
		kind = archive.ForElimination
	}
	e, replayed, err := once(ctx, s, who, in.Key, "proposeElimination", in.Body, func(ctx context.Context) (*archive.Elimination, error) {
		return s.of(who).ProposeElimination(ctx, who.Name, archive.EliminationRequest{Kind: kind, To: b.To, At: b.At, Filter: archive.Filter{Tenant: who.Tenant, Agency: b.Agency}, Reason: b.Reason})
	}, by(who, s.eliminationOf))
	if err != nil {
		return nil, err
	}
	return eliminationDone(e, replayed), nil
}

// ElimStep is a step to take.
type ElimStep struct {
	Step      archive.EliminationStep `json:"step" enum:"agreed,visaed,refused,withdrawn"`
	Reason    string                  `json:"reason,omitempty" maxLength:"1000"`
	Bordereau string                  `json:"bordereau,omitempty" doc:"unit of the archive: the bordereau as it was signed"`
	Refused   []archive.RefusedUnits  `json:"refused,omitempty" maxItems:"1000" doc:"with agreed and visaed: units that stay, and why"`
}

type stepInput struct {
	Keyed
	IfMatch
	EliminationPath
	Body ElimStep
}

func (s *service) stepElimination(ctx context.Context, who *Identity, in *stepInput) (*done[*archive.Elimination], error) {
	if _, err := s.eliminated(who, in.Elimination); err != nil {
		return nil, err
	}
	e, replayed, err := once(ctx, s, who, in.Key, "stepElimination "+in.Elimination, in.Body, held(s, in.Elimination, in.IfMatch, true, func(ctx context.Context) (*archive.Elimination, error) {
		return s.of(who).StepElimination(ctx, who.Name, in.Elimination, in.Body.Step, archive.StepText{Reason: in.Body.Reason, Bordereau: in.Body.Bordereau, Refused: in.Body.Refused})
	}), by(who, s.eliminationOf))
	if err != nil {
		return nil, err
	}
	return eliminationDone(e, replayed), nil
}

// eliminationOf is the request that a ledger entry speaks of, as it is now.
func (s *service) eliminationOf(who *Identity, entry int64) (*archive.Elimination, error) {
	var detail integrity.EliminationDetail
	if err := s.detail(entry, &detail); err != nil {
		return nil, err
	}
	return s.of(who).Elimination(detail.Elimination)
}

type messageInput struct {
	EliminationPath
	Kind    string `query:"kind" required:"true" enum:"originating-agency,control-authority,notification" doc:"to whom it goes; notification says what was destroyed"`
	Agency  string `query:"originatingAgency" maxLength:"200" doc:"whose units are named; the only one when absent"`
	To      string `query:"controlAuthority" maxLength:"200" doc:"identifier of the control authority"`
	Version string `query:"seda" enum:"2.1,2.2,2.3" default:"2.2"`
}

func (s *service) eliminationMessage(_ context.Context, who *Identity, in *messageInput) (*huma.StreamResponse, error) {
	e, err := s.eliminated(who, in.Elimination)
	if err != nil {
		return nil, err
	}
	v, err := versionOf(in.Version)
	if err != nil {
		return nil, err
	}
	m, err := s.of(who).EliminationMessage(e.ID, archive.MessageRequest{Kind: in.Kind, Agency: in.Agency, To: in.To, Version: v})
	if err != nil {
		return nil, err
	}
	return s.stream("eliminationMessage", "application/xml", e.ID+".xml", m.Write), nil
}

// EliminationReply is a reply in SEDA.
type EliminationReply struct {
	XML string `json:"xml" minLength:"1" maxLength:"8388608" doc:"AuthorizationOriginatingAgencyRequestReply or AuthorizationControlAuthorityRequestReply"`
}

type replyInput struct {
	Keyed
	IfMatch
	EliminationPath
	Body EliminationReply
}

func (s *service) replyToElimination(ctx context.Context, who *Identity, in *replyInput) (*done[*archive.Elimination], error) {
	if _, err := s.eliminated(who, in.Elimination); err != nil {
		return nil, err
	}
	var findings seda.Findings
	m, err := seda.ReadMessage(strings.NewReader(in.Body.XML), seda.Tolerant, &findings)
	if err != nil {
		return nil, &archive.Refusal{Problems: []string{"xml: " + err.Error()}}
	}
	if findings.Refused() {
		return nil, refusedFor(&findings)
	}
	e, replayed, err := once(ctx, s, who, in.Key, "replyToElimination "+in.Elimination, in.Body, held(s, in.Elimination, in.IfMatch, true, func(ctx context.Context) (*archive.Elimination, error) {
		return s.of(who).ReplyToElimination(ctx, who.Name, in.Elimination, m)
	}), by(who, s.eliminationOf))
	if err != nil {
		return nil, err
	}
	return eliminationDone(e, replayed), nil
}

// SaidStep is a step of an elimination, and what was said with it.
type SaidStep struct {
	archive.StepTaken
	Said archive.StepText `json:"said"`
}

type saidStepsOutput struct {
	Body struct {
		Steps []SaidStep `json:"steps"`
	}
}

func (s *service) listEliminationSteps(_ context.Context, who *Identity, in *executionInput) (*saidStepsOutput, error) {
	e, err := s.eliminated(who, in.Elimination)
	if err != nil {
		return nil, err
	}
	out := &saidStepsOutput{}
	for _, step := range e.Steps {
		said, err := s.of(who).StepWords(step)
		if err != nil {
			return nil, err
		}
		out.Body.Steps = append(out.Body.Steps, SaidStep{step, said})
	}
	return out, nil
}
