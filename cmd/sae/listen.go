package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"sae/archive/serving"
)

// server is one listener.
type server struct {
	name, addr string
	*http.Server
}

// headerTimeout is how long the head of a request may take, and headerBytes its size.
const (
	headerTimeout = 10 * time.Second
	headerBytes   = 64 << 10
	finishWithin  = 10 * time.Minute // requests that are under way when the service ends
)

func newServer(h http.Handler, c *serving.Config, log *slog.Logger) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: 4 * c.Limits.Idle, MaxHeaderBytes: headerBytes, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
}

// runServers serves until the context ends or a listener fails, then lets what was begun finish.
func (c *cli) runServers(ctx context.Context, servers []*server) error {
	failed := make(chan error, len(servers))
	for _, s := range servers {
		l, err := net.Listen("tcp", s.addr)
		if err != nil {
			return fmt.Errorf("listening: %w", err)
		}
		defer s.Close()
		scheme := "http"
		if s.TLSConfig != nil {
			scheme = "https"
		}
		c.printf("%s: %s://%s\n", s.name, scheme, l.Addr())
		go func() {
			if s.TLSConfig != nil {
				failed <- s.ServeTLS(l, "", "")
			} else {
				failed <- s.Serve(l)
			}
		}()
	}
	c.notify("READY=1")
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	c.notify("STOPPING=1")
	finish, cancel := context.WithTimeout(context.Background(), finishWithin)
	defer cancel()
	for _, s := range servers {
		err = errors.Join(err, s.Shutdown(finish))
	}
	return err
}
