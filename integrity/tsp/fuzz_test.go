package tsp

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/ocsp"

	"sae/integrity"
)

// seedTokens gives tokens of the kinds that there are; real ones too, when they
// are here.
func seedTokens(f *testing.F) [][]byte {
	p := newPKI(f, nil)
	response := must[[]byte](f)(ocsp.CreateResponse(p.ca, p.ca, ocsp.Response{Status: ocsp.Good,
		SerialNumber: big.NewInt(1), ThisUpdate: testTime}, p.caKey))
	plain := newForgery(p).build(f)
	full := must[*Token](f)(must[*Token](f)(Parse(newForgery(p).revocable(f).build(f))).With(nil, nil, [][]byte{response}))
	seeds := [][]byte{plain, full.Raw}
	files, _ := filepath.Glob(filepath.Join(realTokens, "*.*r*"))
	for _, name := range files {
		if der, err := os.ReadFile(name); err == nil {
			seeds = append(seeds, tokensIn(der)...)
		}
	}
	return seeds
}

// judge makes all that can be made of a parsed token.
func judge(t *testing.T, token *Token) {
	checks := token.Verify(Expect{Hash: token.Hash, Imprint: token.Imprint})
	if len(checks) != 15 {
		t.Errorf("%d checks", len(checks))
	}
	for _, c := range checks {
		if c.Status != integrity.OK && c.Detail == "" {
			t.Errorf("no reason: %+v", c)
		}
	}
	again, err := Parse(token.Raw)
	if err != nil || !again.Time.Equal(token.Time) {
		t.Errorf("read again: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, der := range seedTokens(f) {
		f.Add(der)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		token, err := Parse(der)
		if err != nil {
			if !isParseError(err) || token != nil {
				t.Errorf("%v, %T", token, err)
			}
			return
		}
		judge(t, token)
	})
}

func FuzzParseResponse(f *testing.F) {
	for _, der := range seedTokens(f) {
		f.Add(must[[]byte](f)(marshalGranted(der)))
	}
	f.Add((&RefusedError{Status: 2, Fail: BadRequest, Text: "no"}).marshal())
	f.Fuzz(func(t *testing.T, der []byte) {
		if token, err := ParseResponse(der); err == nil {
			judge(t, token)
		} else if refusal(err) == NoFailInfo && token != nil {
			t.Error("token and error")
		}
	})
}

// FuzzRevocation is what reads revocation data beside the libraries.
func FuzzRevocation(f *testing.F) {
	p := newPKI(f, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://crl.test/1"} })
	f.Add(must[[]byte](f)(ocsp.CreateResponse(p.ca, p.ca, ocsp.Response{Status: ocsp.Good,
		SerialNumber: p.leaf.SerialNumber, ThisUpdate: testTime}, p.caKey)))
	f.Add([]byte{0x30, 3, 0x81, 1, 0xff})
	f.Add(fGeneralizedTime(f, testTime))
	f.Fuzz(func(t *testing.T, der []byte) {
		if ids, err := parseCertIDs(der); err == nil && len(ids) == 0 {
			t.Error("no state, no error")
		}
		if at, ok := readGeneralizedTime(der); ok && !bytes.Equal(fGeneralizedTime(t, at), der) && at.Nanosecond() == 0 {
			t.Errorf("%x became %v", der, at)
		}
		if pointCovers(der, p.leaf) && checkDER(der) == nil && len(der) > 2 && !bytes.Contains(der, []byte{0x81}) &&
			!bytes.Contains(der, []byte("http://crl.test/1")) {
			t.Errorf("%x covers the certificate", der)
		}
	})
}

func FuzzServer(f *testing.F) {
	l := newLocal(f)
	f.Add(must[[]byte](f)(NewRequest(crypto.SHA256, testImprint[:]).Marshal()))
	f.Add(must[[]byte](f)(Request{Hash: crypto.SHA512, Imprint: make([]byte, 64), Policy: LocalPolicy}.Marshal()))
	f.Fuzz(func(t *testing.T, der []byte) {
		q, bad := parseQuery(der)
		token, err := ParseResponse(l.answer(der))
		switch {
		case err != nil:
			if isParseError(err) {
				t.Errorf("the answer: %v", err)
			}
		case bad != nil:
			t.Errorf("stamped, although %v", bad)
		case !bytes.Equal(token.Imprint, q.imprint.hashed):
			t.Error("stamped something else")
		}
	})
}
