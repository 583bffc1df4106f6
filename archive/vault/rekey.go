package vault

import (
	"errors"
	"fmt"
	"slices"
)

// Rekey destroys data keys and gives the vault of the new root, which is to be
// used once the store's transaction is committed; until then, and if it is given
// up, v stands. After an error the transaction must be given up.
//
// New node keys are drawn along every path to a destroyed key, and all that
// survives below them is wrapped again; work on shared paths is done once. A
// number that is free already costs its path only. Without any number the root
// alone is replaced.
//
// Nothing is destroyed before the caller has destroyed the old root: until then
// an old copy of the store opens with it. A crash between the two leaves both
// roots, and the caller must know how to go on.
func (v *Vault) Rekey(s Store, destroy []uint64, newRoot [keySize]byte) (*Vault, error) {
	old, err := v.rootKey()
	if err != nil {
		return nil, fmt.Errorf("erasing: %w", err)
	}
	if newRoot == old {
		return nil, errors.New("erasing: the new root key is the old one")
	}
	drawn := map[nodeID][keySize]byte{}
	defer clear(drawn)
	touched, err := deleteKeys(s, destroy)
	if err != nil {
		return nil, err
	}
	for level := 1; level < height; level++ {
		for _, index := range touched {
			key := newKey()
			drawn[nodeID{level, index}] = key
			if err := v.rewrap(s, level, index, key, drawn); err != nil {
				return nil, fmt.Errorf("erasing: node %d of level %d: %w", index, level, err)
			}
		}
		touched = parents(touched)
	}
	if err := v.rewrap(s, height, 0, newRoot, drawn); err != nil {
		return nil, fmt.Errorf("erasing: root: %w", err)
	}
	return New(newRoot), nil
}

// deleteKeys deletes data keys and gives the nodes above them, in order.
func deleteKeys(s Store, destroy []uint64) (touched []uint64, err error) {
	for _, index := range destroy {
		if index >= MaxKeys {
			return nil, fmt.Errorf("destroying data key %d: %w", index, ErrNoKey)
		}
		if err := s.Delete(0, index); err != nil {
			return nil, fmt.Errorf("destroying data key %d: %w", index, err)
		}
	}
	return parents(slices.Sorted(slices.Values(destroy))), nil
}

// parents gives the nodes above sorted ones, in order, each once.
func parents(below []uint64) []uint64 {
	above := make([]uint64, len(below))
	for i, index := range below {
		above[i] = index >> bits
	}
	return slices.Compact(above)
}

// rewrap wraps what lies under a node again, under its new key: children that
// were drawn anew as they are now, the others as they were. The node itself is
// still wrapped as it was, so its old key can be opened.
func (v *Vault) rewrap(s Store, level int, index uint64, key [keySize]byte, drawn map[nodeID][keySize]byte) error {
	var old [keySize]byte
	opened := false
	for child := index << bits; child < (index+1)<<bits; child++ {
		wrapped, err := s.Get(level-1, child)
		if err != nil {
			return err
		}
		if wrapped == nil {
			continue
		}
		k, isNew := drawn[nodeID{level - 1, child}]
		if !isNew {
			wrapped = slices.Clone(wrapped) // the store is asked again before it is opened
			if !opened {
				if old, err = v.node(s, level, index, false); err != nil {
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
