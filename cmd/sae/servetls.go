package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"sae/archive/serving"
)

// transportOf is how connections are protected; nil without TLS, which is for a proxy on the same
// machine, or for evaluation.
func transportOf(c *serving.Config, dev bool) (*tls.Config, error) {
	if c.Plain {
		for key, addr := range map[string]string{"listen": c.Listen, "admin-listen": c.Admin} {
			if dev && !loopback(addr) {
				return nil, fmt.Errorf("serve.%s %s: with --dev only a loopback address", key, addr)
			}
		}
		return nil, nil
	}
	if c.Cert == "" {
		return nil, errors.New("serve.tls-cert and serve.tls-key are missing in sae.yaml (or plain: true, behind a proxy that ends TLS on this machine)")
	}
	k := &keyPair{cert: c.Cert, key: c.Key}
	if _, err := k.current(nil); err != nil {
		return nil, err
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: k.current}
	if c.ClientCA == "" {
		return t, nil
	}
	pem, err := os.ReadFile(c.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("reading serve.client-ca: %w", err)
	}
	t.ClientCAs, t.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
	if !t.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("serve.client-ca %s holds no certificate", c.ClientCA)
	}
	return t, nil
}

// loopback reports whether only this machine reaches an address.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	return err == nil && serving.Loopback(host)
}

// keyPair is a certificate that is read again when its files change.
type keyPair struct {
	cert, key string

	mu     sync.Mutex
	looked time.Time
	stamp  [2]time.Time // of the files
	pair   *tls.Certificate
}

// lookEvery is how often it is looked whether the files have changed.
const lookEvery = time.Second

// current gives the certificate. Files that do not belong together, as while they are being replaced,
// leave the one before in use.
func (k *keyPair) current(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pair != nil && time.Since(k.looked) < lookEvery {
		return k.pair, nil
	}
	k.looked = time.Now()
	var stamp [2]time.Time
	for i, path := range []string{k.cert, k.key} {
		fi, err := os.Stat(path)
		if err != nil {
			return k.orBefore(err)
		}
		stamp[i] = fi.ModTime()
	}
	if k.pair != nil && stamp == k.stamp {
		return k.pair, nil
	}
	pair, err := tls.LoadX509KeyPair(k.cert, k.key)
	if err != nil {
		return k.orBefore(err)
	}
	k.pair, k.stamp = &pair, stamp
	return k.pair, nil
}

func (k *keyPair) orBefore(err error) (*tls.Certificate, error) {
	if k.pair != nil {
		return k.pair, nil
	}
	return nil, fmt.Errorf("reading serve.tls-cert and serve.tls-key: %w", err)
}
