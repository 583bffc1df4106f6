package api

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/archive/procedure"
	"sae/integrity"
	"sae/retention"
)

// The schedule of a tenant, and its procedures.

func (s *service) addRules() {
	add(s, huma.Operation{OperationID: "listRules", Method: http.MethodGet, Path: "/v1/rules", Summary: "The rules in force",
		Description: "The ETag is that of the schedule: importRules wants it."}, s.listRules)
	add(s, huma.Operation{OperationID: "showRule", Method: http.MethodGet, Path: "/v1/rules/{rule}", Summary: "All versions of a rule, the first first"}, s.showRule)
	add(s, huma.Operation{OperationID: "planRules", Method: http.MethodPost, Path: "/v1/rules/plan", Summary: "What would change, and for how many units, if rules were imported",
		Description: "Nothing changes."}, s.planRules)
	add(s, huma.Operation{OperationID: "importRules", Method: http.MethodPost, Path: "/v1/rules/import", DefaultStatus: http.StatusCreated, Summary: "Add and change rules",
		Description: "All of it is one ledger entry. " + needsMatch}, s.importRules)
	add(s, huma.Operation{OperationID: "listProcedures", Method: http.MethodGet, Path: "/v1/procedures", Summary: "The last version of each procedure"}, s.listProcedures)
	add(s, huma.Operation{OperationID: "showProcedure", Method: http.MethodGet, Path: "/v1/procedures/{procedure}", Summary: "A procedure: its rules, documents, events, and its file"}, s.showProcedure)
	add(s, huma.Operation{OperationID: "checkProcedure", Method: http.MethodPost, Path: "/v1/procedures/check", Summary: "Say what is wrong with a procedure: in itself, and against the tenant's rules and agreements",
		Description: "Nothing changes."}, s.checkProcedure)
	add(s, huma.Operation{OperationID: "addProcedure", Method: http.MethodPost, Path: "/v1/procedures", DefaultStatus: http.StatusCreated, Summary: "Add a procedure, or a version of one that is there"}, s.addProcedure)
}

func (s *service) listRules(_ context.Context, who *Identity, in *Fresh) (*shown[Rules], error) {
	schedule, err := s.of(who).Rules(who.Tenant)
	if err != nil {
		return nil, err
	}
	return show(asOfSchedule(schedule.Digest()), *in, Rules{append([]retention.Versioned{}, schedule.All()...)}), nil
}

// asOfSchedule is what the entity tag of a schedule begins with.
func asOfSchedule(digest [32]byte) string { return hex.EncodeToString(digest[:]) }

// Rules are those in force.
type Rules struct {
	Rules []retention.Versioned `json:"rules"`
}

type ruleInput struct {
	Rule string `path:"rule" minLength:"1" maxLength:"200"`
}

type ruleOutput struct {
	Body struct {
		Versions []archive.RuleVersion `json:"versions"`
	}
}

func (s *service) showRule(_ context.Context, who *Identity, in *ruleInput) (*ruleOutput, error) {
	versions, err := s.of(who).RuleHistory(who.Tenant, in.Rule)
	if err != nil {
		return nil, err
	}
	out := &ruleOutput{}
	out.Body.Versions = versions
	return out, nil
}

// RulesFile are rules as a file has them.
type RulesFile struct {
	File    string `json:"file" minLength:"1" maxLength:"900000" doc:"YAML, or a rule referential in CSV"`
	Format  string `json:"format,omitempty" enum:"yaml,csv" default:"yaml"`
	Replace bool   `json:"replace,omitempty" doc:"end the rules that the file does not name; refused for those that units use"`
}

func (s *service) plan(ctx context.Context, who *Identity, b RulesFile) (*archive.RulesPlan, error) {
	parse := retention.ParseYAML
	if b.Format == "csv" {
		parse = retention.ParseCSV
	}
	rules, err := parse([]byte(b.File))
	if err != nil {
		return nil, &archive.Refusal{Problems: []string{err.Error()}}
	}
	return s.of(who).PlanRules(ctx, who.Tenant, rules, b.Replace)
}

type planInput struct {
	Body RulesFile
}

type planOutput struct {
	Body *archive.RulesPlan
}

func (s *service) planRules(ctx context.Context, who *Identity, in *planInput) (*planOutput, error) {
	p, err := s.plan(ctx, who, in.Body)
	if err != nil {
		return nil, err
	}
	return &planOutput{p}, nil
}

type importInput struct {
	Keyed
	IfMatch
	Body RulesFile
}

// Imported tells of a change of the schedule.
type Imported struct {
	Entry   int64 `json:"ledgerEntry"`
	Added   int   `json:"added"`
	Changed int   `json:"changed"`
	Ended   int   `json:"ended"`
}

// importRules holds the schedule that a plan changes against what was read; the archive holds it against
// the schedule that there is, when it is changed.
func (s *service) importRules(ctx context.Context, who *Identity, in *importInput) (*done[*Imported], error) {
	if in.Match == "" || in.Match == "*" {
		return nil, errNoMatch
	}
	i, replayed, err := once(ctx, s, who, in.Key, "importRules", in.Body, func(ctx context.Context) (*Imported, error) {
		p, err := s.plan(ctx, who, in.Body)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(readAs(in.Match), asOfSchedule(p.Before)) {
			return nil, fmt.Errorf("the schedule: %w", archive.ErrOutdated)
		}
		entry, err := s.of(who).ChangeRules(ctx, who.Name, p)
		if err != nil {
			return nil, err
		}
		return s.imported(entry)
	}, s.imported)
	if err != nil {
		return nil, err
	}
	return &done[*Imported]{Replayed: replayed, Location: "/v1/rules", Body: i}, nil
}

func (s *service) imported(entry int64) (*Imported, error) {
	var d integrity.RulesDetail
	err := s.detail(entry, &d)
	return &Imported{entry, d.Added, d.Changed, d.Ended}, err
}

// Procedure is a procedure, and its file.
type Procedure struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Version int    `json:"version"`
	Entry   int64  `json:"ledgerEntry"`
	File    string `json:"file,omitempty" doc:"its YAML"`
}

type proceduresOutput struct {
	Body struct {
		Procedures []Procedure `json:"procedures"`
	}
}

func (s *service) listProcedures(_ context.Context, who *Identity, _ *struct{}) (*proceduresOutput, error) {
	all, err := s.of(who).Procedures(who.Tenant)
	if err != nil {
		return nil, err
	}
	out := &proceduresOutput{}
	out.Body.Procedures = []Procedure{}
	for _, p := range all {
		out.Body.Procedures = append(out.Body.Procedures, Procedure{ID: p.ID, Name: p.Name, Version: p.Version, Entry: p.Entry})
	}
	return out, nil
}

type procedureInput struct {
	Fresh
	Procedure string `path:"procedure" minLength:"1" maxLength:"64"`
}

func (s *service) showProcedure(_ context.Context, who *Identity, in *procedureInput) (*shown[Procedure], error) {
	p, err := s.of(who).Procedure(who.Tenant, in.Procedure)
	if err != nil {
		return nil, err
	}
	out := Procedure{p.ID, p.Name, p.Version, p.Entry, string(p.File)}
	return show(fmt.Sprint(p.Entry), in.Fresh, out), nil
}

// ProcedureFile is the file of a procedure.
type ProcedureFile struct {
	File string `json:"file" minLength:"1" maxLength:"900000" doc:"YAML"`
}

type checkProcedureInput struct {
	Body ProcedureFile
}

type checkedOutput struct {
	Body struct {
		Procedure string `json:"procedure" doc:"its identifier; nothing is wrong with it"`
	}
}

func (s *service) checkProcedure(_ context.Context, who *Identity, in *checkProcedureInput) (*checkedOutput, error) {
	p, err := procedure.Parse([]byte(in.Body.File))
	if err != nil {
		return nil, &archive.Refusal{Problems: []string{err.Error()}}
	}
	if err := s.of(who).CheckProcedure(who.Tenant, p); err != nil {
		return nil, err
	}
	out := &checkedOutput{}
	out.Body.Procedure = p.ID
	return out, nil
}

type addProcedureInput struct {
	Keyed
	Body ProcedureFile
}

func (s *service) addProcedure(ctx context.Context, who *Identity, in *addProcedureInput) (*done[Procedure], error) {
	p, replayed, err := once(ctx, s, who, in.Key, "addProcedure", in.Body, func(ctx context.Context) (Procedure, error) {
		p, err := s.of(who).AddProcedure(ctx, who.Name, who.Tenant, []byte(in.Body.File))
		if err != nil {
			return Procedure{}, err
		}
		return Procedure{p.ID, p.Name, p.Version, p.Entry, in.Body.File}, nil
	}, func(entry int64) (Procedure, error) {
		var d integrity.ProcedureDetail
		if err := s.detail(entry, &d); err != nil {
			return Procedure{}, err
		}
		p, err := s.of(who).Procedure(who.Tenant, d.Procedure)
		if err != nil {
			return Procedure{}, err
		}
		return Procedure{p.ID, p.Name, d.Version, entry, in.Body.File}, nil
	})
	if err != nil {
		return nil, err
	}
	return &done[Procedure]{ETag: etag(fmt.Sprint(p.Entry), p), Replayed: replayed, Location: "/v1/procedures/" + p.ID, Body: p}, nil
}
