package api

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"sae/archive"
)

// Sealer seals what was archived, from time to time.
type Sealer struct {
	A     *archive.Archive
	Agent string // in whose name
	Every time.Duration
	Log   *slog.Logger

	mu    sync.Mutex
	ended chan struct{} // closed when the seal under way, or the next one, has ended
	asked chan struct{} // somebody waits
}

// sealSoonest is how long after a seal another is made for who waits: a time-stamp may have its price.
const sealSoonest = 5 * time.Second

// NewSealer gives a sealer that has not begun yet.
func NewSealer(a *archive.Archive, agent string, every time.Duration, log *slog.Logger) *Sealer {
	return &Sealer{A: a, Agent: agent, Every: every, Log: log, ended: make(chan struct{}), asked: make(chan struct{}, 1)}
}

// Run seals until the context ends. What waits then is sealed by the next who seals.
func (s *Sealer) Run(ctx context.Context) {
	forgot := time.Time{}
	for last := time.Now(); ; last = time.Now() {
		if !s.pause(ctx, last) {
			return
		}
		if _, err := s.A.Seal(ctx, s.Agent); err != nil && ctx.Err() == nil {
			s.Log.Error("sealing", "error", err) // what waited waits on
		}
		if time.Since(forgot) > time.Hour { // it reads all that are kept
			forgot = time.Now()
			if _, err := s.A.ForgetOnce(ctx); err != nil && ctx.Err() == nil {
				s.Log.Error("forgetting keys of requests", "error", err)
			}
			if _, err := s.A.ForgetNoted(ctx); err != nil && ctx.Err() == nil {
				s.Log.Error("forgetting events", "error", err)
			}
		}
		s.mu.Lock()
		close(s.ended)
		s.ended = make(chan struct{})
		s.mu.Unlock()
	}
}

// pause waits until the next seal is due, or somebody waits for it and the last is long enough ago.
func (s *Sealer) pause(ctx context.Context, last time.Time) bool {
	due := time.NewTimer(s.Every)
	defer due.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-due.C:
		return true
	case <-s.asked:
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Until(last.Add(min(sealSoonest, s.Every)))):
		return true
	}
}

// wait asks for a seal, and waits until sealed reports true, or the context ends.
func (s *Sealer) wait(ctx context.Context, sealed func() (bool, error)) error {
	for {
		s.mu.Lock()
		ended := s.ended
		s.mu.Unlock()
		done, err := sealed()
		if done || err != nil {
			return err
		}
		select {
		case s.asked <- struct{}{}:
		default: // it was asked already
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
		}
	}
}
