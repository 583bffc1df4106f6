package tsp

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sae/integrity"
)

// revokes lists a certificate, with a reason unless it is zero.
func revokes(c *x509.Certificate, when time.Time, reason int) func(*x509.RevocationList) {
	e := x509.RevocationListEntry{SerialNumber: c.SerialNumber, RevocationTime: when, ReasonCode: reason}
	return func(l *x509.RevocationList) {
		other := x509.RevocationListEntry{SerialNumber: big.NewInt(1), RevocationTime: when}
		l.RevokedCertificateEntries = []x509.RevocationListEntry{other, e}
	}
}

// TestCRL has the signer's CRL changed; the CA's is good.
func TestCRL(t *testing.T) {
	const hour = time.Hour
	p := newPKI(t, func(c *x509.Certificate) { c.CRLDistributionPoints = []string{"http://crl.test/1"} })
	at := func(d time.Duration) time.Time { return testTime.Add(d) }
	extension := func(id asn1.ObjectIdentifier, critical bool, value []byte) func(*x509.RevocationList) {
		return func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: id, Critical: critical, Value: value}}
		}
	}
	point := func(url string) []byte { // IssuingDistributionPoint with a URI
		uri := fMarshal(t, asn1.RawValue{Class: 2, Tag: 6, Bytes: []byte(url)})
		full := fMarshal(t, asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: uri})
		name := fMarshal(t, asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: full})
		return fMarshal(t, asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: name})
	}
	flag := func(tag byte) []byte { return []byte{0x30, 3, 0x80 | tag, 1, 0xff} }
	oldCRL := p.leaf.NotAfter.Add(hour)
	since := fGeneralizedTime(t, testTime)

	for _, c := range []struct {
		name string
		crl  []byte
		want integrity.Status
	}{
		{"made after genTime", p.crl(t, false, at(hour), nil), integrity.OK},
		{"made before, current", p.crl(t, false, at(-hour), nil), integrity.OK},
		{"out of date", p.crl(t, false, at(-48*hour), nil), integrity.NotCheckable},
		{"of another issuer", p.crl(t, true, at(hour), nil), integrity.NotCheckable},
		{"revoked before, superseded", p.crl(t, false, at(hour), revokes(p.leaf, at(-hour), 4)), integrity.Failed},
		{"revoked later, cessation", p.crl(t, false, at(2*hour), revokes(p.leaf, at(hour), 5)), integrity.OK},
		{"revoked later, key compromise", p.crl(t, false, at(2*hour), revokes(p.leaf, at(hour), 1)), integrity.Failed},
		{"revoked later, on hold", p.crl(t, false, at(2*hour), revokes(p.leaf, at(hour), 6)), integrity.Failed},
		{"revoked later, no reason", p.crl(t, false, at(2*hour), revokes(p.leaf, at(hour), 0)), integrity.Failed},
		{"for end entities", p.crl(t, false, at(hour), extension(oidIssuingPoint, true, flag(1))), integrity.OK},
		{"for CAs", p.crl(t, false, at(hour), extension(oidIssuingPoint, true, flag(2))), integrity.NotCheckable},
		{"indirect", p.crl(t, false, at(hour), extension(oidIssuingPoint, true, flag(4))), integrity.NotCheckable},
		{"attribute certificates", p.crl(t, false, at(hour), extension(oidIssuingPoint, true, flag(5))), integrity.NotCheckable},
		{"of the certificate's place", p.crl(t, false, at(hour), extension(oidIssuingPoint, true, point("http://crl.test/1"))), integrity.OK},
		{"of another place", p.crl(t, false, at(hour), extension(oidIssuingPoint, true, point("http://crl.test/2"))), integrity.NotCheckable},
		{"delta", p.crl(t, false, at(hour), extension(asn1.ObjectIdentifier{2, 5, 29, 27}, true, []byte{2, 1, 1})), integrity.NotCheckable},
		{"after expiry", p.crl(t, false, oldCRL, nil), integrity.NotCheckable},
		{"after expiry, expired ones kept", p.crl(t, false, oldCRL, extension(oidExpiredOnCRL, false, since)), integrity.OK},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newForgery(p)
			f.revocations = [][]byte{p.crl(t, true, testTime, nil), c.crl}
			got := statusOf(t, must[*Token](t)(Parse(f.build(t))).Verify(f.expect()), CheckRevocation)
			if got.Status != c.want || got.Detail == "" {
				t.Errorf("%+v", got)
			}
		})
	}
}

func fGeneralizedTime(t testing.TB, at time.Time) []byte {
	return must[[]byte](t)(asn1.MarshalWithParams(at, "generalized"))
}

// TestReasons: RFC 3161 section 4. A CRL can give reason 0 without leaving it out.
func TestReasons(t *testing.T) {
	later, before := testTime.Add(time.Hour), testTime.Add(-time.Hour)
	for reason := absentReason; reason <= 10; reason++ {
		harmless := reason == 0 || reason == 3 || reason == 4 || reason == 5
		if got := judgeRevoked(later, reason, testTime).status; (got == integrity.OK) != harmless {
			t.Errorf("reason %d, revoked later: %s", reason, got)
		}
		for _, when := range []time.Time{before, testTime} {
			if got := judgeRevoked(when, reason, testTime).status; got != integrity.Failed {
				t.Errorf("reason %d, revoked at %v: %s", reason, when, got)
			}
		}
	}
}

func TestCRLWithBadSignature(t *testing.T) {
	f := newForgery(newPKI(t, nil))
	good := f.crl(t, true, testTime, nil)
	f.caKey = newKey(t) // another key under the CA's name and key identifier
	f.ca = issue(t, caTemplate("ca"), f.root, f.caKey.Public(), f.rootKey)
	f.revocations = [][]byte{good, f.crl(t, false, testTime, nil)}
	got := statusOf(t, must[*Token](t)(Parse(f.build(t))).Verify(f.expect()), CheckRevocation)
	if got.Status != integrity.Failed {
		t.Errorf("%+v", got)
	}
}

func TestNothingCarried(t *testing.T) {
	f := newForgery(newPKI(t, nil))
	checks := must[*Token](t)(Parse(f.build(t))).Verify(f.expect())
	if got := statusOf(t, checks, CheckRevocation); got.Status != integrity.NotCheckable {
		t.Errorf("%+v", got)
	}
	if got := notOK(checks); len(got) != 1 {
		t.Errorf("not OK: %q", got)
	}
}

func TestIntermediateRevoked(t *testing.T) {
	f := newForgery(newPKI(t, nil))
	f.revocations = [][]byte{f.crl(t, false, testTime, nil),
		f.crl(t, true, testTime, revokes(f.ca, testTime.Add(-time.Hour), 4))}
	got := statusOf(t, must[*Token](t)(Parse(f.build(t))).Verify(f.expect()), CheckRevocation)
	if got.Status != integrity.Failed {
		t.Errorf("%+v", got)
	}
}

// responder issues an OCSP responder's certificate.
func (p *pki) responder(t testing.TB, issuer *x509.Certificate, signer crypto.Signer, use x509.ExtKeyUsage) (*x509.Certificate, crypto.Signer) {
	key := newKey(t)
	template := leafTemplate()
	template.Subject.CommonName = "responder"
	template.ExtraExtensions, template.ExtKeyUsage = nil, []x509.ExtKeyUsage{use}
	return issue(t, template, issuer, key.Public(), signer), key
}

func TestOCSP(t *testing.T) {
	p := newPKI(t, nil)
	stranger := newPKI(t, nil)
	delegate, delegateKey := p.responder(t, p.ca, p.caKey, x509.ExtKeyUsageOCSPSigning)
	client, clientKey := p.responder(t, p.ca, p.caKey, x509.ExtKeyUsageClientAuth)
	other, otherKey := stranger.responder(t, stranger.root, stranger.rootKey, x509.ExtKeyUsageOCSPSigning)
	forged, forgedKey := stranger.responder(t, stranger.ca, stranger.caKey, x509.ExtKeyUsageOCSPSigning)
	later := testTime.Add(time.Hour)
	good := func() ocsp.Response {
		return ocsp.Response{Status: ocsp.Good, SerialNumber: p.leaf.SerialNumber, ThisUpdate: later}
	}
	with := func(edit func(*ocsp.Response)) ocsp.Response { r := good(); edit(&r); return r }
	revoked := func(when time.Time, reason int) ocsp.Response {
		return with(func(r *ocsp.Response) {
			r.Status, r.RevokedAt, r.RevocationReason = ocsp.Revoked, when, reason
		})
	}
	for _, c := range []struct {
		name      string
		response  ocsp.Response
		responder *x509.Certificate // nil: the CA itself
		key       crypto.Signer
		want      integrity.Status
	}{
		{"good", good(), nil, p.caKey, integrity.OK},
		{"delegated", good(), delegate, delegateKey, integrity.OK},
		{"not delegated", good(), client, clientKey, integrity.Failed},
		{"a stranger's", good(), other, otherKey, integrity.NotCheckable},
		{"forged delegation", good(), forged, forgedKey, integrity.Failed},
		{"bad signature", good(), nil, newKey(t), integrity.Failed},
		{"of another certificate", with(func(r *ocsp.Response) { r.SerialNumber = big.NewInt(99) }), nil, p.caKey, integrity.NotCheckable},
		{"unknown", with(func(r *ocsp.Response) { r.Status = ocsp.Unknown }), nil, p.caKey, integrity.NotCheckable},
		{"revoked before", revoked(testTime.Add(-time.Hour), ocsp.Superseded), nil, p.caKey, integrity.Failed},
		{"revoked later, superseded", revoked(later, ocsp.Superseded), nil, p.caKey, integrity.OK},
		{"revoked later, key compromise", revoked(later, ocsp.KeyCompromise), nil, p.caKey, integrity.Failed},
		{"revoked later, no reason", revoked(later, ocsp.Unspecified), nil, p.caKey, integrity.Failed},
		{"before, current", with(func(r *ocsp.Response) {
			r.ThisUpdate, r.NextUpdate = testTime.Add(-time.Hour), later
		}), nil, p.caKey, integrity.OK},
		{"before, out of date", with(func(r *ocsp.Response) { r.ThisUpdate = testTime.Add(-time.Hour) }), nil, p.caKey, integrity.NotCheckable},
		{"before, within the accuracy", with(func(r *ocsp.Response) { r.ThisUpdate = testTime.Add(-time.Second) }), nil, p.caKey, integrity.OK},
		{"after expiry", with(func(r *ocsp.Response) { r.ThisUpdate = p.leaf.NotAfter.Add(time.Hour) }), nil, p.caKey, integrity.NotCheckable},
	} {
		t.Run(c.name, func(t *testing.T) {
			responder := c.responder
			if responder == nil {
				responder = p.ca
			} else {
				c.response.Certificate = responder
			}
			f := newForgery(p)
			f.revocations = [][]byte{p.crl(t, true, testTime, nil)}
			der := must[[]byte](t)(ocsp.CreateResponse(p.ca, responder, c.response, c.key))
			token := must[*Token](t)(must[*Token](t)(Parse(f.build(t))).With(nil, nil, [][]byte{der}))
			if len(token.OCSP) != 1 {
				t.Fatalf("%d OCSP responses", len(token.OCSP))
			}
			got := statusOf(t, token.Verify(f.expect()), CheckRevocation)
			if got.Status != c.want || got.Detail == "" {
				t.Errorf("%+v", got)
			}
		})
	}
}
