package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

func (s *service) addObjects() {
	responses := binary("application/octet-stream", "the content")
	responses["206"] = &huma.Response{Description: "the ranges that were asked for"}
	responses["304"] = &huma.Response{Description: "the client has it"}
	responses["416"] = &huma.Response{Description: "no such range"}
	add(s, huma.Operation{OperationID: "objectContent", Method: http.MethodGet, Path: "/v1/objects/{object}/content", Summary: "Content of an object",
		Description: "HEAD, Range and If-Range are answered; content never changes. Repr-Digest (RFC 9530) is that taken at the deposit. Every segment is authenticated before a byte of it is given out; when no copy is good the connection is cut.",
		Responses:   responses}, s.objectContent)
}

type objectInput struct {
	Reads
	Object string `path:"object" pattern:"^o[a-z2-7]{26}$"`
}

func (s *service) objectContent(ctx context.Context, who *Identity, in *objectInput) (*huma.StreamResponse, error) {
	o, content, err := s.reader(who, in.Reads).OpenObject(ctx, in.Object)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer content.Close()
		r, w := humago.Unwrap(hc)
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		if o.Format.MIME != "" {
			h.Set("Content-Type", o.Format.MIME)
		}
		h.Set("Content-Disposition", "attachment")
		h.Set("Repr-Digest", digestOfHex(o.SHA256))
		h.Set("ETag", `"`+o.ID+`"`)
		h.Set("Cache-Control", "private, no-cache")
		body := &strict{ReadSeeker: io.NewSectionReader(content, 0, o.Size)}
		http.ServeContent(w, r, "", time.Time{}, body)
		for _, f := range content.Failures() {
			s.log.Warn("bad copy", "request", requestOf(ctx).id, "offer", f.Offer, "object", o.ID, "error", f.Err)
		}
		if body.err != nil { // part of it is out already
			s.fail(ctx, "objectContent", fmt.Errorf("object %s: %w", o.ID, body.err))
			panic(http.ErrAbortHandler)
		}
	}}, nil
}

// strict remembers that reading failed: who serves the content does not tell.
type strict struct {
	io.ReadSeeker
	err error
}

func (s *strict) Read(p []byte) (int, error) {
	n, err := s.ReadSeeker.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
