package client

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"sae/api"
)

// Content is the content of a unit of a deposit.
type Content struct {
	Part string // as the metadata name it
	Open func() (io.ReadCloser, error)
}

// form is the body of a deposit (RFC 7578). Contents are opened when their turn comes, and one is open
// at a time.
type form struct {
	boundary string
	metadata []byte
	contents []Content
	check    func() error
}

func newForm(m *api.DepositMetadata, contents []Content, check func() error) (*form, error) {
	b, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding the metadata: %w", err)
	}
	for _, c := range contents {
		if c.Part == "" || strings.ContainsAny(c.Part, "\"\\\r\n") {
			return nil, fmt.Errorf("part %q: its name has a quote, a backslash or the end of a line", c.Part)
		}
	}
	var random [24]byte
	rand.Read(random[:])
	return &form{hex.EncodeToString(random[:]), b, contents, check}, nil
}

func (f *form) contentType() string { return "multipart/form-data; boundary=" + f.boundary }

// open begins the body anew.
func (f *form) open() io.ReadCloser {
	r := &reading{form: f, at: -1}
	fmt.Fprintf(&r.text, "--%s\r\nContent-Disposition: form-data; name=\"metadata\"\r\nContent-Type: application/json\r\n\r\n%s\r\n", f.boundary, f.metadata)
	return r
}

// reading is a body on its way. Who sends it may close it while it is read.
type reading struct {
	*form
	mu      sync.Mutex
	text    bytes.Buffer // what comes before the content
	at      int          // content that is read; -1 before the first
	content io.ReadCloser
	failed  error // a content could not be read, or the check failed
	ended   bool
	closed  bool
}

func (r *reading) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case r.failed != nil:
			return 0, r.failed
		case r.closed:
			return 0, errors.New("the body was closed")
		case r.text.Len() > 0:
			return r.text.Read(p)
		case r.content != nil:
			if n := r.some(p); n > 0 {
				return n, nil
			}
		case r.ended:
			return 0, io.EOF
		default:
			r.failed = r.next()
		}
	}
}

// some reads some of the content. Closing does not wait for it.
func (r *reading) some(p []byte) int {
	c := r.content
	r.mu.Unlock()
	n, err := c.Read(p)
	r.mu.Lock()
	if r.closed {
		return 0
	}
	if err == io.EOF {
		err = c.Close()
		r.content = nil
		r.text.WriteString("\r\n")
	}
	if err != nil {
		r.failed = fmt.Errorf("reading %q: %w", r.contents[r.at].Part, err)
	}
	return n
}

// next opens the next content, or ends the body.
func (r *reading) next() (err error) {
	if r.at++; r.at < len(r.contents) {
		c := r.contents[r.at]
		fmt.Fprintf(&r.text, "--%s\r\nContent-Disposition: form-data; name=%q; filename=\"content\"\r\nContent-Type: application/octet-stream\r\n\r\n", r.boundary, c.Part)
		if r.content, err = c.Open(); err != nil {
			return fmt.Errorf("opening %q: %w", c.Part, err)
		}
		return nil
	}
	if r.check != nil {
		if err := r.check(); err != nil {
			return err
		}
	}
	fmt.Fprintf(&r.text, "--%s--\r\n", r.boundary)
	r.ended = true
	return nil
}

// failure is why the body did not come to its end, when that is its own fault.
func (r *reading) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// Close ends a body that may not have been read to its end.
func (r *reading) Close() error {
	r.mu.Lock()
	c := r.content
	r.content, r.closed = nil, true
	r.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.Close()
}
