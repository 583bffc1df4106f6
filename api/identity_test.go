package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"sae/archive"
	"sae/archive/serving"
)

// idp is an OpenID Connect provider: it tells where its keys are, and signs tokens.
type idp struct {
	*httptest.Server
	t testing.TB

	mu   sync.Mutex
	keys []jose.JSONWebKey // the last signs
	down bool
}

func newIDP(t testing.TB) *idp {
	p := &idp{t: t}
	p.rotate("one")
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.down {
			w.WriteHeader(503)
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"issuer": p.URL, "jwks_uri": p.URL + "/keys", "authorization_endpoint": p.URL + "/a", "token_endpoint": p.URL + "/t",
			"id_token_signing_alg_values_supported": []string{"ES256"}, "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		var set jose.JSONWebKeySet
		for _, k := range p.keys {
			set.Keys = append(set.Keys, k.Public())
		}
		json.NewEncoder(w).Encode(set)
	})
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

// rotate replaces the keys.
func (p *idp) rotate(id string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = []jose.JSONWebKey{{Key: key, KeyID: id, Algorithm: "ES256", Use: "sig"}}
}

func (p *idp) setDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// token signs claims over those of a good token; nil takes one away.
func (p *idp) token(change map[string]any) string {
	claims := map[string]any{"iss": p.URL, "aud": "sae", "sub": "u1", "preferred_username": "claire.martin", "groups": []string{"staff", "archives"},
		"iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix()}
	for k, v := range change {
		if claims[k] = v; v == nil {
			delete(claims, k)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.keys[len(p.keys)-1]}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	b, _ := json.Marshal(claims)
	signed, err := signer.Sign(b)
	if err != nil {
		p.t.Fatal(err)
	}
	out, _ := signed.CompactSerialize()
	return out
}

func TestTokens(t *testing.T) {
	p := newIDP(t)
	s := serve(t, func(c *serving.Config) {
		c.Issuers = []serving.Issuer{{Issuer: p.URL, Audience: "sae", Name: "preferred_username", Claim: "groups", Tenant: "cd99", Skew: time.Minute,
			Roles: []serving.Granted{{Word: "archives", Roles: []string{"archivist"}}, {Word: "dpo", Roles: []string{"data-protection-officer"}}}}}
	})
	status := func(token, path string) int { return s.ask(token, "GET", path, nil).StatusCode }
	p.setDown(true)
	if got := status(p.token(nil), "/v1/units"); got != 401 {
		t.Errorf("a provider that is down: %d", got)
	}
	p.setDown(false)
	time.Sleep(discoverAgain)
	if r := s.ask(p.token(nil), "GET", "/v1/units", nil); r.StatusCode != 200 {
		t.Fatalf("a good token: %s %s\n%s", r.Status, r.body, s.log)
	}
	if got := status(p.token(nil), "/v1/access-log"); got != 403 {
		t.Errorf("what its role does not allow: %d", got)
	}
	other := newIDP(t)
	foreign := other.token(map[string]any{"iss": p.URL})
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).Unix() }
	for why, c := range map[string]struct {
		token string
		want  int
	}{
		"other audience":    {p.token(map[string]any{"aud": "mail"}), 401},
		"several audiences": {p.token(map[string]any{"aud": []string{"mail", "sae"}}), 200},
		"other issuer":      {p.token(map[string]any{"iss": "https://evil.example"}), 401},
		"foreign signature": {foreign, 401},
		"expired":           {p.token(map[string]any{"exp": ago(2 * time.Minute)}), 401},
		"within the skew":   {p.token(map[string]any{"exp": ago(30 * time.Second)}), 200},
		"no expiry":         {p.token(map[string]any{"exp": nil}), 401},
		"no name":           {p.token(map[string]any{"preferred_username": nil}), 401},
		"no role":           {p.token(map[string]any{"groups": []string{"staff"}}), 403},
		"role as a word":    {p.token(map[string]any{"groups": "archives"}), 200},
		"not signed":        {unsigned(p.token(nil)), 401},
		"cut":               {strings.TrimSuffix(p.token(nil), "A")[:40], 401},
		"nonsense":          {"a.b.c", 401},
	} {
		if got := status(c.token, "/v1/units"); got != c.want {
			t.Errorf("%s: %d, want %d", why, got, c.want)
		}
	}
	old := p.token(nil)
	p.rotate("two")
	if got := status(p.token(nil), "/v1/units"); got != 200 {
		t.Errorf("after a rotation: %d", got)
	}
	// The keys are put into use just behind the answer to who had them asked for.
	until(t, "a token of the key before is refused", func() bool { return status(old, "/v1/units") == 401 })
	if strings.Contains(s.log.String(), "claire.martin") {
		t.Error("the log names who asked")
	}
}

// unsigned says that a token needs no signature.
func unsigned(token string) string {
	parts := strings.Split(token, ".")
	return "eyJhbGciOiJub25lIn0." + parts[1] + "."
}

// TestCertificates: who shows a certificate of a known authority and subject is known.
func TestCertificates(t *testing.T) {
	ca, caKey := certificate(t, pkix.Name{CommonName: "clients"}, nil, nil)
	gru, gruKey := certificate(t, pkix.Name{CommonName: "gru", Organization: []string{"CD99"}}, ca, caKey)
	ged, gedKey := certificate(t, pkix.Name{CommonName: "ged", Organization: []string{"CD99"}}, ca, caKey)
	own, ownKey := certificate(t, pkix.Name{CommonName: "gru", Organization: []string{"CD99"}}, nil, nil)
	s := serve(t, func(c *serving.Config) {
		c.Clients = []serving.Client{{Subject: "CN=gru,O=CD99", Name: "auditor", Tenant: "cd99", Roles: []string{"auditor"}}}
	})
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	s.ts.Close()
	ts := httptest.NewUnstartedServer(s.ts.Config.Handler)
	ts.TLS = &tls.Config{ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven}
	ts.StartTLS()
	defer ts.Close()
	status := func(c *x509.Certificate, key *ecdsa.PrivateKey, path string) (int, error) {
		transport := ts.Client().Transport.(*http.Transport).Clone()
		if c != nil {
			transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				return &tls.Certificate{Certificate: [][]byte{c.Raw}, PrivateKey: key}, nil
			}
		}
		r, err := (&http.Client{Transport: transport}).Get(ts.URL + path)
		if err != nil {
			return 0, err
		}
		r.Body.Close()
		return r.StatusCode, nil
	}
	for why, c := range map[string]struct {
		cert *x509.Certificate
		key  *ecdsa.PrivateKey
		path string
		want int
	}{
		"known":                {gru, gruKey, "/v1/units", 200},
		"not for its role":     {gru, gruKey, "/v1/access-log", 403},
		"unknown subject":      {ged, gedKey, "/v1/units", 401},
		"none":                 {nil, nil, "/v1/units", 401},
		"of its own authority": {own, ownKey, "/v1/units", 0},
	} {
		if got, err := status(c.cert, c.key, c.path); got != c.want || (err != nil) != (c.want == 0) {
			t.Errorf("%s: %d, %v", why, got, err)
		}
	}
}

func certificate(t *testing.T, name pkix.Name, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: name, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true, IsCA: ca == nil}
	if ca == nil {
		ca, caKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, key
}

// TestIdentitiesOfOneNameAreBoundByTheirOwnRoles: the identity decides, whatever roles its name has elsewhere.
func TestIdentitiesOfOneNameAreBoundByTheirOwnRoles(t *testing.T) {
	s := serve(t, nil)
	_, secret, err := s.a.CreateAPIKey(context.Background(), "administrator", archive.NewAPIKey{Tenant: "cd99", Name: "archivist", Roles: []archive.Role{archive.Depositor}, Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	if r := s.ask(secret, "GET", "/v1/units", nil); r.StatusCode != 403 {
		t.Errorf("%s", r.Status)
	}
}
