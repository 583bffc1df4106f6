package api

import (
	"bytes"
	"context"
	"encoding/json"
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
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		var begun bytes.Buffer
		w := &late{hold: maxHeld, held: &begun}
		w.begin = func() {
			hc.SetHeader("Content-Type", "application/x-ndjson")
			hc.SetStatus(http.StatusOK)
			w.to = hc.BodyWriter()
		}
		n, out := 0, json.NewEncoder(w)
		err := r.Due(ctx, who.Tenant, at, func(u archive.DueUnit) error {
			n++
			return out.Encode(u)
		})
		if err == nil {
			err = out.Encode(map[string]int{"units": n})
		}
		if err == nil {
			err = w.flush()
		}
		s.endStream(hc, "listDue", w.to != nil, err)
	}}, nil
}
