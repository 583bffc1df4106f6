package api

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"sae/archive"
	"sae/archive/serving"
)

// Webhooks deliver the feed to receivers: one POST for each event (CloudEvents 1.0 HTTP binding,
// structured mode), signed in the manner of Standard Webhooks. A receiver has an event when it answered
// 2xx. Events come in the order of the feed; one that is not taken is tried again, longer and longer
// apart, and those behind it wait, so that what concerns a unit comes in its order. After the time that
// the receiver has it becomes a dead letter, which is kept, and the feed goes on.
//
// Where a receiver is, is written when it moved, at the latest after hookEvery: after a kill an event may
// come twice, under the same identifier, and none is lost.
type Webhooks struct {
	a       *archive.Archive
	metrics *Metrics
	log     *slog.Logger
	hooks   []*hook
}

// hook is one receiver.
type hook struct {
	serving.Webhook
	a       *archive.Archive // of its tenant
	metrics *Metrics
	log     *slog.Logger
	client  *http.Client
	secrets [][]byte
}

const (
	hookTimeout  = 30 * time.Second
	hookEvery    = time.Second // how often it is written where a receiver is
	hookPage     = 100
	firstRetry   = time.Second
	lastRetry    = 10 * time.Minute
	maxHookReply = 64 << 10
)

// NewWebhooks reads the secrets, and gives what delivers.
func NewWebhooks(a *archive.Archive, c []serving.Webhook, metrics *Metrics, log *slog.Logger) (*Webhooks, error) {
	w := &Webhooks{a: a, metrics: metrics, log: log}
	for _, x := range c {
		h, err := newHook(a, x)
		if err != nil {
			return nil, fmt.Errorf("webhook %s: %w", x.Name, err)
		}
		h.metrics, h.log = metrics, log
		w.hooks = append(w.hooks, h)
	}
	return w, nil
}

func newHook(a *archive.Archive, x serving.Webhook) (h *hook, err error) {
	h = &hook{Webhook: x}
	if h.a, err = a.Within(x.Tenant); err != nil {
		return nil, err
	}
	for _, path := range x.Secrets {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("reading its secret: %w", err)
		}
		secret, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(strings.TrimSpace(string(b)), "whsec_"))
		if err != nil || len(secret) < 24 || len(secret) > 64 {
			return nil, fmt.Errorf("secret %s: want whsec_ and the base64 of 24 to 64 random bytes", path)
		}
		h.secrets = append(h.secrets, secret)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if x.CA != "" {
		pem, err := os.ReadFile(x.CA)
		if err != nil {
			return nil, fmt.Errorf("reading its authorities: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", x.CA)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	h.client = &http.Client{Timeout: hookTimeout, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // what is signed is for one address
	return h, nil
}

// Run delivers until the context ends.
func (w *Webhooks) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, h := range w.hooks {
		wg.Go(func() { h.run(ctx) })
	}
	wg.Wait()
}

// run delivers to one receiver. What fails of ours is tried again, too.
func (h *hook) run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := h.follow(ctx); err != nil && ctx.Err() == nil {
			h.log.Error("webhook", "webhook", h.Name, "error", err)
		}
		rest(ctx, lookAgain)
	}
}

// follow delivers what there is, and comes back when the receiver was moved by somebody else.
func (h *hook) follow(ctx context.Context) error {
	state, known, err := h.a.HookState("", h.Name)
	if err == nil && !known { // it begins here, and a kill does not move that
		_, err = h.a.MoveHook("", h.Name, 0, state, nil)
		return err
	}
	if err != nil {
		return err
	}
	if err := h.again(ctx); err != nil || state.Gone {
		return err
	}
	events, next, err := h.a.Feed("", state.At, hookPage)
	if err != nil {
		return err
	}
	p := &progress{h: h, state: state, written: state.At, at: time.Now()}
	for _, x := range events {
		e, err := eventOf(h.a, x)
		if err != nil {
			return err
		}
		if wanted(h.Types, e.Type) {
			if done, err := p.deliver(ctx, x, e); err != nil || !done {
				return errors.Join(err, p.write(nil))
			}
		}
		if err := p.pass(x); err != nil {
			return err
		}
	}
	p.state.At = next
	h.metrics.hookAt(h.Name, next)
	return p.write(nil)
}

// progress is where a receiver is within a page.
type progress struct {
	h       *hook
	state   archive.HookState
	written archive.Cursor
	at      time.Time // when it was written
	moved   bool      // by somebody else: what is here counts no more
}

// pass goes on behind an event.
func (p *progress) pass(x archive.FedEvent) error {
	if x.Noted != nil {
		p.state.At.Noted = x.At.Noted + 1
	} else {
		p.state.At = archive.Cursor{Entry: x.At.Entry + 1, Noted: x.At.Noted}
	}
	p.h.metrics.hookAt(p.h.Name, p.state.At)
	if time.Since(p.at) < hookEvery {
		return nil
	}
	return p.write(nil)
}

// write makes durable where the receiver is, with what was given up.
func (p *progress) write(dead *archive.DeadLetter) error {
	if p.moved || dead == nil && p.state.At == p.written {
		return nil
	}
	moved, err := p.h.a.MoveHook("", p.h.Name, p.state.Moves, p.state, dead)
	if err != nil {
		return err
	}
	p.moved = !moved
	p.state.Moves++
	p.written, p.at = p.state.At, time.Now()
	return nil
}

// deliver tries until the receiver has the event, or its time is over, or somebody moved the receiver;
// done says to go on behind it.
func (p *progress) deliver(ctx context.Context, x archive.FedEvent, e CloudEvent) (done bool, err error) {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		why := p.h.post(ctx, e)
		if why == "" {
			p.state.Failing, p.state.Tries, p.state.Why = nil, 0, ""
			return !p.moved, nil
		}
		if ctx.Err() != nil {
			return false, nil
		}
		began := time.Now().UTC()
		if p.state.Failing == nil {
			p.state.Failing = &began
		}
		p.state.Tries++
		p.state.Why, p.state.Gone = why, why == "410"
		if time.Since(*p.state.Failing) >= p.h.GiveUp && !p.state.Gone {
			return p.giveUp(x, e)
		}
		if err := p.save(); err != nil || p.moved || p.state.Gone {
			return false, err
		}
		rest(ctx, wait/2+rand.N(wait/2+1))
		if moved, err := p.elsewhere(); err != nil || moved {
			return false, err
		}
	}
}

// save writes that the receiver fails, also when it is where it was.
func (p *progress) save() error {
	p.written = archive.Cursor{Entry: -1}
	return p.write(nil)
}

// elsewhere reports whether somebody moved the receiver meanwhile.
func (p *progress) elsewhere() (bool, error) {
	s, _, err := p.h.a.HookState("", p.h.Name)
	p.moved = p.moved || err == nil && s.Moves != p.state.Moves
	return p.moved, err
}

// giveUp makes an event a dead letter, and goes on behind it.
func (p *progress) giveUp(x archive.FedEvent, e CloudEvent) (bool, error) {
	dead := &archive.DeadLetter{At: x.At, ID: e.ID, Type: e.Type, Given: time.Now().UTC(), Tries: p.state.Tries, Why: p.state.Why}
	p.state.Failing, p.state.Tries, p.state.Why = nil, 0, ""
	if err := p.pass(x); err != nil {
		return false, err
	}
	p.h.metrics.delivered(p.h.Name, "dead")
	return !p.moved, p.write(dead)
}

// again delivers dead letters that are to be delivered again, once each.
func (h *hook) again(ctx context.Context) error {
	var all []archive.DeadLetter
	err := h.a.DeadLetters("", h.Name, func(d archive.DeadLetter) (bool, error) {
		if d.Again {
			all = append(all, d)
		}
		return len(all) < hookPage, ctx.Err()
	})
	for _, d := range all {
		if err != nil || ctx.Err() != nil {
			break
		}
		var events []archive.FedEvent
		if events, _, err = h.a.Feed("", d.At, 1); err != nil {
			break
		}
		var e CloudEvent
		if len(events) == 1 {
			e, err = eventOf(h.a, events[0])
		}
		switch {
		case err != nil:
		case e.ID != d.ID: // what was noted is not kept for ever
			err = h.a.DropLetter("", h.Name, d.At)
		default:
			d.Why = h.post(ctx, e)
			if d.Why == "" {
				err = h.a.DropLetter("", h.Name, d.At)
			} else if ctx.Err() == nil {
				d.Again, d.Tries = false, d.Tries+1
				err = h.a.KeepLetter("", h.Name, d)
			}
		}
	}
	return err
}

// post sends an event; why it was not taken: a status, or what failed, without words of the receiver's.
func (h *hook) post(ctx context.Context, e CloudEvent) (why string) {
	body, err := json.Marshal(e)
	if err != nil {
		return "encoding"
	}
	defer func() {
		outcome := "delivered"
		if why != "" {
			outcome = "failed"
		}
		h.metrics.delivered(h.Name, outcome)
	}()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return "address"
	}
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	r.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	r.Header.Set("User-Agent", "sae")
	r.Header.Set("webhook-id", e.ID)
	r.Header.Set("webhook-timestamp", stamp)
	r.Header.Set("webhook-signature", signatures(h.secrets, e.ID, stamp, body))
	resp, err := h.client.Do(r)
	if err != nil {
		if failed := net.Error(nil); errors.As(err, &failed) && failed.Timeout() {
			return "no answer"
		}
		return "not reached"
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, maxHookReply)) // so that the connection can be used again
	if resp.StatusCode/100 == 2 {
		return ""
	}
	return strconv.Itoa(resp.StatusCode)
}

// signatures are those of Standard Webhooks: HMAC-SHA256 over identifier, time and body, by each secret.
func signatures(secrets [][]byte, id, stamp string, body []byte) string {
	var out []string
	for _, s := range secrets {
		m := hmac.New(sha256.New, s)
		fmt.Fprintf(m, "%s.%s.%s", id, stamp, body)
		out = append(out, "v1,"+base64.StdEncoding.EncodeToString(m.Sum(nil)))
	}
	return strings.Join(out, " ")
}

// rest waits, unless the context ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
