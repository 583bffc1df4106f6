package archive

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sae/integrity/tsp"
)

// authority is a configured time-stamping authority.
type authority struct {
	name    string
	stamp   tsp.Authority
	timeout time.Duration // of one try
	tries   int
	roots   func() ([]*x509.Certificate, error) // what its tokens chain to; nil: unknown
}

// newAuthorities makes the configured authorities; one that cannot be set up is
// kept, and fails when it is asked.
func (a *Archive) newAuthorities(given []tsp.Authority) (out []authority) {
	for i, s := range given {
		out = append(out, authority{name: fmt.Sprintf("given-%d", i+1), stamp: s, timeout: time.Minute, tries: 1})
	}
	if given != nil {
		return out
	}
	for _, c := range a.config.Authority {
		auth := authority{name: c.Name, timeout: c.Timeout, tries: c.Tries}
		if auth.timeout == 0 {
			auth.timeout = 15 * time.Second
		}
		if auth.tries == 0 {
			auth.tries = 3
		}
		if c.Embedded {
			auth.stamp, auth.roots = a.embedded(), a.embeddedRoots
		} else {
			auth.stamp, auth.roots = a.remote(c), func() ([]*x509.Certificate, error) { return readCertificates(c.Roots) }
		}
		out = append(out, auth)
	}
	return out
}

// embedded stamps with the archive's own authority, which is not qualified.
func (a *Archive) embedded() tsp.Authority {
	return func(ctx context.Context, h crypto.Hash, imprint []byte) (*tsp.Token, error) {
		local, err := a.loadEmbedded()
		if err != nil {
			return nil, err
		}
		return local.Timestamp(ctx, h, imprint)
	}
}

// loadEmbedded reads the embedded authority's keys and certificates.
func (a *Archive) loadEmbedded() (*tsp.Local, error) {
	var files tsp.LocalPEM
	for _, f := range []struct {
		name string
		to   *[]byte
	}{{tsaKeyFile, &files.Key}, {tsaCertFile, &files.Certificate}, {tsaCAFile, &files.Root}, {tsaCRLFile, &files.CRL}} {
		b, err := os.ReadFile(filepath.Join(a.dir, f.name))
		if err != nil {
			return nil, &DamagedError{What: "embedded time-stamping authority", Where: filepath.Join(a.dir, f.name), Err: err}
		}
		*f.to = b
	}
	local, err := tsp.LoadLocal(files)
	if err != nil {
		// Files that do not belong together do not say which of them is wrong.
		where := strings.Join([]string{tsaKeyFile, tsaCertFile, tsaCAFile, tsaCRLFile}, ", ")
		return nil, &DamagedError{What: "embedded time-stamping authority", Where: "one of " + where, Err: err}
	}
	return local, nil
}

func (a *Archive) embeddedRoots() ([]*x509.Certificate, error) {
	return readCertificates(filepath.Join(a.dir, tsaCAFile))
}

// remote stamps with an authority on the network.
func (a *Archive) remote(c AuthorityConf) tsp.Authority {
	return func(ctx context.Context, h crypto.Hash, imprint []byte) (*tsp.Token, error) {
		certs, err := readCertificates(c.Roots)
		if err != nil {
			return nil, err
		}
		client := &tsp.Client{URL: c.URL, Roots: x509.NewCertPool(), User: c.User, Log: a.log}
		for _, cert := range certs {
			client.Roots.AddCert(cert)
		}
		if c.Password != "" {
			b, err := os.ReadFile(c.Password)
			if err != nil {
				return nil, fmt.Errorf("reading password file: %w", err)
			}
			client.Password = strings.TrimSpace(string(b))
		}
		return client.Timestamp(ctx, h, imprint)
	}
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading certificates: %w", err)
	}
	certs, err := tsp.ParseCertificates(b)
	if err != nil {
		return nil, fmt.Errorf("reading certificates in %s: %w", path, err)
	}
	return certs, nil
}

// try asks the authority up to its number of tries, waiting 1, 2, 4... seconds
// between them.
func (auth authority) try(ctx context.Context, imprint []byte) (*tsp.Token, error) {
	var errs []error
	for n := range auth.tries {
		if n > 0 {
			select {
			case <-time.After(time.Second << (n - 1)):
			case <-ctx.Done():
				return nil, errors.Join(append(errs, ctx.Err())...)
			}
		}
		one, cancel := context.WithTimeout(ctx, auth.timeout)
		token, err := auth.stamp(one, crypto.SHA256, imprint)
		cancel()
		if err == nil {
			return token, nil
		}
		errs = append(errs, fmt.Errorf("try %d: %w", n+1, err))
	}
	return nil, errors.Join(errs...)
}
