package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"reflect"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

// What is around every handler: an identifier and a line of the log for each request, headers, bounds,
// and an answer when a handler panics.

// request is what the log says of a request. It names nobody: no address, no path with an identifier.
type request struct {
	id        string
	language  string // that it prefers
	operation string
	by        string
	code      string // of the problem that was told
	status    int
	received  int64 // bytes of the bodies
	sent      int64
}

type requestKey struct{}

// requestOf is the request of a context.
func requestOf(ctx context.Context) *request {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r
	}
	return &request{}
}

// idForm is what a client may call its request.
var idForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

func newRequestID() string {
	var b [12]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (s *service) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		of := &request{id: r.Header.Get("X-Request-Id"), language: r.Header.Get("Accept-Language")}
		if !idForm.MatchString(of.id) {
			of.id = newRequestID()
		}
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, of))
		r, traced := s.traces.request(r, of)
		defer traced()
		out := &answer{ResponseWriter: w, of: of, control: http.NewResponseController(w), idle: s.config.Limits.Idle}
		out.body = &incoming{of: of, ReadCloser: http.MaxBytesReader(w, r.Body, s.config.Limits.Upload), control: out.control, idle: s.config.Limits.Idle, ended: r.ContentLength == 0}
		r.Body = out.body
		setHeaders(w.Header(), of.id)
		defer func() {
			s.metrics.count(of, time.Since(began))
			s.log.Info("request", "request", of.id, "operation", of.operation, "method", r.Method, "by", of.by, "status", of.status, "code", of.code, "received", of.received, "sent", of.sent, "took", time.Since(began).Round(time.Microsecond))
		}()
		defer func() { s.recovered(out, r, recover()) }()
		leave, err := s.limiter.enter()
		if err != nil {
			s.write(humago.NewContext(&huma.Operation{}, r, out), err)
			return
		}
		defer leave()
		next.ServeHTTP(out, r)
		out.body.leave()
	})
}

// recovered answers when a handler panicked. When the answer had begun, the connection is cut: who
// asked must not take a part for the whole.
func (s *service) recovered(out *answer, r *http.Request, p any) {
	if p == nil {
		return
	}
	if p != http.ErrAbortHandler { // that is how a handler cuts the connection
		s.log.Error("panic", "request", out.of.id, "operation", out.of.operation, "panic", p, "stack", string(debug.Stack()))
	}
	if out.of.status != 0 {
		panic(http.ErrAbortHandler)
	}
	s.write(humago.NewContext(&huma.Operation{}, r, out), errInternal)
}

// setHeaders are those of every answer.
func setHeaders(h http.Header, id string) {
	h.Set("X-Request-Id", id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Strict-Transport-Security", "max-age=31536000")
	h.Set("Cache-Control", "no-store")
}

// answerPiece is what of an answer a client must take within the time that it may rest.
const answerPiece = 64 << 10

// answer counts what is answered, and drops a client that takes nothing for too long.
type answer struct {
	http.ResponseWriter
	of      *request
	body    *incoming
	control *http.ResponseController
	idle    time.Duration
}

func (w *answer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *answer) WriteHeader(status int) {
	if w.of.status == 0 && status >= 200 {
		w.of.status = status
		w.body.leave()
	}
	w.control.SetWriteDeadline(time.Now().Add(w.idle)) // an answer without a body is written later
	w.ResponseWriter.WriteHeader(status)
}

func (w *answer) Write(p []byte) (n int, err error) {
	if w.of.status == 0 {
		w.of.status = http.StatusOK
		w.body.leave()
	}
	// In pieces: who takes a long answer slowly takes it all the same.
	for first := true; first || len(p) > 0 && err == nil; first = false {
		piece := p[:min(len(p), answerPiece)]
		w.control.SetWriteDeadline(time.Now().Add(w.idle)) // of a recorder in tests there is none
		var wrote int
		wrote, err = w.ResponseWriter.Write(piece)
		n, p = n+wrote, p[wrote:]
	}
	w.of.sent += int64(n)
	return n, err
}

// incoming drops a client that sends nothing for too long.
type incoming struct {
	of *request
	io.ReadCloser
	control *http.ResponseController
	idle    time.Duration
	ended   bool // nothing of it is left

	extended time.Time // when it was given more time
}

func (b *incoming) Read(p []byte) (n int, err error) {
	if now := time.Now(); now.Sub(b.extended) > b.idle/16 { // each time costs as much as a kilobyte
		b.extended = now
		b.control.SetReadDeadline(now.Add(b.idle))
	}
	n, err = b.ReadCloser.Read(p)
	b.of.received += int64(n)
	if err == io.EOF { // what is done with the body may take longer
		b.ended = true
		b.control.SetReadDeadline(time.Time{})
	}
	var large *http.MaxBytesError
	if err != nil && err != io.EOF && !errors.As(err, &large) {
		err = errors.Join(errIncomplete, err)
	}
	return n, err
}

// leave bounds the time in which the server may read what nobody read of a body: it does so before it
// answers, and a client that sends nothing would hold it up for ever, known or not.
func (b *incoming) leave() {
	if !b.ended {
		b.control.SetReadDeadline(time.Now().Add(b.idle))
	}
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// preferred gives the value of a preference of a Prefer header (RFC 7240).
func preferred(header, name string) (value string, ok bool) {
	for _, part := range strings.Split(header, ",") {
		key, v, _ := strings.Cut(strings.TrimSpace(strings.Split(part, ";")[0]), "=")
		if strings.EqualFold(strings.TrimSpace(key), name) {
			return strings.Trim(strings.TrimSpace(v), `"`), true
		}
	}
	return "", false
}
