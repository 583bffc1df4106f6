package tsp

import (
	"bytes"
	"crypto/x509"
	"slices"

	"golang.org/x/crypto/ocsp"

	"sae/integrity"
)

// judgeOCSP says what an OCSP response says about the certificate (RFC 6960
// section 3.2). The response names the certificate and issuer already.
func (t *Token) judgeOCSP(der []byte, cert, issuer *x509.Certificate) outcome {
	r, err := ocsp.ParseResponseForCert(der, cert, nil)
	if err != nil {
		return failed("the OCSP response: %v", err)
	}
	if o := authorized(r, issuer); o.status != integrity.OK {
		return o
	}
	switch {
	case r.Status == ocsp.Revoked && r.RevocationReason == ocsp.Unspecified:
		// The library gives an absent reason as unspecified: the stricter
		// reading holds.
		return judgeRevoked(r.RevokedAt, absentReason, t.Time)
	case r.Status == ocsp.Revoked:
		if o := judgeRevoked(r.RevokedAt, r.RevocationReason, t.Time); o.status != integrity.OK {
			return o
		}
	case r.Status != ocsp.Good:
		return notCheckable("the OCSP responder does not know it")
	case r.ThisUpdate.After(cert.NotAfter):
		return notCheckable("the OCSP response was made after the certificate expired")
	}
	return t.current("OCSP response", r.ThisUpdate, r.NextUpdate)
}

// authorized checks that the issuer signed the response, or a responder that
// the issuer named for it (RFC 6960 section 4.2.2.2). A responder that is
// trusted otherwise is not checkable here.
func authorized(r *ocsp.Response, issuer *x509.Certificate) outcome {
	c := r.Certificate
	switch {
	case c == nil:
		if err := r.CheckSignatureFrom(issuer); err != nil {
			return failed("the OCSP response is not signed by %s: %v", issuer.Subject, err)
		}
	case c.Equal(issuer): // the library checked its signature
	case !bytes.Equal(c.RawIssuer, issuer.RawSubject):
		return notCheckable("the OCSP responder %s is not named by %s", c.Subject, issuer.Subject)
	case c.CheckSignatureFrom(issuer) != nil:
		return failed("the OCSP responder's certificate is not signed by %s", issuer.Subject)
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return failed("%s may not sign OCSP responses", c.Subject)
	case r.ProducedAt.Before(c.NotBefore) || r.ProducedAt.After(c.NotAfter):
		return failed("the OCSP responder's certificate was not valid")
	}
	return passed("")
}
