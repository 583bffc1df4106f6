package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/retention"
)

// Acts are decisions on units after their deposit: holds, derogations, days on which retentions start,
// restrictions, samples.

// actKinds are those that have resources of their own, and how they are called there.
var actKinds = []struct {
	kind             archive.ActKind
	path, name, end  string // name: as operations are named
	list, show, over string // summaries
}{
	{archive.HoldAct, "holds", "Hold", "lift", "Holds (gel): units that must not be destroyed for now", "A hold", "Lift a hold"},
	{archive.DerogationAct, "derogations", "Derogation", "revoke", "Derogations: who may read units that are not open yet", "A derogation", "Take a derogation back"},
	{archive.StartAct, "starts", "Start", "take-back", "Days on which the retention of a rule was said to start", "A start of a retention", "Take the start of a retention back"},
	{archive.RestrictionAct, "restrictions", "Restriction", "lift", "Restrictions (GDPR art. 18): units that are read for named purposes alone", "A restriction", "Lift a restriction; the data subject is told before (art. 18(3))"},
	{archive.SampleAct, "samples", "Sample", "take-back", "Samples: what is kept of units that are sorted", "A sample", "Undo a sample"},
}

func (s *service) addActs() {
	for _, k := range actKinds {
		at := "/v1/" + k.path
		add(s, huma.Operation{OperationID: "list" + k.name + "s", Method: http.MethodGet, Path: at, Summary: k.list}, s.listActs(k.kind))
		add(s, huma.Operation{OperationID: "show" + k.name, Method: http.MethodGet, Path: at + "/{act}", Summary: k.show + ": its units, its reason, its end"}, s.showAct(k.kind))
		add(s, huma.Operation{OperationID: "end" + k.name, Method: http.MethodPost, Path: at + "/{act}/" + k.end, DefaultStatus: http.StatusCreated, Summary: k.over}, s.endAct(k.kind, "end"+k.name))
	}
	add(s, huma.Operation{OperationID: "setHold", Method: http.MethodPost, Path: "/v1/holds", DefaultStatus: http.StatusCreated, Summary: "Put units on hold, and all below them"}, s.setHold)
	add(s, huma.Operation{OperationID: "reviewHold", Method: http.MethodPost, Path: "/v1/holds/{act}/review", DefaultStatus: http.StatusCreated, Summary: "Say that a hold was looked at again and stays"}, s.reviewHold)
	add(s, huma.Operation{OperationID: "grantDerogation", Method: http.MethodPost, Path: "/v1/derogations", DefaultStatus: http.StatusCreated, Summary: "Let a person read units, and all below them, that are not open yet"}, s.grantDerogation)
	add(s, huma.Operation{OperationID: "explainAccess", Method: http.MethodGet, Path: "/v1/units/{unit}/access", Summary: "Whether a unit is open to a person, which rules stand against it, and until when"}, s.explainAccess)
	add(s, huma.Operation{OperationID: "setStart", Method: http.MethodPost, Path: "/v1/starts", DefaultStatus: http.StatusCreated, Summary: "Say on which day the retention of a rule starts for units, now that its event is known"}, s.setStart)
	add(s, huma.Operation{OperationID: "drawSample", Method: http.MethodPost, Path: "/v1/samples", DefaultStatus: http.StatusCreated, Summary: "Sort: choose what is kept of the units under a rule whose final action is Sort",
		Description: "By an archivist. A seed is drawn and entered into the ledger before anything is chosen."}, s.drawSample)
}

// ActPath names an act.
type ActPath struct {
	Act string `path:"act" pattern:"^d[a-z2-7]{26}$"`
}

// actOfKind is an act of a kind, of who asks' tenant.
func (s *service) actOfKind(who *Identity, id string, kind archive.ActKind) (*archive.Act, error) {
	act, err := s.of(who).ActOf(id)
	if err == nil && (act.Tenant != who.Tenant || act.Kind != kind) {
		err = fmt.Errorf("%s %q: %w", kind, id, archive.ErrNotFound)
	}
	return act, err
}

type listActsInput struct {
	Reads
	Paged
	All bool `query:"all" doc:"those that ended, too"`
}

type actsOutput struct {
	Body struct {
		Acts []*archive.Act `json:"acts"`
		Next string         `json:"next,omitempty"`
	}
}

func (s *service) listActs(kind archive.ActKind) func(context.Context, *Identity, *listActsInput) (*actsOutput, error) {
	return func(_ context.Context, who *Identity, in *listActsInput) (*actsOutput, error) {
		all, err := s.reader(who, in.Reads).Acts(who.Tenant, kind)
		if err != nil {
			return nil, err
		}
		chosen := all[:0]
		for _, act := range all {
			if in.All || act.Ended == nil || act.ID == in.After {
				chosen = append(chosen, act)
			}
		}
		out := &actsOutput{}
		out.Body.Acts, out.Body.Next, err = pageOf(chosen, in.Paged, func(act *archive.Act) string { return act.ID })
		return out, err
	}
}

type showActInput struct {
	Reads
	Fresh
	ActPath
}

func (s *service) showAct(kind archive.ActKind) func(context.Context, *Identity, *showActInput) (*shown[*archive.Act], error) {
	return func(_ context.Context, who *Identity, in *showActInput) (*shown[*archive.Act], error) {
		if _, err := s.actOfKind(who, in.Act, kind); err != nil {
			return nil, err
		}
		act, err := s.reader(who, in.Reads).Act(in.Act)
		if err != nil {
			return nil, err
		}
		return show(act.AsOf, in.Fresh, act), nil
	}
}

type endActInput struct {
	Keyed
	IfMatch
	ActPath
	Body Reason
}

func (s *service) endAct(kind archive.ActKind, operation string) func(context.Context, *Identity, *endActInput) (*done[*archive.Act], error) {
	return func(ctx context.Context, who *Identity, in *endActInput) (*done[*archive.Act], error) {
		if _, err := s.actOfKind(who, in.Act, kind); err != nil {
			return nil, err
		}
		return s.actOnce(ctx, who, in.Key, operation+" "+in.Act, in.Body, held(s, in.Act, in.IfMatch, false, func(ctx context.Context) (*archive.Act, error) {
			return s.of(who).EndAct(ctx, who.Name, in.Act, in.Body.Reason)
		}))
	}
}

// actOnce does an act, or something to one, once. It is told as who asks may read it.
func (s *service) actOnce(ctx context.Context, who *Identity, key, operation string, request any, do func(context.Context) (*archive.Act, error)) (*done[*archive.Act], error) {
	act, replayed, err := once(ctx, s, who, key, operation, request, do, by(who, s.actOf))
	if err == nil {
		act, err = s.reader(who, Reads{}).Act(act.ID)
	}
	if err != nil {
		return nil, err
	}
	out := &done[*archive.Act]{ETag: etag(act.AsOf, act), Replayed: replayed, Body: act}
	for _, k := range actKinds {
		if k.kind == act.Kind {
			out.Location = "/v1/" + k.path + "/" + act.ID
		}
	}
	return out, nil
}

// doAct decides on units, once.
func (s *service) doAct(ctx context.Context, who *Identity, key, operation string, request any, kind archive.ActKind, text archive.ActText) (*done[*archive.Act], error) {
	return s.actOnce(ctx, who, key, operation, request, func(ctx context.Context) (*archive.Act, error) {
		return s.of(who).Act(ctx, who.Name, who.Tenant, kind, text)
	})
}

// NewHold puts units on hold.
type NewHold struct {
	Units  []string `json:"units" minItems:"1" maxItems:"10000"`
	Reason string   `json:"reason" minLength:"1" maxLength:"10000" doc:"why; kept enciphered"`
	Owner  string   `json:"owner,omitempty" maxLength:"1000" doc:"who wants it; kept enciphered"`
	Class  string   `json:"class,omitempty" enum:"litigation,inquiry,classified,research,other" doc:"what it is for; kept enciphered"`
	Until  string   `json:"until,omitempty" format:"date" doc:"first day on which it is over; until it is lifted when absent"`
	Review string   `json:"review,omitempty" format:"date" doc:"day on which it is to be looked at again"`
}

type setHoldInput struct {
	Keyed
	Body NewHold
}

func (s *service) setHold(ctx context.Context, who *Identity, in *setHoldInput) (*done[*archive.Act], error) {
	b := in.Body
	return s.doAct(ctx, who, in.Key, "setHold", b, archive.HoldAct, archive.ActText{Units: b.Units, Reason: b.Reason, Owner: b.Owner, Class: b.Class, Until: b.Until, Review: b.Review})
}

// HoldReview says that a hold stays.
type HoldReview struct {
	Next   string `json:"next,omitempty" format:"date" doc:"day on which it is to be looked at the next time"`
	Reason string `json:"reason" minLength:"1" maxLength:"10000" doc:"why it stays; kept enciphered"`
}

type reviewHoldInput struct {
	Keyed
	IfMatch
	ActPath
	Body HoldReview
}

func (s *service) reviewHold(ctx context.Context, who *Identity, in *reviewHoldInput) (*done[*archive.Act], error) {
	if _, err := s.actOfKind(who, in.Act, archive.HoldAct); err != nil {
		return nil, err
	}
	return s.actOnce(ctx, who, in.Key, "reviewHold "+in.Act, in.Body, held(s, in.Act, in.IfMatch, false, func(ctx context.Context) (*archive.Act, error) {
		return s.of(who).ReviewHold(ctx, who.Name, in.Act, in.Body.Next, in.Body.Reason)
	}))
}

// NewDerogation lets a person read.
type NewDerogation struct {
	Units      []string             `json:"units" minItems:"1" maxItems:"10000"`
	Person     string               `json:"person" minLength:"1" maxLength:"1000" doc:"the name by which the person acts; kept enciphered"`
	Until      string               `json:"until" format:"date" doc:"first day on which it is over"`
	Categories []retention.Category `json:"categories,omitempty" maxItems:"4" enum:"AccessRule,ClassificationRule,DisseminationRule,ReuseRule" doc:"of rules that are derogated from; AccessRule when absent"`
	Reason     string               `json:"reason" minLength:"1" maxLength:"10000" doc:"why; kept enciphered"`
}

type grantInput struct {
	Keyed
	Body NewDerogation
}

func (s *service) grantDerogation(ctx context.Context, who *Identity, in *grantInput) (*done[*archive.Act], error) {
	b := in.Body
	if len(b.Categories) == 0 {
		b.Categories = []retention.Category{retention.Access}
	}
	return s.doAct(ctx, who, in.Key, "grantDerogation", in.Body, archive.DerogationAct, archive.ActText{Units: b.Units, Reason: b.Reason, Person: b.Person, Until: b.Until, Categories: b.Categories})
}

// NewStart says when a retention starts.
type NewStart struct {
	Units  []string `json:"units" minItems:"1" maxItems:"10000"`
	Rule   string   `json:"rule" minLength:"1" maxLength:"200"`
	Start  string   `json:"start" format:"date" doc:"day on which it starts"`
	Reason string   `json:"reason" minLength:"1" maxLength:"10000" doc:"why, for example the decision; kept enciphered"`
}

type setStartInput struct {
	Keyed
	Body NewStart
}

func (s *service) setStart(ctx context.Context, who *Identity, in *setStartInput) (*done[*archive.Act], error) {
	b := in.Body
	return s.doAct(ctx, who, in.Key, "setStart", b, archive.StartAct, archive.ActText{Units: b.Units, Reason: b.Reason, Rule: b.Rule, Start: b.Start})
}

// NewSample says what to sort.
type NewSample struct {
	Rule   string   `json:"rule" minLength:"1" maxLength:"200" doc:"whose final action is Sort"`
	At     string   `json:"at,omitempty" format:"date" doc:"day on which every retention is over; today when absent"`
	Picks  []string `json:"picks,omitempty" maxItems:"10000" doc:"units that are kept whatever the method says"`
	Reason string   `json:"reason" minLength:"1" maxLength:"10000" doc:"why; kept enciphered"`
}

type drawSampleInput struct {
	Keyed
	Body NewSample
}

func (s *service) drawSample(ctx context.Context, who *Identity, in *drawSampleInput) (*done[*archive.Act], error) {
	b := in.Body
	if b.At == "" {
		b.At = today()
	}
	act, replayed, err := once(ctx, s, who, in.Key, "drawSample", in.Body, func(ctx context.Context) (*archive.Act, error) {
		drawn, err := s.of(who).Sample(ctx, who.Name, archive.SampleRequest{Tenant: who.Tenant, Rule: b.Rule, At: b.At, Picks: b.Picks, Reason: b.Reason})
		if err != nil {
			return nil, err
		}
		return s.of(who).ActOf(drawn.Act)
	}, by(who, s.actOf), "sample")
	if err != nil {
		return nil, err
	}
	return &done[*archive.Act]{ETag: etag(act.AsOf, act), Replayed: replayed, Location: "/v1/samples/" + act.ID, Body: act}, nil
}

type explainInput struct {
	UnitPath
	Person  string          `header:"X-Person" maxLength:"1000" doc:"the name by which the person acts: in a header, as it names somebody; who asks when absent"`
	Purpose archive.Purpose `query:"purpose" default:"access" enum:"access,dissemination,reuse,instruction,legal-claims,consent,protection-of-others,public-interest,data-subject-request,audit"`
	At      string          `query:"at" format:"date" doc:"today when absent"`
}

// Explained is whether a unit is open.
type Explained struct {
	Open   bool            `json:"open"`
	Closed *archive.Closed `json:"closed,omitempty" doc:"what stands against it"`
}

type explainedOutput struct {
	Body Explained
}

func (s *service) explainAccess(_ context.Context, who *Identity, in *explainInput) (*explainedOutput, error) {
	if err := s.ours(who, in.Unit); err != nil {
		return nil, err
	}
	closed, err := s.of(who).As(cmp.Or(in.Person, who.Name), retention.ToRead).For(in.Purpose, "").Explain(in.Unit, in.At)
	if err != nil {
		return nil, err
	}
	return &explainedOutput{Explained{closed == nil, closed}}, nil
}
