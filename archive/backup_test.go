package archive

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"sae/archive/backup"
	"sae/archive/durable"
	"sae/archive/serving"
	"sae/integrity"
)

func target(t *testing.T, dir string) *backup.Dir {
	t.Helper()
	d, err := backup.OpenDir(durable.FS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// backedUp makes a generation that lacks nothing.
func backedUp(t *testing.T, a *Archive, dir string, o BackupOptions) *BackedUp {
	t.Helper()
	b, err := a.Backup(context.Background(), "test", target(t, dir), o)
	if err != nil || len(b.Lacking) > 0 {
		t.Fatalf("%+v %v", b, err)
	}
	return b
}

func verified(t *testing.T, dir string) *VerifiedBackup {
	t.Helper()
	v, err := VerifyBackup(context.Background(), target(t, dir), VerifyBackupOptions{})
	if err != nil || len(v.Findings) > 0 {
		t.Fatalf("%+v %v", v, err)
	}
	return v
}

// restored restores the last generation, and wants nothing to be found.
func restored(t *testing.T, from RestoreFrom) *Restored {
	t.Helper()
	r, err := Restore(context.Background(), from)
	if err != nil || len(r.Fsck.Findings) > 0 || len(r.Lacking) > 0 {
		t.Fatalf("%+v %v", r, err)
	}
	return r
}

// TestBackupWhileDepositing: all that was acknowledged before a backup began is in it, whatever goes on
// meanwhile, and comes out of the archive that is restored from it, where its receipts hold.
func TestBackupWhileDepositing(t *testing.T) {
	ctx := context.Background()
	dir, to := createEdited(t, nil), t.TempDir()
	a := reopened(t, dir)
	defer a.Close()
	units := manyUnits(40)
	many := deposit(t, a, units...)
	mustSeal(t, a)
	big := deposit(t, a, digital("big", strings.Repeat("b", 3<<20)))
	stop := make(chan struct{})
	var mu sync.Mutex
	var acknowledged []*Deposited
	var wg sync.WaitGroup
	for worker := range 3 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				d, err := a.Deposit(ctx, "test", Deposit{Units: []NewUnit{digital(fmt.Sprintf("%d-%d", worker, i), strings.Repeat("x", i%3*5000))}})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acknowledged = append(acknowledged, d)
				mu.Unlock()
			}
		})
	}
	var before []*Deposited
	for range 3 {
		mu.Lock()
		before = append([]*Deposited{many, big}, acknowledged...)
		mu.Unlock()
		backedUp(t, a, to, BackupOptions{})
	}
	close(stop)
	wg.Wait()
	verified(t, to)
	into := filepath.Join(t.TempDir(), "restored")
	r := restored(t, RestoreFrom{Backup: target(t, to), Dir: into, Root: filepath.Join(dir, "keys/root")})
	b := reopened(t, into)
	defer b.Close()
	for _, d := range before {
		for _, u := range d.Units {
			if _, err := b.Unit(u.ID); err != nil {
				t.Errorf("unit %s was acknowledged before the backup: %v", u.ID, err)
			}
		}
		if d.Receipt.Index >= r.Ledger {
			t.Errorf("entry %d of %d", d.Receipt.Index, r.Ledger)
		}
		if entry, err := b.Entry(d.Receipt.Index); err != nil || !bytes.Equal(entry, d.Receipt.Entry) {
			t.Errorf("the entry of a receipt: %v", err)
		}
		if _, _, err := d.Receipt.Check(b.verifier); err != nil {
			t.Error(err)
		}
	}
	checkUnits(t, b, many, units)
	if report, err := b.Audit(ctx, "test", AuditOptions{Sample: 1}); err != nil || !report.Sound() {
		t.Errorf("%+v %v", report, err)
	}
	deposit(t, b, digital("it goes on", "here"))
	if f, err := b.Fsck(ctx); err != nil || len(f.Findings) > 0 {
		t.Errorf("%+v %v", f, err)
	}
}

// TestBackupIsIncremental: what is there is not copied again; as many generations are kept as is said,
// and nothing else.
func TestBackupIsIncremental(t *testing.T) {
	dir, to := createEdited(t, nil), t.TempDir()
	a := reopened(t, dir)
	defer a.Close()
	deposit(t, a, digital("one", strings.Repeat("1", 1<<20)), digital("two", "2"))
	first := backedUp(t, a, to, BackupOptions{Keep: 2})
	if first.NewFiles != first.Files || first.Generation != 1 {
		t.Errorf("%+v", first)
	}
	d := deposit(t, a, digital("three", strings.Repeat("3", 1<<20)))
	second := backedUp(t, a, to, BackupOptions{Keep: 2})
	if second.NewBytes < 1<<20 || second.NewBytes > 3<<19 || second.Bytes <= first.Bytes+1<<20-1 {
		t.Errorf("%+v", second)
	}
	if err := destroyUnits(t, a, d.Units[0].ID); err != nil {
		t.Fatal(err)
	}
	third := backedUp(t, a, to, BackupOptions{Keep: 2})
	if got := verified(t, to).Generations; len(got) != 2 || got[0].Generation != 2 || third.Removed.Generations[0] != 1 {
		t.Errorf("%+v %+v", got, third)
	}
	blobsIn := func() (n int64) {
		filepath.WalkDir(filepath.Join(to, "blobs"), func(_ string, e fs.DirEntry, _ error) error {
			if fi, err := e.Info(); err == nil && !e.IsDir() {
				n += fi.Size()
			}
			return nil
		})
		return n
	}
	if n := blobsIn(); n < 2<<20 {
		t.Errorf("a kept generation needs more than %d bytes", n)
	}
	backedUp(t, a, to, BackupOptions{Keep: 1})
	if n := blobsIn(); n > 3<<19 {
		t.Errorf("%d bytes, of which no generation needs so many", n)
	}
	verified(t, to)
	s, err := a.Status()
	if err != nil || s.LastBackup == nil || s.LastBackup.Generation != 4 {
		t.Errorf("%+v %v", s, err)
	}
}

// rowsNotIn wants no row of any generation to hold a text.
func rowsNotIn(t *testing.T, dir, text string) {
	t.Helper()
	for _, g := range verified(t, dir).Generations {
		set, head, err := openGeneration(target(t, dir), g.Generation)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = set.Files(head, func(f backup.File) error {
			if !f.IsPiece() {
				return nil
			}
			return readPiece(set, f, func(b bucket, k, v []byte) error {
				n++
				if bytes.Contains(k, []byte(text)) || bytes.Contains(v, []byte(text)) {
					t.Errorf("generation %d: a row of %s holds it", g.Generation, b)
				}
				return nil
			})
		})
		if err != nil || n == 0 {
			t.Errorf("%d rows: %v", n, err)
		}
	}
}

// TestBackupOfDestroyed: a generation of before a destruction opens with the root key of then alone; a
// sealed copy in the backup does, until its last day.
func TestBackupOfDestroyed(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	dir, to, identity := createEdited(t, nil), t.TempDir(), filepath.Join(t.TempDir(), "identity")
	writeFileAt(t, identity, []byte(id.String()+"\n"))
	editConfig(t, dir, func(s string) string {
		return s + "\nescrow:\n  max-age: 30d\n  recipients: [" + id.Recipient().String() + "]\n"
	})
	a := reopened(t, dir)
	defer a.Close()
	d := deposit(t, a, digital(planted, planted), digital("stays", "s"))
	backedUp(t, a, to, BackupOptions{})
	withRoot := backedUp(t, a, to, BackupOptions{WithRoot: true})
	if e := must(integrity.ParseEntry(must(a.Entry(withRoot.Root.Entry)))); e.Kind != integrity.RootEscrowed {
		t.Errorf("the ledger has %s", e.Kind)
	}
	when := time.Now()
	if err := destroyUnits(t, a, d.Units[0].ID); err != nil {
		t.Fatal(err)
	}
	if from, err := a.EffectiveFrom(when.Add(time.Second)); err != nil || from.Before(when.Add(29*24*time.Hour)) {
		t.Errorf("what is destroyed is gone from %s on, and a copy opens the backup: %v", from, err)
	}
	s, err := a.Status()
	if err != nil || !strings.Contains(strings.Join(s.Problems, "\n"), "does not open with the root key of today") {
		t.Errorf("%q %v", s.Problems, err)
	}
	root := filepath.Join(dir, "keys/root")
	into := func() string { return filepath.Join(t.TempDir(), "restored") }
	for generation := int64(1); generation <= 2; generation++ {
		at := into()
		_, err := Restore(context.Background(), RestoreFrom{Backup: target(t, to), Generation: generation, Dir: at, Root: root})
		if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "replaced between them") {
			t.Errorf("generation %d with the root key of today: %v", generation, err)
		}
		if _, err := os.Lstat(at); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("something was left: %v", err)
		}
	}
	notIn(t, to, planted)
	rowsNotIn(t, to, planted)
	if _, err := Restore(context.Background(), RestoreFrom{Backup: target(t, to), Generation: 1, Dir: into(), Identity: identity}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("generation 1 holds no root key: %v", err)
	}
	r := restored(t, RestoreFrom{Backup: target(t, to), Generation: 2, Dir: into(), Identity: identity})
	if r.Units != 2 {
		t.Errorf("%+v", r)
	}
	backedUp(t, a, to, BackupOptions{})
	if r := restored(t, RestoreFrom{Backup: target(t, to), Dir: into(), Root: root}); r.Units != 1 {
		t.Errorf("%+v", r)
	}
}

// TestRestoreTellsWhatIsMissing: with the checkpoint slot of the archive that was lost, an older backup is
// told from the last, and accepted only by name.
func TestRestoreTellsWhatIsMissing(t *testing.T) {
	dir, to := createEdited(t, nil), t.TempDir()
	a := reopened(t, dir)
	deposit(t, a, digital("one", "1"))
	backedUp(t, a, to, BackupOptions{})
	deposit(t, a, digital("two", "2"))
	a.Close()
	into := filepath.Join(t.TempDir(), "restored")
	r, err := Restore(context.Background(), RestoreFrom{Backup: target(t, to), Dir: into, Root: filepath.Join(dir, "keys/root"), Slot: filepath.Join(dir, "keys/checkpoint")})
	var rollback *RollbackError
	if !errors.As(err, &rollback) || r == nil || r.Units != 1 || len(r.Fsck.Findings) > 0 {
		t.Fatalf("%+v %v", r, err)
	}
	if _, err := Open(into, Options{}); !errors.As(err, &rollback) {
		t.Errorf("it opens: %v", err)
	}
	b, err := Open(into, Options{AcceptRollback: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.AcceptRollback(context.Background(), "test", "the disk burnt"); err != nil {
		t.Error(err)
	}
	b.Close()
	reopened(t, into).Close()
}

// TestRestorePlaces: what another archive may use is not taken for the restored one's.
func TestRestorePlaces(t *testing.T) {
	dir, to, elsewhere := createEdited(t, nil), t.TempDir(), t.TempDir()
	for from, name := range map[string]string{"keys/root": "root", "keys/checkpoint": "checkpoint", "offers/second": "second"} {
		if err := os.Rename(filepath.Join(dir, from), filepath.Join(elsewhere, name)); err != nil {
			t.Fatal(err)
		}
	}
	editConfig(t, dir, func(s string) string {
		return strings.NewReplacer("keys/root", filepath.Join(elsewhere, "root"), "keys/checkpoint", filepath.Join(elsewhere, "checkpoint"), "offers/second", filepath.Join(elsewhere, "second")).Replace(s)
	})
	a := reopened(t, dir)
	deposit(t, a, digital("one", "1"))
	backedUp(t, a, to, BackupOptions{})
	a.Close()
	into, first := filepath.Join(t.TempDir(), "restored"), filepath.Join(t.TempDir(), "first")
	from := RestoreFrom{Backup: target(t, to), Dir: into, Root: filepath.Join(elsewhere, "root"), Offers: map[string]string{"first": first, "none": "x"}}
	if _, err := Restore(context.Background(), from); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "offer none") {
		t.Errorf("%v", err)
	}
	delete(from.Offers, "none")
	restored(t, from)
	c, err := LoadConfig(into)
	if err != nil || c.Offers[0].Path != first || c.Offers[1].Path != filepath.Join(into, "offers/second") || c.Slots.Root != filepath.Join(into, "keys/root") || c.Slots.Checkpoint != filepath.Join(into, "keys/checkpoint") {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := Restore(context.Background(), from); !errors.Is(err, ErrExists) {
		t.Errorf("into a folder that is not empty: %v", err)
	}
}

// TestBackupFaults makes every step in the target fail, at each of its occurrences, as a kill there
// would: the generations before stay whole, and the next run goes on.
func TestBackupFaults(t *testing.T) {
	dir := createEdited(t, nil)
	a := reopened(t, dir)
	defer a.Close()
	deposit(t, a, digital("one", "1"))
	template := t.TempDir()
	backedUp(t, a, template, BackupOptions{Keep: 1})
	deposit(t, a, digital("two", "2"))
	for _, op := range []durable.Op{durable.OpCreate, durable.OpWrite, durable.OpSyncFS, durable.OpRename, durable.OpRemove, durable.OpMkdir} {
		for _, after := range []bool{false, true} { // all later ones fail, too: the process is gone
			hit := true
			for nth := 1; hit; nth += 1 + nth/2 {
				to := filepath.Join(t.TempDir(), "to")
				if err := os.CopyFS(to, os.DirFS(template)); err != nil {
					t.Fatal(err)
				}
				f := &fault{op: op, nth: nth, err: syscall.EIO, after: after}
				f.armed.Store(true)
				folder, err := backup.OpenDir(durable.FS{Fault: f.ask}, to)
				if err != nil {
					t.Fatal(err)
				}
				_, err = a.Backup(context.Background(), "test", folder, BackupOptions{Keep: 1})
				hit = int(f.count.Load()) >= nth
				if hit && err == nil && op != durable.OpRemove { // cleaning up may fail unsaid
					t.Errorf("%s %d: no error", op, nth)
				}
				if !hit && err != nil {
					t.Errorf("%s %d: %v", op, nth, err)
				}
				verified(t, to)
				if nth > 2 {
					continue
				}
				b := backedUp(t, a, to, BackupOptions{Keep: 1})
				if got := verified(t, to).Generations; len(got) != 1 || got[0].Generation != b.Generation {
					t.Errorf("%s %d: %+v", op, nth, got)
				}
			}
		}
	}
}

// TestBackupDamaged: a byte changed, cut off or added in any file of a backup is found, as is a file that
// is missing or another's; restoring refuses it, and leaves nothing.
func TestBackupDamaged(t *testing.T) {
	dir, good, other := createEdited(t, nil), t.TempDir(), t.TempDir()
	a := reopened(t, dir)
	deposit(t, a, digital("one", "1"))
	backedUp(t, a, other, BackupOptions{})
	deposit(t, a, digital("two", strings.Repeat("2", 100_000)))
	backedUp(t, a, good, BackupOptions{})
	a.Close()
	var files []string
	fs.WalkDir(os.DirFS(good), ".", func(name string, e fs.DirEntry, _ error) error {
		if !e.IsDir() {
			files = append(files, name)
		}
		return nil
	})
	damages := map[string]func(path string) error{
		"changed": func(path string) error {
			b := readFile(t, path)
			b[len(b)/2] ^= 1
			return os.WriteFile(path, b, 0o600)
		},
		"cut":     func(path string) error { return os.Truncate(path, int64(len(readFile(t, path))-1)) },
		"longer":  func(path string) error { return os.WriteFile(path, append(readFile(t, path), 0), 0o600) },
		"missing": os.Remove,
	}
	check := func(name, to string) {
		t.Helper()
		v, err := VerifyBackup(context.Background(), target(t, to), VerifyBackupOptions{})
		if err == nil && len(v.Findings) == 0 {
			t.Errorf("%s: verified", name)
		}
		into := filepath.Join(t.TempDir(), "restored")
		if r, err := Restore(context.Background(), RestoreFrom{Backup: target(t, to), Dir: into, Root: filepath.Join(dir, "keys/root")}); err == nil {
			t.Errorf("%s: restored: %+v", name, r)
		}
		if _, err := os.Lstat(into); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: something was left: %v", name, err)
		}
	}
	for _, file := range files {
		for what, damage := range damages {
			to := filepath.Join(t.TempDir(), "to")
			if err := os.CopyFS(to, os.DirFS(good)); err != nil {
				t.Fatal(err)
			}
			if err := damage(filepath.Join(to, file)); err != nil {
				t.Fatal(err)
			}
			check(file+" "+what, to)
		}
	}
	for _, ending := range []string{"head", "index"} { // a file of another generation of the same archive
		to, name := filepath.Join(t.TempDir(), "to"), "generations/0000000001."+ending
		if err := os.CopyFS(to, os.DirFS(good)); err != nil {
			t.Fatal(err)
		}
		writeFileAt(t, filepath.Join(to, name), readFile(t, filepath.Join(other, name)))
		check(name+" of another", to)
	}
}

// TestBackupOfDamage: what no offer has any more is told, and the rest is backed up.
func TestBackupOfDamage(t *testing.T) {
	dir, to := createEdited(t, nil), t.TempDir()
	a := reopened(t, dir)
	d := deposit(t, a, digital("lost", "lost"), digital("stays", "stays"))
	blob := must(a.Object(d.Units[0].Objects[0].ID)).record.Blob
	for _, o := range a.offers {
		if err := o.blobs.Delete(context.Background(), blob); err != nil {
			t.Fatal(err)
		}
	}
	b, err := a.Backup(context.Background(), "test", target(t, to), BackupOptions{})
	if err != nil || len(b.Lacking) != 1 || b.Lacking[0] != blob {
		t.Errorf("%+v %v", b, err)
	}
	a.Close()
	r, err := Restore(context.Background(), RestoreFrom{Backup: target(t, to), Dir: filepath.Join(t.TempDir(), "restored"), Root: filepath.Join(dir, "keys/root")})
	if err != nil || len(r.Lacking) != 1 || len(r.Fsck.Findings) == 0 {
		t.Errorf("%+v %v", r, err)
	}
}

// TestBackupTargets: a folder of something else, or of another archive, is not written to.
func TestBackupTargets(t *testing.T) {
	a := newArchive(t, nil)
	full := t.TempDir()
	writeFileAt(t, filepath.Join(full, "photo.jpg"), []byte("x"))
	if _, err := a.Backup(context.Background(), "test", target(t, full), BackupOptions{}); err == nil || !strings.Contains(err.Error(), "photo.jpg") {
		t.Error(err)
	}
	to := t.TempDir()
	backedUp(t, a, to, BackupOptions{})
	other := newArchive(t, nil)
	if _, err := other.Backup(context.Background(), "test", target(t, to), BackupOptions{}); err == nil || !strings.Contains(err.Error(), "backup of archive") {
		t.Error(err)
	}
	if _, err := a.Backup(context.Background(), "test", target(t, to), BackupOptions{WithRoot: true}); !errors.Is(err, ErrRefused) {
		t.Error("without recipients", err)
	}
	verified(t, to)
}

// TestBackupFromBucket: copies come from a bucket where no folder has them.
func TestBackupFromBucket(t *testing.T) {
	dir, _, _ := inCloud(t, "", "offer-down: queue")
	a := reopened(t, dir)
	units := manyUnits(40)
	d := deposit(t, a, units...)
	for _, o := range a.offers[:2] {
		var names []string
		if err := o.blobs.List(context.Background(), "s", func(name string, _ int64) error { names = append(names, name); return nil }); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if err := o.blobs.Delete(context.Background(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	to := t.TempDir()
	backedUp(t, a, to, BackupOptions{})
	a.Close()
	from := RestoreFrom{Backup: target(t, to), Dir: filepath.Join(t.TempDir(), "restored"), Root: filepath.Join(dir, "keys/root")}
	if _, err := Restore(context.Background(), from); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "--offer cloud=") {
		t.Errorf("a bucket that another may use: %v", err)
	}
	from.Offers = map[string]string{"cloud": "offers/cloud"}
	restored(t, from)
	b := reopened(t, from.Dir)
	defer b.Close()
	checkUnits(t, b, d, units)
}

func FuzzBackupPiece(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x01\x00\x00\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		readPieceRows(b, func(bucket, []byte, []byte) error { return nil })
	})
}

// TestBackupWhileDestroying: what is destroyed, or moved into packs, while a backup is made is in it as of
// one moment.
func TestBackupWhileDestroying(t *testing.T) {
	ctx := context.Background()
	dir, to := createEdited(t, nil), t.TempDir()
	a := reopened(t, dir)
	defer a.Close()
	var all []*Deposited
	for i := range 24 {
		all = append(all, deposit(t, a, digital(fmt.Sprint(i), strings.Repeat("x", 40_000))))
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i, d := range all[:12] {
			if err := destroyUnits(t, a, d.Units[0].ID); err != nil {
				t.Error(err)
			}
			if i == 6 {
				if _, err := a.Compact(ctx); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for going := true; going; {
		select {
		case <-ended:
			going = false
		default:
		}
		if _, err := a.Backup(ctx, "test", target(t, to), BackupOptions{}); err != nil && !strings.Contains(err.Error(), "times in a row") {
			t.Fatal(err)
		}
		verified(t, to)
	}
	backedUp(t, a, to, BackupOptions{})
	if r := restored(t, RestoreFrom{Backup: target(t, to), Dir: filepath.Join(t.TempDir(), "restored"), Root: filepath.Join(dir, "keys/root")}); r.Units != 12 {
		t.Errorf("%+v", r)
	}
}

// TestRestoreFaults makes every step of a restoring fail: nothing is left, and it can be done again.
func TestRestoreFaults(t *testing.T) {
	dir, to := createEdited(t, nil), t.TempDir()
	a := reopened(t, dir)
	deposit(t, a, digital("one", "1"))
	backedUp(t, a, to, BackupOptions{})
	a.Close()
	for _, op := range []durable.Op{durable.OpCreate, durable.OpWrite, durable.OpSync, durable.OpSyncFS, durable.OpSyncDir, durable.OpRename, durable.OpMkdir} {
		hit := true
		for nth := 1; hit; nth += 1 + nth/3 {
			f := &fault{op: op, nth: nth, err: syscall.ENOSPC}
			f.armed.Store(true)
			into := filepath.Join(t.TempDir(), "restored")
			from := RestoreFrom{Backup: target(t, to), Dir: into, Root: filepath.Join(dir, "keys/root"), FS: durable.FS{Fault: f.ask}}
			r, err := Restore(context.Background(), from)
			hit = int(f.count.Load()) >= nth
			if hit != (err != nil) {
				t.Errorf("%s %d: %+v %v", op, nth, r, err)
			}
			if _, err := os.Lstat(into); hit && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s %d: something was left: %v", op, nth, err)
			}
			from.FS = durable.FS{}
			if nth == 1 {
				restored(t, from)
			}
		}
	}
}

// TestLateBackup: what is to be made and is not, is said.
func TestLateBackup(t *testing.T) {
	due := &serving.Backup{Every: time.Hour}
	for want, s := range map[string]*BackupState{
		"":                  {Time: time.Now().Add(-90 * time.Minute)},
		"no backup yet":     nil,
		"every 1h0m0s":      {Time: time.Now().Add(-3 * time.Hour)},
		"lacks 2 blobs":     {Time: time.Now(), Lacking: 2},
		"root key of today": {Time: time.Now(), Replaced: 3},
	} {
		replaced := int64(0)
		if got := strings.Join(s.problems(due, replaced), "\n"); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%+v: %q, not %q", s, got, want)
		}
	}
	if got := (*BackupState)(nil).problems(nil, 0); len(got) > 0 {
		t.Errorf("nobody wants one: %q", got)
	}
}

func TestExamine(t *testing.T) {
	ctx := context.Background()
	dir := createEdited(t, func(s string) string {
		return s + "\nconverters:\n  - {id: none, from: [fmt/1], to: [fmt/2], command: [/nonexistent/program, \"{in}\", \"{out}\"], tool: x, extension: pdf}\n"
	})
	verdicts := func(o ExamineOptions) map[string]Verdict {
		out := map[string]Verdict{}
		for _, c := range Examine(ctx, dir, o).Checks {
			out[c.Check] = worse(c.Verdict, or(out[c.Check], Good))
		}
		return out
	}
	before := treeOf(t, dir)
	v := verdicts(ExamineOptions{Write: true, Stamp: true})
	if v["offer first"] != Good || v["archive"] != Good || v["time-stamps of embedded"] != Doubt || v["root key slot"] != Doubt || v["converter none"] != Fail || v["permissions"] != Good {
		t.Errorf("%v", v)
	}
	if after := treeOf(t, dir); after != before {
		t.Errorf("it left something:\n%s\nbefore:\n%s", after, before)
	}
	a := reopened(t, dir)
	e := Examine(ctx, dir, ExamineOptions{Write: true})
	if e.Held == "" {
		t.Error("nobody is said to hold it")
	}
	a.Close()
	for _, x := range []struct {
		what  string
		spoil func() error
	}{
		{"offer second", func() error { return os.Remove(filepath.Join(dir, "offers/second/sae-offer.json")) }},
		{"root key slot", func() error { return os.Remove(filepath.Join(dir, "keys/root")) }},
		{"checkpoint slot", func() error { return os.WriteFile(filepath.Join(dir, "keys/checkpoint"), nil, 0o600) }},
		{"archive", func() error { return os.Truncate(filepath.Join(dir, "catalogue.db"), 1000) }},
		{"configuration", func() error { return os.WriteFile(filepath.Join(dir, ConfigName), []byte("a: [b"), 0o600) }},
	} {
		if err := x.spoil(); err != nil {
			t.Fatal(err)
		}
		if v := verdicts(ExamineOptions{Write: true}); v[x.what] != Fail {
			t.Errorf("%s: %v", x.what, v)
		}
	}
}

func or(v, otherwise Verdict) Verdict {
	if v == "" {
		return otherwise
	}
	return v
}

// treeOf names all files of a folder, with their lengths; the lock apart, which who looks takes.
func treeOf(t *testing.T, dir string) (out string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != lockFile {
			fi, err := e.Info()
			if err != nil {
				return err
			}
			out += fmt.Sprintln(path, fi.Size())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestExamineClock: a clock that is not the authority's is told.
func TestExamineClock(t *testing.T) {
	a := newArchive(t, nil)
	token, err := a.authorities[0].stamp(context.Background(), crypto.SHA256, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for apart, want := range map[time.Duration]Verdict{0: Good, 20 * time.Second: Doubt, -20 * time.Second: Doubt, 10 * time.Minute: Fail} {
		e := &examining{out: &Examination{}}
		token.Time = time.Now().Add(apart)
		e.token("time-stamps", token, time.Millisecond, false)
		if got := e.out.Checks[0]; got.Verdict != want {
			t.Errorf("%s apart: %+v", apart, got)
		}
	}
}
