package tsp

import (
	"bytes"
	"crypto/x509"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
	"pgregory.net/rapid"
)

// TestWithIsASet: whatever is added, in whatever order and how often, the token
// is the same in the end, its signed part is untouched, and it verifies.
func TestWithIsASet(t *testing.T) {
	p := newPKI(t, nil)
	f := newForgery(p)
	f.certs = f.certs[:1]
	token := must[*Token](t)(Parse(f.build(t)))
	response := must[[]byte](t)(ocsp.CreateResponse(p.ca, p.ca, ocsp.Response{Status: ocsp.Good,
		SerialNumber: p.leaf.SerialNumber, ThisUpdate: testTime}, p.caKey))
	type piece func(*Token) (*Token, error)
	var pieces []piece
	for _, c := range []*x509.Certificate{p.leaf, p.ca, p.root} {
		pieces = append(pieces, func(t *Token) (*Token, error) { return t.With([]*x509.Certificate{c}, nil, nil) })
	}
	for _, crl := range [][]byte{p.crl(t, true, testTime, nil), p.crl(t, false, testTime, nil)} {
		pieces = append(pieces, func(t *Token) (*Token, error) { return t.With(nil, [][]byte{crl}, nil) })
	}
	pieces = append(pieces, func(t *Token) (*Token, error) { return t.With(nil, nil, [][]byte{response}) })
	var want []byte
	rapid.Check(t, func(rt *rapid.T) {
		order := rapid.Permutation(slices.Concat(pieces, pieces[:rapid.IntRange(0, len(pieces)).Draw(rt, "twice")])).Draw(rt, "order")
		got := token
		for _, add := range order {
			var err error
			if got, err = add(got); err != nil {
				rt.Fatal(err)
			}
		}
		if want == nil {
			want = got.Raw
		}
		if !bytes.Equal(got.Raw, want) {
			rt.Fatal("the order matters")
		}
		if !bytes.Equal(got.signed.rawContent, token.signed.rawContent) || !bytes.Equal(got.signed.rawSigners, token.signed.rawSigners) {
			rt.Fatal("the signed part changed")
		}
		if bad := notOK(got.Verify(f.expect())); bad != nil {
			rt.Fatalf("not OK: %q", bad)
		}
	})
	if len(token.Certificates) != 1 || token.CRLs != nil {
		t.Error("the token itself changed")
	}
}

func TestWithNothingNew(t *testing.T) {
	f := newForgery(newPKI(t, nil)).revocable(t)
	token := must[*Token](t)(Parse(f.build(t)))
	if got := must[*Token](t)(token.With(token.Certificates, f.revocations, nil)); got != token {
		t.Error("made another token")
	}
}

func TestWithRefuses(t *testing.T) {
	f := newForgery(newPKI(t, nil))
	token := must[*Token](t)(Parse(f.build(t)))
	for name, c := range map[string]struct{ crls, ocsps [][]byte }{
		"CRL of junk":     {crls: [][]byte{{0x30, 0}}},
		"OCSP of junk":    {ocsps: [][]byte{{0x30, 0}}},
		"no DER":          {crls: [][]byte{[]byte("text")}},
		"empty":           {crls: [][]byte{{}}},
		"two CRLs as one": {crls: [][]byte{append(f.crl(t, true, testTime, nil), f.crl(t, false, testTime, nil)...)}},
		"too large":       {crls: [][]byte{make([]byte, MaxToken)}},
	} {
		if got, err := token.With(nil, c.crls, c.ocsps); err == nil {
			t.Errorf("%s: %d bytes", name, len(got.Raw))
		}
	}
}

// TestParseCopies: a token does not change with the bytes that it was read from.
func TestParseCopies(t *testing.T) {
	f := newForgery(newPKI(t, nil)).revocable(t)
	der := f.build(t)
	token := must[*Token](t)(Parse(der))
	clear(der)
	if bad := notOK(token.Verify(f.expect())); bad != nil {
		t.Errorf("not OK: %q", bad)
	}
	if !token.Time.Equal(testTime) || token.Time.Location() != time.UTC {
		t.Errorf("time %v", token.Time)
	}
}
