package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
)

func (s *service) addStatus() {
	add(s, huma.Operation{OperationID: "showStatus", Method: http.MethodGet, Path: "/v1/status", Summary: "The state of the archive at a glance"}, s.showStatus)
}

type statusOutput struct {
	Body *archive.Status
}

func (s *service) showStatus(context.Context, *Identity, *struct{}) (*statusOutput, error) {
	st, err := s.a.Status()
	if err != nil {
		return nil, err
	}
	return &statusOutput{st}, nil
}
