package s3test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// Fault is what a Proxy does to a request.
type Fault string

// The faults. The server sees the request only where it is said.
const (
	None          Fault = ""
	Error500      Fault = "500"             // answers 500 InternalError
	SlowDown      Fault = "503"             // answers 503 SlowDown
	Precondition  Fault = "412"             // answers 412 PreconditionFailed
	CutRequest    Fault = "cut request"     // ends the connection in the middle of the request
	LoseAnswer    Fault = "lose answer"     // the server does it; the connection ends before the answer
	Delay         Fault = "delay"           // the server does it; the answer takes longer than anyone waits
	CorruptUpload Fault = "corrupt upload"  // the server sees another byte in the body
	CorruptAnswer Fault = "corrupt answer"  // the client sees another byte in the body
	Truncate      Fault = "truncate answer" // the client sees half of the body, and then the end of the connection
	Pretend       Fault = "pretend"         // answers 200 to a PUT that the server never sees
)

// Faults are all of them.
var Faults = []Fault{Error500, SlowDown, Precondition, CutRequest, LoseAnswer, Delay, CorruptUpload, CorruptAnswer, Truncate, Pretend}

// Proxy stands between a client and a server.
type Proxy struct {
	Endpoint string
	Hits     atomic.Int64 // faults that were done
	next     string
	choose   atomic.Pointer[func(*http.Request) Fault]
	delay    time.Duration
}

// NewProxy stands before a running server; Delay takes as long as delay says.
func NewProxy(t testing.TB, r *Running, delay time.Duration) *Proxy {
	p := &Proxy{next: r.Endpoint, delay: delay}
	p.Choose(func(*http.Request) Fault { return None })
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	p.Endpoint = s.URL
	return p
}

// Choose says what is done to each request from now on.
func (p *Proxy) Choose(f func(*http.Request) Fault) { p.choose.Store(&f) }

// Once does a fault to the nth request, from 1, that match chooses.
func (p *Proxy) Once(f Fault, nth int64, match func(*http.Request) bool) {
	var n atomic.Int64
	p.Choose(func(r *http.Request) Fault {
		if match(r) && n.Add(1) == nth {
			return f
		}
		return None
	})
}

const s3Error = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%</Code><Message>test</Message></Error>`

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := (*p.choose.Load())(r)
	if fault != None {
		p.Hits.Add(1)
	}
	answer := func(status int, code string) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		io.WriteString(w, strings.ReplaceAll(s3Error, "%", code))
	}
	switch fault {
	case Error500:
		answer(500, "InternalError")
		return
	case SlowDown:
		answer(503, "SlowDown")
		return
	case Precondition:
		answer(412, "PreconditionFailed")
		return
	case CutRequest:
		io.CopyN(io.Discard, r.Body, r.ContentLength/2)
		cut(w)
		return
	case Pretend:
		if r.Method == http.MethodPut {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("ETag", `"d41d8cd98f00b204e9800998ecf8427e"`)
			w.WriteHeader(200)
			return
		}
	}
	p.forward(w, r, fault)
}

// cut ends the connection without an answer.
func cut(w http.ResponseWriter) {
	if h, ok := w.(http.Hijacker); ok {
		if conn, _, err := h.Hijack(); err == nil {
			if tcp, ok := conn.(*net.TCPConn); ok {
				tcp.SetLinger(0)
			}
			conn.Close()
		}
	}
}

func (p *Proxy) forward(w http.ResponseWriter, r *http.Request, fault Fault) {
	body := io.Reader(r.Body)
	if fault == CorruptUpload && r.ContentLength > 0 {
		body = &corrupted{r: r.Body, at: r.ContentLength / 2}
	}
	out, err := http.NewRequestWithContext(r.Context(), r.Method, p.next+r.URL.RequestURI(), body)
	if err != nil {
		cut(w)
		return
	}
	out.Header, out.Host, out.ContentLength = r.Header.Clone(), r.Host, r.ContentLength
	if r.ContentLength == 0 {
		out.Body = nil
	}
	in, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		cut(w)
		return
	}
	defer in.Body.Close()
	content, err := io.ReadAll(in.Body)
	if err != nil {
		cut(w)
		return
	}
	switch fault {
	case LoseAnswer:
		cut(w)
		return
	case Delay:
		select {
		case <-time.After(p.delay):
		case <-r.Context().Done():
		}
		cut(w)
		return
	case CorruptAnswer:
		if len(content) > 0 {
			content[len(content)/2] ^= 1
		}
	}
	for k, v := range in.Header {
		w.Header()[k] = v
	}
	if r.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	}
	w.WriteHeader(in.StatusCode)
	if fault == Truncate && len(content) > 0 {
		w.Write(content[:len(content)/2])
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		cut(w)
		return
	}
	w.Write(content)
}

// corrupted changes one byte of what is read through it.
type corrupted struct {
	r  io.Reader
	at int64
}

func (c *corrupted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.at >= 0 && c.at < int64(n) {
		p[c.at] ^= 1
	}
	c.at -= int64(n)
	return n, err
}
