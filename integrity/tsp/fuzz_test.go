package tsp

import (
	"bytes"
	"crypto"
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
