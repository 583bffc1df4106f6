package archive

import (
	"crypto/aes"
	"os"
	"path/filepath"
	"testing"

	"github.com/blevesearch/bleve/v2"
)

// TestOldCopyConfirmsNoGuess: who has a copy of everything from before something was destroyed, and
// all keys of today, cannot ask it whether a subject or a word that he guesses was in it.
func TestOldCopyConfirmsNoGuess(t *testing.T) {
	dir := createEdited(t, nil)
	a := smallShards(reopened(t, dir))
	defer func() { a.Close() }()
	units := manyUnits(300) // more than one group, and one shard
	for i := range units {
		units[i].Subject = "other"
	}
	units[7].Title, units[7].Subject = planted, planted
	d := deposit(t, a, units...)
	subjects := func(want int, subject string) {
		t.Helper()
		if page, err := a.List(Filter{Subject: subject, Limit: 1000}); err != nil || len(page.Units) != want {
			t.Errorf("%d units of subject %s, %v", len(page.Units), subject, err)
		}
		if found, err := a.Search("", subject, 1000); err != nil || len(found) != want {
			t.Errorf("%d units have the word %s, %v", len(found), subject, err)
		}
	}
	subjects(1, planted)
	subjects(len(units)-1, "other")
	a.Close()
	before := filepath.Join(t.TempDir(), "before")
	if err := os.CopyFS(before, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	a = smallShards(reopened(t, dir))
	if rows, words := guessed(t, a, before, planted); rows != 1 || words != 1 {
		t.Fatalf("before: %d rows, %d documents", rows, words)
	}
	if err := destroyUnits(t, a, d.Units[7].ID); err != nil {
		t.Fatal(err)
	}
	for range 2 { // as it stands, and opened again
		if rows, words := guessed(t, a, before, planted); rows != 0 || words != 0 {
			t.Errorf("a guess is confirmed by %d rows, %d documents", rows, words)
		}
		subjects(0, planted)
		subjects(len(units)-1, "other")
		mustFsck(t, a)
		a.Close()
		a = smallShards(reopened(t, dir))
	}
}

// guessed asks the catalogue and the search index of a copy for a subject, with all keys that an
// archive can open: in itself, and in the copy.
func guessed(t *testing.T, a *Archive, before, subject string) (rows int, words uint64) {
	t.Helper()
	old, err := openCatalogue(filepath.Join(before, catalogueFile), true)
	if err != nil {
		t.Fatal(err)
	}
	defer old.close()
	hash := a.namedHash(idxSubject, a.config.Tenants[0].ID, subject)
	for _, store := range []*catalogue{old, a.cat} {
		for group := range uint64(4) {
			var key [32]byte
			if store.view(func(t *tx) (err error) { key, err = a.vault.Group(keyStore{t}, group); return err }) != nil {
				continue
			}
			b, err := aes.NewCipher(key[:])
			if err != nil {
				t.Fatal(err)
			}
			prefix := append(groupPrefix(idxSubject, group), hash...)
			b.Encrypt(prefix[1+groupSize:], prefix[1+groupSize:])
			found := 0
			if err := old.view(func(t *tx) error {
				return t.scan(bktNamed, prefix, prefixEnd(prefix), func(_, _ []byte) (bool, error) { found++; return true, nil })
			}); err != nil {
				t.Fatal(err)
			}
			rows = max(rows, found)
		}
	}
	an, err := newAnalyser()
	if err != nil {
		t.Fatal(err)
	}
	shards, err := filepath.Glob(filepath.Join(before, searchDir, "*", indexDir))
	if err != nil || len(shards) < 2 {
		t.Fatalf("%d shards in the copy, %v", len(shards), err)
	}
	keys := [][32]byte{a.indexKey}
	for _, store := range []*catalogue{old, a.cat} {
		for n := range uint64(len(shards)) {
			var key [32]byte
			if store.view(func(t *tx) (err error) { key, err = a.vault.Range(keyStore{t}, a.shardLevel, n); return err }) == nil {
				keys = append(keys, key)
			}
		}
	}
	for _, shard := range shards {
		index, err := bleve.Open(shard)
		if err != nil {
			t.Fatal(err)
		}
		found := uint64(0)
		for _, key := range keys {
			hits, err := queryIndex(index, hashed(key, a.config.Tenants[0].ID, an.terms(subject)), 10)
			if err != nil {
				t.Fatal(err)
			}
			found = max(found, uint64(len(hits)))
		}
		words += found
		index.Close()
	}
	return rows, words
}
