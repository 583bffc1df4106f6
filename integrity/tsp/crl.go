package tsp

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"sae/integrity"
)

// judgeCRL says what a CRL of the issuer says about the certificate (RFC 5280
// section 6.3).
func (t *Token) judgeCRL(crl *x509.RevocationList, cert, issuer *x509.Certificate) outcome {
	if err := crl.CheckSignatureFrom(issuer); err != nil {
		return failed("the CRL is not signed by %s: %v", issuer.Subject, err)
	}
	for _, e := range crl.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(cert.SerialNumber) == 0 {
			if o := judgeEntry(e, t.Time); o.status != integrity.OK {
				return o
			}
		}
	}
	if why := unusableCRL(crl, cert); why != "" {
		return notCheckable("%s", why)
	}
	return t.current("CRL", crl.ThisUpdate, crl.NextUpdate)
}

func judgeEntry(e x509.RevocationListEntry, at time.Time) outcome {
	reason := absentReason
	for _, x := range e.Extensions {
		switch {
		case x.Id.Equal(oidReasonCode):
			reason = e.ReasonCode
		case x.Critical:
			return notCheckable("the CRL has an entry that is not understood")
		}
	}
	return judgeRevoked(e.RevocationTime, reason, at)
}

const absentReason = -1

var oidReasonCode = asn1.ObjectIdentifier{2, 5, 29, 21}

// judgeRevoked applies RFC 3161 section 4: a token made before the revocation
// stays good only when a reason is given, and the reason says that the key was
// not compromised. Otherwise all tokens of the key are void, the earlier too.
// The same is applied to the certificates above the signer's.
func judgeRevoked(when time.Time, reason int, at time.Time) outcome {
	const unspecified, affiliationChanged, superseded, cessation = 0, 3, 4, 5
	switch reason {
	case unspecified, affiliationChanged, superseded, cessation:
		if at.Before(when) {
			return passed("revoked later, at %s, for reason %d", when.UTC().Format(time.RFC3339), reason)
		}
	case absentReason:
		return failed("revoked at %s without a reason: all its tokens are void", when.UTC().Format(time.RFC3339))
	default:
		return failed("revoked at %s for reason %d: all its tokens are void", when.UTC().Format(time.RFC3339), reason)
	}
	return failed("revoked at %s for reason %d, before genTime", when.UTC().Format(time.RFC3339), reason)
}

// unusableCRL says why a CRL does not tell about the certificate, if so: it
// covers others, has critical extensions that are not understood, or was made
// when the certificate had expired and need not be listed any more.
func unusableCRL(crl *x509.RevocationList, cert *x509.Certificate) string {
	expired := crl.ThisUpdate.After(cert.NotAfter)
	for _, e := range crl.Extensions {
		switch {
		case e.Id.Equal(oidIssuingPoint):
			if !pointCovers(e.Value, cert) {
				return "the CRL covers other certificates"
			}
		case e.Id.Equal(oidExpiredOnCRL):
			from, ok := readGeneralizedTime(e.Value)
			expired = expired && (!ok || from.After(cert.NotAfter))
		case e.Critical:
			return fmt.Sprintf("the CRL has the critical extension %v", e.Id)
		}
	}
	if expired {
		return "the CRL was made after the certificate expired"
	}
	return ""
}

var (
	oidIssuingPoint = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidExpiredOnCRL = asn1.ObjectIdentifier{2, 5, 29, 60} // X.509 section 9.5.2.8
)

// pointCovers reads an IssuingDistributionPoint (RFC 5280 section 5.2.5).
func pointCovers(der []byte, cert *x509.Certificate) bool {
	s := cryptobyte.String(der)
	var body cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) || !s.Empty() {
		return false
	}
	elements, ok := readElements(body, 8)
	for _, e := range elements {
		switch e[0] {
		case byte(ctx(0)): // a part of the issuer's list, by its place
			ok = ok && sharesPoint(e, cert)
		case byte(ctxSimple(1)): // end entities only
			ok = ok && !cert.IsCA
		case byte(ctxSimple(2)): // CAs only
			ok = ok && cert.IsCA
		default: // some reasons only, indirect, attribute certificates only
			ok = false
		}
	}
	return ok
}

// sharesPoint says whether a DistributionPointName holds a URI at which the
// certificate says that its CRL is. Names of other kinds are not compared.
func sharesPoint(der []byte, cert *x509.Certificate) bool {
	s := cryptobyte.String(der)
	var point, names cryptobyte.String
	if !s.ReadASN1(&point, ctx(0)) || !s.Empty() || !point.ReadASN1(&names, ctx(0)) || !point.Empty() {
		return false
	}
	for !names.Empty() {
		var name cryptobyte.String
		var tag cbasn1.Tag
		if !names.ReadAnyASN1(&name, &tag) {
			return false
		}
		if tag == ctxSimple(6) && slices.Contains(cert.CRLDistributionPoints, string(name)) {
			return true
		}
	}
	return false
}

func readGeneralizedTime(der []byte) (time.Time, bool) {
	s := cryptobyte.String(der)
	var body cryptobyte.String
	if !s.ReadASN1(&body, cbasn1.GeneralizedTime) || !s.Empty() {
		return time.Time{}, false
	}
	return parseTime(string(body))
}
