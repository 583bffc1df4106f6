package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/api/client"
	"sae/api/connect/cmis"
	"sae/archive"
	"sae/archive/serving"
)

// cmisRun is what sae connect cmis is asked for.
type cmisRun struct {
	tenant                     string
	state, userFile, tokenFile string
	every                      time.Duration
	dry                        bool
	most                       int64
}

func (c *cli) connectCMISCmd() *cobra.Command {
	var r cmisRun
	cmd := &cobra.Command{
		Use:   "cmis MAPPING",
		Short: "Pull closed folders out of a GED that speaks CMIS 1.1, deposit them, mark them there",
		Long: `The mapping, a YAML file, says which repository, which folders (a query), what becomes what, and how
what was archived is marked. Each folder is one deposit, with its tree, its documents and their versions.
A folder that changes while it is read is not archived by this pass. What was archived is remembered in
--state: a pass that was interrupted goes on, and nothing is deposited twice.

The status is 1 when something was refused, changed, or has to come later.`,
		Example: "  sae connect cmis ged.yaml --state /var/lib/sae/ged --user-file /etc/sae/ged.user --dry-run\n  SAE_API_KEY=sae_… sae connect cmis ged.yaml --state /var/lib/sae/ged --token-file /etc/sae/ged.token --server https://sae.example --watch 10m",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.connectCMIS(cmd.Context(), args[0], &r)
		},
	}
	tenantFlag(cmd, &r.tenant)
	watchFlag(cmd, &r.every)
	f := cmd.Flags()
	f.StringVar(&r.state, "state", "", "folder in which the connector remembers what it pulled")
	f.StringVar(&r.userFile, "user-file", "", "file with USER:PASSWORD for the repository")
	f.StringVar(&r.tokenFile, "token-file", "", "file with a bearer token for the repository")
	f.BoolVar(&r.dry, "dry-run", false, "say what would be deposited; nothing is deposited or marked")
	f.Int64Var(&r.most, "max", 64<<30, "bytes of one content")
	return cmd
}

func (c *cli) connectCMIS(ctx context.Context, path string, r *cmisRun) (err error) {
	text, err := c.readBounded(path, cmis.MaxMapping)
	if err != nil {
		return err
	}
	m, err := cmis.ParseMapping(text)
	if err != nil {
		return fmt.Errorf("%s:\n%w", path, err)
	}
	b, err := r.browser(c, m)
	if err != nil {
		return err
	}
	state, err := cmis.OpenState(r.state)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	return c.passes(ctx, r.every, nil, func() error {
		failed := false
		p := &cmis.Puller{Browser: b, Mapping: m, State: state, Most: r.most, DryRun: r.dry, Tell: func(o cmis.Outcome) {
			failed = failed || o.Done.Failed() || len(o.Problems) > 0
			c.tellPulled(o)
		}}
		err := c.cmisPass(ctx, r, p)
		if err == nil && failed {
			err = errSaid
		}
		return err
	})
}

// cmisPass pulls once. A dry run does not need the archive.
func (c *cli) cmisPass(ctx context.Context, r *cmisRun, p *cmis.Puller) error {
	if r.dry {
		return p.Pass(ctx)
	}
	return c.connected(r.tenant, func(cl *client.Client, _ *archive.Archive) error {
		p.Client = cl
		return p.Pass(ctx)
	})
}

// browser is the way to the repository.
func (r *cmisRun) browser(c *cli, m *cmis.Mapping) (*cmis.Browser, error) {
	switch {
	case r.state == "":
		return nil, usagef("--state is missing: a folder in which the connector remembers what it pulled")
	case r.userFile != "" && r.tokenFile != "":
		return nil, usagef("--user-file and --token-file: one of them")
	case r.most < 1:
		return nil, usagef("--max: want at least 1")
	}
	if err := checkWatch(r.every); err != nil {
		return nil, err
	}
	b := &cmis.Browser{URL: m.URL, Repository: m.Repository, Succinct: m.Succinct, HTTP: newWeb()}
	if u, err := url.Parse(m.URL); err == nil && u.Scheme == "http" && !serving.Loopback(u.Hostname()) && r.userFile+r.tokenFile != "" {
		return nil, fmt.Errorf("url: without TLS everybody on the way reads the password and the documents: want https")
	}
	if r.tokenFile != "" {
		token, err := c.readSecret(r.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file: %w", err)
		}
		b.Token = token
	}
	if r.userFile != "" {
		line, err := c.readSecret(r.userFile)
		if err != nil {
			return nil, fmt.Errorf("--user-file: %w", err)
		}
		user, password, ok := strings.Cut(line, ":")
		if !ok || user == "" {
			return nil, fmt.Errorf("--user-file: want USER:PASSWORD")
		}
		b.User, b.Password = user, password
	}
	return b, nil
}

func (c *cli) tellPulled(o cmis.Outcome) {
	if c.json {
		c.printJSON(o)
		return
	}
	switch o.Done {
	case cmis.Archived:
		c.printf("archived %s: %d units, unit %s, ledger entry %d\n", o.ID, o.Units, o.Unit, o.Entry)
	case cmis.Would:
		c.printf("would archive %s: %d units, %d contents, %s\n", o.ID, o.Units, o.Contents, bytesText(o.Bytes))
	case cmis.Unchanged:
		c.printf("unchanged %s\n", o.ID)
	default:
		c.printf("%s %s\n", o.Done, o.ID)
	}
	for _, s := range o.Problems {
		c.printf("  %s\n", s)
	}
	if o.Skipped > 0 {
		c.printf("  %d objects are left out: neither folders nor documents, or skipped by the mapping\n", o.Skipped)
	}
}
