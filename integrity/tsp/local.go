package tsp

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// Authority stamps a hash: a *Client or a *Local, by its method Timestamp.
type Authority func(ctx context.Context, hash crypto.Hash, imprint []byte) (*Token, error)

// ErrExpired means that the embedded authority's certificate is not valid at
// the present time.
var ErrExpired = errors.New("the embedded time-stamping authority's certificate is not valid now")

// How long the embedded authority lasts.
const (
	rootYears = 40
	leafYears = 20
)

// LocalPolicy is the policy of the embedded authority's tokens: an arc that is
// reserved for examples (ITU-T X.660), so that no one can mistake it for the
// policy of a real authority.
var LocalPolicy = asn1.ObjectIdentifier{2, 999, 3161}

// Local is an embedded time-stamping authority for evaluation and tests. It is
// NOT QUALIFIED: the names of its certificates say so, and its clock is the
// machine's. It is safe for concurrent use.
type Local struct {
	Root        *x509.Certificate // signs Certificate and the CRL
	Certificate *x509.Certificate // signs tokens
	Now         func() time.Time  // default time.Now

	key     *ecdsa.PrivateKey
	rootKey *ecdsa.PrivateKey // nil when it was not kept
	crl     []byte            // of the day the certificate was made; used without rootKey
}

// NewLocal makes an authority: a root on P-384 for 40 years, and a certificate
// on P-256 for 20 years. name is put into the subjects.
func NewLocal(name string, now time.Time) (*Local, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making time-stamping authority: %w", err)
	}
	root := &x509.Certificate{
		Subject: subject(name, "root"), SerialNumber: randomSerial(),
		NotBefore: start(now), NotAfter: start(now).AddDate(rootYears, 0, 0),
		BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	l := &Local{rootKey: rootKey}
	if l.Root, err = certify(root, root, rootKey.Public(), rootKey); err != nil {
		return nil, err
	}
	if err := l.makeLeaf(name, now); err != nil {
		return nil, err
	}
	return l, nil
}

// Renew gives an authority under the same root with a new key, whose certificate
// does not outlast the root. It needs the root's key.
func (l *Local) Renew(name string, now time.Time) (*Local, error) {
	switch {
	case l.rootKey == nil:
		return nil, errors.New("renewing time-stamping authority: the root's key was not kept")
	case now.After(l.Root.NotAfter):
		return nil, ErrExpired
	}
	renewed := &Local{Root: l.Root, rootKey: l.rootKey, Now: l.Now}
	if err := renewed.makeLeaf(name, now); err != nil {
		return nil, err
	}
	return renewed, nil
}

// makeLeaf makes a new key, its certificate and the CRL that goes with it.
func (l *Local) makeLeaf(name string, now time.Time) (err error) {
	if l.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return fmt.Errorf("making time-stamping authority: %w", err)
	}
	leaf := &x509.Certificate{
		Subject: subject(name, "time-stamping authority"), SerialNumber: randomSerial(),
		NotBefore: start(now), NotAfter: start(now).AddDate(leafYears, 0, 0),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		// RFC 3161 section 2.3 wants this extension critical, which a template's
		// ExtKeyUsage cannot say.
		ExtraExtensions: []pkix.Extension{{Id: oidExtKeyUsage, Critical: true, Value: timeStampingOnly}},
	}
	if leaf.NotAfter.After(l.Root.NotAfter) {
		leaf.NotAfter = l.Root.NotAfter
	}
	if l.Certificate, err = certify(leaf, l.Root, l.key.Public(), l.rootKey); err != nil {
		return err
	}
	l.crl, err = l.makeCRL(start(now), leaf.NotAfter)
	return err
}

// timeStampingOnly is an ExtKeyUsageSyntax with id-kp-timeStamping.
var timeStampingOnly = []byte{0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08}

// start is a little in the past, for clocks that differ.
func start(now time.Time) time.Time { return now.UTC().Truncate(time.Second).Add(-time.Minute) }

func subject(name, role string) pkix.Name {
	return pkix.Name{
		Organization: []string{name},
		CommonName:   "NOT QUALIFIED evaluation " + role,
	}
}

// randomSerial draws a certificate's serial number: positive, at most 20 octets
// (RFC 5280 section 4.1.2.2).
func randomSerial() *big.Int { return randomInt() }

func certify(template, parent *x509.Certificate, key crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key, signer)
	if err != nil {
		return nil, fmt.Errorf("making certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// Timestamp stamps a hash, with the whole second of the present time. The token
// carries certificate, root and CRL. Errors: ErrExpired; an unknown digest
// algorithm, or an imprint that is not of its length.
func (l *Local) Timestamp(ctx context.Context, hash crypto.Hash, data []byte) (*Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	oid := oidByHash(hash)
	if oid == nil || len(data) != hash.Size() {
		return nil, fmt.Errorf("stamping: no hash of %d bytes under %v", len(data), hash)
	}
	der, err := l.stamp(&query{imprint: imprint{algorithm{oid: oid}, data}, certReq: true})
	if err != nil {
		return nil, err
	}
	return Parse(der)
}

// stamp answers a query whose imprint is acceptable.
func (l *Local) stamp(q *query) ([]byte, error) {
	now := l.now().Truncate(time.Second)
	if now.Before(l.Certificate.NotBefore) || now.After(l.Certificate.NotAfter) {
		return nil, ErrExpired
	}
	info := &tstInfo{policy: LocalPolicy, imprint: q.imprint, serial: randomInt(), nonce: q.nonce,
		time: now, accuracy: time.Second}
	var certs, crls [][]byte
	if q.certReq { // without, the field must be absent (RFC 3161 section 2.4.1)
		crl, err := l.currentCRL(now)
		if err != nil {
			return nil, err
		}
		certs, crls = [][]byte{l.Certificate.Raw, l.Root.Raw}, [][]byte{crl}
	}
	return sign(info, l.Certificate, l.key, certs, crls)
}

func (l *Local) now() time.Time {
	if l.Now != nil {
		return l.Now().UTC()
	}
	return time.Now().UTC()
}

// currentCRL makes a CRL if the root's key was kept, else gives the stored one.
func (l *Local) currentCRL(now time.Time) ([]byte, error) {
	if l.rootKey == nil {
		return l.crl, nil
	}
	return l.makeCRL(now, now.AddDate(0, 0, 7))
}

// makeCRL signs a CRL without entries: the authority revokes nothing.
func (l *Local) makeCRL(from, until time.Time) ([]byte, error) {
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: big.NewInt(from.Unix()), ThisUpdate: from, NextUpdate: until,
	}, l.Root, l.rootKey)
	if err != nil {
		return nil, fmt.Errorf("making CRL: %w", err)
	}
	return der, nil
}
