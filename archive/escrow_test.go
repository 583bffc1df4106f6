package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"sae/archive/durable"
	"sae/archive/hsm"
	"sae/archive/hsm/hsmtest"
	"sae/integrity"
)

// escrowed makes an archive that seals copies of its root key to one holder, whose identity file
// is given too. more is put behind the configuration of escrow.
func escrowed(t *testing.T, token *hsm.Config, more string) (dir, identity string) {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	dir, identity = createIn(t, token), filepath.Join(t.TempDir(), "identity")
	writeFileAt(t, identity, []byte(id.String()+"\n"))
	editConfig(t, dir, func(s string) string {
		return s + "\nescrow:\n  max-age: 30d\n  recipients: [" + id.Recipient().String() + "]\n" + more
	})
	return dir, identity
}

func TestEscrowAndRestore(t *testing.T) {
	eachKept(t, func(t *testing.T, token *hsm.Config) {
		ctx := context.Background()
		dir, identity := escrowed(t, token, "")
		sealed := filepath.Join(t.TempDir(), "root.sae-escrow")
		a := reopened(t, dir)
		d := deposit(t, a, digital("goes", "g"), digital("stays", "s"))
		status := func(want string) *RootStatus {
			t.Helper()
			s, err := a.RootStatus()
			if err != nil || strings.Contains(strings.Join(s.Problems, "\n"), want) != (want != "") && len(s.Problems) > 0 || want != "" && len(s.Problems) == 0 {
				t.Errorf("%+v %v, want %q", s, err, want)
			}
			return s
		}
		status("no copy of the root key was sealed yet")
		e, err := a.Escrow(ctx, "test", sealed)
		if err != nil {
			t.Fatal(err)
		}
		if s := status(""); !s.Escrow.Opens || s.Escrow.Entry != e.Entry {
			t.Errorf("%+v", s.Escrow)
		}
		if _, err := a.Escrow(ctx, "test", sealed); !errors.Is(err, ErrExists) {
			t.Errorf("over another copy: %v", err)
		}
		b, err := a.Entry(e.Entry)
		if err != nil {
			t.Fatal(err)
		}
		entry, err := integrity.ParseEntry(b)
		var detail integrity.RootEscrowedDetail
		if err == nil {
			err = entry.ReadDetail(integrity.RootEscrowed, &detail)
		}
		if err != nil || detail != (integrity.RootEscrowedDetail{Recipients: 1, MaxAge: 30 * 86400, Size: e.Entry + 1}) {
			t.Errorf("%+v %v", detail, err)
		}
		from := EscrowSource{sealed, identity}
		if _, err := RestoreRoot(dir, from, Options{}); !errors.Is(err, ErrLocked) {
			t.Errorf("while the archive is open: %v", err)
		}
		mustSeal(t, a)
		a.Close()
		root := filepath.Join(dir, "keys/root")
		if _, err := RestoreRoot(dir, from, Options{}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "nothing is to be restored") {
			t.Errorf("over a working root: %v", err)
		}
		for name, lose := range map[string]func(){
			"removed": func() { os.Remove(root) },
			"emptied": func() { writeFileAt(t, root, nil) },
			"zeros":   func() { writeFileAt(t, root, make([]byte, 8192)) },
			"its key": func() {
				if token == nil {
					os.Remove(root)
				} else if err := (rootPlace{archive: a.config.Archive, token: token}).undo(); err != nil {
					t.Fatal(err)
				}
			},
		} {
			lose()
			if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "sae root restore") {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := RestoreRoot(dir, from, Options{}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			reopened(t, dir).Close()
			mustBeSettled(t, name, root, token)
		}
		reopenAndCheck(t, "restored", dir, d)

		// With the catalogue lost too.
		rebuilt := RebuildFrom{Dir: filepath.Join(t.TempDir(), "new"), Path: filepath.Join(dir, "offers/first"), Escrow: &from}
		if _, err := Rebuild(ctx, rebuilt); err != nil {
			t.Fatal(err)
		}
		if held, _ := rootsIn(t, filepath.Join(rebuilt.Dir, "keys/root")); (held[0].Key != "") != (token != nil) {
			t.Error("the root is not kept as the configuration says")
		}
		a = reopened(t, dir) // it has lost nothing by that
		if err := destroyUnits(t, a, d.Units[0].ID); err != nil {
			t.Fatal(err)
		}
		status("does not open the catalogue")
		s, err := a.Status()
		if err != nil || !strings.Contains(strings.Join(s.Problems, "\n"), "run sae root escrow") {
			t.Errorf("%v %v", s.Problems, err)
		}
		a.Close()
		os.Remove(root)
		if _, err := RestoreRoot(dir, from, Options{}); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "replaced since") {
			t.Errorf("a copy from before a destruction: %v", err)
		}
		if _, err := os.Stat(root); err == nil {
			t.Error("it was put back all the same")
		}
	})
}

func TestRestoreRefusesOthers(t *testing.T) {
	dir, identity := escrowed(t, nil, "")
	other, otherIdentity := escrowed(t, nil, "")
	a := reopened(t, other)
	sealed := filepath.Join(t.TempDir(), "sealed")
	if _, err := a.Escrow(context.Background(), "test", sealed); err != nil {
		t.Fatal(err)
	}
	a.Close()
	os.Remove(filepath.Join(dir, "keys/root"))
	for want, from := range map[string]EscrowSource{
		"is of archive":          {sealed, otherIdentity},
		"none of the identities": {sealed, identity},
		"no such file":           {sealed + "x", identity},
		"not a sealed copy":      {identity, identity},
	} {
		if _, err := RestoreRoot(dir, from, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		} else if strings.Contains(err.Error(), "AGE-SECRET") {
			t.Error("the error holds an identity")
		}
	}
}

// TestEscrowFollowsTheRoot: the folder has one copy, that of today's root key, and nothing that is
// not this archive's is touched there. When it cannot be written the destruction stands.
func TestEscrowFollowsTheRoot(t *testing.T) {
	folder := t.TempDir()
	dir, identity := escrowed(t, nil, "  folder: "+folder+"\n")
	strange := filepath.Join(folder, "strange"+escrowSuffix)
	writeFileAt(t, strange, []byte("not ours"))
	a := reopened(t, dir)
	d := deposit(t, a, digital("a", "1"), digital("b", "2"), digital("c", "3"))
	copies := func() (paths []string) {
		all, err := filepath.Glob(filepath.Join(folder, a.config.Archive+"*"))
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for i := range 2 {
		if err := destroyUnits(t, a, d.Units[i].ID); err != nil {
			t.Fatal(err)
		}
		if s, err := a.RootStatus(); err != nil || len(s.Problems) > 0 || !s.Escrow.Opens || len(copies()) != 1 || s.Replaced != int64(i+1) {
			t.Fatalf("%+v %v %v", s, copies(), err)
		}
	}
	if string(readFile(t, strange)) != "not ours" {
		t.Error("a strange file was touched")
	}
	a.Close()
	os.Remove(filepath.Join(dir, "keys/root"))
	if _, err := RestoreRoot(dir, EscrowSource{copies()[0], identity}, Options{}); err != nil {
		t.Fatal(err)
	}
	a, err := Open(dir, Options{FS: durable.FS{Fault: func(op durable.Op, path string) error {
		if strings.HasPrefix(path, folder) && op == durable.OpRename {
			return errors.New("fault")
		}
		return nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := destroyUnits(t, a, d.Units[2].ID); err != nil {
		t.Error(err)
	}
	if err := a.ReplaceRoot(context.Background(), "test"); err != nil {
		t.Error(err)
	}
	a.Close()
	os.RemoveAll(folder)
	a = reopened(t, dir)
	if s, err := a.RootStatus(); err != nil || !strings.Contains(strings.Join(s.Problems, "\n"), "folder of escrow") {
		t.Errorf("%+v %v", s, err)
	}
	a.Close()
}

// TestEffectiveFrom: what is destroyed is beyond recovery when the last day of all copies is over
// that were made before.
func TestEffectiveFrom(t *testing.T) {
	day := 24 * time.Hour
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		entries string // of the ledger: KIND@day:age
		at, age int    // of the destruction; how long it is not effective
	}{
		"no copy":             {"deposit@1", 2, 0},
		"one before":          {"escrow@1:30", 2, 29},
		"one that is over":    {"escrow@1:30", 50, 0},
		"one after":           {"escrow@3:30", 2, 0},
		"the longest counts":  {"escrow@1:90 escrow@2:10", 3, 88},
		"the last of many":    {"escrow@1:10 destroyed@2 escrow@2:10 destroyed@5", 5, 7},
		"at once, before it":  {"escrow@2:10 destroyed@2", 2, 10},
		"at once, behind it":  {"destroyed@2 escrow@2:10", 2, 0},
		"at once, both sides": {"escrow@2:5 destroyed@2 escrow@2:10", 2, 5},
	} {
		a := newArchive(t, nil)
		if err := a.cat.update(func(x *tx) error {
			for i, text := range strings.Fields(c.entries) {
				var on, age int
				kind, rest, _ := strings.Cut(text, "@")
				fmt.Sscanf(rest, "%d:%d", &on, &age)
				e := integrity.Entry{Version: 1, Kind: integrity.Kind(kind), Time: start.Add(time.Duration(on) * day)}
				if kind == "escrow" {
					e.Kind, e.Detail = integrity.RootEscrowed, mustJSON(integrity.RootEscrowedDetail{MaxAge: int64(age) * 86400})
				}
				b, err := e.Marshal()
				if err != nil {
					return err
				}
				if err := x.put(bktEntry, be64(uint64(1000+i)), b); err != nil {
					return err
				}
			}
			at := start.Add(time.Duration(c.at) * day)
			if got, err := x.effectiveFrom(at); err != nil || !got.Equal(at.Add(time.Duration(c.age)*day)) {
				t.Errorf("%s: %s after, %v, want %d days", name, got.Sub(at), err, c.age)
			}
			return errors.New("given up")
		}); err == nil || err.Error() != "given up" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEscrowConfig(t *testing.T) {
	dir, _ := escrowed(t, nil, "")
	conf := filepath.Join(dir, ConfigName)
	whole := string(readFile(t, conf))
	for text, want := range map[string]string{
		strings.Replace(whole, "\n  max-age: 30d", "\n  max-age: 30", 1):          "escrow.max-age",
		strings.Replace(whole, "\n  max-age: 30d", "\n  max-age: -1d", 1):         "escrow.max-age",
		strings.Replace(whole, "\n  max-age: 30d", "\n  max-age: 0d", 1):          "escrow.max-age",
		strings.Replace(whole, "\n  recipients: [age1", "\n  recipients: [ag", 1): "escrow.recipients[0]: want an age X25519 recipient",
		strings.Replace(whole, "\n  max-age: 30d\n", "\n  max: 1\n", 1):           "unknown field",
		strings.Replace(whole, "\n  max-age: 30d\n", "\n  max-age: 36h\n", 1):     "",
	} {
		writeFileAt(t, conf, []byte(text))
		if _, err := LoadConfig(dir); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestEscrowNeedsItsToken: a copy is not restored over a slot of which nobody knows whether it is lost.
func TestEscrowNeedsItsToken(t *testing.T) {
	token := hsmtest.Token(t)
	dir, identity := escrowed(t, &token, "")
	a := reopened(t, dir)
	sealed := filepath.Join(t.TempDir(), "sealed")
	if _, err := a.Escrow(context.Background(), "test", sealed); err != nil {
		t.Fatal(err)
	}
	a.Close()
	editConfig(t, dir, func(s string) string { return strings.Replace(s, `"sae-test"`, `"away"`, 1) })
	before := readFile(t, filepath.Join(dir, "keys/root"))
	if _, err := RestoreRoot(dir, EscrowSource{sealed, identity}, Options{}); err == nil || !strings.Contains(err.Error(), "move "+filepath.Join(dir, "keys/root")+" away") {
		t.Error(err)
	}
	if string(readFile(t, filepath.Join(dir, "keys/root"))) != string(before) {
		t.Error("the slot was changed")
	}
}
