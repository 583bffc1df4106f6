package archive

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sae/archive/durable"
	"sae/archive/search"
	"sae/archive/vault"
)

// smallFiles lets an archive have files of one group in its search index.
func smallFiles(a *Archive) *Archive {
	a.fileGroups = 1
	return a
}

// folders are units of one data key each.
func folders(titles ...string) (units []NewUnit) {
	for _, title := range titles {
		units = append(units, NewUnit{Parent: -1, Title: title})
	}
	return units
}

func repeated(title string, n int) []string { return slices.Repeat([]string{title}, n) }

// searchFiles are the files of the index.
func searchFiles(t *testing.T, a *Archive) map[string]string {
	t.Helper()
	out := map[string]string{}
	paths, err := filepath.Glob(filepath.Join(a.dir, searchDir, "[0-9]*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		out[filepath.Base(path)] = string(readFile(t, path))
	}
	return out
}

// changedFiles are those that have other bytes now, or are gone: whatever is enciphered anew is.
func changedFiles(before, now map[string]string) (changed []string) {
	for name, b := range now {
		if before[name] != b {
			changed = append(changed, name)
		}
	}
	for name := range before {
		if _, ok := now[name]; !ok {
			changed = append(changed, name)
		}
	}
	slices.Sort(changed)
	return changed
}

func mustFind(t *testing.T, a *Archive, words string, want int) []*Unit {
	t.Helper()
	units, err := a.Search("", words, 10_000)
	if err != nil || len(units) != want {
		t.Fatalf("%q: %d units, want %d, %v", words, len(units), want, err)
	}
	return units
}

// TestSearchAcrossFiles: units of several files are found, those of fewer words first wherever they
// stand, and to search changes no file.
func TestSearchAcrossFiles(t *testing.T) {
	a := smallFiles(reopened(t, createEdited(t, nil)))
	defer a.Close()
	deposit(t, a, folders(append(repeated("dossier", 250), "chêne long titre encore", "chêne")...)...)
	deposit(t, a, folders(append(repeated("dossier", 250), "chêne titre")...)...)
	mustFind(t, a, "dossier", 500)
	deposit(t, a, folders(append(repeated("dossier", 250), "chêne très long titre encore")...)...) // the index follows
	before := searchFiles(t, a)
	mustFind(t, a, "dossier", 750)
	if changed := changedFiles(before, searchFiles(t, a)); !slices.Equal(changed, []string{"00001", "00002"}) {
		t.Errorf("new units changed the files %v", changed)
	}
	before = searchFiles(t, a)
	var titles []string
	for _, u := range mustFind(t, a, "chene", 4) {
		titles = append(titles, u.Title)
	}
	if want := []string{"chêne", "chêne titre", "chêne long titre encore", "chêne très long titre encore"}; !slices.Equal(titles, want) {
		t.Errorf("%q, want %q", titles, want)
	}
	all := mustFind(t, a, "dossier", 750)
	for _, limit := range []int{1, 2, 256, 700} { // the first of them, in one order
		units, err := a.Search("", "dossier", limit)
		if err != nil || len(units) != limit {
			t.Fatal(len(units), err)
		}
		for i, u := range units {
			if u.Unit != all[i].Unit {
				t.Fatalf("limit %d: number %d is another one", limit, i)
			}
		}
	}
	if changed := changedFiles(before, searchFiles(t, a)); len(changed) > 0 || len(before) != 3 {
		t.Errorf("searching changed the files %v of %d", changed, len(before))
	}
}

// TestSearchNothing: there may be no unit, in all or in a file.
func TestSearchNothing(t *testing.T) {
	a := smallFiles(reopened(t, createEdited(t, nil)))
	defer a.Close()
	mustFind(t, a, "dossier", 0)
	d := deposit(t, a, folders(repeated("dossier", 800)...)...)
	mustFind(t, a, "dossier", 800)
	var middle []string
	for _, u := range d.Units[100:700] {
		middle = append(middle, u.ID)
	}
	if err := destroyUnits(t, a, middle...); err != nil {
		t.Fatal(err)
	}
	mustFind(t, a, "dossier", 200)
	if n := len(searchFiles(t, a)); n < 4 {
		t.Errorf("%d files", n)
	}
}

// TestSearchPages: a reader to whom most is closed still has as many as he asks for, from all files.
func TestSearchPages(t *testing.T) {
	a := smallFiles(reopened(t, createEdited(t, nil)))
	defer a.Close()
	d := deposit(t, a, folders(repeated("dossier", 600)...)...)
	open := map[string]bool{}
	for i := 0; i < len(d.Units); i += 50 {
		open[d.Units[i].ID] = true
	}
	for _, limit := range []int{1, 5, len(open), 100} {
		units, err := a.search("", "dossier", limit, func(units []*Unit) ([]*Unit, error) {
			return slices.DeleteFunc(units, func(u *Unit) bool { return !open[u.Unit] }), nil
		})
		if err != nil || len(units) != min(limit, len(open)) {
			t.Errorf("limit %d: %d units, %v", limit, len(units), err)
		}
		if !slices.IsSortedFunc(units, func(x, y *Unit) int { return strings.Compare(x.Unit, y.Unit) }) {
			t.Errorf("limit %d: in no order", limit)
		}
	}
}

// TestDestroyTouchesItsBlock: the block of what was destroyed is made anew, alone; an old copy of the
// file that is put back is not taken.
func TestDestroyTouchesItsBlock(t *testing.T) {
	a := reopened(t, createEdited(t, nil))
	defer a.Close()
	d := deposit(t, a, folders(repeated("dossier", 1000)...)...)
	mustFind(t, a, "dossier", 1000)
	path := filepath.Join(a.dir, searchDir, "00000")
	before, old := mustParse(t, a, path), readFile(t, path)
	if err := destroyUnits(t, a, d.Units[300].ID, d.Units[301].ID); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(readFile(t, path), old) {
		t.Error("destroying wrote the index")
	}
	for range 2 {
		mustFind(t, a, "dossier", 998)
		now := mustParse(t, a, path)
		var changed []int
		for i := range now.Groups {
			if !bytes.Equal(now.Groups[i].Block, before.Groups[i].Block) {
				changed = append(changed, i)
			}
		}
		if !slices.Equal(changed, []int{1}) {
			t.Errorf("blocks %v were made anew", changed)
		}
		mustFsck(t, a)
		writeFileAt(t, path, old)
	}
	mustFind(t, a, "dossier", 998)
}

func mustParse(t *testing.T, a *Archive, path string) *search.File {
	t.Helper()
	f, err := search.Parse(readFile(t, path), vault.Derive(a.indexKey, searchLabel))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestDamagedSearch: a file of which anything is damaged is made anew, alone; an audit names it. An
// old file that is put back is followed up. A damaged mark costs no file.
func TestDamagedSearch(t *testing.T) {
	a := smallFiles(reopened(t, createEdited(t, nil)))
	defer a.Close()
	documents := deposit(t, a, manyUnits(2)...).Units
	d := deposit(t, a, folders(repeated("dossier", 600)...)...)
	mustFind(t, a, "dossier", 600)
	dir := filepath.Join(a.dir, searchDir)
	path := filepath.Join(dir, "00001")
	size := len(readFile(t, path))
	for what, damage := range map[string]func(b []byte) []byte{
		"flipped at the start": func(b []byte) []byte { b[0] ^= 1; return b },
		"ahead":                func(b []byte) []byte { b[13] ^= 1; return b },
		"flipped in its head":  func(b []byte) []byte { b[2700] ^= 1; return b },
		"flipped in a block":   func(b []byte) []byte { b[size-10] ^= 1; return b },
		"cut":                  func(b []byte) []byte { return b[:size/2] },
		"longer":               func(b []byte) []byte { return append(b, 0) },
		"empty":                func(b []byte) []byte { return nil },
	} {
		before := searchFiles(t, a)
		writeFileAt(t, path, damage([]byte(before["00001"])))
		if where, err := a.checkSearch(); err == nil || where != path {
			t.Errorf("%s: %s, %v", what, where, err)
		}
		mustFind(t, a, "dossier", 600)
		if changed := changedFiles(before, searchFiles(t, a)); !slices.Equal(changed, []string{"00001"}) {
			t.Errorf("%s: it changed %v", what, changed)
		}
		if where, err := a.checkSearch(); err != nil {
			t.Errorf("%s: afterwards %s, %v", what, where, err)
		}
	}
	for what, mark := range map[string][]byte{"none": nil, "short": {0}, "flipped": append(readFile(t, filepath.Join(dir, markFile)), 0)} {
		before := searchFiles(t, a)
		if os.Remove(filepath.Join(dir, markFile)); mark != nil {
			writeFileAt(t, filepath.Join(dir, markFile), mark)
		}
		mustFind(t, a, "dossier", 600)
		if changed := changedFiles(before, searchFiles(t, a)); len(changed) > 0 {
			t.Errorf("a mark that is %s changed %v", what, changed)
		}
	}
	before := searchFiles(t, a) // before a conversion, and more units
	convert(t, a, documents[0], "Dissemination", "%PDF-1.4\n")
	deposit(t, a, folders("dossier nouveau")...)
	mustFind(t, a, "copy", 1)
	mustFind(t, a, "nouveau", 1)
	for name, b := range before {
		writeFileAt(t, filepath.Join(dir, name), []byte(b))
	}
	mustFind(t, a, "copy", 1)
	mustFind(t, a, "nouveau", 1)
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // of an earlier program
		t.Fatal(err)
	}
	mustFind(t, a, "dossier", 601)
	if err := destroyUnits(t, a, d.Units[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := a.checkSearch(); err != nil { // not damaged: it is not to be had any more
		t.Error(err)
	}
	mustFind(t, a, "dossier", 600)
}

// TestSearchFindsUnitsAlone: records of transfers are no units, and a tenant's name is no word.
func TestSearchFindsUnitsAlone(t *testing.T) {
	a := newArchive(t, nil)
	deposit(t, a, folders("dossier")...)
	mustFind(t, a, "dossier", 1)
	if units, err := a.Search("", "archives", 10); err != nil || len(units) != 0 {
		t.Errorf("%d units, %v", len(units), err)
	}
	hits, err := searchAll(a, tenantTerm("archives"))
	if err != nil || len(hits) != 1 {
		t.Errorf("%d units of the tenant, %v", len(hits), err)
	}
	if hits, err := searchAll(a, tenantTerm("another")); err != nil || len(hits) != 0 {
		t.Errorf("%d units of another tenant, %v", len(hits), err)
	}
}

func searchAll(a *Archive, terms ...string) ([]hit, error) {
	an, err := search.NewAnalyser()
	if err != nil {
		return nil, err
	}
	return a.searchIndex(an, terms)
}

// TestSearchFaults fails at each step of writing the index, and searches again: all is found.
func TestSearchFaults(t *testing.T) {
	dir := createEdited(t, nil)
	a := smallFiles(reopened(t, dir))
	deposit(t, a, folders(repeated("dossier", 600)...)...)
	a.Close()
	for step := 0; ; step++ {
		os.RemoveAll(filepath.Join(dir, searchDir))
		left, failed := step, false
		a, err := Open(dir, Options{ReadOnly: true, FS: durable.FS{Fault: func(op durable.Op, path string) error {
			if strings.Contains(path, "/"+searchDir+"/") {
				if left--; left == -1 {
					failed = true
					return errors.New("fault")
				}
			}
			return nil
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := smallFiles(a).Search("", "dossier", 10); (err != nil) != failed {
			t.Errorf("step %d: %v", step, err)
		}
		mustFind(t, a, "dossier", 600)
		a.Close()
		if !failed {
			if step < 6 {
				t.Errorf("%d steps are too few to tell", step)
			}
			return
		}
	}
}

// TestSearchIsAScan holds the index against a scan over all units, for random words and limits, while
// units come in, get another version, are destroyed, and the index loses its files.
func TestSearchIsAScan(t *testing.T) {
	t.Parallel() // it takes long
	a := smallFiles(reopened(t, createEdited(t, nil)))
	defer func() { a.Close() }()
	an, err := search.NewAnalyser()
	if err != nil {
		t.Fatal(err)
	}
	vocabulary := strings.Fields("chêne hêtre frêne saule tilleul bouleau érable orme aulne charme cèdre copy txt")
	documents := deposit(t, a, manyUnits(20)...).Units
	var kept map[string]string
	rapid.Check(t, func(rt *rapid.T) {
		switch rapid.SampledFrom([]string{"deposit", "deposit", "deposit", "convert", "destroy", "lose", "unmark", "keep", "restore", "nothing"}).Draw(rt, "step") {
		case "deposit":
			var titles []string
			for range rapid.IntRange(1, 60).Draw(rt, "units") {
				titles = append(titles, strings.Join(rapid.SliceOfN(rapid.SampledFrom(vocabulary[:11]), 1, 5).Draw(rt, "title"), " "))
			}
			deposit(t, a, folders(titles...)...)
		case "convert":
			if i := rapid.IntRange(0, 19).Draw(rt, "document"); documents[i].ID != "" {
				convert(t, a, documents[i], "Dissemination", fmt.Sprint("%PDF-1.4\n", rapid.Int().Draw(rt, "content")))
				documents[i].ID = "" // once
			}
		case "destroy":
			units := mustFind(t, a, "hetre", len(scan(t, a, an, "hêtre")))
			if len(units) == 0 {
				return
			}
			if err := destroyUnits(t, a, units[rapid.IntRange(0, len(units)-1).Draw(rt, "unit")].Unit); err != nil {
				rt.Fatal(err)
			}
		case "lose":
			os.Remove(filepath.Join(a.dir, searchDir, fmt.Sprintf("%05d", rapid.IntRange(0, 3).Draw(rt, "file"))))
		case "keep":
			kept = searchFiles(t, a)
		case "restore": // an old copy is put back
			for name, b := range kept {
				writeFileAt(t, filepath.Join(a.dir, searchDir, name), []byte(b))
			}
		case "unmark":
			os.Remove(filepath.Join(a.dir, searchDir, markFile))
		}
		words := strings.Join(rapid.SliceOfN(rapid.SampledFrom(vocabulary), 1, 3).Draw(rt, "words"), " ")
		limit := rapid.IntRange(1, 200).Draw(rt, "limit")
		units, err := a.Search("", words, limit)
		if err != nil {
			rt.Fatal(err)
		}
		var got []string
		for _, u := range units {
			got = append(got, u.Unit)
		}
		want := scan(t, a, an, words)
		if want = want[:min(limit, len(want))]; !slices.Equal(got, want) {
			rt.Fatalf("%q: %d units, a scan finds %d, or in another order", words, len(got), len(want))
		}
	})
	if files := searchFiles(t, a); len(files) < 3 {
		t.Errorf("%d files are too few to tell", len(files))
	}
}

// scan reads all units for those that hold all words, in the order of Search.
func scan(t *testing.T, a *Archive, an *search.Analyser, words string) (ids []string) {
	t.Helper()
	count := map[string]int{}
	for f := (Filter{Limit: 1000}); ; {
		page, err := a.List(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range page.Units {
			terms := an.Terms(searchText(&u.Description))
			if !slices.ContainsFunc(an.Terms(words), func(w string) bool { return !slices.Contains(terms, w) }) {
				count[u.Unit] = len(terms)
				ids = append(ids, u.Unit)
			}
		}
		if page.Next == "" {
			break
		}
		f.After = page.Next
	}
	slices.SortFunc(ids, func(x, y string) int {
		if count[x] != count[y] {
			return count[x] - count[y]
		}
		return strings.Compare(x, y)
	})
	return ids
}
