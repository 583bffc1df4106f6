package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"sae/archive/durable"
)

// TestDepositFaults makes every step of a deposit fail, at each of its occurrences,
// in one offer or in both, under each storage policy. Whatever happens: an error
// that says what and where, or an acknowledgement that holds; after reopening all
// that was acknowledged is there, nothing else is visible, nothing is left over.
func TestDepositFaults(t *testing.T) {
	t.Parallel()
	policies := map[string]func(string) string{
		"refuse": nil,
		"queue1": func(s string) string {
			return strings.Replace(strings.Replace(s, "copies: 2", "copies: 1", 1), "offer-down: refuse", "offer-down: queue", 1)
		},
		"queue2": func(s string) string { return strings.Replace(s, "offer-down: refuse", "offer-down: queue", 1) },
	}
	if raced {
		one := slices.Sorted(maps.Keys(policies))[rand.IntN(len(policies))]
		policies = map[string]func(string) string{one: policies[one]}
	}
	template := createEdited(t, nil)
	for policy, edit := range policies {
		for _, op := range []durable.Op{durable.OpCreate, durable.OpWrite, durable.OpMkdir, durable.OpSyncFS} {
			for _, where := range []string{"/first", "/second", "/offers/"} {
				for nth := 1; ; nth++ {
					f := &fault{op: op, where: where, nth: nth, err: syscall.ENOSPC}
					if where == "/offers/" {
						f.err = syscall.EIO
						f.after = true // and all later ones: no offer works any more
					}
					name := fmt.Sprintf("%s: %s %d in %s", policy, op, nth, where)
					if !depositWithFault(t, template, name, policy, edit, f) {
						break // the step does not occur that often
					}
				}
			}
		}
	}
}

// fault fails the nth occurrence of a step on paths that hold where.
type fault struct {
	op    durable.Op
	where string
	nth   int
	after bool // those after it too
	err   error

	armed atomic.Bool
	count atomic.Int64
}

func (f *fault) ask(op durable.Op, path string) error {
	if !f.armed.Load() || op != f.op || !strings.Contains(path, f.where) {
		return nil
	}
	if n := int(f.count.Add(1)); n == f.nth || f.after && n > f.nth {
		return f.err
	}
	return nil
}

func depositWithFault(t *testing.T, template, name, policy string, edit func(string) string, f *fault) (hit bool) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "archive")
	if err := os.CopyFS(dir, os.DirFS(template)); err != nil {
		t.Fatal(err)
	}
	restorePermissions(t, dir)
	if edit != nil {
		editConfig(t, dir, edit)
	}
	a, err := Open(dir, Options{FS: durable.FS{Fault: f.ask}})
	if err != nil {
		t.Fatal(name, err)
	}
	before := deposit(t, a, digital("before", "x"))
	f.armed.Store(true)
	d, err := a.Deposit(context.Background(), "test", Deposit{Units: []NewUnit{digital("a", "small"), digital("b", strings.Repeat("b", inMemory+1)), digital("c", "")}})
	f.armed.Store(false)
	hit = int(f.count.Load()) >= f.nth
	accepts := !hit || policy == "queue1"
	switch {
	case hit && policy == "queue1" && f.after && err == nil: // the last copy alone was missing
	case accepts && err != nil && !f.after:
		t.Errorf("%s: refused: %v", name, err)
	case !accepts && err == nil:
		t.Errorf("%s: acknowledged", name)
	case err != nil && (!errors.Is(err, f.err) || !strings.Contains(err.Error(), "offer ")):
		t.Errorf("%s: it does not say what and where: %v", name, err)
	}
	if err := a.Close(); err != nil {
		t.Error(name, err)
	}
	reopenAndCheck(t, name, dir, before, d)
	return hit
}

func createEdited(t *testing.T, edit func(string) string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "archive")
	if _, err := Create(dir, New{}); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		editConfig(t, dir, edit)
	}
	return dir
}

// reopenAndCheck opens the archive again: exactly the deposits given are in it, each
// content comes out, missing copies can be made, and the audit finds nothing.
func reopenAndCheck(t *testing.T, name, dir string, deposits ...*Deposited) {
	t.Helper()
	a, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(name, err)
	}
	defer a.Close()
	want := map[string]bool{}
	for _, d := range deposits {
		if d == nil {
			continue
		}
		for _, u := range d.Units {
			want[u.ID] = true
			for _, o := range u.Objects {
				var out bytes.Buffer
				if _, _, err := a.Get(context.Background(), o.ID, &out); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
	page, err := a.List(Filter{})
	if err != nil || len(page.Units) != len(want) {
		t.Errorf("%s: %d units, %d acknowledged: %v", name, len(page.Units), len(want), err)
	}
	if r, err := a.RepairQueue(context.Background(), "test"); err != nil || len(r.Left) > 0 {
		t.Errorf("%s: repairing: %+v, %v", name, r, err)
	}
	r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1})
	if err != nil || !r.Sound() {
		t.Errorf("%s: audit: %v, %v", name, r.List, err)
	}
}

// TestCommitFaults fails the catalogue's commit and the slot. The outcome is then
// uncertain: the deposit is wholly there or not at all, and no write is accepted
// until the archive is reopened.
func TestCommitFaults(t *testing.T) {
	for _, c := range []struct {
		step string
		kept bool // whether it is there after reopening
	}{{"commit", false}, {"committed", true}, {"slot", true}} {
		dir := createEdited(t, nil)
		armed := false
		o := Options{
			CatalogueFault: func(step string) error {
				if armed && step == c.step {
					return syscall.EIO
				}
				return nil
			},
			FS: durable.FS{Fault: func(op durable.Op, path string) error {
				if armed && c.step == "slot" && op == durable.OpWrite && strings.HasSuffix(path, "keys/checkpoint") {
					return syscall.EIO
				}
				return nil
			}},
		}
		a, err := Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		before := deposit(t, a, digital("before", "x"))
		armed = true
		d, err := a.Deposit(context.Background(), "test", Deposit{Units: []NewUnit{digital("a", "1")}})
		if d != nil || !errors.Is(err, errUncertain) || !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v, %v", c.step, d, err)
		}
		armed = false
		if _, err := a.Deposit(context.Background(), "test", Deposit{Units: []NewUnit{digital("b", "2")}}); err == nil || !strings.Contains(err.Error(), "reopen") {
			t.Errorf("%s: a write after an uncertain commit: %v", c.step, err)
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		a, err = Open(dir, Options{})
		if err != nil {
			t.Fatalf("%s: %v", c.step, err)
		}
		page, err := a.List(Filter{})
		if want := map[bool]int{false: 1, true: 2}[c.kept]; err != nil || len(page.Units) != want {
			t.Errorf("%s: %d units, want %d: %v", c.step, len(page.Units), want, err)
		}
		all := []*Deposited{before}
		for _, u := range page.Units {
			if u.Title == "a" {
				all = append(all, &Deposited{Units: []DepositedUnit{{ID: u.Unit, Objects: []DepositedObject{{ID: u.Objects[0].ID}}}}})
			}
		}
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
		reopenAndCheck(t, c.step, dir, all...)
	}
}

// TestOrderOfDurability records the steps of a deposit: every offer is synced after
// its last write and before the catalogue's commit, the slot is written after it.
func TestOrderOfDurability(t *testing.T) {
	dir := createEdited(t, nil)
	var steps []string
	armed := false
	note := func(step string) {
		if armed && (len(steps) == 0 || steps[len(steps)-1] != step) {
			steps = append(steps, step)
		}
	}
	a, err := Open(dir, Options{
		CatalogueFault: func(step string) error { note(step); return nil },
		FS: durable.FS{Fault: func(op durable.Op, path string) error {
			switch {
			case strings.HasSuffix(path, "keys/checkpoint") && op == durable.OpWrite:
				note("slot")
			case strings.Contains(path, "/blobs/") && op == durable.OpWrite:
				note("write")
			case op == durable.OpSyncFS && strings.Contains(path, "offers"):
				note("syncfs")
			}
			return nil
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	a.offers = a.offers[:1] // two sync at the same time: their notes would race
	a.config.Offers, a.config.Storage.Copies = a.config.Offers[:1], 1
	a.policies = a.config.policies()
	armed = true
	deposit(t, a, digital("a", "1"))
	armed = false
	if got := strings.Join(steps, " "); got != "write syncfs commit committed slot" {
		t.Errorf("steps: %s", got)
	}
}

// TestFailedSyncIsNotForgotten: a copy begun before a sync that failed does not
// count as written, even if the next sync succeeds.
func TestFailedSyncIsNotForgotten(t *testing.T) {
	dir := createEdited(t, nil)
	f := &fault{op: durable.OpSyncFS, where: "/first", nth: 1, err: syscall.EIO}
	a, err := Open(dir, Options{FS: durable.FS{Fault: f.ask}})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	c, err := a.createCopies(context.Background(), a.session, a.policy(""), false)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	f.armed.Store(true)
	if failed := a.syncOffers(map[int]bool{0: true, 1: true}); len(failed) != 1 {
		t.Fatal(failed)
	}
	if failed := a.syncOffers(map[int]bool{0: true, 1: true}); len(failed) != 0 {
		t.Fatal(failed)
	}
	if _, err := a.settle([]*landing{c.at}, nil); !errors.Is(err, errEarlierSync) {
		t.Errorf("%v", err)
	}
	if _, err := a.sweep(context.Background(), a.session); err != nil {
		t.Error(err)
	}
}

func TestRollbackAndFork(t *testing.T) {
	dir := createEdited(t, nil)
	a, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	deposit(t, a, digital("a", "1"))
	a.Close()
	old := readFile(t, filepath.Join(dir, catalogueFile))
	a, err = Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	deposit(t, a, digital("b", "2"))
	a.Close()
	newer := readFile(t, filepath.Join(dir, catalogueFile))
	slot := readFile(t, filepath.Join(dir, "keys/checkpoint"))

	writeFileAt(t, filepath.Join(dir, catalogueFile), old)
	var rolledBack *RollbackError
	if _, err := Open(dir, Options{}); !errors.As(err, &rolledBack) || rolledBack.Have != 2 || rolledBack.Want != 3 {
		t.Fatalf("an older catalogue: %v", err)
	}
	if _, err := Open(dir, Options{ReadOnly: true}); !errors.As(err, &rolledBack) {
		t.Errorf("an older catalogue, for reading: %v", err)
	}
	a, err = Open(dir, Options{AcceptRollback: true})
	if err != nil {
		t.Fatal(err)
	}
	if lost, index, err := a.AcceptRollback(context.Background(), "test", "a reason"); err != nil || lost != 3 || index != 2 {
		t.Fatalf("%d, %d, %v", lost, index, err)
	}
	a.Close()
	a, err = Open(dir, Options{})
	if err != nil {
		t.Fatalf("after accepting: %v", err)
	}
	want := rows(t, a)
	a.Close()
	// What was given up lies in the offers still; a rebuilt catalogue does not have it.
	rebuilt := filepath.Join(t.TempDir(), "rebuilt")
	if _, err := Rebuild(context.Background(), RebuildFrom{Dir: rebuilt, Path: filepath.Join(dir, "offers/first"), Root: filepath.Join(dir, "keys/root")}); err != nil {
		t.Fatal(err)
	}
	again, err := Open(rebuilt, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	sameRows(t, "rebuilt after a rollback", want, rows(t, again))
	again.Close()
	// The catalogue that was given up now has a history of its own.
	writeFileAt(t, filepath.Join(dir, catalogueFile), newer)
	if _, err := Open(dir, Options{}); !errors.As(err, &rolledBack) || !rolledBack.Forked {
		t.Errorf("a forked catalogue: %v", err)
	}
	// A crash between commit and slot leaves the slot behind: accepted.
	writeFileAt(t, filepath.Join(dir, "keys/checkpoint"), slot)
	a, err = Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	deposit(t, a, digital("c", "3"))
	a.Close()
	writeFileAt(t, filepath.Join(dir, "keys/checkpoint"), slot)
	a, err = Open(dir, Options{})
	if err != nil {
		t.Errorf("a catalogue ahead of its slot: %v", err)
	} else {
		a.Close()
	}
}

func TestLockNamesItsHolder(t *testing.T) {
	dir := createEdited(t, nil)
	a, err := Open(dir, Options{Command: "sae deposit"})
	if err != nil {
		t.Fatal(err)
	}
	for _, readOnly := range []bool{false, true} {
		if _, err := Open(dir, Options{ReadOnly: readOnly}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "sae deposit") {
			t.Errorf("read-only %v: %v", readOnly, err)
		}
	}
	a.Close()
	r1, err := Open(dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	r2, err := Open(dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatalf("a second reader: %v", err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("a writer beside readers: %v", err)
	}
	if _, err := r1.Deposit(context.Background(), "x", Deposit{}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("a deposit by a reader: %v", err)
	}
	r1.Close()
	r2.Close()
}
