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
// A wrapped key is 60 bytes: a nonce of 12, drawn at random, and AES-256-GCM of
// the 32-byte key, with associated data "sae vault 1", the level in one byte and
// the number in 8 bytes, big-endian.
package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
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
	wrappedSize = 12 + keySize + 16
)

var (
	// ErrNoKey: there is no such key; it never existed, or was destroyed.
	ErrNoKey = errors.New("there is no such key: never made, or destroyed")
	// ErrWrongRoot: the root key does not open the tree.
	ErrWrongRoot = errors.New("the root key does not open the key tree")
	// ErrCorrupt: a wrapped key is damaged, or another's.
	ErrCorrupt = errors.New("a wrapped key is damaged")
)

// Store is where wrapped keys lie, usually one transaction of a database. Get
// gives nil for a key that is not there.
type Store interface {
	Get(level int, index uint64) ([]byte, error)
	Put(level int, index uint64, wrapped []byte) error
	Delete(level int, index uint64) error
}

// Vault opens and wraps data keys under one root. It may be used at the same time.
type Vault struct {
	root [keySize]byte

	mu    sync.Mutex
	nodes map[nodeID][keySize]byte // node keys opened lately
}

type nodeID struct {
	level int
	index uint64
}

// maxNodes bounds the node keys kept open.
const maxNodes = 4096

// New gives the vault of a root key.
func New(root [keySize]byte) *Vault {
	return &Vault{root: root, nodes: map[nodeID][keySize]byte{}}
}

// Wrap stores data key number index, which must be free. Node keys that are
// missing on its path are made.
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
	node, err := v.node(s, 1, index>>bits, true)
	if err != nil {
		return fmt.Errorf("wrapping data key %d: %w", index, err)
	}
	return s.Put(0, index, wrap(node, 0, index, key))
}

// Unwrap gives data key number index.
func (v *Vault) Unwrap(s Store, index uint64) (key [keySize]byte, err error) {
	wrapped, err := s.Get(0, index)
	if err == nil && wrapped == nil {
		err = ErrNoKey
	}
	var node [keySize]byte
	if err == nil {
		node, err = v.node(s, 1, index>>bits, false)
	}
	if err == nil {
		key, err = unwrap(node, 0, index, wrapped)
	}
	if err != nil {
		return key, fmt.Errorf("opening data key %d: %w", index, err)
	}
	return key, nil
}

// node gives the node key of a level, which wraps 256 keys of the level below;
// the root is the only node of level height.
func (v *Vault) node(s Store, level int, index uint64, create bool) (key [keySize]byte, err error) {
	if level == height {
		return v.root, nil
	}
	v.mu.Lock()
	key, ok := v.nodes[nodeID{level, index}]
	v.mu.Unlock()
	if ok {
		return key, nil
	}
	above, err := v.node(s, level+1, index>>bits, create)
	if err != nil {
		return key, err
	}
	wrapped, err := s.Get(level, index)
	switch {
	case err != nil:
		return key, err
	case wrapped == nil && !create:
		return key, ErrNoKey
	case wrapped == nil:
		key = newKey()
		return key, s.Put(level, index, wrap(above, level, index, key))
	}
	if key, err = unwrap(above, level, index, wrapped); err != nil {
		if level == height-1 {
			err = ErrWrongRoot
		}
		return key, err
	}
	v.keep(nodeID{level, index}, key)
	return key, nil
}

func (v *Vault) keep(id nodeID, key [keySize]byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.nodes) >= maxNodes {
		clear(v.nodes)
	}
	v.nodes[id] = key
}

// Forget closes the node keys kept open. It must be called when a transaction with
// Wrap is given up: a node key made in it is not in the store.
func (v *Vault) Forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.nodes)
}

// Rekey destroys data keys and gives the vault of the new root, which is to be
// used once the store's transaction is committed; until then, and if it is given
// up, the old one stands. New node keys are drawn along every path to a destroyed
// key, and all that survives below them is wrapped again; work on shared paths is
// done once. The old root must then be destroyed by the caller.
func (v *Vault) Rekey(s Store, destroy []uint64, newRoot [keySize]byte) (*Vault, error) {
	touched := map[uint64]bool{}
	for _, i := range destroy {
		if err := s.Delete(0, i); err != nil {
			return nil, fmt.Errorf("destroying data key %d: %w", i, err)
		}
		touched[i>>bits] = true
	}
	fresh := New(newRoot)
	drawn := map[nodeID][keySize]byte{}
	for level := 1; level < height; level++ {
		above := map[uint64]bool{}
		for n := range touched {
			key := newKey()
			drawn[nodeID{level, n}] = key
			if err := v.rewrap(s, level, n, key, drawn); err != nil {
				return nil, fmt.Errorf("erasing: node %d of level %d: %w", n, level, err)
			}
			above[n>>bits] = true
		}
		touched = above
	}
	if err := v.rewrap(s, height, 0, newRoot, drawn); err != nil {
		return nil, fmt.Errorf("erasing: root: %w", err)
	}
	return fresh, nil
}

// rewrap wraps what lies under a node again, under its new key: children that
// were drawn anew as they are now, the others as they were.
func (v *Vault) rewrap(s Store, level int, node uint64, key [keySize]byte, drawn map[nodeID][keySize]byte) error {
	var old [keySize]byte
	opened := false
	for child := node << bits; child < (node+1)<<bits; child++ {
		wrapped, err := s.Get(level-1, child)
		if err != nil {
			return err
		}
		if wrapped == nil {
			continue
		}
		k, isNew := drawn[nodeID{level - 1, child}]
		if !isNew {
			if !opened {
				if old, err = v.node(s, level, node, false); err != nil {
					return err
				}
				opened = true
			}
			if k, err = unwrap(old, level-1, child, wrapped); err != nil {
				return err
			}
		}
		if err := s.Put(level-1, child, wrap(key, level-1, child, k)); err != nil {
			return err
		}
	}
	return nil
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

func unwrap(under [keySize]byte, level int, index uint64, wrapped []byte) (key [keySize]byte, err error) {
	if len(wrapped) != wrappedSize {
		return key, ErrCorrupt
	}
	b, err := Open(under, wrapAD(level, index), wrapped)
	if err != nil {
		return key, ErrCorrupt
	}
	return [keySize]byte(b), nil
}

// Seal enciphers a small record: a nonce of 12 bytes drawn at random, then
// AES-256-GCM with the associated data. A key is to seal few records only.
func Seal(key [keySize]byte, ad, plain []byte) []byte {
	nonce := make([]byte, 12, 12+len(plain)+16)
	rand.Read(nonce)
	return gcm(key).Seal(nonce, nonce, plain, ad)
}

// ErrSealed says that a sealed record was changed, or is under another key.
var ErrSealed = errors.New("it was changed, or is under another key")

// Open opens what Seal made.
func Open(key [keySize]byte, ad, sealed []byte) ([]byte, error) {
	if len(sealed) < 12+16 {
		return nil, ErrSealed
	}
	plain, err := gcm(key).Open(nil, sealed[:12], sealed[12:], ad)
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

func gcm(key [keySize]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // 32 bytes are always a key
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES always has the block size of GCM
	}
	return a
}

// Derive gives a key for one purpose from a data key (HKDF-SHA256, no salt).
func Derive(key [keySize]byte, purpose string) [keySize]byte {
	k, err := hkdf.Key(sha256.New, key[:], nil, purpose, keySize)
	if err != nil {
		panic(err) // 32 bytes are always within HKDF's reach
	}
	return [keySize]byte(k)
}
