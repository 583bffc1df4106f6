package tsp

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// parseCertificate parses a certificate. The standard library does not know
// keys that are for RSASSA-PSS only (RFC 4055 section 1.2), which CAs of
// qualified authorities have: they are put in as RSA keys, and whatever such a
// key signs is checked to be by RSASSA-PSS. Keys with parameters, which restrict
// them further, remain unknown.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	if key := pssKey(c); key != nil {
		c.PublicKey, c.PublicKeyAlgorithm = key, x509.RSA
	}
	return c, nil
}

// keyAlgorithm gives the algorithm of a certificate's key.
func keyAlgorithm(c *x509.Certificate) (a algorithm, ok bool) {
	s := cryptobyte.String(c.RawSubjectPublicKeyInfo)
	var body cryptobyte.String
	ok = s.ReadASN1(&body, cbasn1.SEQUENCE) && readAlgorithm(&body, &a)
	return a, ok
}

// pssOnly says that a key is for RSASSA-PSS only.
func pssOnly(c *x509.Certificate) bool {
	a, ok := keyAlgorithm(c)
	return ok && a.oid.Equal(oidPSS)
}

func signedByPSS(c *x509.Certificate) bool {
	switch c.SignatureAlgorithm {
	case x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS:
		return true
	}
	return false
}

// pssKey gives the key of a certificate if it is for RSASSA-PSS only, without
// parameters.
func pssKey(c *x509.Certificate) *rsa.PublicKey {
	if a, ok := keyAlgorithm(c); !ok || !a.oid.Equal(oidPSS) || a.params != nil {
		return nil
	}
	bits, ok := publicKeyBits(c)
	s := cryptobyte.String(bits)
	var body cryptobyte.String
	key := &rsa.PublicKey{N: new(big.Int)}
	if !ok || !s.ReadASN1(&body, cbasn1.SEQUENCE) || !s.Empty() || !body.ReadASN1Integer(key.N) ||
		!body.ReadASN1Integer(&key.E) || !body.Empty() || key.N.Sign() <= 0 || key.E <= 1 || key.E > 1<<31-1 {
		return nil
	}
	return key
}

// publicKeyBits gives the subjectPublicKey, without its algorithm.
func publicKeyBits(c *x509.Certificate) ([]byte, bool) {
	s := cryptobyte.String(c.RawSubjectPublicKeyInfo)
	var body cryptobyte.String
	var bits asn1.BitString
	ok := s.ReadASN1(&body, cbasn1.SEQUENCE) && body.SkipASN1(cbasn1.SEQUENCE) && body.ReadASN1BitString(&bits)
	return bits.RightAlign(), ok
}
