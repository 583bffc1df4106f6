package serving

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

func TestProblems(t *testing.T) {
	roles, tenants := []string{"depositor", "archivist"}, []string{"cd99"}
	for text, want := range map[string]string{
		"listen: 0.0.0.0:8443":                                    "",
		"plain: true":                                             "",
		"listen: nowhere":                                         "listen",
		"admin-listen: '8444'":                                    "admin-listen",
		"tls-cert: a.pem":                                         "tls-cert",
		"{plain: true, client-ca: ca.pem}":                        "plain",
		"seal-every: 10ms":                                        "seal-every",
		"limits: {idle: -1s}":                                     "limits",
		"limits: {waiting: -1}":                                   "limits",
		"limits: {waiting-bytes: -1}":                             "limits",
		"vitam: {tenants: {0: cd99}}":                             "",
		"vitam: {tenants: {0: cd98}}":                             "vitam.tenants.0",
		"vitam: {tenants: {-1: cd99}}":                            "vitam.tenants.-1",
		"vitam: {tenants: {7: ''}}":                               "vitam.tenants.7",
		"clients: [{subject: CN=a, name: a, roles: [depositor]}]": "client-ca",
		"{client-ca: ca.pem, clients: [{subject: CN=a, name: a, roles: [depositor]}]}":                                        "",
		"{client-ca: ca.pem, clients: [{subject: CN=a, name: a, roles: [king]}]}":                                             "clients[0]",
		"{client-ca: ca.pem, clients: [{subject: CN=a, name: a, tenant: cd98, roles: [depositor]}]}":                          "clients[0]",
		"{client-ca: ca.pem, clients: [{name: a, roles: [depositor]}]}":                                                       "clients[0]",
		"oidc: [{issuer: 'https://sso.example', audience: sae, roles-claim: groups, roles: [{word: a, roles: [archivist]}]}]": "",
		"oidc: [{issuer: 'http://sso.example', audience: sae, roles-claim: groups, roles: [{word: a, roles: [archivist]}]}]":  "oidc[0]",
		"oidc: [{issuer: 'https://sso.example', roles-claim: groups, roles: [{word: a, roles: [archivist]}]}]":                "oidc[0]",
		"oidc: [{issuer: 'https://sso.example', audience: sae, roles-claim: groups, roles: [{word: a, roles: [king]}]}]":      "oidc[0]",
		"due-soon: -1": "due-soon",
		"webhooks: {allow-private: true, give-up: 1h}": "",
		"webhooks: {give-up: -1s}":                     "webhooks",
		"webhooks: {give-up: 1ms}":                     "webhooks",
	} {
		c := &Config{}
		if err := yaml.UnmarshalWithOptions([]byte(text), c, yaml.Strict()); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		bad := c.Problems(roles, tenants)
		if _, found := bad[want]; want == "" && len(bad) > 0 || want != "" && (len(bad) != 1 || !found) {
			t.Errorf("%s: %v, want %q", text, bad, want)
		}
	}
}

func TestWith(t *testing.T) {
	var none *Config
	c := none.With()
	if c.Listen != "127.0.0.1:8443" || c.SealEvery != time.Minute || c.Limits.Upload == 0 || c.Limits.Idle == 0 || c.Admin != "" {
		t.Errorf("%+v", c)
	}
	given := &Config{Listen: "x:1", Issuers: []Issuer{{Issuer: "i"}}, Limits: Limits{Rate: 3}}
	c = given.With()
	if c.Listen != "x:1" || c.Limits.Rate != 3 || c.Issuers[0].Name != "sub" || given.Issuers[0].Name != "" {
		t.Errorf("%+v, of %+v", c, given)
	}
}

func TestReceiver(t *testing.T) {
	for address, want := range map[string]bool{
		"https://gru.example/events":    true,
		"https://gru.example:8443/?a=b": true,
		"http://127.0.0.1:8080/events":  true,
		"http://[::1]:8080/events":      true,
		"http://localhost/":             true,
		"http://gru.example/events":     false,
		"http://127.0.0.1.example/":     false,
		"https://a:b@gru.example/":      false,
		"https://gru.example/#part":     false,
		"https:///events":               false,
		"https://:443/":                 false,
		"ftp://gru.example/":            false,
		"file:///etc/passwd":            false,
		"gru.example":                   false,
		"https://gru example/":          false,
		"":                              false,
	} {
		if got := Receiver(address); got != want {
			t.Errorf("%q: %v", address, got)
		}
	}
}

func TestWithin(t *testing.T) {
	c := &Config{Cert: "keys/s.pem", Key: "/etc/s.key", Issuers: []Issuer{{CA: "ca.pem"}}}
	c.Within("/srv/a")
	if c.Cert != filepath.Join("/srv/a", "keys/s.pem") || c.Key != "/etc/s.key" || c.Issuers[0].CA != "/srv/a/ca.pem" || c.ClientCA != "" {
		t.Errorf("%+v", c)
	}
}
