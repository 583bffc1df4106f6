package tsp

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"

	"sae/integrity"
)

// The names of the checks, in the order in which Verify reports them.
const (
	CheckContentType  = "token content type"       // a TSTInfo without critical extensions (RFC 3161 section 2.4.2)
	CheckSigner       = "token signer"             // exactly one SignerInfo (section 2.4.2)
	CheckAttributes   = "token signed attributes"  // (RFC 5652 section 11, RFC 5816 section 2.2.1)
	CheckAlgorithms   = "token algorithms"         // none is broken or too weak
	CheckSignature    = "token signature"          // over the signed attributes (RFC 5652 section 5.4)
	CheckESSCertID    = "ESSCertID"                // names the signer's certificate (RFC 5816 section 2.2.1)
	CheckEKU          = "token EKU"                // critical and time-stamping only (RFC 3161 section 2.3)
	CheckCertificate  = "token signer certificate" // no CA, its key signs, its name is the token's tsa
	CheckChain        = "token chain"              // a path, valid at genTime (RFC 5280 section 6)
	CheckAnchor       = "trust anchor"             // the path ends in a trusted root
	CheckImprint      = "imprint"                  // is the expected one (RFC 3161 section 2.4.2)
	CheckNonce        = "nonce"                    // is the expected one, if one is
	CheckPolicy       = "policy"                   // is among the expected ones, if there are any
	CheckRevocation   = "revocation"               // by the CRLs and OCSP responses carried (RFC 3161 section 4)
	CheckCertificates = "token certificates"       // no duplicates; those that the path does not use are named
)

// Expect is what a token is verified against.
type Expect struct {
	Target   string                  // copied into each check
	Hash     crypto.Hash             // of the data
	Imprint  []byte                  // the hash of the data
	Nonce    *big.Int                // of the request; nil when any nonce, or none, will do
	Policies []asn1.ObjectIdentifier // that are acceptable; empty when any is
	// Roots are the trusted certificates. When nil, a path may end in any
	// self-signed certificate that the token carries; the check "trust anchor"
	// is then not checkable.
	Roots *x509.CertPool
	Extra []*x509.Certificate // for the path, beside those that the token carries
}

// Verify makes all checks and reports each, in the order of their constants.
func (t *Token) Verify(e Expect) []integrity.Check {
	v := newVerification(t, e)
	var out []integrity.Check
	for _, step := range []struct {
		name string
		do   func() outcome
	}{
		{CheckContentType, v.contentType},
		{CheckSigner, v.oneSigner},
		{CheckAttributes, v.attributes},
		{CheckAlgorithms, v.algorithms},
		{CheckSignature, v.signature},
		{CheckESSCertID, v.essCertID},
		{CheckEKU, v.extendedKeyUsage},
		{CheckCertificate, v.certificate},
		{CheckChain, v.chain},
		{CheckAnchor, v.anchor},
		{CheckImprint, v.imprint},
		{CheckNonce, v.nonce},
		{CheckPolicy, v.policy},
		{CheckRevocation, v.revocation},
		{CheckCertificates, v.certificates},
	} {
		o := step.do()
		out = append(out, integrity.Check{Name: step.name, Target: e.Target, Status: o.status, Detail: o.detail})
	}
	return out
}

// outcome is a check without its name.
type outcome struct {
	status integrity.Status
	detail string
	after  bool // of revocation data: made at or after genTime
}

func passed(format string, args ...any) outcome {
	return outcome{status: integrity.OK, detail: fmt.Sprintf(format, args...)}
}

func failed(format string, args ...any) outcome {
	return outcome{status: integrity.Failed, detail: fmt.Sprintf(format, args...)}
}

func notCheckable(format string, args ...any) outcome {
	return outcome{status: integrity.NotCheckable, detail: fmt.Sprintf(format, args...)}
}

// verification is what the checks of one token share.
type verification struct {
	*Token
	expect Expect
	signer signerInfo // the first one; empty when there is none
	ess    []essCertID
	cert   *x509.Certificate // the signer's; nil when it is not here
	path
}

func newVerification(t *Token, e Expect) *verification {
	v := withSigner(t, e)
	if v.cert != nil {
		v.path = v.findPath()
	}
	return v
}

// withSigner finds the signer and its certificate only.
func withSigner(t *Token, e Expect) *verification {
	v := &verification{Token: t, expect: e}
	if len(t.signed.signers) > 0 {
		v.signer = t.signed.signers[0]
	}
	v.ess, _ = v.signer.essCertIDs() // an error is reported by the check of the attributes
	for _, c := range v.known() {
		if v.cert == nil && v.signer.names(c) || v.bound(c) {
			v.cert = c
		}
	}
	return v
}

// bound says that the signer names the certificate, and the signed attributes
// bind it: of several with that name, this one is meant.
func (v *verification) bound(c *x509.Certificate) bool {
	return v.signer.names(c) && len(v.ess) > 0 && v.ess[0].names(c) == nil
}

// known gives all certificates that are here.
func (v *verification) known() []*x509.Certificate {
	return slices.Concat(v.Certificates, v.expect.Extra)
}

func (si *signerInfo) names(c *x509.Certificate) bool {
	if si.serial != nil {
		return bytes.Equal(si.issuer, c.RawIssuer) && si.serial.Cmp(c.SerialNumber) == 0
	}
	return len(si.keyID) > 0 && bytes.Equal(si.keyID, c.SubjectKeyId)
}

func (v *verification) contentType() outcome {
	switch {
	case !v.signed.contentType.Equal(oidTSTInfo):
		return failed("the content is %v, not a TSTInfo", v.signed.contentType)
	case len(v.info.critical) > 0:
		return failed("extension %v is critical and unknown", v.info.critical[0])
	}
	return passed("")
}

func (v *verification) oneSigner() outcome {
	if n := len(v.signed.signers); n != 1 {
		return failed("%d signers", n)
	}
	return passed("")
}

func (v *verification) algorithms() outcome {
	digest, err := v.signer.digest.digest()
	if err != nil {
		return failed("signer: %v", err)
	}
	if !slices.ContainsFunc(v.signed.digests, func(a algorithm) bool { return a.oid.Equal(v.signer.digest.oid) && a.plain() }) {
		return failed("the signer's digest %v is not announced", digest)
	}
	s, err := schemeOf(v.signer.scheme, digest)
	if err != nil {
		return failed("%v", err)
	}
	hash, err := v.info.imprint.alg.digest()
	if err != nil {
		return failed("imprint: %v", err)
	}
	for _, h := range []crypto.Hash{digest, s.hash, hash} {
		if err := acceptedAt(h, v.Time); err != nil {
			return failed("%v", err)
		}
	}
	if v.cert == nil {
		return failed("the signer's certificate, and so its key, is not here")
	}
	if err := checkKey(v.cert.PublicKey); err != nil {
		return failed("signer: %v", err)
	}
	if s.family != familyPSS && pssOnly(v.cert) {
		return failed("signer: the key is for RSASSA-PSS only")
	}
	return passed("%v, %v", v.cert.PublicKeyAlgorithm, digest)
}

func (v *verification) signature() outcome {
	if v.cert == nil {
		return failed("the signer's certificate is not here")
	}
	digest, err := v.signer.digest.digest()
	if err != nil {
		return failed("%v", err)
	}
	s, err := schemeOf(v.signer.scheme, digest)
	if err != nil {
		return failed("%v", err)
	}
	message := v.signer.signed
	if message == nil {
		message = v.signed.content // RFC 5652 section 5.4
	}
	if err := s.verify(v.cert.PublicKey, message, v.signer.signature); err != nil {
		return failed("%v", err)
	}
	return passed("")
}

func (v *verification) imprint() outcome {
	e := v.expect
	switch {
	case e.Imprint == nil:
		return notCheckable("no imprint was given to compare with")
	case v.Hash == 0 || e.Hash != v.Hash:
		return failed("under digest algorithm %v, not under the expected one", v.info.imprint.alg.oid)
	case len(v.Imprint) != v.Hash.Size() || !bytes.Equal(e.Imprint, v.Imprint):
		return failed("the token stamps other data")
	}
	return passed("")
}

func (v *verification) nonce() outcome {
	switch {
	case v.expect.Nonce == nil:
		return passed("none is expected")
	case v.Nonce == nil:
		return failed("the token has none")
	case v.Nonce.Cmp(v.expect.Nonce) != 0:
		return failed("of another request")
	}
	return passed("")
}

func (v *verification) policy() outcome {
	if len(v.expect.Policies) > 0 && !slices.ContainsFunc(v.expect.Policies, v.Policy.Equal) {
		return failed("%v is not among the expected ones", v.Policy)
	}
	return passed("%v", v.Policy)
}
