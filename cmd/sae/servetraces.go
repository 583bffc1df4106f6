package main

import (
	"context"
	"log/slog"
	"time"

	"sae/api"
	"sae/archive"
)

// newTraces gives the traces that the configuration wants, before the archive is opened: nil when it wants
// none.
func (c *cli) newTraces(log *slog.Logger) (*api.Traces, error) {
	config, err := archive.LoadConfig(c.dir)
	if err != nil {
		return nil, err
	}
	return api.NewTraces(config.Serve.With().Traces, version, log), nil
}

// sendRest is how long the service may take, when it ends, to send what is still to be sent.
const sendRest = 5 * time.Second

func closeTraces(t *api.Traces) error {
	ctx, cancel := context.WithTimeout(context.Background(), sendRest)
	defer cancel()
	return t.Close(ctx)
}
