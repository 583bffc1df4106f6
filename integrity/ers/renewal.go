package ers

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
)

// TimestampRenewal is a renewal of the first kind of RFC 4998 section 5.2, for
// one or many batches at once: one new token over a tree whose leaves are the
// groups of the batches, a group being the hashes of all tokens of the chain.
// Section 5.3 asks for the last token only; some verifiers want each earlier one
// too, and the group holds them all so that each still counts.
type TimestampRenewal struct {
	Root []byte // what the new token has to stamp

	hash   crypto.Hash
	groups [][][]byte
	tiles  map[tileKey][]byte
}

type tileKey struct {
	level int
	index int64
}

// RenewTimestamps prepares the renewal of the last chains of batches, each given
// as its tokens, oldest first (Tokens gives them). h must be the algorithm of
// those chains: a chain has one only (section 5.1). It fails on an unusable
// algorithm, no chain, or a chain without tokens.
func RenewTimestamps(h crypto.Hash, chains ...[][]byte) (*TimestampRenewal, error) {
	if !usable(h) {
		return nil, fmt.Errorf("renewing time-stamps: hash algorithm %v is not usable", h)
	}
	r := &TimestampRenewal{hash: h, tiles: map[tileKey][]byte{}}
	var leaves []byte
	for i, tokens := range chains {
		if len(tokens) == 0 {
			return nil, fmt.Errorf("renewing time-stamps: chain %d has no token", i+1)
		}
		group := tokenDigests(h, tokens)
		r.groups = append(r.groups, group)
		leaves = append(leaves, GroupHash(h, group...)...)
	}
	if err := r.build(leaves); err != nil {
		return nil, fmt.Errorf("renewing time-stamps: %w", err)
	}
	return r, nil
}

// tokenDigests hashes the timeStamp fields of section 5.2: each the whole
// ContentInfo, its tag and length included, as all makers do.
func tokenDigests(h crypto.Hash, tokens [][]byte) [][]byte {
	digests := make([][]byte, len(tokens))
	for i, t := range tokens {
		digests[i] = sum(h, t)
	}
	return digests
}

func (r *TimestampRenewal) build(leaves []byte) (err error) {
	size := r.hash.Size()
	for i := 0; i*tileWidth*size < len(leaves); i++ {
		r.tiles[tileKey{0, int64(i)}] = leaves[i*tileWidth*size : min((i+1)*tileWidth*size, len(leaves))]
	}
	leaf := func(i int64) ([]byte, error) { return leaves[i*int64(size) : (i+1)*int64(size)], nil }
	r.Root, err = Build(r.hash, int64(len(r.groups)), leaf, func(level int, index int64, hashes []byte) error {
		r.tiles[tileKey{level, index}] = hashes
		return nil
	})
	return err
}

// ArchiveTimeStamp is what the renewal appends to the chain given as number i:
// to the record of every object of that batch. token is the DER ContentInfo that
// stamps Root.
func (r *TimestampRenewal) ArchiveTimeStamp(i int, token []byte) (ArchiveTimeStamp, error) {
	siblings, err := Path(r.hash, int64(len(r.groups)), int64(i), func(level int, index int64) ([]byte, error) {
		return r.tiles[tileKey{level, index}], nil
	})
	if err != nil {
		return ArchiveTimeStamp{}, fmt.Errorf("renewing time-stamps: %w", err)
	}
	return ArchiveTimeStamp{Hash: r.hash, ReducedHashtree: Reduced(r.groups[i], siblings), Token: bytes.Clone(token)}, nil
}

// RenewHashTree prepares the renewal of the second kind of RFC 4998 section 5.2
// for one record: given the hashes of its group's members under the new
// algorithm h, it returns what takes their place in the new tree, in the same
// order: H(H(d) || H(ATSC)), each concatenated in that order and not sorted
// (steps 3 and 4), where ATSC is the record's sequence in DER.
//
// The GroupHash of the result is the object's leaf in the new batch tree; the
// new ArchiveTimeStamp is {h, Reduced(result, Path(...)), token}, to be given to
// AppendChain (steps 5 and 6). It fails on an unusable algorithm, a digest of the
// wrong length, no digest, or a record that cannot be written.
func (r *EvidenceRecord) RenewHashTree(h crypto.Hash, digests [][]byte) ([][]byte, error) {
	if err := checkDigests(h, digests); err != nil {
		return nil, fmt.Errorf("renewing hash tree: %w", err)
	}
	sequence, err := r.SequenceDER()
	if err != nil {
		return nil, fmt.Errorf("renewing hash tree: %w", err)
	}
	return bindSequence(h, digests, sum(h, sequence)), nil
}

func bindSequence(h crypto.Hash, digests [][]byte, sequence []byte) [][]byte {
	bound := make([][]byte, len(digests))
	for i, d := range digests {
		bound[i] = sum(h, d, sequence)
	}
	return bound
}

// bindSorted is the reading of erratum 7411: the two hashes in binary ascending
// order. It is only verified, never written.
func bindSorted(h crypto.Hash, digests [][]byte, sequence []byte) [][]byte {
	bound := make([][]byte, len(digests))
	for i, d := range digests {
		bound[i] = GroupHash(h, d, sequence)
	}
	return bound
}

func checkDigests(h crypto.Hash, digests [][]byte) error {
	if !usable(h) {
		return fmt.Errorf("hash algorithm %v is not usable", h)
	}
	if len(digests) == 0 {
		return errors.New("the group has no member")
	}
	for i, d := range digests {
		if len(d) != h.Size() {
			return fmt.Errorf("digest %d has %d bytes, want %d", i+1, len(d), h.Size())
		}
	}
	return nil
}
