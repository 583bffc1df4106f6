package api

import (
	"sync"
	"time"

	"sae/archive/serving"
)

// limiter bounds what clients use: requests at a time, of all and of each, and how many each makes a
// second.
type limiter struct {
	limits serving.Limits
	all    chan struct{}

	mu      sync.Mutex
	clients map[string]*client
}

// client is what one client uses.
type client struct {
	running int
	tokens  float64 // requests that it may make now
	at      time.Time
}

// maxClients bounds those who are remembered while nothing of theirs runs.
const maxClients = 10_000

func newLimiter(l serving.Limits) *limiter {
	return &limiter{limits: l, all: make(chan struct{}, l.Concurrent), clients: map[string]*client{}}
}

// enter counts a request among those of all clients.
func (l *limiter) enter() (leave func(), err error) {
	select {
	case l.all <- struct{}{}:
		return func() { <-l.all }, nil
	default:
		return nil, errBusy
	}
}

// take counts a request of a client. A client that rests may make those of one second at once.
func (l *limiter) take(name string, now time.Time) (release func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.clients[name]
	if c == nil {
		l.forget(now)
		c = &client{tokens: float64(l.limits.Rate), at: now}
		l.clients[name] = c
	}
	c.tokens = min(float64(l.limits.Rate), c.tokens+now.Sub(c.at).Seconds()*float64(l.limits.Rate))
	c.at = now
	if c.running >= l.limits.PerClient || c.tokens < 1 {
		return nil, errTooMany
	}
	c.tokens--
	c.running++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		c.running--
	}, nil
}

// forget drops clients that rested long enough to be as new ones.
func (l *limiter) forget(now time.Time) {
	if len(l.clients) < maxClients {
		return
	}
	for name, c := range l.clients {
		if c.running == 0 && now.Sub(c.at) > time.Second {
			delete(l.clients, name)
		}
	}
}
