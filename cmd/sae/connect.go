package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sae/api"
	"sae/api/client"
	"sae/archive"
	"sae/archive/serving"
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

// archiveClient is a client of the service at --server.
func (c *cli) archiveClient(tenant string) (*client.Client, error) {
	u, err := url.Parse(c.service.url)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, usagef("--server: want the URL of a service, such as https://sae.example")
	}
	if u.Scheme == "http" && !serving.Loopback(u.Hostname()) {
		return nil, usagef("--server: without TLS everybody on the way reads the key and the documents: want https")
	}
	if tenant != "" {
		return nil, usagef("--tenant is for an archive that is opened by this program: the key of a service says whose it is")
	}
	t, key, err := c.service.credentials()
	if err != nil {
		return nil, err
	}
	web := newWeb()
	web.Transport.(*http.Transport).TLSClientConfig = t
	return &client.Client{URL: c.service.url, Key: key, HTTP: web}, nil
}

// tenantFlag adds --tenant.
func tenantFlag(cmd *cobra.Command, tenant *string) {
	cmd.Flags().StringVar(tenant, "tenant", "", "archival agency, when the archive is opened by this program (default the first)")
}

// How long one request may take: a deposit is as long as its files, and is answered when it is durable.
const (
	requestTime = 12 * time.Hour
	answerTime  = 15 * time.Minute // behind the last byte of the request
)

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

// maxSecret bounds a file with a secret.
const maxSecret = 4096

// readSecret reads the first line of a file that others must not read.
func (c *cli) readSecret(path string) (string, error) {
	b, err := c.readBounded(path, maxSecret)
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
func (c *cli) connected(tenant string, f func(cl *client.Client, a *archive.Archive) error) error {
	if c.service.url != "" {
		cl, err := c.archiveClient(tenant)
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
		who := api.Identity{Name: c.agent, Tenant: tenant, Roles: archive.Roles, By: "local"}
		return f(&client.Client{URL: "http://archive", HTTP: &http.Client{Transport: api.Local(handler, who)}}, a)
	})
}

// passes runs a pass, and with an interval again and again until the program is told to end. What ends a
// pass then is said, and the next one tries again; a wrong usage, and an archive that is damaged, end
// all.
func (c *cli) passes(ctx context.Context, every time.Duration, nudged <-chan struct{}, pass func() error) error {
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
