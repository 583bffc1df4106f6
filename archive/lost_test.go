package archive

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

// blobPath is where an object's copy lies in a folder.
func blobPath(t *testing.T, a *Archive, offer int, object string) string {
	t.Helper()
	o, err := a.Object(object)
	if err != nil {
		t.Fatal(err)
	}
	session, _, _ := strings.Cut(o.record.Blob, "-")
	return filepath.Join(a.config.Offers[offer].Path, "blobs", session, "000000000", o.record.Blob)
}

// TestLostIsNamed: an object without a good copy is in the status until it has one again, or
// is given up.
func TestLostIsNamed(t *testing.T) {
	ctx := context.Background()
	a := reopened(t, createEdited(t, nil))
	defer a.Close()
	d := deposit(t, a, digital("one", "1"), digital("two", "2"))
	ids := []string{d.Units[0].Objects[0].ID, d.Units[1].Objects[0].ID}
	named := func() int {
		t.Helper()
		s, err := a.Status()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, p := range s.Problems {
			if strings.Contains(p, "NO GOOD COPY") {
				n++
			}
		}
		if n != len(s.Lost) {
			t.Errorf("%d of %d are said", n, len(s.Lost))
		}
		return n
	}
	for i := range a.offers {
		for _, id := range ids {
			if err := os.Rename(blobPath(t, a, i, id), blobPath(t, a, i, id)+".away"); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 2 {
		if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1, Repair: true, Ciphertext: true}); err != nil || r.Lost != 4 || named() != 2 {
			t.Fatalf("%+v %v, %d named", r, err, named())
		}
	}
	if err := os.Rename(blobPath(t, a, 1, ids[0])+".away", blobPath(t, a, 1, ids[0])); err != nil {
		t.Fatal(err)
	}
	r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1, Repair: true})
	if err != nil || r.Lost != 2 || r.Repaired != 1 || named() != 1 {
		t.Errorf("%+v %v, %d named", r, err, named())
	}
	if _, err := a.AcceptLoss(ctx, "test", ids[0], "x"); err == nil {
		t.Error("an object that has a copy was given up")
	}
	if _, err := a.AcceptLoss(ctx, "test", ids[1], "both disks burnt"); err != nil || named() != 0 {
		t.Error(err, named())
	}
	if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() || named() != 0 { // it was answered
		t.Errorf("%+v %v, %d named", r, err, named())
	}
	h, err := a.Entry(int64(r.Entry) + 1)
	if err != nil || !strings.Contains(string(h), "loss-accepted") || strings.Contains(string(h), "burnt") {
		t.Errorf("%s %v", h, err)
	}
}

// TestAuditContinues: audits of a quarter that continue have read everything after four.
func TestAuditContinues(t *testing.T) {
	ctx := context.Background()
	a := reopened(t, createEdited(t, nil))
	defer a.Close()
	var units []NewUnit
	for range 21 {
		units = append(units, digital("x", "content"))
	}
	d := deposit(t, a, units...)
	for _, u := range d.Units {
		if err := os.Truncate(blobPath(t, a, 0, u.Objects[0].ID), 10); err != nil {
			t.Fatal(err)
		}
	}
	found := map[string]bool{}
	for i := range 4 {
		r, err := a.Audit(ctx, "test", AuditOptions{Sample: 0.25, Continue: true})
		if err != nil || r.Objects < 4 || r.Objects > 7 {
			t.Errorf("audit %d: %d objects, %v", i, r.Objects, err)
		}
		for _, f := range r.List {
			found[f.Where] = true
		}
	}
	if len(found) != len(units) {
		t.Errorf("%d of %d were read", len(found), len(units))
	}
}

// TestEarlierCatalogue: a catalogue from before a bucket was thought of can be read, and gets
// it when it is opened for writing.
func TestEarlierCatalogue(t *testing.T) {
	dir := createEdited(t, nil)
	a := reopened(t, dir)
	deposit(t, a, digital("one", "1"))
	err := a.cat.db.Update(func(tx *bbolt.Tx) error { return tx.DeleteBucket([]byte(bktLock)) })
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	for _, readOnly := range []bool{true, false} {
		a, err := Open(dir, Options{ReadOnly: readOnly})
		if err != nil {
			t.Fatal(err)
		}
		if s, err := a.Status(); err != nil || s.Units != 1 {
			t.Errorf("%+v %v", s, err)
		}
		if f, err := a.Fsck(context.Background()); err != nil || len(f.Findings) > 0 {
			t.Errorf("%+v %v", f, err)
		}
		if !readOnly {
			deposit(t, a, digital("two", "2"))
		}
		a.Close()
	}
}
