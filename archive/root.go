package archive

import (
	"crypto/rand"
	"errors"
	"fmt"

	"sae/archive/durable"
)

// The root key lies in a slot of its own. To destroy data keys is to draw another root, and to
// destroy this one:
//
//  1. the slot takes the root that is and the one to come, behind each other;
//  2. the transaction destroys the keys and wraps what survives anew, under the new root;
//  3. the slot takes the new root alone, and its other place is wiped.
//
// A crash leaves both roots in the slot, of which the catalogue tells which one it is under, or a
// place to be wiped: opening for writing goes on from there.

const rootSize = 32

// loadRoots gives the roots of a slot, the one to come first.
func loadRoots(slot *durable.Slot) (roots [][32]byte, err error) {
	value, _, _, err := slot.Load()
	if err != nil {
		return nil, err
	}
	defer clear(value)
	if len(value) != rootSize && len(value) != 2*rootSize {
		return nil, fmt.Errorf("%d bytes instead of %d", len(value), rootSize)
	}
	for n := len(value) - rootSize; n >= 0; n -= rootSize {
		roots = append(roots, [32]byte(value[n:]))
	}
	return roots, nil
}

// settleRoot leaves one root in a slot, and nothing of another.
func settleRoot(slot *durable.Slot, root [32]byte) error {
	value, gen, _, err := slot.Load()
	if err == nil && len(value) != rootSize {
		_, err = slot.CompareAndSwap(gen, root[:])
	}
	clear(value)
	if err != nil {
		return fmt.Errorf("settling the root key: %w", err)
	}
	if alone, err := slot.Alone(); err != nil || alone {
		return err
	}
	if err := slot.WipeOther(); err != nil {
		return fmt.Errorf("wiping the root key before: %w", err)
	}
	return nil
}

// newRoot draws a root and writes it into the slot beside the one that is, for a transaction
// that destroys keys. done ends it: the new root alone stays when the transaction took place,
// the old one when it did not. When that is not known, both stay.
func (a *Archive) newRoot() (root [32]byte, done func(committed bool) error, err error) {
	slot, err := durable.OpenSlot(a.fs, a.config.Slots.Root)
	if err != nil {
		return root, nil, fmt.Errorf("root key: %w", err)
	}
	value, gen, _, err := slot.Load()
	if err == nil && len(value) != rootSize {
		err = errors.New("it is being replaced already: reopen the archive")
	}
	rand.Read(root[:])
	if err == nil {
		_, err = slot.CompareAndSwap(gen, append(value[:rootSize:rootSize], root[:]...))
	}
	if err != nil {
		return root, nil, errors.Join(fmt.Errorf("root key: %w", err), slot.Close())
	}
	old := [32]byte(value)
	a.vault.Prepare(&root)
	return root, func(committed bool) error {
		defer slot.Close()
		if !committed {
			a.vault.Prepare(nil)
			return settleRoot(slot, old)
		}
		a.vault.Advance()
		return settleRoot(slot, root)
	}, nil
}
