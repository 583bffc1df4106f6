package integrity

import (
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"
)

// Hash is a SHA-256 hash; in JSON and text it is standard base64, as in the
// C2SP formats.
type Hash = tlog.Hash

// ItemTree is the RFC 6962 tree over the items of one operation, in memory: 64
// bytes an item.
type ItemTree struct {
	n      int64
	hashes storedHashes
}

// Add appends the bytes of one item.
func (t *ItemTree) Add(item []byte) {
	hs, err := tlog.StoredHashes(t.n, item, t.hashes)
	if err != nil {
		panic(err) // reads only what it stored before
	}
	t.hashes = append(t.hashes, hs...)
	t.n++
}

// Items gives the commitment that the entry holds.
func (t *ItemTree) Items() *Items {
	root, err := tlog.TreeHash(t.n, t.hashes)
	if err != nil {
		panic(err) // as in Add
	}
	return &Items{Count: t.n, Root: root}
}

// Prove gives the inclusion proof of item i (RFC 6962 section 2.1.1).
func (t *ItemTree) Prove(i int64) ([]Hash, error) {
	if i < 0 || i >= t.n {
		return nil, fmt.Errorf("proving item %d: the operation has %d", i, t.n)
	}
	return tlog.ProveRecord(t.n, i, t.hashes)
}

// CheckItem verifies that the item with the given bytes is number i of those
// that items commits to.
func CheckItem(items *Items, i int64, item []byte, proof []Hash) error {
	if items == nil {
		return errors.New("checking item: the entry commits to no items")
	}
	if i < 0 || i >= items.Count || items.Count > maxTree {
		return fmt.Errorf("checking item: number %d of %d", i, items.Count)
	}
	if err := tlog.CheckRecord(proof, items.Count, items.Root, i, tlog.RecordHash(item)); err != nil {
		return fmt.Errorf("checking item %d of %d: %w", i, items.Count, err)
	}
	return nil
}

// maxTree bounds the leaves of a tree. Above it tlog's search for the greatest
// power of two below a size overflows, and does not end.
const maxTree = 1 << 62

// storedHashes reads hashes by their stored index (tlog.StoredHashIndex).
type storedHashes []Hash

func (s storedHashes) ReadHashes(indexes []int64) ([]Hash, error) {
	out := make([]Hash, len(indexes))
	for i, x := range indexes {
		if x < 0 || x >= int64(len(s)) {
			return nil, fmt.Errorf("reading stored hash %d of %d", x, len(s))
		}
		out[i] = s[x]
	}
	return out, nil
}

// Recompute hashes a ledger again from nothing but its entries' bytes: memory is
// the logarithm of the number of entries. Each call of Add takes the next entry.
type Recompute struct {
	n      int64
	stack  []Hash // roots of the complete subtrees of the first n entries, largest first
	levels []int  // their levels
}

// Add takes the bytes of the next entry.
func (r *Recompute) Add(entry []byte) {
	h, level := tlog.RecordHash(entry), 0
	for len(r.levels) > 0 && r.levels[len(r.levels)-1] == level {
		h = tlog.NodeHash(r.stack[len(r.stack)-1], h)
		r.stack, r.levels = r.stack[:len(r.stack)-1], r.levels[:len(r.levels)-1]
		level++
	}
	r.stack, r.levels = append(r.stack, h), append(r.levels, level)
	r.n++
}

// Root is the root over all entries added so far (RFC 6962 section 2.1).
func (r *Recompute) Root() Hash {
	if r.n == 0 {
		h, err := tlog.TreeHash(0, nil)
		if err != nil {
			panic(err) // the empty tree reads nothing
		}
		return h
	}
	h := r.stack[len(r.stack)-1]
	for i := len(r.stack) - 2; i >= 0; i-- {
		h = tlog.NodeHash(r.stack[i], h)
	}
	return h
}
