package integrity_test

import (
	"fmt"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"sae/integrity"
)

// log is a ledger in memory, kept by tlog alone.
type log struct {
	entries [][]byte
	hashes  []tlog.Hash
}

func (l *log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, l.hashes[i])
	}
	return out, nil
}

func (l *log) add(t fataler, entry []byte) {
	hashes, err := tlog.StoredHashes(int64(len(l.entries)), entry, l)
	if err != nil {
		t.Fatal(err)
	}
	l.hashes, l.entries = append(l.hashes, hashes...), append(l.entries, entry)
}

// fataler is a test, or a run of a property.
type fataler interface{ Fatal(args ...any) }

func (l *log) root(t fataler, n int64) integrity.Hash {
	h, err := tlog.TreeHash(n, l)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func logOf(t fataler, n int) *log {
	var l log
	for i := range n {
		l.add(t, fmt.Appendf(nil, "entry %d", i))
	}
	return &l
}

// TestRecomputeIsTreeHash, after every entry.
func TestRecomputeIsTreeHash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l log
		var r integrity.Recompute
		if r.Root() != l.root(t, 0) {
			t.Fatal("empty ledgers differ")
		}
		for i, entry := range rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 0, 70).Draw(t, "entries") {
			l.add(t, entry)
			r.Add(entry)
			if want := l.root(t, int64(i+1)); r.Root() != want {
				t.Fatalf("after %d entries: %s, want %s", i+1, r.Root(), want)
			}
		}
	})
}

// TestItemTree: every item is proved, and nothing else.
func TestItemTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tree integrity.ItemTree
		l := logOf(t, rapid.IntRange(1, 70).Draw(t, "items"))
		for _, item := range l.entries {
			tree.Add(item)
		}
		items, n := tree.Items(), int64(len(l.entries))
		if items.Count != n || items.Root != l.root(t, n) {
			t.Fatalf("%+v, want %d and %s", items, n, l.root(t, n))
		}
		i := rapid.Int64Range(0, n-1).Draw(t, "i")
		proof, err := tree.Prove(i)
		if err != nil {
			t.Fatal(err)
		}
		if err := integrity.CheckItem(items, i, l.entries[i], proof); err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{
			"another item":   integrity.CheckItem(items, i, []byte("another"), proof),
			"another number": integrity.CheckItem(items, (i+1)%(n+1), l.entries[i], proof),
			"below zero":     integrity.CheckItem(items, -1, l.entries[i], proof),
			"no items":       integrity.CheckItem(nil, i, l.entries[i], proof),
			"one more":       integrity.CheckItem(items, i, l.entries[i], append(slices.Clone(proof), integrity.Hash{})),
			"another root":   integrity.CheckItem(&integrity.Items{Count: n, Root: integrity.Hash{}}, i, l.entries[i], proof),
		} {
			if err == nil {
				t.Errorf("%s: proved", what)
			}
		}
		if len(proof) > 0 && integrity.CheckItem(items, i, l.entries[i], proof[1:]) == nil {
			t.Error("proved with a shorter proof")
		}
	})
}

func TestItemTreeBounds(t *testing.T) {
	var tree integrity.ItemTree
	if items := tree.Items(); items.Count != 0 {
		t.Errorf("%+v", items)
	}
	for _, i := range []int64{-1, 0, 1} {
		if _, err := tree.Prove(i); err == nil {
			t.Errorf("item %d of none was proved", i)
		}
	}
}

// TestHugeTreesEnd: counts at the edge of int64 are refused, not searched forever.
func TestHugeTreesEnd(t *testing.T) {
	for _, n := range []int64{1 << 62, 1<<62 + 1, 1<<63 - 1} {
		if integrity.CheckItem(&integrity.Items{Count: n}, 0, nil, nil) == nil {
			t.Errorf("an item of %d was proved by nothing", n)
		}
		cp := integrity.Checkpoint{Size: n}
		if integrity.CheckInclusion(cp, 0, nil, nil) == nil {
			t.Errorf("an entry of %d was proved by nothing", n)
		}
		if integrity.CheckConsistency(integrity.Checkpoint{Size: 1}, cp, nil) == nil {
			t.Errorf("a ledger of %d was proved by nothing", n)
		}
	}
}
