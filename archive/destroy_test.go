package archive

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sae/archive/durable"
)

// destroyUnits destroys units without a procedure.
func destroyUnits(t *testing.T, a *Archive, ids ...string) error {
	t.Helper()
	var all []*doomed
	err := a.cat.view(func(t *tx) error {
		for _, id := range ids {
			d, err := a.doom(t, id, "test", 1, nil)
			if err != nil {
				return err
			}
			all = append(all, d)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return a.destroy(context.Background(), "test", "archives", "test-destroyed", nil, all, func(*tx) error { return nil })
}

const planted = "Zephirine-Quatrebarbes-1931"

// TestDestroyedIsGone: after units are destroyed, nothing of them can be read with all that is
// alive, nor from a copy of the whole archive made before with the root key of afterwards; all
// others are as they were.
func TestDestroyedIsGone(t *testing.T) {
	ctx := context.Background()
	dir := createEdited(t, nil)
	a := reopened(t, dir)
	defer func() { a.Close() }()
	units := manyUnits(40)
	for i := range 3 {
		units[i].Title, units[i].Subject = planted, planted
	}
	d := deposit(t, a, units...)
	alone := deposit(t, a, digital(planted, planted), digital("stays", "stays"))
	mustSeal(t, a)
	if found, err := a.Search("", planted, 10); err != nil || len(found) != 4 {
		t.Fatal(found, err)
	}
	before := filepath.Join(t.TempDir(), "before")
	a.Close()
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	restorePermissions(t, before)
	a = reopened(t, dir)
	gone := []string{d.Units[0].ID, d.Units[1].ID, d.Units[2].ID, alone.Units[0].ID}
	if err := destroyUnits(t, a, gone...); err != nil {
		t.Fatal(err)
	}
	if c, err := a.Compact(ctx); err != nil || c.Blobs != 1 || c.Waiting != 0 {
		t.Errorf("%+v %v", c, err)
	}
	for range 2 { // as it stands, and opened again
		for _, id := range gone {
			var destroyed *DestroyedError
			if _, err := a.Unit(id); !errors.As(err, &destroyed) || !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v", id, err)
			}
			events, err := a.History(id)
			if err != nil || !slices.ContainsFunc(events, func(e Event) bool { return e.Entry.Kind == "test-destroyed" && e.Item != nil }) {
				t.Errorf("%+v %v", events, err)
			}
			stone, _, err := a.Tombstone(id)
			if err != nil || stone.Unit != id || len(stone.Objects) != 1 {
				t.Errorf("%+v %v", stone, err)
			}
			if _, err := a.Resolve(stone.Objects[0].ID); !errors.As(err, &destroyed) {
				t.Errorf("its object: %v", err)
			}
		}
		left := &Deposited{Units: append(append([]DepositedUnit{}, d.Units[3:]...), alone.Units[1])}
		checkUnits(t, a, left, append(append([]NewUnit{}, units[3:]...), digital("stays", "stays")))
		if found, err := a.Search("", planted, 10); err != nil || len(found) != 0 {
			t.Error(found, err)
		}
		mustSeal(t, a)
		if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
			t.Errorf("%+v %v", r.List, err)
		}
		mustFsck(t, a)
		a.Close()
		a = reopened(t, dir)
	}
	notIn(t, dir, planted)
	nothingOpens(t, before, dir)
}

// notIn greps every file.
func notIn(t *testing.T, dir, text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if b := readFile(t, path); bytes.Contains(b, []byte(text)) {
			t.Errorf("%s holds the planted text", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// rootsIn gives what a slot holds, and whether its other place holds nothing.
func rootsIn(t *testing.T, path string) (held []heldRoot, alone bool) {
	t.Helper()
	slot, err := durable.OpenSlot(durable.FS{}, path)
	if err != nil {
		t.Fatal(err)
	}
	defer slot.Close()
	s := rootSlot{slot: slot}
	if err := s.load(); err != nil {
		t.Fatal(err)
	}
	if alone, err = slot.Alone(); err != nil {
		t.Fatal(err)
	}
	return s.held, alone
}

// nothingOpens puts the root key of an archive that destroyed keys beside a copy of it from
// before: it opens nothing there. Nor does what is left in its slot.
func nothingOpens(t *testing.T, before, now string) {
	t.Helper()
	old := readFile(t, filepath.Join(before, "keys/root"))
	roots, _ := rootsIn(t, filepath.Join(before, "keys/root"))
	if len(roots) != 1 {
		t.Fatal(len(roots), "roots")
	}
	if bytes.Contains(readFile(t, filepath.Join(now, "keys/root")), roots[0].Root) {
		t.Error("the old root is still in the slot")
	}
	writeFileAt(t, filepath.Join(before, "keys/root"), readFile(t, filepath.Join(now, "keys/root")))
	if a, err := Open(before, Options{ReadOnly: true}); err == nil {
		a.Close()
		t.Error("the new root opens the copy from before")
	} else if !strings.Contains(err.Error(), "does not open") {
		t.Error(err)
	}
	writeFileAt(t, filepath.Join(before, "keys/root"), old)
}

// TestDestroyIsAllOrNothing fails at each step; each time the archive is reopened, and the unit
// is either there or destroyed, with one root key in the slot.
func TestDestroyIsAllOrNothing(t *testing.T) {
	for _, step := range []string{"commit", "committed", "check"} {
		dir := createEdited(t, nil)
		a := reopened(t, dir)
		d := deposit(t, a, digital("goes", "g"), digital("stays", "s"))
		a.cat.fault = func(at string) error {
			if at == step {
				return errors.New("fault")
			}
			return nil
		}
		var all []*doomed
		if err := a.cat.view(func(t *tx) error {
			x, err := a.doom(t, d.Units[0].ID, "test", 1, nil)
			all = append(all, x)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		err := a.destroy(context.Background(), "test", "archives", "test-destroyed", nil, all, func(*tx) error {
			if step == "check" {
				return errChanged
			}
			return nil
		})
		if err == nil || (step == "check") != errors.Is(err, errChanged) {
			t.Errorf("%s: %v", step, err)
		}
		a.cat.fault = nil
		if step != "committed" {
			if _, err := a.Unit(d.Units[0].ID); err != nil {
				t.Errorf("%s: %v", step, err)
			}
		}
		a.Close()
		a = reopened(t, dir)
		var destroyed *DestroyedError
		if _, err := a.Unit(d.Units[0].ID); errors.As(err, &destroyed) != (step == "committed") {
			t.Errorf("%s: reopened: %v", step, err)
		}
		if _, err := a.Unit(d.Units[1].ID); err != nil {
			t.Errorf("%s: the other: %v", step, err)
		}
		if roots, alone := rootsIn(t, a.config.Slots.Root); len(roots) != 1 || !alone {
			t.Errorf("%s: %d roots, alone %v", step, len(roots), alone)
		}
		if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
			t.Errorf("%s: %+v %v", step, r.List, err)
		}
		a.Close()
	}
}

// TestDestroyRebuild: a catalogue that is lost after units were destroyed comes back without
// them, and the root key from before opens nothing of the journal that is left.
func TestDestroyRebuild(t *testing.T) {
	dir := createEdited(t, nil)
	a := reopened(t, dir)
	d := deposit(t, a, digital("goes", planted), digital("stays", "s"))
	slotBefore := readFile(t, filepath.Join(dir, "keys/root"))
	if err := destroyUnits(t, a, d.Units[0].ID); err != nil {
		t.Fatal(err)
	}
	before := rows(t, a)
	a.Close()
	for _, root := range []string{"now", "before"} {
		key := filepath.Join(t.TempDir(), "root")
		b := readFile(t, filepath.Join(dir, "keys/root"))
		if root == "before" {
			b = slotBefore
		}
		writeFileAt(t, key, b)
		from := RebuildFrom{Dir: filepath.Join(t.TempDir(), "new"), Path: filepath.Join(dir, "offers/first"), Root: key}
		_, err := Rebuild(context.Background(), from)
		if root == "before" {
			if err == nil || !strings.Contains(err.Error(), "before an erasure") {
				t.Errorf("with the root from before: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		r := reopened(t, from.Dir)
		sameRows(t, "rebuilt", before, rows(t, r))
		r.Close()
	}
}

// TestDestroyChecksItsTombstone: one that was changed, or a unit that came back, an audit finds.
func TestDestroyChecksItsTombstone(t *testing.T) {
	a := reopened(t, createEdited(t, nil))
	defer a.Close()
	d := deposit(t, a, digital("goes", "g"))
	id := d.Units[0].ID
	var old []byte
	if err := a.cat.view(func(t *tx) error {
		v, err := t.get(bktUnit, unitKey(id, 1))
		old = bytes.Clone(v)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := destroyUnits(t, a, id); err != nil {
		t.Fatal(err)
	}
	stone := func(t *tx) []byte { v, _ := t.get(bktTomb, []byte(id)); return bytes.Clone(v) }
	for name, change := range map[string]func(*tx) error{
		"another text": func(t *tx) error {
			return t.put(bktTomb, []byte(id), bytes.Replace(stone(t), []byte(`"visaEntry":1`), []byte(`"visaEntry":2`), 1))
		},
		"it came back": func(t *tx) error { return t.put(bktUnit, unitKey(id, 1), old) },
		"none":         func(t *tx) error { return t.delete(bktTomb, []byte(id)) },
	} {
		var was []byte
		if err := a.update(nil, func(t *tx) error { was = stone(t); return change(t) }); err != nil {
			t.Fatal(err)
		}
		if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || r.Sound() {
			t.Errorf("%s: it is sound, %v", name, err)
		}
		if err := a.update(nil, func(t *tx) error {
			return errors.Join(t.put(bktTomb, []byte(id), was), t.delete(bktUnit, unitKey(id, 1)))
		}); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r.List, err)
	}
}
