package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sae/api"
	"sae/archive"
	"sae/archive/serving"
)

// atADistance, in the environment, has the program of the scripts put a service between itself and its
// archive: each verb that a service runs goes through --server to one, in the name of who acts. What the
// scripts expect is the same.
const atADistance = "SAE_TEST_AT_A_DISTANCE"

// notAtADistance are the scripts that are of the machine alone, and why.
var notAtADistance = map[string]string{}

// TestScriptsAtADistance runs the stories again, with a service in between.
func TestScriptsAtADistance(t *testing.T) {
	all, err := filepath.Glob("testdata/script/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	p := scripts(func(env *testscript.Env) { env.Setenv(atADistance, "1") })
	p.Dir = ""
	p.Files = slices.DeleteFunc(all, func(file string) bool { return notAtADistance[filepath.Base(file)] != "" })
	testscript.Run(t, p)
}

// runAtADistance is run, with a service in between where there can be one.
func runAtADistance(args []string, in io.Reader, out, errOut io.Writer) int {
	here := func() int { return run(args, in, out, errOut) }
	c := &cli{}
	cmd, rest, err := c.root().Find(args)
	if err != nil || cmd.HasSubCommands() {
		return here()
	}
	name := verbOf(cmd)
	whole, known := api.Verbs()[name]
	given, err := givenFlags(args)
	if err != nil || !known || cmd.ParseFlags(rest) != nil || cmd.ValidateArgs(cmd.Flags().Args()) != nil {
		return here()
	}
	if help, _ := cmd.Flags().GetBool("help"); help {
		return here()
	}
	a, err := archive.Open(c.dir, archive.Options{Command: "sae serve"})
	if err != nil { // what is said then has nothing to do with a service
		return here()
	}
	defer func() {
		if err := a.Close(); err != nil {
			fmt.Fprintln(errOut, "closing:", err)
		}
	}()
	s, err := serveOver(a, c.agent, a.Config().Tenants[0].ID, whole)
	if err != nil {
		fmt.Fprintln(errOut, err)
		return 99
	}
	defer s.close()
	args = append([]string{"--server", s.url, "--ca", s.ca, "--cert", s.cert, "--cert-key", s.certKey}, strings.Fields(name)...)
	for _, flag := range given {
		if word, _, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "="); !isOneOf(word, ofMachine) {
			args = append(args, flag)
		}
	}
	args = append(append(args, "--"), cmd.Flags().Args()...)
	return here()
}

// distant is a service over TLS, and what its client needs.
type distant struct {
	url, ca, cert, certKey string
	close                  func()
}

// serveOver serves an archive to one person, known by a certificate: a key would be in the ledger. Whole
// is the listener of administration.
func serveOver(a *archive.Archive, agent, tenant string, whole bool) (*distant, error) {
	dir, err := os.MkdirTemp("", "sae-distance-")
	if err != nil {
		return nil, err
	}
	d := &distant{ca: filepath.Join(dir, "ca.pem"), cert: filepath.Join(dir, "cert.pem"), certKey: filepath.Join(dir, "key.pem")}
	pair, pool, err := selfSigned(agent, d)
	if err != nil {
		return nil, err
	}
	var none *serving.Config
	config := none.With()
	client := serving.Client{Subject: (&pkix.Name{CommonName: agent}).String(), Name: agent, Tenant: tenant}
	for _, r := range archive.Roles {
		client.Roles = append(client.Roles, string(r))
	}
	config.Clients = []serving.Client{client}
	life, end := context.WithCancel(context.Background())
	verbs := newRunner(life)
	served := api.Config{Version: "test", Serving: config, Spool: filepath.Join(dir, "spool"), Run: verbs.run}
	handler, err := api.New(a, served)
	if whole {
		handler, err = api.AdminCommands(api.Admin(a, nil, nil), a, served)
	}
	if err != nil {
		end()
		return nil, err
	}
	ts := httptest.NewUnstartedServer(handler)
	ts.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven}
	ts.StartTLS()
	d.url = ts.URL
	d.close = func() {
		end()
		verbs.end(time.Minute)
		ts.Close()
		os.RemoveAll(dir)
	}
	return d, nil
}

// selfSigned makes a certificate of which service, client and authority are one.
func selfSigned(name string, d *distant) (pair tls.Certificate, pool *x509.CertPool, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair, nil, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return pair, nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return pair, nil, err
	}
	certPEM, keyPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	for file, text := range map[string][]byte{d.ca: certPEM, d.cert: certPEM, d.certKey: keyPEM} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			return pair, nil, err
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	pair, err = tls.X509KeyPair(certPEM, keyPEM)
	return pair, pool, err
}
