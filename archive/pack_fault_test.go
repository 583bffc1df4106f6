package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sae/archive/blobs"
	"sae/archive/durable"
	"sae/archive/s3"
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

// noCreate is a place without room for blobs of one kind.
type noCreate struct {
	blobs.Store
	prefix string
}

func (n noCreate) Create(ctx context.Context, name string) (blobs.Writer, error) {
	if strings.HasPrefix(name, n.prefix) {
		return nil, syscall.ENOSPC
	}
	return n.Store.Create(ctx, name)
}

// TestMoveWaitsForTheJournal: a rebuilding never finds records of blobs that were deleted: nothing is deleted
// while the journal of the move is in no offer, nor in an offer that lacks it.
func TestMoveWaitsForTheJournal(t *testing.T) {
	for _, both := range []bool{true, false} {
		dir := createEdited(t, nil)
		a := reopened(t, dir)
		a.packFrom = 20
		d := &Deposited{}
		for i := range 25 {
			d.Units = append(d.Units, deposit(t, a, digital(fmt.Sprint(i), fmt.Sprint("c", i))).Units...)
		}
		if both {
			a.offers[0].blobs = noCreate{a.offers[0].blobs, "j"}
		}
		a.offers[1].blobs = noCreate{a.offers[1].blobs, "j"}
		if _, err := a.Compact(context.Background()); err != nil {
			t.Fatal(err)
		}
		second := a.config.Offers[1].Path
		kill(a)
		if err := os.Remove(dir + "/catalogue.db"); err != nil {
			t.Fatal(err)
		}
		if !both {
			os.RemoveAll(a.config.Offers[0].Path)
		}
		if _, err := Rebuild(context.Background(), RebuildFrom{Dir: dir, Path: second}); err != nil {
			t.Fatal(err)
		}
		a = reopened(t, dir)
		if n := unreadable(t, a, d); n > 0 {
			t.Errorf("both %v: %d objects lost after rebuild", both, n)
		}
		a.Close()
	}
}

// TestAuditDoesNotMoveGoodPacks: with an offer down, an audit with repair leaves a pack that is whole elsewhere.
func TestAuditDoesNotMoveGoodPacks(t *testing.T) {
	a := reopened(t, createEdited(t, oneIsEnough))
	defer a.Close()
	d := deposit(t, a, manyUnits(60)...)
	o, _ := a.Object(d.Units[5].Objects[0].ID)
	a.offers[0].down = os.ErrPermission
	for range 2 {
		r, err := a.Audit(context.Background(), "x", AuditOptions{Sample: 1, Repair: true})
		if err != nil {
			t.Fatal(err)
		}
		if r.Repaired > 0 {
			t.Errorf("%+v", r.List)
		}
		o2, _ := a.Object(o.ID)
		if o2.record.Blob != o.record.Blob {
			t.Errorf("a good pack was written anew: %s -> %s", o.record.Blob, o2.record.Blob)
		}
		o = o2
	}
}

// TestMoveKeepsTheNumberOfCopies: objects are not moved while an offer does not take the new pack.
func TestMoveKeepsTheNumberOfCopies(t *testing.T) {
	a := reopened(t, createEdited(t, oneIsEnough))
	defer a.Close()
	a.packFrom = 20
	d := &Deposited{}
	for i := range 25 {
		d.Units = append(d.Units, deposit(t, a, digital(fmt.Sprint(i), fmt.Sprint("c", i))).Units...)
	}
	good := a.offers[1].blobs
	a.offers[1].blobs = noCreate{good, "s"}
	if _, err := a.Compact(context.Background()); err == nil {
		t.Error("the new pack lies in one offer only, and nobody said so")
	}
	if len(objectBlobs(t, a, 1)) == 0 {
		t.Error("second had a good copy of each, now has none")
	}
}

// TestAuditDuringAMove: objects that are moved between being listed and being read are not lost.
func TestAuditDuringAMove(t *testing.T) {
	a := reopened(t, createEdited(t, nil))
	defer a.Close()
	a.packFrom = 20
	for i := range 25 {
		deposit(t, a, digital(fmt.Sprint(i), fmt.Sprint("c", i)))
	}
	au := &audit{a: a, o: AuditOptions{Sample: 1}, report: &AuditReport{}, lost: map[string]lostState{}}
	objects, _, _, err := au.page(0)
	if err != nil {
		t.Fatal(err)
	}
	if c, err := a.Compact(context.Background()); err != nil {
		t.Fatal(c, err)
	}
	for _, g := range byBlob(objects) {
		au.group(context.Background(), g, make([]byte, 4096))
	}
	if len(au.gone) > 0 {
		t.Errorf("%d objects are noted as lost, findings %d", len(au.gone), au.report.Findings)
	}
}

// TestHoldFollowsAMove: the legal hold of what is held is on the new pack too.
func TestHoldFollowsAMove(t *testing.T) {
	dir, _, _ := inCloud(t, "governance", "offer-down: refuse")
	a := reopened(t, dir)
	defer a.Close()
	d := deposit(t, a, manyUnits(40)...)
	id := d.Units[5].Objects[0].ID
	if _, err := a.Act(context.Background(), "alice", "", HoldAct, ActText{Units: []string{d.Units[5].ID}, Reason: "r"}); err != nil {
		t.Fatal(err)
	}
	held := func() bool {
		o, err := a.Object(id)
		if err != nil {
			t.Fatal(err)
		}
		to := a.offers[2].blobs.(*s3.Store)
		err = to.Delete(context.Background(), o.record.Blob)
		return err != nil
	}
	if !held() {
		t.Fatal("not held at first")
	}
	err := a.update(nil, func(tx *tx) error {
		o, err := a.object(tx, d.Units[7].Objects[0].ID)
		if err != nil {
			return err
		}
		row, _ := tx.get(bktBlob, []byte(o.record.Blob))
		p, _ := parsePack(row)
		p.Objects = slices.DeleteFunc(p.Objects, func(id string) bool { return id == o.ID })
		return tx.put(bktBlob, []byte(o.record.Blob), p.row())
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := a.setLocks(context.Background()); err != nil {
		t.Fatal(err)
	}
	if !held() {
		t.Error("the legal hold is gone after a compaction")
	}
}
