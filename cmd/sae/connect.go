package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/api"
	"sae/api/client"
	"sae/archive"
)

func (c *cli) connectCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connect",
		Short: "Bring in what other systems hold: forms of a teleprocedure platform, folders of a GED",
		Long: `Connectors deposit what other systems hold. With --server they ask a service, with the key in
SAE_API_KEY or in --key-file; without it they open the archive of --dir and ask it in the same way.
See docs/connectors.md.`,
	}
	cmd.AddCommand(c.connectTeleprocedureCmd(), c.connectCMISCmd())
	return cmd
}

// remote is where the archive is that a connector deposits into.
type remote struct {
	server, keyFile, ca, cert, certKey string
	tenant                             string
}

func (r *remote) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&r.server, "server", "", "URL of a service (default: the archive of --dir, opened by this program)")
	f.StringVar(&r.keyFile, "key-file", "", "file with the API key (default: SAE_API_KEY)")
	f.StringVar(&r.ca, "ca", "", "PEM file of authorities for the service's certificate (default those of the system)")
	f.StringVar(&r.cert, "cert", "", "PEM file of a certificate that says who asks")
	f.StringVar(&r.certKey, "cert-key", "", "PEM file of its key")
	f.StringVar(&r.tenant, "tenant", "", "archival agency, when the archive is opened by this program (default the first)")
}

// How long one request may take: a deposit is as long as its files, and is answered when it is durable.
const (
	requestTime = 12 * time.Hour
	answerTime  = 15 * time.Minute // behind the last byte of the request
)

// client is a client of the service at --server.
func (r *remote) client() (*client.Client, error) {
	u, err := url.Parse(r.server)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, usagef("--server: want the URL of a service, such as https://sae.example")
	}
	if u.Scheme == "http" && !loopback(u.Host) {
		return nil, usagef("--server: without TLS everybody on the way reads the key and the documents: want https")
	}
	if r.tenant != "" {
		return nil, usagef("--tenant is for an archive that is opened by this program: the key of a service says whose it is")
	}
	key := os.Getenv("SAE_API_KEY")
	if r.keyFile != "" {
		if key, err = readSecret(r.keyFile); err != nil {
			return nil, fmt.Errorf("--key-file: %w", err)
		}
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.ca != "" {
		pem, err := os.ReadFile(r.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca: %s has no certificate in PEM", r.ca)
		}
	}
	if (r.cert == "") != (r.certKey == "") {
		return nil, usagef("--cert and --cert-key go together")
	}
	if r.cert != "" {
		pair, err := tls.LoadX509KeyPair(r.cert, r.certKey)
		if err != nil {
			return nil, fmt.Errorf("--cert: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if key == "" && r.cert == "" {
		return nil, usagef("nobody is named to the service: set SAE_API_KEY, or give --key-file, or --cert and --cert-key")
	}
	web := newWeb()
	web.Transport.(*http.Transport).TLSClientConfig = config
	return &client.Client{URL: r.server, Key: key, HTTP: web}, nil
}

// newWeb is how a connector asks others. It follows nobody to another host: what it shows is for the one
// that was named.
func newWeb() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = answerTime
	return &http.Client{Transport: transport, Timeout: requestTime, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		if r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme || len(via) > 5 {
			return http.ErrUseLastResponse
		}
		return nil
	}}
}

func loopback(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// maxSecret bounds a file with a secret.
const maxSecret = 4096

// readSecret reads the first line of a file that others must not read.
func readSecret(path string) (string, error) {
	b, err := readBounded(path, maxSecret)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others than its owner: chmod 600", path)
	}
	line, rest, _ := bytes.Cut(b, []byte("\n"))
	if line = bytes.TrimSpace(line); len(line) == 0 || len(bytes.TrimSpace(rest)) > 0 {
		return "", fmt.Errorf("%s: want one line with the secret", path)
	}
	return string(line), nil
}

// connected gives f a client of the service, or of the archive of --dir, which is open as long as f
// runs; a is nil at a distance.
func (c *cli) connected(r *remote, f func(cl *client.Client, a *archive.Archive) error) error {
	if r.server != "" {
		cl, err := r.client()
		if err != nil {
			return err
		}
		return f(cl, nil)
	}
	return c.open(false, func(a *archive.Archive) error {
		config := a.Config().Serve.With()
		config.Issuers = nil // nobody shows a token here
		handler, err := api.New(a, api.Config{Version: version, Serving: config, Spool: filepath.Join(c.dir, "spool"), Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		who := api.Identity{Name: c.agent, Tenant: r.tenant, Roles: archive.Roles, By: "local"}
		return f(&client.Client{URL: "http://archive", HTTP: &http.Client{Transport: api.Local(handler, who)}}, a)
	})
}

// repeat runs a pass, and with an interval again and again until the program is told to end. What ends a
// pass then is said, and the next one tries again; a wrong usage, and an archive that is damaged, end
// all.
func (c *cli) repeat(ctx context.Context, every time.Duration, nudged <-chan struct{}, pass func() error) error {
	for {
		err := pass()
		if ctx.Err() != nil {
			return nil
		}
		var usage usageError
		var damaged *archive.DamagedError
		if every == 0 || errors.As(err, &usage) || errors.As(err, &damaged) {
			return err
		}
		if err != nil && !errors.Is(err, errSaid) {
			fmt.Fprintln(c.errOut, "sae:", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-nudged:
		case <-time.After(every):
		}
	}
}

// watchFlag adds --watch.
func watchFlag(cmd *cobra.Command, every *time.Duration) {
	cmd.Flags().DurationVar(every, "watch", 0, "go on, and look again every so often, such as 10s (default: one pass)")
}

func checkWatch(every time.Duration) error {
	if every != 0 && every < time.Second {
		return usagef("--watch: want at least 1s")
	}
	return nil
}

// orNobody is a name, or what stands for none.
func orNobody(s string) string { return cmp.Or(s, "-") }
