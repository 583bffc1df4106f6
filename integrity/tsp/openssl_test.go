package tsp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sae/integrity"
)

// openssl runs the peer in a directory.
type openssl struct {
	*testing.T
	dir string
}

func newOpenSSL(t *testing.T) openssl {
	if _, err := exec.LookPath("openssl"); err != nil {
		missing(t, "no openssl: install the Debian package openssl")
	}
	return openssl{t, t.TempDir()}
}

func (o openssl) write(name string, data []byte) {
	o.Helper()
	if err := os.WriteFile(filepath.Join(o.dir, name), data, 0o600); err != nil {
		o.Fatal(err)
	}
}

func (o openssl) read(name string) []byte {
	o.Helper()
	return must[[]byte](o.T)(os.ReadFile(filepath.Join(o.dir, name)))
}

func (o openssl) run(args ...string) (string, error) {
	cmd := exec.Command("openssl", args...)
	cmd.Dir = o.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// accepts runs openssl ts -verify.
func (o openssl) accepts(want bool, args ...string) {
	o.Helper()
	out, err := o.run(append([]string{"ts", "-verify"}, args...)...)
	if ok := err == nil && strings.Contains(out, "Verification: OK"); ok != want {
		o.Errorf("openssl ts -verify %q: %v\n%s", args, err, out)
	}
}

func TestOpenSSLVerifiesOurTokens(t *testing.T) {
	o := newOpenSSL(t)
	l := newLocal(t)
	o.write("root.pem", encodePEM("CERTIFICATE", l.Root.Raw))
	o.write("data", []byte("what is stamped"))
	token := must[*Token](t)(l.Timestamp(t.Context(), crypto.SHA256, testImprint[:]))
	o.write("token", token.Raw)
	o.accepts(true, "-data", "data", "-in", "token", "-token_in", "-CAfile", "root.pem")
	o.accepts(true, "-digest", fmt.Sprintf("%x", testImprint), "-in", "token", "-token_in", "-CAfile", "root.pem")
	o.accepts(false, "-digest", strings.Repeat("00", 32), "-in", "token", "-token_in", "-CAfile", "root.pem")

	for _, algorithm := range []string{"-sha256", "-sha384", "-sha512"} {
		for _, cert := range [][]string{{"-cert"}, {"-cert", "-no_nonce"}, nil} {
			args := append([]string{"ts", "-query", "-data", "data", algorithm, "-out", "query"}, cert...)
			if out, err := o.run(args...); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			o.write("reply", l.answer(o.read("query")))
			verify := []string{"-queryfile", "query", "-in", "reply", "-CAfile", "root.pem"}
			if cert == nil {
				o.write("signer.pem", encodePEM("CERTIFICATE", l.Certificate.Raw))
				verify = append(verify, "-untrusted", "signer.pem")
			}
			o.accepts(true, verify...)
		}
	}
	if out, err := o.run("ts", "-query", "-data", "data", "-sha1", "-out", "query"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	o.write("reply", l.answer(o.read("query")))
	if out, _ := o.run("ts", "-reply", "-in", "reply", "-text"); !strings.Contains(out, "unrecognized or unsupported algorithm") {
		t.Errorf("refusal: %s", out)
	}
}

// TestOpenSSLVerifiesLater: a token whose certificate has expired since.
func TestOpenSSLVerifiesLater(t *testing.T) {
	o := newOpenSSL(t)
	then := time.Now().AddDate(-leafYears-5, 0, 0)
	l := must[*Local](t)(NewLocal("test", then))
	l.Now = func() time.Time { return then }
	o.write("root.pem", encodePEM("CERTIFICATE", l.Root.Raw))
	o.write("token", must[*Token](t)(l.Timestamp(t.Context(), crypto.SHA256, testImprint[:])).Raw)
	args := []string{"-digest", fmt.Sprintf("%x", testImprint), "-in", "token", "-token_in", "-CAfile", "root.pem"}
	o.accepts(false, args...)
	o.accepts(true, append(args, "-attime", fmt.Sprint(then.Unix()))...)
}

// TestOpenSSLReadsWhatWasAdded: certificates and CRLs do not disturb it. OCSP
// responses do, as With says: should this change, With may prefer them.
func TestOpenSSLReadsWhatWasAdded(t *testing.T) {
	o := newOpenSSL(t)
	f := newForgery(newPKI(t, nil))
	f.certs = f.certs[:1]
	token := must[*Token](t)(Parse(f.build(t)))
	o.write("root.pem", encodePEM("CERTIFICATE", f.root.Raw))
	added := must[*Token](t)(token.With([]*x509.Certificate{f.ca, f.root}, [][]byte{f.crl(t, true, testTime, nil), f.crl(t, false, testTime, nil)}, nil))
	o.write("token", added.Raw)
	args := []string{"-digest", fmt.Sprintf("%x", testImprint), "-in", "token", "-token_in", "-CAfile", "root.pem", "-attime", fmt.Sprint(testTime.Unix())}
	o.accepts(true, args...)
	response := must[[]byte](t)(ocsp.CreateResponse(f.ca, f.ca, ocsp.Response{Status: ocsp.Good, SerialNumber: big.NewInt(1), ThisUpdate: testTime}, f.caKey))
	o.write("token", must[*Token](t)(added.With(nil, nil, [][]byte{response})).Raw)
	o.accepts(false, args...)
}

const tsaConfig = `
[tsa]
serial = serial
signer_cert = signer.pem
certs = chain.pem
signer_key = key.pem
default_policy = 1.2.3.4
digests = sha1, sha256, sha384, sha512
accuracy = secs:1, millisecs:500
ordering = yes
tsa_name = yes
ess_cert_id_chain = %s
ess_cert_id_alg = %s
`

// TestOpenSSLTokens: tokens that openssl ts -reply makes pass, unless they use
// what is refused here.
func TestOpenSSLTokens(t *testing.T) {
	keys := map[string]crypto.Signer{
		"P-256":    newKey(t),
		"P-384":    must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"RSA-2048": must[*rsa.PrivateKey](t)(rsa.GenerateKey(rand.Reader, 2048)),
	}
	for _, c := range []struct {
		key, digest, ess, chain string
		bad                     string // the check that fails
	}{
		{"P-256", "sha256", "sha256", "no", ""},
		{"P-384", "sha384", "sha256", "yes", ""},
		{"RSA-2048", "sha512", "sha512", "yes", ""},
		// It writes ESSCertID version 1 without issuer and serial number.
		{"RSA-2048", "sha256", "sha1", "no", CheckESSCertID},
		{"RSA-2048", "sha1", "sha256", "no", CheckAlgorithms},
	} {
		t.Run(c.key+" "+c.digest+" "+c.ess, func(t *testing.T) {
			o := newOpenSSL(t)
			p := newPKIFor(t, keys[c.key], func(leaf *x509.Certificate) { leaf.NotAfter = time.Now().AddDate(1, 0, 0) })
			o.tsaFiles(p, fmt.Sprintf(tsaConfig, c.chain, c.ess))
			if out, err := o.run("ts", "-query", "-data", "data", "-sha512", "-cert", "-out", "query"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if out, err := o.run("ts", "-reply", "-config", "tsa.cnf", "-section", "tsa", "-"+c.digest, "-queryfile", "query", "-out", "reply"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			imprint := sha512.Sum512([]byte("what is stamped"))
			q := must[*query](t)(parseQuery(o.read("query")))
			token := must[*Token](t)(ParseResponse(o.read("reply")))
			checks := token.Verify(Expect{Hash: crypto.SHA512, Imprint: imprint[:], Nonce: q.nonce, Roots: p.roots()})
			if c.bad != "" {
				if got := statusOf(t, checks, c.bad); got.Status != integrity.Failed {
					t.Errorf("%+v", got)
				}
				return
			}
			if bad := notOK(checks); !slices.Equal(bad, []string{CheckRevocation}) {
				t.Errorf("not OK: %+v", statusOf(t, checks, bad[0]))
			}
			if token.Accuracy != 1500*time.Millisecond || token.info.tsa == nil {
				t.Errorf("%v, tsa %x", token.Accuracy, token.info.tsa)
			}
		})
	}
}

func (o openssl) tsaFiles(p *pki, config string) {
	key := must[[]byte](o.T)(x509.MarshalPKCS8PrivateKey(p.leafKey))
	o.write("key.pem", encodePEM("PRIVATE KEY", key))
	o.write("signer.pem", encodePEM("CERTIFICATE", p.leaf.Raw))
	o.write("chain.pem", append(encodePEM("CERTIFICATE", p.ca.Raw), encodePEM("CERTIFICATE", p.root.Raw)...))
	o.write("serial", []byte("01\n"))
	o.write("data", []byte("what is stamped"))
	o.write("tsa.cnf", []byte(config))
}
