package ers

import (
	"crypto"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Marshal writes the record in DER (RFC 4998 section 3.1). What Parse read is
// written byte for byte; an ArchiveTimeStamp made by this package states its
// digestAlgorithm without parameters, and digestAlgorithms lists every algorithm
// used. It fails on a record that Parse would refuse.
func (r *EvidenceRecord) Marshal() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("writing evidence record: %w", err)
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(int64(r.Version))
		b.AddASN1(cbasn1.SEQUENCE, r.addAlgorithms)
		b.AddBytes(r.CryptoInfos)
		addSequence(b, r.Chains)
	})
	der, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("writing evidence record: %w", err)
	}
	// The rest of what Parse would refuse: a token, attribute or bound given
	// wrong, which would otherwise be found when the evidence is needed.
	if _, err := Parse(der); err != nil {
		return nil, fmt.Errorf("writing evidence record: %w", err)
	}
	return der, nil
}

// check finds what cannot be written at all: unknown algorithms, missing parts.
func (r *EvidenceRecord) check() error {
	if len(r.Chains) == 0 {
		return errors.New("no chain")
	}
	for _, h := range r.DigestAlgorithms {
		if _, known := algorithmByHash(h); !known {
			return fmt.Errorf("hash algorithm %v is not known", h)
		}
	}
	for c, chain := range r.Chains {
		if len(chain) == 0 {
			return fmt.Errorf("chain %d is empty", c+1)
		}
		for i := range chain {
			if err := chain[i].check(); err != nil {
				return fmt.Errorf("%s: %w", target(c, i), err)
			}
		}
	}
	return nil
}

func (a *ArchiveTimeStamp) check() error {
	if _, known := algorithmByHash(a.Hash); !known {
		return fmt.Errorf("hash algorithm %v is not known", a.Hash)
	}
	if a.ReducedHashtree != nil && len(a.ReducedHashtree) == 0 {
		return errors.New("reducedHashtree is empty")
	}
	for i, list := range a.ReducedHashtree {
		if len(list) == 0 {
			return fmt.Errorf("list %d is empty", i+1)
		}
		wrong := func(h []byte) bool { return len(h) != a.Hash.Size() }
		if slices.ContainsFunc(list, wrong) {
			return fmt.Errorf("list %d holds a hash of the wrong length", i+1)
		}
	}
	return nil
}

// addAlgorithms writes the listed algorithms, then those that are used and not
// listed.
func (r *EvidenceRecord) addAlgorithms(b *cryptobyte.Builder) {
	listed := slices.Clip(r.DigestAlgorithms)
	for _, chain := range r.Chains {
		for _, a := range chain {
			if !slices.Contains(listed, a.Hash) {
				listed = append(listed, a.Hash)
			}
		}
	}
	for _, h := range listed {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			addAlgorithm(b, h, slices.Contains(r.withNull, h))
		})
	}
}

func addAlgorithm(b *cryptobyte.Builder, h crypto.Hash, null bool) {
	a, _ := algorithmByHash(h)
	b.AddASN1ObjectIdentifier(a.oid)
	if null {
		b.AddASN1NULL()
	}
}

// SequenceDER is the DER of the record's ArchiveTimeStampSequence: what a
// hash-tree renewal hashes as atsc(i) (RFC 4998 section 5.2 step 3), tags and
// lengths included.
func (r *EvidenceRecord) SequenceDER() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("writing archive time-stamp sequence: %w", err)
	}
	return sequenceDER(r.Chains)
}

func sequenceDER(chains [][]ArchiveTimeStamp) ([]byte, error) {
	var b cryptobyte.Builder
	addSequence(&b, chains)
	der, err := b.Bytes()
	if err != nil {
		return nil, fmt.Errorf("writing archive time-stamp sequence: %w", err)
	}
	return der, nil
}

func addSequence(b *cryptobyte.Builder, chains [][]ArchiveTimeStamp) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, chain := range chains {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				for i := range chain {
					b.AddASN1(cbasn1.SEQUENCE, chain[i].addFields)
				}
			})
		}
	})
}

func (a *ArchiveTimeStamp) addFields(b *cryptobyte.Builder) {
	if a.form != impliedForm {
		b.AddASN1(tag0, func(b *cryptobyte.Builder) { addAlgorithm(b, a.Hash, a.form == nullForm) })
	}
	b.AddBytes(a.Attributes)
	if a.ReducedHashtree != nil {
		b.AddASN1(tag2, func(b *cryptobyte.Builder) {
			for _, list := range a.ReducedHashtree {
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { addHashes(b, list) })
			}
		})
	}
	b.AddBytes(a.Token)
}

func addHashes(b *cryptobyte.Builder, hashes [][]byte) {
	for _, h := range hashes {
		b.AddASN1OctetString(h)
	}
}
