package ers

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"hash"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight

	// MaxLeaves bounds the leaves of one batch tree.
	MaxLeaves = 1 << 40
)

// The batch tree: the leaves in the order given, paired level by level, each
// parent the hash of its two children in binary ascending order; a last node
// without a sibling is carried up unhashed (RFC 4998 section 4.2). Tile N of
// tile level L holds the nodes 256*N to 256*N+255 of tree level 8*L,
// concatenated, fewer in the last tile of a level; tile level 0 is the leaves.

// Build computes the root of the batch tree over n leaves. It calls leaf once
// for each index in ascending order, and tile once for each tile of level 1 and
// above, in ascending index within a level: the leaves are the caller's, and
// the level that is the root alone has no tile. tile owns the bytes that it
// gets and may be nil. Memory is bounded by one tile per level.
//
// It fails on an unusable algorithm, on n outside 1..MaxLeaves, on a leaf that
// is not h.Size() bytes long, and with the errors of leaf and tile.
func Build(h crypto.Hash, n int64, leaf func(i int64) ([]byte, error), tile func(level int, index int64, hashes []byte) error) ([]byte, error) {
	if err := checkSize(h, n); err != nil {
		return nil, fmt.Errorf("building hash tree: %w", err)
	}
	b := newBuilder(h, n, tile)
	for i := range n {
		digest, err := leaf(i)
		if err != nil {
			return nil, fmt.Errorf("reading leaf %d: %w", i, err)
		}
		if len(digest) != h.Size() {
			return nil, fmt.Errorf("reading leaf %d: %d bytes, want %d", i, len(digest), h.Size())
		}
		if err := b.add(0, digest); err != nil {
			return nil, err
		}
	}
	return b.finish()
}

func checkSize(h crypto.Hash, n int64) error {
	if !usable(h) {
		return fmt.Errorf("hash algorithm %v is not usable", h)
	}
	if n < 1 || n > MaxLeaves {
		return fmt.Errorf("%d leaves, want 1 to %d", n, int64(MaxLeaves))
	}
	return nil
}

// width is the number of nodes that a tree of n leaves has at a level.
func width(n int64, level int) int64 {
	return (n + 1<<level - 1) >> level
}

// builder holds the left edge of the unfinished subtrees: at most one node per
// level waits for its right sibling.
type builder struct {
	hash    hash.Hash
	leaves  int64
	waiting [][]byte // by level; empty when no node waits
	scratch []byte
	root    []byte

	emit  func(level int, index int64, hashes []byte) error
	tiles [][]byte // by tile level: the tile being filled
	index []int64  // by tile level: its index
}

func newBuilder(h crypto.Hash, n int64, emit func(int, int64, []byte) error) *builder {
	levels := 1
	for width(n, levels-1) > 1 {
		levels++
	}
	return &builder{
		hash:    h.New(),
		leaves:  n,
		waiting: make([][]byte, levels),
		emit:    emit,
		tiles:   make([][]byte, levels/tileHeight+1),
		index:   make([]int64, levels/tileHeight+1),
	}
}

// add places the next node of a level and the parents that it completes.
func (b *builder) add(level int, node []byte) error {
	for width(b.leaves, level) > 1 {
		if err := b.addToTile(level, node); err != nil {
			return err
		}
		if len(b.waiting[level]) == 0 {
			b.waiting[level] = append(b.waiting[level], node...)
			return nil
		}
		b.scratch = parent(b.hash, b.scratch[:0], b.waiting[level], node)
		node = b.scratch
		b.waiting[level] = b.waiting[level][:0]
		level++
	}
	b.root = bytes.Clone(node)
	return nil
}

// addToTile appends a node to the open tile of its level, if tiles hold that
// level, and hands the tile over when it is full.
func (b *builder) addToTile(level int, node []byte) error {
	if b.emit == nil || level == 0 || level%tileHeight != 0 {
		return nil
	}
	t := level / tileHeight
	b.tiles[t] = append(b.tiles[t], node...)
	if len(b.tiles[t]) < tileWidth*b.hash.Size() {
		return nil
	}
	return b.flush(t)
}

func (b *builder) flush(t int) error {
	if len(b.tiles[t]) == 0 {
		return nil
	}
	if err := b.emit(t, b.index[t], b.tiles[t]); err != nil {
		return fmt.Errorf("writing tile %d of level %d: %w", b.index[t], t, err)
	}
	b.tiles[t] = nil
	b.index[t]++
	return nil
}

// finish carries up the nodes that have no sibling and closes the last tiles.
func (b *builder) finish() ([]byte, error) {
	for level := 0; width(b.leaves, level) > 1; level++ {
		if len(b.waiting[level]) == 0 {
			continue
		}
		if err := b.add(level+1, b.waiting[level]); err != nil {
			return nil, err
		}
	}
	for t := range b.tiles {
		if err := b.flush(t); err != nil {
			return nil, err
		}
	}
	return b.root, nil
}

// parent appends the hash of two nodes in binary ascending order to dst, which
// may share the memory of either.
func parent(h hash.Hash, dst, a, b []byte) []byte {
	if bytes.Compare(a, b) > 0 {
		a, b = b, a
	}
	h.Reset()
	h.Write(a)
	h.Write(b)
	return h.Sum(dst)
}

var errTile = errors.New("tile has the wrong length")

// Path returns the siblings of leaf i of n on its way to the root, one for each
// level, from the leaves up, and none where the node was carried up: the
// further lists of its reducedHashtree. read gives the bytes of a tile, of level
// 0 (the leaves) too; one tile is read for each tile level.
//
// It fails on an unusable algorithm, on n or i out of range, on a tile that has
// not the length its place requires, and with the errors of read. It cannot
// tell wrong tile bytes: the root that Root recomputes does.
func Path(h crypto.Hash, n, i int64, read func(level int, index int64) ([]byte, error)) ([][]byte, error) {
	if err := checkSize(h, n); err != nil {
		return nil, fmt.Errorf("finding path: %w", err)
	}
	if i < 0 || i >= n {
		return nil, fmt.Errorf("finding path: leaf %d of %d", i, n)
	}
	var siblings [][]byte
	for t := 0; width(n, t*tileHeight) > 1; t++ {
		nodes, err := readTile(h, n, t, i>>tileHeight, read)
		if err != nil {
			return nil, fmt.Errorf("reading tile %d of level %d: %w", i>>tileHeight, t, err)
		}
		siblings = append(siblings, climb(h, nodes, i%tileWidth)...)
		i >>= tileHeight
	}
	return siblings, nil
}

// Node returns the root of the part of 2^level leaves from leaf index·2^level of a tree of n:
// the part must be smaller than the tree. read is as for Path, and so are the errors.
func Node(h crypto.Hash, n int64, level int, index int64, read func(level int, index int64) ([]byte, error)) ([]byte, error) {
	if err := checkSize(h, n); err != nil {
		return nil, fmt.Errorf("finding node: %w", err)
	}
	if level < 0 || level > 40 || index < 0 || index >= n>>level || 1<<level >= n {
		return nil, fmt.Errorf("finding node: %d of level %d of %d leaves", index, level, n)
	}
	t, above := level/tileHeight, level%tileHeight
	tile := index >> (tileHeight - above)
	nodes, err := readTile(h, n, t, tile, read)
	if err != nil {
		return nil, fmt.Errorf("reading tile %d of level %d: %w", tile, t, err)
	}
	first := (index << above) % tileWidth
	for nodes = nodes[first : first+1<<above]; len(nodes) > 1; {
		nodes = parents(h, nodes)
	}
	return bytes.Clone(nodes[0]), nil
}

func readTile(h crypto.Hash, n int64, level int, index int64, read func(int, int64) ([]byte, error)) ([][]byte, error) {
	data, err := read(level, index)
	if err != nil {
		return nil, err
	}
	count := min(tileWidth, width(n, level*tileHeight)-index*tileWidth)
	if int64(len(data)) != count*int64(h.Size()) {
		return nil, errTile
	}
	nodes := make([][]byte, count)
	for k := range nodes {
		nodes[k] = data[k*h.Size() : (k+1)*h.Size()]
	}
	return nodes, nil
}

// climb returns the siblings of node i within a tile. A tile never splits a
// pair, so a sibling outside it does not exist.
func climb(h crypto.Hash, nodes [][]byte, i int64) [][]byte {
	var siblings [][]byte
	for ; len(nodes) > 1; i /= 2 {
		if sibling := i ^ 1; sibling < int64(len(nodes)) {
			siblings = append(siblings, bytes.Clone(nodes[sibling]))
		}
		nodes = parents(h, nodes)
	}
	return siblings
}

func parents(h crypto.Hash, nodes [][]byte) [][]byte {
	above := make([][]byte, 0, (len(nodes)+1)/2)
	for k := 0; k < len(nodes); k += 2 {
		above = append(above, GroupHash(h, nodes[k:min(k+2, len(nodes))]...))
	}
	return above
}
