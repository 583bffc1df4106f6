package archive

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sae/archive/vault"
	"sae/integrity"
	"sae/integrity/ers"
)

// What the catalogue stores. A record is one line of JSON, and behind it what
// could tell something about a person, enciphered under the record's own data key
// with that line as associated data: a record whose clear part was changed does
// not open.

// unitRecord is one version of a unit's metadata; its secret is the salt and the
// Description. It becomes durable, and visible, with the ledger entry that it names.
type unitRecord struct {
	Unit      string    `json:"unit"`
	Version   int       `json:"version"`
	Tenant    string    `json:"tenant"`
	Agreement string    `json:"agreement"`
	Agency    string    `json:"agency,omitempty"`
	Channel   Channel   `json:"channel,omitempty"`
	Rule      string    `json:"rule,omitempty"`
	Parents   []string  `json:"parents,omitempty"`
	Objects   []string  `json:"objects,omitempty"`
	Operation string    `json:"operation"`
	Time      time.Time `json:"time"`
	Entry     int64     `json:"entry"` // ledger index
	Item      int64     `json:"item"`  // number of the item in the entry
	Leaf      uint64    `json:"leaf"`  // leaf number, in the order of evidence
	Key       uint64    `json:"key"`   // data key number
	// First is the deposit, of a version that another operation made.
	First *deposited `json:"first,omitempty"`
}

// deposited is the operation that brought a unit into the archive.
type deposited struct {
	Operation string    `json:"operation"`
	Time      time.Time `json:"time"`
	Entry     int64     `json:"entry"`
	Leaf      uint64    `json:"leaf"` // of the first version: index rows stand under it
	Key       uint64    `json:"key"`  // of the first version: named rows stand in its group
}

// deposited is how the unit came, whatever the version.
func (r *unitRecord) deposited() deposited {
	if r.First != nil {
		return *r.First
	}
	return deposited{r.Operation, r.Time, r.Entry, r.Leaf, r.Key}
}

// objectRecord is one binary object of a unit; its secret is the salt and the
// SHA-256 of the content.
type objectRecord struct {
	Object  string `json:"object"`
	Unit    string `json:"unit"`
	Version int    `json:"version"`        // of the unit, that brought the object
	Usage   string `json:"usage"`          // SEDA: BinaryMaster...
	From    string `json:"from,omitempty"` // the object that it was converted from
	Size    int64  `json:"size"`           // bytes of content
	Format  Format `json:"format"`
	Blob    string `json:"blob"`
	Pack    bool   `json:"pack,omitempty"`   // the blob has other objects too
	Offset  int64  `json:"offset,omitempty"` // in bytes, of the ciphertext in the pack
	Cipher  []byte `json:"cipher"`           // SHA-256 of the ciphertext: scrubbing needs no key
	Policy  string `json:"policy,omitempty"` // storage policy; "" is the archive's own
	Entry   int64  `json:"entry"`
	Item    int64  `json:"item"`
	Leaf    uint64 `json:"leaf"`
	Key     uint64 `json:"key"`
}

// batchRecord is one sealed batch: the leaves [First, First+Count) and, as last
// leaf, the checkpoint. It becomes durable together with its Seal entry.
type batchRecord struct {
	ID         string         `json:"id"`
	First      uint64         `json:"first"`
	Count      uint64         `json:"count"` // leaves of the catalogue; the checkpoint comes on top
	Root       integrity.Hash `json:"root"`
	Checkpoint []byte         `json:"checkpoint"` // signed note, the last leaf
	Authority  string         `json:"authority"`
	Stamped    time.Time      `json:"stamped"`
	Token      []byte         `json:"token"` // RFC 3161, with certificates and revocation data inside
	Entry      int64          `json:"entry"`
}

// operationRecord keeps, as its secret, what an operation says in words: a salt
// and the text, which the entry commits to.
type operationRecord struct {
	Operation string `json:"operation"`
	Entry     int64  `json:"entry"`
	Key       uint64 `json:"key"`
}

// agentRecord keeps, as its secret, a salt and the name behind an agent's pseudonym.
type agentRecord struct {
	Agent string `json:"agent"`
	Key   uint64 `json:"key"`
}

// debtRecord is a copy that is missing in an offer.
type debtRecord struct {
	Since time.Time `json:"since"`
	Why   string    `json:"why"`
}

// sealed is the part of a record that only its data key opens.
type sealed struct{ clear, cipher []byte }

// encodeRecord gives the stored form of a record and its secret part, under the
// record's data key.
func encodeRecord(record any, key [32]byte, secret []byte) []byte {
	clear := mustJSON(record)
	return append(append(clear, '\n'), vault.Seal(recordKey(key), clear, secret)...)
}

// decodeRecord reads the clear part of a stored record into record and gives the
// sealed one, as a copy that outlives the transaction.
func decodeRecord(value []byte, record any) (sealed, error) {
	clear, cipher, ok := bytes.Cut(bytes.Clone(value), []byte{'\n'})
	if !ok {
		return sealed{}, errors.New("record without a sealed part")
	}
	return sealed{clear, cipher}, json.Unmarshal(clear, record)
}

// decodeClear reads the clear part alone.
func decodeClear(value []byte, record any) error {
	clear, _, ok := bytes.Cut(value, []byte{'\n'})
	if !ok {
		return errors.New("record without a sealed part")
	}
	return json.Unmarshal(clear, record)
}

// open gives the secret part: a salt and what follows it.
func (s sealed) open(key [32]byte) (salt [saltSize]byte, rest []byte, err error) {
	b, err := vault.Open(recordKey(key), s.clear, s.cipher)
	if err == nil && len(b) < saltSize {
		err = fmt.Errorf("%d bytes, shorter than its salt", len(b))
	}
	if err != nil {
		return salt, nil, err
	}
	return [saltSize]byte(b), b[saltSize:], nil
}

// recordKey separates the key of a record's sealed part from that of the stream.
func recordKey(key [32]byte) [32]byte { return vault.Derive(key, "sae record") }

const saltSize = 32

func newKey() (key [32]byte) {
	rand.Read(key[:]) // never fails: the program ends if the system has no randomness
	return key
}

func newSalt() (salt [saltSize]byte) {
	rand.Read(salt[:])
	return salt
}

// leafRow is the value of a leaf: what is sealed, and where the ledger speaks of it.
func leafRow(leaf integrity.Hash, entry, item int64) []byte {
	b := binary.BigEndian.AppendUint64(leaf[:], uint64(entry))
	return binary.BigEndian.AppendUint64(b, uint64(item))
}

func parseLeafRow(b []byte) (leaf integrity.Hash, entry, item int64, err error) {
	if len(b) != len(leaf)+16 {
		return leaf, 0, 0, fmt.Errorf("leaf row of %d bytes", len(b))
	}
	n := len(leaf)
	return integrity.Hash(b), int64(binary.BigEndian.Uint64(b[n:])), int64(binary.BigEndian.Uint64(b[n+8:])), nil
}

// groupLeaf is the leaf of a data object group {content, salt} (RFC 4998 section
// 4.2): the hash of the two hashes in binary order.
func groupLeaf(content [sha256.Size]byte, salt [saltSize]byte) integrity.Hash {
	saltHash := sha256.Sum256(salt[:])
	return integrity.Hash(ers.GroupHash(crypto.SHA256, content[:], saltHash[:]))
}

// Keys of the buckets.

func unitKey(unit string, version int) []byte {
	return binary.BigEndian.AppendUint32([]byte(unit), uint32(version))
}
func itemKey(entry, item int64) []byte {
	return append(be64(uint64(entry)), be64(uint64(item))...)
}
func tileKey(first uint64, level int, index int64) []byte {
	return append(append(be64(first), byte(level)), be64(uint64(index))...)
}
func wrappedKey(level int, index uint64) []byte { return append([]byte{byte(level)}, be64(index)...) }
func debtKey(offer, blob string) []byte         { return []byte(offer + "\x00" + blob) }

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the records above always encode
	}
	return b
}
