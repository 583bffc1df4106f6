package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sae/archive/durable"
	"sae/archive/hsm"
	"sae/archive/hsm/hsmtest"
)

// eachKept runs a test for every way of keeping the root key; token is nil for the file.
func eachKept(t *testing.T, f func(t *testing.T, token *hsm.Config)) {
	t.Run("file", func(t *testing.T) { f(t, nil) })
	t.Run("pkcs11", func(t *testing.T) {
		c := hsmtest.Token(t)
		f(t, &c)
	})
}

func createIn(t *testing.T, token *hsm.Config) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "archive")
	if _, err := Create(dir, New{PKCS11: token}); err != nil {
		t.Fatal(err)
	}
	return dir
}

// keysIn gives the labels of the keys in a token.
func keysIn(t *testing.T, c *hsm.Config) []string {
	t.Helper()
	token, err := hsm.Open(*c, false)
	if err != nil {
		t.Fatal(err)
	}
	labels, err := token.Labels("")
	if err = errors.Join(err, token.Close()); err != nil {
		t.Fatal(err)
	}
	return labels
}

// mustBeSettled wants one root in the slot, nothing of another, and its one key in the token.
func mustBeSettled(t *testing.T, name, path string, token *hsm.Config) {
	t.Helper()
	held, alone := rootsIn(t, path)
	if len(held) != 1 || !alone {
		t.Errorf("%s: %d roots, alone %v", name, len(held), alone)
	}
	if token == nil {
		return
	}
	if keys := keysIn(t, token); len(keys) != 1 || keys[0] != held[0].Key {
		t.Errorf("%s: the token holds %v, the slot is under %q", name, keys, held[0].Key)
	}
}

// TestRootSlot is what every way of keeping roots must do.
func TestRootSlot(t *testing.T) {
	eachKept(t, func(t *testing.T, token *hsm.Config) {
		p := rootPlace{path: filepath.Join(t.TempDir(), "root"), archive: "atest", token: token}
		root := newKey()
		if err := p.create(root); err != nil {
			t.Fatal(err)
		}
		mustBeSettled(t, "created", p.path, token)
		if token != nil && bytes.Contains(readFile(t, p.path), root[:]) {
			t.Error("the root is in the file")
		}
		if err := p.create(root); !errors.Is(err, os.ErrExist) {
			t.Errorf("created twice: %v", err)
		}
		kept := (&SlotConfig{PKCS11: token}).kept()
		for _, committed := range []bool{true, false, true} {
			before := readFile(t, p.path)
			a := &Archive{state: &state{config: &Config{Archive: p.archive, Slots: SlotConfig{Root: p.path, PKCS11: token}}, vault: withoutKeys()}}
			next, err := a.newRoot(kept)
			if err != nil {
				t.Fatal(err)
			}
			mustHoldRoots(t, p, next.root, root)
			if _, err := a.newRoot(kept); err == nil || !strings.Contains(err.Error(), "being replaced") {
				t.Errorf("replaced twice at once: %v", err)
			}
			drawn := next.root
			if err := errors.Join(next.settle(committed), next.close()); err != nil {
				t.Fatal(err)
			}
			want, other := root, drawn
			if committed {
				want, other = drawn, root
			}
			mustHoldRoots(t, p, want)
			mustBeSettled(t, fmt.Sprint("committed ", committed), p.path, token)
			if bytes.Contains(readFile(t, p.path), other[:]) {
				t.Error("the other root is in the file")
			}
			if token != nil && committed {
				after := readFile(t, p.path)
				writeFileAt(t, p.path, before)
				if s, err := p.open(false); err != nil {
					t.Error(err)
				} else if roots, err := s.roots(); !errors.Is(err, hsm.ErrNoKey) {
					t.Errorf("an old slot still opens: %d roots, %v", len(roots), err)
				} else if err := s.close(); err != nil {
					t.Error(err)
				}
				writeFileAt(t, p.path, after)
			}
			root = want
		}
	})
}

func mustHoldRoots(t *testing.T, p rootPlace, want ...[rootSize]byte) {
	t.Helper()
	s, err := p.open(false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	got, err := s.roots()
	if err != nil || len(got) != len(want) {
		t.Fatalf("%d roots, want %d: %v", len(got), len(want), err)
	}
	for i := range want {
		if got[i].root != want[i] {
			t.Errorf("root %d is another", i)
		}
	}
}

// TestDestroyedIsGoneFromToken: a copy of the whole archive from before a destruction, slot of the
// root key and all, opens nothing with the token of afterwards.
func TestDestroyedIsGoneFromToken(t *testing.T) {
	token := hsmtest.Token(t)
	dir := createIn(t, &token)
	a := reopened(t, dir)
	d := deposit(t, a, digital("goes", "g"), digital("stays", "s"))
	a.Close()
	before := filepath.Join(t.TempDir(), "before")
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	restorePermissions(t, before)
	a = reopened(t, dir)
	if err := destroyUnits(t, a, d.Units[0].ID); err != nil {
		t.Fatal(err)
	}
	a.Close()
	mustBeSettled(t, "destroyed", filepath.Join(dir, "keys/root"), &token)
	for _, readOnly := range []bool{true, false} {
		a, err := Open(before, Options{ReadOnly: readOnly})
		if err == nil {
			a.Close()
			t.Fatal("the copy from before opens")
		}
		if !errors.Is(err, hsm.ErrNoKey) || !strings.Contains(err.Error(), "copy of its slot from before") {
			t.Error(err)
		}
	}
	a = reopened(t, dir)
	var destroyed *DestroyedError
	if _, err := a.Unit(d.Units[0].ID); !errors.As(err, &destroyed) {
		t.Error(err)
	}
	mustSeal(t, a)
	a.Close()
	reopenAndCheck(t, "after", dir, &Deposited{Units: d.Units[1:]})
}

// TestRootFaults fails each step of replacing the root key, lost or done all the same. Each time
// the archive opens again, the unit is there or destroyed, and one root is left.
func TestRootFaults(t *testing.T) {
	eachKept(t, func(t *testing.T, token *hsm.Config) {
		steps := []string{"commit", "committed", "write 1", "write 2", "write 3", "sync 1", "sync 2", "sync 3"}
		if token != nil {
			steps = append(steps, "open", "generate", "generated", "wrap", "list", "destroy", "destroyed")
		}
		for _, step := range steps {
			dir := createIn(t, token)
			armed, count, hit := false, 0, false
			at := func(s string) error {
				if armed && s == step {
					hit = true
					return errors.New("fault")
				}
				return nil
			}
			a, err := Open(dir, Options{CatalogueFault: at, TokenFault: at, FS: durable.FS{Fault: func(op durable.Op, path string) error {
				if !armed || !strings.HasSuffix(path, "keys/root") || !strings.HasPrefix(step, string(op)) {
					return nil
				}
				count++
				return at(fmt.Sprintf("%s %d", op, count))
			}}})
			if err != nil {
				t.Fatal(err)
			}
			d := deposit(t, a, digital("goes", "g"), digital("stays", "s"))
			armed = true
			if err := destroyUnits(t, a, d.Units[0].ID); err == nil || !hit {
				t.Errorf("%s: hit %v, %v", step, hit, err)
			}
			armed = false
			a.Close()
			r, err := Open(dir, Options{ReadOnly: true}) // it goes on reading, whatever is left
			if err != nil {
				t.Fatalf("%s: reading: %v", step, err)
			}
			r.Close()
			a = reopened(t, dir)
			_, err = a.Unit(d.Units[0].ID)
			var destroyed *DestroyedError
			before := map[string]bool{"open": true, "generate": true, "generated": true, "wrap": true, "commit": true, "write 1": true, "sync 1": true}
			if errors.As(err, &destroyed) == before[step] {
				t.Errorf("%s: %v", step, err)
			}
			mustBeSettled(t, step, a.config.Slots.Root, token)
			left := &Deposited{Units: d.Units}
			if err != nil {
				left.Units = d.Units[1:]
			}
			mustSeal(t, a)
			a.Close()
			if token != nil {
				if a.config.Slots.PKCS11 == nil {
					t.Fatal("it is not in the token")
				}
			}
			reopenAndCheck(t, step, dir, left)
			if token != nil {
				if p := (rootPlace{path: a.config.Slots.Root, archive: a.config.Archive, token: token}); p.undo() != nil {
					t.Fatal("the token could not be emptied")
				}
			}
		}
	})
}

// TestMoveRoot moves the root key into a token and back, stopped at each step, and called again.
func TestMoveRoot(t *testing.T) {
	token := hsmtest.Token(t)
	ctx := context.Background()
	for _, stop := range []string{"", "open", "generate", "generated", "wrap", "list", "destroy", "destroyed", "commit", "committed", "write 1", "write 2", "write 3", "rename 1"} {
		dir := createIn(t, nil)
		a := reopened(t, dir)
		d := deposit(t, a, digital("a", "1"))
		mustSeal(t, a)
		a.Close()
		text := readFile(t, filepath.Join(dir, ConfigName))
		first := readFile(t, filepath.Join(dir, "keys/root"))
		for _, to := range []RootKept{KeptInPKCS11, KeptInFile} {
			count := 0
			at := func(s string) error {
				if s == stop {
					return errors.New("fault")
				}
				return nil
			}
			o := Options{CatalogueFault: at, TokenFault: at, FS: durable.FS{Fault: func(op durable.Op, path string) error {
				if !strings.HasSuffix(path, "keys/root") && !strings.HasSuffix(path, ConfigName) || !strings.HasPrefix(stop, string(op)) {
					return nil
				}
				count++
				return at(fmt.Sprintf("%s %d", op, count))
			}}}
			err := MoveRoot(ctx, dir, "test", to, &token, o)
			if stop == "" && err != nil {
				t.Fatalf("to %s: %v", to, err)
			}
			r, readErr := Open(dir, Options{ReadOnly: true})
			if readErr != nil {
				t.Fatalf("%s: to %s: %v", stop, to, readErr)
			}
			s, readErr := r.RootStatus()
			r.Close()
			if readErr != nil {
				t.Fatal(readErr)
			}
			if err == nil && s.Kept != to {
				t.Fatalf("%s: to %s: %+v", stop, to, s)
			}
			if err != nil { // again: it says that all is done, or does the rest
				if again := MoveRoot(ctx, dir, "test", to, &token, Options{}); again != nil && !strings.Contains(again.Error(), "there already") {
					t.Fatalf("%s: to %s: %v, again: %v", stop, to, err, again)
				}
			}
			config, err := LoadConfig(dir)
			if err != nil || config.Slots.kept() != to {
				t.Errorf("%s: to %s: the configuration says %+v, %v", stop, to, config.Slots, err)
			}
			a = reopened(t, dir)
			if held, _ := rootsIn(t, config.Slots.Root); held[0].kept() != to {
				t.Errorf("%s: it is not in %s", stop, to)
			}
			a.Close()
			if keys := keysIn(t, &token); (len(keys) == 1) != (to == KeptInPKCS11) {
				t.Errorf("%s: to %s: the token holds %v", stop, to, keys)
			}
			if err := MoveRoot(ctx, dir, "test", to, nil, Options{}); !errors.Is(err, ErrRefused) {
				t.Errorf("%s: moved to where it is: %v", stop, err)
			}
			reopenAndCheck(t, stop, dir, d)
		}
		if !bytes.Equal(readFile(t, filepath.Join(dir, ConfigName)), text) {
			t.Errorf("%s: the configuration is not as it was:\n%s", stop, readFile(t, filepath.Join(dir, ConfigName)))
		}
		writeFileAt(t, filepath.Join(dir, "keys/root"), first)
		if a, err := Open(dir, Options{}); err == nil {
			a.Close()
			t.Errorf("%s: the root key of before the moves opens the catalogue", stop)
		}
	}
}

// TestTokenIsSwept: keys of which the slot does not speak are destroyed when the archive is opened
// for writing, not when it is opened for reading, and never those of others.
func TestTokenIsSwept(t *testing.T) {
	c := hsmtest.Token(t)
	dir := createIn(t, &c)
	config, err := LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	token, err := hsm.Open(c, true)
	if err != nil {
		t.Fatal(err)
	}
	defer token.Close()
	others := []string{"sae-root/" + config.Archive + "2/x", "other"}
	for _, label := range append(others, "sae-root/"+config.Archive+"/stray") {
		if err := token.Generate(label); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		readOnly bool
		keys     int
	}{{true, 4}, {false, 3}} {
		a, err := Open(dir, Options{ReadOnly: x.readOnly})
		if err != nil {
			t.Fatal(err)
		}
		a.Close()
		if keys := keysIn(t, &c); len(keys) != x.keys {
			t.Errorf("opened with readOnly %v: %v", x.readOnly, keys)
		}
	}
	for _, label := range others {
		if err := token.Destroy(label); err != nil {
			t.Error(err)
		}
	}
}

// TestTokenErrors: what is missing is named, with what to do, and no secret.
func TestTokenErrors(t *testing.T) {
	c := hsmtest.Token(t)
	dir := createIn(t, &c)
	conf := filepath.Join(dir, ConfigName)
	whole := string(readFile(t, conf))
	for name, x := range map[string]struct {
		edit func(string) string
		want string
	}{
		"wrong PIN": {func(s string) string {
			pin := filepath.Join(t.TempDir(), "wrong-pin")
			writeFileAt(t, pin, []byte("55443322\n"))
			return strings.Replace(s, c.PIN, pin, 1)
		}, "wrong-pin: write the right one"},
		"no module":   {func(s string) string { return strings.Replace(s, c.Module, "/nowhere/lib.so", 1) }, "/nowhere/lib.so"},
		"no token":    {func(s string) string { return strings.Replace(s, `"sae-test"`, `"gone"`, 1) }, `no token labelled "gone"`},
		"no PIN file": {func(s string) string { return strings.Replace(s, c.PIN, c.PIN+".gone", 1) }, "pin.gone: no such file"},
		"not named": {func(s string) string {
			return s[:strings.Index(s, "  # The token")] + s[strings.Index(s, "# Sealed copies"):]
		}, "slots.pkcs11"},
		"unknown key":     {func(s string) string { return strings.Replace(s, "    token:", "    pin: 1\n    token:", 1) }, "unknown field"},
		"relative module": {func(s string) string { return strings.Replace(s, c.Module, "lib.so", 1) }, "slots.pkcs11.module: want the absolute path"},
	} {
		writeFileAt(t, conf, []byte(x.edit(whole)))
		for _, readOnly := range []bool{true, false} {
			a, err := Open(dir, Options{ReadOnly: readOnly})
			if err == nil {
				a.Close()
			}
			if err == nil || !strings.Contains(err.Error(), x.want) {
				t.Errorf("%s: %v, want %q", name, err, x.want)
			} else if strings.Contains(err.Error(), hsmtest.PIN) || strings.Contains(err.Error(), "55443322") {
				t.Errorf("%s: the error holds the PIN", name)
			}
		}
	}
	writeFileAt(t, conf, []byte(whole))
	if err := os.Chmod(c.PIN, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); err == nil || !strings.Contains(err.Error(), "chmod 600 "+c.PIN) {
		t.Errorf("a PIN that others may read: %v", err)
	}
	os.Chmod(c.PIN, 0o600)
	token, err := hsm.Open(c, true)
	if err != nil {
		t.Fatal(err)
	}
	held, _ := rootsIn(t, filepath.Join(dir, "keys/root"))
	if err := errors.Join(token.Destroy(held[0].Key), token.Close()); err != nil {
		t.Fatal(err)
	}
	var damage *DamagedError
	if _, err := Open(dir, Options{}); !errors.As(err, &damage) || !errors.Is(err, hsm.ErrNoKey) || !strings.Contains(err.Error(), "sae root restore") {
		t.Errorf("a key that is gone: %v", err)
	}
}

// TestRebuildInToken: a catalogue that is lost comes back with the slot file and the token.
func TestRebuildInToken(t *testing.T) {
	c := hsmtest.Token(t)
	dir := createIn(t, &c)
	a := reopened(t, dir)
	d := deposit(t, a, digital("a", "1"))
	mustSeal(t, a)
	before := rows(t, a)
	a.Close()
	if err := os.Remove(filepath.Join(dir, catalogueFile)); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]RebuildFrom{
		"in place": {Dir: dir, Path: filepath.Join(dir, "offers/first")},
		"anew":     {Dir: filepath.Join(t.TempDir(), "new"), Path: filepath.Join(dir, "offers/first"), Root: filepath.Join(dir, "keys/root"), PKCS11: &c},
	} {
		if _, err := Rebuild(context.Background(), from); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r, err := Open(from.Dir, Options{ReadOnly: true})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		sameRows(t, name, before, rows(t, r))
		r.Close()
		mustBeSettled(t, name, filepath.Join(from.Dir, "keys/root"), &c)
	}
	reopenAndCheck(t, "in place", dir, d)
}
