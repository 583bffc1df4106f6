package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sae/archive/blobs"
	"sae/integrity/bundle"
)

// TestEveryFileDamaged damages each file of an archive in turn. Opening or audit
// must name it; or else the damage lies where nothing is, and every answer is the
// same as before.
func TestEveryFileDamaged(t *testing.T) {
	t.Parallel()
	good := filepath.Join(t.TempDir(), "good")
	if _, err := Create(good, New{}); err != nil {
		t.Fatal(err)
	}
	a, err := Open(good, Options{})
	if err != nil {
		t.Fatal(err)
	}
	deposit(t, a, NewUnit{Parent: -1, Title: "dossier"}, digital("décision", "a favourable decision"), digital("annexe", strings.Repeat("annexe ", 20_000)))
	mustSeal(t, a)
	deposit(t, a, digital("courrier", ""))
	if _, err := a.Search("", "décision", 10); err != nil {
		t.Fatal(err)
	}
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Fatal(r, err)
	}
	want := answers(t, a)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(good, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(good, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, damage := range damages(rel, data) {
			checkDamage(t, good, rel, damage, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func mustSeal(t *testing.T, a *Archive) {
	t.Helper()
	if _, err := a.Seal(context.Background(), "test"); err != nil {
		t.Fatal(err)
	}
}

// damage is one way to damage a file; nil data deletes it.
type damage struct {
	name string
	data []byte
}

func damages(rel string, data []byte) []damage {
	flips := 4
	if rel == catalogueFile {
		flips = 60
	}
	if testing.Short() || raced {
		flips = (flips + 5) / 6
	}
	out := []damage{{"deleted", nil}, {"emptied", []byte{}}, {"cut in half", data[:len(data)/2]}}
	for i := range min(flips, len(data)) {
		at := (2*i + 1) * len(data) / (2 * flips)
		flipped := bytes.Clone(data)
		flipped[at] ^= 1 << (i % 8)
		out = append(out, damage{fmt.Sprintf("byte %d of %d changed", at, len(data)), flipped})
	}
	return out
}

func checkDamage(t *testing.T, good, rel string, d damage, want string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "damaged")
	if err := os.CopyFS(dir, os.DirFS(good)); err != nil {
		t.Fatal(err)
	}
	restorePermissions(t, dir)
	path := filepath.Join(dir, rel)
	if d.data == nil {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	} else if err := os.WriteFile(path, d.data, 0o600); err != nil {
		t.Fatal(err)
	}
	said, got := diagnose(t, dir)
	if names(said, rel) || got == want {
		return
	}
	if rel == ConfigName && (said != "" || strings.HasPrefix(d.name, "byte")) {
		return // a person may edit it, and give other names: what is then wrong is what is named
	}
	t.Errorf("%s, %s: not named, and the answers differ:\n%s\n%s", rel, d.name, said, got)
}

// restorePermissions undoes what CopyFS does: it widens them.
func restorePermissions(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = os.Chmod(path, 0o600)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// diagnose opens and audits an archive and gives what that said, and its answers if
// there are any.
func diagnose(t *testing.T, dir string) (said, got string) {
	a, err := Open(dir, Options{})
	if err != nil {
		return err.Error(), ""
	}
	defer a.Close()
	r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1})
	if err != nil {
		return err.Error(), ""
	}
	if !r.Sound() {
		return fmt.Sprint(r.List), ""
	}
	return "", answers(t, a)
}

// names says whether a message names a file: by its path, or a blob by its name, or
// a file of the search index by its folder.
func names(said, rel string) bool {
	base := filepath.Base(rel)
	if strings.HasPrefix(rel, searchDir) {
		base = searchDir
	}
	return said != "" && strings.Contains(said, base)
}

// answers is what the archive says of everything in it: descriptions, contents,
// proofs under the authority's root, the roots of the ledger.
func answers(t *testing.T, a *Archive) string {
	var b strings.Builder
	page, err := a.List(Filter{})
	if err != nil {
		return err.Error()
	}
	for _, u := range page.Units {
		fmt.Fprintln(&b, u.Unit, u.Title, u.Archived, u.Sealed != nil)
		for _, o := range u.Objects {
			sum := sha256.New()
			_, bad, err := a.Get(context.Background(), o.ID, sum)
			fmt.Fprintf(&b, "%s %x %v %v\n", o.ID, sum.Sum(nil), bad, err)
		}
		var proof bytes.Buffer
		if err := a.Proof(context.Background(), u.Unit, &proof); errors.Is(err, ErrNotSealed) {
			fmt.Fprintln(&b, "pending")
			continue
		} else if err != nil {
			fmt.Fprintln(&b, err)
			continue
		}
		report, err := bundle.Verify(bytes.NewReader(proof.Bytes()), int64(proof.Len()), bundle.Options{Roots: a.rootsOf("embedded")})
		if err != nil {
			fmt.Fprintln(&b, err)
			continue
		}
		fmt.Fprintln(&b, report.Verdict)
	}
	for n := int64(1); n <= 4; n++ {
		root, err := a.rootAt(n)
		fmt.Fprintln(&b, root, err)
	}
	units, err := a.Search("", "décision", 10)
	fmt.Fprintln(&b, len(units), err)
	return b.String()
}

// TestRepair damages copies in every way and repairs them; with no good copy left
// the object is lost, and said to be.
func TestRepair(t *testing.T) {
	a := newArchive(t, nil)
	d := deposit(t, a, digital("a", "1"), digital("b", strings.Repeat("b", 3<<20)), digital("c", ""))
	var paths []string
	for _, u := range d.Units {
		o, err := a.Object(u.Objects[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		path, err := a.offers[0].blobs.(*blobs.Dir).Path(o.record.Blob)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	if err := os.Remove(paths[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(paths[1], 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(paths[2], []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1})
	if err != nil || r.Findings != 3 || r.Repaired != 0 || r.Lost != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	r, err = a.Audit(context.Background(), "test", AuditOptions{Sample: 1, Repair: true})
	if err != nil || r.Findings != 3 || r.Repaired != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, o := range a.offers { // both copies of one object
		path, err := o.blobs.(*blobs.Dir).Path(filepath.Base(paths[1]))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path, path+".away"); err != nil {
			t.Fatal(err)
		}
		defer os.Rename(path+".away", path)
	}
	r, err = a.Audit(context.Background(), "test", AuditOptions{Sample: 1, Repair: true})
	if err != nil || r.Lost != 2 || r.Repaired != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	var out bytes.Buffer
	var damaged *DamagedError
	if _, _, err := a.Get(context.Background(), d.Units[1].Objects[0].ID, &out); !errors.As(err, &damaged) || out.Len() > 0 {
		t.Errorf("get: %d bytes, %v", out.Len(), err)
	}
}
