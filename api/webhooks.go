package api

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"

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
	giveUp  time.Duration
	client  *http.Client
	guard   func(network, address string, _ syscall.RawConn) error // of what is dialled
	metrics *Metrics
	log     *slog.Logger
}

// hook is one receiver.
type hook struct {
	*Webhooks
	id      string
	a       *archive.Archive // of its tenant
	url     string
	types   []string
	secrets [][]byte
	began   time.Time // to be told by this process
}

const (
	hookTimeout  = 30 * time.Second
	hookEvery    = time.Second // how often it is written where a receiver is
	hookPage     = 100
	firstRetry   = time.Second
	lastRetry    = 10 * time.Minute
	leastTries   = 8                // of a process that finds an event whose time was over while the service stood still
	hookTrouble  = 10 * time.Second // between two tries of what fails of ours
	maxHookReply = 64 << 10
)

// privateNetworks are those that the configuration can let receivers be in. What is local to a link
// never is: machines of clouds are told their secrets there.
var privateNetworks = struct{ v4, v6 []netip.Prefix }{
	[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10")},
	[]netip.Prefix{netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("fc00::/7")},
}

// NewWebhooks gives what delivers.
func NewWebhooks(a *archive.Archive, c serving.Webhooks, metrics *Metrics, log *slog.Logger) (*Webhooks, error) {
	rules := []ssrf.Option{ssrf.WithAnyPort()}
	if c.AllowPrivate {
		rules = append(rules, ssrf.WithAllowedV4Prefixes(privateNetworks.v4...), ssrf.WithAllowedV6Prefixes(privateNetworks.v6...))
	}
	// Where a name leads is looked at when it is dialled: it may lead elsewhere than before. No proxy is
	// asked: it would dial in our place.
	guard := ssrf.New(rules...).Safe
	dialer := &net.Dialer{Timeout: hookTimeout, Control: guard}
	transport := &http.Transport{DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 90 * time.Second,
		MaxResponseHeaderBytes: maxHookReply, DisableCompression: true}
	if c.CA != "" {
		roots, err := authoritiesIn(c.CA)
		if err != nil {
			return nil, fmt.Errorf("reading the authorities of webhooks: %w", err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	client := &http.Client{Timeout: hookTimeout, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // what is signed is for one address
	return &Webhooks{a: a, giveUp: c.GiveUp, client: client, guard: guard, metrics: metrics, log: log}, nil
}

// toldNow is a receiver that is told, as it was when it was changed last.
type toldNow struct {
	as    archive.ToldHook
	stop  context.CancelFunc
	ended chan struct{}
}

func (r *toldNow) end() { r.stop(); <-r.ended }

// Run delivers to all that are registered until the context ends. What is added, changed or removed
// meanwhile is noticed within lookAgain.
func (w *Webhooks) Run(ctx context.Context) {
	told := map[string]*toldNow{}
	for ctx.Err() == nil {
		wait := lookAgain
		if err := w.adjust(ctx, told); err != nil && ctx.Err() == nil {
			w.log.Error("reading webhooks", "error", err)
			wait = hookTrouble
		}
		rest(ctx, wait)
	}
	for _, r := range told {
		r.end()
	}
}

// adjust has all that are registered told, as they are, and no others.
func (w *Webhooks) adjust(ctx context.Context, told map[string]*toldNow) error {
	all, err := w.a.ToTell()
	if err != nil {
		return err
	}
	for id, r := range told {
		if all[id] != r.as {
			r.end()
			delete(told, id)
		}
	}
	for id, as := range all {
		if told[id] != nil {
			continue
		}
		mine, stop := context.WithCancel(ctx)
		r := &toldNow{as, stop, make(chan struct{})}
		told[id] = r
		go func() { defer close(r.ended); w.tell(mine, id, as.Tenant) }()
	}
	return nil
}

// tell delivers to one receiver. What fails of ours is tried again, too.
func (w *Webhooks) tell(ctx context.Context, id, tenant string) {
	var h *hook
	for ctx.Err() == nil {
		var err error
		if h == nil {
			h, err = w.hook(id, tenant)
		}
		if err == nil {
			err = h.follow(ctx)
		}
		wait := lookAgain
		if err != nil && ctx.Err() == nil && !errors.Is(err, archive.ErrNotFound) { // it was removed
			w.log.Error("webhook", "webhook", id, "error", err)
			wait = hookTrouble
		}
		rest(ctx, wait)
	}
}

// hook reads a receiver.
func (w *Webhooks) hook(id, tenant string) (*hook, error) {
	a, err := w.a.Within(tenant)
	if err != nil {
		return nil, err
	}
	x, err := a.WebhookOf("", id)
	if err != nil {
		return nil, err
	}
	secrets, err := a.WebhookSecrets("", id)
	if err != nil {
		return nil, err
	}
	return &hook{Webhooks: w, id: id, a: a, url: x.URL, types: x.Types, secrets: secrets, began: time.Now()}, nil
}

// follow delivers what there is, and comes back when the receiver was moved by somebody else.
func (h *hook) follow(ctx context.Context) error {
	state, err := h.a.HookState("", h.id)
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
		if wanted(h.types, e.Type) {
			if done, err := p.deliver(ctx, x, e); err != nil || !done {
				return errors.Join(err, p.write(nil))
			}
		}
		if err := p.pass(x); err != nil {
			return err
		}
	}
	p.state.At = next
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
	moved, err := p.h.a.MoveHook("", p.h.id, p.state.Moves, p.state, dead)
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
	tries := 0
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
		tries++
		p.state.Why, p.state.Gone = why, why == "410"
		had := time.Since(*p.state.Failing) >= p.h.giveUp && (tries >= leastTries || time.Since(p.h.began) >= p.h.giveUp)
		if had && !p.state.Gone {
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
	s, err := p.h.a.HookState("", p.h.id)
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
	p.h.metrics.delivered(p.h.id, "dead")
	return !p.moved, p.write(dead)
}

// again delivers dead letters that are to be delivered again, once each.
func (h *hook) again(ctx context.Context) error {
	var all []archive.DeadLetter
	err := h.a.DeadLetters("", h.id, func(d archive.DeadLetter) (bool, error) {
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
			err = h.a.DropLetter("", h.id, d.At)
		default:
			d.Why = h.post(ctx, e)
			if d.Why == "" {
				err = h.a.DropLetter("", h.id, d.At)
			} else if ctx.Err() == nil {
				d.Again, d.Tries = false, d.Tries+1
				err = h.a.KeepLetter("", h.id, d)
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
		h.metrics.delivered(h.id, outcome)
	}()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
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
		if errors.Is(err, ssrf.ErrProhibitedIP) {
			return "not allowed"
		}
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
