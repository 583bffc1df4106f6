package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"sae/archive/durable"
)

// kill ends an archive as SIGKILL would.
func kill(a *Archive) {
	close(a.stopped)
	<-a.ended
	a.closed.Store(true)
	a.release()
}

// unreadable counts the objects of a deposit that cannot be read.
func unreadable(t *testing.T, a *Archive, d *Deposited) (n int) {
	t.Helper()
	for _, u := range d.Units {
		for _, o := range u.Objects {
			var out bytes.Buffer
			if _, _, err := a.Get(context.Background(), o.ID, &out); err != nil {
				n++
			}
		}
	}
	return n
}

// oneIsEnough is a policy that goes on without one of its two offers.
func oneIsEnough(config string) string {
	return strings.Replace(strings.Replace(config, "copies: 2", "copies: 1", 1), "offer-down: refuse", "offer-down: queue", 1)
}

// TestStagedPacksSurviveAFailedSync fails each sync of one offer in a deposit in stages, which is
// then staged anew: what was acknowledged is there after a kill, which sweeps what is not known.
func TestStagedPacksSurviveAFailedSync(t *testing.T) {
	for nth, hit := 1, true; hit; nth++ {
		dir := createEdited(t, oneIsEnough)
		f := &fault{op: durable.OpSyncFS, where: "/second", nth: nth, err: syscall.EIO}
		a, err := Open(dir, Options{FS: durable.FS{Fault: f.ask}})
		if err != nil {
			t.Fatal(err)
		}
		a.stageItems = testStage
		large := Deposit{}
		for i := range 1500 {
			u := NewUnit{Parent: -1, Title: fmt.Sprint("unit ", i)}
			if i%25 == 1 {
				u.Channel, u.Content = Digital, text("a.txt", u.Title)
			}
			large.Units = append(large.Units, u)
		}
		f.armed.Store(true)
		d, err := a.Deposit(context.Background(), "test", large)
		f.armed.Store(false)
		hit = int(f.count.Load()) >= nth
		if err != nil {
			t.Fatalf("sync %d: %v", nth, err)
		}
		kill(a)
		a = reopened(t, dir)
		if n := unreadable(t, a, d); n > 0 {
			t.Errorf("sync %d: %d acknowledged objects are lost", nth, n)
		}
		a.Close()
	}
}

// TestUncertainMoveLosesNothing: a compaction of which only reopening tells whether it took place
// leaves every object readable, before and after what it gave up is deleted.
func TestUncertainMoveLosesNothing(t *testing.T) {
	for _, step := range []string{"commit", "committed"} {
		dir, armed := createEdited(t, nil), false
		a, err := Open(dir, Options{CatalogueFault: func(at string) error {
			if armed && at == step {
				return errors.New("test fault")
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		a.packFrom = 20
		d := &Deposited{}
		for i := range 25 {
			d.Units = append(d.Units, deposit(t, a, digital(fmt.Sprint(i), fmt.Sprint("c", i))).Units...)
		}
		armed = true
		if _, err := a.Compact(context.Background()); err == nil {
			t.Fatal("no fault")
		}
		kill(a)
		a = reopened(t, dir)
		for _, when := range []string{"reopened", "repaired"} {
			if n := unreadable(t, a, d); n > 0 {
				t.Errorf("%s, %s: %d objects are lost", step, when, n)
			}
			if _, err := a.RepairQueue(context.Background(), "test"); err != nil {
				t.Error(err)
			}
		}
		a.Close()
	}
}
