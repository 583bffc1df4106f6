package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// Client is how a service is reached.
type Client struct {
	URL  string // of the service
	Key  string // API key, or token; "" with a certificate
	HTTP *http.Client
}

// Streams are those of who runs a verb.
type Streams struct {
	In          io.Reader
	Out, ErrOut io.Writer
}

// Path is where a service takes verbs.
const Path = "/v1/commands"

// Refused is an answer of the service that is not the one wanted: title and detail of its problem.
type Refused struct {
	Status        int
	Title, Detail string
}

func (e *Refused) Error() string {
	if e.Title == "" {
		return fmt.Sprintf("the service answers %d %s", e.Status, http.StatusText(e.Status))
	}
	return e.Title + ": " + e.Detail
}

// interruptWithin is how long an interrupted verb may take to end.
const interruptWithin = 30 * time.Second

// leaveWithin is how long, in the end, the client waits for a file that does not answer, and the service
// for the client.
const leaveWithin = 5 * time.Second

// Run has a verb run by the service, with these streams, and with the files that are named; status is its
// exit status. When the context ends, the verb is interrupted.
func (c *Client) Run(ctx context.Context, ask Ask, streams Streams, named Named) (status int, err error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(maxFrame)
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	u := &user{conn: conn, ctx: life, end: end, streams: streams, hands: newHands(guarded{named: named}), requests: make(chan *frame, maxFlying)}
	ask.Version = Version
	if err := u.send(frameAsk, 0, ask, nil); err != nil {
		return 0, err
	}
	done := make(chan struct{})
	go func() { defer close(done); u.serve() }()
	defer func() {
		end(nil)
		select {
		case <-done:
			u.hands.dropAll()
		case <-time.After(leaveWithin): // it waits for a pipe that nobody writes to
		}
	}()
	stop := context.AfterFunc(ctx, func() {
		u.send(frameInterrupt, 0, nil, nil)
		time.AfterFunc(interruptWithin, func() { end(context.Cause(ctx)) })
	})
	defer stop()
	status, err = u.receive()
	if err == nil {
		conn.Close(websocket.StatusNormalClosure, "")
	}
	return status, err
}

func (c *Client) dial(ctx context.Context) (*websocket.Conn, error) {
	at, err := url.Parse(c.URL)
	if err != nil || at.Host == "" || at.Scheme != "https" && at.Scheme != "http" || at.RawQuery != "" || at.Fragment != "" || at.User != nil {
		return nil, fmt.Errorf("%q is not the URL of a service: want one such as https://sae.example", c.URL)
	}
	if at.Scheme == "http" && !loopback(at.Hostname()) {
		return nil, fmt.Errorf("%s: without TLS, only a service on this machine is asked: a key would be read on the way", c.URL)
	}
	head := http.Header{}
	if c.Key != "" {
		head.Set("Authorization", "Bearer "+c.Key)
	}
	to := strings.TrimSuffix(at.String(), "/") + Path
	conn, resp, err := websocket.Dial(ctx, to, &websocket.DialOptions{HTTPClient: c.HTTP, HTTPHeader: head})
	if err == nil {
		return conn, nil
	}
	if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, refusedBy(resp)
	}
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return nil, fmt.Errorf("reaching %s: %w", c.URL, err)
}

// refusedBy reads the problem (RFC 9457) that an answer tells of; the library gives no more than its
// first 1024 bytes.
func refusedBy(resp *http.Response) error {
	out := &Refused{Status: resp.StatusCode}
	if resp.Body == nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json") {
		return out
	}
	var p struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&p) == nil {
		out.Title, out.Detail = plain(p.Title), plain(p.Detail)
	}
	return out
}

// plain is a text without what a terminal would obey.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}

func loopback(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.") && strings.Trim(host, "0123456789.") == ""
}

// user is the client's end of a connection.
type user struct {
	conn     *websocket.Conn
	ctx      context.Context
	end      context.CancelCauseFunc
	streams  Streams
	hands    *hands
	requests chan *frame // that wait for their turn
	typing   atomic.Bool // standard input is being read
}

func (u *user) send(kind byte, id uint32, head any, data []byte) error {
	f := &frame{kind: kind, id: id, data: data}
	if head != nil {
		var err error
		if f.head, err = json.Marshal(head); err != nil {
			return err
		}
		if len(f.head) > maxHead {
			return fmt.Errorf("the arguments are %d bytes, more than %d: list paths in a file, with --files-from", len(f.head), maxHead)
		}
	}
	return u.conn.Write(u.ctx, websocket.MessageBinary, f.append(make([]byte, 0, frameHead+len(f.head)+len(data))))
}

// errLost is what the user has to know when no exit status came.
var errLost = errors.New("the connection to the service was lost before the verb had ended; look whether it was done before doing it again")

// innermost is what lies below what the library says of its own doing.
func innermost(err error) error {
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		err = inner
	}
	return err
}

// receive takes what the service sends, until the verb has ended.
func (u *user) receive() (status int, err error) {
	defer close(u.requests)
	for {
		f, err := receive(u.ctx, u.conn)
		if err != nil {
			if cause := context.Cause(u.ctx); cause != nil {
				return 0, cause
			}
			return 0, fmt.Errorf("%w: %w", errLost, innermost(err))
		}
		switch f.kind {
		case frameOut:
			_, err = u.streams.Out.Write(f.data)
		case frameErr:
			_, err = u.streams.ErrOut.Write(f.data)
		case frameRequest:
			select {
			case u.requests <- f:
			default:
				err = fmt.Errorf("%w: more than %d requests at a time", errFrame, maxFlying)
			}
		case frameExit:
			var x exit
			if err := f.read(&x); err != nil {
				return 0, err
			}
			if x.Status < 0 || x.Status > 255 {
				return 0, errFrame
			}
			return x.Status, nil
		default:
			err = errFrame
		}
		if err != nil {
			return 0, err
		}
	}
}

// serve does what the service asks for, in its order; standard input beside it, because it may be long
// in coming.
func (u *user) serve() {
	for f := range u.requests {
		var r request
		if err := f.read(&r); err != nil {
			u.end(err)
			return
		}
		if r.Op == opStdin {
			if !u.typing.CompareAndSwap(false, true) {
				u.end(errFrame)
				return
			}
			go u.answer(f.id, func() (*reply, error) { return u.stdin(r.N) })
			continue
		}
		if !u.answer(f.id, func() (*reply, error) { return u.hands.do(&r, f.data) }) {
			return
		}
	}
}

// answer says what became of a request. A service that asks for what it has no business with gets no
// answer any more.
func (u *user) answer(id uint32, do func() (*reply, error)) bool {
	r, err := do()
	if r == nil {
		r = &reply{}
	}
	if err != nil {
		var notNamed *NotNamedError
		if errors.As(err, &notNamed) || errors.Is(err, errFrame) {
			u.end(err)
			return false
		}
		r.Err = wireErrorOf(err)
	}
	if err := u.send(frameAnswer, id, r.answer, r.data); err != nil {
		u.end(fmt.Errorf("%w: %w", errLost, err))
		return false
	}
	return true
}

func (u *user) stdin(n int) (*reply, error) {
	if n < 1 || n > maxChunk {
		return nil, errFrame
	}
	b := make([]byte, n)
	n, err := u.streams.In.Read(b)
	u.typing.Store(false)
	r := &reply{data: b[:n]}
	if err == io.EOF {
		r.EOF, err = true, nil
	}
	return r, err
}
