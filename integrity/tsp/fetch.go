package tsp

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/crypto/ocsp"

	"sae/integrity"
)

// The bounds of what is fetched for one token.
const (
	maxIssuers     = 8 // certificates
	maxURLs        = 4 // that are tried for one thing
	maxCertificate = 64 << 10
	maxCRL         = 16 << 20
	maxOCSP        = 64 << 10
)

// completion collects what a token lacks.
type completion struct {
	*Client
	ctx    context.Context
	token  *Token
	expect Expect
	notes  []string
}

func (m *completion) addRevocations() {
	certs := newVerification(m.token, m.expect).certs
	for i := 0; i+1 < len(certs); i++ {
		m.addRevocation(certs[i], certs[i+1])
	}
}

func (m *completion) note(format string, args ...any) {
	m.notes = append(m.notes, fmt.Sprintf(format, args...))
}

// add puts data into the token, unless it does not fit.
func (m *completion) add(what string, certs []*x509.Certificate, crls, ocsps [][]byte) bool {
	t, err := m.token.With(certs, crls, ocsps)
	if err != nil {
		m.note("%s: %v", what, err)
		return false
	}
	m.token = t
	return true
}

// addIssuers puts the path's certificates into the token: those that are known
// here, and those that the authority information access of the last one leads
// to (RFC 5280 section 4.2.2.1).
func (m *completion) addIssuers() {
	for range maxIssuers {
		v := newVerification(m.token, m.expect)
		if v.certs == nil || !v.open {
			m.add("path", v.certs, nil, nil)
			return
		}
		last := v.certs[len(v.certs)-1]
		issuer, err := m.fetchIssuer(last)
		if err != nil {
			m.note("issuer of %s: %v", last.Subject, err)
			return
		}
		if slices.ContainsFunc(m.token.Certificates, issuer.Equal) || !m.add("issuer", []*x509.Certificate{issuer}, nil, nil) {
			return
		}
	}
}

func (m *completion) fetchIssuer(of *x509.Certificate) (*x509.Certificate, error) {
	return firstOf(of.IssuingCertificateURL, func(url string) (*x509.Certificate, error) {
		body, err := m.get(url, maxCertificate)
		if err != nil {
			return nil, err
		}
		if block, _ := pem.Decode(body); block != nil {
			body = block.Bytes
		}
		c, err := parseCertificate(body)
		if err != nil {
			return nil, err
		}
		return c, of.CheckSignatureFrom(c)
	})
}

// addRevocation puts a CRL into the token, or an OCSP response when there is no
// CRL: every tool reads CRLs in a token, few read OCSP responses. Nothing is
// fetched when what the token carries was made after its time.
func (m *completion) addRevocation(cert, issuer *x509.Certificate) {
	v := newVerification(m.token, m.expect)
	if s := v.stateOf(cert, issuer); s.good && s.after {
		return
	}
	crl, err := m.fetchCRL(cert, issuer)
	if err == nil && m.add("CRL of "+issuer.Subject.String(), nil, [][]byte{crl}, nil) {
		return
	}
	if err != nil {
		m.note("CRL of %s: %v", issuer.Subject, err)
	}
	response, err := m.fetchOCSP(cert, issuer)
	if err != nil {
		m.note("OCSP response about %s: %v", cert.Subject, err)
		return
	}
	m.add("OCSP response about "+cert.Subject.String(), nil, nil, [][]byte{response})
}

// fetchCRL gets a CRL that tells about the certificate: it may say that it is
// revoked.
func (m *completion) fetchCRL(cert, issuer *x509.Certificate) ([]byte, error) {
	return firstOf(cert.CRLDistributionPoints, func(url string) ([]byte, error) {
		body, err := m.get(url, maxCRL)
		if err != nil {
			return nil, err
		}
		if block, _ := pem.Decode(body); block != nil {
			body = block.Bytes
		}
		crl, err := x509.ParseRevocationList(body)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(crl.RawIssuer, cert.RawIssuer) {
			return nil, errors.New("the CRL is of another issuer")
		}
		if err := crl.CheckSignatureFrom(issuer); err != nil {
			return nil, err
		}
		return body, checkDER(body)
	})
}

func (m *completion) fetchOCSP(cert, issuer *x509.Certificate) ([]byte, error) {
	query, err := ocsp.CreateRequest(cert, issuer, nil)
	if err != nil {
		return nil, err
	}
	return firstOf(cert.OCSPServer, func(url string) ([]byte, error) {
		req, err := m.request(http.MethodPost, url, query)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/ocsp-request")
		body, err := m.do(req, maxOCSP, "application/ocsp-response")
		if err != nil {
			return nil, err
		}
		ids, err := parseCertIDs(body)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(ids, func(id certID) bool { return id.names(cert, issuer) }) {
			return nil, errors.New("the response is about another certificate")
		}
		r, err := ocsp.ParseResponseForCert(body, cert, nil)
		if err != nil {
			return nil, err
		}
		if o := authorized(r, issuer); o.status != integrity.OK {
			return nil, errors.New(o.detail)
		}
		return body, checkDER(body)
	})
}

func (m *completion) get(url string, limit int64) ([]byte, error) {
	req, err := m.request(http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return m.do(req, limit)
}

// request makes a request to an address that a certificate in the token names,
// without the password of the authority.
func (m *completion) request(method, url string, body []byte) (*http.Request, error) {
	return http.NewRequestWithContext(m.ctx, method, url, bytes.NewReader(body))
}

// firstOf tries the web addresses in turn.
func firstOf[T any](urls []string, try func(url string) (T, error)) (T, error) {
	var none T
	errs := []error{errors.New("not to be had")}
	tried := 0
	for _, u := range urls {
		if !strings.HasPrefix(u, "http://") && !strings.HasPrefix(u, "https://") || tried == maxURLs {
			continue
		}
		tried++
		v, err := try(u)
		if err == nil {
			return v, nil
		}
		errs = append(errs, err)
	}
	return none, errors.Join(errs...)
}
