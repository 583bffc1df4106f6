// Package vault keeps data keys so that they can be destroyed.
//
// Every unit version and every object has a data key of its own, numbered from 0
// in the order of creation. Data keys lie wrapped in a tree of fan-out 256 and
// height 4: 256 data keys (level 0) are wrapped under one node key (level 1), 256
// of those under one of level 2, and so on; the at most 256 node keys of level 3
// are wrapped under the root key. Wrapped keys may lie anywhere, backups
// included. Only the root key, 32 bytes, must be where it can be destroyed.
//
// To erase a data key is to draw new keys along its path, to wrap the survivors
// under them, and then to destroy the old root (Rekey): after that no copy of the
// wrapped keys, however old, opens the erased key.
//
// A wrapped key is 60 bytes: a nonce of 12, drawn at random, and AES-256-GCM (NIST
// SP 800-38D) of the 32-byte key, with associated data "sae vault 1", the level in
// one byte and the number in 8 bytes, big-endian. So it opens in its own place
// only, and under the key above it only.
package vault

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

const (
	bits   = 8 // fan-out 256
	height = 4 // levels of wrapped keys: data keys and three of nodes

	// MaxKeys is how many data keys a vault holds.
	MaxKeys = 1 << (bits * height)

	keySize     = 32
	wrappedSize = nonceSize + keySize + tagSize
)

var (
	// ErrNoKey: there is no such key; it never existed, or was destroyed.
	ErrNoKey = errors.New("there is no such key: never made, or destroyed")
	// ErrWrongRoot: the root key does not open the tree. It is another tree's, or
	// the key at the top of the path is damaged: these look alike.
	ErrWrongRoot = errors.New("the root key does not open the key tree")
	// ErrCorrupt: a wrapped key is damaged, another's, or missing on the path to
	// one that is there.
	ErrCorrupt = errors.New("a wrapped key is damaged")
)

// Store is where wrapped keys lie, usually one transaction of a database. Get
// gives nil for a key that is not there; what it gives must stay as it is until
// the next call.
type Store interface {
	Get(level int, index uint64) ([]byte, error)
	Put(level int, index uint64, wrapped []byte) error
	Delete(level int, index uint64) error
}

// Vault opens and wraps data keys under one root. It may be used at the same time.
//
// Node keys that it has opened are kept, each with the wrapped bytes that it came
// from, and are used only while the store gives the same bytes: a transaction
// that was given up, or another process that destroyed keys, leaves nothing stale.
type Vault struct {
	mu        sync.Mutex
	root      [keySize]byte
	next      *[keySize]byte // the root to come: see Prepare
	destroyed bool
	nodes     map[nodeID]*node
}

type nodeID struct {
	level int
	index uint64
}

// node is an opened node key.
type node struct {
	wrapped [wrappedSize]byte
	key     [keySize]byte
}

// maxNodes bounds the node keys kept open: less than 1 MiB.
const maxNodes = 4096

// New gives the vault of a root key.
func New(root [keySize]byte) *Vault {
	return &Vault{root: root, nodes: map[nodeID]*node{}}
}

// Wrap stores data key number index, which must be free. Node keys that are
// missing on its path are made. It is durable when the store's transaction is.
func (v *Vault) Wrap(s Store, index uint64, key [keySize]byte) error {
	if index >= MaxKeys {
		return fmt.Errorf("wrapping data key %d: the vault is full", index)
	}
	old, err := s.Get(0, index)
	if err == nil && old != nil {
		err = errors.New("the number is taken")
	}
	if err != nil {
		return fmt.Errorf("wrapping data key %d: %w", index, err)
	}
	above, err := v.node(s, 1, index>>bits, true)
	if err != nil {
		return fmt.Errorf("wrapping data key %d: %w", index, err)
	}
	return s.Put(0, index, wrap(above, 0, index, key))
}

// Unwrap gives data key number index. Errors: ErrNoKey, ErrWrongRoot, ErrCorrupt,
// the store's.
func (v *Vault) Unwrap(s Store, index uint64) (key [keySize]byte, err error) {
	wrapped, err := s.Get(0, index)
	if err == nil && (wrapped == nil || index >= MaxKeys) {
		err = ErrNoKey
	}
	if err != nil {
		return key, fmt.Errorf("opening data key %d: %w", index, err)
	}
	wrapped = bytes.Clone(wrapped) // the store is asked again before it is opened
	above, err := v.node(s, 1, index>>bits, false)
	if err == nil {
		key, err = unwrap(above, 0, index, wrapped)
	}
	if err != nil {
		return key, fmt.Errorf("opening data key %d: %w", index, err)
	}
	return key, nil
}

// Group gives a key of group number group, which are data keys group*256 to group*256+255. It is
// derived from their node key (HKDF-SHA256, RFC 5869, info "sae group 1"): Rekey changes it for the
// groups of destroyed keys, and after that no old copy opens the old one. Errors are those of Unwrap.
func (v *Vault) Group(s Store, group uint64) (key [keySize]byte, err error) {
	node, err := v.node(s, 1, group, false)
	if err != nil {
		return key, fmt.Errorf("opening group %d: %w", group, err)
	}
	return Derive(node, "sae group 1"), nil
}

// GroupOf is the number of the group of a data key.
func GroupOf(index uint64) uint64 { return index >> bits }

// node gives the node key of a level, which wraps 256 keys of the level below;
// the root is the only node of level height. A missing one is made on demand.
func (v *Vault) node(s Store, level int, index uint64, create bool) (key [keySize]byte, err error) {
	if level == height {
		return v.rootKey()
	}
	wrapped, err := s.Get(level, index)
	if err != nil {
		return key, err
	}
	if wrapped == nil && !create {
		return key, fmt.Errorf("node %d of level %d is missing: %w", index, level, ErrCorrupt)
	}
	if key, ok := v.kept(nodeID{level, index}, wrapped); ok {
		return key, nil
	}
	wrapped = bytes.Clone(wrapped)
	above, err := v.node(s, level+1, index>>bits, create)
	if err != nil {
		return key, err
	}
	if wrapped == nil {
		key = newKey()
		wrapped = wrap(above, level, index, key)
		err = s.Put(level, index, wrapped)
	} else {
		key, err = unwrap(above, level, index, wrapped)
		if next := v.nextRoot(); level == height-1 && err != nil && next != nil {
			key, err = unwrap(*next, level, index, wrapped)
		}
	}
	if err != nil {
		return key, fmt.Errorf("node %d of level %d: %w", index, level, err)
	}
	v.keep(nodeID{level, index}, wrapped, key)
	return key, nil
}

func (v *Vault) rootKey() (key [keySize]byte, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.destroyed {
		return key, fmt.Errorf("%w: it was destroyed", ErrWrongRoot)
	}
	return v.root, nil
}

// Prepare lets the vault open what is wrapped under the root to come too: from before the
// transaction of a Rekey is committed until Advance, both may be asked for. A root of nil ends
// it.
func (v *Vault) Prepare(next *[keySize]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.next = next
}

// Advance takes the root to come for the root, and the old one out of memory.
func (v *Vault) Advance() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.next == nil {
		return
	}
	v.forget()
	v.root, v.next = *v.next, nil
}

func (v *Vault) nextRoot() *[keySize]byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.next
}

// kept gives a node key kept open, if it is the one that the store has wrapped.
func (v *Vault) kept(id nodeID, wrapped []byte) (key [keySize]byte, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := v.nodes[id]
	if n == nil || !bytes.Equal(n.wrapped[:], wrapped) {
		return key, false
	}
	return n.key, true
}

// keep keeps a node key open. When there are too many, any other one is closed:
// keys are asked for in no order that would tell a better one.
func (v *Vault) keep(id nodeID, wrapped []byte, key [keySize]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for old, n := range v.nodes {
		if len(v.nodes) < maxNodes {
			break
		}
		clear(n.key[:])
		delete(v.nodes, old)
	}
	if n := v.nodes[id]; n != nil {
		clear(n.key[:])
	}
	if v.destroyed {
		return
	}
	v.nodes[id] = &node{[wrappedSize]byte(wrapped), key}
}

// Forget closes the node keys kept open, and takes them out of memory.
func (v *Vault) Forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forget()
}

func (v *Vault) forget() {
	for _, n := range v.nodes {
		clear(n.key[:])
	}
	clear(v.nodes)
}

// Destroy takes the root key and the node keys out of memory. The vault then opens
// and wraps nothing: the error is ErrWrongRoot. It is for the vault before Rekey,
// once the new one is in use.
func (v *Vault) Destroy() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.forget()
	clear(v.root[:])
	v.destroyed = true
}

func newKey() (key [keySize]byte) {
	rand.Read(key[:]) // never fails: the program ends if the system has no randomness
	return key
}

func wrapAD(level int, index uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte("sae vault 1"), byte(level)), index)
}

func wrap(under [keySize]byte, level int, index uint64, key [keySize]byte) []byte {
	return Seal(under, wrapAD(level, index), key[:])
}

// unwrap opens a wrapped key. Under the root, what does not open tells of another
// root rather than of damage.
func unwrap(under [keySize]byte, level int, index uint64, wrapped []byte) (key [keySize]byte, err error) {
	if len(wrapped) != wrappedSize {
		return key, ErrCorrupt
	}
	b, err := Open(under, wrapAD(level, index), wrapped)
	switch {
	case err == nil:
		key = [keySize]byte(b)
		clear(b)
		return key, nil
	case level == height-1:
		return key, ErrWrongRoot
	}
	return key, ErrCorrupt
}
