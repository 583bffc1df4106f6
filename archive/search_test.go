package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// smallShards lets an archive search in shards of 256 data keys.
func smallShards(a *Archive) *Archive {
	a.shardLevel = 1
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

// shardFiles are the files of each shard: their bytes, and which they are.
func shardFiles(t *testing.T, a *Archive) map[string]map[string]shardBytes {
	t.Helper()
	out := map[string]map[string]shardBytes{}
	dir := filepath.Join(a.dir, searchDir)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Dir(path) == dir {
			return err
		}
		shard, name, _ := strings.Cut(strings.TrimPrefix(path, dir+"/"), "/")
		if out[shard] == nil {
			out[shard] = map[string]shardBytes{}
		}
		info, err := d.Info()
		out[shard][name] = shardBytes{readFile(t, path), info}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type shardBytes struct {
	bytes []byte
	info  fs.FileInfo
}

// changedShards are the shards of which something is another file now, or other bytes.
func changedShards(before, now map[string]map[string]shardBytes) (changed []string) {
	for shard, files := range now {
		same := len(files) == len(before[shard])
		for name, f := range files {
			old, ok := before[shard][name]
			same = same && ok && bytes.Equal(old.bytes, f.bytes) && os.SameFile(old.info, f.info) && old.info.ModTime().Equal(f.info.ModTime())
		}
		if !same {
			changed = append(changed, shard)
		}
	}
	for shard := range before {
		if now[shard] == nil {
			changed = append(changed, shard)
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

// TestSearchAcrossShards: units of several shards are found, those of fewer words first wherever they
// stand, and to search changes no file.
func TestSearchAcrossShards(t *testing.T) {
	a := smallShards(reopened(t, createEdited(t, nil)))
	defer a.Close()
	deposit(t, a, folders(append(repeated("dossier", 250), "chêne long titre encore", "chêne")...)...)
	deposit(t, a, folders(append(repeated("dossier", 250), "chêne titre")...)...)
	mustFind(t, a, "dossier", 500)
	deposit(t, a, folders(append(repeated("dossier", 250), "chêne très long titre encore")...)...) // the index follows
	before := shardFiles(t, a)
	mustFind(t, a, "dossier", 750)
	if changed := changedShards(before, shardFiles(t, a)); !slices.Equal(changed, []string{"00001", "00002"}) {
		t.Errorf("new units changed the shards %v", changed)
	}
	before = shardFiles(t, a)
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
	if changed := changedShards(before, shardFiles(t, a)); len(changed) > 0 || len(before) != 3 {
		t.Errorf("searching changed the shards %v of %d", changed, len(before))
	}
}

// TestSearchNothing: there may be no unit, in all or in a shard.
func TestSearchNothing(t *testing.T) {
	a := smallShards(reopened(t, createEdited(t, nil)))
	defer a.Close()
	mustFind(t, a, "dossier", 0)
	d := deposit(t, a, folders(repeated("dossier", 800)...)...)
	mustFind(t, a, "dossier", 800)
	var middle []string
	for _, u := range d.Units[100:700] {
		middle = append(middle, u.ID)
	}
	if err := errors.Join(destroyUnits(t, a, middle...), a.purgeSearch()); err != nil {
		t.Fatal(err)
	}
	mustFind(t, a, "dossier", 200)
	if n := len(shardFiles(t, a)); n < 4 {
		t.Errorf("%d shards", n)
	}
}

// TestSearchPages: a reader to whom most is closed still has as many as he asks for, from all shards.
func TestSearchPages(t *testing.T) {
	a := smallShards(reopened(t, createEdited(t, nil)))
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

// TestDestroyTouchesItsShard: the shard of what was destroyed is thrown away and made anew, alone.
func TestDestroyTouchesItsShard(t *testing.T) {
	a := smallShards(reopened(t, createEdited(t, nil)))
	defer a.Close()
	d := deposit(t, a, folders(repeated("dossier", 1000)...)...)
	mustFind(t, a, "dossier", 1000)
	before := shardFiles(t, a)
	if err := destroyUnits(t, a, d.Units[300].ID, d.Units[301].ID); err != nil {
		t.Fatal(err)
	}
	if changed := changedShards(before, shardFiles(t, a)); len(changed) > 0 {
		t.Errorf("before the purge %v changed", changed)
	}
	if err := a.purgeSearch(); err != nil {
		t.Fatal(err)
	}
	now := shardFiles(t, a)
	if changed := changedShards(before, now); !slices.Equal(changed, []string{"00001"}) || now["00001"] != nil {
		t.Errorf("the purge changed %v", changed)
	}
	mustFind(t, a, "dossier", 998)
	if changed := changedShards(before, shardFiles(t, a)); !slices.Equal(changed, []string{"00001"}) {
		t.Errorf("the search changed %v", changed)
	}
	mustFsck(t, a)
	writeFileAt(t, filepath.Join(a.dir, searchDir, "00001", sumsFile), before["00001"][sumsFile].bytes)
	for name, f := range before["00001"] { // an old copy that is put back is not taken
		writeFileAt(t, filepath.Join(a.dir, searchDir, "00001", name), f.bytes)
	}
	mustFind(t, a, "dossier", 998)
	if bytes.Equal(readFile(t, filepath.Join(a.dir, searchDir, "00001", sumsFile)), before["00001"][sumsFile].bytes) {
		t.Error("a shard from before was taken again")
	}
}

// TestDestroyWithoutPurge: a process that ends between the transaction and the purge leaves it to the
// next opening; so does one that could not know whether the transaction took place.
func TestDestroyWithoutPurge(t *testing.T) {
	for _, step := range []string{"", "commit", "committed"} {
		dir := createEdited(t, nil)
		a := smallShards(reopened(t, dir))
		d := deposit(t, a, folders(repeated("dossier", 600)...)...)
		mustFind(t, a, "dossier", 600)
		before := shardFiles(t, a)
		a.cat.fault = func(at string) error {
			if at == step {
				return errors.New("fault")
			}
			return nil
		}
		if err := destroyUnits(t, a, d.Units[599].ID); (err != nil) != (step != "") {
			t.Fatal(step, err)
		}
		a.cat.fault = nil
		a.Close()
		a = smallShards(reopened(t, dir))
		want, left := []string{"00002"}, 599
		if step == "commit" {
			want, left = nil, 600
		}
		now := shardFiles(t, a)
		if changed := changedShards(before, now); !slices.Equal(changed, want) || left < 600 && now["00002"] != nil {
			t.Errorf("%s: opening changed %v, want %v", step, changed, want)
		}
		mustFind(t, a, "dossier", left)
		if changed := changedShards(before, shardFiles(t, a)); !slices.Equal(changed, want) {
			t.Errorf("%s: the search changed %v, want %v", step, changed, want)
		}
		before = shardFiles(t, a)
		a.Close()
		a = reopened(t, dir)
		if changed := changedShards(before, shardFiles(t, a)); len(changed) > 0 {
			t.Errorf("%s: opening again changed %v", step, changed)
		}
		a.Close()
	}
}

// TestDamagedShard: a shard of which any file is damaged, missing or one too many is made anew, alone;
// an audit names it. A damaged mark costs no shard.
func TestDamagedShard(t *testing.T) {
	a := smallShards(reopened(t, createEdited(t, nil)))
	defer a.Close()
	deposit(t, a, folders(repeated("dossier", 600)...)...)
	mustFind(t, a, "dossier", 600)
	dir := filepath.Join(a.dir, searchDir)
	for name := range shardFiles(t, a)["00001"] {
		path := filepath.Join(dir, "00001", name)
		for what, damage := range map[string]func(){
			"flipped": func() { b := readFile(t, path); b[len(b)/2] ^= 1; writeFileAt(t, path, b) },
			"missing": func() { os.Remove(path) },
			"another": func() { writeFileAt(t, filepath.Join(dir, "00001", "more"), nil) },
		} {
			if _, err := os.Stat(path); err != nil {
				continue // made anew under another name
			}
			before := shardFiles(t, a)
			damage()
			if where, err := a.checkSearch(); err == nil || filepath.Base(where) != "00001" {
				t.Errorf("%s %s: %s, %v", name, what, where, err)
			}
			mustFind(t, a, "dossier", 600)
			if changed := changedShards(before, shardFiles(t, a)); !slices.Equal(changed, []string{"00001"}) {
				t.Errorf("%s %s: it changed %v", name, what, changed)
			}
		}
	}
	before := shardFiles(t, a)
	for what, mark := range map[string][]byte{"none": nil, "short": {0}, "flipped": append(be64(5), 0, 0, 0, 0), "of a later catalogue": markBytes(1 << 40)} {
		if os.Remove(filepath.Join(dir, markFile)); mark != nil {
			writeFileAt(t, filepath.Join(dir, markFile), mark)
		}
		mustFind(t, a, "dossier", 600)
		if changed := changedShards(before, shardFiles(t, a)); len(changed) > 0 {
			t.Errorf("a mark that is %s changed %v", what, changed)
		}
	}
}

// TestSearchIsAScan holds the index against a scan over all units, for random words and limits, while
// units come in, get another version, are destroyed, and the index loses its files.
func TestSearchIsAScan(t *testing.T) {
	a := smallShards(reopened(t, createEdited(t, nil)))
	defer func() { a.Close() }()
	an, err := newAnalyser()
	if err != nil {
		t.Fatal(err)
	}
	vocabulary := strings.Fields("chêne hêtre frêne saule tilleul bouleau érable orme aulne charme cèdre copy txt")
	documents := deposit(t, a, manyUnits(20)...).Units
	rapid.Check(t, func(rt *rapid.T) {
		switch rapid.SampledFrom([]string{"deposit", "deposit", "deposit", "convert", "destroy", "lose", "unmark", "nothing"}).Draw(rt, "step") {
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
			if rapid.Bool().Draw(rt, "purge") {
				if err := a.purgeSearch(); err != nil {
					rt.Fatal(err)
				}
			}
		case "lose":
			os.RemoveAll(shardDir(filepath.Join(a.dir, searchDir), uint64(rapid.IntRange(0, 3).Draw(rt, "shard"))))
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
	if shards := shardFiles(t, a); len(shards) < 3 {
		t.Errorf("%d shards are too few to tell", len(shards))
	}
}

// scan reads all units for those that hold all words, in the order of Search.
func scan(t *testing.T, a *Archive, an *analyser, words string) (ids []string) {
	t.Helper()
	count := map[string]int{}
	for f := (Filter{Limit: 1000}); ; {
		page, err := a.List(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range page.Units {
			terms := an.terms(searchText(&u.Description))
			if !slices.ContainsFunc(an.terms(words), func(w string) bool { return !slices.Contains(terms, w) }) {
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
