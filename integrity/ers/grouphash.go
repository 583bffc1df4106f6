package ers

import (
	"bytes"
	"crypto"
	"slices"
)

// GroupHash is the hash of a data object group (RFC 4998 section 4.2): its
// digests sorted in binary ascending order, concatenated and hashed with h. A
// single digest is carried as it is; no digest gives nil. The digests are not
// modified and the result does not share their memory.
func GroupHash(h crypto.Hash, digests ...[]byte) []byte {
	switch len(digests) {
	case 0:
		return nil
	case 1:
		return bytes.Clone(digests[0])
	}
	hash := h.New()
	for _, d := range sorted(digests) {
		hash.Write(d)
	}
	return hash.Sum(nil)
}

// sorted returns the digests in binary ascending order, in a new slice.
func sorted(digests [][]byte) [][]byte {
	return slices.SortedFunc(slices.Values(digests), bytes.Compare)
}

func sum(h crypto.Hash, parts ...[]byte) []byte {
	hash := h.New()
	for _, p := range parts {
		hash.Write(p)
	}
	return hash.Sum(nil)
}
