package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
)

// VitamQuery chooses operations. What it does not have of VITAM's is passed over, as there.
type VitamQuery struct {
	ID       string   `json:"id"`
	States   []string `json:"states"`
	Statuses []string `json:"statuses"`
	Types    []string `json:"listProcessTypes"`
	From     string   `json:"startDateMin" format:"date"`
	To       string   `json:"startDateMax" format:"date"`
}

// VitamProcess is an operation in a list.
type VitamProcess struct {
	ID         string `json:"operationId"`
	Type       string `json:"processType"`
	StepByStep bool   `json:"stepByStep"`
	State      string `json:"globalState"`
	Status     string `json:"stepStatus"`
	Date       string `json:"processDate"`
	Previous   string `json:"previousStep"`
	Next       string `json:"nextStep"`
}

// VitamList asks for operations; the body is a query.
type VitamList struct {
	VitamTenant
	query []byte
}

// maxVitamQuery bounds a query.
const maxVitamQuery = 1 << 20

// Resolve takes the body, which a GET has too.
func (in *VitamList) Resolve(ctx huma.Context) []error {
	b, err := io.ReadAll(io.LimitReader(ctx.BodyReader(), maxVitamQuery+1))
	if err == nil && len(b) > maxVitamQuery {
		err = fmt.Errorf("a query has at most %d bytes", maxVitamQuery)
	}
	if in.query = b; err != nil {
		return []error{err}
	}
	return nil
}

type vitamListOutput struct {
	Body VitamResponse[VitamProcess]
}

// maxVitamList bounds a list: of more, the newest are told.
const maxVitamList = 1000

func (s *service) vitamList(_ context.Context, who *Identity, in *VitamList) (*vitamListOutput, error) {
	tenant, err := s.vitamTenant(who, in.VitamTenant)
	if err != nil {
		return nil, err
	}
	q := &VitamQuery{}
	if len(in.query) > 0 {
		if err := json.Unmarshal(in.query, q); err != nil {
			return nil, fmt.Errorf("reading the query: %w: %w", errMalformed, err)
		}
	}
	from, to, err := q.days()
	if err != nil {
		return nil, err
	}
	f := archive.JobFilter{Tenant: who.Tenant, Limit: maxVitamList}
	if s.onlyOwn(who) {
		f.Agent = s.a.Pseudonym(who.Name)
	}
	found := []VitamProcess{}
	for more := true; more; {
		var jobs []*archive.Job
		if jobs, more, err = s.of(who).Jobs(f); err != nil {
			return nil, err
		}
		for _, j := range jobs {
			f.After = j.ID
			if p := vitamProcessOf(tenant, j); j.Kind == kindTransfer && !j.Received.Before(from) && j.Received.Before(to) && q.wants(&p) {
				found = append(found, p)
			}
		}
		found = found[max(0, len(found)-maxVitamList):]
	}
	return &vitamListOutput{vitamResponse(http.StatusOK, found...)}, nil
}

func vitamProcessOf(tenant uint32, j *archive.Job) VitamProcess {
	p := VitamProcess{ID: guidOf(tenant, j.ID), Type: vitamProcess, Date: j.Received.Format("2006-01-02T15:04:05.000")}
	p.State, p.Status = vitamOf(j)
	return p
}

// days are the bounds of a query; the last day counts whole.
func (q *VitamQuery) days() (from, to time.Time, err error) {
	to = time.Now().Add(24 * time.Hour)
	for _, d := range []struct {
		key, value string
		to         *time.Time
		add        int
	}{{"startDateMin", q.From, &from, 0}, {"startDateMax", q.To, &to, 1}} {
		if d.value == "" {
			continue
		}
		day, err := time.Parse(time.DateOnly, d.value)
		if err != nil {
			return from, to, fmt.Errorf("%s: want a day as 2026-03-01: %w", d.key, errMalformed)
		}
		*d.to = day.AddDate(0, 0, d.add)
	}
	return from, to, nil
}

func (q *VitamQuery) wants(p *VitamProcess) bool {
	in := func(list []string, value string) bool { return len(list) == 0 || slices.Contains(list, value) }
	return (q.ID == "" || q.ID == p.ID) && in(q.States, p.State) && in(q.Statuses, p.Status) && in(q.Types, p.Type)
}

type vitamListPostInput struct {
	Override string `header:"X-Http-Method-Override"`
	VitamList
}

func (s *service) vitamListPost(ctx context.Context, who *Identity, in *vitamListPostInput) (*vitamListOutput, error) {
	if !strings.EqualFold(in.Override, http.MethodGet) {
		return nil, fmt.Errorf("want X-Http-Method-Override: GET: %w", errMalformed)
	}
	return s.vitamList(ctx, who, &in.VitamList)
}
