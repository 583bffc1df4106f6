package ers

import (
	"bytes"
	"crypto"
	"encoding/asn1"
	"fmt"
	"slices"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// ParseError says where a record departs from RFC 4998 and how.
type ParseError struct {
	Place  string // e.g. "chain 1, time-stamp 2"
	Reason string
}

func (e *ParseError) Error() string {
	return "parsing " + e.Place + ": " + e.Reason
}

func refuse(place, format string, a ...any) error {
	return &ParseError{Place: place, Reason: fmt.Sprintf(format, a...)}
}

const wholeRecord = "evidence record"

var (
	tag0 = cbasn1.Tag(0).ContextSpecific().Constructed()
	tag1 = cbasn1.Tag(1).ContextSpecific().Constructed()
	tag2 = cbasn1.Tag(2).ContextSpecific().Constructed()
)

// Parse reads an evidence record in DER (RFC 4998 sections 3.1, 4.1 and 5.1,
// Appendix B). Its error is a *ParseError: not DER, bytes after the record,
// another version, an unknown hash algorithm, a hash of the wrong length, a
// bound exceeded, or encryptionInfo, which this package cannot honour. Tokens
// are only delimited: their verification reads them.
func Parse(der []byte) (*EvidenceRecord, error) {
	if len(der) > MaxRecord {
		return nil, refuse(wholeRecord, "longer than %d bytes", MaxRecord)
	}
	// The record must not change when the caller reuses its buffer.
	input := cryptobyte.String(bytes.Clone(der))
	var body cryptobyte.String
	if !input.ReadASN1(&body, cbasn1.SEQUENCE) {
		return nil, refuse(wholeRecord, "not a DER SEQUENCE")
	}
	if !input.Empty() {
		return nil, refuse(wholeRecord, "%d bytes after the record", len(input))
	}
	r := &EvidenceRecord{}
	for _, field := range []func(*cryptobyte.String) error{
		r.parseVersion, r.parseAlgorithms, r.parseInfos, r.parseSequence,
	} {
		if err := field(&body); err != nil {
			return nil, err
		}
	}
	if !body.Empty() {
		return nil, refuse(wholeRecord, "%d bytes after archiveTimeStampSequence", len(body))
	}
	if err := r.checkListed(); err != nil {
		return nil, err
	}
	return r, nil
}

// checkListed holds the record to section 3.1: digestAlgorithms lists every
// hash algorithm that the record uses.
func (r *EvidenceRecord) checkListed() error {
	for c, chain := range r.Chains {
		for i, a := range chain {
			if !slices.Contains(r.DigestAlgorithms, a.Hash) {
				return refuse(target(c, i), "uses %v, which digestAlgorithms does not list", a.Hash)
			}
		}
	}
	return nil
}

func (r *EvidenceRecord) parseVersion(s *cryptobyte.String) error {
	if !s.ReadASN1Integer(&r.Version) {
		return refuse(wholeRecord, "version is not an INTEGER")
	}
	if r.Version != 1 {
		return refuse(wholeRecord, "version %d, want 1", r.Version)
	}
	return nil
}

func (r *EvidenceRecord) parseAlgorithms(s *cryptobyte.String) error {
	const place = "digestAlgorithms"
	var list cryptobyte.String
	if !s.ReadASN1(&list, cbasn1.SEQUENCE) || list.Empty() {
		return refuse(place, "not a SEQUENCE of at least one")
	}
	for !list.Empty() {
		var identifier cryptobyte.String
		if !list.ReadASN1(&identifier, cbasn1.SEQUENCE) {
			return refuse(place, "entry %d is not a SEQUENCE", len(r.DigestAlgorithms)+1)
		}
		hash, form, err := parseAlgorithm(place, &identifier)
		if err != nil {
			return err
		}
		if slices.Contains(r.DigestAlgorithms, hash) {
			return refuse(place, "%v is listed twice", hash)
		}
		if len(r.DigestAlgorithms) == MaxAlgorithms {
			return refuse(place, "more than %d", MaxAlgorithms)
		}
		r.DigestAlgorithms = append(r.DigestAlgorithms, hash)
		if form == nullForm {
			r.withNull = append(r.withNull, hash)
		}
	}
	return nil
}

// parseAlgorithm reads the content of an AlgorithmIdentifier (RFC 5280 section
// 4.1.1.2). Hash algorithms take no parameters: absent, or NULL as older makers
// write (RFC 5754 section 2).
func parseAlgorithm(place string, s *cryptobyte.String) (crypto.Hash, identifyForm, error) {
	var oid asn1.ObjectIdentifier
	if !s.ReadASN1ObjectIdentifier(&oid) {
		return 0, 0, refuse(place, "hash algorithm has no OBJECT IDENTIFIER")
	}
	a, known := algorithmByOID(oid)
	if !known {
		return 0, 0, refuse(place, "hash algorithm %v is not known", oid)
	}
	if s.Empty() {
		return a.hash, explicitForm, nil
	}
	var null cryptobyte.String
	if !s.ReadASN1(&null, cbasn1.NULL) || !null.Empty() || !s.Empty() {
		return 0, 0, refuse(place, "hash algorithm %v has parameters", a.hash)
	}
	return a.hash, nullForm, nil
}

// parseInfos reads the optional cryptoInfos [0] and refuses encryptionInfo [1].
func (r *EvidenceRecord) parseInfos(s *cryptobyte.String) error {
	if s.PeekASN1Tag(tag0) {
		raw, err := parseAttributes("cryptoInfos", s, tag0)
		if err != nil {
			return err
		}
		r.CryptoInfos = raw
	}
	if s.PeekASN1Tag(tag1) {
		return refuse("encryptionInfo", "not supported: the record proves ciphertext that its document alone does not give (RFC 4998 section 6)")
	}
	return nil
}

// parseAttributes reads a field of at least one Attribute and returns it whole.
// The order of a SET is kept: section 4.1 gives it a meaning.
func parseAttributes(place string, s *cryptobyte.String, tag cbasn1.Tag) ([]byte, error) {
	var element, attributes, attribute, values cryptobyte.String
	var oid asn1.ObjectIdentifier
	if !s.ReadASN1Element(&element, tag) {
		return nil, refuse(place, "not DER")
	}
	raw := []byte(element)
	if !element.ReadASN1(&attributes, tag) || attributes.Empty() {
		return nil, refuse(place, "no Attribute")
	}
	for !attributes.Empty() {
		if !attributes.ReadASN1(&attribute, cbasn1.SEQUENCE) ||
			!attribute.ReadASN1ObjectIdentifier(&oid) ||
			!attribute.ReadASN1(&values, cbasn1.SET) || !attribute.Empty() {
			return nil, refuse(place, "malformed Attribute")
		}
		for !values.Empty() {
			if !values.ReadAnyASN1Element(new(cryptobyte.String), new(cbasn1.Tag)) {
				return nil, refuse(place, "malformed value of Attribute %v", oid)
			}
		}
	}
	return raw, nil
}

// parseSequence reads an ArchiveTimeStampSequence (section 5.1).
func (r *EvidenceRecord) parseSequence(s *cryptobyte.String) error {
	const place = "archiveTimeStampSequence"
	var sequence, chain cryptobyte.String
	if !s.ReadASN1(&sequence, cbasn1.SEQUENCE) || sequence.Empty() {
		return refuse(place, "not a SEQUENCE of at least one chain")
	}
	for !sequence.Empty() {
		if len(r.Chains) == MaxChains {
			return refuse(place, "more than %d chains", MaxChains)
		}
		if !sequence.ReadASN1(&chain, cbasn1.SEQUENCE) || chain.Empty() {
			return refuse(place, "chain %d is not a SEQUENCE of at least one time-stamp", len(r.Chains)+1)
		}
		if err := r.parseChain(&chain); err != nil {
			return err
		}
	}
	return nil
}

func (r *EvidenceRecord) parseChain(s *cryptobyte.String) error {
	var chain []ArchiveTimeStamp
	for !s.Empty() {
		place := target(len(r.Chains), len(chain))
		if len(chain) == MaxTimeStamps {
			return refuse(place, "more than %d time-stamps in the chain", MaxTimeStamps)
		}
		a, err := parseArchiveTimeStamp(place, s)
		if err != nil {
			return err
		}
		chain = append(chain, a)
	}
	r.Chains = append(r.Chains, chain)
	return nil
}

// target names an ArchiveTimeStamp by its indexes.
func target(chain, timeStamp int) string {
	return fmt.Sprintf("chain %d, time-stamp %d", chain+1, timeStamp+1)
}

// parseArchiveTimeStamp reads an ArchiveTimeStamp (section 4.1).
func parseArchiveTimeStamp(place string, s *cryptobyte.String) (a ArchiveTimeStamp, err error) {
	var body, algorithm, tree cryptobyte.String
	var stated, reduced bool
	if !s.ReadASN1(&body, cbasn1.SEQUENCE) || !body.ReadOptionalASN1(&algorithm, &stated, tag0) {
		return a, refuse(place, "not a DER SEQUENCE")
	}
	if a.form = impliedForm; stated {
		if a.Hash, a.form, err = parseAlgorithm(place, &algorithm); err != nil {
			return a, err
		}
	}
	if body.PeekASN1Tag(tag1) {
		if a.Attributes, err = parseAttributes(place+", attributes", &body, tag1); err != nil {
			return a, err
		}
	}
	if !body.ReadOptionalASN1(&tree, &reduced, tag2) {
		return a, refuse(place, "reducedHashtree is not DER")
	}
	if a.Token, err = parseToken(place, &body); err != nil {
		return a, err
	}
	if !body.Empty() {
		return a, refuse(place, "%d bytes after timeStamp", len(body))
	}
	if !stated {
		if a.Hash, _, err = tokenImprint(place, a.Token); err != nil {
			return a, err
		}
	}
	if reduced {
		a.ReducedHashtree, err = parseTree(place, &tree, a.Hash.Size())
	}
	return a, err
}

// parseTree reads the PartialHashtrees of a reducedHashtree. Lists out of
// binary order are accepted: verification sorts what it hashes.
func parseTree(place string, s *cryptobyte.String, size int) ([][][]byte, error) {
	place += ", reducedHashtree"
	tree := [][][]byte{}
	for !s.Empty() {
		var list cryptobyte.String
		if len(tree) == MaxLists {
			return nil, refuse(place, "more than %d lists", MaxLists)
		}
		if !s.ReadASN1(&list, cbasn1.SEQUENCE) {
			return nil, refuse(place, "list %d is not a SEQUENCE", len(tree)+1)
		}
		hashes, err := parseList(fmt.Sprintf("%s, list %d", place, len(tree)+1), &list, size)
		if err != nil {
			return nil, err
		}
		tree = append(tree, hashes)
	}
	if len(tree) == 0 {
		return nil, refuse(place, "present but empty")
	}
	return tree, nil
}

func parseList(place string, s *cryptobyte.String, size int) ([][]byte, error) {
	if s.Empty() {
		return nil, refuse(place, "no hash")
	}
	var list [][]byte
	for !s.Empty() {
		var h cryptobyte.String
		if len(list) == MaxHashesInList {
			return nil, refuse(place, "more than %d hashes", MaxHashesInList)
		}
		if !s.ReadASN1(&h, cbasn1.OCTET_STRING) {
			return nil, refuse(place, "hash %d is not an OCTET STRING", len(list)+1)
		}
		if len(h) != size {
			return nil, refuse(place, "hash %d has %d bytes, want %d", len(list)+1, len(h), size)
		}
		list = append(list, h)
	}
	return list, nil
}
