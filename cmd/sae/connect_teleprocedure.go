package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"sae/api/client"
	"sae/api/connect/teleprocedure"
	"sae/archive"
	"sae/archive/procedure"
	"sae/archive/serving"
)

// teleprocedureRun is what sae connect teleprocedure is asked for.
type teleprocedureRun struct {
	tenant, folder                 string
	procedures                     []string
	every                          time.Duration
	listen, secret, cert, certsKey string
	most                           int64
}

func (c *cli) connectTeleprocedureCmd() *cobra.Command {
	var r teleprocedureRun
	cmd := &cobra.Command{
		Use:   "teleprocedure FOLDER",
		Short: "Deposit completed forms from a drop folder, and as they are pushed over HTTP",
		Long: `Submissions lie in FOLDER/in: each a folder, or a zip, with submission.json, the form and its
pieces. The teleprocedure section of the procedure says what becomes what. Each submission is deposited
once: the citizen file of the person is found or opened, form and pieces go into it, the event is
recorded. Then it moves to FOLDER/done with the archive's answer, or to FOLDER/refused with a report of
all that is wrong. When the archive is not reached it stays, and is tried by the next pass.

With --listen, platforms push submissions: POST /submissions.`,
		Example: "  sae connect teleprocedure /srv/drop --dir /srv/archive\n  SAE_API_KEY=sae_… sae connect teleprocedure /srv/drop --server https://sae.example --procedure apa.yaml --watch 10s",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.folder = args[0]
			return c.connectTeleprocedure(cmd.Context(), &r)
		},
	}
	tenantFlag(cmd, &r.tenant)
	watchFlag(cmd, &r.every)
	f := cmd.Flags()
	f.StringArrayVar(&r.procedures, "procedure", nil, "YAML file of a procedure; may be repeated (default, without --server: those of the archive)")
	f.StringVar(&r.listen, "listen", "", "address on which submissions are pushed, such as 0.0.0.0:8444; implies --watch 10s")
	f.StringVar(&r.secret, "secret-file", "", "file with the secret that who pushes shows, or signs with")
	f.StringVar(&r.cert, "listen-cert", "", "PEM file of the certificate of --listen; without it, loopback alone")
	f.StringVar(&r.certsKey, "listen-key", "", "PEM file of its key")
	f.Int64Var(&r.most, "max", 1<<30, "bytes of a pushed submission")
	return cmd
}

func (c *cli) connectTeleprocedure(ctx context.Context, r *teleprocedureRun) (err error) {
	if err := r.check(c.service.url != ""); err != nil {
		return err
	}
	given := map[string]*procedure.Procedure{}
	for _, path := range r.procedures {
		p, err := c.readProcedure(path)
		if err != nil {
			return err
		}
		given[p.ID] = p
	}
	folder, err := teleprocedure.OpenFolder(r.folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, folder.Close()) }()
	nudged := make(chan struct{}, 1)
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	failed := make(chan error, 1)
	if r.listen != "" {
		s, err := r.pushServer(c, folder, nudged)
		if err != nil {
			return err
		}
		wg.Go(func() {
			failed <- c.runServers(running, []*server{s})
			stop() // without its listener the connector ends
		})
	}
	err = c.passes(running, r.every, nudged, func() error { return c.teleprocedurePass(running, r, folder, given) })
	stop()
	if r.listen != "" {
		err = errors.Join(err, <-failed)
	}
	return err
}

func (r *teleprocedureRun) check(far bool) error {
	if r.listen != "" && r.every == 0 {
		r.every = 10 * time.Second
	}
	switch {
	case far && len(r.procedures) == 0:
		return usagef("--procedure is missing: with --server, the mapping comes from the procedure's file")
	case (r.listen == "") != (r.secret == ""):
		return usagef("--listen and --secret-file go together")
	case (r.cert == "") != (r.certsKey == ""):
		return usagef("--listen-cert and --listen-key go together")
	case r.listen != "" && r.cert == "" && !loopback(r.listen):
		return usagef("--listen %s without --listen-cert: without TLS, on a loopback address alone", r.listen)
	case r.most < 1:
		return usagef("--max: want at least 1")
	}
	if r.listen != "" {
		if _, _, err := net.SplitHostPort(r.listen); err != nil {
			return usagef("--listen: want an address and a port, such as 127.0.0.1:8444")
		}
	}
	return checkWatch(r.every)
}

// pushServer is the listener for what is pushed.
func (r *teleprocedureRun) pushServer(c *cli, folder *teleprocedure.Folder, nudged chan<- struct{}) (*server, error) {
	secret, err := c.readSecret(r.secret)
	if err != nil {
		return nil, fmt.Errorf("--secret-file: %w", err)
	}
	if len(secret) < 16 {
		return nil, fmt.Errorf("--secret-file: want a secret of 16 characters at least")
	}
	log := slog.New(slog.NewJSONHandler(c.errOut, nil))
	push := &teleprocedure.Push{Folder: folder, Secret: []byte(secret), Most: r.most, Log: log, Nudge: func() {
		select {
		case nudged <- struct{}{}:
		default: // a pass is due already
		}
	}}
	s := &server{"submissions", r.listen, &http.Server{Handler: push.Handler(), ReadHeaderTimeout: headerTimeout, MaxHeaderBytes: headerBytes, IdleTimeout: time.Minute, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}}
	if r.cert != "" {
		if s.TLSConfig, err = transportOf(&serving.Config{Cert: r.cert, Key: r.certsKey}, false); err != nil {
			return nil, fmt.Errorf("--listen-cert: %w", err)
		}
	}
	return s, nil
}

// teleprocedurePass deposits what is there. An archive of this program is not opened for nothing.
func (c *cli) teleprocedurePass(ctx context.Context, r *teleprocedureRun, folder *teleprocedure.Folder, given map[string]*procedure.Procedure) error {
	waiting, err := folder.Waiting()
	if err != nil || waiting == 0 {
		return err
	}
	left := 0
	err = c.connected(r.tenant, func(cl *client.Client, a *archive.Archive) error {
		d := teleprocedure.Depositor{Folder: folder, Client: cl, Procedures: func(id string) (*procedure.Procedure, error) {
			if p := given[id]; p != nil {
				return p, nil
			}
			if a == nil || len(given) > 0 {
				return nil, teleprocedure.Problems{"procedure: this connector has none of this code"}
			}
			p, err := a.Procedure(r.tenant, id)
			if errors.Is(err, archive.ErrNotFound) {
				return nil, teleprocedure.Problems{"procedure: the archive has none of this code"}
			}
			if err != nil {
				return nil, err
			}
			return p.Procedure, nil
		}, Tell: func(o teleprocedure.Outcome) {
			if o.State != teleprocedure.Deposited || o.Problems > 0 {
				left++
			}
			c.tellSubmission(o)
		}}
		return d.Pass(ctx)
	})
	if err == nil && left > 0 {
		err = errSaid
	}
	return err
}

func (c *cli) tellSubmission(o teleprocedure.Outcome) {
	if c.json {
		c.printJSON(o)
		return
	}
	switch o.State {
	case teleprocedure.Deposited:
		c.printf("deposited %s: ledger entry %d\n", o.Ref, o.Entry)
		if o.Problems > 0 {
			c.printf("  its event was refused: see the answer\n")
		}
	case teleprocedure.Refused:
		c.printf("refused %s: %d problems, see the report\n", orNobody(o.Ref), o.Problems)
	default:
		c.printf("%s %s: %s\n", o.State, orNobody(o.Ref), o.Why)
	}
}
