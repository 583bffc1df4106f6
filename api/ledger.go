package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"sae/integrity"
)

// The ledger is served in the layout of C2SP tlog-tiles below /v1/ledger, so that monitors and witnesses
// read it with the programs they have.

func (s *service) addLedger() {
	add(s, huma.Operation{OperationID: "showCheckpoint", Method: http.MethodGet, Path: "/v1/ledger/checkpoint", Summary: "The last checkpoint, a signed note (C2SP tlog-checkpoint)",
		Responses: binary("text/plain; charset=utf-8", "the note")}, s.showCheckpoint)
	add(s, huma.Operation{OperationID: "showTile", Method: http.MethodGet, Path: "/v1/ledger/tile/{path...}", Summary: "A tile, or bundle of entries (C2SP tlog-tiles)",
		Description: "Whole tiles never change, and may be kept for ever.", Responses: binary("application/octet-stream", "the tile")}, s.showTile)
	add(s, huma.Operation{OperationID: "showEntry", Method: http.MethodGet, Path: "/v1/ledger/entries/{entry}", Summary: "A ledger entry, byte for byte"}, s.showEntry)
	add(s, huma.Operation{OperationID: "showReceipt", Method: http.MethodGet, Path: "/v1/ledger/entries/{entry}/receipt", Summary: "Inclusion of an entry under the last checkpoint (C2SP tlog-proof)",
		Responses: binary("text/plain; charset=utf-8", "the proof")}, s.showReceipt)
	add(s, huma.Operation{OperationID: "proveConsistency", Method: http.MethodGet, Path: "/v1/ledger/consistency", Summary: "That a ledger begins with an older one (RFC 6962 section 2.1.2)"}, s.proveConsistency)
}

// bytesOutput is an answer that is not JSON.
type bytesOutput struct {
	ContentType string `header:"Content-Type"`
	Cache       string `header:"Cache-Control"`
	ETag        string `header:"ETag"`
	Body        []byte
}

const plainText = "text/plain; charset=utf-8"

func (s *service) showCheckpoint(context.Context, *Identity, *struct{}) (*bytesOutput, error) {
	b, err := s.a.Checkpoint()
	if err != nil {
		return nil, err
	}
	return &bytesOutput{ContentType: plainText, Cache: "no-cache", Body: b}, nil
}

type tileInput struct {
	Path string `path:"path" maxLength:"200"`
}

func (s *service) showTile(_ context.Context, _ *Identity, in *tileInput) (*bytesOutput, error) {
	b, err := s.a.Tile("tile/" + in.Path)
	if err != nil {
		return nil, err
	}
	return &bytesOutput{ContentType: "application/octet-stream", Cache: "public, max-age=31536000, immutable", ETag: `"` + in.Path + `"`, Body: b}, nil
}

type entryOutput struct {
	Cache string `header:"Cache-Control"`
	Body  json.RawMessage
}

func (s *service) showEntry(_ context.Context, _ *Identity, in *depositPath) (*entryOutput, error) {
	b, err := s.a.Entry(in.Entry)
	if err != nil {
		return nil, err
	}
	return &entryOutput{Cache: "private, max-age=31536000, immutable", Body: b}, nil
}

func (s *service) showReceipt(_ context.Context, _ *Identity, in *depositPath) (*bytesOutput, error) {
	r, err := s.a.ProveEntry(in.Entry)
	if err != nil {
		return nil, err
	}
	return &bytesOutput{ContentType: plainText, Cache: "no-cache", Body: r.Marshal()}, nil
}

type consistencyInput struct {
	From int64 `query:"from" required:"true" minimum:"1" doc:"size of the older ledger"`
	To   int64 `query:"to" required:"true" minimum:"1" doc:"size of the newer one"`
}

// Consistency proves that a ledger begins with an older one.
type Consistency struct {
	From  int64            `json:"from"`
	To    int64            `json:"to"`
	Older integrity.Hash   `json:"fromRoot"`
	Newer integrity.Hash   `json:"toRoot"`
	Proof []integrity.Hash `json:"proof"`
}

type consistencyOutput struct {
	Body Consistency
}

func (s *service) proveConsistency(_ context.Context, _ *Identity, in *consistencyInput) (*consistencyOutput, error) {
	proof, older, newer, err := s.a.ProveConsistency(in.From, in.To)
	if err != nil {
		return nil, fmt.Errorf("consistency: %w", err)
	}
	if proof == nil {
		proof = []integrity.Hash{}
	}
	return &consistencyOutput{Consistency{in.From, in.To, older, newer, proof}}, nil
}
