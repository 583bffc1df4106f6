package tsp

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// path is a certificate path, the signer first.
type path struct {
	certs   []*x509.Certificate // nil when there is no path
	trusted bool                // it ends in one of the roots that were given
	open    bool                // it ends in a certificate that another one issued, which is not here
	problem error               // why there is no path
}

// findPath finds a path that is valid at genTime (RFC 5280 section 6): to a
// trusted root if there is one, else to a self-signed certificate that is here,
// else as far up as the certificates reach. Signatures by SHA-1 or MD5 are not
// accepted below the root.
func (v *verification) findPath() path {
	known := v.known()
	isTop := func(c *x509.Certificate) bool { return (c.IsCA || c == v.cert) && !hasIssuer(c, known) }
	certs, err := v.pathTo(v.expect.Roots)
	if err == nil {
		return path{certs: certs, trusted: true}
	}
	problem := err
	if certs, err = v.pathTo(pool(known, selfSigned)); err == nil {
		return path{certs: certs}
	}
	if v.expect.Roots == nil {
		problem = err
	}
	if certs, err = v.pathTo(pool(known, isTop)); err == nil {
		return path{certs: certs, open: true}
	}
	return path{problem: problem}
}

func (v *verification) pathTo(roots *x509.CertPool) ([]*x509.Certificate, error) {
	if roots == nil {
		return nil, errors.New("no roots")
	}
	chains, err := v.cert.Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: pool(v.known(), isIntermediate),
		CurrentTime:   v.Time,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, err
	}
	return chains[0], nil
}

func pool(certs []*x509.Certificate, want func(*x509.Certificate) bool) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		if want(c) {
			p.AddCert(c)
		}
	}
	return p
}

// isIntermediate leaves the roots out, which the library would otherwise try to
// pass through. A CA's certificate for its own next key stays in: it has to name
// the key that signed it, which only self-signed ones need not (RFC 5280 section
// 4.2.1.1).
func isIntermediate(c *x509.Certificate) bool {
	return c.IsCA && !(selfIssued(c) && sameKey(c.AuthorityKeyId, c.SubjectKeyId))
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, c.RawSubject) }

func selfSigned(c *x509.Certificate) bool {
	return selfIssued(c) && c.CheckSignatureFrom(c) == nil
}

func hasIssuer(c *x509.Certificate, known []*x509.Certificate) bool {
	return slices.ContainsFunc(known, func(k *x509.Certificate) bool { return bytes.Equal(k.RawSubject, c.RawIssuer) })
}

func (v *verification) chain() outcome {
	switch {
	case v.cert == nil:
		return failed("the signer's certificate is not here")
	case v.certs == nil:
		return failed("%v", v.problem)
	}
	var names []string
	for i, c := range v.certs {
		if err := checkKey(c.PublicKey); err != nil {
			return failed("%s: %v", c.Subject, err)
		}
		if i > 0 && pssOnly(c) && !signedByPSS(v.certs[i-1]) {
			return failed("%s: the key is for RSASSA-PSS only", c.Subject)
		}
		names = append(names, c.Subject.String())
	}
	list := strings.Join(names, " < ")
	if v.open {
		last := v.certs[len(v.certs)-1]
		return notCheckable("%s; its issuer %s is not here", list, last.Issuer)
	}
	return passed("%s", list)
}

func (v *verification) anchor() outcome {
	switch {
	case v.trusted:
		return passed("%s", v.certs[len(v.certs)-1].Subject)
	case v.expect.Roots == nil && v.certs != nil && !v.open:
		return notCheckable("no trusted roots were given: the token's own root %s was used", v.certs[len(v.certs)-1].Subject)
	case v.expect.Roots == nil:
		return notCheckable("no trusted roots were given")
	}
	return failed("the path does not end in a trusted root")
}

var oidExtKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 37}

// extendedKeyUsage checks RFC 3161 section 2.3: present, critical, and only
// id-kp-timeStamping.
func (v *verification) extendedKeyUsage() outcome {
	if v.cert == nil {
		return failed("the signer's certificate is not here")
	}
	i := slices.IndexFunc(v.cert.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidExtKeyUsage) })
	switch {
	case i < 0:
		return failed("the certificate has none")
	case !v.cert.Extensions[i].Critical:
		return failed("not critical")
	case len(v.cert.UnknownExtKeyUsage) > 0 || !slices.Equal(v.cert.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}):
		return failed("not only time-stamping")
	}
	return passed("")
}

// certificate checks that the signer is no authority for certificates, that its
// key is for signing and nothing else if the certificate says so (ETSI EN 319
// 422 section 6), and that the token's tsa is its name (RFC 3161 section 2.4.2).
func (v *verification) certificate() outcome {
	if v.cert == nil {
		return failed("not here")
	}
	const signing = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment
	switch use := v.cert.KeyUsage; {
	case v.cert.IsCA:
		return failed("it is the certificate of a CA")
	case use != 0 && use&signing == 0:
		return failed("its key is not for signing")
	case use&^signing != 0:
		return failed("its key is for more than signing")
	case v.info.tsa != nil && !isNameOf(v.info.tsa, v.cert):
		return failed("the token's tsa is another name")
	}
	return passed("%s", v.cert.Subject)
}

// isNameOf says whether a GeneralName is the subject of the certificate or one
// of its alternative names. Names are compared as text, because authorities
// write them with other string types than the certificate's.
func isNameOf(general []byte, c *x509.Certificate) bool {
	s := cryptobyte.String(general)
	var name cryptobyte.String
	if !s.PeekASN1Tag(ctx(4)) {
		return isAlternativeName(general, c)
	}
	if !s.ReadASN1(&name, ctx(4)) {
		return false
	}
	var rdn pkix.RDNSequence
	if rest, err := asn1.Unmarshal(name, &rdn); err != nil || len(rest) > 0 {
		return false
	}
	var subject pkix.RDNSequence
	_, err := asn1.Unmarshal(c.RawSubject, &subject)
	return bytes.Equal(name, c.RawSubject) || err == nil && rdn.String() == subject.String()
}

func isAlternativeName(general []byte, c *x509.Certificate) bool {
	i := slices.IndexFunc(c.Extensions, func(e pkix.Extension) bool {
		return e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 17})
	})
	if i < 0 {
		return false
	}
	s := cryptobyte.String(c.Extensions[i].Value)
	var list cryptobyte.String
	if !s.ReadASN1(&list, cbasn1.SEQUENCE) {
		return false
	}
	names, _ := readElements(list, maxExtensions)
	return slices.ContainsFunc(names, func(n []byte) bool { return bytes.Equal(n, general) })
}

// certificates refuses duplicates and names what the path does not use. Those
// of responders and CRL issuers are among the unused.
func (v *verification) certificates() outcome {
	var unused []string
	seen := make(map[string]bool)
	for _, c := range v.Certificates {
		if seen[string(c.Raw)] {
			return failed("%s is there twice", c.Subject)
		}
		seen[string(c.Raw)] = true
		if !slices.ContainsFunc(v.certs, c.Equal) {
			unused = append(unused, c.Subject.String())
		}
	}
	if n := len(v.signed.otherCerts); n > 0 {
		return passed("%d in formats that are not looked into; unused: %s", n, strings.Join(unused, "; "))
	}
	if unused != nil {
		return passed("unused: %s", strings.Join(unused, "; "))
	}
	return passed("%d, all used", len(v.Certificates))
}
