package archive

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sae/archive/blobs"
)

// manyUnits are small documents, and among them one that is too long for a pack.
func manyUnits(n int) (units []NewUnit) {
	for i := range n {
		units = append(units, digital(fmt.Sprintf("document %d", i), strings.Repeat(fmt.Sprintf("content of %d, ", i), i)))
	}
	return append(units, digital("long", strings.Repeat("long ", maxPacked)))
}

// checkUnits reads all documents of a deposit of manyUnits.
func checkUnits(t *testing.T, a *Archive, d *Deposited, units []NewUnit) {
	t.Helper()
	for i, u := range d.Units {
		var got bytes.Buffer
		_, _, err := a.Get(context.Background(), u.Objects[0].ID, &got)
		r, openErr := units[i].Content.Open()
		if openErr != nil {
			t.Fatal(openErr)
		}
		var want bytes.Buffer
		want.ReadFrom(r)
		if err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
			t.Errorf("%s: %d bytes, %v", u.Title, got.Len(), err)
		}
	}
}

// objectBlobs are the names of the blobs of objects, without the journal's, in an offer.
func objectBlobs(t *testing.T, a *Archive, offer int) (names []string) {
	t.Helper()
	if err := a.offers[offer].blobs.List(context.Background(), "s", func(name string, _ int64) error { names = append(names, name); return nil }); err != nil {
		t.Fatal(err)
	}
	return names
}

func packArchive(t *testing.T) *Archive {
	a := reopened(t, createEdited(t, nil))
	t.Cleanup(func() { a.Close() })
	return a
}

func mustFsck(t *testing.T, a *Archive) {
	t.Helper()
	if f, err := a.Fsck(context.Background()); err != nil || len(f.Findings) > 0 {
		t.Errorf("%+v %v", f, err)
	}
}

func TestPacks(t *testing.T) {
	ctx := context.Background()
	a := packArchive(t)
	units := manyUnits(60)
	d := deposit(t, a, units...)
	if n := len(objectBlobs(t, a, 0)); n != 2 {
		t.Errorf("%d blobs: want a pack and a long object", n)
	}
	checkUnits(t, a, d, units)
	for _, o := range []AuditOptions{{Sample: 1}, {Sample: 1, Ciphertext: true}} {
		if r, err := a.Audit(ctx, "test", o); err != nil || !r.Sound() || r.Objects != 61 || r.Copies != 122 {
			t.Errorf("%+v %v", r, err)
		}
	}
	mustFsck(t, a)
	path := blobPath(t, a, 0, d.Units[20].Objects[0].ID)
	whole := readFile(t, path)
	for name, damage := range map[string]func() error{
		"gone":     func() error { return os.Remove(path) },
		"cut":      func() error { return os.Truncate(path, int64(len(whole)/2)) },
		"longer":   func() error { return os.WriteFile(path, append(bytes.Clone(whole), 1), 0o600) },
		"one byte": func() error { return os.WriteFile(path, flipped(whole, len(whole)/2), 0o600) },
	} {
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		for _, repair := range []bool{false, true} {
			r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1, Repair: repair})
			if err != nil || r.Findings != 1 || r.Sound() != repair || r.Lost > 0 {
				t.Errorf("%s, repaired %v: %+v %v", name, repair, r, err)
			}
		}
		if !bytes.Equal(readFile(t, path), whole) {
			t.Errorf("%s: another pack", name)
		}
	}
	mustFsck(t, a)
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// TestPacksBothBad: both copies of a pack are bad, in different objects, and one object in
// both: the others are put into a new one.
func TestPacksBothBad(t *testing.T) {
	ctx := context.Background()
	a := packArchive(t)
	units := manyUnits(60)
	d := deposit(t, a, units...)
	damage := func(offer int, damaged ...int) {
		t.Helper()
		for _, i := range damaged {
			o, err := a.Object(d.Units[i].Objects[0].ID)
			if err != nil {
				t.Fatal(err)
			}
			path := blobPath(t, a, offer, o.ID)
			writeFileAt(t, path, flipped(readFile(t, path), int(o.record.Offset)+40))
		}
	}
	damage(0, 10, 30)
	damage(1, 20, 30)
	old, _ := a.Object(d.Units[30].Objects[0].ID)
	r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1, Repair: true})
	if err != nil || r.Lost != 2 || r.Findings != 4 || r.Repaired != 2 {
		t.Fatalf("%+v %v", r, err)
	}
	r, err = a.Audit(ctx, "test", AuditOptions{Sample: 1, Repair: true})
	if err != nil || r.Lost != 2 || r.Findings != 2 {
		t.Errorf("%+v %v", r, err)
	}
	mustFsck(t, a)
	if _, err := a.AcceptLoss(ctx, "test", old.ID, "the disks"); err != nil {
		t.Fatal(err)
	}
	if r, err = a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r, err)
	}
	d.Units, units = slices.Delete(d.Units, 30, 31), slices.Delete(units, 30, 31)
	checkUnits(t, a, d, units)
	if c, err := a.Compact(ctx); err != nil || c.Objects != 0 { // it ends, and leaves what is lost where it is
		t.Errorf("%+v %v", c, err)
	}
}

// TestCompactGathers: objects of small deposits come into packs, and their old blobs go, also
// from an offer that was down.
func TestCompactGathers(t *testing.T) {
	ctx := context.Background()
	a := reopened(t, createEdited(t, nil))
	defer func() { a.Close() }()
	a.packFrom = 20
	units := manyUnits(25)
	d := &Deposited{}
	for _, u := range units {
		d.Units = append(d.Units, deposit(t, a, u).Units...)
	}
	before := len(objectBlobs(t, a, 0))
	second := a.offers[1].blobs
	a.offers[1].down = os.ErrPermission
	c, err := a.Compact(ctx)
	if err == nil {
		t.Fatalf("with too few offers: %+v", c)
	}
	if n := len(objectBlobs(t, a, 0)); n != before {
		t.Errorf("%d blobs are left of a compaction that failed", n-before)
	}
	a.offers[1].down = nil
	a.offers[1].blobs = stubborn{second}
	c, err = a.Compact(ctx)
	if err != nil || c.Objects != 25 || c.Gathered != 25 || c.Blobs != 25 || c.Deleted != 25 || c.Waiting != 25 {
		t.Fatalf("%+v %v", c, err)
	}
	if s, err := a.Status(); err != nil || s.Offers[1].Unused != 25 || !strings.Contains(fmt.Sprint(s.Problems), "to be deleted") {
		t.Errorf("%+v %v", s, err)
	}
	mustFsck(t, a)
	a.offers[1].blobs = second
	dir := a.dir
	a.Close()
	a = reopened(t, dir)
	if r, err := a.RepairQueue(ctx, "test"); err != nil || r.Deleted != 25 || len(r.Left) > 0 {
		t.Errorf("%+v %v", r, err)
	}
	for i := range a.offers {
		if n := len(objectBlobs(t, a, i)); n != 2 {
			t.Errorf("offer %d: %d blobs, want a pack and a long object", i, n)
		}
	}
	checkUnits(t, a, d, units)
	mustFsck(t, a)
	if r, err := a.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r, err)
	}
	if c, err = a.Compact(ctx); err != nil || *c != (Compacted{}) {
		t.Errorf("twice: %+v %v", c, err)
	}
}

// stubborn says that it deletes, and does not.
type stubborn struct{ blobs.Store }

func (stubborn) Delete(context.Context, string) error { return nil }

// TestCompactReclaims: when objects of a pack are gone, no byte of them is left after it.
func TestCompactReclaims(t *testing.T) {
	ctx := context.Background()
	a := packArchive(t)
	units := manyUnits(60)
	d := deposit(t, a, units...)
	path := blobPath(t, a, 0, d.Units[0].Objects[0].ID)
	whole := readFile(t, path)
	gone := map[int]bool{3: true, 30: true, 59: true}
	var bytesGone int64
	var ciphers [][]byte
	err := a.update(nil, func(tx *tx) error {
		for i := range gone {
			o, err := a.object(tx, d.Units[i].Objects[0].ID)
			if err != nil {
				return err
			}
			bytesGone += o.record.length()
			ciphers = append(ciphers, whole[o.record.Offset:o.record.Offset+o.record.length()])
			row, err := tx.get(bktBlob, []byte(o.record.Blob))
			if err != nil {
				return err
			}
			p, err := parsePack(row)
			if err != nil {
				return err
			}
			p.Objects = slices.DeleteFunc(p.Objects, func(id string) bool { return id == o.ID })
			if err := tx.put(bktBlob, []byte(o.record.Blob), p.row()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := a.Compact(ctx)
	if err != nil || c.Objects != 57 || c.Gathered != 0 || c.Blobs != 1 || c.Reclaimed != bytesGone || c.Deleted != 2 || c.Waiting != 0 {
		t.Fatalf("%+v %v, want %d bytes", c, err, bytesGone)
	}
	for i := range a.offers {
		for _, name := range objectBlobs(t, a, i) {
			session, _, _ := strings.Cut(name, "-")
			b := readFile(t, filepath.Join(a.config.Offers[i].Path, "blobs", session, "000000000", name))
			for _, cipher := range ciphers {
				if bytes.Contains(b, cipher) {
					t.Errorf("%s in offer %d still has an object that is gone", name, i)
				}
			}
		}
	}
	var left Deposited
	var leftUnits []NewUnit
	for i := range d.Units {
		if !gone[i] {
			left.Units, leftUnits = append(left.Units, d.Units[i]), append(leftUnits, units[i])
		}
	}
	checkUnits(t, a, &left, leftUnits)
}

// TestPackSizes: packs end at their size and at their number of objects; few at a time are
// open.
func TestPackSizes(t *testing.T) {
	a := packArchive(t)
	p := a.newPacker(context.Background())
	key := packKey{policy: a.policy("")}
	add := func(key packKey, size int) *pack {
		t.Helper()
		to, offset, err := p.add(key, newID(objectID), make([]byte, size))
		if err != nil || offset+int64(size) > packSize {
			t.Fatal(to, offset, err)
		}
		return to
	}
	first := add(key, packSize-10)
	if add(key, 10) != first || add(key, 1) == first {
		t.Error("a pack does not end at its size")
	}
	few := key
	few.until = time.Unix(1, 0)
	first = add(few, 1)
	for range packObjects - 1 {
		if add(few, 1) != first {
			t.Fatal("a pack ends too early")
		}
	}
	if add(few, 1) == first {
		t.Error("a pack does not end at its number of objects")
	}
	for i := range 3 * openPacks {
		add(packKey{a.policy(""), time.Unix(int64(i), 0)}, 1)
	}
	if len(p.open) > openPacks {
		t.Errorf("%d packs are open", len(p.open))
	}
	if err := p.finish(); err != nil || len(p.open) > 0 {
		t.Error(err)
	}
	for _, done := range p.done {
		if len(done.sum) == 0 || done.at == nil || done.size == 0 {
			t.Errorf("%+v is not closed", done)
		}
	}
}
