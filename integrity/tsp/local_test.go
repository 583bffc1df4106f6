package tsp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sae/integrity"
)

func newLocal(t testing.TB) *Local {
	t.Helper()
	return must[*Local](t)(NewLocal("test", time.Now()))
}

func TestLocalTokens(t *testing.T) {
	l := newLocal(t)
	serials := make(map[string]bool)
	for _, h := range hashes {
		imprint := digestOf(h.hash, []byte("data"))
		token, err := l.Timestamp(t.Context(), h.hash, imprint)
		if err != nil {
			t.Fatalf("%v: %v", h.hash, err)
		}
		checks := token.Verify(Expect{Hash: h.hash, Imprint: imprint, Policies: []asn1.ObjectIdentifier{LocalPolicy}, Roots: poolOf(l.Root)})
		if bad := notOK(checks); bad != nil {
			t.Errorf("%v: %+v", h.hash, statusOf(t, checks, bad[0]))
		}
		if token.Accuracy != time.Second || len(token.Certificates) != 2 || len(token.CRLs) != 1 {
			t.Errorf("%v: %+v", h.hash, token)
		}
		if serials[token.Serial.String()] || token.Serial.BitLen() != 128 {
			t.Errorf("serial number %v", token.Serial)
		}
		serials[token.Serial.String()] = true
	}
}

func TestLocalSaysThatItIsNotQualified(t *testing.T) {
	l := newLocal(t)
	for _, c := range []*x509.Certificate{l.Root, l.Certificate} {
		if !strings.HasPrefix(c.Subject.CommonName, "NOT QUALIFIED") {
			t.Errorf("%q", c.Subject)
		}
	}
	if years := l.Root.NotAfter.Year() - l.Root.NotBefore.Year(); years < 20 {
		t.Errorf("the root lasts %d years", years)
	}
}

func TestLocalRefuses(t *testing.T) {
	l := newLocal(t)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		hash crypto.Hash
		size int
	}{
		{"SHA-1", t.Context(), crypto.SHA1, 20},
		{"MD5", t.Context(), crypto.MD5, 16},
		{"no hash", t.Context(), 0, 0},
		{"wrong length", t.Context(), crypto.SHA256, 31},
		{"cancelled", cancelled, crypto.SHA256, 32},
	} {
		if token, err := l.Timestamp(c.ctx, c.hash, make([]byte, c.size)); err == nil || token != nil {
			t.Errorf("%s: %v, %v", c.name, token, err)
		}
	}
}

func TestLocalExpires(t *testing.T) {
	l := newLocal(t)
	for _, c := range []struct {
		now  time.Time
		want error
	}{
		{l.Certificate.NotBefore.Add(-time.Second), ErrExpired},
		{l.Certificate.NotBefore, nil},
		{l.Certificate.NotAfter, nil},
		{l.Certificate.NotAfter.Add(time.Second), ErrExpired},
	} {
		l.Now = func() time.Time { return c.now }
		if _, err := l.Timestamp(t.Context(), crypto.SHA256, testImprint[:]); !errors.Is(err, c.want) {
			t.Errorf("at %v: %v", c.now, err)
		}
	}
	if _, err := ParseResponse(l.answer(must[[]byte](t)(NewRequest(crypto.SHA256, testImprint[:]).Marshal()))); refusal(err) != TimeNotAvailable {
		t.Errorf("response: %v", err)
	}
}

// TestLocalForDecades: the authority is renewed under its root as long as that
// lasts, and every token verifies with what it carries.
func TestLocalForDecades(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLocal(t)
		root := poolOf(l.Root)
		first := must[*Token](t)(l.Timestamp(t.Context(), crypto.SHA256, testImprint[:]))
		for year := 0; year < rootYears; year += 5 {
			if time.Now().After(l.Certificate.NotAfter) {
				l = must[*Local](t)(l.Renew("test", time.Now()))
			}
			token := must[*Token](t)(l.Timestamp(t.Context(), crypto.SHA256, testImprint[:]))
			if !token.Time.Equal(time.Now()) {
				t.Errorf("genTime %v at %v", token.Time, time.Now())
			}
			for _, old := range []*Token{first, token} {
				if bad := notOK(old.Verify(Expect{Hash: crypto.SHA256, Imprint: testImprint[:], Roots: root})); bad != nil {
					t.Errorf("in year %d, token of %v: not OK: %q", year, old.Time, bad)
				}
			}
			time.Sleep(5 * 365 * 24 * time.Hour)
		}
		time.Sleep(5 * 365 * 24 * time.Hour)
		if _, err := l.Renew("test", time.Now()); !errors.Is(err, ErrExpired) {
			t.Errorf("renewing after the root's end: %v", err)
		}
	})
}

func TestLocalPEM(t *testing.T) {
	l := newLocal(t)
	files := must[LocalPEM](t)(l.PEM())
	stamp := func(l *Local) []string {
		token := must[*Token](t)(l.Timestamp(t.Context(), crypto.SHA256, testImprint[:]))
		return notOK(token.Verify(Expect{Hash: crypto.SHA256, Imprint: testImprint[:], Roots: poolOf(l.Root)}))
	}
	if bad := stamp(must[*Local](t)(LoadLocal(files))); bad != nil {
		t.Errorf("with the root's key: not OK: %q", bad)
	}
	files.RootKey = nil
	kept := must[*Local](t)(LoadLocal(files))
	kept.Now = func() time.Time { return kept.Certificate.NotAfter }
	if bad := stamp(kept); bad != nil {
		t.Errorf("with the stored CRL: not OK: %q", bad)
	}
	if _, err := kept.Renew("test", time.Now()); err == nil {
		t.Error("renewed without the root's key")
	}
	if certs := must[[]*x509.Certificate](t)(ParseCertificates(append(files.Root, files.Certificate...))); len(certs) != 2 || !certs[0].Equal(l.Root) {
		t.Errorf("%d certificates", len(certs))
	}
}

func TestLoadLocalRefuses(t *testing.T) {
	mine, other := must[LocalPEM](t)(newLocal(t).PEM()), must[LocalPEM](t)(newLocal(t).PEM())
	for name, edit := range map[string]func(*LocalPEM){
		"key of another":         func(f *LocalPEM) { f.Key = other.Key },
		"certificate of another": func(f *LocalPEM) { f.Certificate = other.Certificate },
		"root of another":        func(f *LocalPEM) { f.Root = other.Root },
		"CRL of another":         func(f *LocalPEM) { f.CRL = other.CRL },
		"root whose signature was changed": func(f *LocalPEM) {
			block, _ := pem.Decode(f.Root)
			block.Bytes[len(block.Bytes)-1] ^= 1
			f.Root = pem.EncodeToMemory(block)
		},
		"root key of another":  func(f *LocalPEM) { f.RootKey = other.RootKey },
		"no key":               func(f *LocalPEM) { f.Key = nil },
		"key is a certificate": func(f *LocalPEM) { f.Key = f.Root },
		"CRL is no CRL":        func(f *LocalPEM) { f.CRL = encodePEM("X509 CRL", []byte{1, 2}) },
		"key is no key":        func(f *LocalPEM) { f.Key = encodePEM("PRIVATE KEY", []byte{1, 2}) },
	} {
		files := mine
		edit(&files)
		if _, err := LoadLocal(files); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
	for _, text := range [][]byte{nil, []byte("text"), mine.Key, append(bytes.Clone(mine.Root), mine.CRL...)} {
		if _, err := ParseCertificates(text); err == nil {
			t.Errorf("certificates in %.30q", text)
		}
	}
}

// refusal gives the reason of a *RefusedError.
func refusal(err error) FailInfo {
	if refused := new(RefusedError); errors.As(err, &refused) {
		return refused.Fail
	}
	return NoFailInfo
}

type fRequest struct {
	Version    int
	Imprint    fImprint
	Policy     asn1.ObjectIdentifier `asn1:"optional"`
	Nonce      *big.Int              `asn1:"optional"`
	CertReq    bool                  `asn1:"optional"`
	Extensions asn1.RawValue         `asn1:"optional"`
}

func TestServerAnswers(t *testing.T) {
	l := newLocal(t)
	ok := fRequest{Version: 1, Imprint: fImprint{fSHA256, testImprint[:]}, Nonce: testNonce, CertReq: true}
	with := func(edit func(*fRequest)) []byte { r := ok; edit(&r); return fMarshal(t, r) }
	for _, c := range []struct {
		name  string
		query []byte
		want  FailInfo
	}{
		{"good", fMarshal(t, ok), NoFailInfo},
		{"the policy", with(func(r *fRequest) { r.Policy = LocalPolicy }), NoFailInfo},
		{"another policy", with(func(r *fRequest) { r.Policy = testPolicy }), UnacceptedPolicy},
		{"SHA-1", with(func(r *fRequest) { r.Imprint = fImprint{fSHA1, make([]byte, 20)} }), BadAlgorithm},
		{"short hash", with(func(r *fRequest) { r.Imprint.Hashed = testImprint[:31] }), BadDataFormat},
		{"unknown version", with(func(r *fRequest) { r.Version = 2 }), BadDataFormat},
		{"extensions", with(func(r *fRequest) {
			r.Extensions = asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: []byte{0x30, 0}}
		}), UnacceptedExtension},
		{"trailing byte", append(fMarshal(t, ok), 0), BadDataFormat},
		{"empty", nil, BadDataFormat},
		{"not DER", []byte("GET / HTTP/1.0"), BadDataFormat},
	} {
		t.Run(c.name, func(t *testing.T) {
			token, err := ParseResponse(l.answer(c.query))
			if c.want != NoFailInfo {
				if refusal(err) != c.want {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			e := Expect{Hash: crypto.SHA256, Imprint: testImprint[:], Nonce: testNonce, Roots: poolOf(l.Root)}
			if bad := notOK(token.Verify(e)); bad != nil {
				t.Errorf("not OK: %q", bad)
			}
		})
	}
}

// TestServerWithoutCertificates: RFC 3161 section 2.4.1, certReq.
func TestServerWithoutCertificates(t *testing.T) {
	l := newLocal(t)
	null := fSHA256
	null.Parameters = asn1.NullRawValue
	token := must[*Token](t)(ParseResponse(l.answer(fMarshal(t, fRequest{Version: 1, Imprint: fImprint{null, testImprint[:]}}))))
	if len(token.Certificates) != 0 || token.Nonce != nil || token.info.imprint.alg.params == nil {
		t.Errorf("%+v", token)
	}
	e := Expect{Hash: crypto.SHA256, Imprint: testImprint[:], Roots: poolOf(l.Root), Extra: []*x509.Certificate{l.Certificate}}
	checks := token.Verify(e)
	if got := notOK(checks); len(got) != 1 || statusOf(t, checks, CheckRevocation).Status != integrity.NotCheckable {
		t.Errorf("not OK: %q", got)
	}
}

func TestServerHTTP(t *testing.T) {
	l := newLocal(t)
	imprint := sha256.Sum256(nil)
	query := must[[]byte](t)(NewRequest(crypto.SHA256, imprint[:]).Marshal())
	for _, c := range []struct {
		name, method, kind string
		body               []byte
		want               int
	}{
		{"good", "POST", typeQuery, query, http.StatusOK},
		{"good, with a parameter", "POST", typeQuery + "; charset=binary", query, http.StatusOK},
		{"refused", "POST", typeQuery, []byte("x"), http.StatusOK},
		{"GET", "GET", typeQuery, nil, http.StatusMethodNotAllowed},
		{"another type", "POST", "application/octet-stream", query, http.StatusUnsupportedMediaType},
		{"no type", "POST", "", query, http.StatusUnsupportedMediaType},
		{"too large", "POST", typeQuery, make([]byte, maxQuery+1), http.StatusRequestEntityTooLarge},
	} {
		r := httptest.NewRequest(c.method, "/", bytes.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		w := httptest.NewRecorder()
		l.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("%s: status %d", c.name, w.Code)
		}
		if kind := w.Header().Get("Content-Type"); (kind == typeReply) != (c.want == http.StatusOK) {
			t.Errorf("%s: answer of type %q", c.name, kind)
		}
	}
}
