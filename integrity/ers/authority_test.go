package ers_test

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
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/digitorus/timestamp"

	"sae/integrity"
)

// authority is a time-stamping authority for tests. Its clock advances by one
// year with every token. It remembers what it issued, so that its verifier is
// as strict as can be: a token is genuine or it is not.
type authority struct {
	t      testing.TB
	root   *x509.Certificate
	leaf   *x509.Certificate
	key    *ecdsa.PrivateKey
	now    time.Time
	issued map[[32]byte]bool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	rootKey, key := newKey(t), newKey(t)
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root for tests"},
		NotBefore: time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	root = certify(t, root, root, rootKey.Public(), rootKey)
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "Time-stamps for tests"},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}
	leaf = certify(t, leaf, root, key.Public(), rootKey)
	return &authority{t: t, root: root, leaf: leaf, key: key, issued: map[[32]byte]bool{},
		now: time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func certify(t testing.TB, template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// rootPEM is what an independent verifier has to trust.
func (a *authority) rootPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw})
}

// stamp issues a token over an imprint and moves the clock on.
func (a *authority) stamp(h crypto.Hash, imprint []byte) []byte {
	a.t.Helper()
	stamp := timestamp.Timestamp{
		HashAlgorithm: h, HashedMessage: imprint, Time: a.now, Policy: asn1.ObjectIdentifier{1, 2, 3},
		Accuracy: time.Second, AddTSACertificate: true,
	}
	response, err := stamp.CreateResponseWithOpts(a.leaf, a.key, crypto.SHA256)
	if err != nil {
		a.t.Fatal(err)
	}
	parsed, err := timestamp.ParseResponse(response)
	if err != nil {
		a.t.Fatal(err)
	}
	a.issued[sha256.Sum256(parsed.RawToken)] = true
	a.now = a.now.AddDate(1, 0, 0)
	return parsed.RawToken
}

// verify is a TokenVerifier that accepts only tokens it issued, for what they
// stamp.
func (a *authority) verify(token []byte, h crypto.Hash, imprint []byte, target string, until time.Time) (time.Time, []integrity.Check) {
	if !a.issued[sha256.Sum256(token)] {
		return time.Time{}, []integrity.Check{{Name: "token", Target: target, Status: integrity.Failed, Detail: "not issued here"}}
	}
	at, checks := verifyImprint(token, h, imprint, target, until)
	if until.After(a.leaf.NotAfter) {
		checks = append(checks, integrity.Check{Name: "token validity", Target: target, Status: integrity.Failed})
	}
	return at, checks
}

// verifyImprint is a lenient TokenVerifier: it reads the token and compares its
// imprint, without the signature. It reads the TSTInfo by itself, since the
// library refuses tokens that carry OCSP responses.
func verifyImprint(token []byte, _ crypto.Hash, imprint []byte, target string, _ time.Time) (time.Time, []integrity.Check) {
	result := integrity.Check{Name: "imprint", Target: target, Status: integrity.Failed}
	info, err := readToken(token)
	if err != nil {
		result.Detail = err.Error()
		return time.Time{}, []integrity.Check{result}
	}
	if bytes.Equal(info.Imprint.Digest, imprint) {
		result.Status = integrity.OK
	}
	return info.Time, []integrity.Check{result}
}

// tokenInfo is the beginning of a TSTInfo (RFC 3161 section 2.4.2).
type tokenInfo struct {
	Version int
	Policy  asn1.ObjectIdentifier
	Imprint struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	Serial *big.Int
	Time   time.Time `asn1:"generalized"`
}

func readToken(token []byte) (info tokenInfo, err error) {
	var content struct {
		Type   asn1.ObjectIdentifier
		Signed struct {
			Version int
			Digests asn1.RawValue
			Encap   struct {
				Type    asn1.ObjectIdentifier
				Content []byte `asn1:"explicit,tag:0"`
			}
		} `asn1:"explicit,tag:0"`
	}
	if _, err := asn1.Unmarshal(token, &content); err != nil {
		return info, err
	}
	_, err = asn1.Unmarshal(content.Signed.Encap.Content, &info)
	return info, err
}
