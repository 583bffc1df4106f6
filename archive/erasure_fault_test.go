package archive

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"

	"sae/archive/durable"
)

// crash fails from a step on: with all that is behind it, as when the process was killed there, or
// that step alone.
type crash struct {
	at    int64
	alone bool
	steps atomic.Int64
	armed atomic.Bool
}

func (c *crash) step() error {
	if !c.armed.Load() {
		return nil
	}
	if n := c.steps.Add(1); c.at != 0 && (n == c.at || n > c.at && !c.alone) {
		return syscall.EIO
	}
	return nil
}

func (c *crash) open(t *testing.T, dir string) *Archive {
	t.Helper()
	a, err := Open(dir, Options{
		CatalogueFault: func(string) error { return c.step() },
		FS:             durable.FS{Fault: func(durable.Op, string) error { return c.step() }},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// interrupted is what of an erasure is interrupted: what stands before it, what is done, and whether
// it is done.
type interrupted struct {
	prepare func(t *testing.T, a *Archive, subject string) (request string)
	do      func(a *Archive, request string) error
	done    func(t *testing.T, a *Archive, request string) bool
}

var erasureParts = map[string]interrupted{
	"decide": {
		func(t *testing.T, a *Archive, subject string) string {
			ctx := context.Background()
			q, err := a.OpenRequest(ctx, "alice", NewRequest{Article: 17, Subject: subject, Words: RequestWords{Who: planted, Wish: planted}})
			if err == nil {
				_, err = a.IdentifyRequest(ctx, "alice", q.ID, "at the desk", false)
			}
			if err == nil {
				_, _, err = a.AnalyseRequest(ctx, "alice", q.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
			return q.ID
		},
		func(a *Archive, request string) error {
			_, err := a.DecideRequest(context.Background(), "dora", request, Decision{Outcome: Granted, LegalBasis: "b"})
			return err
		},
		func(t *testing.T, a *Archive, request string) bool {
			return must(a.DataRequest(request)).took(RequestDecided)
		},
	},
	"execute": {
		func(t *testing.T, a *Archive, subject string) string { return decided(t, a, subject, Granted).ID },
		func(a *Archive, request string) error {
			_, err := a.ExecuteErasure(context.Background(), "dave", request, nil)
			return err
		},
		func(t *testing.T, a *Archive, request string) bool { return must(a.DataRequest(request)).Purged != 0 },
	},
	"purge": {
		func(t *testing.T, a *Archive, subject string) string {
			ctx := context.Background()
			q, err := a.OpenRequest(ctx, "alice", NewRequest{Article: 15, Subject: subject, Words: RequestWords{Who: planted, Wish: planted}})
			if err == nil {
				_, err = a.DecideRequest(ctx, "dora", q.ID, Decision{Outcome: Denied, Grounds: []string{"12(6)"}, LegalBasis: planted})
			}
			if err == nil {
				_, err = a.AnswerRequest(ctx, "dora", q.ID, "", "")
			}
			if err != nil {
				t.Fatal(err)
			}
			return q.ID
		},
		func(a *Archive, request string) error {
			_, err := a.PurgeRequest(context.Background(), "dora", request)
			return err
		},
		func(t *testing.T, a *Archive, request string) bool { return must(a.DataRequest(request)).Purged != 0 },
	},
}

var everyFault = flag.Bool("erasure.faults", false, "let each step of an erasure fail alone, too, not one in five")

// TestErasureInterrupted ends an erasure at each of its steps, as a kill does, and lets single steps
// fail: after each the archive is sound, no unit is half erased, and the same verb brings it to its end,
// at which the record of the subject is gone with its last file.
func TestErasureInterrupted(t *testing.T) {
	t.Parallel() // it takes long
	for name, part := range erasureParts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, template := citizens(t)
			s, file, docs := overOwn(t, a, "F-1", planted)
			overOwn(t, a, "F-2", "Martin")
			request := part.prepare(t, a, s.ID)
			mustSeal(t, a)
			a.Close()
			units := []string{file, docs.Units[0].ID, docs.Units[1].ID}
			count := &crash{}
			interruptAt(t, template, count, part, request, s.ID, units)
			n := count.steps.Load()
			if n < 5 {
				t.Fatal("only", n, "steps")
			}
			t.Log(n, "steps")
			for _, alone := range []bool{false, true} {
				stride := int64(1)
				if alone && !*everyFault || testing.Short() {
					stride = 5
				}
				for at := int64(1); at <= n; at += stride {
					interruptAt(t, template, &crash{at: at, alone: alone}, part, request, s.ID, units)
					if t.Failed() {
						t.Fatal("at step ", at, " of ", n, ", alone: ", alone)
					}
				}
			}
		})
	}
}

func interruptAt(t *testing.T, template string, c *crash, part interrupted, request, subject string, units []string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "archive")
	if err := os.CopyFS(dir, os.DirFS(template)); err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	restorePermissions(t, dir)
	a := c.open(t, dir)
	c.armed.Store(true)
	failed := part.do(a, request)
	c.armed.Store(false)
	if c.at == 0 && failed != nil {
		t.Fatal(failed)
	}
	a.Close()
	a = reopened(t, dir)
	halfErased(t, a, subject, units)
	for range 2 {
		if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1, Repair: true}); err != nil || c.at == 0 && !r.Sound() {
			t.Errorf("%+v %v", r.List, err) // a copy that failed to be written is repaired
		} else if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
			t.Errorf("%+v %v", r.List, err)
		}
		mustFsck(t, a)
		if part.done(t, a, request) {
			break
		}
		if err := part.do(a, request); err != nil {
			t.Errorf("interrupted by %v, it does not come to its end: %v", failed, err)
		}
	}
	if !part.done(t, a, request) {
		t.Error("it did not come to its end")
	}
	gone := halfErased(t, a, subject, units)
	q := must(a.DataRequest(request))
	if gone != (q.Article == 17 && q.took(RequestExecuted)) {
		t.Errorf("the record of the subject is gone: %v; %+v", gone, q)
	}
	var open int
	for _, e := range must(a.Eliminations("", ForErasure)) {
		if e.open() {
			open++
		}
	}
	if open > 1 || open == 1 && !q.took(RequestDecided) {
		t.Errorf("%d erasures are open", open)
	}
	a.Close()
	if gone {
		notIn(t, dir, planted)
	}
}

// halfErased wants each unit to be there with its objects, or gone with them, a file only after its
// documents, and the record of the subject after all; it reports whether that is gone.
func halfErased(t *testing.T, a *Archive, subject string, units []string) bool {
	t.Helper()
	gone := map[string]bool{}
	for _, id := range append(slices.Clone(units), subject) {
		u, err := a.Unit(id)
		var destroyed *DestroyedError
		if gone[id] = errors.As(err, &destroyed); gone[id] {
			stone, _, err := a.Tombstone(id)
			if err != nil {
				t.Error(err)
				continue
			}
			for _, o := range stone.Objects {
				if _, err := a.Object(o.ID); !errors.As(err, &destroyed) {
					t.Errorf("object %s of a unit that is gone: %v", o.ID, err)
				}
			}
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		for _, o := range u.Objects {
			if getText(t, a, o.ID) == "" {
				t.Errorf("object %s is empty", o.ID)
			}
		}
	}
	if gone[units[0]] && !(gone[units[1]] && gone[units[2]]) || gone[subject] && !gone[units[0]] {
		t.Errorf("what is above is gone before what is below: %v", gone)
	}
	return gone[subject]
}
