package tsp

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// With gives a token that also carries the certificates, the CRLs and the OCSP
// responses (each an OCSPResponse, as RFC 5940 section 2.1 wants) given, in DER.
// What it carries already is not added twice. The signature does not cover this
// part, so that it remains good; the hash of the token changes, so that it has to
// be done before the token is stored or covered by another one.
//
// Tokens with OCSP responses have CMS version 5, which tools that know PKCS #7
// only, openssl ts among them, do not read: prefer CRLs.
//
// It refuses data that cannot be parsed, and a token above MaxToken. When there
// is nothing to add it gives the token itself.
func (t *Token) With(certs []*x509.Certificate, crls, ocsps [][]byte) (*Token, error) {
	if err := readable(crls, ocsps); err != nil {
		return nil, fmt.Errorf("adding to token: %w", err)
	}
	sd := *t.signed
	set := slices.Concat(sd.certificates, sd.otherCerts)
	revocations := slices.Clone(sd.revocations)
	before := len(set) + len(revocations)
	for _, c := range certs {
		set = appendNew(set, sd.certificates, c.Raw, c.Raw)
	}
	for _, crl := range crls {
		revocations = appendNew(revocations, sd.crls, crl, crl)
	}
	for _, o := range ocsps {
		n := len(revocations)
		if revocations = appendNew(revocations, sd.ocsps, o, otherRevocation(o)); len(revocations) > n {
			sd.version = 5 // RFC 5652 section 5.1
		}
	}
	if len(set)+len(revocations) == before {
		return t, nil
	}
	return sd.reparse(set, revocations)
}

// readable refuses what is not exactly one CRL or one OCSP response.
func readable(crls, ocsps [][]byte) error {
	for _, der := range crls {
		crl, err := x509.ParseRevocationList(der)
		if err != nil {
			return unacceptable("CertificateList", err.Error())
		}
		if len(crl.Raw) != len(der) { // the library does not mind
			return unacceptable("CertificateList", "trailing bytes")
		}
	}
	for _, der := range ocsps {
		if _, err := parseCertIDs(der); err != nil {
			return err
		}
	}
	return nil
}

// reparse writes the token with other sets, and reads it.
func (sd *signedData) reparse(certs, revocations [][]byte) (*Token, error) {
	der, err := sd.marshal(certs, revocations)
	if err != nil {
		return nil, fmt.Errorf("adding to token: %w", err)
	}
	t, err := Parse(der)
	if err != nil {
		return nil, fmt.Errorf("adding to token: %w", err)
	}
	return t, nil
}

// appendNew appends an element, unless what it stands for is there already.
func appendNew(set, have [][]byte, what, element []byte) [][]byte {
	if slices.ContainsFunc(have, func(h []byte) bool { return bytes.Equal(h, what) }) {
		return set
	}
	return append(set, element)
}

func otherRevocation(ocsp []byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(ctx(1), func(b *cryptobyte.Builder) {
		addOID(b, oidOCSPResponse)
		b.AddBytes(ocsp)
	})
	return b.BytesOrPanic()
}

// marshal writes the ContentInfo around the digests, content and signers as
// they stand.
func (sd *signedData) marshal(certs, revocations [][]byte) ([]byte, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addOID(b, oidSignedData)
		b.AddASN1(ctx(0), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1Int64(sd.version)
				b.AddBytes(sd.rawDigests)
				b.AddBytes(sd.rawContent)
				addSet(b, ctx(0), certs)
				addSet(b, ctx(1), revocations)
				b.AddBytes(sd.rawSigners)
			})
		})
	})
	return b.Bytes()
}

// addSet writes a SET OF in DER order without duplicates (X.690 section 11.6),
// and nothing when it is empty.
func addSet(b *cryptobyte.Builder, tag cbasn1.Tag, elements [][]byte) {
	if len(elements) == 0 {
		return
	}
	sorted := slices.SortedFunc(slices.Values(elements), bytes.Compare)
	sorted = slices.CompactFunc(sorted, bytes.Equal)
	b.AddASN1(tag, func(b *cryptobyte.Builder) {
		for _, e := range sorted {
			b.AddBytes(e)
		}
	})
}
