package archive

import (
	"crypto/aes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"

	"sae/archive/vault"
)

// TestOldCopyConfirmsNoGuess: who has a copy of everything from before something was destroyed, and
// all keys of today, cannot ask it whether a subject or a word that he guesses was in it.
func TestOldCopyConfirmsNoGuess(t *testing.T) {
	dir := createEdited(t, nil)
	a := reopened(t, dir)
	defer func() { a.Close() }()
	units := manyUnits(300) // more than one group
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
	a = reopened(t, dir)
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
		a = reopened(t, dir)
	}
}

// guessed asks the catalogue and the search index of a copy for a subject, with all keys that an
// archive can open: in itself, and in the copy.
// Words tells whether anything can be read of the block of the first units.
func guessed(t *testing.T, a *Archive, before, subject string) (rows, words int) {
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
	for group, terms := range wordsIn(t, a, before, old) {
		if group == 0 && !slices.Contains(terms, "oth") { // of a subject that the living have
			t.Errorf("the block of group 0 has other terms: %q", terms)
		}
		words = max(words, 1-int(group))
	}
	return rows, words
}

// wordsIn are, by group, the terms of the blocks of an old index that open with any key that an
// archive can open: in itself, and in the copy.
func wordsIn(t *testing.T, a *Archive, before string, old *catalogue) map[uint64][]string {
	t.Helper()
	terms := map[uint64][]string{}
	f := mustParse(t, a, filepath.Join(before, searchDir, "00000"))
	for i, g := range f.Groups {
		for _, store := range []*catalogue{old, a.cat} {
			if err := store.view(func(t *tx) error {
				key, err := a.vault.Group(keyStore{t}, uint64(i))
				if err != nil {
					return nil
				}
				block, err := vault.Open(vault.Derive(key, searchLabel), blockAD(uint64(i), g.Units), g.Block)
				if err == nil {
					terms[uint64(i)] = append(terms[uint64(i)], strings.FieldsFunc(string(block), func(r rune) bool { return !unicode.IsLetter(r) })...)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return terms
}
