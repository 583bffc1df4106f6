package tsp

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"sae/integrity"
)

// world is an authority on the network, with the places that its certificates
// name.
type world struct {
	*pki
	*httptest.Server
	carried []*x509.Certificate        // by its tokens
	token   func(*forgery)             // changes its tokens
	wrap    func([]byte) []byte        // changes its responses
	pages   map[string]func() []byte   // other than /tsa
	asked   []string                   // paths
	kind    string                     // of its responses
	auth    func(user, pw string) bool // nil: none wanted
	t       *testing.T
}

func newWorld(t *testing.T) *world {
	w := &world{kind: typeReply, t: t, pages: make(map[string]func() []byte)}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	w.pki = newPKI(t, func(c *x509.Certificate) {
		c.CRLDistributionPoints = []string{"ldap://crl.test/", w.URL + "/ca.crl"}
		c.OCSPServer = []string{w.URL + "/ocsp"}
		c.IssuingCertificateURL = []string{w.URL + "/ca.crt"}
		c.NotAfter = time.Now().AddDate(1, 0, 0)
	})
	w.carried = []*x509.Certificate{w.leaf, w.ca, w.root}
	return w
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.asked = append(w.asked, r.URL.Path)
	body, _ := io.ReadAll(r.Body)
	if r.URL.Path == "/tsa" {
		w.stamp(rw, r, body)
		return
	}
	if r.Header.Get("Authorization") != "" {
		w.t.Errorf("password sent to %s", r.URL)
	}
	page := w.pages[r.URL.Path]
	if page == nil {
		http.NotFound(rw, r)
		return
	}
	if r.URL.Path == "/ocsp" {
		rw.Header().Set("Content-Type", "application/ocsp-response")
	}
	rw.Write(page())
}

func (w *world) stamp(rw http.ResponseWriter, r *http.Request, body []byte) {
	if user, pw, _ := r.BasicAuth(); w.auth != nil && !w.auth(user, pw) {
		http.Error(rw, "no", http.StatusUnauthorized)
		return
	}
	q, err := parseQuery(body)
	if err != nil || r.Header.Get("Content-Type") != typeQuery || !q.certReq {
		w.t.Errorf("request: %v, %v", err, r.Header)
		return
	}
	f := newForgery(w.pki)
	f.certs = w.carried
	f.info.Time, f.info.Nonce, f.info.Imprint.Hashed = time.Now().UTC().Truncate(time.Second), q.nonce, q.imprint.hashed
	if w.token != nil {
		w.token(f)
	}
	response := must[[]byte](w.t)(marshalGranted(f.build(w.t)))
	if w.wrap != nil {
		response = w.wrap(response)
	}
	rw.Header().Set("Content-Type", w.kind)
	rw.Write(response)
}

func (w *world) client(log io.Writer) *Client {
	return &Client{URL: w.URL + "/tsa", Roots: w.roots(), Log: slog.New(slog.NewTextHandler(log, nil))}
}

func (w *world) crlPage(edit func(*x509.RevocationList)) func() []byte {
	return func() []byte { return w.crl(w.t, false, time.Now().Add(time.Minute), edit) }
}

func (w *world) ocspPage(status int) func() []byte {
	return func() []byte {
		return must[[]byte](w.t)(ocsp.CreateResponse(w.ca, w.ca, ocsp.Response{Status: status,
			SerialNumber: w.leaf.SerialNumber, ThisUpdate: time.Now().Add(time.Minute)}, w.caKey))
	}
}

func (w *world) caPage() []byte { return w.ca.Raw }

// statusAfter asks for a token and gives the state of one of its checks.
func (w *world) statusAfter(c *Client, name string) integrity.Check {
	w.t.Helper()
	token := must[*Token](w.t)(c.Timestamp(w.t.Context(), crypto.SHA256, testImprint[:]))
	return statusOf(w.t, token.Verify(Expect{Hash: crypto.SHA256, Imprint: testImprint[:], Roots: w.roots()}), name)
}

func TestClientCompletesToken(t *testing.T) {
	pemCRL := func(w *world) func() []byte {
		return func() []byte {
			return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: w.crlPage(nil)()})
		}
	}
	for _, c := range []struct {
		name  string
		setup func(*world)
		crls  int // of the CA and the root, in the token
		ocsps int
		asked []string
	}{
		{"CRL", func(w *world) { w.pages["/ca.crl"] = w.crlPage(nil) }, 1, 0, []string{"/tsa", "/ca.crl"}},
		{"CRL in PEM", func(w *world) { w.pages["/ca.crl"] = pemCRL(w) }, 1, 0, []string{"/tsa", "/ca.crl"}},
		{"OCSP without a CRL", func(w *world) { w.pages["/ocsp"] = w.ocspPage(ocsp.Good) }, 0, 1, []string{"/tsa", "/ca.crl", "/ocsp"}},
		{"OCSP beside a bad CRL", func(w *world) {
			w.pages["/ca.crl"] = func() []byte { return []byte("<html>") }
			w.pages["/ocsp"] = w.ocspPage(ocsp.Good)
		}, 0, 1, []string{"/tsa", "/ca.crl", "/ocsp"}},
		{"OCSP beside a CRL that does not fit", func(w *world) {
			w.pages["/ca.crl"] = w.crlPage(func(l *x509.RevocationList) {
				for i := range 60_000 {
					l.RevokedCertificateEntries = append(l.RevokedCertificateEntries,
						x509.RevocationListEntry{SerialNumber: big.NewInt(int64(i + 1)), RevocationTime: testTime})
				}
			})
			w.pages["/ocsp"] = w.ocspPage(ocsp.Good)
		}, 0, 1, []string{"/tsa", "/ca.crl", "/ocsp"}},
		{"CRL of another key", func(w *world) {
			w.pages["/ca.crl"] = func() []byte { return newPKI(w.t, nil).crl(w.t, false, time.Now(), nil) }
		}, 0, 0, []string{"/tsa", "/ca.crl", "/ocsp"}},
		{"OCSP about another certificate", func(w *world) {
			w.pages["/ocsp"] = func() []byte {
				return must[[]byte](w.t)(ocsp.CreateResponse(w.ca, w.ca, ocsp.Response{Status: ocsp.Good,
					SerialNumber: big.NewInt(5), ThisUpdate: time.Now()}, w.caKey))
			}
		}, 0, 0, []string{"/tsa", "/ca.crl", "/ocsp"}},
		{"nothing to be had", func(*world) {}, 0, 0, []string{"/tsa", "/ca.crl", "/ocsp"}},
		{"missing CA", func(w *world) {
			w.carried = w.carried[:1]
			w.pages["/ca.crt"], w.pages["/ca.crl"] = w.caPage, w.crlPage(nil)
		}, 1, 0, []string{"/tsa", "/ca.crt", "/ca.crl"}},
		{"revocation data there already", func(w *world) {
			w.token = func(f *forgery) { f.revocations = [][]byte{f.crl(w.t, false, time.Now(), nil)} }
		}, 1, 0, []string{"/tsa"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.setup(w)
			var log bytes.Buffer
			token, err := w.client(&log).Timestamp(t.Context(), crypto.SHA256, testImprint[:])
			if err != nil {
				t.Fatal(err)
			}
			if len(token.CRLs) != c.crls || len(token.OCSP) != c.ocsps || len(token.Certificates) != 3 {
				t.Errorf("%d CRLs, %d OCSP responses, %d certificates", len(token.CRLs), len(token.OCSP), len(token.Certificates))
			}
			if !slices.Equal(w.asked, c.asked) {
				t.Errorf("asked %q", w.asked)
			}
			// Nobody tells about the CA: its certificate names no place.
			if !strings.Contains(log.String(), "CN=ca") {
				t.Errorf("log: %s", log.String())
			}
			checks := token.Verify(Expect{Hash: crypto.SHA256, Imprint: testImprint[:], Roots: w.roots()})
			if bad := notOK(checks); !slices.Equal(bad, []string{CheckRevocation}) {
				t.Errorf("not OK: %q", bad)
			}
		})
	}
}

// TestClientCompletesWholly has the CRL of the root at hand, too.
func TestClientCompletesWholly(t *testing.T) {
	w := newWorld(t)
	w.pages["/ca.crl"] = w.crlPage(nil)
	w.token = func(f *forgery) { f.revocations = [][]byte{f.crl(t, true, time.Now(), nil)} }
	if got := w.statusAfter(w.client(io.Discard), CheckRevocation); got.Status != integrity.OK {
		t.Errorf("%+v", got)
	}
	c := w.client(io.Discard)
	token := must[*Token](t)(c.Timestamp(t.Context(), crypto.SHA256, testImprint[:]))
	if again, notes := c.Complete(t.Context(), token); again != token || notes != nil {
		t.Errorf("completed again: %q", notes)
	}
}

func TestClientRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		setup  func(*world)
		check  string // that failed; "" for another error
		client func(*Client)
	}{
		{"revoked, says the CRL", func(w *world) {
			w.pages["/ca.crl"] = w.crlPage(revokes(w.leaf, time.Now(), 1))
		}, CheckRevocation, nil},
		{"revoked, says the OCSP responder", func(w *world) { w.pages["/ocsp"] = w.ocspPage(ocsp.Revoked) }, CheckRevocation, nil},
		{"another nonce", func(w *world) { w.token = func(f *forgery) { f.info.Nonce = testNonce } }, CheckNonce, nil},
		{"another imprint", func(w *world) {
			w.token = func(f *forgery) { f.info.Imprint.Hashed = make([]byte, 32) }
		}, CheckImprint, nil},
		{"signed by another key", func(w *world) { w.token = func(f *forgery) { f.leafKey = newKey(w.t) } }, CheckSignature, nil},
		{"another policy", func(*world) {}, CheckPolicy, func(c *Client) { c.Policy = asn1.ObjectIdentifier{1, 2, 9} }},
		{"root not trusted", func(*world) {}, CheckAnchor, func(c *Client) { c.Roots = x509.NewCertPool() }},
		{"issuer not to be had", func(w *world) { w.carried = w.carried[:1] }, CheckAnchor, nil},
		{"another media type", func(w *world) { w.kind = "text/html" }, "", nil},
		{"cut", func(w *world) { w.wrap = func(b []byte) []byte { return b[:len(b)-1] } }, "", nil},
		{"too large", func(w *world) { w.wrap = func([]byte) []byte { return make([]byte, MaxToken+1<<13) } }, "", nil},
		{"refused", func(w *world) {
			w.wrap = func([]byte) []byte { return (&RefusedError{Status: 2, Fail: BadRequest, Text: "no"}).marshal() }
		}, "", nil},
		{"not authorized", func(w *world) { w.auth = func(user, _ string) bool { return user == "a" } }, "", nil},
		{"no server", func(*world) {}, "", func(c *Client) { c.URL = "http://127.0.0.1:1/" }},
		{"no URL", func(*world) {}, "", func(c *Client) { c.URL = "::" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.setup(w)
			client := w.client(io.Discard)
			if c.client != nil {
				c.client(client)
			}
			token, err := client.Timestamp(t.Context(), crypto.SHA256, testImprint[:])
			if err == nil || token != nil {
				t.Fatalf("%v, %v", token, err)
			}
			verification := new(VerificationError)
			if errors.As(err, &verification) != (c.check != "") {
				t.Fatalf("%v", err)
			}
			failed := func(k integrity.Check) bool { return k.Name == c.check }
			if c.check != "" && (!slices.ContainsFunc(verification.Failed, failed) || !strings.Contains(err.Error(), c.check)) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestClientAuthentication(t *testing.T) {
	w := newWorld(t)
	w.auth = func(user, pw string) bool { return user == "me" && pw == "secret" }
	c := w.client(io.Discard)
	c.User, c.Password = "me", "secret"
	if _, err := c.Timestamp(t.Context(), crypto.SHA256, testImprint[:]); err != nil {
		t.Error(err)
	}
	c.Password = "wrong"
	if _, err := c.Timestamp(t.Context(), crypto.SHA256, testImprint[:]); err == nil || strings.Contains(err.Error(), "wrong") {
		t.Errorf("%v", err)
	}
}

func TestClientGivesUp(t *testing.T) {
	stuck := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // else the server does not see that the client goes
		<-r.Context().Done()
	}))
	defer stuck.Close()
	c := &Client{URL: stuck.URL, Timeout: 50 * time.Millisecond}
	if _, err := c.Timestamp(t.Context(), crypto.SHA256, testImprint[:]); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// TestClientWithLocal is the client against the embedded authority, over HTTP.
func TestClientWithLocal(t *testing.T) {
	l := newLocal(t)
	server := httptest.NewServer(l)
	defer server.Close()
	for _, authority := range []Authority{l.Timestamp, (&Client{URL: server.URL, Roots: poolOf(l.Root), Policy: LocalPolicy}).Timestamp} {
		token, err := authority(t.Context(), crypto.SHA256, testImprint[:])
		if err != nil {
			t.Fatal(err)
		}
		if bad := notOK(token.Verify(Expect{Hash: crypto.SHA256, Imprint: testImprint[:], Roots: poolOf(l.Root)})); bad != nil {
			t.Errorf("not OK: %q", bad)
		}
	}
}
