package archive

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sae/archive/durable"
	"sae/retention"
	"sae/seda"
)

// withRoles gives the tenant persons.
func withRoles(s string) string {
	return strings.Replace(s, "    accept-unknown:", "    roles: {data-protection-officer: [dpo], archivist: [alice]}\n    accept-unknown:", 1)
}

// logged is the log, without the reading of it by the test.
func logged(t *testing.T, a *Archive, f AccessFilter) (out []Access) {
	t.Helper()
	err := a.As("dpo", retention.ToRead).AccessLog(context.Background(), "", f, func(x Access) error {
		if x.Agent != agentID(a.indexKey, x.Name) || !idForm.MatchString(x.ID) || x.Tenant != "archives" {
			t.Errorf("%+v", x)
		}
		if x.Verb != VerbLog {
			out = append(out, x)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return out
}

// TestEveryReadingIsLogged reads in every way.
func TestEveryReadingIsLogged(t *testing.T) {
	a := newArchive(t, withRoles)
	ctx := context.Background()
	secret := digital("secret", "s")
	secret.Access, secret.AccessStart = "COM", "2021-05-06"
	changeRules(t, a, []retention.Rule{{ID: "COM", Category: retention.Access, Name: "private life", Duration: retention.Duration{Count: 50, Unit: retention.Years}, Status: "confirmed"}})
	d := deposit(t, a, digital("open", "o"), secret)
	open, closed := d.Units[0].ID, d.Units[1].ID
	if _, err := a.Seal(ctx, "test"); err != nil {
		t.Fatal(err)
	}
	r := a.As("lea", retention.ToRead).For(ForConsent, "pourquoi")
	export := func(id string) error {
		_, err := r.Export(ctx, ExportRequest{IDs: []string{id}, Message: deliveryReply, Version: seda.V22}, ZipFiles{Writer: zip.NewWriter(io.Discard)})
		return err
	}
	for _, c := range []struct {
		verb    Verb
		outcome AccessOutcome
		unit    string
		read    func() error
	}{
		{VerbShow, WasRead, open, func() error { _, err := r.Unit(open, 0); return err }},
		{VerbShow, WasRefused, closed, func() error { _, err := r.Unit(closed, 0); return err }},
		{VerbList, WasRead, open, func() error { _, err := r.List(Filter{Limit: 10}); return err }},
		{VerbSearch, WasRead, open, func() error { _, err := r.Search("", "open", 10); return err }},
		{"", "", "", func() error { _, err := r.Search("", "secret", 10); return err }},
		{VerbGet, WasRead, open, func() error { _, _, err := r.Get(ctx, d.Units[0].Objects[0].ID, io.Discard); return err }},
		{VerbGet, WasRefused, closed, func() error { _, _, err := r.Get(ctx, d.Units[1].Objects[0].ID, io.Discard); return err }},
		{VerbProof, WasRead, open, func() error { return r.Proof(ctx, open, io.Discard) }},
		{VerbProof, WasRefused, closed, func() error { return r.Proof(ctx, closed, io.Discard) }},
		{VerbExport, WasRead, open, func() error { return export(open) }},
		{VerbExport, WasRefused, closed, func() error { return export(closed) }},
		{VerbExplain, WasRead, open, func() error { _, err := r.Retention(open, "2026-01-01"); return err }},
		{"", "", "", func() error { _, err := r.Retention(closed, "2026-01-01"); return err }},
		{VerbFormats, WasRead, open, func() error { _, err := r.FormatUnits(ctx, "", "x-fmt/111", "", 10); return err }},
	} {
		before := len(logged(t, a, AccessFilter{}))
		err := c.read()
		if c.outcome == WasRefused && c.verb != VerbShow {
			var closed *NotOpenError
			if !errors.As(err, &closed) {
				t.Errorf("%s: %v", c.verb, err)
			}
		} else if err != nil {
			t.Errorf("%s: %v", c.verb, err)
		}
		all := logged(t, a, AccessFilter{})
		if c.verb == "" {
			if len(all) != before {
				t.Errorf("what tells nothing is logged: %+v", all[before:])
			}
			continue
		}
		if len(all) != before+1 {
			t.Errorf("%s: %d records", c.verb, len(all)-before)
			continue
		}
		x := all[before]
		if x.Verb != c.verb || x.Outcome != c.outcome || !slices.Equal(x.Units, []string{c.unit}) || x.Purpose != ForConsent || x.Why != "pourquoi" || x.Name != "lea" {
			t.Errorf("%s %s: %+v", c.verb, c.outcome, x)
		}
	}
	if n := len(logged(t, a, AccessFilter{Unit: closed, Agent: "lea", Purpose: ForConsent, From: now().Add(-time.Hour)})); n != 4 {
		t.Errorf("%d records of the closed unit", n)
	}
	if err := a.As("alice", retention.ToRead).AccessLog(ctx, "", AccessFilter{}, nil); !errors.Is(err, ErrRefused) {
		t.Errorf("who is not the officer reads the log: %v", err)
	}
	if err := r.For(ForAccess, strings.Repeat("x", maxWhy+1)).log("archives", VerbGet, WasRead, []string{open}, nil); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

// TestManyUnitsOfOneAccess: an access to many units has several records, each of which is bounded.
func TestManyUnitsOfOneAccess(t *testing.T) {
	a := newArchive(t, withRoles)
	ids := newIDs(unitID, 30*maxAccessUnits+1)
	if err := a.As("lea", retention.ToRead).log("archives", VerbExport, WasRead, ids, []string{"d"}); err != nil {
		t.Fatal(err)
	}
	var got []string
	all := logged(t, a, AccessFilter{})
	for i, x := range all {
		if got = append(got, x.Units...); (i == 0) != (x.Of == "") || i > 0 && x.Of != all[0].ID || len(x.Units) > maxAccessUnits {
			t.Errorf("record %d: %d units, of %q", i, len(x.Units), x.Of)
		}
	}
	if len(all) != 31 || !slices.Equal(got, ids) {
		t.Errorf("%d records of %d units", len(all), len(got))
	}
}

// TestAccessThatCannotBeLogged makes every step of logging fail: nothing is given out, what was
// logged before stays, and reading goes on when the step works again.
func TestAccessThatCannotBeLogged(t *testing.T) {
	for _, op := range []durable.Op{durable.OpMkdir, durable.OpCreate, durable.OpWrite, durable.OpSync, durable.OpSyncDir} {
		for before := range 2 { // the first reading, or a later one
			name := fmt.Sprint(op, " ", before)
			dir := createEdited(t, withRoles)
			f := &fault{op: op, where: spoolDir, nth: 1, err: syscall.EIO}
			a := reopened(t, dir)
			d := deposit(t, a, digital("a", "content"))
			a.Close()
			a, err := Open(dir, Options{ReadOnly: true, FS: durable.FS{Fault: f.ask}})
			if err != nil {
				t.Fatal(err)
			}
			get := func() (string, error) {
				var out bytes.Buffer
				_, _, err := a.As("lea", retention.ToRead).Get(context.Background(), d.Units[0].Objects[0].ID, &out)
				return out.String(), err
			}
			read := 0
			for range before {
				if s, err := get(); err != nil || s != "content" {
					t.Fatal(name, s, err)
				}
				read++
			}
			f.armed.Store(true)
			s, err := get()
			f.armed.Store(false)
			if hit := f.count.Load() > 0; hit != (err != nil) || err != nil && (s != "" || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "nothing is read that is not logged")) {
				t.Errorf("%s: %q %v", name, s, err)
			}
			if err == nil {
				read++
			}
			if s, err := get(); err != nil || s != "content" {
				t.Errorf("%s: afterwards: %q %v", name, s, err)
			}
			a.Close()
			a = reopened(t, dir)
			if n := len(logged(t, a, AccessFilter{})); n != read+1 {
				t.Errorf("%s: %d records of %d readings", name, n, read+1)
			}
			sound(t, a, name)
			a.Close()
		}
	}
}

// sound audits an archive.
func sound(t *testing.T, a *Archive, name string) {
	t.Helper()
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%s: %+v %v", name, r, err)
	}
}

// TestTakingInFails: whatever fails while the spool is taken in, each record is in the log once.
func TestTakingInFails(t *testing.T) {
	for _, step := range []string{"commit", "committed", "empty", "empty and crash"} {
		dir := createEdited(t, withRoles)
		armed := false
		a, err := Open(dir, Options{
			CatalogueFault: func(at string) error {
				if armed && at == step {
					return syscall.EIO
				}
				return nil
			},
			FS: durable.FS{Fault: func(op durable.Op, path string) error {
				if armed && op == durable.OpRemove && strings.HasPrefix(step, "empty") && strings.HasSuffix(path, spoolFile) {
					return syscall.EIO
				}
				return nil
			}}})
		if err != nil {
			t.Fatal(err)
		}
		d := deposit(t, a, digital("a", "a"))
		read := func() {
			if _, err := a.As("lea", retention.ToRead).Unit(d.Units[0].ID, 0); err != nil {
				t.Error(step, err)
			}
		}
		read()
		read()
		armed = true
		if err := a.takeAccesses(context.Background()); err == nil {
			t.Errorf("%s: no error", step)
		}
		armed = false
		read() // behind what was taken in
		if step == "empty" {
			if err := a.takeAccesses(context.Background()); err != nil {
				t.Error(step, err)
			}
		}
		a.Close()
		a = reopened(t, dir)
		all := logged(t, a, AccessFilter{})
		ids := map[string]bool{}
		for _, x := range all {
			ids[x.ID] = true
		}
		if len(all) != 3 || len(ids) != 3 {
			t.Errorf("%s: %d records, %d of them different", step, len(all), len(ids))
		}
		sound(t, a, step)
		a.Close()
	}
}

// TestManyReadAtATime: processes read at the same time, while another takes in what they log.
func TestManyReadAtATime(t *testing.T) {
	dir := createEdited(t, withRoles)
	a := reopened(t, dir)
	d := deposit(t, a, digital("a", "a"))
	a.Close()
	waiting := func(o Options) *Archive {
		for {
			a, err := Open(dir, o)
			if err == nil {
				return a
			}
			if !errors.Is(err, ErrLocked) {
				t.Error(err)
				return nil
			}
			time.Sleep(time.Millisecond)
		}
	}
	const readers, times, each = 6, 8, 3
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			for range times {
				a := waiting(Options{ReadOnly: true})
				if a == nil {
					return
				}
				for range each {
					if _, err := a.As(fmt.Sprint("reader-", i), retention.ToRead).Unit(d.Units[0].ID, 0); err != nil {
						t.Error(err)
					}
				}
				a.Close()
			}
		})
	}
	done := make(chan struct{})
	go func() {
		for range 10 {
			if a := waiting(Options{}); a != nil {
				if err := a.takeAccesses(context.Background()); err != nil {
					t.Error(err)
				}
				a.Close()
			}
		}
		close(done)
	}()
	wg.Wait()
	<-done
	a = reopened(t, dir)
	defer a.Close()
	of, ids := map[string]int{}, map[string]bool{}
	for _, x := range logged(t, a, AccessFilter{}) {
		of[x.Name]++
		ids[x.ID] = true
	}
	for i := range readers {
		if n := of[fmt.Sprint("reader-", i)]; n != times*each {
			t.Errorf("reader %d: %d records of %d", i, n, times*each)
		}
	}
	if len(ids) != readers*times*each {
		t.Errorf("%d records", len(ids))
	}
	sound(t, a, "afterwards")
}

// readOn puts a record of a day into the spool.
func readOn(t *testing.T, a *Archive, day string) {
	t.Helper()
	when, err := time.Parse(time.DateOnly, day)
	if err != nil {
		t.Fatal(err)
	}
	x := Access{ID: newID(accessID), Time: when, Tenant: "archives", Agent: agentID(a.indexKey, "lea"), Name: "lea", Verb: VerbGet, Outcome: WasRead, Purpose: ForInstruction, Units: []string{newID(unitID)}}
	if err := a.appendAccess(append(mustJSON(x), '\n')); err != nil {
		t.Fatal(err)
	}
}

// TestPurgeAccessLog destroys what is old, and nothing else; an old copy opens nothing of it, be it
// of the spool.
func TestPurgeAccessLog(t *testing.T) {
	ctx := context.Background()
	dir := createEdited(t, func(s string) string { return withRoles(s) + "\ngdpr:\n  access-log: P6M\n" })
	a := reopened(t, dir)
	d := deposit(t, a, digital("a", "a"))
	readOn(t, a, "2020-01-01")
	readOn(t, a, "2020-01-02")
	recent := now().AddDate(0, -5, 0).Format(time.DateOnly)
	readOn(t, a, recent)
	spool := readFile(t, filepath.Join(dir, spoolFile))
	a.Close()
	a = reopened(t, dir)
	if all := logged(t, a, AccessFilter{To: now()}); len(all) != 3 {
		t.Fatal(all)
	}
	a.Close()
	before := filepath.Join(t.TempDir(), "before")
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	restorePermissions(t, before)
	a = reopened(t, dir)
	if s, err := a.Status(); err != nil || s.Accesses.Overdue != 2 || !slices.ContainsFunc(s.Problems, func(p string) bool { return strings.Contains(p, "purge-log") }) {
		t.Errorf("%+v %v", s.Accesses, err)
	}
	if _, err := a.PurgeAccessLog(ctx, "lea", ""); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
	purged, err := a.PurgeAccessLog(ctx, "dpo", "")
	if err != nil || purged.Records != 2 || purged.Chunks != 2 || purged.Entry == 0 {
		t.Fatalf("%+v %v", purged, err)
	}
	if all := logged(t, a, AccessFilter{}); len(all) != 1 || all[0].Time.Format(time.DateOnly) != recent {
		t.Errorf("%+v", all)
	}
	again, err := a.PurgeAccessLog(ctx, "alice", "")
	if err != nil || again.Chunks != 0 || again.Entry != 0 {
		t.Errorf("%+v %v", again, err)
	}
	if _, err := a.As("lea", retention.ToRead).Unit(d.Units[0].ID, 0); err != nil {
		t.Error(err)
	}
	check, err := a.VerifyAccessLog()
	if err != nil || len(check.Findings) > 0 || check.Purged != 2 {
		t.Errorf("%+v %v", check, err)
	}
	// The spool as it was is not opened by any key that is left.
	writeFileAt(t, filepath.Join(dir, spoolFile), spool)
	if h, err := parseSpoolHeader(spool[:spoolHead]); err != nil || h.key == indexKeyNumber {
		t.Error(h, err)
	} else if key, err := a.unwrap(h.key); err == nil {
		t.Errorf("its key is there: %x", key)
	}
	a.Close()
	nothingOpens(t, before, dir)
	a = reopened(t, dir)
	if all := logged(t, a, AccessFilter{}); len(all) != 1 {
		t.Errorf("%+v", all)
	}
	wasSetAside(t, a)
	sound(t, a, "purged")
	a.Close()
}

// wasSetAside wants one spool that was set aside, and removes it as somebody does who has looked at it.
func wasSetAside(t *testing.T, a *Archive) {
	t.Helper()
	if c, err := a.VerifyAccessLog(); err != nil || len(c.Findings) != 1 {
		t.Errorf("%+v %v", c, err)
	}
	aside, err := a.asideSpools()
	if err != nil || len(aside) != 1 {
		t.Fatal(aside, err)
	}
	if err := os.Remove(aside[0]); err != nil {
		t.Fatal(err)
	}
}

// TestOldSpoolPutBack: the records of a spool that was taken in, and is put back, are not taken in
// again, and it is noticed, unless it is what a crash left.
func TestOldSpoolPutBack(t *testing.T) {
	a := newArchive(t, withRoles)
	path := filepath.Join(a.dir, spoolFile)
	readOn(t, a, "2026-01-01")
	first := readFile(t, path)
	if err := a.takeAccesses(context.Background()); err != nil {
		t.Fatal(err)
	}
	writeFileAt(t, path, first) // as when it could not be emptied
	readOn(t, a, "2026-01-02")
	if all := logged(t, a, AccessFilter{}); len(all) != 2 { // and the reading of the log is in the next spool
		t.Errorf("%+v", all)
	}
	if err := a.takeAccesses(context.Background()); err != nil {
		t.Fatal(err)
	}
	writeFileAt(t, path, first)
	readOn(t, a, "2026-01-03")
	if all := logged(t, a, AccessFilter{}); len(all) != 3 {
		t.Errorf("%+v", all)
	}
	wasSetAside(t, a)
}

// TestPurgeIsAllOrNothing fails the transaction of a purge.
func TestPurgeIsAllOrNothing(t *testing.T) {
	for _, step := range []string{"commit", "committed"} {
		dir := createEdited(t, withRoles)
		a := reopened(t, dir)
		readOn(t, a, "2020-01-01")
		if err := a.takeAccesses(context.Background()); err != nil {
			t.Fatal(err)
		}
		a.cat.fault = func(at string) error {
			if at == step {
				return syscall.EIO
			}
			return nil
		}
		if _, err := a.PurgeAccessLog(context.Background(), "dpo", ""); err == nil {
			t.Errorf("%s: no error", step)
		}
		a.cat.fault = nil
		readOn(t, a, "2026-01-01")
		a.Close()
		a = reopened(t, dir)
		want := map[string]int{"commit": 2, "committed": 1}[step]
		if all := logged(t, a, AccessFilter{}); len(all) != want {
			t.Errorf("%s: %+v", step, all)
		}
		sound(t, a, step)
		a.Close()
	}
}

// TestAccessLogIsHeldAgainstTheLedger removes and changes chunks.
func TestAccessLogIsHeldAgainstTheLedger(t *testing.T) {
	a := newArchive(t, withRoles)
	readOn(t, a, "2026-01-01")
	readOn(t, a, "2026-01-02")
	if err := a.takeAccesses(context.Background()); err != nil {
		t.Fatal(err)
	}
	chunks, err := a.accessChunks(func(*accessRecord) bool { return true })
	if err != nil || len(chunks) != 2 {
		t.Fatal(chunks, err)
	}
	var one, two []byte
	if err := a.cat.view(func(t *tx) error {
		x, _ := t.get(bktAccess, chunks[0])
		y, err := t.get(bktAccess, chunks[1])
		one, two = bytes.Clone(x), bytes.Clone(y)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var r accessRecord
	if err := decodeClear(one, &r); err != nil {
		t.Fatal(err)
	}
	key, err := a.unwrap(r.Key)
	if err != nil {
		t.Fatal(err)
	}
	salt := newSalt()
	for name, change := range map[string]func(*tx) error{
		"removed":   func(t *tx) error { return t.delete(bktAccess, chunks[0]) },
		"exchanged": func(t *tx) error { return t.put(bktAccess, chunks[0], two) },
		"another": func(t *tx) error {
			return t.put(bktAccess, chunks[0], encodeRecord(r, key, append(salt[:], "{}\n"...)))
		},
		"none":  func(t *tx) error { return t.put(bktAccess, chunks[0], encodeRecord(r, key, salt[:])) },
		"added": func(t *tx) error { return t.put(bktAccess, accessKey(0, 0), one) },
		"flipped": func(t *tx) error {
			b := bytes.Clone(one)
			b[len(b)-1] ^= 1
			return t.put(bktAccess, chunks[0], b)
		},
	} {
		if err := a.update(nil, change); err != nil {
			t.Fatal(err)
		}
		if c, err := a.VerifyAccessLog(); err != nil || len(c.Findings) != 1 {
			t.Errorf("%s: %+v %v", name, c, err)
		}
		if err := a.update(nil, func(t *tx) error {
			return errors.Join(t.put(bktAccess, chunks[0], one), t.delete(bktAccess, accessKey(0, 0)))
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRebuildKeepsAccessLog: what was in the catalogue comes back, and what waits in the spool is
// taken in after.
func TestRebuildKeepsAccessLog(t *testing.T) {
	dir := createEdited(t, withRoles)
	a := reopened(t, dir)
	readOn(t, a, "2026-01-01")
	if err := a.takeAccesses(context.Background()); err != nil {
		t.Fatal(err)
	}
	readOn(t, a, "2026-01-02")
	a.Close()
	if err := os.Remove(filepath.Join(dir, catalogueFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Rebuild(context.Background(), RebuildFrom{Dir: dir, Path: filepath.Join(dir, "offers/first")}); err != nil {
		t.Fatal(err)
	}
	a = reopened(t, dir)
	defer a.Close()
	if all := logged(t, a, AccessFilter{}); len(all) != 2 {
		t.Errorf("%+v", all)
	}
	sound(t, a, "rebuilt")
}
