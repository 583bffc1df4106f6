package tsp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"

	"sae/integrity"
)

// The writer of this file makes tokens that are right but for what a test
// changes. It shares nothing with the writer of the package but the numbers of
// the standards.

type fImprint struct {
	Algorithm pkix.AlgorithmIdentifier
	Hashed    []byte
}

type fAccuracy struct {
	Seconds int `asn1:"optional"`
	Millis  int `asn1:"optional,tag:0"`
}

type fTSTInfo struct {
	Version    int
	Policy     asn1.ObjectIdentifier
	Imprint    fImprint
	Serial     *big.Int
	Time       time.Time        `asn1:"generalized"`
	Accuracy   fAccuracy        `asn1:"optional"`
	Nonce      *big.Int         `asn1:"optional"`
	TSA        asn1.RawValue    `asn1:"optional"`
	Extensions []pkix.Extension `asn1:"optional,tag:1"`
}

type fAttribute struct {
	ID     asn1.ObjectIdentifier
	Values []asn1.RawValue `asn1:"set"`
}

type fSigner struct {
	Version    int
	Issuer     fIssuer
	Digest     pkix.AlgorithmIdentifier
	Attributes asn1.RawValue `asn1:"optional"`
	Scheme     pkix.AlgorithmIdentifier
	Signature  []byte
}

type fIssuer struct {
	Name   asn1.RawValue
	Serial *big.Int
}

type fSignedData struct {
	Version int
	Digests []pkix.AlgorithmIdentifier `asn1:"set"`
	Content struct {
		Type    asn1.ObjectIdentifier
		Content []byte `asn1:"explicit,tag:0"`
	}
	Certs   asn1.RawValue `asn1:"optional"`
	CRLs    asn1.RawValue `asn1:"optional"`
	Signers []fSigner     `asn1:"set"`
}

type fContentInfo struct {
	Type    asn1.ObjectIdentifier
	Content fSignedData `asn1:"explicit,tag:0"`
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func fMarshal(t testing.TB, v any) []byte {
	t.Helper()
	return must[[]byte](t)(asn1.Marshal(v))
}

// directoryName is the tsa field with a Name.
func directoryName(t testing.TB, name []byte) asn1.RawValue {
	general := fMarshal(t, asn1.RawValue{Class: 2, Tag: 4, IsCompound: true, Bytes: name})
	return asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: general}
}

// dnsName is the tsa field with a DNS name.
func dnsName(t testing.TB, name string) asn1.RawValue {
	general := fMarshal(t, asn1.RawValue{Class: 2, Tag: 2, Bytes: []byte(name)})
	return asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: general}
}

func fAlgorithm(oid ...int) pkix.AlgorithmIdentifier {
	return pkix.AlgorithmIdentifier{Algorithm: oid}
}

var (
	fSHA1        = fAlgorithm(1, 3, 14, 3, 2, 26)
	fMD5         = fAlgorithm(1, 2, 840, 113549, 2, 5)
	fSHA224      = fAlgorithm(2, 16, 840, 1, 101, 3, 4, 2, 4)
	fSHA256      = fAlgorithm(2, 16, 840, 1, 101, 3, 4, 2, 1)
	fSHA384      = fAlgorithm(2, 16, 840, 1, 101, 3, 4, 2, 2)
	fSHA512      = fAlgorithm(2, 16, 840, 1, 101, 3, 4, 2, 3)
	fSHA3256     = fAlgorithm(2, 16, 840, 1, 101, 3, 4, 2, 8)
	fECDSASHA1   = fAlgorithm(1, 2, 840, 10045, 4, 1)
	fECDSASHA224 = fAlgorithm(1, 2, 840, 10045, 4, 3, 1)
	fECDSASHA256 = fAlgorithm(1, 2, 840, 10045, 4, 3, 2)
	fECDSASHA512 = fAlgorithm(1, 2, 840, 10045, 4, 3, 4)
)

var (
	testTime    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	testImprint = sha256.Sum256([]byte("what is stamped"))
	testPolicy  = asn1.ObjectIdentifier{1, 2, 3, 4}
	testNonce   = big.NewInt(0x1234567890)
)

// pki is a root, perhaps a CA below it, and a signer.
type pki struct {
	root, ca, leaf          *x509.Certificate
	rootKey, caKey, leafKey crypto.Signer
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	return must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, SerialNumber: randomInt(), SubjectKeyId: []byte(name),
		NotBefore: testTime.AddDate(-1, 0, 0), NotAfter: testTime.AddDate(20, 0, 0),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func leafTemplate() *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: "signer"}, SerialNumber: randomInt(),
		NotBefore: testTime.AddDate(-1, 0, 0), NotAfter: testTime.AddDate(1, 0, 0),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: timeStampingOnly}},
	}
}

func issue(t testing.TB, template, parent *x509.Certificate, key crypto.PublicKey, signer crypto.Signer) *x509.Certificate {
	t.Helper()
	der := must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, parent, key, signer))
	return must[*x509.Certificate](t)(x509.ParseCertificate(der))
}

// newPKI makes a root, a CA and a signer whose template edit may change.
func newPKI(t testing.TB, edit func(leaf *x509.Certificate)) *pki {
	t.Helper()
	return newPKIFor(t, newKey(t), edit)
}

func newPKIFor(t testing.TB, key crypto.Signer, edit func(leaf *x509.Certificate)) *pki {
	t.Helper()
	p := &pki{rootKey: newKey(t), caKey: newKey(t), leafKey: key}
	root := caTemplate("root")
	p.root = issue(t, root, root, p.rootKey.Public(), p.rootKey)
	p.ca = issue(t, caTemplate("ca"), p.root, p.caKey.Public(), p.rootKey)
	template := leafTemplate()
	if edit != nil {
		edit(template)
	}
	p.leaf = issue(t, template, p.ca, key.Public(), p.caKey)
	return p
}

func (p *pki) roots() *x509.CertPool { return poolOf(p.root) }

// crl is a CRL of the root or the CA at a time, valid for a day, that edit may
// change.
func (p *pki) crl(t testing.TB, byRoot bool, at time.Time, edit func(*x509.RevocationList)) []byte {
	t.Helper()
	issuer, key := p.ca, p.caKey
	if byRoot {
		issuer, key = p.root, p.rootKey
	}
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: at, NextUpdate: at.AddDate(0, 0, 1)}
	if edit != nil {
		edit(list)
	}
	return must[[]byte](t)(x509.CreateRevocationList(rand.Reader, list, issuer, key))
}

// forgery is a token to be made.
type forgery struct {
	*pki
	info        fTSTInfo
	contentType asn1.ObjectIdentifier
	digest      pkix.AlgorithmIdentifier // with its hash
	hash        crypto.Hash
	scheme      pkix.AlgorithmIdentifier
	opts        crypto.SignerOpts // when not the hash
	named       *x509.Certificate // by issuer and serial number
	certs       []*x509.Certificate
	revocations [][]byte
	attributes  func([]fAttribute) []fAttribute // changes them
	unsorted    bool
	tamper      func(*fSignedData) // after signing
}

func newForgery(p *pki) *forgery {
	return &forgery{pki: p, contentType: oidTSTInfo, digest: fSHA256, hash: crypto.SHA256, scheme: fECDSASHA256,
		named: p.leaf, certs: []*x509.Certificate{p.leaf, p.ca, p.root},
		info: fTSTInfo{Version: 1, Policy: testPolicy, Imprint: fImprint{fSHA256, testImprint[:]}, Serial: big.NewInt(7),
			Time: testTime, Accuracy: fAccuracy{Seconds: 1}, Nonce: testNonce}}
}

// revocable adds good CRLs of both issuers, made at the token's time.
func (f *forgery) revocable(t testing.TB) *forgery {
	f.revocations = [][]byte{f.crl(t, true, testTime, nil), f.crl(t, false, testTime, nil)}
	return f
}

func fValue(t testing.TB, id asn1.ObjectIdentifier, values ...any) fAttribute {
	a := fAttribute{ID: id}
	for _, v := range values {
		raw, isRaw := v.(asn1.RawValue)
		if !isRaw {
			raw = asn1.RawValue{FullBytes: fMarshal(t, v)}
		}
		a.Values = append(a.Values, raw)
	}
	return a
}

type fESSCertIDv2 struct {
	Algorithm pkix.AlgorithmIdentifier `asn1:"optional"`
	Hash      []byte
	Issuer    fIssuerSerial `asn1:"optional"`
}

type fESSCertID struct {
	Hash   []byte
	Issuer fIssuerSerial `asn1:"optional"`
}

type fIssuerSerial struct {
	Names  []asn1.RawValue
	Serial *big.Int
}

type fSigningCert[T any] struct{ IDs []T }

func issuerSerial(t testing.TB, c *x509.Certificate) fIssuerSerial {
	name := asn1.RawValue{Class: 2, Tag: 4, IsCompound: true, Bytes: c.RawIssuer}
	return fIssuerSerial{Names: []asn1.RawValue{{FullBytes: fMarshal(t, name)}}, Serial: c.SerialNumber}
}

func essV2(t testing.TB, certs ...*x509.Certificate) fAttribute {
	var v fSigningCert[fESSCertIDv2]
	for _, c := range certs {
		h := sha256.Sum256(c.Raw)
		v.IDs = append(v.IDs, fESSCertIDv2{Hash: h[:], Issuer: issuerSerial(t, c)})
	}
	return fValue(t, oidSigningCertV2, v)
}

func (f *forgery) digestOf(data []byte) []byte {
	h := f.hash.New()
	h.Write(data)
	return h.Sum(nil)
}

func (f *forgery) build(t testing.TB) []byte {
	t.Helper()
	content := fMarshal(t, f.info)
	attributes := []fAttribute{
		fValue(t, oidContentType, oidTSTInfo),
		fValue(t, oidMessageDigest, f.digestOf(content)),
		essV2(t, f.leaf),
	}
	if f.attributes != nil {
		attributes = f.attributes(attributes)
	}
	var encoded [][]byte
	for _, a := range attributes {
		encoded = append(encoded, fMarshal(t, a))
	}
	slices.SortFunc(encoded, bytes.Compare)
	if f.unsorted {
		slices.Reverse(encoded)
	}
	body := bytes.Join(encoded, nil)
	signer := fSigner{Version: 1, Digest: f.digest, Scheme: f.scheme,
		Issuer: fIssuer{asn1.RawValue{FullBytes: f.named.RawIssuer}, f.named.SerialNumber}}
	message := fMarshal(t, asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: body})
	if len(attributes) == 0 {
		message = content
	} else {
		signer.Attributes = asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: body}
	}
	signer.Signature = f.sign(t, message)
	sd := fSignedData{Version: 3, Digests: []pkix.AlgorithmIdentifier{f.digest}, Signers: []fSigner{signer}}
	sd.Content.Type, sd.Content.Content = f.contentType, content
	for _, c := range f.certs {
		sd.Certs.Bytes = append(sd.Certs.Bytes, c.Raw...)
	}
	sd.Certs.Class, sd.Certs.IsCompound = 2, true
	if f.revocations != nil {
		sd.CRLs = asn1.RawValue{Class: 2, Tag: 1, IsCompound: true, Bytes: bytes.Join(f.revocations, nil)}
	}
	if f.tamper != nil {
		f.tamper(&sd)
	}
	return fMarshal(t, fContentInfo{oidSignedData, sd})
}

func (f *forgery) sign(t testing.TB, message []byte) []byte {
	t.Helper()
	opts := f.opts
	if opts == nil {
		opts = f.hash
	}
	if opts.HashFunc() != 0 {
		message = f.digestOf(message)
	}
	return must[[]byte](t)(f.leafKey.Sign(rand.Reader, message, opts))
}

func (f *forgery) expect() Expect {
	return Expect{Target: "test", Hash: crypto.SHA256, Imprint: testImprint[:], Nonce: testNonce,
		Policies: []asn1.ObjectIdentifier{testPolicy}, Roots: f.roots()}
}

func statusOf(t testing.TB, checks []integrity.Check, name string) integrity.Check {
	t.Helper()
	for _, c := range checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %q", name)
	return integrity.Check{}
}

// notOK gives the names of the checks that are not OK.
func notOK(checks []integrity.Check) (out []string) {
	for _, c := range checks {
		if c.Status != integrity.OK {
			out = append(out, c.Name)
		}
	}
	return out
}

func poolOf(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}
