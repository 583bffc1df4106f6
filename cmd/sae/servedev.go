package main

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"sae/archive"
)

// makeIfMissing makes an archive for evaluation.
func (c *cli) makeIfMissing() error {
	if _, err := os.Lstat(filepath.Join(c.dir, archive.ConfigName)); err == nil {
		return nil
	}
	config, err := archive.Create(c.dir, archive.New{AcceptUnknown: []string{"agreements", "agencies", "rules"}})
	if err == nil {
		c.printf("archive %s created in %s: for evaluation, its time-stamps are not qualified\n", config.Archive, c.dir)
	}
	return err
}

// devKey prints a key that may do everything, for a day.
func (c *cli) devKey(ctx context.Context, a *archive.Archive) error {
	_, secret, err := a.CreateAPIKey(ctx, c.agent, archive.NewAPIKey{Name: c.agent, Roles: archive.Roles, Expires: time.Now().Add(24 * time.Hour)})
	if err == nil {
		c.printf("key, for a day: %s\n", secret)
	}
	return err
}

// nextPort is the address of administration beside that of the service: a port further, or one that the
// system chooses when it chooses that, too.
func nextPort(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	n, _ := strconv.Atoi(port)
	if err != nil || n == 0 || n == 65535 {
		return net.JoinHostPort(host, "0")
	}
	return net.JoinHostPort(host, strconv.Itoa(n+1))
}
