package tsp

import (
	"bytes"
	"encoding/asn1"
	"math/big"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidSignedData   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 2}
	oidTSTInfo      = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	oidOCSPResponse = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 16, 2}
	oidOCSPBasic    = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
)

// The bounds of what a token may hold.
const (
	maxCertificates = 64
	maxRevocations  = 64
	maxSigners      = 8
	maxAttributes   = 32
	maxDigests      = 16
)

// signedData is a CMS SignedData (RFC 5652 section 5.1). The raw parts are kept
// whole, so that it can be written again around the same signed bytes.
type signedData struct {
	version      int64
	digests      []algorithm
	contentType  asn1.ObjectIdentifier
	content      []byte   // the eContent: a TSTInfo
	certificates [][]byte // X.509 certificates
	otherCerts   [][]byte // in other formats, as they stand
	crls         [][]byte
	ocsps        [][]byte // OCSPResponse, unwrapped
	revocations  [][]byte // all RevocationInfoChoice, as they stand
	signers      []signerInfo

	rawDigests, rawContent, rawSigners []byte
}

// signerInfo is a SignerInfo (RFC 5652 section 5.3).
type signerInfo struct {
	version    int64
	issuer     []byte   // Name in DER, with serial; or
	serial     *big.Int //
	keyID      []byte   // subjectKeyIdentifier
	digest     algorithm
	attributes []attribute
	signed     []byte // the attributes as the SET that is signed (section 5.4); nil when absent
	sorted     bool   // whether that SET is in DER order
	scheme     algorithm
	signature  []byte
}

type attribute struct {
	id     asn1.ObjectIdentifier
	values [][]byte
}

func parseSignedData(der []byte) (*signedData, error) {
	s := cryptobyte.String(der)
	var info, explicit, body cryptobyte.String
	var contentType asn1.ObjectIdentifier
	if !s.ReadASN1(&info, cbasn1.SEQUENCE) || !s.Empty() || !info.ReadASN1ObjectIdentifier(&contentType) ||
		!info.ReadASN1(&explicit, ctx(0)) || !info.Empty() {
		return nil, malformed("ContentInfo")
	}
	if !contentType.Equal(oidSignedData) {
		return nil, unacceptable("ContentInfo", "content is not SignedData")
	}
	if !explicit.ReadASN1(&body, cbasn1.SEQUENCE) || !explicit.Empty() {
		return nil, malformed("ContentInfo")
	}
	sd := new(signedData)
	if err := sd.read(body); err != nil {
		return nil, err
	}
	return sd, nil
}

func (sd *signedData) read(s cryptobyte.String) error {
	var digests, content, certs, revocations, signers cryptobyte.String
	if !s.ReadASN1Integer(&sd.version) ||
		!s.ReadASN1Element(&digests, cbasn1.SET) || !s.ReadASN1Element(&content, cbasn1.SEQUENCE) ||
		!s.ReadOptionalASN1(&certs, nil, ctx(0)) || !s.ReadOptionalASN1(&revocations, nil, ctx(1)) ||
		!s.ReadASN1Element(&signers, cbasn1.SET) || !s.Empty() {
		return malformed("SignedData")
	}
	sd.rawDigests, sd.rawContent, sd.rawSigners = digests, content, signers
	for _, part := range []struct {
		name string
		ok   bool
	}{
		{"DigestAlgorithmIdentifiers", sd.readDigests(digests)},
		{"EncapsulatedContentInfo", sd.readContent(content)},
		{"CertificateSet", sd.readCertificates(certs)},
		{"RevocationInfoChoices", sd.readRevocations(revocations)},
	} {
		if !part.ok {
			return malformed(part.name)
		}
	}
	if !sd.versionFits() {
		return unacceptable("SignedData", "version does not fit the content")
	}
	return sd.readSigners(signers)
}

// versionFits checks the version (RFC 5652 section 5.1): 3 around a TSTInfo, 4 or
// 5 with certificates or revocation data in other formats. Authorities write 3
// then, too.
func (sd *signedData) versionFits() bool {
	others := len(sd.otherCerts) + len(sd.revocations) - len(sd.crls)
	return sd.version == 3 || others > 0 && (sd.version == 4 || sd.version == 5)
}

func (sd *signedData) readDigests(s cryptobyte.String) bool {
	var body cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.SET) {
		return false
	}
	for !body.Empty() {
		var a algorithm
		if len(sd.digests) == maxDigests || !readAlgorithm(&body, &a) {
			return false
		}
		sd.digests = append(sd.digests, a)
	}
	return true
}

func (sd *signedData) readContent(s cryptobyte.String) bool {
	var body, explicit, content cryptobyte.String
	ok := s.ReadASN1(&body, cbasn1.SEQUENCE) && body.ReadASN1ObjectIdentifier(&sd.contentType) &&
		body.ReadASN1(&explicit, ctx(0)) && body.Empty() &&
		explicit.ReadASN1(&content, cbasn1.OCTET_STRING) && explicit.Empty()
	sd.content = content
	return ok
}

// readCertificates reads CertificateChoices (RFC 5652 section 10.2.2).
func (sd *signedData) readCertificates(s cryptobyte.String) bool {
	elements, ok := readElements(s, maxCertificates)
	for _, e := range elements {
		switch cbasn1.Tag(e[0]) {
		case cbasn1.SEQUENCE:
			sd.certificates = append(sd.certificates, e)
		case ctx(0), ctx(1), ctx(2), ctx(3):
			sd.otherCerts = append(sd.otherCerts, e)
		default:
			return false
		}
	}
	return ok
}

func (sd *signedData) readRevocations(s cryptobyte.String) bool {
	var ok bool
	sd.revocations, ok = readElements(s, maxRevocations)
	for _, e := range sd.revocations {
		if e[0] == byte(cbasn1.SEQUENCE) {
			sd.crls = append(sd.crls, e)
			continue
		}
		ocsp, good := readOtherRevocation(e)
		if !good {
			return false
		}
		if ocsp != nil {
			sd.ocsps = append(sd.ocsps, ocsp)
		}
	}
	return ok
}

// readOtherRevocation reads an OtherRevocationInfoFormat (RFC 5652 section
// 10.2.1) and gives the OCSPResponse in it (RFC 5940 section 2.1), nil when it
// holds something else. A bare BasicOCSPResponse, which authorities put there
// too, is given with its envelope.
func readOtherRevocation(der []byte) (ocsp []byte, ok bool) {
	s := cryptobyte.String(der)
	var body, value cryptobyte.String
	var id asn1.ObjectIdentifier
	var tag cbasn1.Tag
	if !s.ReadASN1(&body, ctx(1)) || !body.ReadASN1ObjectIdentifier(&id) ||
		!body.ReadAnyASN1Element(&value, &tag) || !body.Empty() {
		return nil, false
	}
	switch {
	case id.Equal(oidOCSPResponse):
		return value, true
	case id.Equal(oidOCSPBasic):
		return wrapBasicOCSP(value), true
	}
	return nil, true
}

// wrapBasicOCSP makes a BasicOCSPResponse the successful OCSPResponse of RFC
// 6960 section 4.2.1.
func wrapBasicOCSP(basic []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Enum(0)
		b.AddASN1(ctx(0), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				addOID(b, oidOCSPBasic)
				b.AddASN1OctetString(basic)
			})
		})
	})
	return b.BytesOrPanic()
}

func (sd *signedData) readSigners(s cryptobyte.String) error {
	var body cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.SET) {
		return malformed("SignerInfos")
	}
	elements, ok := readElements(body, maxSigners)
	if !ok {
		return malformed("SignerInfos")
	}
	for _, e := range elements {
		si, ok := parseSigner(e)
		if !ok {
			return malformed("SignerInfo")
		}
		sd.signers = append(sd.signers, si)
	}
	return nil
}

func parseSigner(der []byte) (si signerInfo, ok bool) {
	s := cryptobyte.String(der)
	var body, signed, signature, unsigned cryptobyte.String
	var hasSigned, hasUnsigned bool
	ok = s.ReadASN1(&body, cbasn1.SEQUENCE) && body.ReadASN1Integer(&si.version) &&
		si.readIdentifier(&body) && readAlgorithm(&body, &si.digest) &&
		body.ReadOptionalASN1(&signed, &hasSigned, ctx(0)) && readAlgorithm(&body, &si.scheme) &&
		body.ReadASN1(&signature, cbasn1.OCTET_STRING) &&
		body.ReadOptionalASN1(&unsigned, &hasUnsigned, ctx(1)) && body.Empty()
	if !ok {
		return si, false
	}
	si.signature = signature
	if hasUnsigned {
		if _, _, ok := readAttributes(unsigned); !ok {
			return si, false
		}
	}
	if hasSigned {
		si.signed = asSet(signed)
		si.attributes, si.sorted, ok = readAttributes(signed)
	}
	return si, ok
}

// readIdentifier reads a SignerIdentifier, with the version that goes with it.
func (si *signerInfo) readIdentifier(s *cryptobyte.String) bool {
	if si.version == 3 {
		var id cryptobyte.String
		ok := s.ReadASN1(&id, ctxSimple(0))
		si.keyID = id
		return ok
	}
	var body, issuer cryptobyte.String
	ok := si.version == 1 && s.ReadASN1(&body, cbasn1.SEQUENCE) &&
		body.ReadASN1Element(&issuer, cbasn1.SEQUENCE) && readSerial(&body, &si.serial) && body.Empty()
	si.issuer = issuer
	return ok
}

// readAttributes reads a set of Attribute, and says if it is in DER order.
func readAttributes(s cryptobyte.String) (out []attribute, sorted, ok bool) {
	elements, ok := readElements(s, maxAttributes)
	for _, e := range elements {
		el := cryptobyte.String(e)
		var body, set cryptobyte.String
		var a attribute
		if !el.ReadASN1(&body, cbasn1.SEQUENCE) || !body.ReadASN1ObjectIdentifier(&a.id) ||
			!body.ReadASN1(&set, cbasn1.SET) || !body.Empty() {
			return nil, false, false
		}
		if a.values, ok = readElements(set, maxAttributes); !ok {
			return nil, false, false
		}
		out = append(out, a)
	}
	return out, slices.IsSortedFunc(elements, bytes.Compare), ok
}

// asSet gives the content of an implicit set its universal tag.
func asSet(content []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(content) })
	return b.BytesOrPanic()
}
