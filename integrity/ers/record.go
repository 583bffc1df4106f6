package ers

import (
	"crypto"
	"slices"
)

// Bounds of what Parse reads. They are far above what centuries of renewals
// need and keep the cost of a hostile record small: verification hashes all
// earlier chains once for each later one.
const (
	MaxRecord       = 16 << 20 // bytes of a record
	MaxAlgorithms   = 16       // entries of digestAlgorithms
	MaxChains       = 64       // chains in a record
	MaxTimeStamps   = 1024     // ArchiveTimeStamps in a chain
	MaxLists        = 256      // PartialHashtrees in a reducedHashtree
	MaxHashesInList = 1 << 16  // hashes in a PartialHashtree
)

// EvidenceRecord is an EvidenceRecord (RFC 4998 section 3.1). Chains is its
// ArchiveTimeStampSequence, oldest first, each an ArchiveTimeStampChain,
// oldest first (section 5.1).
type EvidenceRecord struct {
	Version          int
	DigestAlgorithms []crypto.Hash
	Chains           [][]ArchiveTimeStamp

	// CryptoInfos is the DER of the cryptoInfos [0] field, or nil. It is kept
	// and never trusted: no time-stamp covers it (section 3.1).
	CryptoInfos []byte

	// withNull are those of DigestAlgorithms that a parsed record stated with
	// NULL parameters, which Marshal repeats.
	withNull []crypto.Hash
}

// ArchiveTimeStamp is an ArchiveTimeStamp (RFC 4998 section 4.1).
type ArchiveTimeStamp struct {
	Hash            crypto.Hash  // of the hash tree and of the token's imprint
	ReducedHashtree [][][]byte   // PartialHashtrees, the first holding the covered hashes; nil when absent
	Token           []byte       // DER ContentInfo: an RFC 3161 TimeStampToken
	Attributes      []byte       // DER of the attributes [1] field, or nil; kept, not interpreted
	form            identifyForm // how a parsed one stated Hash, which Marshal repeats
}

// identifyForm is how an ArchiveTimeStamp states its hash algorithm. All three
// are valid and differ in their bytes, which later chains hash.
type identifyForm uint8

const (
	explicitForm identifyForm = iota // digestAlgorithm [0] without parameters: ours
	nullForm                         // digestAlgorithm [0] with NULL parameters
	impliedForm                      // no digestAlgorithm: that of the token's imprint (section 4.1)
)

// New composes the evidence record of a first ArchiveTimeStamp.
func New(first ArchiveTimeStamp) *EvidenceRecord {
	return &EvidenceRecord{
		Version:          1,
		DigestAlgorithms: []crypto.Hash{first.Hash},
		Chains:           [][]ArchiveTimeStamp{{first}},
	}
}

// Append adds the ArchiveTimeStamp of a time-stamp renewal to the last chain
// (RFC 4998 section 5.2, first kind).
func (r *EvidenceRecord) Append(renewal ArchiveTimeStamp) {
	last := len(r.Chains) - 1
	r.Chains[last] = append(slices.Clip(r.Chains[last]), renewal)
}

// AppendChain begins a chain with the ArchiveTimeStamp of a hash-tree renewal
// and lists its algorithm (RFC 4998 section 5.2, second kind, step 6).
func (r *EvidenceRecord) AppendChain(renewal ArchiveTimeStamp) {
	r.Chains = append(slices.Clip(r.Chains), []ArchiveTimeStamp{renewal})
	if !slices.Contains(r.DigestAlgorithms, renewal.Hash) {
		r.DigestAlgorithms = append(slices.Clip(r.DigestAlgorithms), renewal.Hash)
	}
}

// Tokens returns the tokens of a chain in order: what RenewTimestamps takes.
func Tokens(chain []ArchiveTimeStamp) [][]byte {
	tokens := make([][]byte, len(chain))
	for i, a := range chain {
		tokens[i] = a.Token
	}
	return tokens
}
