package api

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"sae/archive/serving"
)

// provider verifies the tokens of one OpenID Connect provider. Its keys are read when a token is signed
// with one that is not known yet: they may be replaced at any time.
type provider struct {
	config serving.Issuer
	client *http.Client

	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier // nil until the provider has told where its keys are
	found    time.Time             // when it told
	tried    time.Time             // when it was last asked in vain
	asking   bool                  // it is asked again
}

const (
	// discoverAgain is how long a provider that does not answer is left alone.
	discoverAgain = 5 * time.Second
	// discoverEvery is how long what a provider told is kept, so that a key that it withdrew, or an
	// algorithm that it does not use any more, does not stay good while nobody shows a token of the next.
	discoverEvery = 10 * time.Minute
	// keysAsked bounds how often a second a provider is asked. Each token of an unknown key makes one
	// ask, and everybody can make up such tokens.
	keysAsked = 5
)

var errOtherIssuer = errors.New("the token is another issuer's")

func newProvider(c serving.Issuer) (*provider, error) {
	asked := &seldom{limiter: newLimiter(serving.Limits{Rate: keysAsked, PerClient: keysAsked}), next: http.DefaultTransport}
	p := &provider{config: c, client: &http.Client{Timeout: 10 * time.Second, Transport: asked}}
	if c.CA == "" {
		return p, nil
	}
	roots, err := authoritiesIn(c.CA)
	if err != nil {
		return nil, fmt.Errorf("reading authorities of %s: %w", c.Issuer, err)
	}
	asked.next = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Proxy: http.ProxyFromEnvironment}
	return p, nil
}

// authoritiesIn are the certificates of a PEM file; there is one at least.
func authoritiesIn(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return roots, nil
}

// seldom sends no more requests a second than its limiter lets through.
type seldom struct {
	limiter *limiter
	next    http.RoundTripper
}

func (s *seldom) RoundTrip(r *http.Request) (*http.Response, error) {
	release, err := s.limiter.take("provider", time.Now())
	if err != nil {
		return nil, fmt.Errorf("the provider was asked %d times within a second: %w", keysAsked, err)
	}
	defer release()
	return s.next.RoundTrip(r)
}

// identify gives who a token names.
func (p *provider) identify(ctx context.Context, token string) (*Identity, error) {
	if issuerOf(token) != p.config.Issuer {
		return nil, errOtherIssuer
	}
	v, err := p.discover()
	if err != nil {
		return nil, err
	}
	t, err := v.Verify(oidc.ClientContext(ctx, p.client), token)
	if err != nil {
		return nil, err
	}
	claims := map[string]any{}
	if err := t.Claims(&claims); err != nil {
		return nil, err
	}
	name, _ := claims[p.config.Name].(string)
	if name == "" || len(name) > 200 {
		return nil, fmt.Errorf("claim %s does not name who acts", p.config.Name)
	}
	who := &Identity{Name: name, Tenant: p.config.Tenant, By: "oidc"}
	for _, g := range p.config.Roles {
		if slices.Contains(wordsIn(claims[p.config.Claim]), g.Word) {
			who.Roles = append(who.Roles, rolesOf(g.Roles)...)
		}
	}
	return who, nil
}

// discover gives what the provider told of itself. It is asked in the way of a request only the first time.
func (p *provider) discover() (*oidc.IDTokenVerifier, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rested := time.Since(p.tried) >= discoverAgain
	if p.verifier != nil {
		if rested && !p.asking && time.Since(p.found) >= discoverEvery {
			p.asking = true
			go p.discoverLater()
		}
		return p.verifier, nil
	}
	if !rested {
		return nil, errors.New("the provider did not answer lately")
	}
	v, err := p.askProvider()
	return v, p.told(v, err)
}

// discoverLater asks the provider again. What it told before stays as long as it does not answer.
func (p *provider) discoverLater() {
	v, err := p.askProvider()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asking = false
	p.told(v, err)
}

func (p *provider) told(v *oidc.IDTokenVerifier, err error) error {
	if err != nil {
		p.tried = time.Now()
		return err
	}
	p.verifier, p.found = v, time.Now()
	return nil
}

// askProvider asks the provider where its keys are, and by which algorithms it signs.
func (p *provider) askProvider() (*oidc.IDTokenVerifier, error) {
	// The keys are asked for long after this request has ended: its context is not theirs.
	at, err := oidc.NewProvider(oidc.ClientContext(context.Background(), p.client), p.config.Issuer)
	if err != nil {
		return nil, fmt.Errorf("asking the provider: %w", err)
	}
	return at.Verifier(&oidc.Config{ClientID: p.config.Audience,
		Now: func() time.Time { return time.Now().Add(-p.config.Skew) }}), nil // a clock that is behind takes what has just expired
}

// issuerOf reads who says to have issued a token, before it is verified: which provider is to verify it.
func issuerOf(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(b, &claims) != nil {
		return ""
	}
	return claims.Issuer
}

// wordsIn reads a claim that is a word, words with spaces between, or a list of them.
func wordsIn(claim any) (out []string) {
	switch c := claim.(type) {
	case string:
		return strings.Fields(c)
	case []any:
		for _, x := range c {
			if s, ok := x.(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}
