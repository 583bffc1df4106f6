package tsp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"
	"time"

	"sae/integrity"
)

type pssParams struct {
	Hash    pkix.AlgorithmIdentifier `asn1:"explicit,tag:0"`
	Mask    pkix.AlgorithmIdentifier `asn1:"explicit,tag:1"`
	Salt    int                      `asn1:"explicit,tag:2"`
	Trailer int                      `asn1:"explicit,tag:3,optional"`
}

func pss(t testing.TB, hash, mask pkix.AlgorithmIdentifier, salt, trailer int) pkix.AlgorithmIdentifier {
	mgf := pkix.AlgorithmIdentifier{Algorithm: oidMGF1, Parameters: asn1.RawValue{FullBytes: fMarshal(t, mask)}}
	return pkix.AlgorithmIdentifier{Algorithm: oidPSS,
		Parameters: asn1.RawValue{FullBytes: fMarshal(t, pssParams{hash, mgf, salt, trailer})}}
}

func TestAlgorithms(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	curve := func(c elliptic.Curve) crypto.Signer {
		return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(c, rand.Reader))
	}
	rsaKey := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	weakRSA := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 1024))
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	null := fSHA256
	null.Parameters = asn1.NullRawValue
	odd := fSHA256
	odd.Parameters = asn1.RawValue{FullBytes: []byte{2, 1, 1}}
	salted := func(h crypto.Hash, n int) crypto.SignerOpts { return &rsa.PSSOptions{SaltLength: n, Hash: h} }
	rsaWith := func(last int) pkix.AlgorithmIdentifier { return fAlgorithm(1, 2, 840, 113549, 1, 1, last) }
	nist := func(last int) pkix.AlgorithmIdentifier { return fAlgorithm(2, 16, 840, 1, 101, 3, 4, 3, last) }

	for _, c := range []struct {
		name   string
		key    crypto.Signer
		digest pkix.AlgorithmIdentifier
		hash   crypto.Hash
		scheme pkix.AlgorithmIdentifier
		opts   crypto.SignerOpts
		bad    string // the check that fails
	}{
		{"P-256 SHA-256", curve(elliptic.P256()), fSHA256, crypto.SHA256, fECDSASHA256, nil, ""},
		{"digest with NULL", curve(elliptic.P256()), null, crypto.SHA256, fECDSASHA256, nil, ""},
		{"digest with parameters", curve(elliptic.P256()), odd, crypto.SHA256, fECDSASHA256, nil, CheckAlgorithms},
		{"P-384 SHA-384", curve(elliptic.P384()), fSHA384, crypto.SHA384, fAlgorithm(1, 2, 840, 10045, 4, 3, 3), nil, ""},
		{"P-521 SHA-512", curve(elliptic.P521()), fSHA512, crypto.SHA512, fECDSASHA512, nil, ""},
		{"P-256 SHA3-256", curve(elliptic.P256()), fSHA3256, crypto.SHA3_256, nist(10), nil, ""},
		{"P-224", curve(elliptic.P224()), fSHA256, crypto.SHA256, fECDSASHA256, nil, CheckAlgorithms},
		{"RSA 2048 SHA-256", rsaKey, fSHA256, crypto.SHA256, rsaWith(11), nil, ""},
		{"RSA named by key only", rsaKey, fSHA512, crypto.SHA512, rsaWith(1), nil, ""},
		{"RSA SHA3-256", rsaKey, fSHA3256, crypto.SHA3_256, nist(14), nil, ""},
		{"RSA SHA-1", rsaKey, fSHA256, crypto.SHA256, rsaWith(5), nil, CheckAlgorithms},
		{"RSA 1024", weakRSA, fSHA256, crypto.SHA256, rsaWith(11), nil, CheckAlgorithms},
		{"RSA key, ECDSA scheme", rsaKey, fSHA256, crypto.SHA256, fECDSASHA256, nil, CheckSignature},
		{"PSS SHA-256", rsaKey, fSHA256, crypto.SHA256, pss(t, fSHA256, fSHA256, 32, 0), salted(crypto.SHA256, 32), ""},
		{"PSS SHA-512", rsaKey, fSHA512, crypto.SHA512, pss(t, fSHA512, fSHA512, 20, 1), salted(crypto.SHA512, 20), ""},
		{"PSS with another salt", rsaKey, fSHA256, crypto.SHA256, pss(t, fSHA256, fSHA256, 20, 0), salted(crypto.SHA256, 32), CheckSignature},
		{"PSS without salt", rsaKey, fSHA256, crypto.SHA256, pss(t, fSHA256, fSHA256, 0, 0), salted(crypto.SHA256, 32), CheckSignature},
		{"PSS with another mask", rsaKey, fSHA256, crypto.SHA256, pss(t, fSHA256, fSHA1, 32, 0), salted(crypto.SHA256, 32), CheckAlgorithms},
		{"PSS with another trailer", rsaKey, fSHA256, crypto.SHA256, pss(t, fSHA256, fSHA256, 32, 2), salted(crypto.SHA256, 32), CheckAlgorithms},
		{"PSS by default, SHA-1", rsaKey, fSHA256, crypto.SHA256, fAlgorithm(oidPSS...), salted(crypto.SHA256, 32), CheckAlgorithms},
		{"Ed25519", edKey, fSHA512, crypto.SHA512, fAlgorithm(oidEd25519...), crypto.Hash(0), ""},
		{"Ed25519 with SHA-256", edKey, fSHA256, crypto.SHA256, fAlgorithm(oidEd25519...), crypto.Hash(0), CheckAlgorithms},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newForgery(newPKIFor(t, c.key, nil)).revocable(t)
			f.digest, f.hash, f.scheme, f.opts = c.digest, c.hash, c.scheme, c.opts
			checks := must[*Token](t)(Parse(f.build(t))).Verify(f.expect())
			if c.bad == "" {
				if bad := notOK(checks); bad != nil {
					t.Errorf("%+v", statusOf(t, checks, bad[0]))
				}
				return
			}
			if got := statusOf(t, checks, c.bad); got.Status != integrity.Failed {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestSHA224Ends: tokens by SHA-224 that were made before 2031 stay good.
func TestSHA224Ends(t *testing.T) {
	for _, c := range []struct {
		year int
		want integrity.Status
	}{{2023, integrity.OK}, {2030, integrity.OK}, {2031, integrity.Failed}} {
		f := newForgery(newPKI(t, nil))
		f.digest, f.hash, f.scheme = fSHA224, crypto.SHA224, fECDSASHA224
		f.info.Time = time.Date(c.year, 12, 31, 23, 59, 59, 0, time.UTC)
		checks := must[*Token](t)(Parse(f.build(t))).Verify(f.expect())
		if got := statusOf(t, checks, CheckAlgorithms); got.Status != c.want {
			t.Errorf("%d: %+v", c.year, got)
		}
	}
}
