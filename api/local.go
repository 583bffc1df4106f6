package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
)

type localKey struct{}

// Local gives a way to a handler of this process, in the name of an identity for which the program
// itself answers: no key is needed, and no header can claim it.
func Local(h http.Handler, who Identity) http.RoundTripper { return &local{h, &who} }

type local struct {
	handler http.Handler
	who     *Identity
}

// RoundTrip implements http.RoundTripper. An answer is held in memory whole: up to maxLocal bytes.
func (l *local) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler { // that is how a handler cuts a connection
			answer, err = nil, errors.New("the answer was cut")
		} else if p != nil {
			panic(p)
		}
	}()
	out := &heldAnswer{header: http.Header{}}
	in := r.WithContext(context.WithValue(r.Context(), localKey{}, l.who))
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer in.Body.Close()
	l.handler.ServeHTTP(out, in)
	if out.failed != nil {
		return nil, out.failed
	}
	if out.status == 0 {
		out.status = http.StatusOK
	}
	return &http.Response{Status: fmt.Sprintf("%d %s", out.status, http.StatusText(out.status)), StatusCode: out.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: out.header, Body: io.NopCloser(&out.body), ContentLength: int64(out.body.Len()), Request: r}, nil
}

// maxLocal bounds an answer within the process; those that are larger are read over the network.
const maxLocal = 64 << 20

// heldAnswer is an answer in memory.
type heldAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
	failed error
}

func (h *heldAnswer) Header() http.Header { return h.header }

func (h *heldAnswer) WriteHeader(status int) {
	if h.status == 0 && status >= 200 {
		h.status = status
	}
}

func (h *heldAnswer) Write(p []byte) (int, error) {
	h.WriteHeader(http.StatusOK)
	if h.body.Len()+len(p) > maxLocal {
		h.failed = fmt.Errorf("the answer has more than %d bytes", maxLocal)
		return 0, h.failed
	}
	return h.body.Write(p)
}
