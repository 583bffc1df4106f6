package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sae/api"
	"sae/api/remote"
	"sae/archive"
	"sae/archive/serving"
)

// atADistance, in the environment, names a file that gathers the verbs, and has the program of the scripts put a service between itself and its
// archive: each verb that a service runs goes through --server to one, in the name of who acts. What the
// scripts expect is the same.
const atADistance = "SAE_TEST_AT_A_DISTANCE"

// TestScriptsAtADistance runs the stories again, with a service in between.
func TestScriptsAtADistance(t *testing.T) {
	asked := filepath.Join(t.TempDir(), "asked")
	programs := t.TempDir() // these tests as a program, without the race detector: see TestScripts
	if out, err := exec.Command("go", "test", "-c", "-o", filepath.Join(programs, "sae"), ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p := scripts(programs, asked)
	t.Run("scripts", func(t *testing.T) { testscript.Run(t, p) })
	b, err := os.ReadFile(asked)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("no script was run")
	}
	if err != nil {
		t.Fatal(err)
	}
	ran := strings.Split(string(b), "\n")
	for name := range api.Verbs() {
		if !slices.Contains(ran, name) {
			t.Errorf("no script has a service run sae %s", name)
		}
	}
}

// runAtADistance is run, with a service in between where there can be one.
func runAtADistance(args []string, in io.Reader, out, errOut io.Writer) int {
	here := func() int { return run(args, in, out, errOut) }
	c := &cli{}
	cmd, rest, err := c.root().Find(args)
	if err != nil {
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
	if err := appendLine(os.Getenv(atADistance), name); err != nil {
		fmt.Fprintln(errOut, err)
		return 99
	}
	args = append([]string{"--server", s.url, "--ca", s.ca, "--cert", s.cert, "--cert-key", s.certKey}, strings.Fields(name)...)
	for _, flag := range given {
		if word, _, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "="); !slices.Contains(ofMachine, word) {
			args = append(args, flag)
		}
	}
	args = append(append(args, "--"), cmd.Flags().Args()...)
	return here()
}

func appendLine(file, line string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line + "\n")
	return errors.Join(err, f.Close())
}

// distant is a service over TLS, and what its client needs.
type distant struct {
	url, ca, cert, certKey string
	close                  func()
	running                atomic.Int64 // verbs
}

// serveOver serves an archive to one person, known by a certificate: a key would be in the ledger. Whole
// is the listener of administration.
func serveOver(a *archive.Archive, agent, tenant string, whole bool) (*distant, error) {
	return serveTo(a, agent, tenant, whole, archive.Roles)
}

func serveTo(a *archive.Archive, agent, tenant string, whole bool, roles []archive.Role) (*distant, error) {
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
	for _, r := range roles {
		client.Roles = append(client.Roles, string(r))
	}
	config.Clients = []serving.Client{client}
	life, end := context.WithCancel(context.Background())
	verbs := newRunner(life)
	served := api.Config{Version: "test", Serving: config, Spool: filepath.Join(dir, "spool"), Run: func(ctx context.Context, command *api.Command) int {
		d.running.Add(1)
		defer d.running.Add(-1)
		return verbs.run(ctx, command)
	}}
	service, err := api.New(a, served)
	if err != nil {
		end()
		return nil, err
	}
	handler := service.Handler
	if whole {
		handler = service.Admin
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

// result is what a command has come to.
type result struct {
	status      int
	out, errOut string
	files       string // that it wrote, below the folder named out
}

// do runs a command, with a folder for what it writes.
func do(t *testing.T, in string, args ...string) result {
	t.Helper()
	if err := errors.Join(os.RemoveAll("out"), os.Mkdir("out", 0o700)); err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	r := result{status: run(args, strings.NewReader(in), &out, &errOut)}
	r.out, r.errOut = out.String(), errOut.String()
	err := filepath.WalkDir("out", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		r.files += fmt.Sprintf("%s %x\n", path, sha256.Sum256(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// identifiers finds those of a letter in what was printed.
func identifiers(letter, s string) []string {
	return regexp.MustCompile(`\b`+letter+`[a-z2-7]{26}\b`).FindAllString(s, -1)
}

// TestTheSameFromADistance runs verbs over one archive, on its machine and then by a service, and wants the
// same streams, status and files. Those that change something are told of by the scripts.
func TestTheSameFromADistance(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("SAE_DIR", "archive")
	t.Setenv("SAE_AGENT", "tester")
	for name, text := range map[string]string{"docs/a.txt": "un", "docs/b/c.txt": "deux", "rules.yaml": "rules:\n  - {id: X, duration: P2Y, final-action: Destroy, status: to confirm}\n", "bad.yaml": "rules: [", "person.json": `{"familyName":"Martin"}`, "list": "docs/a.txt\nnowhere\n", "meta.json": `{"files":{"nobody":{}}}`, "reply.xml": "<a/>"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	must := func(args ...string) string {
		t.Helper()
		r := do(t, "", args...)
		if r.status != 0 {
			t.Fatalf("sae %s: %+v", strings.Join(args, " "), r)
		}
		return r.out
	}
	must("init")
	must("rules", "import", "rules.yaml")
	deposited := must("deposit", "--subject", "S-1", "--originating-agency", "MDPH", "--rule", "X", "--rule-start", "2001-01-01", "docs")
	unit, object := identifiers("u", deposited)[1], identifiers("o", deposited)[0]
	subject := identifiers("h", must("subject", "new", "--family-name", "Martin", "--identifier", "https://idp.example#1"))[0]
	must("hold", "set", unit, "--reason", "contentieux")
	hold := identifiers("d", must("hold", "list"))[0]
	must("seal")

	commands := [][]string{
		{"show", unit}, {"show", "--json", unit}, {"show", "u" + strings.Repeat("a", 26)}, {"show"},
		{"list"}, {"list", "--json", "--limit", "1"}, {"list", "--from", "yesterday"}, {"list", "--no-such"}, {"list", "--help"},
		{"search", "docs"}, {"search", "--limit", "0", "x"}, {"history", unit}, {"history", "--json", unit},
		{"get", object}, {"get", object, "-o", "out/x"}, {"get", object, "-o", "list"}, {"get", object, "--output", "no/such/folder"},
		{"proof", unit}, {"retention", "due"}, {"retention", "explain", unit}, {"retention", "calendar", "-o", "out/c.csv"}, {"retention", "calendar", "-o", "out/c.svg"}, {"retention", "calendar", "-o", "out/c.txt"},
		{"rules", "list"}, {"rules", "show", "X"}, {"rules", "export"}, {"rules", "export", "-o", "out/r.csv"}, {"rules", "diff", "rules.yaml"}, {"rules", "import", "bad.yaml"}, {"rules", "import", "nowhere.yaml"}, {"rules", "import"},
		{"procedure", "list"}, {"procedure", "check", "rules.yaml"}, {"procedure", "add", "bad.yaml"}, {"procedure", "example"},
		{"hold", "list", "--all"}, {"hold", "show", hold}, {"hold", "set", "x"}, {"hold", "lift", hold},
		{"restriction", "list"}, {"access", "list"}, {"access", "explain", unit}, {"access", "grant"},
		{"subject", "show", subject}, {"subject", "list"}, {"subject", "find", "--from", "person.json"}, {"subject", "find", "--from", "-"}, {"subject", "new", "--from", "nowhere.json"},
		{"file", "list"}, {"file", "show", "nobody"}, {"file", "open"},
		{"eliminate", "analyse"}, {"eliminate", "analyse", "--units"}, {"eliminate", "list"}, {"eliminate", "show", "x"}, {"eliminate", "reply", "e" + strings.Repeat("a", 26), "reply.xml"}, {"eliminate"},
		{"transfer", "list"}, {"transfer", "send", "x", "-o", "out/t"}, {"transfer", "acknowledge", "x", "nowhere.xml"},
		{"request", "list"}, {"request", "open", "--article", "19", "--subject", subject}, {"request", "answer", "x", "--letter", "nowhere.pdf"},
		{"gdpr", "check"}, {"gdpr", "register"},
		{"convert", "list"}, {"convert", "add", unit, "nowhere"}, {"convert", "add", unit, "docs"}, {"convert", "run", "nothing", "--all"}, {"formats"}, {"formats", "units", "x-fmt/111"}, {"formats", "risks", "fmt/40"}, {"formats", "risks", "--risks", "bad.yaml"}, {"formats", "--risks", "nowhere.yaml"},
		{"ledger", "checkpoint"}, {"ledger", "checkpoint", "--key"}, {"ledger", "entry", "1"}, {"ledger", "prove", "1"}, {"ledger", "consistency", "1", "3"},
		{"apikey", "list"}, {"apikey", "revoke", "x"},
		{"deposit", "nowhere"}, {"deposit"}, {"deposit", "--metadata", "meta.json", "docs"}, {"deposit", "--metadata", "nowhere.json", "docs"}, {"deposit", "--files-from", "list"}, {"deposit", "--files-from", "-"}, {"deposit", "--jobs", "0", "docs"},
		{"export", unit, "-o", "list"}, {"export", unit}, {"export", unit, "--kind", "gift", "-o", "out/x"}, {"restitute", "--originating-agency", "NOBODY", "-o", "out/x"}, {"restitute", "--originating-agency", "MDPH", "-o", "docs"},
		{"status"}, {"stats"}, {"stats", "--json"}, {"fsck"}, {"ledger", "verify"}, {"gdpr", "verify-log"}, {"offer", "list"}, {"root", "status"}, {"offer", "sync", "nobody"}, {"offer", "remove", "first"}, {"repair"}, {"repair", "--reason", "x"}, {"seal"}, {"audit", "--sample", "0"},
		{"verify", "list"}, {"seda", "check", "reply.xml"}, {"seda", "tree", "nowhere"}, {"nonsense"}, {"list", "too", "many"},
	}
	in := "{\"familyName\":\"Martin\"}\nnowhere\n"
	here := make([]result, len(commands))
	for i, args := range commands {
		here[i] = do(t, in, args...)
	}
	a, err := archive.Open("archive", archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var at [2]*distant
	for i := range at {
		if at[i], err = serveOver(a, "tester", a.Config().Tenants[0].ID, i == 1); err != nil {
			t.Fatal(err)
		}
		defer at[i].close()
	}
	// What reading itself changes, by being logged: of the ledger, sizes and roots; and what is free on the disk.
	moving := map[string]*regexp.Regexp{
		"status": regexp.MustCompile(`(log of accesses|offer) .*|\d+ entries`),
		"ledger": regexp.MustCompile(`(?m)^\d+$|[A-Za-z0-9+/]{40,}=*|\d+ entries|root .*,`),
		"offer":  regexp.MustCompile(`[0-9.]+ [KMGTP]iB +`),
		"fsck":   regexp.MustCompile(`\d+ (ledger entries|blobs in \d+ copies)`),
		"gdpr":   regexp.MustCompile(`\d+ records in .* entries;`),
	}
	whole := api.Verbs()
	failed := 0
	for i, args := range commands {
		d := at[0]
		if whole[args[0]] || len(args) > 1 && whole[args[0]+" "+args[1]] {
			d = at[1]
		}
		there := do(t, in, append([]string{"--server", d.url, "--ca", d.ca, "--cert", d.cert, "--cert-key", d.certKey}, args...)...)
		if m := moving[args[0]]; m != nil {
			there.out, here[i].out = m.ReplaceAllString(there.out, ""), m.ReplaceAllString(here[i].out, "")
		}
		if there != here[i] {
			t.Errorf("sae %s\nhere: %+v\nby a service: %+v", strings.Join(args, " "), here[i], there)
		}
		if here[i].status != 0 {
			failed++
		}
	}
	if failed < 20 || len(commands)-failed < 40 {
		t.Errorf("%d of %d were refused: the test shows little", failed, len(commands))
	}
}

// TestWhoMayRun: verbs are for roles, and each for its listener.
func TestWhoMayRun(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("SAE_DIR", "archive")
	if r := do(t, "", "init"); r.status != 0 {
		t.Fatal(r)
	}
	a, err := archive.Open("archive", archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	for i, c := range []struct {
		roles []archive.Role
		whole bool
		args  []string
		want  string
	}{
		{[]archive.Role{archive.Depositor}, false, []string{"list"}, "sae list: not for the roles of who asks; it is for archivist"},
		{[]archive.Role{archive.Auditor}, false, []string{"list"}, ""},
		{[]archive.Role{archive.Auditor}, false, []string{"status"}, "listener of administration"},
		{[]archive.Role{archive.Auditor}, true, []string{"status"}, ""},
		{[]archive.Role{archive.Archivist}, true, []string{"status"}, "not for the roles"},
		{[]archive.Role{archive.Auditor}, true, []string{"audit"}, "not for the roles"},
		{[]archive.Role{archive.Administrator}, true, []string{"audit"}, ""},
		{archive.Roles, true, []string{"list"}, "ask the service, not its listener"},
		{archive.Roles, false, []string{"init"}, "done on the machine"},
		{archive.Roles, false, []string{"root", "move", "--to", "file"}, "done on the machine"},
		{archive.Roles, false, []string{"list", "--dir", "elsewhere"}, "--dir is of an archive on this machine"},
		{archive.Roles, false, []string{"list", "--as", "somebody"}, "--as is of an archive on this machine"},
		{archive.Roles, false, []string{"list", "--lock-wait", "1s"}, "--lock-wait is of"},
	} {
		d, err := serveTo(a, "tester", a.Config().Tenants[0].ID, c.whole, c.roles)
		if err != nil {
			t.Fatal(err)
		}
		r := do(t, "", append([]string{"--server", d.url, "--ca", d.ca, "--cert", d.cert, "--cert-key", d.certKey}, c.args...)...)
		if (c.want == "") != (r.status == 0) || !strings.Contains(r.errOut, c.want) {
			t.Errorf("%d: %v: %+v, want %q", i, c.args, r, c.want)
		}
		d.close()
	}
}

// TestNotTheMachineOfTheService: a client that asks for more than the program does gets no further.
func TestNotTheMachineOfTheService(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("SAE_DIR", "archive")
	if r := do(t, "", "init"); r.status != 0 {
		t.Fatal(r)
	}
	a, err := archive.Open("archive", archive.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	d, err := serveOver(a, "tester", a.Config().Tenants[0].ID, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	client, err := (&service{url: d.url, ca: d.ca, cert: d.cert, certKey: d.certKey}).client()
	if err != nil {
		t.Fatal(err)
	}
	for verb, args := range map[string][]string{
		"init":             {"--dir=x"},
		"serve":            nil,
		"":                 {"list"},
		"retention":        {"due"},
		"list ":            nil,
		"ledger export":    {"x"},
		"offer add":        {"x", "--path=x"},
		"help":             nil,
		"__complete":       {"list", ""},
		"completion":       {"bash"},
		"list":             {"--dir=/"},
		"get":              {"--as=root", "x"},
		"history":          {"--lock-wait=1h", "x"},
		"search":           {"--server=https://elsewhere.example", "x"},
		"rules export":     {"--out=stolen"},
		"deposit":          {"archive/sae.yaml"},
		"procedure check":  {"archive/sae.yaml"},
		"subject find":     {"--from=archive/sae.yaml"},
		"eliminate list":   {"--ca=archive/sae.yaml"},
		"retention sample": {"--key-file=archive/sae.yaml"},
	} {
		ask := remote.Ask{Verb: verb}
		for _, arg := range args {
			ask.Args = append(ask.Args, []byte(arg))
		}
		var out, errOut bytes.Buffer
		status, err := client.Run(t.Context(), ask, remote.Streams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut}, remote.Named{})
		if err == nil && status == 0 || out.Len() > 0 {
			t.Errorf("sae %s %v: %v, status %d, %s%s", verb, args, err, status, &out, &errOut)
		}
		if err != nil { // the service asked the client, which the command does not let it
			var no *remote.NotNamedError
			if !errors.As(err, &no) {
				t.Errorf("sae %s %v: %v", verb, args, err)
			}
		}
	}
	if _, err := os.Stat("stolen"); err == nil {
		t.Error("a file was written on the machine of the service")
	}
}

// noFiles are those of a client who gives none.
type noFiles struct{ asked int }

var errNoFiles = errors.New("no files")

func (f *noFiles) no() error                                     { f.asked++; return errNoFiles }
func (f *noFiles) Open(string) (fs.File, error)                  { return nil, f.no() }
func (f *noFiles) ReadDir(string) ([]fs.DirEntry, error)         { return nil, f.no() }
func (f *noFiles) Stat(string) (fs.FileInfo, error)              { return nil, f.no() }
func (f *noFiles) Lstat(string) (fs.FileInfo, error)             { return nil, f.no() }
func (f *noFiles) ReadLink(string) (string, error)               { return "", f.no() }
func (f *noFiles) Base(path string) string                       { return path }
func (f *noFiles) Readable(string) error                         { return f.no() }
func (f *noFiles) Same(fs.FileInfo, fs.FileInfo) bool            { return false }
func (f *noFiles) Create(string) (remote.New, error)             { return nil, f.no() }
func (f *noFiles) CreateFolder(string) (remote.NewFolder, error) { return nil, f.no() }
