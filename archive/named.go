package archive

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"slices"

	"sae/archive/vault"
)

// Rows of the named bucket find units by what may tell of a person: its subject, and the
// identifiers and titles of SEDA transfers. Each is
//
//	kind, group (4 bytes), 16 bytes of a keyed hash of the value, leaf -> unit, version
//
// in which the group is that of the 256 data keys among which the key of the unit's first version
// is, and the hash is enciphered (one block of AES-256) under a key derived from their node of the
// key tree. When a data key is destroyed the node is drawn anew, and the rows of its group are
// enciphered anew: an old copy of the catalogue does not even tell whether a value that somebody
// guesses was in it. To look a value up, its hash is enciphered for each group.

const (
	groupSize   = 4                             // bytes, big-endian
	namedPrefix = 1 + groupSize + aes.BlockSize // all but the leaf
)

// namedKinds are the kinds of rows of the bucket.
var namedKinds = []byte{idxField, idxSubject, idxIdentity, idxName}

func (a *Archive) namedHash(kind byte, tenant, value string) []byte {
	return keyedHash(a.indexKey, string(kind), tenant, value)[:aes.BlockSize]
}

// namedRow is a row with its hash in clear, as shut wants it.
func (a *Archive) namedRow(kind byte, r *unitRecord, value string) record {
	first := r.deposited()
	key := append(groupPrefix(kind, vault.GroupOf(first.Key)), a.namedHash(kind, r.Tenant, value)...)
	return record{bktNamed, append(key, be64(first.Leaf)...), unitKey(r.Unit, r.Version)}
}

func groupPrefix(kind byte, group uint64) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind}, uint32(group))
}

// openGroup gives the cipher of a group of data keys.
func openGroup(v *vault.Vault, t *tx, group uint64) (cipher.Block, error) {
	key, err := v.Group(keyStore{t}, group)
	if err != nil {
		return nil, err
	}
	return aes.NewCipher(key[:])
}

// groups opens groups of data keys, each once.
type groups struct {
	v    *vault.Vault
	t    *tx
	open map[uint64]cipher.Block
}

func newGroups(v *vault.Vault, t *tx) *groups {
	return &groups{v: v, t: t, open: map[uint64]cipher.Block{}}
}

func (g *groups) block(group uint64) (b cipher.Block, err error) {
	if b = g.open[group]; b == nil {
		if b, err = openGroup(g.v, g.t, group); err == nil {
			g.open[group] = b
		}
	}
	return b, err
}

// shut enciphers the hashes of the named rows among some.
func (g *groups) shut(rows []record) error {
	for i, r := range rows {
		if r.bucket != bktNamed {
			continue
		}
		b, err := g.block(uint64(binary.BigEndian.Uint32(r.key[1:])))
		if err != nil {
			return err
		}
		rows[i].key = bytes.Clone(r.key)
		hash := rows[i].key[1+groupSize : namedPrefix]
		b.Encrypt(hash, hash)
	}
	return nil
}

// putRecords stores what an operation stores, once its data keys are there.
func (a *Archive) putRecords(t *tx, records []record) error {
	if err := newGroups(a.vault, t).shut(records); err != nil {
		return err
	}
	return t.putAll(records)
}

// namedBy calls f for the units that a value names and whose leaves are in [from, to), in that
// order, until it returns false.
func (a *Archive) namedBy(t *tx, kind byte, tenant, value string, from, to uint64, f func(unit string, version int, leaf uint64) (bool, error)) error {
	_, keys, err := t.counters()
	if err != nil {
		return err
	}
	hash, more := a.namedHash(kind, tenant, value), true
	for group := uint64(0); more && group <= vault.GroupOf(keys); group++ {
		any := false
		err := t.scan(bktNamed, groupPrefix(kind, group), []byte{kind + 1}, func(k, _ []byte) (bool, error) {
			group, any = uint64(binary.BigEndian.Uint32(k[1:])), true // those between have none
			return false, nil
		})
		if err != nil || !any {
			return err
		}
		b, err := openGroup(a.vault, t, group)
		if err != nil {
			return err
		}
		prefix := append(groupPrefix(kind, group), hash...)
		b.Encrypt(prefix[1+groupSize:], prefix[1+groupSize:])
		err = t.byLeaf(bktNamed, prefix, from, to, func(id string, version int, leaf uint64) (_ bool, err error) {
			more, err = f(id, version, leaf)
			return more, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rekey destroys data keys under a new root, and brings what is enciphered under their groups along;
// goes are the units whose keys they are.
func (a *Archive) rekey(t *tx, keys []uint64, root [32]byte, goes map[string]bool) error {
	old := newGroups(a.vault, t)
	var touched []uint64
	for _, key := range slices.Sorted(slices.Values(keys)) {
		touched = append(touched, vault.GroupOf(key))
	}
	touched = slices.Compact(touched)
	for _, group := range touched {
		if _, err := old.block(group); err != nil {
			return err
		}
	}
	next, err := a.rekeyWithJobs(t, keys, root)
	if err != nil {
		return err
	}
	now := newGroups(next, t)
	for _, kind := range namedKinds {
		for _, group := range touched {
			if err := t.regroup(kind, group, old.open[group], now, goes); err != nil {
				return err
			}
		}
	}
	return nil
}

// regroup enciphers the rows of a kind in a group anew, and deletes those of units that go.
func (t *tx) regroup(kind byte, group uint64, was cipher.Block, now *groups, goes map[string]bool) error {
	var old, rows []record
	prefix := groupPrefix(kind, group)
	err := t.scan(bktNamed, prefix, prefixEnd(prefix), func(k, v []byte) (bool, error) {
		old = append(old, record{bucket: bktNamed, key: bytes.Clone(k)})
		if unit, _ := splitUnitKey(v); !goes[unit] {
			open := bytes.Clone(k)
			was.Decrypt(open[1+groupSize:namedPrefix], open[1+groupSize:namedPrefix])
			rows = append(rows, record{bktNamed, open, bytes.Clone(v)})
		}
		return true, nil
	})
	for _, r := range old {
		if err == nil {
			err = t.delete(r.bucket, r.key)
		}
	}
	if err == nil {
		err = now.shut(rows)
	}
	if err == nil {
		err = t.putAll(rows)
	}
	return err
}
