package tsp

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"testing"

	"sae/integrity"
)

// asPSS gives a copy of a certificate whose key is for RSASSA-PSS only, as far
// as its SubjectPublicKeyInfo says; nothing signs the copy.
func asPSS(t *testing.T, c *x509.Certificate, parameters asn1.RawValue) *x509.Certificate {
	bits, ok := publicKeyBits(c)
	if !ok {
		t.Fatal("no key")
	}
	algorithm := fAlgorithm(oidPSS...)
	algorithm.Parameters = parameters
	changed := *c
	changed.RawSubjectPublicKeyInfo = fMarshal(t, struct {
		Algorithm any
		Key       asn1.BitString
	}{algorithm, asn1.BitString{Bytes: bits, BitLength: 8 * len(bits)}})
	return &changed
}

func TestPSSKey(t *testing.T) {
	key := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048))
	leaf := newPKIFor(t, key, nil).leaf
	if pssKey(leaf) != nil || pssOnly(leaf) {
		t.Error("an RSA key is taken for one of RSASSA-PSS only")
	}
	if got := pssKey(asPSS(t, leaf, asn1.RawValue{})); got == nil || !got.Equal(key.Public()) {
		t.Errorf("%v", got)
	}
	restricted := asPSS(t, leaf, pss(t, fSHA256, fSHA256, 32, 0).Parameters)
	if got := pssKey(restricted); got != nil || !pssOnly(restricted) {
		t.Error("a restricted key is taken for an unrestricted one")
	}
}

// TestPSSOnlyKeysSignByPSSOnly: what such a key signs otherwise is refused.
func TestPSSOnlyKeysSignByPSSOnly(t *testing.T) {
	p := newPKI(t, nil)
	ca := asPSS(t, p.ca, asn1.RawValue{})
	signed := *p.leaf
	for algorithm, want := range map[x509.SignatureAlgorithm]integrity.Status{
		x509.SHA256WithRSA:    integrity.Failed,
		x509.ECDSAWithSHA256:  integrity.Failed,
		x509.SHA256WithRSAPSS: integrity.OK,
		x509.SHA512WithRSAPSS: integrity.OK,
	} {
		signed.SignatureAlgorithm = algorithm
		v := &verification{cert: &signed, path: path{certs: []*x509.Certificate{&signed, ca, p.root}}}
		if got := v.chain(); got.status != want {
			t.Errorf("%v: %+v", algorithm, got)
		}
	}
	f := newForgery(p)
	token := must[*Token](t)(Parse(f.build(t)))
	token.Certificates[0] = asPSS(t, p.leaf, asn1.RawValue{})
	if got := statusOf(t, token.Verify(f.expect()), CheckAlgorithms); got.Status != integrity.Failed {
		t.Errorf("signer: %+v", got)
	}
}

func TestWeakCAKey(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	p := newPKI(t, nil)
	weak := must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 1024))
	p.ca, p.caKey = issue(t, caTemplate("ca"), p.root, weak.Public(), p.rootKey), weak
	p.leaf = issue(t, leafTemplate(), p.ca, p.leafKey.Public(), weak)
	f := newForgery(p)
	if got := statusOf(t, must[*Token](t)(Parse(f.build(t))).Verify(f.expect()), CheckChain); got.Status != integrity.Failed {
		t.Errorf("%+v", got)
	}
}

// TestKeyRollover: a CA's certificate for its own next key is no root, and leads
// to the old one.
func TestKeyRollover(t *testing.T) {
	p := newPKI(t, nil)
	next := caTemplate("root")
	next.SubjectKeyId, next.AuthorityKeyId = []byte("next"), p.root.SubjectKeyId
	key := newKey(t)
	link := issue(t, next, p.root, key.Public(), p.rootKey)
	p.ca = issue(t, caTemplate("ca"), link, p.caKey.Public(), key)
	p.leaf = issue(t, leafTemplate(), p.ca, p.leafKey.Public(), p.caKey)
	f := newForgery(p)
	f.certs = []*x509.Certificate{p.leaf, p.ca, link}
	checks := must[*Token](t)(Parse(f.build(t))).Verify(f.expect())
	for _, name := range []string{CheckChain, CheckAnchor, CheckCertificates} {
		if got := statusOf(t, checks, name); got.Status != integrity.OK {
			t.Errorf("%+v", got)
		}
	}
}

// TestSigner: of two certificates with the signer's name, the bound one is its.
func TestSigner(t *testing.T) {
	f := newForgery(newPKI(t, nil))
	double := leafTemplate()
	double.SerialNumber = f.leaf.SerialNumber
	other := issue(t, double, f.ca, newKey(t).Public(), f.caKey)
	for _, certs := range [][]*x509.Certificate{{f.leaf}, {other, f.leaf}, {f.leaf, other, f.ca}} {
		f.certs = certs
		if got := must[*Token](t)(Parse(f.build(t))).Signer(); got == nil || !got.Equal(f.leaf) {
			t.Errorf("of %d: %v", len(certs), got)
		}
	}
	f.certs = []*x509.Certificate{f.ca}
	if got := must[*Token](t)(Parse(f.build(t))).Signer(); got != nil {
		t.Errorf("not carried: %v", got.Subject)
	}
}
