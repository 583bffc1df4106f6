package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"sae/archive/vault"
	"sae/integrity"
)

// The ledger lies in the catalogue: entry bytes, the stored hashes of the tree
// (golang.org/x/mod/sumdb/tlog numbering), and the last signed checkpoint.

var (
	metaCheckpoint = []byte("checkpoint") // signed note
	metaNext       = []byte("next")       // next leaf number, next key number
)

// hashReader reads stored hashes within a transaction.
type hashReader struct{ t *tx }

// ReadHashes implements tlog.HashReader.
func (r hashReader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		b, err := r.t.get(bktHash, be64(uint64(x)))
		if err != nil {
			return nil, err
		}
		if len(b) != len(out[i]) {
			return nil, &DamagedError{What: "ledger", Where: r.t.path, Why: fmt.Sprintf("stored hash %d is missing", x)}
		}
		out[i] = tlog.Hash(b)
	}
	return out, nil
}

// edge is what the committer keeps of the ledger between transactions, so that
// appending reads nothing: the last checkpoint, and hashes written or read lately.
// It is thrown away when a transaction fails.
type edge struct {
	checkpoint integrity.Checkpoint
	hashes     map[int64]tlog.Hash // by stored index
}

// maxEdge bounds the hashes kept.
const maxEdge = 1 << 16

// ledgerWriter appends to the ledger, the leaves and the keys within one write
// transaction. It reads only the right edge of each.
type ledgerWriter struct {
	t            *tx
	a            *Archive
	edge         *edge
	size         int64
	leaves, keys uint64
	last         time.Time
	entries      [][]byte // those added
}

func (a *Archive) beginLedger(t *tx) (*ledgerWriter, error) {
	if a.edge == nil || len(a.edge.hashes) > maxEdge {
		cp, err := a.checkpointIn(t)
		if err != nil {
			return nil, err
		}
		a.edge = &edge{cp, map[int64]tlog.Hash{}}
	}
	w := &ledgerWriter{t: t, a: a, edge: a.edge, size: a.edge.checkpoint.Size, last: a.lastTime}
	var err error
	w.leaves, w.keys, err = t.counters()
	return w, err
}

// counters gives the numbers of the next leaf and of the next data key.
func (t *tx) counters() (leaves, keys uint64, err error) {
	next, err := t.get(bktMeta, metaNext)
	if len(next) == 16 {
		leaves, keys = binary.BigEndian.Uint64(next), binary.BigEndian.Uint64(next[8:])
	}
	return leaves, keys, err
}

// end is the number behind the last leaf that is committed. Those from there on belong to
// a deposit that is being committed in stages, or failed in between: nobody sees them, nor
// what they stand for.
func (t *tx) end() (uint64, error) {
	if t.leaves == nil {
		n, _, err := t.counters()
		if err != nil {
			return 0, err
		}
		t.leaves = &n
	}
	return *t.leaves, nil
}

// visible reports whether what has this leaf is committed.
func (t *tx) visible(leaf uint64) (bool, error) {
	end, err := t.end()
	return leaf < end, err
}

// ReadHashes implements tlog.HashReader.
func (w *ledgerWriter) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		h, ok := w.edge.hashes[x]
		if !ok {
			read, err := hashReader{w.t}.ReadHashes(indexes[i : i+1])
			if err != nil {
				return nil, err
			}
			h = read[0]
			w.edge.hashes[x] = h
		}
		out[i] = h
	}
	return out, nil
}

// now is the time of the next entry: the clock's, and never before the last entry's.
func (w *ledgerWriter) now() time.Time {
	if now := time.Now().UTC().Truncate(time.Millisecond); now.After(w.last) {
		w.last = now
	}
	return w.last
}

func (w *ledgerWriter) addEntry(b []byte) error {
	hashes, err := tlog.StoredHashes(w.size, b, w)
	if err != nil {
		return err
	}
	first := tlog.StoredHashIndex(0, w.size)
	for i, h := range hashes {
		if err := w.t.put(bktHash, be64(uint64(first)+uint64(i)), h[:]); err != nil {
			return err
		}
		w.edge.hashes[first+int64(i)] = h
	}
	if err := w.t.put(bktEntry, be64(uint64(w.size)), b); err != nil {
		return err
	}
	w.entries = append(w.entries, b)
	w.size++
	return nil
}

// addItem stores an item of an entry, and its leaf.
func (w *ledgerWriter) addItem(item []byte, leaf integrity.Hash, entry, number int64) error {
	if err := w.t.put(bktItem, itemKey(entry, number), item); err != nil {
		return err
	}
	return w.addLeaf(leaf, entry, number)
}

func (w *ledgerWriter) addLeaf(leaf integrity.Hash, entry, item int64) error {
	err := w.t.put(bktLeaf, be64(w.leaves), leafRow(leaf, entry, item))
	w.leaves++
	return err
}

func (w *ledgerWriter) addKey(key [32]byte) error {
	err := w.a.vault.Wrap(keyStore{w.t}, w.keys, key)
	w.keys++
	return err
}

// finish signs the new checkpoint and stores it with the counters.
func (w *ledgerWriter) finish() (integrity.Checkpoint, []byte, error) {
	root, err := tlog.TreeHash(w.size, w)
	if err != nil {
		return integrity.Checkpoint{}, nil, err
	}
	cp := integrity.Checkpoint{Origin: w.a.config.Origin, Size: w.size, Root: root}
	signed, err := cp.Sign(w.a.signer)
	if err != nil {
		return cp, nil, err
	}
	if err := w.t.put(bktMeta, metaCheckpoint, signed); err != nil {
		return cp, nil, err
	}
	w.a.lastTime, w.edge.checkpoint = w.last, cp
	return cp, signed, w.t.put(bktMeta, metaNext, append(be64(w.leaves), be64(w.keys)...))
}

// keyStore is the key tree's place in a transaction.
type keyStore struct{ t *tx }

func (s keyStore) Get(level int, index uint64) ([]byte, error) {
	return s.t.get(bktKey, wrappedKey(level, index))
}
func (s keyStore) Put(level int, index uint64, wrapped []byte) error {
	return s.t.put(bktKey, wrappedKey(level, index), wrapped)
}
func (s keyStore) Delete(level int, index uint64) error {
	return s.t.delete(bktKey, wrappedKey(level, index))
}

var _ vault.Store = keyStore{}

// checkpointIn reads the stored checkpoint and verifies its signature.
func (a *Archive) checkpointIn(t *tx) (integrity.Checkpoint, error) {
	signed, err := t.get(bktMeta, metaCheckpoint)
	if err != nil {
		return integrity.Checkpoint{}, err
	}
	if signed == nil {
		return integrity.Checkpoint{Origin: a.config.Origin}, nil // only while the archive is made
	}
	cp, err := integrity.ParseCheckpoint(signed, a.verifier)
	if err != nil {
		return cp, &DamagedError{What: "ledger checkpoint", Where: a.cat.path, Err: err}
	}
	return cp, nil
}

// Checkpoint gives the last checkpoint, as a signed note.
func (a *Archive) Checkpoint() (signed []byte, err error) {
	err = a.cat.view(func(t *tx) error {
		b, err := t.get(bktMeta, metaCheckpoint)
		signed = append(signed, b...)
		return err
	})
	return signed, err
}

// LedgerKey is the note verifier key of the ledger (C2SP signed-note).
func (a *Archive) LedgerKey() string { return a.ledgerKey }

// Entry gives the bytes of one ledger entry.
func (a *Archive) Entry(index int64) (entry []byte, err error) {
	err = a.cat.view(func(t *tx) error {
		b, err := t.entry(index)
		entry = append(entry, b...)
		return err
	})
	return entry, err
}

func (t *tx) entry(index int64) ([]byte, error) {
	if index < 0 {
		return nil, fmt.Errorf("ledger entry %d: %w", index, ErrNotFound)
	}
	b, err := t.get(bktEntry, be64(uint64(index)))
	if err == nil && b == nil {
		err = fmt.Errorf("ledger entry %d: %w", index, ErrNotFound)
	}
	return b, err
}

// ProveEntry gives the receipt of entry index under the last checkpoint.
func (a *Archive) ProveEntry(index int64) (r integrity.Receipt, err error) {
	err = a.cat.view(func(t *tx) error {
		signed, err := t.get(bktMeta, metaCheckpoint)
		if err != nil {
			return err
		}
		r, err = a.proveUnder(t, index, signed)
		return err
	})
	return r, err
}

// proveUnder gives the receipt of an entry under a signed checkpoint.
func (a *Archive) proveUnder(t *tx, index int64, signed []byte) (integrity.Receipt, error) {
	cp, err := integrity.ParseCheckpoint(signed, a.verifier)
	if err != nil {
		return integrity.Receipt{}, err
	}
	entry, err := t.entry(index)
	if err != nil {
		return integrity.Receipt{}, err
	}
	if index >= cp.Size {
		return integrity.Receipt{}, fmt.Errorf("ledger entry %d: the checkpoint covers %d: %w", index, cp.Size, ErrNotFound)
	}
	r := integrity.Receipt{Index: index, Entry: append([]byte(nil), entry...), Checkpoint: append([]byte(nil), signed...)}
	r.Proof, err = tlog.ProveRecord(cp.Size, index, hashReader{t})
	return r, err
}

// ProveConsistency gives the proof that the ledger of n entries begins with that
// of m (RFC 6962 section 2.1.2), and the two roots.
func (a *Archive) ProveConsistency(m, n int64) (proof []integrity.Hash, older, newer integrity.Hash, err error) {
	err = a.cat.view(func(t *tx) error {
		cp, err := a.checkpointIn(t)
		if err != nil {
			return err
		}
		if m < 1 || m > n || n > cp.Size {
			return &Refusal{Problems: []string{fmt.Sprintf("consistency of %d and %d: want 1 <= M <= N <= %d, the size of the ledger", m, n, cp.Size)}}
		}
		r := hashReader{t}
		if proof, err = tlog.ProveTree(n, m, r); err != nil {
			return err
		}
		if older, err = tlog.TreeHash(m, r); err != nil {
			return err
		}
		newer, err = tlog.TreeHash(n, r)
		return err
	})
	return proof, older, newer, err
}

// VerifyLedger recomputes the tree from nothing but the entries and holds it
// against the signed checkpoint and the stored root. deep also recomputes every
// stored hash and the root of every operation's items.
func (a *Archive) VerifyLedger(deep bool) (integrity.Checkpoint, error) {
	if err := a.archiveWide(); err != nil {
		return integrity.Checkpoint{}, err
	}
	var cp integrity.Checkpoint
	err := a.cat.view(func(t *tx) (err error) {
		if cp, err = a.checkpointIn(t); err != nil {
			return err
		}
		var r integrity.Recompute
		var n int64
		err = t.scan(bktEntry, nil, nil, func(k, entry []byte) (bool, error) {
			if binary.BigEndian.Uint64(k) != uint64(n) {
				return false, a.ledgerDamage("entry %d is missing", n)
			}
			r.Add(entry)
			if deep {
				if err := a.verifyEntry(t, n, entry); err != nil {
					return false, err
				}
			}
			n++
			return true, nil
		})
		if err != nil {
			return err
		}
		if n != cp.Size || r.Root() != cp.Root {
			return a.ledgerDamage("%d entries with root %s, the signed checkpoint says %d with root %s", n, r.Root(), cp.Size, cp.Root)
		}
		stored, err := tlog.TreeHash(cp.Size, hashReader{t})
		if err == nil && stored != cp.Root {
			err = a.ledgerDamage("the stored hashes give root %s, the signed checkpoint says %s", stored, cp.Root)
		}
		return err
	})
	return cp, err
}

func (a *Archive) ledgerDamage(format string, args ...any) error {
	return &DamagedError{What: "ledger", Where: a.cat.path, Why: fmt.Sprintf(format, args...)}
}

// verifyEntry recomputes the hashes stored for an entry and the root of its items.
func (a *Archive) verifyEntry(t *tx, n int64, entry []byte) error {
	e, err := integrity.ParseEntry(entry)
	if err != nil {
		return a.ledgerDamage("entry %d: %v", n, err)
	}
	hashes, err := tlog.StoredHashes(n, entry, hashReader{t})
	if err != nil {
		return err
	}
	first := tlog.StoredHashIndex(0, n)
	for i, h := range hashes {
		b, err := t.get(bktHash, be64(uint64(first)+uint64(i)))
		if err != nil {
			return err
		}
		if string(b) != string(h[:]) {
			return a.ledgerDamage("stored hash %d, over entry %d, is wrong", first+int64(i), n)
		}
	}
	tree, err := t.itemTree(n)
	if err != nil {
		return err
	}
	got := tree.Items()
	if e.Items == nil && got.Count == 0 || e.Items != nil && *got == *e.Items {
		return nil
	}
	return a.ledgerDamage("the items of entry %d are not those it commits to", n)
}

// entriesOf calls f for the ledger entries of some kinds, in their order; a kind that ends with a
// dash stands for all that begin so.
func (t *tx) entriesOf(f func(index int64, e integrity.Entry) error, kinds ...integrity.Kind) error {
	var begin [][]byte // of the member in their JSON: most entries need not be parsed
	for _, k := range kinds {
		begin = append(begin, []byte(`"kind":"`+string(k)))
	}
	wanted := func(k integrity.Kind) bool {
		return slices.ContainsFunc(kinds, func(w integrity.Kind) bool {
			return k == w || strings.HasSuffix(string(w), "-") && strings.HasPrefix(string(k), string(w))
		})
	}
	return t.scan(bktEntry, nil, nil, func(k, v []byte) (bool, error) {
		if !slices.ContainsFunc(begin, func(b []byte) bool { return bytes.Contains(v, b) }) {
			return true, nil
		}
		e, err := integrity.ParseEntry(v)
		if err == nil && wanted(e.Kind) {
			err = f(int64(indexLeaf(k)), e)
		}
		return err == nil, err
	})
}

// itemTree reads the items of an entry.
func (t *tx) itemTree(entry int64) (*integrity.ItemTree, error) {
	tree := &integrity.ItemTree{}
	prefix := be64(uint64(entry))
	err := t.scan(bktItem, prefix, prefixEnd(prefix), func(_, item []byte) (bool, error) {
		tree.Add(item)
		return true, nil
	})
	return tree, err
}

// entryAt gives the number of entries before the given time: entries stand in
// the order of their times.
func (a *Archive) entryAt(t *tx, when time.Time) (int64, error) {
	cp, err := a.checkpointIn(t)
	if err != nil {
		return 0, err
	}
	n := sort.Search(int(cp.Size), func(i int) bool {
		b, e := t.entry(int64(i))
		if e == nil {
			var entry integrity.Entry
			if entry, e = integrity.ParseEntry(b); e == nil {
				return !entry.Time.Before(when)
			}
		}
		err = errors.Join(err, e)
		return true
	})
	return int64(n), err
}

// rootAt gives the root of the ledger's first n entries.
func (a *Archive) rootAt(n int64) (root integrity.Hash, err error) {
	err = a.cat.view(func(t *tx) error {
		root, err = tlog.TreeHash(n, hashReader{t})
		return err
	})
	return root, err
}

// item reads one item of an entry.
func (t *tx) item(entry, number int64) (integrity.Item, error) {
	b, err := t.get(bktItem, itemKey(entry, number))
	if err == nil && b == nil {
		err = fmt.Errorf("item %d of ledger entry %d: %w", number, entry, ErrNotFound)
	}
	if err != nil {
		return integrity.Item{}, err
	}
	return integrity.ParseItem(b)
}
