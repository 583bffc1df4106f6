package archive

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFsck spoils one thing after the other; each is found, with what to do about it.
func TestFsck(t *testing.T) {
	ctx := context.Background()
	a := newArchive(t, nil)
	d := deposit(t, a, digital("one", "1"), digital("two", "2"))
	if _, err := a.Seal(ctx, "test"); err != nil {
		t.Fatal(err)
	}
	e := deposit(t, a, digital("three", "3"))
	f, err := a.Fsck(ctx)
	if err != nil || len(f.Findings) > 0 || f.Leaves != 6 || f.Batches != 1 || f.Copies != 2*f.Blobs || f.Blobs < 6 {
		t.Fatalf("%+v %v", f, err)
	}
	o, err := a.Object(e.Units[0].Objects[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	path := func(offer int) string {
		return filepath.Join(a.config.Offers[offer].Path, "blobs", a.session, "000000000", o.record.Blob)
	}
	stray := filepath.Join(a.config.Offers[1].Path, "blobs", "s"+strings.Repeat("a", 26), "000000000", "s"+strings.Repeat("a", 26)+"-000000000001")
	change := func(f func(*tx) error) func() {
		return func() {
			if err := a.cat.update(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	// lose takes a row away and gives what puts it back.
	lose := func(b bucket, key []byte) (func(), func()) {
		var was []byte
		return change(func(tx *tx) error {
			v, err := tx.get(b, key)
			was = append([]byte(nil), v...)
			if err == nil && v == nil {
				t.Errorf("no row %s/%x", b, key)
			}
			return tx.delete(b, key)
		}), change(func(tx *tx) error { return tx.put(b, key, was) })
	}
	type test struct {
		spoil, mend func()
		kind, what  string
		do          string
	}
	row := func(b bucket, key []byte, kind, what, do string) test {
		spoil, mend := lose(b, key)
		return test{spoil, mend, kind, what, do}
	}
	added := func(b bucket, key, value []byte, kind, what, do string) test {
		return test{change(func(tx *tx) error { return tx.put(b, key, value) }), change(func(tx *tx) error { return tx.delete(b, key) }), kind, what, do}
	}
	unit := d.Units[0].ID
	tests := map[string]test{
		"a copy is missing":   {func() { os.Rename(path(0), path(0)+"x") }, func() { os.Rename(path(0)+"x", path(0)) }, "missing", "copy", "offer sync"},
		"a copy is too short": {func() { os.Truncate(path(1), 3) }, func() { os.Remove(path(1)); os.Link(path(0), path(1)) }, "different", "copy", "audit --repair"},
		"a stray blob": {func() {
			os.MkdirAll(filepath.Dir(stray), 0o700)
			os.WriteFile(stray, []byte("x"), 0o600)
		}, func() { os.Remove(stray) }, "extra", "blob", "remove-extra"},
		"a unit record is gone":    row(bktUnit, unitKey(unit, 1), "different", "leaf", "rebuild"),
		"an object record is gone": row(bktObject, []byte(d.Units[0].Objects[0].ID), "different", "leaf", "rebuild"),
		"a leaf is gone":           row(bktLeaf, be64(5), "missing", "leaf", "rebuild"),
		"a sealed leaf is gone":    row(bktLeaf, be64(2), "different", "batch", "rebuild"),
		"a key is gone":            row(bktKey, wrappedKey(0, 3), "different", "leaf", "rebuild"),
		"an item is gone":          row(bktItem, itemKey(1, 0), "damaged", "ledger", "rebuild"),
		"a batch is gone":          row(bktBatch, be64(0), "missing", "batch", "rebuild"),
		"a blob row too many":      added(bktBlob, []byte("s"+strings.Repeat("b", 26)+"-000000000001"), []byte(d.Units[0].Objects[0].ID), "extra", "blob row", "not used"),
		"an index row too many":    added(bktIndex, append(a.indexPrefix(idxTenant, "archives", "x"), be64(1)...), unitKey(newID(unitID), 1), "extra", "index row", "rebuild"),
		"a history row too many":   added(bktHist, histRow(newID(unitID), 1, 0, 0).key, be64(0), "extra", "hist row", "rebuild"),
		"a debt of no offer":       added(bktDebt, debtKey("elsewhere", o.record.Blob), []byte("{}"), "extra", "debt row", "not used"),
		"a lock of no blob":        added(bktLock, debtKey("first", "s"), []byte("{}"), "extra", "lock row", "not used"),
	}
	for name, c := range tests {
		c.spoil()
		f, err := a.Fsck(ctx)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		found := false
		for _, g := range f.Findings {
			if g.Do == "" || g.Why == "" {
				t.Errorf("%s: %+v", name, g)
			}
			found = found || g.Kind == c.kind && g.What == c.what && strings.Contains(g.Do, c.do)
		}
		if !found {
			t.Errorf("%s: %+v", name, f.Findings)
		}
		c.mend()
	}
	if f, err := a.Fsck(ctx); err != nil || len(f.Findings) > 0 {
		t.Errorf("mended: %+v %v", f.Findings, err)
	}
}
