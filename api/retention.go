package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
)

func (s *service) addRetention() {
	add(s, huma.Operation{OperationID: "listDue", Method: http.MethodGet, Path: "/v1/retention/due", Summary: "Units whose retention is over on a day",
		Description: "As lines of JSON (application/x-ndjson), a unit each, as they are found; the last line is {\"units\": N}. Without it the list is not whole.",
		Responses:   binary("application/x-ndjson", "a unit on each line")}, s.listDue)
}

type dueInput struct {
	Reads
	At string `query:"at" format:"date" doc:"today when absent"`
}

func (s *service) listDue(ctx context.Context, who *Identity, in *dueInput) (*huma.StreamResponse, error) {
	at := in.At
	if at == "" {
		at = today()
	}
	r := s.reader(who, in.Reads)
	return s.lines("listDue", "units", func(add func(any) error) error {
		return r.Due(ctx, who.Tenant, at, func(u archive.DueUnit) error { return add(u) })
	}), nil
}
