package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sae/api/remote"
)

// service is the one that is to run the verb, and how it is reached.
type service struct {
	url, keyFile, ca, cert, certKey string
}

// ofService are the flags that say where a verb is run: they are not the verb's.
var ofService = []string{"server", "key-file", "ca", "cert", "cert-key"}

// ofMachine are the flags of the archive here: a service has its own, and knows who asks.
var ofMachine = []string{"dir", "as", "lock-wait"}

func (s *service) flags(f *pflag.FlagSet) {
	f.StringVar(&s.url, "server", os.Getenv("SAE_SERVER"), "have the verb run by the service at this URL; the key is in SAE_API_KEY, or --key-file (SAE_SERVER)")
	f.StringVar(&s.keyFile, "key-file", "", "with --server: file that holds the API key")
	f.StringVar(&s.ca, "ca", "", "with --server: PEM file of the authorities for its certificate (default those of the system)")
	f.StringVar(&s.cert, "cert", "", "with --server: PEM file of a certificate that says who asks")
	f.StringVar(&s.certKey, "cert-key", "", "with --server: PEM file of its key")
}

// hereVerbs need no archive ("root" and "ledger" alone name their verbs): they are run here, with or without a service.
var hereVerbs = []string{"root", "ledger", "verify", "seda check", "seda tree", "seda pack", "procedure example", "connect teleprocedure", "connect cmis"}

// machineVerbs begin, replace or serve an archive, bring its root key out, or read and write folders of
// its machine: no service runs them.
var machineVerbs = []string{"init", "serve", "demo", "rebuild", "backup", "restore", "doctor", "offer add", "offer drain", "root move", "root restore", "root escrow", "ledger accept-rollback", "ledger export"}

// place has each verb run where it is to be: here; or by the service that --server names; or, in a
// service, when it is the one that was asked for.
func (c *cli) place(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		c.place(sub)
	}
	run, name := cmd.RunE, verbOf(cmd)
	if run == nil {
		return
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case c.served != nil && c.served.Verb != name:
			return usagef("sae %s is not the verb that was asked for", name)
		case c.served != nil || c.service.url == "" || slices.Contains(hereVerbs, name):
			return run(cmd, args)
		case slices.Contains(machineVerbs, name):
			return usagef("sae %s is done on the machine of the archive, without --server (SAE_SERVER)", name)
		}
		return c.haveRun(cmd, name, args)
	}
}

// verbOf is the name of a verb: its words.
func verbOf(cmd *cobra.Command) string {
	_, name, _ := strings.Cut(cmd.CommandPath(), " ")
	return name
}

// statusError is the exit status of a verb that a service has run: it has said why.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// haveRun has the verb run by the service.
func (c *cli) haveRun(cmd *cobra.Command, name string, args []string) error {
	for _, flag := range ofMachine {
		if cmd.Flags().Changed(flag) {
			return usagef("--%s is of an archive on this machine: with --server, the service has its own, and knows by the key who asks", flag)
		}
	}
	client, err := c.service.client()
	if err != nil {
		return err
	}
	ask := remote.Ask{Verb: name, Terminal: c.terminal}
	given, err := givenFlags(c.args)
	if err != nil {
		return err
	}
	for _, flag := range given {
		ask.Args = append(ask.Args, []byte(flag))
	}
	ask.Args = append(ask.Args, []byte("--"))
	for _, arg := range args {
		ask.Args = append(ask.Args, []byte(arg))
	}
	streams := remote.Streams{In: c.in, Out: c.out, ErrOut: c.errOut}
	named, err := c.namedPaths(cmd, name, args, &streams)
	if err != nil {
		return err
	}
	status, err := client.Run(cmd.Context(), ask, streams, named)
	if err != nil {
		return err
	}
	if status != exitDone {
		return statusError(status)
	}
	return nil
}

// givenFlags are the flags of the verb as they were given, each as one word, in their order, without those
// that say where it is run.
func givenFlags(args []string) (out []string, err error) {
	again := (&cli{}).root()
	cmd, rest, err := again.Find(args)
	if err != nil {
		return nil, err
	}
	cmd.InheritedFlags() // has them parsed with its own
	err = cmd.Flags().ParseAll(rest, func(flag *pflag.Flag, value string) error {
		if !slices.Contains(ofService, flag.Name) {
			out = append(out, "--"+flag.Name+"="+value)
		}
		return nil
	})
	return out, err
}

// client is how the service is reached.
func (s *service) client() (*remote.Client, error) {
	t, key, err := s.credentials()
	if err != nil {
		return nil, err
	}
	// A connection for one verb: the transport speaks HTTP/1.1, of which a WebSocket is made.
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: t, TLSHandshakeTimeout: 20 * time.Second, ResponseHeaderTimeout: time.Minute}
	return &remote.Client{URL: s.url, Key: key, HTTP: &http.Client{Transport: transport, CheckRedirect: noRedirect}}, nil
}

// credentials say who asks, and whom the service is to be.
func (s *service) credentials() (t *tls.Config, key string, err error) {
	t = &tls.Config{MinVersion: tls.VersionTLS12}
	if s.ca != "" {
		pem, err := os.ReadFile(s.ca)
		if err != nil {
			return nil, "", fmt.Errorf("reading --ca: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, "", usagef("--ca %s holds no certificate", s.ca)
		}
	}
	if (s.cert == "") != (s.certKey == "") {
		return nil, "", usagef("--cert and --cert-key go together")
	}
	if key, err = s.key(); err != nil {
		return nil, "", err
	}
	if s.cert != "" {
		pair, err := tls.LoadX509KeyPair(s.cert, s.certKey)
		if err != nil {
			return nil, "", fmt.Errorf("reading --cert and --cert-key: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	} else if key == "" {
		return nil, "", usagef("who asks? put an API key into SAE_API_KEY or a file (--key-file), or give --cert and --cert-key")
	}
	return t, key, nil
}

// noRedirect: a key is for the service that the user names, and for no other.
func noRedirect(*http.Request, []*http.Request) error {
	return errors.New("the service answers with a redirect, which is not followed: name the URL itself")
}

// maxKey bounds the file of a key.
const maxKey = 64 << 10

// key is the API key; it is never on the command line, which other users see.
func (s *service) key() (string, error) {
	if s.keyFile == "" {
		return strings.TrimSpace(os.Getenv("SAE_API_KEY")), nil
	}
	f, err := os.Open(s.keyFile)
	if err != nil {
		return "", fmt.Errorf("reading --key-file: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKey))
	if err != nil {
		return "", fmt.Errorf("reading --key-file: %w", err)
	}
	key := strings.TrimSpace(string(b))
	if key == "" || strings.ContainsAny(key, " \t\r\n") {
		return "", usagef("--key-file %s: want one key, alone", s.keyFile)
	}
	return key, nil
}

// paths says where a verb names files of its user. What is not here, no service reads or writes.
type paths struct {
	args   int      // arguments from this on are files; -1 for none
	trees  bool     // or folders with what is below
	reads  []string // flags that name a file
	writes []string // flags that name a file, or a folder, to be made
}

var pathsOf = map[string]paths{
	"deposit":               {args: 0, trees: true, reads: []string{"metadata", "from", "files-from"}, writes: []string{"receipt", "reply", "acknowledgement"}},
	"convert add":           {args: 1},
	"formats":               {args: -1, reads: []string{"risks"}},
	"formats units":         {args: -1, reads: []string{"risks"}},
	"formats risks":         {args: -1, reads: []string{"risks"}},
	"procedure add":         {args: 0},
	"procedure check":       {args: 0},
	"rules import":          {args: 0},
	"rules diff":            {args: 0},
	"rules export":          {args: -1, writes: []string{"out"}},
	"retention calendar":    {args: -1, writes: []string{"out"}},
	"file open":             {args: -1, reads: []string{"from"}},
	"subject new":           {args: -1, reads: []string{"from"}},
	"subject find":          {args: -1, reads: []string{"from"}},
	"subject link":          {args: -1, reads: []string{"from"}},
	"subject unlink":        {args: -1, reads: []string{"from"}},
	"subject rectify":       {args: -1, reads: []string{"from"}},
	"subject split":         {args: -1, reads: []string{"from"}},
	"request open":          {args: -1, reads: []string{"from"}},
	"request execute":       {args: -1, reads: []string{"from"}, writes: []string{"out"}},
	"request answer":        {args: -1, reads: []string{"letter"}},
	"request letter":        {args: -1, writes: []string{"out"}},
	"request certificate":   {args: -1, writes: []string{"out"}},
	"eliminate bordereau":   {args: -1, writes: []string{"out"}},
	"eliminate message":     {args: -1, writes: []string{"out"}},
	"eliminate certificate": {args: -1, writes: []string{"out"}},
	"eliminate reply":       {args: 1},
	"transfer send":         {args: -1, writes: []string{"output"}},
	"transfer acknowledge":  {args: 1},
	"gdpr register":         {args: -1, writes: []string{"out"}},
	"get":                   {args: -1, writes: []string{"output"}},
	"proof":                 {args: -1, writes: []string{"output"}},
	"export":                {args: -1, writes: []string{"output"}},
	"restitute":             {args: -1, writes: []string{"output"}},
}

// namedPaths are the paths that the command names, and those that its --files-from lists.
func (c *cli) namedPaths(cmd *cobra.Command, name string, args []string, streams *remote.Streams) (named remote.Named, err error) {
	p, known := pathsOf[name]
	if !known {
		return named, nil
	}
	value := func(flag string) string { return cmd.Flags().Lookup(flag).Value.String() }
	for _, flag := range p.reads {
		if v := value(flag); v != "" && v != "-" {
			named.Files = append(named.Files, v)
		}
	}
	for _, flag := range p.writes {
		if v := value(flag); v != "" {
			named.New = append(named.New, v)
		}
	}
	if p.args >= 0 && p.args < len(args) {
		args = args[p.args:]
	} else {
		args = nil
	}
	if !p.trees {
		named.Files = append(named.Files, args...)
		return named, nil
	}
	listed, err := c.listedPaths(value("files-from"), streams)
	if err != nil {
		return named, err
	}
	named.Trees = append(append(named.Trees, args...), listed...)
	named.Follow = value("follow") == "true"
	return named, nil
}

// maxListed bounds what --files-from lists.
const maxListed = 256 << 20

// listedPaths reads the list of --files-from, which the service then reads too. Standard input is kept
// for that.
func (c *cli) listedPaths(from string, streams *remote.Streams) ([]string, error) {
	var in io.Reader
	switch from {
	case "":
		return nil, nil
	case "-":
		b, err := io.ReadAll(io.LimitReader(c.in, maxListed+1))
		if err != nil {
			return nil, err
		}
		if len(b) > maxListed {
			return nil, fmt.Errorf("--files-from lists more than %d bytes", maxListed)
		}
		streams.In = strings.NewReader(string(b))
		in = strings.NewReader(string(b))
	default:
		f, err := c.files.Open(from)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = io.LimitReader(f, maxListed)
	}
	return readPaths(in)
}
