package archive

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"

	"sae/archive/converter"
	"sae/archive/escrow"
	"sae/archive/hsm"
	"sae/archive/s3"
	"sae/archive/serving"
	"sae/retention"
	"sae/seda"
)

// ConfigName is the name of the configuration file in an archive's directory.
const ConfigName = "sae.yaml"

// Config is the configuration file of an archive. Unknown keys are refused.
// Relative paths start at the archive's directory. It holds no secret: keys and
// passwords are named by the path of the file that holds them.
type Config struct {
	Archive   string          `yaml:"archive"`    // random identifier, drawn by Create; the offers carry it too
	Origin    string          `yaml:"origin"`     // name of the ledger in its checkpoints (C2SP tlog-checkpoint origin)
	Tenants   []Tenant        `yaml:"tenants"`    // archival agencies; the first is the default
	Offers    []OfferConfig   `yaml:"offers"`     // where copies lie; read in this order
	Storage   StorageConfig   `yaml:"storage"`    // how many copies, and what when an offer is down
	Slots     SlotConfig      `yaml:"slots"`      // the two small values kept outside the catalogue and its backups
	Authority []AuthorityConf `yaml:"timestamps"` // time-stamping authorities, tried in order
	Seal      SealConfig      `yaml:"seal"`
	GDPR      GDPRConfig      `yaml:"gdpr,omitempty"`
	// Converters are programs that make copies in other formats.
	Converters []converter.Config `yaml:"converters,omitempty"`
	// Escrow is for sealed copies of the root key.
	Escrow *EscrowConfig `yaml:"escrow,omitempty"`
	// Serve is how the archive is served over HTTP.
	Serve *serving.Config `yaml:"serve,omitempty"`
}

// Tenant is an archival agency: its units, agreements and rules are its own.
type Tenant struct {
	ID         string      `yaml:"id"`                 // code
	Name       string      `yaml:"name"`               // for people
	Agreements []Agreement `yaml:"agreements"`         // archival agreements deposits may name; the first is the default
	Agencies   []string    `yaml:"agencies,omitempty"` // originating agencies; empty: any
	// Roles are who may do what: names as --as gives them. Destroying takes different persons
	// as archivist, originating-agency and control-authority.
	Roles map[Role][]string `yaml:"roles,omitempty"`
	// Agreeing are, by originating agency, those of its role who agree to what becomes of its
	// units; of an agency that is not named: all who have the role.
	Agreeing map[string][]string `yaml:"agreeing,omitempty"`
	Storage  string              `yaml:"storage,omitempty"` // storage policy; the archive's own when absent
	// AcceptUnknown says what a SEDA transfer may name that is not listed here:
	// "agreements", "agencies", "rules". It is kept as named.
	AcceptUnknown []string `yaml:"accept-unknown,omitempty"`
	// Schemas are schema files to hold SEDA transfers against beside the model of the
	// program, by version of SEDA.
	Schemas map[string]string `yaml:"seda-schemas,omitempty"`
	// Formats is a file of risk notes on formats, which take the place of the program's.
	Formats string     `yaml:"formats,omitempty"`
	GDPR    GDPRConfig `yaml:"gdpr,omitempty"` // the archive's own where absent
}

// GDPRConfig is what the protection of personal data needs to know.
type GDPRConfig struct {
	// AccessLog is how long it is kept who read what, such as P6M; one year when absent.
	AccessLog retention.Duration `yaml:"access-log,omitempty"`
	// What stands in letters to data subjects and in the record of processing: the controller's
	// address, who signs and as what, where, how to reach the data-protection officer, the
	// administrative court, the security measures.
	Address   []string `yaml:"address,omitempty"`
	Place     string   `yaml:"place,omitempty"`
	Signatory string   `yaml:"signatory,omitempty"`
	Function  string   `yaml:"function,omitempty"`
	Officer   string   `yaml:"officer,omitempty"`
	Court     string   `yaml:"court,omitempty"`
	Measures  []string `yaml:"measures,omitempty"`
}

// gdpr is what the configuration says for a tenant: the archive's own where it says nothing.
func (c *Config) gdpr(of *Tenant) GDPRConfig {
	g := of.GDPR
	if len(g.Address) == 0 {
		g.Address = c.GDPR.Address
	}
	if len(g.Measures) == 0 {
		g.Measures = c.GDPR.Measures
	}
	g.Place, g.Signatory, g.Function = cmp.Or(g.Place, c.GDPR.Place), cmp.Or(g.Signatory, c.GDPR.Signatory), cmp.Or(g.Function, c.GDPR.Function)
	g.Officer, g.Court = cmp.Or(g.Officer, c.GDPR.Officer), cmp.Or(g.Court, c.GDPR.Court)
	return g
}

func (g *GDPRConfig) check(at string, bad *configProblems) {
	if d := g.AccessLog; d.Unlimited || !d.IsZero() && d.Count < 1 {
		bad.addf(at+".access-log", "%q: want a duration such as P6M or P1Y", d)
	}
}

// Agreement is an ArchivalAgreement (SEDA).
type Agreement struct {
	ID      string `yaml:"id"`
	Name    string `yaml:"name"`
	Storage string `yaml:"storage,omitempty"` // storage policy; the tenant's when absent
	// SEDA is how its transfers are held against the standard: "strict" or "tolerant",
	// which is what "" means.
	SEDA string `yaml:"seda,omitempty"`
}

// OfferConfig is one place where copies of every object lie.
type OfferConfig struct {
	Name string     `yaml:"name"`           // code, kept for ever: debts and ledger entries name it
	Path string     `yaml:"path,omitempty"` // folder
	S3   *s3.Config `yaml:"s3,omitempty"`   // or a bucket
	// Drain ends writing to the offer: it is read until its copies lie elsewhere and it is
	// removed.
	Drain bool `yaml:"drain,omitempty"`
}

// StorageConfig is the policy for copies.
type StorageConfig struct {
	Copies   int            `yaml:"copies"`             // copies that are durable before a deposit is acknowledged
	Down     string         `yaml:"offer-down"`         // "refuse" deposits, or "queue" the missing copy for repair
	Later    []string       `yaml:"later,omitempty"`    // offers to which copies are made afterwards: slow ones, cold ones
	Policies []PolicyConfig `yaml:"policies,omitempty"` // other policies, for agreements and tenants that name them
}

// PolicyConfig is a storage policy that a tenant, an agreement or a SEDA StorageRule names.
type PolicyConfig struct {
	ID     string   `yaml:"id"` // code
	Copies int      `yaml:"copies"`
	Down   string   `yaml:"offer-down,omitempty"` // as the archive's when absent
	Offers []string `yaml:"offers,omitempty"`     // where copies go at once; all others than later when absent
	Later  []string `yaml:"later,omitempty"`      // where they go afterwards
}

// SlotConfig says where the two small values lie that no backup of the
// catalogue may hold.
type SlotConfig struct {
	Root       string `yaml:"root-key"`   // the 32-byte root of the key tree
	Checkpoint string `yaml:"checkpoint"` // the last checkpoint signed
	// PKCS11 is the token under whose keys the root is wrapped in its slot; as it is when absent.
	PKCS11 *hsm.Config `yaml:"pkcs11,omitempty"`
}

// EscrowConfig says to whom copies of the root key are sealed.
type EscrowConfig struct {
	MaxAge     string   `yaml:"max-age"`          // after which every holder must have destroyed a copy: 30d, 12h
	Recipients []string `yaml:"recipients"`       // age X25519 recipients; each of them can open it alone
	Folder     string   `yaml:"folder,omitempty"` // where one is written whenever the root key was replaced
}

// AuthorityConf is one time-stamping authority (RFC 3161). Exactly one of
// Embedded and URL is set.
type AuthorityConf struct {
	Name     string        `yaml:"name"`
	Embedded bool          `yaml:"embedded,omitempty"` // the authority in this program: for evaluation, not qualified
	URL      string        `yaml:"url,omitempty"`
	Roots    string        `yaml:"roots,omitempty"`   // PEM file: the roots its tokens must chain to; required with url
	Timeout  time.Duration `yaml:"timeout,omitempty"` // of one try; 15s when absent
	Tries    int           `yaml:"tries,omitempty"`   // per seal, with back-off; 3 when absent
	User     string        `yaml:"user,omitempty"`    // HTTP basic authentication
	Password string        `yaml:"password-file,omitempty"`
}

// SealConfig bounds a batch.
type SealConfig struct {
	MaxLeaves int64 `yaml:"max-leaves"` // leaves under one token
}

//go:embed config.tmpl.yaml
var configTemplate string

// newConfigFile is the commented configuration file of a new archive.
func newConfigFile(id string, n New) ([]byte, error) {
	t, err := template.New(ConfigName).Parse(configTemplate)
	if err != nil {
		return nil, fmt.Errorf("writing configuration: %w", err)
	}
	var b bytes.Buffer
	fields := map[string]string{
		"Archive": id, "Origin": yamlString(n.Origin), "Tenant": yamlString(n.Tenant), "TenantName": yamlString(n.TenantName),
		"AcceptUnknown": strings.Join(n.AcceptUnknown, ", "),
	}
	if n.PKCS11 != nil {
		fields["Module"], fields["Token"], fields["PIN"] = yamlString(n.PKCS11.Module), yamlString(n.PKCS11.Token), yamlString(n.PKCS11.PIN)
	}
	err = t.Execute(&b, fields)
	return b.Bytes(), err
}

// yamlString quotes a string for YAML, whose double-quoted form is that of JSON.
func yamlString(s string) string { return fmt.Sprintf("%q", s) }

// LoadConfig reads and checks the configuration of the archive in dir. Every
// error names the key and the line.
func LoadConfig(dir string) (*Config, error) {
	path := filepath.Join(dir, ConfigName)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("no archive in %s: there is no %s; make one with: sae init --dir %s: %w", dir, ConfigName, dir, ErrNotFound)
	case err != nil:
		return nil, fmt.Errorf("reading configuration: %w", err)
	}
	c, err := parseConfig(data)
	if err != nil {
		return nil, &DamagedError{What: "configuration", Where: path, Err: err}
	}
	for i := range c.Offers {
		c.Offers[i].within(dir)
	}
	c.Slots.Root, c.Slots.Checkpoint = within(dir, c.Slots.Root), within(dir, c.Slots.Checkpoint)
	if c.Slots.PKCS11 != nil {
		c.Slots.PKCS11.PIN = within(dir, c.Slots.PKCS11.PIN)
	}
	if c.Serve != nil {
		c.Serve.Within(dir)
	}
	if c.Escrow != nil {
		c.Escrow.Folder = within(dir, c.Escrow.Folder)
	}
	for i := range c.Tenants {
		c.Tenants[i].Formats = within(dir, c.Tenants[i].Formats)
		for version, file := range c.Tenants[i].Schemas {
			c.Tenants[i].Schemas[version] = within(dir, file)
		}
	}
	for i := range c.Authority {
		a := &c.Authority[i]
		a.Roots, a.Password = within(dir, a.Roots), within(dir, a.Password)
	}
	return c, nil
}

// within makes the paths of an offer begin at the archive's folder.
func (o *OfferConfig) within(dir string) {
	if o.S3 == nil {
		o.Path = within(dir, o.Path)
		return
	}
	bucket := *o.S3
	for _, file := range []*string{&bucket.CA, &bucket.Credentials} {
		if *file != "" && *file != "env" && *file != "iam" {
			*file = within(dir, *file)
		}
	}
	o.S3 = &bucket
}

func within(dir, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

const maxConfig = 16 << 20

func parseConfig(data []byte) (*Config, error) {
	if len(data) > maxConfig {
		return nil, fmt.Errorf("%d bytes, more than %d", len(data), maxConfig)
	}
	c := &Config{Seal: SealConfig{MaxLeaves: 1 << 20}}
	err := yaml.NewDecoder(bytes.NewReader(data), yaml.Strict()).Decode(c)
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the file is empty")
	}
	if err != nil {
		return nil, errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	var bad configProblems
	c.check(&bad)
	if len(bad) == 0 {
		return c, nil
	}
	return nil, bad.located(data)
}

// configProblems are what is wrong, each with the YAML path of the key.
type configProblems []struct{ path, problem string }

func (p *configProblems) addf(path, format string, args ...any) {
	*p = append(*p, struct{ path, problem string }{path, fmt.Sprintf(format, args...)})
}

// located gives all problems as one error, each with key and line.
func (p configProblems) located(data []byte) error {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return err
	}
	var lines []string
	for _, x := range p {
		where := strings.TrimPrefix(x.path, "$.")
		if at, err := yaml.PathString(x.path); err == nil {
			if node, err := at.FilterFile(file); err == nil && node != nil && node.GetToken() != nil {
				where = fmt.Sprintf("line %d, %s", node.GetToken().Position.Line, where)
			}
		}
		lines = append(lines, where+": "+x.problem)
	}
	return errors.New(strings.Join(lines, "\n"))
}

var codeForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (c *Config) check(bad *configProblems) {
	if !codeForm.MatchString(c.Archive) {
		bad.addf("$.archive", "want the identifier that sae init wrote")
	}
	if c.Origin == "" || strings.ContainsAny(c.Origin, " +\n") {
		bad.addf("$.origin", "want a name without spaces or +, such as archives.example.org/sae")
	}
	c.checkTenants(bad)
	c.checkStorage(bad)
	c.checkAuthorities(bad)
	c.checkConverters(bad)
	if c.Slots.Root == "" {
		bad.addf("$.slots.root-key", "missing")
	}
	if c.Slots.Checkpoint == "" {
		bad.addf("$.slots.checkpoint", "missing")
	}
	c.GDPR.check("$.gdpr", bad)
	if c.Slots.PKCS11 != nil {
		problems := c.Slots.PKCS11.Problems()
		for _, key := range slices.Sorted(maps.Keys(problems)) {
			bad.addf("$.slots.pkcs11."+key, "%s", problems[key])
		}
	}
	c.Escrow.check(bad)
	c.checkServe(bad)
	if c.Seal.MaxLeaves < 2 {
		bad.addf("$.seal.max-leaves", "want at least 2")
	}
}

func (c *Config) checkServe(bad *configProblems) {
	if c.Serve == nil {
		return
	}
	var roles, tenants []string
	for _, r := range Roles {
		roles = append(roles, string(r))
	}
	for _, t := range c.Tenants {
		tenants = append(tenants, t.ID)
	}
	problems := c.Serve.Problems(roles, tenants)
	for _, key := range slices.Sorted(maps.Keys(problems)) {
		bad.addf("$.serve."+key, "%s", problems[key])
	}
}

func (c *EscrowConfig) check(bad *configProblems) {
	if c == nil {
		return
	}
	if _, err := c.maxAge(); err != nil {
		bad.addf("$.escrow.max-age", "%v", err)
	}
	if len(c.Recipients) == 0 {
		bad.addf("$.escrow.recipients", "want at least one age recipient")
	}
	for i, r := range c.Recipients {
		if err := escrow.CheckRecipient(r); err != nil {
			bad.addf(fmt.Sprintf("$.escrow.recipients[%d]", i), "%v", err)
		}
	}
}

// maxAge reads the age: days, or a duration of Go.
func (c *EscrowConfig) maxAge() (time.Duration, error) {
	age, err := time.ParseDuration(c.MaxAge)
	if days, ok := strings.CutSuffix(c.MaxAge, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		age = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || age < time.Second {
		return 0, fmt.Errorf("%q: want days or hours, such as 30d or 12h", c.MaxAge)
	}
	return age, nil
}

func (c *Config) checkTenants(bad *configProblems) {
	if len(c.Tenants) == 0 {
		bad.addf("$.tenants", "want at least one tenant")
	}
	seen := map[string]bool{}
	unique := func(path, kind, id string) {
		if !codeForm.MatchString(id) {
			bad.addf(path, "%q is not a code: letters, digits, dot, dash, underscore, at most 64", id)
		} else if seen[kind+"\x00"+id] {
			bad.addf(path, "%q is there twice", id)
		}
		seen[kind+"\x00"+id] = true
	}
	for i, t := range c.Tenants {
		at := fmt.Sprintf("$.tenants[%d]", i)
		unique(at+".id", "tenant", t.ID)
		if len(t.Agreements) == 0 {
			bad.addf(at+".agreements", "want at least one agreement")
		}
		for j, a := range t.Agreements {
			unique(fmt.Sprintf("%s.agreements[%d].id", at, j), t.ID+"/agreement", a.ID)
			if _, err := a.mode(); err != nil {
				bad.addf(fmt.Sprintf("%s.agreements[%d].seda", at, j), "%v", err)
			}
		}
		for j, what := range t.AcceptUnknown {
			if !slices.Contains(acceptable, what) {
				bad.addf(fmt.Sprintf("%s.accept-unknown[%d]", at, j), "%q: want some of %s", what, strings.Join(acceptable, ", "))
			}
		}
		for role := range t.Roles {
			if !slices.Contains(Roles, role) {
				bad.addf(at+".roles", "%q is not a role: want some of %v", role, Roles)
			}
		}
		for agency, who := range t.Agreeing {
			if err := t.agency(agency); err != nil {
				bad.addf(at+".agreeing", "%v", err)
			}
			for _, name := range who {
				if !t.has(name, OriginatingAgency) {
					bad.addf(at+".agreeing", "%q agrees for %q, and has not the role %s", name, agency, OriginatingAgency)
				}
			}
		}
		t.GDPR.check(at+".gdpr", bad)
		for version := range t.Schemas {
			if _, err := seda.ParseVersion(version); err != nil {
				bad.addf(at+".seda-schemas", "%v", err)
			}
		}
	}
}

// acceptable is what a tenant can be told to accept though it does not know it.
var acceptable = []string{"agreements", "agencies", "rules"}

// mode is how transfers under the agreement are held against the standard.
func (a *Agreement) mode() (seda.Mode, error) {
	if a.SEDA == "" {
		return seda.Tolerant, nil
	}
	return seda.ParseMode(a.SEDA)
}

// ParseBucket reads how to reach a bucket, as it stands under "s3:" of an offer.
func ParseBucket(text []byte) (*s3.Config, error) {
	c := &s3.Config{}
	if err := yaml.UnmarshalWithOptions(text, c, yaml.Strict()); err != nil {
		return nil, err
	}
	bad := &Refusal{}
	problems := c.Problems()
	for _, key := range slices.Sorted(maps.Keys(problems)) {
		bad.addf("%s: %s", key, problems[key])
	}
	return c, bad.orNil()
}

func (c *Config) checkStorage(bad *configProblems) {
	if len(c.Offers) == 0 {
		bad.addf("$.offers", "want at least one offer")
	}
	seen := map[string]bool{}
	for i, o := range c.Offers {
		at := fmt.Sprintf("$.offers[%d]", i)
		if !codeForm.MatchString(o.Name) || seen[o.Name] {
			bad.addf(at+".name", "%q is not a code, or is there twice", o.Name)
		}
		switch {
		case o.S3 != nil && o.Path != "":
			bad.addf(at+".path", "want either a path or s3")
		case o.S3 != nil:
			for key, why := range o.S3.Problems() {
				bad.addf(at+".s3."+key, "%s", why)
			}
		case o.Path == "":
			bad.addf(at+".path", "missing")
		}
		place := "path:" + filepath.Clean(o.where())
		if seen[place] {
			key := ".path"
			if o.S3 != nil {
				key = ".s3"
			}
			bad.addf(at+key, "the same as another offer's")
		}
		seen[o.Name], seen[place] = true, true
	}
	if c.Storage.Down != "refuse" && c.Storage.Down != "queue" {
		bad.addf("$.storage.offer-down", "want refuse or queue")
	}
	c.checkPolicies(bad)
}

func (c *Config) checkAuthorities(bad *configProblems) {
	if len(c.Authority) == 0 {
		bad.addf("$.timestamps", "want at least one time-stamping authority")
	}
	for i, a := range c.Authority {
		at := fmt.Sprintf("$.timestamps[%d]", i)
		switch {
		case a.Name == "":
			bad.addf(at+".name", "missing")
		case a.Embedded == (a.URL != ""):
			bad.addf(at+".name", "want either embedded: true or a url")
		case a.URL != "" && a.Roots == "":
			bad.addf(at+".url", "roots is missing: the PEM file of the roots that its tokens must chain to")
		case a.Timeout < 0 || a.Tries < 0:
			bad.addf(at+".name", "timeout and tries are not negative")
		}
	}
}

func (c *Config) checkConverters(bad *configProblems) {
	seen := map[string]bool{}
	for i := range c.Converters {
		at := fmt.Sprintf("$.converters[%d]", i)
		id := c.Converters[i].ID
		if !codeForm.MatchString(id) || seen[id] {
			bad.addf(at+".id", "%q is not a code, or is there twice", id)
		}
		seen[id] = true
		problems := c.Converters[i].Problems()
		for _, key := range slices.Sorted(maps.Keys(problems)) {
			bad.addf(at+"."+key, "%s", problems[key])
		}
	}
}

// tenant finds a tenant by its code; "" is the first one.
func (c *Config) tenant(id string) (*Tenant, error) {
	var known []string
	for i := range c.Tenants {
		if id == "" || c.Tenants[i].ID == id {
			return &c.Tenants[i], nil
		}
		known = append(known, c.Tenants[i].ID)
	}
	return nil, unknownTenant(id, known)
}

func unknownTenant(id string, known []string) error {
	return &Refusal{Problems: []string{fmt.Sprintf("tenant %q is not known; known: %s", id, strings.Join(known, ", "))}}
}

// agreement finds an agreement by its code; "" is the first one.
func (t *Tenant) agreement(id string) (string, error) {
	var known []string
	for _, a := range t.Agreements {
		if id == "" || a.ID == id {
			return a.ID, nil
		}
		known = append(known, a.ID)
	}
	return "", fmt.Errorf("agreement %q is not known to tenant %s; known: %s", id, t.ID, strings.Join(known, ", "))
}

// TenantName is the name of a tenant for people; its code when it has none.
func (a *Archive) TenantName(id string) string {
	t, err := a.tenant(id)
	if err != nil || t.Name == "" {
		return id
	}
	return t.Name
}
