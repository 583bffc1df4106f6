package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/integrity"
)

// Conversions make copies of objects in other formats, by the programs that sae.yaml names. One run at a
// time, of all tenants: programs share the folder they work in.

// conversions is the run under way.
const conversions = "conversions"

// unremembered is the kind of no ledger entry: what is begun under it is never known as done, and a retry
// runs again. It is for what leaves alone what was done before.
const unremembered integrity.Kind = "none"

func (s *service) addConversions() {
	content := map[string]*huma.MediaType{"application/json": {Schema: s.api.OpenAPI().Components.Schemas.Schema(typeOf[ConversionRun](), true, "ConversionRun")}}
	add(s, huma.Operation{OperationID: "runConverter", Method: http.MethodPost, Path: "/v1/conversions", Summary: "Convert what a converter of sae.yaml takes",
		Description: "202 means that it is under way: ask how far it is, or wait with Prefer. Each unit is durable when the next begins, and what was converted before is left alone: stopped at any point, it goes on when it is asked for again.",
		Responses:   map[string]*huma.Response{"200": {Description: "it has ended", Content: content}, "202": {Description: "it is under way", Content: content}}}, s.runConverter)
	add(s, huma.Operation{OperationID: "showConversions", Method: http.MethodGet, Path: "/v1/conversions", Summary: "The conversion under way, or the last since the service began"}, s.showConversions)
}

// NewConversion says what to convert.
type NewConversion struct {
	Converter string   `json:"converter" minLength:"1" maxLength:"64" doc:"of sae.yaml"`
	Units     []string `json:"units,omitempty" maxItems:"10000" doc:"all of the tenant when absent"`
	Limit     int      `json:"limit,omitempty" minimum:"0" maximum:"1000000" doc:"units to convert at most; all when 0"`
	Reason    string   `json:"reason" minLength:"1" maxLength:"10000" doc:"why; kept enciphered"`
}

// ConversionRun is how far a conversion is.
type ConversionRun struct {
	State   string                  `json:"state" enum:"not-begun,running,ended" doc:"since the service began"`
	Begun   *time.Time              `json:"begun,omitempty"`
	Units   int64                   `json:"units" doc:"converted by now"`
	Outcome *archive.ConvertOutcome `json:"outcome,omitempty"`
	Failed  []archive.ConvertStep   `json:"failed,omitempty" doc:"objects that could not be converted, and why: the first 100"`
	Problem *Problem                `json:"problem,omitempty" doc:"why it could not be carried through"`
}

// converted is what the last conversion of a tenant came to.
type converted struct {
	outcome *archive.ConvertOutcome
	failed  []archive.ConvertStep
}

const maxFailedTold = 100

type convertInput struct {
	Keyed
	Prefer string `header:"Prefer" doc:"wait=SECONDS waits for its end, at most 60 seconds (RFC 7240)"`
	Body   NewConversion
}

type conversionOutput struct {
	Status   int
	Location string `header:"Location"`
	Applied  string `header:"Preference-Applied"`
	Replayed string `header:"Idempotency-Replayed"`
	Body     *ConversionRun
}

func (s *service) runConverter(ctx context.Context, who *Identity, in *convertInput) (*conversionOutput, error) {
	b := in.Body
	for _, id := range b.Units {
		if err := s.ours(who, id); err != nil {
			return nil, err
		}
	}
	nothingAgainst := func(ctx context.Context) (context.Context, error) { return ctx, nil }
	r, replayed, err := s.behind(ctx, who, in.Key, conversions, "runConverter", b, unremembered, nothingAgainst, func(ctx context.Context, r *run) error {
		var done converted
		out, err := s.of(who).RunConverter(ctx, who.Name, archive.ConvertRun{Converter: b.Converter, Tenant: who.Tenant, Units: b.Units, Limit: b.Limit, Reason: b.Reason, Each: func(step archive.ConvertStep) {
			if step.Done != nil {
				r.done.Add(1)
			} else if len(done.failed) < maxFailedTold {
				done.failed = append(done.failed, step)
			}
		}})
		done.outcome = out
		s.outcomes.mu.Lock()
		defer s.outcomes.mu.Unlock()
		s.outcomes.converted[who.Tenant] = done
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &conversionOutput{Status: http.StatusOK, Location: "/v1/conversions", Replayed: replayed, Applied: r.wait(ctx, in.Prefer)}
	if r.over() && r.err != nil {
		return nil, r.err
	}
	if out.Body = s.conversion(ctx, who); out.Body.State == running {
		out.Status = http.StatusAccepted
	}
	return out, nil
}

// conversion is how far that of who asks' tenant is.
func (s *service) conversion(ctx context.Context, who *Identity) *ConversionRun {
	out := &ConversionRun{State: notBegun}
	s.outcomes.mu.Lock()
	last := s.outcomes.converted[who.Tenant]
	s.outcomes.mu.Unlock()
	out.Outcome, out.Failed = last.outcome, last.failed
	if last.outcome != nil {
		out.State, out.Units = "ended", last.outcome.Units
	}
	r := s.executions.of(conversions)
	if r == nil || !strings.HasPrefix(r.by, who.Tenant+"\x00") {
		return out
	}
	out.State, out.Begun, out.Units = "ended", &r.begun, r.done.Load()
	switch {
	case !r.over():
		out.State, out.Outcome, out.Failed = running, nil, nil
	case r.err != nil:
		out.Problem = problemOf(r.err).in(requestOf(ctx).language, requestOf(ctx).id)
	}
	return out
}

func (s *service) showConversions(ctx context.Context, who *Identity, _ *struct{}) (*conversionOutput, error) {
	return &conversionOutput{Status: http.StatusOK, Body: s.conversion(ctx, who)}, nil
}
