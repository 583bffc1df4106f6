package api

import (
	"context"
	"encoding/json"
	"fmt"

	"sae/integrity"
)

// Keyed is a write that is named by a key.
type Keyed struct {
	Key string `header:"Idempotency-Key" required:"true" minLength:"1" maxLength:"255" pattern:"^[!-~]+$" doc:"drawn by the client for this request, and sent again with each retry of it; kept for two days at least"`
}

// repeated are the answers' header that says that it is that of an earlier request.
const repeated = "true"

// once does what a request asks for, or gives what became of it when the key was used before: by again,
// from the ledger entry of the operation. A write that takes several is ended by one of a kind.
func once[T any](ctx context.Context, s *service, who *Identity, key, operation string, request any, do func(ctx context.Context) (T, error), again func(entry int64) (T, error), ends ...integrity.Kind) (out T, replayed string, err error) {
	o, err := s.of(who).Once(who.Name, who.Tenant, key)
	if err != nil {
		return out, "", err
	}
	defer o.End()
	for _, kind := range ends {
		o.EndsWith(kind)
	}
	said, err := json.Marshal(request)
	if err != nil {
		return out, "", fmt.Errorf("encoding the request: %w", err)
	}
	o.Add([]byte(operation))
	o.Add(said)
	entry, done, err := o.Done()
	switch {
	case err != nil:
		return out, "", err
	case done:
		out, err = again(entry)
		return out, repeated, err
	}
	// What was begun is finished, also when the client is gone: it asks again, and learns of it.
	out, err = do(o.Context(context.WithoutCancel(ctx)))
	return out, "", err
}

// by gives what became of a write of who asks, by its ledger entry.
func by[T any](who *Identity, of func(who *Identity, entry int64) (T, error)) func(entry int64) (T, error) {
	return func(entry int64) (T, error) { return of(who, entry) }
}
