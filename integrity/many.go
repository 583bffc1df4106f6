package integrity

import (
	"errors"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"
)

// A proof of many leaves of one tree at once. The tree has the shape of RFC 6962 section 2.1,
// which is that of any tree whose nodes are paired level by level with the last one carried up:
// the trees of ledger, items and evidence records alike. Split it from the root down, at the
// largest power of two below its size. A part in which no leaf is known, and whose size is a
// power of two, is one hash of the proof; the hashes stand from left to right. Every other part
// is split further, down to the known leaves.

// Leaf is a known leaf of a tree: its number, and its hash as it stands in the tree.
type Leaf struct {
	Number int64
	Hash   Hash
}

// ProveMany gives the proof of leaves, numbers in ascending order, of a tree of n. node gives
// the root of the part of 2^level leaves from number index·2^level.
func ProveMany(n int64, leaves []int64, node func(level int, index int64) (Hash, error)) (proof []Hash, err error) {
	err = walkMany(n, len(leaves), func(i int) int64 { return leaves[i] }, func(level int, index int64) error {
		h, err := node(level, index)
		proof = append(proof, h)
		return err
	}, func(int) error { return nil }, func() {})
	return proof, err
}

// RootOfMany computes the root of a tree of n from known leaves, in the ascending order of
// their numbers, and their proof; combine makes a node of two.
func RootOfMany(n int64, leaves []Leaf, proof []Hash, combine func(l, r Hash) Hash) (root Hash, err error) {
	var stack []Hash
	used := 0
	err = walkMany(n, len(leaves), func(i int) int64 { return leaves[i].Number }, func(int, int64) error {
		if used == len(proof) {
			return errors.New("the proof is too short")
		}
		stack = append(stack, proof[used])
		used++
		return nil
	}, func(i int) error {
		stack = append(stack, leaves[i].Hash)
		return nil
	}, func() {
		last := len(stack) - 1
		stack[last-1] = combine(stack[last-1], stack[last])
		stack = stack[:last]
	})
	if err == nil && used != len(proof) {
		err = errors.New("the proof is too long")
	}
	if err != nil {
		return root, fmt.Errorf("proof of %d leaves of %d: %w", len(leaves), n, err)
	}
	return stack[0], nil
}

// CombineRecords makes a node of a ledger or of items (RFC 6962 section 2.1).
func CombineRecords(l, r Hash) Hash { return tlog.NodeHash(l, r) }

// walkMany goes through a tree of n from left to right: unknown for each part that is one hash,
// known for each of the m leaves, and join behind the two parts of a split.
func walkMany(n int64, m int, number func(int) int64, unknown func(level int, index int64) error, known func(i int) error, join func()) error {
	if n < 1 || n > maxTree {
		return fmt.Errorf("a tree of %d leaves", n)
	}
	for i := range m {
		if x := number(i); x < 0 || x >= n || i > 0 && x <= number(i-1) {
			return fmt.Errorf("leaf %d is out of its place", x)
		}
	}
	next := 0
	var walk func(lo, hi int64) error
	walk = func(lo, hi int64) error {
		size := hi - lo
		if (next == m || number(next) >= hi) && size&(size-1) == 0 {
			level := bits.TrailingZeros64(uint64(size))
			return unknown(level, lo>>level)
		}
		if size == 1 {
			next++
			return known(next - 1)
		}
		middle := lo + 1<<(bits.Len64(uint64(size-1))-1)
		if err := walk(lo, middle); err != nil {
			return err
		}
		if err := walk(middle, hi); err != nil {
			return err
		}
		join()
		return nil
	}
	return walk(0, n)
}

// ProveMany gives the proof of items, numbers in ascending order, under what Items gives.
func (t *ItemTree) ProveMany(items []int64) ([]Hash, error) {
	return ProveMany(t.n, items, func(level int, index int64) (Hash, error) {
		h, err := t.hashes.ReadHashes([]int64{tlog.StoredHashIndex(level, index)})
		if err != nil {
			return Hash{}, err
		}
		return h[0], nil
	})
}
