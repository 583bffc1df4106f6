package tsp

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"math/big"
	"time"

	"golang.org/x/crypto/ocsp"
)

// MaxToken bounds the size of a token, with all that was put into it.
const MaxToken = 1 << 20

// maxRSA bounds the keys that are ever computed with.
const maxRSA = 16384

// Token is a parsed TimeStampToken (RFC 3161 section 2.4.2): a ContentInfo that
// holds a SignedData over a TSTInfo. Parsed means well-formed and nothing more:
// a Token proves nothing before Verify.
type Token struct {
	Raw      []byte                // the ContentInfo in DER
	Time     time.Time             // genTime, in UTC
	Accuracy time.Duration         // zero when the token does not say
	Policy   asn1.ObjectIdentifier // under which the authority made it
	Serial   *big.Int              // of the token
	Nonce    *big.Int              // nil when there is none
	Hash     crypto.Hash           // of the imprint; zero when it is not accepted
	Imprint  []byte                // the hash that is stamped

	Certificates []*x509.Certificate    // carried, in their order
	CRLs         []*x509.RevocationList // carried
	OCSP         []*ocsp.Response       // carried and readable; for its first certificate if for several

	info   *tstInfo
	signed *signedData
	opaque int // carried revocation data of a kind not known here
}

// Parse reads a bare token: at most MaxToken bytes of DER, without trailing
// bytes. The error is a *ParseError.
func Parse(der []byte) (*Token, error) {
	if len(der) > MaxToken {
		return nil, unacceptable("TimeStampToken", "too large")
	}
	if err := checkDER(der); err != nil {
		return nil, unacceptable("TimeStampToken", err.Error())
	}
	// The caller's bytes may change later, a token's may not.
	der = append([]byte(nil), der...)
	sd, err := parseSignedData(der)
	if err != nil {
		return nil, err
	}
	info, err := parseTSTInfo(sd.content)
	if err != nil {
		return nil, err
	}
	t := &Token{Raw: der, info: info, signed: sd,
		Time: info.time, Accuracy: info.accuracy, Policy: info.policy, Serial: info.serial, Nonce: info.nonce,
		Imprint: info.imprint.hashed}
	t.Hash, _ = info.imprint.alg.digest()
	if err := t.parseCarried(); err != nil {
		return nil, err
	}
	return t, nil
}

// parseCarried parses certificates and revocation data.
func (t *Token) parseCarried() error {
	for _, der := range t.signed.certificates {
		cert, err := parseCertificate(der)
		if err != nil {
			return unacceptable("Certificate", err.Error())
		}
		if key, isRSA := cert.PublicKey.(*rsa.PublicKey); isRSA && key.N.BitLen() > maxRSA {
			return unacceptable("Certificate", "RSA key too large")
		}
		t.Certificates = append(t.Certificates, cert)
	}
	for _, der := range t.signed.crls {
		crl, err := x509.ParseRevocationList(der)
		if err != nil {
			return unacceptable("CertificateList", err.Error())
		}
		t.CRLs = append(t.CRLs, crl)
	}
	for _, der := range t.signed.ocsps {
		ids, err := parseCertIDs(der)
		if err != nil {
			return err
		}
		// A response that cannot be checked here, for its signature algorithm
		// for instance, is kept and said to be unread.
		serial := &x509.Certificate{SerialNumber: ids[0].serial}
		if r, err := ocsp.ParseResponseForCert(der, serial, nil); err == nil {
			t.OCSP = append(t.OCSP, r)
		}
	}
	t.opaque = len(t.signed.revocations) - len(t.signed.crls) - len(t.OCSP)
	return nil
}

// Signer gives the certificate of the token's signer, nil when the token does
// not carry it. What the certificate is worth, Verify says.
func (t *Token) Signer() *x509.Certificate {
	return withSigner(t, Expect{}).cert
}
