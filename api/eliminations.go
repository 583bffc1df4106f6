package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/integrity"
)

// An elimination is proposed, looked at, agreed to and visaed over HTTP, each by another person. It is
// executed on the machine, by an archivist: what it does cannot be taken back.

func (s *service) addEliminations() {
	add(s, huma.Operation{OperationID: "listEliminations", Method: http.MethodGet, Path: "/v1/eliminations", Summary: "Requests to eliminate, with the steps that were taken"}, s.listEliminations)
	add(s, huma.Operation{OperationID: "showElimination", Method: http.MethodGet, Path: "/v1/eliminations/{elimination}", Summary: "A request to eliminate: its bordereau and its steps"}, s.showElimination)
	add(s, huma.Operation{OperationID: "listEliminationUnits", Method: http.MethodGet, Path: "/v1/eliminations/{elimination}/units", Summary: "The units of a request, as they are now",
		Description: "As lines of JSON (application/x-ndjson); the last line is {\"units\": N}. Without it the list is not whole.",
		Responses:   binary("application/x-ndjson", "a unit on each line")}, s.listEliminationUnits)
	add(s, huma.Operation{OperationID: "proposeElimination", Method: http.MethodPost, Path: "/v1/eliminations", DefaultStatus: http.StatusCreated, Summary: "Freeze the list of what may be eliminated",
		Description: "By an archivist. Nothing is destroyed before it was agreed to, visaed, and executed on the machine (sae eliminate execute)."}, s.proposeElimination)
	add(s, huma.Operation{OperationID: "stepElimination", Method: http.MethodPost, Path: "/v1/eliminations/{elimination}/steps", DefaultStatus: http.StatusCreated, Summary: "Agree to a request, give it the visa, refuse or withdraw it",
		Description: "Each step is for its role, and by another person than those before."}, s.stepElimination)
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
	}
}

func (s *service) listEliminations(_ context.Context, who *Identity, _ *struct{}) (*eliminationsOutput, error) {
	all, err := s.of(who).Eliminations(who.Tenant, archive.ForElimination, archive.ForTransfer, archive.ForPaper)
	if err != nil {
		return nil, err
	}
	out := &eliminationsOutput{}
	out.Body.Eliminations = append([]*archive.Elimination{}, all...)
	return out, nil
}

// EliminationPath names a request.
type EliminationPath struct {
	Elimination string `path:"elimination" pattern:"^[a-z][a-z2-7]{26}$"`
}

type eliminationInput struct {
	Reads
	EliminationPath
}

type eliminationOutput struct {
	Replayed string `header:"Idempotency-Replayed"`
	Body     *archive.Elimination
}

func (s *service) showElimination(_ context.Context, who *Identity, in *eliminationInput) (*eliminationOutput, error) {
	e, err := s.eliminated(who, in.Elimination)
	if err != nil {
		return nil, err
	}
	return &eliminationOutput{Body: e}, nil
}

func (s *service) listEliminationUnits(ctx context.Context, who *Identity, in *eliminationInput) (*huma.StreamResponse, error) {
	e, err := s.eliminated(who, in.Elimination)
	if err != nil {
		return nil, err
	}
	r := s.reader(who, in.Reads)
	return s.lines("listEliminationUnits", func(add func(any) error) error {
		return r.EachListed(ctx, e.ID, func(u archive.ListedUnit) error { return add(u) })
	}), nil
}

// lines gives a list as lines of JSON, and at its end how many there were.
func (s *service) lines(operation string, each func(add func(any) error) error) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		var begun bytes.Buffer
		w := &late{hold: maxHeld, held: &begun}
		w.begin = func() {
			hc.SetHeader("Content-Type", "application/x-ndjson")
			hc.SetStatus(http.StatusOK)
			w.to = hc.BodyWriter()
		}
		n, out := 0, json.NewEncoder(w)
		err := each(func(v any) error {
			n++
			return out.Encode(v)
		})
		if err == nil {
			err = out.Encode(map[string]int{"units": n})
		}
		if err == nil {
			err = w.flush()
		}
		s.endStream(hc, operation, w.to != nil, err)
	}}
}

// NewElimination says what to propose.
type NewElimination struct {
	At     string `json:"at,omitempty" format:"date" doc:"day on which retentions are to be over; today when absent"`
	Agency string `json:"originatingAgency,omitempty" maxLength:"200" doc:"whose units; of all when absent"`
	Reason string `json:"reason,omitempty" maxLength:"1000"`
}

type proposeInput struct {
	Keyed
	Body NewElimination
}

func (s *service) proposeElimination(ctx context.Context, who *Identity, in *proposeInput) (*eliminationOutput, error) {
	b := in.Body
	if b.At == "" {
		b.At = today()
	}
	e, replayed, err := once(ctx, s, who, in.Key, "proposeElimination", in.Body, func(ctx context.Context) (*archive.Elimination, error) {
		return s.of(who).ProposeElimination(ctx, who.Name, archive.EliminationRequest{At: b.At, Filter: archive.Filter{Tenant: who.Tenant, Agency: b.Agency}, Reason: b.Reason})
	}, func(entry int64) (*archive.Elimination, error) { return s.eliminationOf(who, entry) })
	if err != nil {
		return nil, err
	}
	return &eliminationOutput{replayed, e}, nil
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
	EliminationPath
	Body ElimStep
}

func (s *service) stepElimination(ctx context.Context, who *Identity, in *stepInput) (*eliminationOutput, error) {
	if _, err := s.eliminated(who, in.Elimination); err != nil {
		return nil, err
	}
	e, replayed, err := once(ctx, s, who, in.Key, "stepElimination "+in.Elimination, in.Body, func(ctx context.Context) (*archive.Elimination, error) {
		return s.of(who).StepElimination(ctx, who.Name, in.Elimination, in.Body.Step, archive.StepText{Reason: in.Body.Reason, Bordereau: in.Body.Bordereau, Refused: in.Body.Refused})
	}, func(entry int64) (*archive.Elimination, error) { return s.eliminationOf(who, entry) })
	if err != nil {
		return nil, err
	}
	return &eliminationOutput{replayed, e}, nil
}

// eliminationOf is the request that a ledger entry speaks of, as it is now.
func (s *service) eliminationOf(who *Identity, entry int64) (*archive.Elimination, error) {
	var detail integrity.EliminationDetail
	if err := s.detail(entry, &detail); err != nil {
		return nil, err
	}
	return s.of(who).Elimination(detail.Elimination)
}
