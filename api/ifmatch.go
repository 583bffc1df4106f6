package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// What can change has a strong entity tag: as of what it is what it is, by the ledger, and a digest of
// what is shown. A write with If-Match takes place only while what is there is still as of what was
// read; the archive holds it against that in the transaction that begins the write.

// IfMatch names what who asks has read.
type IfMatch struct {
	Match string `header:"If-Match" maxLength:"1000" doc:"ETag of what was read: nothing is done when it changed since (412)"`
}

// Fresh spares what has not changed.
type Fresh struct {
	IfNoneMatch string `header:"If-None-Match" maxLength:"1000"`
}

// needsMatch is what the description of an operation says that does not go without If-Match.
const needsMatch = "If-Match is required, with the ETag of what was read (428 without it): what was changed meanwhile is not decided on unseen."

// errNoMatch: the operation does not go without If-Match.
var errNoMatch = errors.New("If-Match is missing: give the ETag of what you read")

// shown is the answer to who reads what can change.
type shown[T any] struct {
	Status int
	ETag   string `header:"ETag"`
	Cache  string `header:"Cache-Control"`
	Body   T
}

// show answers with v, which is as of something.
func show[T any](as string, in Fresh, v T) *shown[T] {
	out := &shown[T]{Status: http.StatusOK, ETag: etag(as, v), Cache: "private, no-cache", Body: v}
	if matches(in.IfNoneMatch, out.ETag) {
		out.Status = http.StatusNotModified
	}
	return out
}

// done is the answer to a write.
type done[T any] struct {
	ETag     string `header:"ETag"`
	Replayed string `header:"Idempotency-Replayed" doc:"true when it is the answer to an earlier request of the key"`
	Location string `header:"Location"`
	Body     T
}

// etag is the entity tag of what is shown.
func etag(as string, v any) string { return `"` + as + "-" + strings.Trim(tagOf(v), `"`) + `"` }

// readAs gives as of what the entity tags of an If-Match were read (RFC 9110 section 13.1.1). A weak tag
// matches nothing.
func readAs(match string) (read []string) {
	for _, t := range strings.Split(match, ",") {
		if t = strings.TrimSpace(t); len(t) > 2 && t[0] == '"' && t[len(t)-1] == '"' {
			as, _, _ := strings.Cut(t[1:len(t)-1], "-")
			read = append(read, as)
		}
	}
	return read
}

// expecting gives the context of a write of what has an identifier, which takes place only as its
// If-Match says; must wants one.
func (s *service) expecting(ctx context.Context, id string, in IfMatch, must bool) (context.Context, error) {
	match := strings.TrimSpace(in.Match)
	switch {
	case must && (match == "" || match == "*"):
		return ctx, errNoMatch
	case match == "" || match == "*": // that it is there is found out anyway
		return ctx, nil
	}
	return s.of(identityOf(ctx)).IfAsOf(ctx, id, readAs(match))
}

// held does a write as expecting says.
func held[T any](s *service, id string, in IfMatch, must bool, do func(ctx context.Context) (T, error)) func(ctx context.Context) (T, error) {
	return func(ctx context.Context) (out T, err error) {
		if ctx, err = s.expecting(ctx, id, in, must); err != nil {
			return out, err
		}
		return do(ctx)
	}
}
