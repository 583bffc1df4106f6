package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// lived makes an archive that has seen something of everything, and closes it.
func lived(t *testing.T) (dir string, before map[string]string) {
	t.Helper()
	dir = createEdited(t, nil)
	a, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	a.stageItems = testStage
	deposit(t, a, digital("one", "1"), digital("two", strings.Repeat("2", inMemory+1)))
	if _, err := a.Seal(context.Background(), "an archivist"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Deposit(context.Background(), "a large depositor", largeDeposit()); err != nil {
		t.Fatal(err)
	}
	in := newIntake(a.config.Tenants[0].ID, "general", testStage*3, nil) // one that is given up
	in.units = func(each func(*draft) error) error {
		for range testStage + 1 {
			if err := each(&draft{desc: Description{Form: descriptionForm, Unit: newID(unitID), Version: 1, Title: "x", Tenant: in.tenant}}); err != nil {
				return err
			}
		}
		return errors.New("given up")
	}
	a.storing.Add(1)
	if _, err := a.commitIntake(context.Background(), "test", in); err == nil {
		t.Fatal("it was not given up")
	}
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Fatalf("%+v %v", r.List, err)
	}
	a.packFrom = 5
	deposit(t, a, manyUnits(5)...)
	if c, err := a.Compact(context.Background()); err != nil || c.Gathered == 0 || c.Deleted == 0 {
		t.Fatalf("%+v %v", c, err)
	}
	last := deposit(t, a, digital("last", "3"))
	if _, err := a.Act(context.Background(), "alice", "", HoldAct, ActText{Units: []string{last.Units[0].ID}, Reason: "a dispute"}); err != nil {
		t.Fatal(err)
	}
	convert(t, a, last.Units[0], "Dissemination", pdf("in another format"))
	before = rows(t, a)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, before
}

// TestRebuild loses the catalogue and makes it again from each offer alone, in place and in
// a new folder with nothing but the root key: every row is as it was.
func TestRebuild(t *testing.T) {
	t.Parallel()
	dir, before := lived(t)
	for _, offer := range []string{"first", "second"} {
		for _, place := range []string{"in place", "elsewhere"} {
			name := offer + " " + place
			from := RebuildFrom{Dir: filepath.Join(t.TempDir(), "archive"), Path: filepath.Join(dir, "offers", offer), Root: filepath.Join(dir, "keys/root")}
			if place == "in place" {
				if err := os.CopyFS(from.Dir, os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				restorePermissions(t, from.Dir)
				os.Remove(filepath.Join(from.Dir, catalogueFile))
				from.Path, from.Root = filepath.Join(from.Dir, "offers", offer), ""
			}
			r, err := Rebuild(context.Background(), from)
			if err != nil {
				t.Fatal(name, err)
			}
			if r.Offer != offer || r.Units != largeUnits+9 || len(r.Passed) > 0 {
				t.Errorf("%s: %+v", name, r)
			}
			if place == "elsewhere" { // the offers lie where they lay
				if err := os.CopyFS(filepath.Join(from.Dir, "offers"), os.DirFS(filepath.Join(dir, "offers"))); err != nil {
					t.Fatal(err)
				}
			}
			a, err := Open(from.Dir, Options{})
			if err != nil {
				t.Fatal(name, err)
			}
			sameRows(t, name, before, rows(t, a))
			deposit(t, a, digital("goes on", "4"))
			if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
				t.Errorf("%s: %+v %v", name, r.List, err)
			}
			if err := a.Close(); err != nil {
				t.Error(err)
			}
			if _, err := Rebuild(context.Background(), from); !errors.Is(err, ErrExists) {
				t.Errorf("%s: over another catalogue: %v", name, err)
			}
		}
	}
}

// TestRebuildFromTooLittle: what cannot be rebuilt says why, and leaves nothing.
func TestRebuildFromTooLittle(t *testing.T) {
	dir, _ := lived(t)
	journals, err := filepath.Glob(filepath.Join(dir, "offers/first/blobs/j*/*/*"))
	if err != nil || len(journals) < 8 {
		t.Fatal(journals, err)
	}
	other := createEdited(t, nil)
	for name, c := range map[string]struct {
		spoil func(t *testing.T, offer string)
		root  string
		want  string
	}{
		"no journal": {func(t *testing.T, offer string) {
			if err := os.RemoveAll(filepath.Join(offer, "blobs")); err != nil {
				t.Fatal(err)
			}
		}, "", "holds no journal"},
		"one is missing": {func(t *testing.T, offer string) {
			os.Remove(filepath.Join(offer, strings.TrimPrefix(journals[3], filepath.Join(dir, "offers/first"))))
		}, "", "is missing or damaged"},
		"one is damaged": {func(t *testing.T, offer string) {
			path := filepath.Join(offer, strings.TrimPrefix(journals[2], filepath.Join(dir, "offers/first")))
			b := readFile(t, path)
			b[len(b)-1] ^= 1
			writeFileAt(t, path, b)
		}, "", "is missing or damaged"},
		"the last is damaged": {func(t *testing.T, offer string) {
			path := filepath.Join(offer, strings.TrimPrefix(journals[len(journals)-1], filepath.Join(dir, "offers/first")))
			b := readFile(t, path)
			writeFileAt(t, path, b[:len(b)-1])
		}, "", "the last one, is damaged"},
		"another root key": {func(*testing.T, string) {}, filepath.Join(other, "keys/root"), "root key does not open"},
		"no mark":          {func(t *testing.T, offer string) { os.Remove(filepath.Join(offer, "sae-offer.json")) }, "", "sae-offer.json is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			offer := filepath.Join(t.TempDir(), "offer")
			if err := os.CopyFS(offer, os.DirFS(filepath.Join(dir, "offers/first"))); err != nil {
				t.Fatal(err)
			}
			c.spoil(t, offer)
			from := RebuildFrom{Dir: filepath.Join(t.TempDir(), "new"), Path: offer, Root: filepath.Join(dir, "keys/root")}
			if c.root != "" {
				from.Root = c.root
			}
			_, err := Rebuild(context.Background(), from)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			if _, err := os.Lstat(from.Dir); !errors.Is(err, os.ErrNotExist) {
				t.Error("something was left")
			}
			if from.AcceptLoss = true; name == "the last is damaged" {
				if r, err := Rebuild(context.Background(), from); err != nil || r.Blobs != len(journals)-1 || len(r.Passed) != 1 {
					t.Errorf("%+v %v", r, err)
				}
			}
		})
	}
}

// TestJournalBeginsAnew: when what stands behind the last whole blob has grown long, a new
// one is written and those before it go.
func TestJournalBeginsAnew(t *testing.T) {
	a := newArchive(t, nil)
	deposit(t, a, digital("one", "1"))
	count := func() (n int) {
		names := []string{}
		if err := a.cat.view(func(t *tx) (err error) { names, err = t.journalBlobs(); return err }); err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	before := count()
	growLong(t, a)
	deposit(t, a, digital("two", "2"))
	if before < 3 || count() != 2 { // the whole one, and the deposit's
		t.Errorf("%d journal blobs, then %d", before, count())
	}
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r.List, err)
	}
	want := rows(t, a)
	dir := filepath.Join(t.TempDir(), "new")
	if _, err := Rebuild(context.Background(), RebuildFrom{Dir: dir, Path: a.config.Offers[1].Path, Root: a.config.Slots.Root}); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	sameRows(t, "rebuilt", want, rows(t, again))
}

// growLong makes the journal one that begins anew with the next transaction.
func growLong(t *testing.T, a *Archive) {
	t.Helper()
	err := a.cat.update(func(t *tx) error {
		s, err := t.journalState()
		if err != nil {
			return err
		}
		s.Since, s.Blobs = journalSlack+2*s.Whole+1, 10
		return t.put(bktMeta, metaJournal, mustJSON(s))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestOldJournalGoes: who stops while a new journal begins leaves blobs of the one before, which
// an audit knows, and a compaction removes: they hold the catalogue as it was.
func TestOldJournalGoes(t *testing.T) {
	for _, stop := range []struct {
		step   string
		commit int // of those that begin a journal: the whole blob, the end of those before, their deletion
	}{{"commit", 2}, {"committed", 2}, {"commit", 3}, {"committed", 3}} {
		t.Run(fmt.Sprint(stop.step, " ", stop.commit), func(t *testing.T) {
			dir := createEdited(t, nil)
			a := reopened(t, dir)
			deposit(t, a, digital("one", "1"))
			n := 0
			a.cat.fault = func(step string) error {
				if step == "commit" {
					n++
				}
				if n == stop.commit && step == stop.step {
					return errors.New("stopped")
				}
				return nil
			}
			if err := a.renewJournal(); err == nil {
				t.Fatal("it was not stopped")
			}
			a.Close()
			a = reopened(t, dir)
			defer a.Close()
			r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1})
			if err != nil || !r.Sound() {
				t.Fatalf("%+v %v", r.List, err)
			}
			if _, err := a.compact(context.Background(), false); err != nil {
				t.Fatal(err)
			}
			for _, o := range a.offers {
				err := o.blobs.List(context.Background(), "j", func(name string, _ int64) error {
					if known, err := a.knowsBlob(name); err != nil || !known {
						t.Errorf("%s is left in %s: %v", name, o.name, err)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestOldJournalGoesWithTheCatalogue: who stops there and loses the catalogue, too, makes one that never
// knew the old journal: its blobs are known as unused in every offer, and go.
func TestOldJournalGoesWithTheCatalogue(t *testing.T) {
	ctx := context.Background()
	dir := createEdited(t, nil)
	a := reopened(t, dir)
	deposit(t, a, digital("one", "1"))
	n := 0
	a.cat.fault = func(step string) error {
		if step == "commit" {
			n++
		}
		if n == 2 && step == "committed" { // the old one is out of the catalogue, and its blobs are there
			return errors.New("stopped")
		}
		return nil
	}
	if err := a.renewJournal(); err == nil {
		t.Fatal("it was not stopped")
	}
	a.Close()
	if err := os.Remove(filepath.Join(dir, catalogueFile)); err != nil {
		t.Fatal(err)
	}
	r, err := Rebuild(ctx, RebuildFrom{Dir: dir, Path: filepath.Join(dir, "offers", "first")})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r)
	a = reopened(t, dir)
	defer a.Close()
	mustAudit(t, a)
	if _, err := a.compact(ctx, false); err != nil {
		t.Fatal(err)
	}
	for _, o := range a.offers {
		err := o.blobs.List(ctx, "j", func(name string, _ int64) error {
			if known, err := a.knowsBlob(name); err != nil || !known {
				t.Errorf("%s is left in %s: %v", name, o.name, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := a.cat.view(func(t *tx) error {
		v, err := t.get(bktMeta, metaRebuilt)
		if v != nil {
			return errors.New("it is still to be looked for")
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// FuzzJournalHeader: whatever lies in an offer under the name of a journal blob, its header is
// read within bounds, and what is read is what was written.
func FuzzJournalHeader(f *testing.F) {
	f.Add(append(append([]byte(journalMagic), mustJSON(journalHeader{Archive: "a", Sequence: 7, Keys: [][]byte{{1}}})...), "\nrest"...))
	f.Add([]byte(journalMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, head, err := readHeader(bytes.NewReader(b))
		if err == nil && (!bytes.HasPrefix(b, head) || len(head) > maxJournalHeader) {
			t.Errorf("%q is not the beginning", head)
		}
	})
}

// FuzzJournalRows: rows end with an error or with their end, never beyond bounds.
func FuzzJournalRows(f *testing.F) {
	key := newKey()
	blob := func(t testing.TB, rows []byte) (*memBlob, []byte) {
		var b bytes.Buffer
		if err := writeJournalBlob(&b, key, journalHeader{Archive: "a"}, func(w io.Writer) error { _, err := w.Write(rows); return err }); err != nil {
			t.Fatal(err)
		}
		_, head, err := readHeader(bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		return &memBlob{bytes.NewReader(b.Bytes()), int64(b.Len())}, head
	}
	j := &journal{}
	j.put(bktMeta, []byte("k"), []byte("v"))
	j.delete(bktUnit, []byte("k"))
	f.Add(j.rows.Bytes())
	f.Add([]byte{journalPut, 0xff, 0xff, 0xff, 0xff, 0x7f})
	f.Fuzz(func(t *testing.T, rows []byte) {
		b, head := blob(t, rows)
		again := &journal{}
		err := readJournal(b, key, head, func(b bucket, k, v []byte) error {
			if v == nil {
				again.delete(b, k)
			} else {
				again.put(b, k, v)
			}
			return nil
		})
		if err == nil && len(again.rows.Bytes()) > len(rows) {
			t.Errorf("more rows than were written")
		}
	})
}

type memBlob struct {
	*bytes.Reader
	size int64
}

func (b *memBlob) Size() int64  { return b.size }
func (b *memBlob) Close() error { return nil }
