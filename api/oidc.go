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
	tried    time.Time             // when it was last asked in vain
}

// discoverAgain is how long a provider that does not answer is left alone.
const discoverAgain = 5 * time.Second

var errOtherIssuer = errors.New("the token is another issuer's")

func newProvider(c serving.Issuer) (*provider, error) {
	p := &provider{config: c, client: &http.Client{Timeout: 10 * time.Second}}
	if c.CA == "" {
		return p, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		return nil, fmt.Errorf("reading authorities of %s: %w", c.Issuer, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("reading authorities of %s: %s holds no certificate", c.Issuer, c.CA)
	}
	p.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Proxy: http.ProxyFromEnvironment}
	return p, nil
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

// discover asks the provider, once it answers, where its keys are.
func (p *provider) discover() (*oidc.IDTokenVerifier, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.verifier != nil {
		return p.verifier, nil
	}
	if time.Since(p.tried) < discoverAgain {
		return nil, errors.New("the provider did not answer lately")
	}
	// The keys are asked for long after this request has ended: its context is not theirs.
	at, err := oidc.NewProvider(oidc.ClientContext(context.Background(), p.client), p.config.Issuer)
	if err != nil {
		p.tried = time.Now()
		return nil, fmt.Errorf("asking the provider: %w", err)
	}
	p.verifier = at.Verifier(&oidc.Config{ClientID: p.config.Audience,
		Now: func() time.Time { return time.Now().Add(-p.config.Skew) }}) // a clock that is behind takes what has just expired
	return p.verifier, nil
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
