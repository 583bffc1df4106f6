package tsp

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" // OCSP names certificates by SHA-1 (RFC 6960 section 4.3); nothing is proved by it
	"crypto/x509"
	"encoding/asn1"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// certID is a CertID of an OCSP response (RFC 6960 section 4.1.1): the name of
// a certificate whose state is told.
type certID struct {
	hash              crypto.Hash // zero when unknown
	nameHash, keyHash []byte
	serial            *big.Int
}

var oidSHA1 = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}

// names says whether the identifier stands for a certificate of the issuer.
func (id certID) names(cert, issuer *x509.Certificate) bool {
	if id.hash == 0 || id.serial.Cmp(cert.SerialNumber) != 0 {
		return false
	}
	key, ok := publicKeyBits(issuer)
	return ok && bytes.Equal(id.nameHash, digestOf(id.hash, issuer.RawSubject)) &&
		bytes.Equal(id.keyHash, digestOf(id.hash, key))
}

// parseCertIDs reads whose state an OCSPResponse tells, one at least.
func parseCertIDs(der []byte) ([]certID, error) {
	list, ok := ocspResponses(der)
	if !ok {
		return nil, malformed("OCSPResponse")
	}
	singles, ok := readElements(list, maxRevocations)
	if !ok || len(singles) == 0 {
		return nil, unacceptable("OCSPResponse", "no state of a certificate, or too many")
	}
	var out []certID
	for _, e := range singles {
		s := cryptobyte.String(e)
		var single cryptobyte.String
		var id certID
		if !s.ReadASN1(&single, cbasn1.SEQUENCE) || !readCertID(&single, &id) {
			return nil, malformed("CertID")
		}
		out = append(out, id)
	}
	return out, nil
}

// ocspResponses finds the SEQUENCE OF SingleResponse in an OCSPResponse.
func ocspResponses(der []byte) (list cryptobyte.String, ok bool) {
	s := cryptobyte.String(der)
	var response, explicit, bytes, octets, basic, data cryptobyte.String
	var status int
	var responder cryptobyte.String
	var tag cbasn1.Tag
	ok = s.ReadASN1(&response, cbasn1.SEQUENCE) && s.Empty() && response.ReadASN1Enum(&status) && status == 0 &&
		response.ReadASN1(&explicit, ctx(0)) && explicit.ReadASN1(&bytes, cbasn1.SEQUENCE) &&
		bytes.SkipASN1(cbasn1.OBJECT_IDENTIFIER) && bytes.ReadASN1(&octets, cbasn1.OCTET_STRING) &&
		checkDER(octets) == nil &&
		octets.ReadASN1(&basic, cbasn1.SEQUENCE) && basic.ReadASN1(&data, cbasn1.SEQUENCE) &&
		data.SkipOptionalASN1(ctx(0)) && data.ReadAnyASN1(&responder, &tag) &&
		data.SkipASN1(cbasn1.GeneralizedTime) && data.ReadASN1(&list, cbasn1.SEQUENCE)
	return list, ok
}

func readCertID(s *cryptobyte.String, out *certID) bool {
	var body, name, key cryptobyte.String
	var alg algorithm
	ok := s.ReadASN1(&body, cbasn1.SEQUENCE) && readAlgorithm(&body, &alg) &&
		body.ReadASN1(&name, cbasn1.OCTET_STRING) && body.ReadASN1(&key, cbasn1.OCTET_STRING) &&
		readSerial(&body, &out.serial) && body.Empty()
	out.nameHash, out.keyHash = name, key
	if out.hash = hashByOID(alg.oid); alg.oid.Equal(oidSHA1) {
		out.hash = crypto.SHA1
	}
	return ok
}
