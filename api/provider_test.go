package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"golang.org/x/oauth2"

	"sae/archive/serving"
)

// realProvider is an OpenID Connect provider that we did not write (zitadel/oidc), with its own storage
// but for what tests must decide: keys, audiences, groups, times.
type realProvider struct {
	*storage.Storage
	t      testing.TB
	ts     *httptest.Server
	asked  atomic.Int64 // how often for its keys
	caFile string
	down   atomic.Bool

	mu        sync.Mutex
	keys      []opKey // published; the last signs
	published int     // of keys, from the end
	life      time.Duration
	ahead     time.Duration // by which its clock is ahead
}

// opKey is a key of the provider, and its public half.
type opKey struct {
	id  string
	alg jose.SignatureAlgorithm
	key any
}

func (k opKey) ID() string                                  { return k.id }
func (k opKey) SignatureAlgorithm() jose.SignatureAlgorithm { return k.alg }
func (k opKey) Key() any                                    { return k.key }

type opPublic struct{ opKey }

func (k opPublic) Algorithm() jose.SignatureAlgorithm { return k.alg }
func (k opPublic) Use() string                        { return "sig" }
func (k opPublic) Key() any {
	return (&jose.JSONWebKey{Key: k.key}).Public().Key
}

// opClient is an application that the provider knows. Its access tokens are JWTs.
type opClient struct {
	*storage.Client
	p *realProvider
}

func (c opClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }
func (c opClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeClientCredentials}
}
func (c opClient) IDTokenUserinfoClaimsAssertion() bool { return true }
func (c opClient) IDTokenLifetime() time.Duration       { return c.p.lifetime() + c.p.clock() }
func (c opClient) ClockSkew() time.Duration             { return -c.p.clock() }

// users are those who can log in.
type users map[string]*storage.User

func (u users) GetUserByID(id string) *storage.User         { return u[id] }
func (u users) GetUserByUsername(name string) *storage.User { return u[name] }
func (u users) ExampleClientID() string                     { return "example" }

// services are the applications that act in their own name: for which service their tokens are, and
// their group.
var services = map[string]struct{ audience, group string }{
	"gru": {"sae", "archives"}, "mail": {"mail", "archives"}, "visitor": {"sae", "staff"},
}

const opSecret = "verysecret"

func newRealProvider(t testing.TB) *realProvider {
	p := &realProvider{t: t, life: 5 * time.Minute, published: 1}
	p.Storage = storage.NewStorageWithClients(users{"claire.martin": {ID: "claire.martin", Username: "claire.martin", Password: "verysecure"}},
		map[string]*storage.Client{"sae": storage.NativeClient("sae", "http://localhost/back")})
	p.sign(jose.RS256)
	mux := http.NewServeMux()
	p.ts = httptest.NewTLSServer(mux)
	t.Cleanup(p.ts.Close)
	at, err := op.NewProvider(&op.Config{CryptoKey: sha256.Sum256([]byte("test")), CodeMethodS256: true, AuthMethodPost: true}, p, op.StaticIssuer(p.ts.URL), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	back := op.NewIssuerInterceptor(at.IssuerFromRequest)
	mux.Handle("POST /login/username", back.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("authRequestID")
		if err := p.CheckUsernamePassword(r.FormValue("username"), r.FormValue("password"), id); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		http.Redirect(w, r, op.AuthCallbackURL(at)(r.Context(), id), http.StatusFound)
	}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if p.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		at.ServeHTTP(w, r)
	})
	p.caFile = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(p.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.ts.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

// sign begins a new key, by which it signs from now on. Those before stay published until it says else.
func (p *realProvider) sign(alg jose.SignatureAlgorithm) {
	var key any
	var err error
	if alg == jose.ES256 {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = append(p.keys, opKey{fmt.Sprint("key-", len(p.keys)), alg, key})
}

// publish says how many of the last keys are published.
func (p *realProvider) publish(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.published = n
}

func (p *realProvider) times(life, ahead time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.life, p.ahead = life, ahead
}

func (p *realProvider) lifetime() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life
}

func (p *realProvider) clock() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ahead
}

func (p *realProvider) SigningKey(context.Context) (op.SigningKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys[len(p.keys)-1], nil
}

func (p *realProvider) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return []jose.SignatureAlgorithm{p.keys[len(p.keys)-1].alg}, nil
}

func (p *realProvider) KeySet(context.Context) (out []op.Key, err error) {
	p.asked.Add(1)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, k := range p.keys[len(p.keys)-p.published:] {
		out = append(out, opPublic{k})
	}
	return out, nil
}

func (p *realProvider) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := p.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return opClient{c.(*storage.Client), p}, nil
}

func (p *realProvider) ClientCredentials(_ context.Context, id, secret string) (op.Client, error) {
	if _, ok := services[id]; !ok || secret != opSecret {
		return nil, errors.New("unknown")
	}
	return opClient{storage.WebClient(id, opSecret), p}, nil
}

func (p *realProvider) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return &oidc.JWTTokenRequest{Subject: id, Audience: []string{services[id].audience}, Scopes: scopes}, nil
}

func (p *realProvider) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	id, expires, err := p.Storage.CreateAccessToken(ctx, r)
	if _, service := r.(*oidc.JWTTokenRequest); service { // clients of persons refuse one that expired
		expires = time.Now().Add(p.lifetime() + p.clock())
	}
	return id, expires, err
}

func (p *realProvider) GetPrivateClaimsFromScopes(_ context.Context, user, _ string, _ []string) (map[string]any, error) {
	if s, ok := services[user]; ok {
		return map[string]any{"preferred_username": user, "groups": []string{s.group}}, nil
	}
	return map[string]any{"preferred_username": user, "groups": []string{"staff", "archives"}}, nil
}

func (p *realProvider) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, r op.IDTokenRequest, scopes []string) error {
	if err := p.Storage.SetUserinfoFromRequest(ctx, info, r, scopes); err != nil {
		return err
	}
	info.AppendClaims("groups", []string{"staff", "archives"})
	return nil
}

// ctx has the client of its certificate.
func (p *realProvider) ctx() context.Context {
	return context.WithValue(context.Background(), oauth2.HTTPClient, p.ts.Client())
}

// service gets a token for an application, by the grant client_credentials.
func (p *realProvider) service(id string) string {
	p.t.Helper()
	resp, err := p.ts.Client().PostForm(p.ts.URL+"/oauth/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {opSecret}})
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var tok struct {
		Access string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&tok); err != nil || tok.Access == "" {
		p.t.Fatalf("the provider gives no token: %s, %v", resp.Status, err)
	}
	return tok.Access
}

// person logs in as a browser does, by code and PKCE, and gets both tokens.
func (p *realProvider) person() (access, id string) {
	p.t.Helper()
	c := oauth2.Config{ClientID: "sae", RedirectURL: "http://localhost/back", Scopes: []string{"openid", "profile"},
		Endpoint: oauth2.Endpoint{AuthURL: p.ts.URL + "/authorize", TokenURL: p.ts.URL + "/oauth/token", AuthStyle: oauth2.AuthStyleInParams}}
	verifier := oauth2.GenerateVerifier()
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Transport: p.ts.Client().Transport, Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host == "localhost" || r.URL.Path == "/login/username" {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	asked, err := browser.Get(c.AuthCodeURL("state", oauth2.S256ChallengeOption(verifier)))
	if err != nil {
		p.t.Fatal(err)
	}
	asked.Body.Close()
	at, err := asked.Location()
	if err != nil {
		b, _ := io.ReadAll(asked.Body)
		p.t.Fatalf("the provider shows no page to log in: %s %s", asked.Status, b)
	}
	logged, err := browser.PostForm(at.String(), url.Values{"username": {"claire.martin"}, "password": {"verysecure"}})
	if err != nil {
		p.t.Fatal(err)
	}
	logged.Body.Close()
	back, err := logged.Location()
	if err != nil || back.Query().Get("code") == "" {
		p.t.Fatalf("logging in: %s, %v", logged.Status, back)
	}
	tok, err := c.Exchange(p.ctx(), back.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		p.t.Fatal(err)
	}
	id, _ = tok.Extra("id_token").(string)
	return tok.AccessToken, id
}

func (p *realProvider) issuer() serving.Issuer {
	return serving.Issuer{Issuer: p.ts.URL, Audience: "sae", Name: "preferred_username", Claim: "groups", Tenant: "cd99", Skew: time.Minute, CA: p.caFile,
		Roles: []serving.Granted{{Word: "archives", Roles: []string{"archivist"}}}}
}

// TestRealProvider: tokens of a provider that we did not write, by the flows that applications and
// persons use.
func TestRealProvider(t *testing.T) {
	p := newRealProvider(t)
	s := serve(t, func(c *serving.Config) { c.Issuers = []serving.Issuer{p.issuer()} })
	want := func(why, token, path string, status int) {
		t.Helper()
		if r := s.ask(token, "GET", path, nil); r.StatusCode != status {
			t.Errorf("%s: %s, want %d\n%s", why, r.Status, status, r.body)
		}
	}
	access, id := p.person()
	want("access token of a person", access, "/v1/units", 200)
	want("ID token of a person", id, "/v1/units", 200)
	want("a person, what her role does not allow", access, "/v1/access-log", 403)
	want("an application", p.service("gru"), "/v1/units", 200)
	want("an application without a role", p.service("visitor"), "/v1/units", 403)
	want("an application's token for another service", p.service("mail"), "/v1/units", 401)
	s.deposited(p.service("gru"), "by-token", "x")

	p.times(-30*time.Second, 0)
	want("expired, within the skew", p.service("gru"), "/v1/units", 200)
	p.times(-2*time.Minute, 0)
	want("expired", p.service("gru"), "/v1/units", 401)
	_, id = p.person()
	want("ID token, expired", id, "/v1/units", 401)
	p.times(5*time.Minute, 30*time.Second)
	want("the provider's clock is ahead a little", p.service("gru"), "/v1/units", 200)
	p.times(5*time.Minute, time.Hour)
	want("not valid before an hour", p.service("gru"), "/v1/units", 401)
	p.times(5*time.Minute, 0)

	old := p.service("gru")
	for why, token := range forgeries(t, p, old) {
		want(why, token, "/v1/units", 401)
	}
	want("the token that was forged", old, "/v1/units", 200)

	time.Sleep(time.Second) // forgeries have used up how often keys are asked for
	p.sign(jose.RS256)
	p.publish(2)
	rotated := p.service("gru")
	want("after a rotation", rotated, "/v1/units", 200)
	want("a token from before it, whose key is published yet", old, "/v1/units", 200)
	p.sign(jose.RS256)
	p.publish(1)
	want("after the next", p.service("gru"), "/v1/units", 200)
	want("a token of a key that was withdrawn", rotated, "/v1/units", 401)
	for _, secret := range []string{"claire.martin", "gru", old, rotated} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log tells %.12s", secret)
		}
	}
}

// forgeries changes a good token in the ways of those who have no key.
func forgeries(t *testing.T, p *realProvider, good string) map[string]string {
	t.Helper()
	resp, err := p.ts.Client().Get(p.ts.URL + "/keys")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	jwks, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(jwks, &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("%v %s", err, jwks)
	}
	public := set.Keys[0].Key.(*rsa.PublicKey)
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(public)
	parts := strings.Split(good, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	signed := func(alg jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, embed bool) string {
		options := &jose.SignerOptions{ExtraHeaders: header, EmbedJWK: embed}
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
		if err != nil {
			t.Fatal(err)
		}
		o, err := signer.Sign(payload)
		if err != nil {
			t.Fatal(err)
		}
		out, err := o.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	kid := map[jose.HeaderKey]any{"kid": set.Keys[0].KeyID}
	own, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	head := func(h string) string { return base64.RawURLEncoding.EncodeToString([]byte(h)) }
	other := []byte(parts[2])
	other[20] ^= 1
	real := p.keys[len(p.keys)-1].key
	return map[string]string{
		"none":                                    head(`{"alg":"none"}`) + "." + parts[1] + ".",
		"none, with the signature":                head(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2],
		"None":                                    head(`{"alg":"None","kid":"`+set.Keys[0].KeyID+`"}`) + "." + parts[1] + ".",
		"no signature":                            parts[0] + "." + parts[1] + ".",
		"another signature":                       parts[0] + "." + parts[1] + "." + string(other),
		"HS256 by the public key, PEM":            signed(jose.HS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki}), kid, false),
		"HS256 by the public key, PKCS #1 PEM":    signed(jose.HS256, pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}), kid, false),
		"HS256 by the public key, DER":            signed(jose.HS256, spki, kid, false),
		"HS256 by the modulus":                    signed(jose.HS256, public.N.Bytes(), kid, false),
		"HS256 by the key set":                    signed(jose.HS256, jwks, kid, false),
		"own key under the provider's identifier": signed(jose.RS256, own, kid, false),
		"own key, unknown identifier":             signed(jose.RS256, own, map[jose.HeaderKey]any{"kid": "mine"}, false),
		"own key, no identifier":                  signed(jose.RS256, own, nil, false),
		"own key in the token":                    signed(jose.RS256, own, nil, true),
		"own key at an address in the token":      signed(jose.RS256, own, map[jose.HeaderKey]any{"jku": "https://evil.example/keys", "kid": "mine"}, false),
		"the right key by an algorithm that the provider does not name": signed(jose.RS512, real, kid, false),
		"the right key by RSA-PSS":                                      signed(jose.PS256, real, kid, false),
		"a header that must be understood":                              signed(jose.RS256, real, map[jose.HeaderKey]any{"kid": set.Keys[0].KeyID, "crit": []string{"exp"}}, false),
	}
}

// TestForgedTokensDoNotFloodTheProvider: each token of an unknown key makes one ask for keys; whoever
// has none must not make the service ask a thousand times.
func TestForgedTokensDoNotFloodTheProvider(t *testing.T) {
	p := newRealProvider(t)
	at, err := newProvider(p.issuer())
	if err != nil {
		t.Fatal(err)
	}
	good := p.service("gru")
	if _, err := at.identify(context.Background(), good); err != nil {
		t.Fatal(err)
	}
	forged := forgeries(t, p, good)["own key, unknown identifier"]
	before, began := p.asked.Load(), time.Now()
	for range 500 {
		if _, err := at.identify(context.Background(), forged); err == nil {
			t.Fatal("a forged token names somebody")
		}
	}
	most := int64(keysAsked * (2 + time.Since(began)/time.Second))
	if n := p.asked.Load() - before; n > most {
		t.Errorf("500 forged tokens: its keys were asked for %d times, at most %d", n, most)
	}
	if _, err := at.identify(context.Background(), good); err != nil {
		t.Errorf("a good token behind forged ones: %v", err)
	}
}

// TestProviderIsAskedAgain: what a provider withdraws does not stay good because nobody uses what comes
// after it, and a provider may change its algorithm.
func TestProviderIsAskedAgain(t *testing.T) {
	p := newRealProvider(t)
	at, err := newProvider(p.issuer())
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	old := p.service("gru")
	if _, err := at.identify(ctx, old); err != nil {
		t.Fatal(err)
	}
	aged := func() {
		at.mu.Lock()
		defer at.mu.Unlock()
		at.found, at.tried = time.Now().Add(-discoverEvery), time.Time{}
	}
	until := func(why, token string, good bool) {
		t.Helper()
		for range 200 {
			if _, err = at.identify(ctx, token); (err == nil) == good {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		t.Errorf("%s: %v", why, err)
	}
	p.down.Store(true)
	aged()
	for range 3 {
		if _, err := at.identify(ctx, old); err != nil {
			t.Errorf("the provider is down: %v", err)
		}
	}
	until("while it is down what it told stays", old, true)
	for asked := false; !asked; time.Sleep(time.Millisecond) { // in vain: else what is asked now is answered later
		at.mu.Lock()
		asked = !at.asking && !at.tried.IsZero()
		at.mu.Unlock()
	}
	p.down.Store(false)
	p.sign(jose.ES256)
	next := p.service("gru")
	if _, err := at.identify(ctx, next); err == nil {
		t.Error("an algorithm that the provider had not named")
	}
	aged()
	until("of an algorithm that it names now", next, true)
	time.Sleep(time.Second) // keys are not asked for more often
	p.sign(jose.ES256)
	aged()
	until("of a key that it withdrew", next, false)
}
