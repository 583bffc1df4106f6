package ers_test

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sae/integrity/ers"
)

// treeStore keeps the tiles of a tree as an archive would: the leaves, and what
// Build emitted.
type treeStore struct {
	size   int
	leaves []byte
	tiles  map[string][]byte
}

func (s *treeStore) read(level int, index int64) ([]byte, error) {
	if level == 0 {
		from := int(index) * 256 * s.size
		return s.leaves[from:min(from+256*s.size, len(s.leaves))], nil
	}
	tile, ok := s.tiles[fmt.Sprint(level, "/", index)]
	if !ok {
		return nil, errors.New("no such tile")
	}
	return tile, nil
}

func buildTree(t testing.TB, h crypto.Hash, leaves [][]byte) ([]byte, *treeStore) {
	s := &treeStore{size: h.Size(), leaves: slices.Concat(leaves...), tiles: map[string][]byte{}}
	root, err := ers.Build(h, int64(len(leaves)),
		func(i int64) ([]byte, error) { return leaves[i], nil },
		func(level int, index int64, hashes []byte) error {
			s.tiles[fmt.Sprint(level, "/", index)] = hashes
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return root, s
}

// slowRoot is the tree's definition, level by level.
func slowRoot(h crypto.Hash, nodes [][]byte) []byte {
	for len(nodes) > 1 {
		var above [][]byte
		for pair := range slices.Chunk(nodes, 2) {
			if len(pair) == 1 {
				above = append(above, pair[0])
				continue
			}
			a, b := pair[0], pair[1]
			if bytes.Compare(a, b) > 0 {
				a, b = b, a
			}
			above = append(above, digestOf(h, slices.Concat(a, b)))
		}
		nodes = above
	}
	return nodes[0]
}

func TestBuildGivesTheDefinedRoot(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 8, 255, 256, 257, 511, 512, 513, 1000, 65535, 65536, 65537, 65793} {
		leaves := inventedLeaves(crypto.SHA256, n)
		root, store := buildTree(t, crypto.SHA256, leaves)
		if want := slowRoot(crypto.SHA256, leaves); !bytes.Equal(root, want) {
			t.Errorf("root of %d leaves is %x, want %x", n, root, want)
		}
		for _, i := range []int{0, n / 2, n - 1} {
			checkPath(t, crypto.SHA256, root, store, leaves[i:i+1], n, i)
		}
	}
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func checkPath(t fataler, h crypto.Hash, root []byte, store *treeStore, members [][]byte, n, i int) {
	t.Helper()
	siblings, err := ers.Path(h, int64(n), int64(i), store.read)
	if err != nil {
		t.Fatalf("path of leaf %d of %d: %v", i, n, err)
	}
	tree := ers.Reduced(members, siblings)
	if tree == nil {
		tree = [][][]byte{members}
	}
	if got := ers.Root(h, tree); !bytes.Equal(got, root) {
		t.Fatalf("leaf %d of %d leads to %x, want %x", i, n, got, root)
	}
}

// TestBuildTiles pins where tiles are: none for the leaves, none for the root.
func TestBuildTiles(t *testing.T) {
	for n, want := range map[int]map[string]int{
		1: {}, 255: {}, 256: {}, 257: {"1/0": 2}, 65536: {"1/0": 256},
		65537: {"1/0": 256, "1/1": 1, "2/0": 2},
	} {
		_, store := buildTree(t, crypto.SHA256, inventedLeaves(crypto.SHA256, n))
		got := map[string]int{}
		for name, tile := range store.tiles {
			got[name] = len(tile) / 32
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%d leaves: tiles %v, want %v", n, got, want)
		}
	}
}

func TestPathLeadsToRoot(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := rapid.SampledFrom([]crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA3_256}).Draw(t, "hash")
		n := rapid.OneOf(rapid.IntRange(1, 20), rapid.IntRange(1, 1500)).Draw(t, "n")
		i := rapid.IntRange(0, n-1).Draw(t, "i")
		members := inventedLeaves(h, 5000)[4990 : 4990+rapid.IntRange(1, 4).Draw(t, "members")]
		leaves := inventedLeaves(h, n)
		leaves[i] = ers.GroupHash(h, members...)
		store := &treeStore{size: h.Size(), leaves: slices.Concat(leaves...), tiles: map[string][]byte{}}
		root, err := ers.Build(h, int64(n), func(i int64) ([]byte, error) { return leaves[i], nil },
			func(level int, index int64, hashes []byte) error {
				store.tiles[fmt.Sprint(level, "/", index)] = hashes
				return nil
			})
		if err != nil {
			t.Fatalf("building: %v", err)
		}
		checkPath(t, h, root, store, members, n, i)
	})
}

// TestChangeBreaksRoot: a changed bit anywhere in the reduced tree, a list left
// out, doubled or out of order, all lead elsewhere.
func TestChangeBreaksRoot(t *testing.T) {
	const h = crypto.SHA256
	rapid.Check(t, func(t *rapid.T) {
		members := inventedLeaves(h, 3)[:rapid.IntRange(1, 3).Draw(t, "members")]
		siblings := inventedLeaves(h, 12)[3 : 3+rapid.IntRange(2, 9).Draw(t, "siblings")]
		tree := ers.Reduced(members, siblings)
		root := ers.Root(h, tree)
		i := rapid.IntRange(0, len(tree)-1).Draw(t, "list")
		switch rapid.SampledFrom([]string{"bit", "drop", "double", "swap"}).Draw(t, "change") {
		case "bit":
			k := rapid.IntRange(0, len(tree[i])-1).Draw(t, "hash")
			changed := bytes.Clone(tree[i][k])
			changed[rapid.IntRange(0, 31).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			tree[i] = slices.Clone(tree[i])
			tree[i][k] = changed
		case "drop":
			tree = slices.Delete(tree, i, i+1)
		case "double":
			tree = slices.Insert(tree, i, tree[i])
		case "swap":
			// The first two lists of single hashes make one sorted pair: only
			// there may the order change without effect.
			k := rapid.IntRange(1, len(tree)-2).Draw(t, "with next")
			tree[k], tree[k+1] = tree[k+1], tree[k]
		}
		if bytes.Equal(ers.Root(h, tree), root) {
			t.Fatalf("the root is unchanged")
		}
	})
}

func TestBuildAndPathRefuse(t *testing.T) {
	const h = crypto.SHA256
	leaf := func(int64) ([]byte, error) { return make([]byte, 32), nil }
	fail := errors.New("disk")
	build := func(h crypto.Hash, n int64, leaf func(int64) ([]byte, error)) error {
		_, err := ers.Build(h, n, leaf, func(int, int64, []byte) error { return fail })
		return err
	}
	path := func(n, i int64, tile []byte) error {
		_, err := ers.Path(h, n, i, func(int, int64) ([]byte, error) { return tile, nil })
		return err
	}
	for name, err := range map[string]error{
		"no leaf":         build(h, 0, leaf),
		"negative":        build(h, -1, leaf),
		"too many":        build(h, ers.MaxLeaves+1, leaf),
		"weak hash":       build(crypto.SHA1, 1, leaf),
		"short leaf":      build(h, 1, func(int64) ([]byte, error) { return make([]byte, 31), nil }),
		"failing leaf":    build(h, 1, func(int64) ([]byte, error) { return nil, fail }),
		"failing tile":    build(h, 257, leaf),
		"leaf after last": path(3, 3, make([]byte, 96)),
		"leaf before 0":   path(3, -1, make([]byte, 96)),
		"short tile":      path(3, 0, make([]byte, 95)),
		"long tile":       path(3, 0, make([]byte, 128)),
		"no tile":         path(3, 0, nil),
	} {
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestGroupHash(t *testing.T) {
	const h = crypto.SHA256
	a, b := digestOf(h, []byte("a")), digestOf(h, []byte("b")) // a > b
	if got := ers.GroupHash(h, a, b); !bytes.Equal(got, digestOf(h, slices.Concat(b, a))) {
		t.Errorf("two digests are not sorted, concatenated and hashed: %x", got)
	}
	if got := ers.GroupHash(h, a); !bytes.Equal(got, a) {
		t.Errorf("one digest is not carried as it is: %x", got)
	}
	if got := ers.GroupHash(h); got != nil {
		t.Errorf("no digest gives %x", got)
	}
}

func BenchmarkBuildMillion(b *testing.B) {
	leaf := make([]byte, 32)
	for b.Loop() {
		if _, err := ers.Build(crypto.SHA256, 1_000_000, func(i int64) ([]byte, error) {
			leaf[0], leaf[1], leaf[2] = byte(i), byte(i>>8), byte(i>>16)
			return leaf, nil
		}, func(int, int64, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
