// Package serving says how an archive is served over HTTP: the "serve:" of its configuration.
package serving

import (
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"time"
)

// Config is how an archive is served. It holds no secret: keys are named by the path of their file.
type Config struct {
	Listen string `yaml:"listen,omitempty"` // address and port of the service; 127.0.0.1:8443 when absent
	// Admin is where health and metrics are told, without authentication, and where those who run the
	// archive ask, with keys like others: an address that only they reach. It has the TLS of the service
	// unless it is a loopback address. Nothing listens when it is absent.
	Admin string `yaml:"admin-listen,omitempty"`
	// Cert and Key are PEM files; when they change they are read again.
	Cert string `yaml:"tls-cert,omitempty"`
	Key  string `yaml:"tls-key,omitempty"`
	// Plain serves without TLS: behind a proxy on the same machine that ends it.
	Plain bool `yaml:"plain,omitempty"`
	// ClientCA is a PEM file of the authorities whose certificates Clients may show.
	ClientCA string   `yaml:"client-ca,omitempty"`
	Clients  []Client `yaml:"clients,omitempty"`
	Issuers  []Issuer `yaml:"oidc,omitempty"`
	// SealEvery is how often what was archived is sealed; one minute when absent.
	SealEvery time.Duration `yaml:"seal-every,omitempty"`
	// PublicLedger lets everybody read checkpoint and tiles of the ledger, which name nobody.
	PublicLedger bool   `yaml:"public-ledger,omitempty"`
	Limits       Limits `yaml:"limits,omitempty"`
	// Vitam opens the door for clients of VITAM's ingest.
	Vitam    Vitam    `yaml:"vitam,omitempty"`
	Webhooks Webhooks `yaml:"webhooks,omitempty"`
	// DueSoon is how many days before the end of its retention it is told of a unit that it is due; 90
	// when absent.
	DueSoon int `yaml:"due-soon,omitempty"`
	// Backup has the service back the archive up; it does not when it is absent.
	Backup *Backup `yaml:"backup,omitempty"`
	// Traces are sent nowhere when it is absent.
	Traces *Traces `yaml:"traces,omitempty"`
}

// Webhooks is how events are sent to the receivers that are registered in the archive.
type Webhooks struct {
	// AllowPrivate lets receivers be on this machine and in private networks: who registers one could
	// otherwise have requests made there.
	AllowPrivate bool          `yaml:"allow-private,omitempty"`
	GiveUp       time.Duration `yaml:"give-up,omitempty"` // after which an event that is not taken becomes a dead letter; 24h when absent
	CA           string        `yaml:"ca,omitempty"`      // PEM file of authorities for their certificates; those of the system when absent
}

// Vitam is the door for clients of VITAM. Without tenants it is shut.
type Vitam struct {
	Tenants map[int]string `yaml:"tenants,omitempty"` // by the number that X-Tenant-Id says
}

// Backup is where the service backs the archive up, and how often.
type Backup struct {
	Folder string        `yaml:"folder"`          // must be there: a disk that is not mounted is not written around
	Every  time.Duration `yaml:"every,omitempty"` // 24h when absent
	Keep   int           `yaml:"keep,omitempty"`  // generations; 7 when absent
}

// Traces say where spans are sent to (OpenTelemetry, OTLP over HTTP).
type Traces struct {
	Endpoint string  `yaml:"endpoint"`        // its URL, such as http://127.0.0.1:4318
	Share    float64 `yaml:"share,omitempty"` // of the requests that nobody traces already, from 0 to 1; all when absent
}

// Client is who shows a certificate.
type Client struct {
	Subject string   `yaml:"subject"`          // of the certificate, as RFC 2253 writes it: CN=gru,O=CD99
	Name    string   `yaml:"name"`             // who acts: as roles of tenants and the ledger name it
	Tenant  string   `yaml:"tenant,omitempty"` // the first when absent
	Roles   []string `yaml:"roles"`
}

// Issuer is an OpenID Connect provider whose tokens are accepted.
type Issuer struct {
	Issuer   string        `yaml:"issuer"`               // its URL
	Audience string        `yaml:"audience"`             // that tokens must be for
	Name     string        `yaml:"name-claim,omitempty"` // claim with the name of who acts; sub when absent
	Claim    string        `yaml:"roles-claim"`          // claim with words for roles, one or a list
	Roles    []Granted     `yaml:"roles"`                // what the words mean
	Tenant   string        `yaml:"tenant,omitempty"`     // the first when absent
	Skew     time.Duration `yaml:"clock-skew,omitempty"` // by which clocks may differ; one minute when absent
	CA       string        `yaml:"ca,omitempty"`         // PEM file of authorities for its certificate; those of the system when absent
}

// Granted are the roles that a word in a token gives.
type Granted struct {
	Word  string   `yaml:"word"`
	Roles []string `yaml:"roles"`
}

// Limits bound what clients may use.
type Limits struct {
	Upload     int64 `yaml:"upload,omitempty"`                // bytes of one deposit; 64 GiB when absent
	Concurrent int   `yaml:"concurrent,omitempty"`            // requests at a time; 256 when absent
	PerClient  int   `yaml:"concurrent-per-client,omitempty"` // of them, of one client; 96 when absent
	Commands   int   `yaml:"commands,omitempty"`              // verbs at a time that sae --server has run; 16 when absent
	Rate       int   `yaml:"per-second,omitempty"`            // requests of one client a second, on average; 1000 when absent
	// Waiting and WaitingBytes bound what of one tenant was received and waits to be worked off: 1000
	// operations and 256 GiB when absent.
	Waiting      int   `yaml:"waiting,omitempty"`
	WaitingBytes int64 `yaml:"waiting-bytes,omitempty"`
	// Uploads, UploadBytes and UploadKeep bound what of one client comes piece by piece and is not whole:
	// 100 uploads, 128 GiB as declared, each for 7 days when absent. Of a tenant they count among what waits.
	Uploads     int           `yaml:"uploads,omitempty"`
	UploadBytes int64         `yaml:"upload-bytes,omitempty"`
	UploadKeep  time.Duration `yaml:"upload-keep,omitempty"`
	Idle        time.Duration `yaml:"idle,omitempty"` // after which a client that neither sends nor takes anything is dropped; 30s when absent
}

// With gives the configuration with what is absent filled in.
func (c *Config) With() Config {
	var out Config
	if c != nil {
		out = *c
	}
	or(&out.Listen, "127.0.0.1:8443")
	or(&out.SealEvery, time.Minute)
	or(&out.Limits.Upload, 64<<30)
	or(&out.Limits.Concurrent, 256)
	or(&out.Limits.PerClient, 96)
	or(&out.Limits.Commands, 16)
	or(&out.Limits.Rate, 1000)
	or(&out.Limits.Waiting, 1000)
	or(&out.Limits.WaitingBytes, 256<<30)
	or(&out.Limits.Uploads, 100)
	or(&out.Limits.UploadBytes, 128<<30)
	or(&out.Limits.UploadKeep, 7*24*time.Hour)
	or(&out.Limits.Idle, 30*time.Second)
	or(&out.DueSoon, 90)
	or(&out.Webhooks.GiveUp, 24*time.Hour)
	if out.Backup != nil {
		b := *out.Backup
		or(&b.Every, 24*time.Hour)
		or(&b.Keep, 7)
		out.Backup = &b
	}
	if out.Traces != nil {
		t := *out.Traces
		or(&t.Share, 1)
		out.Traces = &t
	}
	out.Issuers = slices.Clone(out.Issuers)
	for i := range out.Issuers {
		or(&out.Issuers[i].Name, "sub")
		or(&out.Issuers[i].Skew, time.Minute)
	}
	return out
}

func or[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// Within makes relative paths begin at a folder.
func (c *Config) Within(dir string) {
	paths := []*string{&c.Cert, &c.Key, &c.ClientCA, &c.Webhooks.CA}
	for i := range c.Issuers {
		paths = append(paths, &c.Issuers[i].CA)
	}
	if c.Backup != nil {
		paths = append(paths, &c.Backup.Folder)
	}
	for _, p := range paths {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
}

// Problems says what is wrong, by key; known are the roles and tenants that there are.
func (c *Config) Problems(roles, tenants []string) map[string]string {
	bad := map[string]string{}
	for key, addr := range map[string]string{"listen": c.Listen, "admin-listen": c.Admin} {
		if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
			bad[key] = "want an address and a port, such as 0.0.0.0:8443"
		}
	}
	if (c.Cert == "") != (c.Key == "") {
		bad["tls-cert"] = "tls-cert and tls-key go together"
	}
	if c.Plain && (c.Cert != "" || c.ClientCA != "") {
		bad["plain"] = "without TLS there is no certificate"
	}
	if len(c.Clients) > 0 && c.ClientCA == "" {
		bad["client-ca"] = "missing: the authorities whose certificates clients may show"
	}
	if c.SealEvery < 0 || c.SealEvery > 0 && c.SealEvery < time.Second {
		bad["seal-every"] = "want at least 1s"
	}
	if l := c.Limits; l.Upload < 0 || l.Concurrent < 0 || l.PerClient < 0 || l.Commands < 0 || l.Rate < 0 || l.Idle < 0 || l.Waiting < 0 || l.WaitingBytes < 0 || l.Uploads < 0 || l.UploadBytes < 0 || l.UploadKeep < 0 {
		bad["limits"] = "limits are not negative"
	}
	if b := c.Backup; b != nil && b.Folder == "" {
		bad["backup.folder"] = "missing"
	} else if b != nil && (b.Every < 0 || b.Every > 0 && b.Every < time.Minute || b.Keep < 0) {
		bad["backup"] = "want every: at least 1m, and keep: at least 1"
	}
	if t := c.Traces; t != nil {
		if u, err := url.Parse(t.Endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			bad["traces.endpoint"] = "want a URL such as http://127.0.0.1:4318"
		}
		if !(t.Share >= 0 && t.Share <= 1) {
			bad["traces.share"] = "want a number from 0 to 1"
		}
	}
	unknown := func(key, tenant string, given []string) {
		if tenant != "" && !slices.Contains(tenants, tenant) {
			bad[key] = fmt.Sprintf("tenant %q is not known; known: %v", tenant, tenants)
		}
		for _, r := range given {
			if !slices.Contains(roles, r) {
				bad[key] = fmt.Sprintf("%q is not a role: want some of %v", r, roles)
			}
		}
	}
	for n, tenant := range c.Vitam.Tenants {
		key := fmt.Sprintf("vitam.tenants.%d", n)
		if n < 0 || n > 1<<31-1 || tenant == "" {
			bad[key] = "want a number that is not negative, and the code of a tenant"
		}
		unknown(key, tenant, nil)
	}
	for i, x := range c.Clients {
		key := fmt.Sprintf("clients[%d]", i)
		if x.Subject == "" || x.Name == "" || len(x.Roles) == 0 {
			bad[key] = "want subject, name and roles"
		}
		unknown(key, x.Tenant, x.Roles)
	}
	for i, x := range c.Issuers {
		key := fmt.Sprintf("oidc[%d]", i)
		if u, err := url.Parse(x.Issuer); err != nil || u.Scheme != "https" && !Loopback(u.Hostname()) {
			bad[key] = "issuer: want an https URL"
		}
		if x.Audience == "" || x.Claim == "" || len(x.Roles) == 0 {
			bad[key] = "want audience, roles-claim and roles"
		}
		for _, g := range x.Roles {
			unknown(key, x.Tenant, g.Roles)
		}
	}
	if c.DueSoon < 0 || c.DueSoon > 3660 {
		bad["due-soon"] = "want a number of days, at most 3660"
	}
	if g := c.Webhooks.GiveUp; g < 0 || g > 0 && g < time.Second {
		bad["webhooks"] = "give-up: want at least 1s"
	}
	return bad
}

// Receiver reports whether a webhook may have an address: https, or http on this machine, and without
// a user. Whether it may be reached is asked when it is.
func Receiver(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Host != "" && u.Hostname() != "" && u.User == nil && u.Fragment == "" && (u.Scheme == "https" || u.Scheme == "http" && Loopback(u.Hostname()))
}

// Loopback reports whether a host is this machine: only what runs on it reaches it.
func Loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
