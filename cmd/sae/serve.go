package main

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"sae/api"
	"sae/archive"
)

func (c *cli) serveCmd() *cobra.Command {
	var dev bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the archive over HTTP, as sae.yaml says under serve",
		Long: `Serve the archive over HTTP until the program is told to end (SIGTERM, interrupt); what was
begun is then finished. The page /docs tells of the interface, /openapi.json tells programs. What is
archived is sealed as time goes by. While it is served, no other process opens the archive.

What those who run the archive ask for (API keys, status, audits, repairs) is on the listener of
administration alone, serve.admin-listen, beside health and metrics.

With --dev, on loopback addresses and without TLS, an archive is made in the folder when there is
none, and a key is printed with which everything may be asked for a day: for evaluation.`,
		Example: "  sae serve --dir /srv/archive\n  sae serve --dev --dir /tmp/try",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.serve(cmd.Context(), dev) },
	}
	cmd.Flags().BoolVar(&dev, "dev", false, "evaluation: loopback, no TLS, an archive and a key are made")
	return cmd
}

// serve wires the service, and takes it down in reverse.
func (c *cli) serve(ctx context.Context, dev bool) (err error) {
	if dev {
		if err := c.makeIfMissing(); err != nil {
			return err
		}
	}
	log := slog.New(slog.NewJSONHandler(c.errOut, nil))
	traces, err := c.newTraces(log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeTraces(traces)) }()
	a, err := c.openWaiting(archive.Options{Command: "sae serve", Log: log, Trace: traces.Work()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	config := a.Config().Serve.With()
	if dev {
		config.Plain, config.Cert, config.Key = true, "", ""
		config.Webhooks.AllowPrivate = true
		if config.Admin == "" {
			config.Admin = nextPort(config.Listen)
		}
		if err := c.devKey(ctx, a); err != nil {
			return err
		}
	}
	transport, err := transportOf(&config, dev)
	if err != nil {
		return err
	}
	sealer, metrics := api.NewSealer(a, "sae serve", config.SealEvery, log), api.NewMetrics()
	running, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	executions := api.NewExecutions()
	defer executions.Stop()
	defer wg.Wait()
	defer stop()
	queue, err := api.NewQueue(a, config.Limits, log)
	if err != nil {
		return err
	}
	verbs := newRunner(running)
	service, err := api.New(a, api.Config{Version: version, Serving: config, Sealer: sealer, Queue: queue, Spool: filepath.Join(c.dir, "spool"), Metrics: metrics, Traces: traces, Executions: executions, Log: log, Run: verbs.run})
	if err != nil {
		return err
	}
	hooks, err := api.NewWebhooks(a, config.Webhooks, metrics, log)
	if err != nil {
		return err
	}
	servers := []*server{{"service", config.Listen, newServer(service, &config, log)}}
	servers[0].TLSConfig = transport
	if config.Admin != "" {
		admin := &server{"admin", config.Admin, newServer(service.Admin, &config, log)}
		if !loopback(config.Admin) { // keys are not sent in clear over a network
			admin.TLSConfig = transport
		}
		servers = append(servers, admin)
	}
	wg.Go(func() { sealer.Run(running) })
	wg.Go(func() { queue.Run(running) })
	wg.Go(func() { hooks.Run(running) })
	wg.Go(func() { api.TellDue(running, a, config.DueSoon, log) })
	wg.Go(func() {
		<-running.Done()
		verbs.end(finishWithin)
	})
	if config.Backup != nil {
		backups := &api.Backups{A: a, Agent: "sae serve", Config: *config.Backup, Log: log}
		wg.Go(func() { backups.Run(running) })
	}
	return c.runServers(running, servers)
}
