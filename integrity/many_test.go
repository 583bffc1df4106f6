package integrity

import (
	"fmt"
	"slices"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"
)

// TestMany proves random leaves of random trees, against the root that tlog computes; a proof
// with anything changed gives another root or none.
func TestMany(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 200).Draw(t, "n")
		var tree ItemTree
		for i := range n {
			tree.Add(fmt.Append(nil, i))
		}
		numbers := rapid.SliceOfDistinct(rapid.Int64Range(0, n-1), rapid.ID).Draw(t, "leaves")
		slices.Sort(numbers)
		proof, err := tree.ProveMany(numbers)
		if err != nil {
			t.Fatal(err)
		}
		var leaves []Leaf
		for _, i := range numbers {
			leaves = append(leaves, Leaf{i, tlog.RecordHash(fmt.Append(nil, i))})
		}
		root, err := RootOfMany(n, leaves, proof, CombineRecords)
		if err != nil || root != tree.Items().Root {
			t.Fatal("another root", err)
		}
		wrong := func(what string, n int64, leaves []Leaf, proof []Hash) {
			if root, err := RootOfMany(n, leaves, proof, CombineRecords); err == nil && root == tree.Items().Root {
				t.Fatal(what, "gives the same root")
			}
		}
		wrong("a hash more", n, leaves, append(slices.Clone(proof), Hash{}))
		if len(proof) > 0 {
			i := rapid.IntRange(0, len(proof)-1).Draw(t, "hash")
			wrong("a hash less", n, leaves, proof[1:])
			other := slices.Clone(proof)
			other[i][3] ^= 1
			wrong("another hash", n, leaves, other)
		}
		if len(leaves) > 0 {
			i := rapid.IntRange(0, len(leaves)-1).Draw(t, "leaf")
			other := slices.Clone(leaves)
			other[i].Hash[0] ^= 1
			wrong("another leaf", n, other, proof)
			other = slices.Clone(leaves)
			other[i].Number = n
			wrong("a leaf outside", n, other, proof)
			wrong("a leaf less", n, slices.Delete(slices.Clone(leaves), i, i+1), proof)
		}
	})
}

func TestManyRefuses(t *testing.T) {
	leaf := []Leaf{{0, Hash{}}}
	for _, n := range []int64{-1, 0, maxTree + 1, 1<<63 - 1} {
		if _, err := RootOfMany(n, leaf, nil, CombineRecords); err == nil {
			t.Error("a tree of", n)
		}
	}
	if _, err := RootOfMany(4, []Leaf{{1, Hash{}}, {1, Hash{}}}, nil, CombineRecords); err == nil {
		t.Error("a leaf twice")
	}
	if _, err := RootOfMany(1<<61+1, leaf, nil, CombineRecords); err == nil {
		t.Error("a huge tree without proof")
	}
}
