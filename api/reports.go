package api

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/archive/risk"
)

func (s *service) addReports() {
	add(s, huma.Operation{OperationID: "listFormats", Method: http.MethodGet, Path: "/v1/formats", Summary: "What is held in which format (PRONOM), with the risk of each, greatest first"}, s.listFormats)
	add(s, huma.Operation{OperationID: "listFormatUnits", Method: http.MethodGet, Path: "/v1/formats/units", Summary: "The units that hold a format, and their objects in it"}, s.listFormatUnits)
	add(s, huma.Operation{OperationID: "showCalendar", Method: http.MethodGet, Path: "/v1/retention/calendar", Summary: "Units whose retention ends in each year, by what then becomes of them"}, s.showCalendar)
	add(s, huma.Operation{OperationID: "listAudits", Method: http.MethodGet, Path: "/v1/audits", Summary: "Audits of the archive, the last first, as the ledger has them"}, s.listAudits)
}

type formatsOutput struct {
	Body struct {
		Formats []archive.FormatLine `json:"formats"`
		Sources map[string]string    `json:"sources" doc:"of the notes on risks"`
	}
}

func (s *service) listFormats(ctx context.Context, who *Identity, _ *struct{}) (*formatsOutput, error) {
	risks, err := s.of(who).Risks(who.Tenant)
	if err != nil {
		return nil, err
	}
	lines, err := s.of(who).Formats(ctx, who.Tenant, risks)
	if err != nil {
		return nil, err
	}
	out := &formatsOutput{}
	out.Body.Formats, out.Body.Sources = lines, risks.Sources
	return out, nil
}

type formatUnitsInput struct {
	Reads
	Paged
	PUID string `query:"puid" required:"true" maxLength:"64" doc:"PRONOM identifier such as fmt/40, or unidentified"`
}

type formatUnitsOutput struct {
	Body archive.HeldPage
}

func (s *service) listFormatUnits(ctx context.Context, who *Identity, in *formatUnitsInput) (*formatUnitsOutput, error) {
	puid := in.PUID
	switch {
	case puid == risk.Unidentified:
		puid = ""
	case !risk.ValidPUID(puid):
		return nil, invalid(Fault{"want a PRONOM identifier such as fmt/40, or " + risk.Unidentified, "query.puid"})
	}
	page, err := s.reader(who, in.Reads).FormatUnits(ctx, who.Tenant, puid, in.After, in.Limit)
	if err != nil {
		return nil, err
	}
	return &formatUnitsOutput{page}, nil
}

type calendarOutput struct {
	Body struct {
		Years []archive.CalendarLine `json:"years"`
	}
}

func (s *service) showCalendar(ctx context.Context, who *Identity, _ *struct{}) (*calendarOutput, error) {
	lines, err := s.of(who).Calendar(ctx, who.Tenant)
	if err != nil {
		return nil, err
	}
	out := &calendarOutput{}
	out.Body.Years = append([]archive.CalendarLine{}, lines...)
	return out, nil
}

type auditsInput struct {
	Before int64 `query:"before" minimum:"0" doc:"cursor: the next of the page before"`
	Limit  int   `query:"limit" minimum:"1" maximum:"100" default:"20"`
}

type auditsOutput struct {
	Body struct {
		Audits []archive.AuditState `json:"audits"`
		Next   string               `json:"next,omitempty"`
	}
}

func (s *service) listAudits(_ context.Context, _ *Identity, in *auditsInput) (*auditsOutput, error) {
	audits, more, err := s.a.Audits(in.Before, in.Limit)
	if err != nil {
		return nil, err
	}
	out := &auditsOutput{}
	out.Body.Audits = append([]archive.AuditState{}, audits...)
	if more {
		out.Body.Next = strconv.FormatInt(audits[len(audits)-1].Entry, 10)
	}
	return out, nil
}
