// Package client asks the service, for programs that deposit. What is written is asked for again after
// an answer that was lost, under the same key: the archive does it once.
package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sae/api"
)

// Client asks one service, in one name.
type Client struct {
	URL  string // of the service, such as https://sae.example
	Key  string // API key or token; "" when the connection says who asks
	HTTP *http.Client
	// Tries is how often a request is sent at most; 6 when 0.
	Tries int
	// Pause waits between two; a timer when nil.
	Pause func(context.Context, time.Duration) error
}

// Problem is what the service says when something is not done.
type Problem struct {
	api.Problem
	Method, Path string
}

func (p *Problem) Error() string {
	said := []string{fmt.Sprintf("%s (%d %s)", cmp.Or(p.Title, http.StatusText(p.Status)), p.Status, p.Code)}
	for _, f := range p.Faults {
		if f.Location != "" {
			said = append(said, f.Location+": "+f.Message)
		} else {
			said = append(said, f.Message)
		}
	}
	if p.Status >= 500 && p.ID != "" {
		said = append(said, "request "+p.ID)
	}
	return strings.Join(said, "\n")
}

// LostError says that no answer came, or one that says nothing of the outcome: what was asked for may
// have been done. Asked again under the same key, it is done once.
type LostError struct{ Err error }

func (e *LostError) Error() string { return "no answer of the archive: " + e.Err.Error() }
func (e *LostError) Unwrap() error { return e.Err }

// Later reports whether an error passes with time: asked later, the same may be done.
func Later(err error) bool {
	var lost *LostError
	var p *Problem
	return errors.As(err, &lost) || errors.As(err, &p) && passing(p.Status, p.Code)
}

// Away reports whether the archive is not reached, or takes nothing now, whatever it is asked for.
func Away(err error) bool {
	var p *Problem
	return Later(err) && !(errors.As(err, &p) && (p.Status == http.StatusInternalServerError || p.Status/100 == 4 && p.Status != http.StatusTooManyRequests))
}

// Ours reports whether it is the caller that is not let in, and not what it asks for that is wrong.
func Ours(err error) bool {
	var p *Problem
	return errors.As(err, &p) && (p.Status == http.StatusUnauthorized || p.Status == http.StatusForbidden)
}

// Refused reports whether the archive answered that it does not do what was asked for.
func Refused(err error) bool {
	var p *Problem
	return errors.As(err, &p) && !passing(p.Status, p.Code) && !Ours(err)
}

func passing(status int, code string) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	case http.StatusConflict:
		return code == "under-way"
	case http.StatusBadRequest:
		return code == "incomplete"
	}
	return false
}

// The bounds of what is read and waited for.
const (
	maxAnswer = 64 << 20
	tries     = 6
	firstWait = 500 * time.Millisecond
	longest   = 30 * time.Second
)

// Deposit deposits units with their contents, which are read as they are sent. Each is opened anew when
// the deposit is sent again. check, when there is one, is asked when all contents were read: an error
// of it gives the deposit up, and nothing is archived.
func (c *Client) Deposit(ctx context.Context, key string, m *api.DepositMetadata, contents []Content, check func() error) (*api.Deposited, error) {
	f, err := newForm(m, contents, check)
	if err != nil {
		return nil, err
	}
	out := &api.Deposited{}
	return out, c.write(ctx, "/v1/deposits", key, f.contentType(), f.open, out)
}

// ShowDeposit tells what became of a deposit, by its ledger entry.
func (c *Client) ShowDeposit(ctx context.Context, entry int64) (*api.Deposited, error) {
	out := &api.Deposited{}
	return out, c.ask(ctx, http.MethodGet, "/v1/deposits/"+strconv.FormatInt(entry, 10), nil, out)
}

// FindFiles finds the open citizen files of a person.
func (c *Client) FindFiles(ctx context.Context, q api.FileQuery) (*api.FilesFound, error) {
	out := &api.FilesFound{}
	return out, c.ask(ctx, http.MethodPost, "/v1/files/find", q, out)
}

// NewSubject records a data subject, and gives its identifier.
func (c *Client) NewSubject(ctx context.Context, key string, s api.NewSubject) (string, error) {
	var out struct {
		Subject string `json:"subject"`
	}
	err := c.writeJSON(ctx, "/v1/subjects", key, s, &out)
	return out.Subject, err
}

// OpenFile opens a citizen file.
func (c *Client) OpenFile(ctx context.Context, key string, f api.NewFile) (*api.Deposited, error) {
	out := &api.Deposited{}
	return out, c.writeJSON(ctx, "/v1/files", key, f, out)
}

// RecordEvent records that something happened to a citizen file, and gives the act.
func (c *Client) RecordEvent(ctx context.Context, key, file string, e api.FileEvent) (string, error) {
	var out struct {
		Act string `json:"id"`
	}
	err := c.writeJSON(ctx, "/v1/files/"+url.PathEscape(file)+"/events", key, e, &out)
	return out.Act, err
}

func (c *Client) ask(ctx context.Context, method, path string, body, out any) error {
	var sent []byte
	if body != nil {
		var err error
		if sent, err = json.Marshal(body); err != nil {
			return fmt.Errorf("encoding the request: %w", err)
		}
	}
	return c.send(ctx, method, path, "", "application/json", func() io.ReadCloser { return io.NopCloser(bytes.NewReader(sent)) }, out)
}

func (c *Client) writeJSON(ctx context.Context, path, key string, body, out any) error {
	sent, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	return c.write(ctx, path, key, "application/json", func() io.ReadCloser { return io.NopCloser(bytes.NewReader(sent)) }, out)
}

func (c *Client) write(ctx context.Context, path, key, contentType string, body func() io.ReadCloser, out any) error {
	if key == "" {
		panic("a write has a key")
	}
	return c.send(ctx, http.MethodPost, path, key, contentType, body, out)
}

// send sends a request until it is answered for good.
func (c *Client) send(ctx context.Context, method, path, key, contentType string, body func() io.ReadCloser, out any) error {
	return Again(ctx, cmp.Or(c.Tries, tries), c.Pause, func() (time.Duration, error) {
		return c.once(ctx, method, path, key, contentType, body(), out)
	}, Later)
}

// Again does something until it succeeds, fails for good, or was tried often enough. What it does says
// how long the other side wants to be left alone; 0 for nothing said.
func Again(ctx context.Context, tries int, pause func(context.Context, time.Duration) error, do func() (time.Duration, error), later func(error) bool) error {
	if pause == nil {
		pause = sleep
	}
	for n := 1; ; n++ {
		wait, err := do()
		if err == nil || n >= tries || !later(err) || ctx.Err() != nil {
			return err
		}
		if wait <= 0 {
			wait = firstWait << min(n-1, 10)
		}
		if pause(ctx, min(wait, longest)) != nil {
			return err // what was asked for says more than that nobody waits any more
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// once sends a request and reads its answer.
func (c *Client) once(ctx context.Context, method, path, key, contentType string, body io.ReadCloser, out any) (wait time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, body)
	if err != nil {
		body.Close()
		return 0, fmt.Errorf("asking the archive: %w", err)
	}
	if method == http.MethodGet {
		r.Body = http.NoBody
	} else {
		r.Header.Set("Content-Type", contentType)
	}
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	if c.Key != "" {
		r.Header.Set("Authorization", "Bearer "+c.Key)
	}
	answer, err := c.HTTP.Do(r)
	if err == nil {
		defer answer.Body.Close()
	}
	if f, ok := body.(*reading); ok && f.failure() != nil { // the archive did not get the whole, and kept nothing
		return 0, f.failure()
	}
	if err != nil {
		return 0, &LostError{withoutURL(err)}
	}
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, &LostError{fmt.Errorf("reading the answer: %w", err)}
	case len(b) > maxAnswer:
		return 0, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	case answer.StatusCode/100 == 2:
		if err := json.Unmarshal(b, out); err != nil {
			return 0, &LostError{fmt.Errorf("reading the answer: %w", err)}
		}
		return 0, nil
	}
	return RetryAfter(answer.Header), problem(method, path, answer, b)
}

// withoutURL is an error of the transport without the address, which may name a file.
func withoutURL(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// RetryAfter is how long an answer asks to wait (RFC 9110 section 10.2.3); 0 when it does not say.
func RetryAfter(h http.Header) time.Duration {
	s := h.Get("Retry-After")
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n < 1<<20 {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// problem is what an answer says is wrong. One that is not of the service, of a proxy for example, says
// its status alone.
func problem(method, path string, answer *http.Response, b []byte) *Problem {
	p := &Problem{Method: method, Path: path}
	media, _, _ := mime.ParseMediaType(answer.Header.Get("Content-Type")) // what cannot be read is no problem of the service
	if media != "application/problem+json" || json.Unmarshal(b, &p.Problem) != nil || p.Code == "" {
		p.Problem = api.Problem{Code: "status-" + strconv.Itoa(answer.StatusCode)}
	}
	p.Status = answer.StatusCode
	return p
}
