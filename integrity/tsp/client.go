package tsp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"sae/integrity"
)

// Client asks an authority on the network for tokens (RFC 3161 section 3.4),
// and completes them with certificates and revocation data.
type Client struct {
	URL      string
	HTTP     *http.Client          // default http.DefaultClient
	Roots    *x509.CertPool        // trusted; when nil any self-signed certificate in a token is, which proves little
	Extra    []*x509.Certificate   // for paths, beside those in the tokens
	Policy   asn1.ObjectIdentifier // asked for and required; nil for any
	User     string                // for HTTP basic authentication; none when empty
	Password string
	Timeout  time.Duration // of a whole Timestamp; default 30 s
	Log      *slog.Logger  // what could not be completed; default nowhere
}

// VerificationError means that an authority answered with a token that is not
// good.
type VerificationError struct {
	Failed []integrity.Check // at least one
}

func (e *VerificationError) Error() string {
	var list []string
	for _, c := range e.Failed {
		list = append(list, c.Name+": "+c.Detail)
	}
	return "the token is refused: " + strings.Join(list, "; ")
}

// Timestamp gives a new token for a hash. Every check of the token has been
// made, none failed. It carries what could be had of certificates and
// revocation data; what could not is logged, and then the token's check of the
// revocation says so.
//
// Errors: of the network; *ParseError; *RefusedError; *VerificationError.
func (c *Client) Timestamp(ctx context.Context, hash crypto.Hash, imprint []byte) (*Token, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request := NewRequest(hash, imprint)
	request.Policy = c.Policy
	t, err := c.exchange(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("asking for time-stamp: %w", err)
	}
	if t, err = c.accept(ctx, t, c.expect(request)); err != nil {
		return nil, fmt.Errorf("asking for time-stamp: %w", err)
	}
	return t, nil
}

// accept verifies a new token three times: as far as that is possible before
// certificates are fetched that its path may lack, then wholly, then again with
// the revocation data that was fetched.
func (c *Client) accept(ctx context.Context, t *Token, e Expect) (*Token, error) {
	if err := t.refusal(e, CheckChain, CheckAnchor); err != nil {
		return nil, err
	}
	m := &completion{Client: c, ctx: ctx, token: t, expect: e}
	defer func() {
		for _, n := range m.notes {
			c.log().Warn("time-stamp token not complete", "problem", n)
		}
	}()
	m.addIssuers()
	if err := m.token.refusal(e); err != nil {
		return nil, err
	}
	m.addRevocations()
	return m.token, m.token.refusal(e)
}

// Complete adds to a verified token what is missing: the issuers' certificates,
// and a CRL or an OCSP response of the present for each certificate. It gives
// the token, the same one if nothing could be added, and says what could not be
// had. Data made after a token's time proves more than data of its minute: call
// it again before the token is covered by another one.
func (c *Client) Complete(ctx context.Context, t *Token) (*Token, []string) {
	m := &completion{Client: c, ctx: ctx, token: t, expect: Expect{Roots: c.Roots, Extra: c.Extra}}
	m.addIssuers()
	m.addRevocations()
	return m.token, m.notes
}

func (c *Client) expect(r Request) Expect {
	e := Expect{Target: "time-stamp token", Hash: r.Hash, Imprint: r.Imprint, Nonce: r.Nonce, Roots: c.Roots, Extra: c.Extra}
	if c.Policy != nil {
		e.Policies = []asn1.ObjectIdentifier{c.Policy}
	}
	return e
}

// refusal gives the failed checks, but the excepted ones, as a
// *VerificationError.
func (t *Token) refusal(e Expect, except ...string) error {
	var bad []integrity.Check
	for _, check := range t.Verify(e) {
		if check.Status == integrity.Failed && !slices.Contains(except, check.Name) {
			bad = append(bad, check)
		}
	}
	if bad != nil {
		return &VerificationError{Failed: bad}
	}
	return nil
}

func (c *Client) log() *slog.Logger {
	if c.Log != nil {
		return c.Log
	}
	return slog.New(slog.DiscardHandler)
}

// exchange posts a request and reads the response.
func (c *Client) exchange(ctx context.Context, r Request) (*Token, error) {
	query, err := r.Marshal()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL, bytes.NewReader(query))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", typeQuery)
	req.Header.Set("Accept", typeReply)
	if c.User != "" {
		req.SetBasicAuth(c.User, c.Password)
	}
	body, err := c.do(req, MaxToken+1<<12, typeReply)
	if err != nil {
		return nil, err
	}
	return ParseResponse(body)
}

// do sends a request and reads a bounded answer of one of the media types; of
// any when none is given.
func (c *Client) do(req *http.Request, limit int64, types ...string) ([]byte, error) {
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP status %s", resp.Status)
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if len(types) > 0 && kind != types[0] {
		return nil, fmt.Errorf("answer of media type %q, not %s", kind, types[0])
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(body)) > limit {
		return nil, errors.New("answer too large")
	}
	return body, nil
}
