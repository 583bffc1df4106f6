package tsp

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// signingHash is the digest of the tokens made here, for keys on P-256.
const signingHash = crypto.SHA256

var oidECDSAWithSHA256 = asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}

// sign makes a token over the TSTInfo (RFC 3161 section 2.4.2, RFC 5652 section
// 5), which carries the certificates and CRLs given.
func sign(info *tstInfo, cert *x509.Certificate, key crypto.Signer, certs, crls [][]byte) ([]byte, error) {
	content, err := info.marshal()
	if err != nil {
		return nil, fmt.Errorf("writing TSTInfo: %w", err)
	}
	attributes := signedAttributes(content, cert)
	var set cryptobyte.Builder
	addSet(&set, cbasn1.SET, attributes)
	signature, err := key.Sign(rand.Reader, digestOf(signingHash, set.BytesOrPanic()), signingHash)
	if err != nil {
		return nil, fmt.Errorf("signing token: %w", err)
	}
	sd := &signedData{version: 3,
		rawDigests: element(cbasn1.SET, func(b *cryptobyte.Builder) { addAlgorithm(b, oidByHash(signingHash)) }),
		rawContent: encapsulated(content),
		rawSigners: element(cbasn1.SET, func(b *cryptobyte.Builder) { addSigner(b, cert, attributes, signature) }),
	}
	return sd.marshal(certs, crls)
}

// element writes one DER element. Only lengths above 4 GiB could make it fail.
func element(tag cbasn1.Tag, content func(*cryptobyte.Builder)) []byte {
	var b cryptobyte.Builder
	b.AddASN1(tag, content)
	return b.BytesOrPanic()
}

func encapsulated(content []byte) []byte {
	return element(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addOID(b, oidTSTInfo)
		b.AddASN1(ctx(0), func(b *cryptobyte.Builder) { b.AddASN1OctetString(content) })
	})
}

// signedAttributes gives content-type, message-digest and signingCertificateV2.
func signedAttributes(content []byte, cert *x509.Certificate) [][]byte {
	return [][]byte{
		marshalAttribute(oidContentType, func(b *cryptobyte.Builder) { addOID(b, oidTSTInfo) }),
		marshalAttribute(oidMessageDigest, func(b *cryptobyte.Builder) { b.AddASN1OctetString(digestOf(signingHash, content)) }),
		marshalAttribute(oidSigningCertV2, func(b *cryptobyte.Builder) { addSigningCertificate(b, cert) }),
	}
}

func marshalAttribute(id asn1.ObjectIdentifier, value func(*cryptobyte.Builder)) []byte {
	return element(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		addOID(b, id)
		b.AddASN1(cbasn1.SET, value)
	})
}

// addSigningCertificate writes a SigningCertificateV2 (RFC 5035 section 3), with
// the default digest SHA-256, which DER leaves out.
func addSigningCertificate(b *cryptobyte.Builder, cert *x509.Certificate) {
	nest(b, func(b *cryptobyte.Builder) {
		b.AddASN1OctetString(digestOf(crypto.SHA256, cert.Raw))
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { // IssuerSerial
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1(ctx(4), func(b *cryptobyte.Builder) { b.AddBytes(cert.RawIssuer) })
			})
			b.AddASN1BigInt(cert.SerialNumber)
		})
	}, 3)
}

// nest writes the content inside a number of sequences.
func nest(b *cryptobyte.Builder, content func(*cryptobyte.Builder), depth int) {
	if depth == 0 {
		content(b)
		return
	}
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { nest(b, content, depth-1) })
}

func addSigner(b *cryptobyte.Builder, cert *x509.Certificate, attributes [][]byte, signature []byte) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(1)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(cert.RawIssuer)
			b.AddASN1BigInt(cert.SerialNumber)
		})
		addAlgorithm(b, oidByHash(signingHash))
		addSet(b, ctx(0), attributes)
		addAlgorithm(b, oidECDSAWithSHA256)
		b.AddASN1OctetString(signature)
	})
}
