package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"sae/archive"
	"sae/integrity"
)

func (s *service) addKeys() {
	add(s, huma.Operation{OperationID: "createAPIKey", Method: http.MethodPost, Path: "/v1/apikeys", DefaultStatus: http.StatusCreated, Summary: "Create an API key",
		Description: "The secret is given this once: the answer to a retry does not hold it."}, s.createAPIKey)
	add(s, huma.Operation{OperationID: "listAPIKeys", Method: http.MethodGet, Path: "/v1/apikeys", Summary: "List API keys"}, s.listAPIKeys)
	add(s, huma.Operation{OperationID: "revokeAPIKey", Method: http.MethodPost, Path: "/v1/apikeys/{key}/revoke", Summary: "Revoke an API key"}, s.revokeAPIKey)
}

// NewAPIKey is a key to create.
type NewAPIKey struct {
	Name       string         `json:"name" minLength:"1" maxLength:"200" doc:"who acts by it, as roles of sae.yaml and the ledger name it"`
	Roles      []archive.Role `json:"roles" minItems:"1" maxItems:"7"`
	Operations []string       `json:"operations,omitempty" maxItems:"100" doc:"to which it is limited"`
	Expires    time.Time      `json:"expires"`
}

type createKeyInput struct {
	Keyed
	Body NewAPIKey
}

// CreatedAPIKey is a key with its secret.
type CreatedAPIKey struct {
	archive.APIKey
	Secret string `json:"secret,omitempty"`
}

type createdKey struct {
	Replayed string `header:"Idempotency-Replayed"`
	Body     CreatedAPIKey
}

func (s *service) createAPIKey(ctx context.Context, who *Identity, in *createKeyInput) (*createdKey, error) {
	b := in.Body
	if err := KnownOperations(b.Operations); err != nil {
		return nil, err
	}
	k, replayed, err := once(ctx, s, who, in.Key, "createAPIKey", b, func(ctx context.Context) (CreatedAPIKey, error) {
		k, secret, err := s.of(who).CreateAPIKey(ctx, who.Name, archive.NewAPIKey{Tenant: who.Tenant, Name: b.Name, Roles: b.Roles, Operations: b.Operations, Expires: b.Expires})
		if err != nil {
			return CreatedAPIKey{}, err
		}
		return CreatedAPIKey{*k, secret}, nil
	}, func(entry int64) (CreatedAPIKey, error) {
		k, err := s.keyOf(who, entry)
		if err != nil {
			return CreatedAPIKey{}, err
		}
		return CreatedAPIKey{APIKey: *k}, nil
	})
	if err != nil {
		return nil, err
	}
	return &createdKey{replayed, k}, nil
}

// KnownOperations refuses names of operations that there are not.
func KnownOperations(names []string) error {
	bad := &archive.Refusal{}
	for _, name := range names {
		if roles[name] == nil {
			bad.Problems = append(bad.Problems, fmt.Sprintf("operation %q is not known; known: %v", name, Operations()))
		}
	}
	if len(bad.Problems) > 0 {
		return bad
	}
	return nil
}

// keyOf is the key that a ledger entry speaks of.
func (s *service) keyOf(who *Identity, entry int64) (*archive.APIKey, error) {
	var detail integrity.APIKeyDetail
	if err := s.detail(entry, &detail); err != nil {
		return nil, err
	}
	keys, err := s.of(who).APIKeys(who.Tenant)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(keys, func(k *archive.APIKey) bool { return k.ID == detail.Key })
	if i < 0 {
		return nil, fmt.Errorf("API key %s: %w", detail.Key, archive.ErrNotFound)
	}
	return keys[i], nil
}

type keysOutput struct {
	Body struct {
		Keys []*archive.APIKey `json:"keys"`
	}
}

func (s *service) listAPIKeys(_ context.Context, who *Identity, _ *struct{}) (*keysOutput, error) {
	keys, err := s.of(who).APIKeys(who.Tenant)
	if err != nil {
		return nil, err
	}
	out := &keysOutput{}
	out.Body.Keys = keys
	return out, nil
}

type revokeInput struct {
	Keyed
	ID string `path:"key" pattern:"^k[a-z2-7]{26}$"`
}

type revokedKey struct {
	Replayed string `header:"Idempotency-Replayed"`
	Body     *archive.APIKey
}

func (s *service) revokeAPIKey(ctx context.Context, who *Identity, in *revokeInput) (*revokedKey, error) {
	k, replayed, err := once(ctx, s, who, in.Key, "revokeAPIKey", in.ID,
		func(ctx context.Context) (*archive.APIKey, error) {
			return s.of(who).RevokeAPIKey(ctx, who.Name, who.Tenant, in.ID)
		},
		by(who, s.keyOf))
	if err != nil {
		return nil, err
	}
	return &revokedKey{replayed, k}, nil
}
