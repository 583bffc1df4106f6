package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"
)

// Digests of RFC 9530: a dictionary of algorithms, each with bytes between colons (RFC 8941). Those of
// algorithms that are not active, or not known, say nothing.

// digests are what a header declares.
type digests struct{ sha256, sha512 []byte }

func parseDigests(header string) (d digests, err error) {
	for _, part := range strings.Split(header, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			if strings.TrimSpace(part) == "" {
				continue
			}
			return d, fmt.Errorf("digest %q is not ALGORITHM=:BASE64: (RFC 9530): %w", part, errMalformed)
		}
		var to *[]byte
		size := 0
		switch strings.ToLower(name) {
		case "sha-256":
			to, size = &d.sha256, sha256.Size
		case "sha-512":
			to, size = &d.sha512, sha512.Size
		default:
			continue
		}
		text, ok := strings.CutPrefix(value, ":")
		text, closed := strings.CutSuffix(text, ":")
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil || !ok || !closed || len(b) != size {
			return d, fmt.Errorf("digest %s is not %d bytes as :BASE64: (RFC 9530): %w", name, size, errMalformed)
		}
		*to = b
	}
	return d, nil
}

// both are the digests of two headers, which must not contradict each other.
func bothDigests(content, repr string) (digests, error) {
	c, err := parseDigests(content)
	if err != nil {
		return c, err
	}
	r, err := parseDigests(repr)
	if err != nil {
		return c, err
	}
	for _, x := range []struct{ to, from *[]byte }{{&c.sha256, &r.sha256}, {&c.sha512, &r.sha512}} {
		switch {
		case *x.to == nil:
			*x.to = *x.from
		case *x.from != nil && !bytes.Equal(*x.to, *x.from):
			return c, fmt.Errorf("Content-Digest and Repr-Digest differ: %w", errDigest)
		}
	}
	return c, nil
}

// digestHeader is the field value of a SHA-256.
func digestHeader(sum []byte) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"
}

// digestOf is that of bytes.
func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return digestHeader(sum[:])
}

// digestOfHex is that of a SHA-256 in hex.
func digestOfHex(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		return ""
	}
	return digestHeader(b)
}

// checking reads through and, at the end, holds what was read against what was declared.
type checking struct {
	r     io.Reader
	wants []want
}

type want struct {
	name string
	hash hash.Hash
	sum  []byte
}

// check wraps a reader, when something is declared.
func (d digests) check(r io.Reader) io.Reader {
	c := &checking{r: r}
	if d.sha256 != nil {
		c.wants = append(c.wants, want{"sha-256", sha256.New(), d.sha256})
	}
	if d.sha512 != nil {
		c.wants = append(c.wants, want{"sha-512", sha512.New(), d.sha512})
	}
	if len(c.wants) == 0 {
		return r
	}
	return c
}

func (c *checking) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for _, w := range c.wants {
		w.hash.Write(p[:n])
	}
	if err != io.EOF {
		return n, err
	}
	for _, w := range c.wants {
		if sum := w.hash.Sum(nil); !bytes.Equal(sum, w.sum) {
			return n, fmt.Errorf("%s: declared %x, received %x: %w", w.name, w.sum, sum, errDigest)
		}
	}
	return n, err
}
