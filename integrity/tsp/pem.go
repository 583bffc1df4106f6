package tsp

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// LocalPEM holds the files of an embedded authority, each PEM. Key and RootKey
// are secret. Without RootKey the authority stamps until its certificate
// expires, with the stored CRL, and nobody can make another certificate.
type LocalPEM struct {
	Key         []byte // signs tokens (PKCS #8)
	Certificate []byte // of Key
	Root        []byte // certificate of the root
	CRL         []byte // of the root, for as long as Certificate
	RootKey     []byte // PKCS #8; nil when it is not kept
}

// PEM writes the authority's files.
func (l *Local) PEM() (LocalPEM, error) {
	key, err := encodeKey(l.key)
	if err != nil {
		return LocalPEM{}, err
	}
	files := LocalPEM{Key: key, Certificate: encodePEM("CERTIFICATE", l.Certificate.Raw),
		Root: encodePEM("CERTIFICATE", l.Root.Raw), CRL: encodePEM("X509 CRL", l.crl)}
	if l.rootKey != nil {
		files.RootKey, err = encodeKey(l.rootKey)
	}
	return files, err
}

// LoadLocal reads the files that PEM wrote. It refuses files that do not belong
// together.
func LoadLocal(files LocalPEM) (*Local, error) {
	l := new(Local)
	err := errors.Join(
		decodeInto("certificate", files.Certificate, "CERTIFICATE", x509.ParseCertificate, &l.Certificate),
		decodeInto("root", files.Root, "CERTIFICATE", x509.ParseCertificate, &l.Root),
		decodeInto("CRL", files.CRL, "X509 CRL", func(der []byte) ([]byte, error) { return der, nil }, &l.crl),
		decodeInto("key", files.Key, "PRIVATE KEY", parseKey, &l.key),
	)
	if files.RootKey != nil {
		err = errors.Join(err, decodeInto("root key", files.RootKey, "PRIVATE KEY", parseKey, &l.rootKey))
	}
	if err != nil {
		return nil, err
	}
	if err := l.coherent(); err != nil {
		return nil, fmt.Errorf("loading time-stamping authority: %w", err)
	}
	return l, nil
}

func (l *Local) coherent() error {
	crl, err := x509.ParseRevocationList(l.crl)
	if err != nil {
		return fmt.Errorf("CRL: %w", err)
	}
	switch {
	case l.Root.CheckSignatureFrom(l.Root) != nil:
		return errors.New("the root is not signed by itself: it was changed")
	case l.Certificate.CheckSignatureFrom(l.Root) != nil:
		return errors.New("the certificate is not signed by the root")
	case crl.CheckSignatureFrom(l.Root) != nil:
		return errors.New("the CRL is not signed by the root")
	case !l.key.PublicKey.Equal(l.Certificate.PublicKey):
		return errors.New("the key is not that of the certificate")
	case l.rootKey != nil && !l.rootKey.PublicKey.Equal(l.Root.PublicKey):
		return errors.New("the root key is not that of the root")
	}
	return nil
}

// ParseCertificates reads PEM certificates, one at least, and nothing else.
func ParseCertificates(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("reading certificates: a block is %q", block.Type)
		}
		c, err := parseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading certificates: %w", err)
		}
		out, text = append(out, c), rest
	}
	if out == nil {
		return nil, errors.New("reading certificates: no PEM certificate")
	}
	return out, nil
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("writing key: %w", err)
	}
	return encodePEM("PRIVATE KEY", der), nil
}

func parseKey(der []byte) (*ecdsa.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("not a PKCS #8 key") // the cause could quote the key
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("not an ECDSA key")
	}
	return ec, nil
}

func decodeInto[T any](what string, text []byte, kind string, parse func([]byte) (T, error), to *T) error {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != kind {
		return fmt.Errorf("reading %s: no PEM block %q", what, kind)
	}
	v, err := parse(block.Bytes)
	if err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	*to = v
	return nil
}
