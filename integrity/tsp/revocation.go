package tsp

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"sae/integrity"
)

// revocation judges every certificate of the path but the root, at genTime, by
// the CRLs and OCSP responses that the token carries.
//
// What was issued at or after genTime proves the state then for good; what was
// issued before, and was still current, proves what was known then. A
// certificate about which nothing usable is carried is not checkable. Data
// about the path whose signature is wrong fails; data about other certificates
// is not looked into.
func (v *verification) revocation() outcome {
	switch {
	case v.certs == nil:
		return notCheckable("there is no path whose certificates to judge")
	case len(v.signed.revocations) == 0:
		return notCheckable("the token carries no CRL and no OCSP response")
	case len(v.certs) == 1:
		return passed("the signer is the trust anchor itself")
	}
	var details []string
	status := integrity.OK
	for i, c := range v.certs[:len(v.certs)-1] {
		s := v.stateOf(c, v.certs[i+1])
		if s.failure != "" {
			return failed("%s: %s", c.Subject, s.failure)
		}
		if !s.good {
			status = integrity.NotCheckable
		}
		details = append(details, fmt.Sprintf("%s: %s", c.Subject, s))
	}
	if v.opaque > 0 {
		details = append(details, fmt.Sprintf("%d pieces of a kind that is not understood", v.opaque))
	}
	return outcome{status: status, detail: strings.Join(details, "; ")}
}

// state is what is known about one certificate at genTime.
type state struct {
	good    bool
	after   bool     // by a piece that was made at or after genTime
	failure string   // revoked, or a forged piece
	notes   []string // by what it is good; or why pieces were not usable
}

func (s state) String() string {
	if !s.good && len(s.notes) == 0 {
		return "nothing about it is carried"
	}
	return strings.Join(s.notes, ", ")
}

// add takes a piece's verdict in.
func (s *state) add(o outcome) {
	switch o.status {
	case integrity.Failed:
		s.failure = o.detail
	case integrity.OK:
		if !s.good {
			s.notes = nil // why others are not usable does not matter any more
		}
		s.good, s.after = true, s.after || o.after
		s.notes = append(s.notes, o.detail)
	case integrity.NotCheckable:
		if !s.good {
			s.notes = append(s.notes, o.detail)
		}
	}
}

func (v *verification) stateOf(cert, issuer *x509.Certificate) state {
	var s state
	for _, crl := range v.CRLs {
		if bytes.Equal(crl.RawIssuer, cert.RawIssuer) && sameKey(crl.AuthorityKeyId, issuer.SubjectKeyId) {
			s.add(v.judgeCRL(crl, cert, issuer))
		}
	}
	for _, der := range v.signed.ocsps {
		ids, err := parseCertIDs(der)
		if err == nil && slices.ContainsFunc(ids, func(id certID) bool { return id.names(cert, issuer) }) {
			s.add(v.judgeOCSP(der, cert, issuer))
		}
	}
	return s
}

// sameKey compares key identifiers, where both are known.
func sameKey(a, b []byte) bool { return len(a) == 0 || len(b) == 0 || bytes.Equal(a, b) }

// current says whether a piece tells the state at the time of the token: it was
// made later, or before and its issuer has promised to tell more only later.
// Times in CRLs and OCSP responses are whole seconds, and a token's time is as
// good as its accuracy.
func (t *Token) current(kind string, thisUpdate, nextUpdate time.Time) outcome {
	from := thisUpdate.UTC().Format(time.RFC3339)
	switch {
	case !thisUpdate.Before(t.Time.Truncate(time.Second)):
		o := passed("good by the %s of %s, made at or after genTime", kind, from)
		o.after = true
		return o
	case !thisUpdate.Before(t.Time.Add(-t.Accuracy).Truncate(time.Second)):
		return passed("good by the %s of %s, made at genTime, within its accuracy", kind, from)
	case !nextUpdate.IsZero() && !nextUpdate.Before(t.Time):
		return passed("good by the %s of %s, current at genTime", kind, from)
	}
	return notCheckable("the %s of %s was out of date at genTime", kind, from)
}
