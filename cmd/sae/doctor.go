package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sae/api"
	"sae/archive"
	"sae/archive/serving"
)

func (c *cli) doctorCmd() *cobra.Command {
	o := archive.ExamineOptions{}
	var noWrite, noStamp bool
	var ready string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at the archive and all that it needs from outside, also when it is damaged or in use",
		Long: `Look at the archive and all that it needs from outside: configuration, permissions, disks, slots,
clock, lock, offers, time-stamping authorities, converters, catalogue and ledger, root key, what
waits, backup, audit, personal data, and what the service needs. A line for each: ok, warn or FAIL,
what was found, and what to do.

Nothing of the archive is changed. What is tried: in each offer a blob of 64 bytes is written, read and
deleted; beside the catalogue, the folders for copies and the backup a file of 4 KiB is written, synced
and removed (--no-write leaves both out); each authority is asked for a time-stamp of random bytes,
which may have its price (--no-stamp leaves it out); providers of tokens are asked for their
configuration.

Status 0 when all is well, 1 when something is to be looked at, 3 when something FAILs.

With --ready it asks a service whether it takes requests, and nothing else: status 0 or 1.`,
		Example: `  sae doctor --dir /srv/archive
  sae doctor --ready http://127.0.0.1:8444/readyz`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ready != "" {
				return c.ready(cmd.Context(), ready)
			}
			o.Write, o.Stamp, o.Log = !noWrite, !noStamp, c.log()
			return c.doctor(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&noWrite, "no-write", false, "write nothing, not even for a moment")
	f.BoolVar(&noStamp, "no-stamp", false, "ask no authority for a time-stamp")
	f.StringVar(&ready, "ready", "", "URL of /readyz of a service: ask it, and end")
	return cmd
}

func (c *cli) doctor(ctx context.Context, o archive.ExamineOptions) error {
	e := archive.Examine(ctx, c.dir, o)
	if e.Config != nil && e.Config.Serve != nil {
		e.Checks = append(e.Checks, examineService(e)...)
	}
	worst := archive.Good
	for _, x := range e.Checks {
		if x.Verdict == archive.Fail || worst == archive.Good {
			worst = x.Verdict
		}
	}
	err := c.printChecks(e.Checks, worst)
	switch {
	case err != nil:
		return err
	case worst == archive.Fail:
		return errDamage
	case worst == archive.Doubt:
		return errSaid
	}
	return nil
}

func (c *cli) printChecks(checks []archive.Check, worst archive.Verdict) error {
	if c.json {
		return c.printJSON(struct {
			Verdict archive.Verdict `json:"verdict"`
			Checks  []archive.Check `json:"checks"`
		}{worst, checks})
	}
	for _, x := range checks {
		do := ""
		if x.Do != "" {
			do = " -> " + x.Do
		}
		c.printf("%-4s  %s: %s%s\n", x.Verdict, x.Check, x.Found, do)
	}
	return nil
}

// readyWithin is how long a service may take to say whether it is ready.
const readyWithin = 5 * time.Second

// ready asks a service whether it takes requests.
func (c *cli) ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usagef("--ready: %v", err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	io.Copy(c.out, io.LimitReader(resp.Body, 1<<10))
	return nil
}

// examineService looks at what the service needs.
func examineService(e *archive.Examination) (out []archive.Check) {
	s := e.Config.Serve.With()
	say := func(check string, err error, found, do string) {
		if err != nil {
			out = append(out, archive.Check{Check: check, Verdict: archive.Fail, Found: strings.ReplaceAll(err.Error(), "\n", "; "), Do: do})
			return
		}
		out = append(out, archive.Check{Check: check, Verdict: archive.Good, Found: found})
	}
	for _, l := range []struct{ check, addr string }{{"serve.listen", s.Listen}, {"serve.admin-listen", s.Admin}} {
		if l.addr == "" {
			continue
		}
		found, err := canListen(l.addr, strings.Contains(e.Held, "sae serve"))
		say(l.check, err, found, "end what listens there, or give another address")
	}
	if !s.Plain {
		out = append(out, examinePair(&s))
	}
	if s.ClientCA != "" {
		pem, err := os.ReadFile(s.ClientCA)
		if err == nil && !x509.NewCertPool().AppendCertsFromPEM(pem) {
			err = errors.New("it holds no certificate")
		}
		say("serve.client-ca", err, s.ClientCA, "put the certificates of the authorities there")
	}
	for _, i := range s.Issuers {
		say("provider "+i.Issuer, api.Reach(i), "it tells of itself", "see whether this machine reaches it, and serve.oidc in "+archive.ConfigName)
	}
	if s.Backup != nil {
		out = append(out, examineBackup(s.Backup, e.Config.Archive))
	}
	return out
}

// examineBackup looks at the folder for backups, which tells their age also while the archive is held.
func examineBackup(b *serving.Backup, of string) archive.Check {
	x := archive.Check{Check: "serve.backup", Verdict: archive.Fail, Do: "mount it, or name another folder"}
	names, err := os.ReadDir(b.Folder)
	if err != nil {
		x.Found = err.Error()
		return x
	}
	x.Found, x.Do = b.Folder+" holds no backup yet", "start sae serve, which makes one"
	if len(names) == 0 {
		x.Verdict = archive.Doubt
		return x
	}
	to, err := openBackupFolder(b.Folder)
	var v *archive.VerifiedBackup
	if err == nil {
		v, err = archive.ListBackup(to, of)
	}
	switch {
	case err != nil:
		x.Found, x.Do = fmt.Sprintf("%s: %v", b.Folder, err), "name an empty folder"
	case len(v.Findings) > 0:
		x.Found, x.Do = fmt.Sprintf("%s: %s: %s", b.Folder, v.Findings[0].Where, v.Findings[0].Why), "run: sae backup --verify "+b.Folder
	case len(v.Generations) > 0:
		last := v.Generations[len(v.Generations)-1]
		age := time.Since(last.Made)
		x.Verdict, x.Do = archive.Good, ""
		x.Found = fmt.Sprintf("%s: generation %d, %s old", b.Folder, last.Generation, age.Round(time.Second))
		if age > 2*b.Every {
			x.Verdict, x.Do = archive.Fail, fmt.Sprintf("there should be one every %s: see the log of sae serve", b.Every)
		}
	}
	return x
}

// canListen sees whether an address is free, or taken by the service that runs.
func canListen(addr string, served bool) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		return addr + " is free", l.Close()
	}
	if served {
		return addr + " is taken, and the service runs", nil
	}
	return "", err
}

// soonEnds is how many days before its end a certificate is spoken of.
const soonEnds = 30

func examinePair(s *serving.Config) archive.Check {
	x := archive.Check{Check: "serve.tls-cert", Verdict: archive.Good}
	pair, err := tls.LoadX509KeyPair(s.Cert, s.Key)
	if err != nil {
		x.Verdict, x.Found, x.Do = archive.Fail, err.Error(), "put certificate and key there, or say plain: true behind a proxy on this machine"
		return x
	}
	days := int(time.Until(pair.Leaf.NotAfter).Hours() / 24)
	x.Found = fmt.Sprintf("for %s, for %d days", strings.Join(pair.Leaf.DNSNames, ", "), days)
	if days < soonEnds {
		x.Verdict, x.Do = archive.Doubt, "renew it: it is read again without a restart"
	}
	if days < 0 {
		x.Verdict = archive.Fail
	}
	return x
}
