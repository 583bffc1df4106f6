package tsp

import (
	"crypto"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"

	"sae/integrity"
)

func TestVerifyReportsEveryCheck(t *testing.T) {
	f := newForgery(newPKI(t, nil)).revocable(t)
	token := must[*Token](t)(Parse(f.build(t)))
	want := []string{CheckContentType, CheckSigner, CheckAttributes, CheckAlgorithms, CheckSignature, CheckESSCertID,
		CheckEKU, CheckCertificate, CheckChain, CheckAnchor, CheckImprint, CheckNonce, CheckPolicy, CheckRevocation,
		CheckCertificates}
	var got []string
	for _, c := range token.Verify(f.expect()) {
		got = append(got, c.Name)
		if c.Status != integrity.OK || c.Target != "test" {
			t.Errorf("%+v", c)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("checks %q", got)
	}
	if token.Hash != crypto.SHA256 || !token.Time.Equal(testTime) || !token.Policy.Equal(testPolicy) ||
		token.Serial.Int64() != 7 || token.Nonce.Cmp(testNonce) != 0 || token.Accuracy.Seconds() != 1 {
		t.Errorf("token %+v", token)
	}
}

func extKeyUsage(t testing.TB, critical bool, purposes ...asn1.ObjectIdentifier) []pkix.Extension {
	return []pkix.Extension{{Id: oidExtKeyUsage, Critical: critical, Value: fMarshal(t, purposes)}}
}

var (
	oidTimeStamping = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 8}
	oidCodeSigning  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 3}
)

// rogue is a token that is wrong in one way.
type rogue struct {
	name   string
	cert   func(*testing.T, *x509.Certificate) // changes the signer's certificate
	token  func(*testing.T, *forgery)
	expect func(*Expect)
	check  string           // that has to notice
	status integrity.Status // Failed when empty
	also   []string         // checks that then cannot be OK either
}

func TestRogueTokens(t *testing.T) {
	for _, r := range slices.Concat(rogueMessages, rogueCertificates, rogueExpectations) {
		t.Run(r.name, func(t *testing.T) {
			var edit func(*x509.Certificate)
			if r.cert != nil {
				edit = func(c *x509.Certificate) { r.cert(t, c) }
			}
			f := newForgery(newPKI(t, edit)).revocable(t)
			if r.token != nil {
				r.token(t, f)
			}
			token, err := Parse(f.build(t))
			if err != nil {
				t.Fatal(err)
			}
			e := f.expect()
			if r.expect != nil {
				r.expect(&e)
			}
			r.judge(t, token.Verify(e))
		})
	}
}

func (r rogue) judge(t *testing.T, checks []integrity.Check) {
	want := r.status
	if want == "" {
		want = integrity.Failed
	}
	if c := statusOf(t, checks, r.check); c.Status != want || c.Detail == "" {
		t.Errorf("%+v", c)
	}
	for _, name := range notOK(checks) {
		if name != r.check && !slices.Contains(r.also, name) {
			t.Errorf("also %+v", statusOf(t, checks, name))
		}
	}
}

var rogueMessages = []rogue{
	{name: "signature corrupted", check: CheckSignature,
		token: func(_ *testing.T, f *forgery) {
			f.tamper = func(sd *fSignedData) { sd.Signers[0].Signature[20] ^= 1 }
		}},
	{name: "signed by another key", check: CheckSignature,
		token: func(t *testing.T, f *forgery) { f.leafKey = newKey(t) }},
	{name: "content changed after signing", check: CheckAttributes,
		token: func(_ *testing.T, f *forgery) {
			f.tamper = func(sd *fSignedData) { sd.Content.Content[len(sd.Content.Content)-1] ^= 1 }
		}, expect: func(e *Expect) { e.Nonce = nil }},
	{name: "content type not TSTInfo", check: CheckContentType,
		token: func(_ *testing.T, f *forgery) { f.contentType = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1} }},
	{name: "content-type attribute not TSTInfo", check: CheckAttributes,
		token: func(t *testing.T, f *forgery) {
			f.attributes = func(a []fAttribute) []fAttribute {
				a[0] = fValue(t, oidContentType, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1})
				return a
			}
		}},
	{name: "critical extension", check: CheckContentType,
		token: func(_ *testing.T, f *forgery) {
			f.info.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}},
	{name: "two signers", check: CheckSigner,
		token: func(_ *testing.T, f *forgery) {
			f.tamper = func(sd *fSignedData) { sd.Signers = append(sd.Signers, sd.Signers[0]) }
		}},
	{name: "no signer", check: CheckSigner,
		token: func(_ *testing.T, f *forgery) { f.tamper = func(sd *fSignedData) { sd.Signers = nil } },
		also: []string{CheckAttributes, CheckAlgorithms, CheckSignature, CheckESSCertID, CheckEKU, CheckCertificate,
			CheckChain, CheckAnchor, CheckRevocation}},
	{name: "no signed attributes", check: CheckAttributes, also: []string{CheckESSCertID},
		token: func(_ *testing.T, f *forgery) { f.attributes = func([]fAttribute) []fAttribute { return nil } }},
	{name: "no message digest", check: CheckAttributes, token: without(1)},
	{name: "no content type", check: CheckAttributes, token: without(0)},
	{name: "no ESSCertID", check: CheckAttributes, also: []string{CheckESSCertID}, token: without(2)},
	{name: "attribute twice", check: CheckAttributes,
		token: func(_ *testing.T, f *forgery) {
			f.attributes = func(a []fAttribute) []fAttribute { return append(a, a[1]) }
		}},
	{name: "unknown attribute twice", check: CheckAttributes,
		token: func(t *testing.T, f *forgery) {
			x := fValue(t, asn1.ObjectIdentifier{1, 2, 3, 4, 5}, 1)
			f.attributes = func(a []fAttribute) []fAttribute { return append(a, x, x) }
		}},
	{name: "attribute with two values", check: CheckAttributes,
		token: func(_ *testing.T, f *forgery) {
			f.attributes = func(a []fAttribute) []fAttribute {
				a[1].Values = append(a[1].Values, asn1.RawValue{FullBytes: []byte{4, 1, 0}})
				return a
			}
		}},
	{name: "ESSCertID twice", check: CheckAttributes, also: []string{CheckESSCertID},
		token: func(_ *testing.T, f *forgery) {
			f.attributes = func(a []fAttribute) []fAttribute { return append(a, a[2]) }
		}},
	{name: "attributes not in DER order", check: CheckAttributes,
		token: func(_ *testing.T, f *forgery) { f.unsorted = true }},
	{name: "ESSCertID of another certificate", check: CheckESSCertID,
		token: func(t *testing.T, f *forgery) {
			f.attributes = func(a []fAttribute) []fAttribute { a[2] = essV2(t, f.ca); return a }
		}},
	{name: "ESSCertID with another serial number", check: CheckESSCertID,
		token: essID(func(id *fESSCertIDv2) { id.Issuer.Serial = big.NewInt(1) })},
	{name: "ESSCertIDv2 by SHA-1", check: CheckESSCertID,
		token: essID(func(id *fESSCertIDv2) { id.Algorithm = fSHA1 })},
	{name: "ESSCertID v1 without issuer and serial number", check: CheckESSCertID,
		token: essV1(func(id *fESSCertID) { id.Issuer = fIssuerSerial{} })},
	{name: "ESSCertID v1 of another hash", check: CheckESSCertID,
		token: essV1(func(id *fESSCertID) { id.Hash[0] ^= 1 })},
	{name: "ESSCertID does not name the CA", check: CheckESSCertID,
		token: func(t *testing.T, f *forgery) {
			f.attributes = func(a []fAttribute) []fAttribute { a[2] = essV2(t, f.leaf, f.root); return a }
		}},
	{name: "digest SHA-1", check: CheckAlgorithms, also: []string{CheckAttributes, CheckSignature},
		token: func(_ *testing.T, f *forgery) { f.digest, f.hash, f.scheme = fSHA1, crypto.SHA1, fECDSASHA1 }},
	{name: "signature by SHA-1", check: CheckAlgorithms, also: []string{CheckSignature},
		token: func(_ *testing.T, f *forgery) { f.scheme = fECDSASHA1 }},
	{name: "digest MD5", check: CheckAlgorithms, also: []string{CheckAttributes, CheckSignature},
		token: func(_ *testing.T, f *forgery) { f.digest = fMD5 }},
	{name: "imprint by SHA-1", check: CheckAlgorithms, also: []string{CheckImprint},
		token: func(_ *testing.T, f *forgery) { f.info.Imprint = fImprint{fSHA1, make([]byte, 20)} }},
	{name: "digest not announced", check: CheckAlgorithms,
		token: func(_ *testing.T, f *forgery) { f.tamper = func(sd *fSignedData) { sd.Digests[0] = fSHA384 } }},
	{name: "signature by another digest than the signer's", check: CheckAlgorithms, also: []string{CheckSignature},
		token: func(_ *testing.T, f *forgery) { f.scheme = fECDSASHA512 }},
	{name: "tsa of another alternative name", check: CheckCertificate,
		cert:  func(_ *testing.T, c *x509.Certificate) { c.DNSNames = []string{"other.test"} },
		token: func(t *testing.T, f *forgery) { f.info.TSA = dnsName(t, "tsa.test") }},
	{name: "tsa of a kind that the certificate has not", check: CheckCertificate,
		token: func(t *testing.T, f *forgery) { f.info.TSA = dnsName(t, "tsa.test") }},
	{name: "tsa of another name", check: CheckCertificate,
		token: func(t *testing.T, f *forgery) {
			f.info.TSA = directoryName(t, f.ca.RawSubject)
		}},
}

func without(i int) func(*testing.T, *forgery) {
	return func(_ *testing.T, f *forgery) {
		f.attributes = func(a []fAttribute) []fAttribute { return slices.Delete(a, i, i+1) }
	}
}

func essID(edit func(*fESSCertIDv2)) func(*testing.T, *forgery) {
	return func(t *testing.T, f *forgery) {
		f.attributes = func(a []fAttribute) []fAttribute {
			id := fESSCertIDv2{Hash: digestOf(crypto.SHA256, f.leaf.Raw), Issuer: issuerSerial(t, f.leaf)}
			edit(&id)
			a[2] = fValue(t, oidSigningCertV2, fSigningCert[fESSCertIDv2]{[]fESSCertIDv2{id}})
			return a
		}
	}
}

func essV1(edit func(*fESSCertID)) func(*testing.T, *forgery) {
	return func(t *testing.T, f *forgery) {
		f.attributes = func(a []fAttribute) []fAttribute {
			h := sha1.Sum(f.leaf.Raw)
			id := fESSCertID{Hash: h[:], Issuer: issuerSerial(t, f.leaf)}
			edit(&id)
			a[2] = fValue(t, oidSigningCert, fSigningCert[fESSCertID]{[]fESSCertID{id}})
			return a
		}
	}
}

// rogueCA has the name and the key identifier of another CA.
func rogueCA(t *testing.T, like *x509.Certificate) (*x509.Certificate, crypto.Signer) {
	key := newKey(t)
	template := caTemplate(like.Subject.CommonName)
	return issue(t, template, template, key.Public(), key), key
}

var rogueCertificates = []rogue{
	{name: "rogue certificate with the same names", check: CheckAnchor, also: []string{CheckRevocation},
		token: func(t *testing.T, f *forgery) {
			root, key := rogueCA(t, f.root)
			ca := issue(t, caTemplate("ca"), root, f.caKey.Public(), key)
			f.certs = []*x509.Certificate{f.leaf, ca, root}
		}},
	{name: "rogue signer beside the real one's chain", check: CheckChain, also: []string{CheckAnchor, CheckRevocation},
		token: func(t *testing.T, f *forgery) {
			key := newKey(t)
			ca := caTemplate("ca")
			rogue := leafTemplate()
			rogue.SerialNumber = f.leaf.SerialNumber
			f.leafKey = newKey(t)
			f.leaf = issue(t, rogue, ca, f.leafKey.Public(), key)
			f.named, f.certs = f.leaf, []*x509.Certificate{f.leaf, f.ca, f.root}
		}},
	{name: "root not trusted", check: CheckAnchor,
		expect: func(e *Expect) { e.Roots = x509.NewCertPool() }},
	{name: "no roots given", check: CheckAnchor, status: integrity.NotCheckable,
		expect: func(e *Expect) { e.Roots = nil }},
	{name: "root not carried", check: CheckChain, status: integrity.NotCheckable, also: []string{CheckAnchor, CheckRevocation},
		token: func(_ *testing.T, f *forgery) { f.certs = f.certs[:2] }, expect: func(e *Expect) { e.Roots = nil }},
	{name: "signer not carried", check: CheckCertificate,
		token: func(_ *testing.T, f *forgery) { f.certs = f.certs[1:] },
		also:  []string{CheckAlgorithms, CheckSignature, CheckESSCertID, CheckEKU, CheckChain, CheckAnchor, CheckRevocation}},
	{name: "EKU not critical", check: CheckEKU,
		cert: func(t *testing.T, c *x509.Certificate) { c.ExtraExtensions = extKeyUsage(t, false, oidTimeStamping) }},
	{name: "EKU with another purpose", check: CheckEKU,
		cert: func(t *testing.T, c *x509.Certificate) {
			c.ExtraExtensions = extKeyUsage(t, true, oidTimeStamping, oidCodeSigning)
		}},
	{name: "EKU with an unknown purpose", check: CheckEKU,
		cert: func(t *testing.T, c *x509.Certificate) {
			c.ExtraExtensions = extKeyUsage(t, true, oidTimeStamping, asn1.ObjectIdentifier{1, 2, 3})
		}},
	{name: "EKU of another purpose", check: CheckEKU,
		cert: func(t *testing.T, c *x509.Certificate) { c.ExtraExtensions = extKeyUsage(t, true, oidCodeSigning) }},
	{name: "no EKU", check: CheckEKU,
		cert: func(_ *testing.T, c *x509.Certificate) { c.ExtraExtensions = nil }},
	{name: "signer is a CA", check: CheckCertificate,
		cert: func(_ *testing.T, c *x509.Certificate) { c.IsCA = true }},
	{name: "key not for signing", check: CheckCertificate,
		cert: func(_ *testing.T, c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }},
	{name: "key for more than signing", check: CheckCertificate,
		cert: func(_ *testing.T, c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageKeyEncipherment }},
	{name: "expired at genTime", check: CheckChain, also: []string{CheckAnchor, CheckRevocation},
		cert: func(_ *testing.T, c *x509.Certificate) { c.NotAfter = testTime.AddDate(0, 0, -1) }},
	{name: "not yet valid at genTime", check: CheckChain, also: []string{CheckAnchor, CheckRevocation},
		cert: func(_ *testing.T, c *x509.Certificate) { c.NotBefore = testTime.AddDate(0, 0, 1) }},
	{name: "unknown critical extension", check: CheckChain, also: []string{CheckAnchor, CheckRevocation},
		cert: func(_ *testing.T, c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})
		}},
	{name: "a certificate twice", check: CheckCertificates,
		token: func(_ *testing.T, f *forgery) { f.certs = append(f.certs, f.leaf) }},
}

var rogueExpectations = []rogue{
	{name: "another imprint", check: CheckImprint, expect: func(e *Expect) { e.Imprint = make([]byte, 32) }},
	{name: "another hash of the same length", check: CheckImprint, expect: func(e *Expect) { e.Hash = crypto.SHA3_256 }},
	{name: "no imprint given", check: CheckImprint, status: integrity.NotCheckable, expect: func(e *Expect) { e.Imprint = nil }},
	{name: "imprint of a wrong length", check: CheckImprint,
		token:  func(_ *testing.T, f *forgery) { f.info.Imprint.Hashed = testImprint[:16] },
		expect: func(e *Expect) { e.Imprint = testImprint[:16] }},
	{name: "another nonce", check: CheckNonce, expect: func(e *Expect) { e.Nonce = big.NewInt(1) }},
	{name: "nonce missing", check: CheckNonce, token: func(_ *testing.T, f *forgery) { f.info.Nonce = nil }},
	{name: "another policy", check: CheckPolicy,
		expect: func(e *Expect) { e.Policies = []asn1.ObjectIdentifier{{1, 2}, {1, 2, 3, 4, 5}} }},
}

// TestGoodVariants has what looks odd and is good.
func TestGoodVariants(t *testing.T) {
	for _, r := range []rogue{
		{name: "ESSCertID v1 with issuer and serial number", token: essV1(func(*fESSCertID) {})},
		{name: "ESSCertIDv2 without issuer and serial number", token: essID(func(id *fESSCertIDv2) { id.Issuer = fIssuerSerial{} })},
		{name: "ESSCertIDv2 with the default written", token: essID(func(id *fESSCertIDv2) { id.Algorithm = fSHA256 })},
		{name: "ESSCertIDv2 names the whole path", token: func(t *testing.T, f *forgery) {
			f.attributes = func(a []fAttribute) []fAttribute { a[2] = essV2(t, f.leaf, f.ca, f.root); return a }
		}},
		{name: "signing time", token: func(t *testing.T, f *forgery) {
			f.attributes = func(a []fAttribute) []fAttribute { return append(a, fValue(t, oidSigningTime, testTime)) }
		}},
		{name: "tsa is the subject", token: func(t *testing.T, f *forgery) {
			f.info.TSA = directoryName(t, f.leaf.RawSubject)
		}},
		{name: "tsa is an alternative name",
			cert:  func(_ *testing.T, c *x509.Certificate) { c.DNSNames = []string{"other.test", "tsa.test"} },
			token: func(t *testing.T, f *forgery) { f.info.TSA = dnsName(t, "tsa.test") }},
		{name: "an unused certificate", token: func(t *testing.T, f *forgery) {
			f.certs = append(f.certs, newPKI(t, nil).leaf)
		}},
		{name: "another certificate with the signer's issuer and serial number", token: func(t *testing.T, f *forgery) {
			double := leafTemplate()
			double.SerialNumber = f.leaf.SerialNumber
			other := issue(t, double, f.ca, newKey(t).Public(), f.caKey)
			f.certs = slices.Insert(f.certs, 0, other)
		}},
		{name: "no key usage", cert: func(_ *testing.T, c *x509.Certificate) { c.KeyUsage = 0 }},
		{name: "key for non-repudiation", cert: func(_ *testing.T, c *x509.Certificate) { c.KeyUsage = x509.KeyUsageContentCommitment }},
		{name: "no nonce and no policy expected", expect: func(e *Expect) { e.Nonce, e.Policies = nil, nil }},
		{name: "uncritical extension", token: func(_ *testing.T, f *forgery) {
			f.info.Extensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}}}
		}},
	} {
		t.Run(r.name, func(t *testing.T) {
			var edit func(*x509.Certificate)
			if r.cert != nil {
				edit = func(c *x509.Certificate) { r.cert(t, c) }
			}
			f := newForgery(newPKI(t, edit)).revocable(t)
			if r.token != nil {
				r.token(t, f)
			}
			e := f.expect()
			if r.expect != nil {
				r.expect(&e)
			}
			checks := must[*Token](t)(Parse(f.build(t))).Verify(e)
			if bad := notOK(checks); bad != nil {
				t.Errorf("%+v", statusOf(t, checks, bad[0]))
			}
		})
	}
}
