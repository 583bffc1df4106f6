package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"sae/api"
)

// served is what a service runs a verb with, in the place of the machine.
type served struct {
	*api.Command
	stopping <-chan struct{} // closed when the service is to end: what would go on for ever ends
}

// runner runs verbs for who is elsewhere, while the service runs.
type runner struct {
	ctx  context.Context // of all verbs
	stop context.CancelFunc

	mu       sync.Mutex
	running  sync.WaitGroup
	ended    bool
	stopping <-chan struct{}
}

// newRunner runs verbs until service ends, and a while longer those that had begun.
func newRunner(service context.Context) *runner {
	ctx, stop := context.WithCancel(context.WithoutCancel(service))
	return &runner{ctx: ctx, stop: stop, stopping: service.Done()}
}

// run is the program, for somebody elsewhere: his streams and files, the archive of the service, and the
// name that he is known by.
func (r *runner) run(ctx context.Context, command *api.Command) int {
	if !r.enter() {
		command.Err.Write([]byte("sae: the service is ending; try again in a while\n"))
		return exitRefused
	}
	defer r.running.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ctx, cancel)()
	c := &cli{in: command.In, out: command.Out, errOut: command.Err, files: command.Files, terminal: command.Terminal, agent: command.Agent, served: &served{command, r.stopping}}
	return c.run(ctx, append(strings.Fields(command.Verb), command.Args...))
}

func (r *runner) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	r.running.Add(1)
	return true
}

// end waits for the verbs that run, and interrupts those that take too long.
func (r *runner) end(within time.Duration) {
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	late := time.AfterFunc(within, r.stop)
	defer late.Stop()
	defer r.stop()
	r.running.Wait()
}
