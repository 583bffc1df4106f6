package api

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"sae/api/remote"
	"sae/archive"
)

// Command is a verb of the program that somebody elsewhere asks for: who, on what, and with whose files.
type Command struct {
	Verb     string // of the table of verbs
	Args     []string
	Agent    string
	Tenant   string
	Archive  *archive.Archive                                // the tenant's of who asks; the whole one when the verb concerns that
	Seal     func(context.Context) ([]archive.Sealed, error) // of all that waits, which no tenant's archive does
	Terminal bool
	In       io.Reader
	Out, Err io.Writer
	Files    remote.Files
}

// RunCommand runs a command, and gives its exit status. Its context ends when nobody wants it any more.
type RunCommand func(ctx context.Context, c *Command) (status int)

func (s *service) addCommands() {
	add(s, huma.Operation{OperationID: "runCommand", Method: http.MethodGet, Path: remote.Path, Summary: "Run a verb of the program, for its client",
		Description: "A WebSocket (RFC 6455) between `sae --server` and the service, in frames of their own. Each verb has its roles; streams and files are those of the client.",
		Responses:   map[string]*huma.Response{"101": {Description: "a connection for one verb"}, "426": {Description: "the request is not one for a WebSocket"}}}, s.runCommand)
}

type commandInput struct {
	Upgrade string `header:"Upgrade" doc:"websocket"`
}

// statusRefused is the exit status of what is refused.
const statusRefused = 1

func (s *service) runCommand(ctx context.Context, who *Identity, in *commandInput) (*huma.StreamResponse, error) {
	if !strings.EqualFold(in.Upgrade, "websocket") {
		return nil, errUpgrade
	}
	if s.run == nil {
		return nil, archive.ErrNotFound
	}
	select {
	case s.commands <- struct{}{}:
	default:
		return nil, errBusy
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		defer func() { <-s.commands }()
		r, w := humago.Unwrap(hc)
		session, err := remote.Accept(w, r, commandIdle*s.config.Limits.Idle)
		if err != nil {
			s.log.Info("no command", "request", requestOf(ctx).id, "error", err)
			return
		}
		of := requestOf(ctx)
		of.status = http.StatusSwitchingProtocols
		err = session.Run(func(ctx context.Context) int { return s.command(ctx, who, session) })
		of.received, of.sent = session.Received.Load(), session.Sent.Load()
		if err != nil {
			s.log.Info("command ended", "request", of.id, "error", err)
		}
	}}, nil
}

// commandIdle is how many times longer a client may take nothing while it runs a verb: a person reads.
const commandIdle = 10

// command runs what a client asks for, when it may.
func (s *service) command(ctx context.Context, who *Identity, session *remote.Session) int {
	ask := &session.Ask
	if err := who.mayRun(ask.Verb, s.whole); err != nil {
		fmt.Fprintln(session.ErrOut, "sae:", err)
		return statusRefused
	}
	a := s.of(who)
	if s.whole {
		a = s.a
	}
	c := &Command{Verb: ask.Verb, Agent: who.Name, Tenant: who.Tenant, Archive: a, Seal: s.sealFor(who), Terminal: ask.Terminal, In: session.In, Out: session.Out, Err: session.ErrOut, Files: session.Files}
	for _, arg := range ask.Args {
		c.Args = append(c.Args, string(arg))
	}
	s.log.Info("command", "request", requestOf(ctx).id, "verb", c.Verb, "by", who.By)
	return s.run(ctx, c)
}

// verbSeals are the seals that verbs ask for.
type verbSeals struct {
	sync.Mutex
	last time.Time
}

// sealFor seals for a verb that waits for it, such as deposit --wait-seal. It is of the archive as a whole,
// whoever asks: not more often than every sealSoonest, because a time-stamp may have its price.
func (s *service) sealFor(who *Identity) func(context.Context) ([]archive.Sealed, error) {
	waited := false // a verb that seals twice, such as for a certificate, waits once
	return func(ctx context.Context) ([]archive.Sealed, error) {
		s.seals.Lock()
		defer s.seals.Unlock()
		if !waited {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(time.Until(s.seals.last.Add(sealSoonest))):
			}
		}
		waited, s.seals.last = true, time.Now()
		return s.a.Seal(ctx, who.Name)
	}
}
