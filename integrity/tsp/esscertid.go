package tsp

import (
	"bytes"
	"crypto"
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidSigningCert   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12}
	oidSigningCertV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
)

// essCertID is an ESSCertID (RFC 2634 section 5.4.1) or an ESSCertIDv2 (RFC
// 5035 section 4): the name of one certificate, under the signature.
type essCertID struct {
	sha1   bool
	alg    algorithm // of version 2
	hash   []byte
	issuer []byte   // Name in DER; nil when issuerSerial is absent
	serial *big.Int //
}

// parseSigningCertificate reads a SigningCertificate or SigningCertificateV2.
func parseSigningCertificate(der []byte, v2 bool) ([]essCertID, error) {
	s := cryptobyte.String(der)
	var body, list cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) || !s.Empty() || !body.ReadASN1(&list, cbasn1.SEQUENCE) ||
		!body.SkipOptionalASN1(cbasn1.SEQUENCE) || !body.Empty() {
		return nil, errors.New("malformed signing certificate attribute")
	}
	elements, ok := readElements(list, maxCertificates)
	if !ok || len(elements) == 0 {
		return nil, errors.New("signing certificate attribute names no certificate, or too many")
	}
	var out []essCertID
	for _, e := range elements {
		id, ok := parseESSCertID(e, v2)
		if !ok {
			return nil, errors.New("malformed ESSCertID")
		}
		out = append(out, id)
	}
	return out, nil
}

func parseESSCertID(der []byte, v2 bool) (id essCertID, ok bool) {
	s := cryptobyte.String(der)
	var body, hash cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) {
		return id, false
	}
	id.sha1 = !v2
	id.alg.oid = oidByHash(crypto.SHA256) // the default
	if v2 && body.PeekASN1Tag(cbasn1.SEQUENCE) && !readAlgorithm(&body, &id.alg) {
		return id, false
	}
	if !body.ReadASN1(&hash, cbasn1.OCTET_STRING) {
		return id, false
	}
	id.hash = hash
	if body.Empty() {
		return id, true
	}
	return id, id.readIssuerSerial(&body) && body.Empty()
}

// readIssuerSerial reads an IssuerSerial, whose issuer is one directoryName.
func (id *essCertID) readIssuerSerial(s *cryptobyte.String) bool {
	var body, names, name, issuer cryptobyte.String
	ok := s.ReadASN1(&body, cbasn1.SEQUENCE) && body.ReadASN1(&names, cbasn1.SEQUENCE) &&
		names.ReadASN1(&name, ctx(4)) && names.Empty() &&
		name.ReadASN1Element(&issuer, cbasn1.SEQUENCE) && name.Empty() &&
		readSerial(&body, &id.serial) && body.Empty()
	id.issuer = issuer
	return ok
}

// names says why the identifier does not stand for the certificate, if so.
//
// Version 1 binds by SHA-1 only. Nobody can make a second certificate with the
// hash of a given one, but someone who can have two certificates issued might
// prepare a collision: so it is accepted only beside issuer and serial number,
// which the issuer then had to let collide too.
func (id essCertID) names(cert *x509.Certificate) error {
	hash, err := id.hashOf(cert)
	switch {
	case err != nil:
		return err
	case !bytes.Equal(hash, id.hash):
		return errors.New("the hash is of another certificate")
	case id.issuer == nil && id.sha1:
		return errors.New("a SHA-1 hash without issuer and serial number is not accepted")
	case id.issuer != nil && (!bytes.Equal(id.issuer, cert.RawIssuer) || id.serial.Cmp(cert.SerialNumber) != 0):
		return errors.New("issuer and serial number are of another certificate")
	}
	return nil
}

func (id essCertID) hashOf(cert *x509.Certificate) ([]byte, error) {
	if id.sha1 {
		h := sha1.Sum(cert.Raw)
		return h[:], nil
	}
	h, err := id.alg.digest()
	if err != nil {
		return nil, fmt.Errorf("ESSCertIDv2: %w", err)
	}
	return digestOf(h, cert.Raw), nil
}
