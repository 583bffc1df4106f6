package ers

import (
	"crypto"
	"encoding/asn1"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// The content types of a time-stamp token (RFC 3161 section 2.4.2).
var (
	oidSignedData = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo    = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
)

// parseToken delimits the timeStamp: a ContentInfo of SignedData (RFC 5652
// section 3), as RFC 3161 tokens are. It returns the whole element, tag and
// length included: what a renewal hashes (section 5.2).
func parseToken(place string, s *cryptobyte.String) ([]byte, error) {
	var element, info cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !s.ReadASN1Element(&element, cbasn1.SEQUENCE) {
		return nil, refuse(place, "timeStamp is not a DER ContentInfo")
	}
	token := []byte(element)
	if !element.ReadASN1(&info, cbasn1.SEQUENCE) ||
		!info.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(oidSignedData) ||
		!info.SkipASN1(tag0) || !info.Empty() {
		return nil, refuse(place, "timeStamp is not a ContentInfo of SignedData")
	}
	return token, nil
}

// tokenImprint reads the messageImprint of a token (RFC 3161 section 2.4.2). An
// ArchiveTimeStamp without digestAlgorithm uses its algorithm (section 4.1).
func tokenImprint(place string, token []byte) (crypto.Hash, []byte, error) {
	var info, content, signed, encapsulated, octets, text, tst, imprint, identifier, digest cryptobyte.String
	var oid asn1.ObjectIdentifier
	s := cryptobyte.String(token)
	ok := s.ReadASN1(&info, cbasn1.SEQUENCE) && info.SkipASN1(cbasn1.OBJECT_IDENTIFIER) &&
		info.ReadASN1(&content, tag0) && content.ReadASN1(&signed, cbasn1.SEQUENCE) &&
		signed.SkipASN1(cbasn1.INTEGER) && signed.SkipASN1(cbasn1.SET) &&
		signed.ReadASN1(&encapsulated, cbasn1.SEQUENCE) &&
		encapsulated.ReadASN1ObjectIdentifier(&oid) && oid.Equal(oidTSTInfo) &&
		encapsulated.ReadASN1(&octets, tag0) && octets.ReadASN1(&text, cbasn1.OCTET_STRING) &&
		text.ReadASN1(&tst, cbasn1.SEQUENCE) && tst.SkipASN1(cbasn1.INTEGER) &&
		tst.SkipASN1(cbasn1.OBJECT_IDENTIFIER) && tst.ReadASN1(&imprint, cbasn1.SEQUENCE) &&
		imprint.ReadASN1(&identifier, cbasn1.SEQUENCE) && imprint.ReadASN1(&digest, cbasn1.OCTET_STRING)
	if !ok {
		return 0, nil, refuse(place, "the token's messageImprint cannot be read")
	}
	hash, _, err := parseAlgorithm(place+", timeStamp", &identifier)
	return hash, digest, err
}
