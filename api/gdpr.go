package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/archive/printed"
	"sae/integrity"
)

func (s *service) addGDPR() {
	add(s, huma.Operation{OperationID: "readAccessLog", Method: http.MethodGet, Path: "/v1/access-log", Summary: "Who read what, when and for what",
		Description: "As lines of JSON (application/x-ndjson); the last line is {\"records\": N}. It is for the data-protection officer, and is logged itself.",
		Responses:   binary("application/x-ndjson", "a record on each line")}, s.readAccessLog)
	add(s, huma.Operation{OperationID: "purgeAccessLog", Method: http.MethodPost, Path: "/v1/access-log/purge", DefaultStatus: http.StatusCreated, Summary: "Destroy what of the log of accesses was kept long enough"}, s.purgeAccessLog)
	add(s, huma.Operation{OperationID: "showRegister", Method: http.MethodGet, Path: "/v1/gdpr/register", Summary: "Record of processing activities (art. 30), from the procedures and what the archive holds"}, s.showRegister)
	add(s, huma.Operation{OperationID: "printRegister", Method: http.MethodGet, Path: "/v1/gdpr/register.pdf", Summary: "The record of processing activities, in French", Responses: binary("application/pdf", "the record")}, s.printRegister)
	add(s, huma.Operation{OperationID: "checkGDPR", Method: http.MethodGet, Path: "/v1/gdpr/check", Summary: "What to look at: units without rule or past due, late requests, erasures that are due",
		Description: "As lines of JSON (application/x-ndjson); the last line is {\"findings\": N}. It names identifiers, and nobody.",
		Responses:   binary("application/x-ndjson", "a finding on each line")}, s.checkGDPR)
}

type accessLogInput struct {
	Why     string          `header:"X-Purpose-Reason" maxLength:"1000" doc:"why the log is read; kept enciphered in it"`
	Agent   string          `header:"X-Agent" maxLength:"1000" doc:"only of this person: in a header, as it names somebody"`
	Unit    string          `query:"unit" maxLength:"64" doc:"only what touched this unit"`
	From    time.Time       `query:"from"`
	To      time.Time       `query:"before"`
	ReadFor archive.Purpose `query:"purpose" enum:"access,dissemination,reuse,instruction,legal-claims,consent,protection-of-others,public-interest,data-subject-request,audit"`
}

func (s *service) readAccessLog(ctx context.Context, who *Identity, in *accessLogInput) (*huma.StreamResponse, error) {
	r := s.reader(who, Reads{}).For(archive.ForAudit, in.Why)
	return s.lines("readAccessLog", "records", func(add func(any) error) error {
		return r.AccessLog(ctx, who.Tenant, archive.AccessFilter{Unit: in.Unit, Agent: in.Agent, From: in.From, To: in.To, Purpose: in.ReadFor}, func(x archive.Access) error { return add(x) })
	}), nil
}

type purgeLogInput struct {
	Keyed
}

func (s *service) purgeAccessLog(ctx context.Context, who *Identity, in *purgeLogInput) (*done[*archive.AccessLogPurged], error) {
	p, replayed, err := once(ctx, s, who, in.Key, "purgeAccessLog", nil, func(ctx context.Context) (*archive.AccessLogPurged, error) {
		return s.of(who).PurgeAccessLog(ctx, who.Name, who.Tenant)
	}, func(entry int64) (*archive.AccessLogPurged, error) {
		var d integrity.AccessLogPurgedDetail
		if err := s.detail(entry, &d); err != nil {
			return nil, err
		}
		return &archive.AccessLogPurged{Before: d.Before, Chunks: d.Chunks, Records: d.Count, Entry: entry}, nil
	}, integrity.AccessLogPurged)
	if err != nil {
		return nil, err
	}
	return &done[*archive.AccessLogPurged]{Replayed: replayed, Body: p}, nil
}

type registerOutput struct {
	Body struct {
		Activities []*archive.Processed `json:"activities"`
	}
}

func (s *service) showRegister(ctx context.Context, who *Identity, _ *struct{}) (*registerOutput, error) {
	all, err := s.of(who).Register(ctx, who.Tenant)
	if err != nil {
		return nil, err
	}
	out := &registerOutput{}
	out.Body.Activities = append([]*archive.Processed{}, all...)
	return out, nil
}

func (s *service) printRegister(ctx context.Context, who *Identity, _ *struct{}) (*bytesOutput, error) {
	all, err := s.of(who).Register(ctx, who.Tenant)
	if err != nil {
		return nil, err
	}
	r, err := printed.Register(s.of(who), who.Tenant, all)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := r.PDF(&b); err != nil {
		return nil, fmt.Errorf("printing the register: %w", err)
	}
	return pdf(b.Bytes()), nil
}

func (s *service) checkGDPR(ctx context.Context, who *Identity, _ *struct{}) (*huma.StreamResponse, error) {
	return s.lines("checkGDPR", "findings", func(add func(any) error) error {
		return s.of(who).CheckGDPR(ctx, who.Tenant, func(f archive.GDPRFinding) error { return add(f) })
	}), nil
}
