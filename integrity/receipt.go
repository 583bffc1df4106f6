package integrity

import (
	"errors"
	"fmt"

	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Receipt is what a depositor keeps: the entry of the operation, and the proof
// that a checkpoint signed by the ledger covers it. Its text form is C2SP
// tlog-proof, with the entry's bytes as its extra data.
type Receipt struct {
	Index      int64  // number of the entry
	Entry      []byte // its bytes
	Proof      []Hash // inclusion proof in the checkpoint's tree
	Checkpoint []byte // signed note
}

// maxReceipt bounds a receipt: base64 of the longest entry, 63 hashes, a checkpoint.
const maxReceipt = 256 << 10

// Marshal gives the receipt as a C2SP tlog-proof.
func (r Receipt) Marshal() []byte {
	p := proof.TLogProof{Index: uint64(r.Index), Checkpoint: r.Checkpoint, ExtraData: r.Entry}
	for _, h := range r.Proof {
		p.Hashes = append(p.Hashes, h)
	}
	return p.Marshal()
}

// ParseReceipt reads a receipt; it verifies nothing, Check does. The text must
// be exactly what Marshal writes.
func ParseReceipt(text []byte) (Receipt, error) {
	if len(text) > maxReceipt {
		return Receipt{}, fmt.Errorf("parsing receipt: %d bytes, more than %d", len(text), maxReceipt)
	}
	var p proof.TLogProof
	if err := p.Unmarshal(text); err != nil {
		return Receipt{}, fmt.Errorf("parsing receipt: %w", err)
	}
	if p.Index > 1<<62 || len(p.Hashes) > 63 {
		return Receipt{}, errors.New("parsing receipt: index or proof out of bounds")
	}
	r := Receipt{Index: int64(p.Index), Entry: p.ExtraData, Checkpoint: p.Checkpoint}
	for _, h := range p.Hashes {
		r.Proof = append(r.Proof, h)
	}
	if string(r.Marshal()) != string(text) {
		return Receipt{}, errors.New("parsing receipt: not in the one form a receipt has (stray bytes or line ends)")
	}
	return r, nil
}

// Check verifies the receipt under the ledger's key and gives its entry and the
// checkpoint that covers it.
func (r Receipt) Check(key note.Verifier) (Entry, Checkpoint, error) {
	cp, err := ParseCheckpoint(r.Checkpoint, key)
	if err != nil {
		return Entry{}, Checkpoint{}, fmt.Errorf("checking receipt: %w", err)
	}
	if err := CheckInclusion(cp, r.Index, r.Entry, r.Proof); err != nil {
		return Entry{}, Checkpoint{}, fmt.Errorf("checking receipt: %w", err)
	}
	e, err := ParseEntry(r.Entry)
	if err != nil {
		return Entry{}, Checkpoint{}, fmt.Errorf("checking receipt: %w", err)
	}
	return e, cp, nil
}

// CheckInclusion verifies that the entry with the given bytes is number i of the
// ledger that the checkpoint stands for (RFC 6962 section 2.1.1).
func CheckInclusion(cp Checkpoint, i int64, entry []byte, proof []Hash) error {
	if i < 0 || i >= cp.Size {
		return fmt.Errorf("entry %d is not in a ledger of %d entries", i, cp.Size)
	}
	if err := tlog.CheckRecord(proof, cp.Size, cp.Root, i, tlog.RecordHash(entry)); err != nil {
		return fmt.Errorf("entry %d is not covered by the checkpoint of size %d: %w", i, cp.Size, err)
	}
	return nil
}

// CheckConsistency verifies that the ledger of the newer checkpoint begins with
// that of the older one (RFC 6962 section 2.1.2).
func CheckConsistency(older, newer Checkpoint, proof []Hash) error {
	switch {
	case older.Origin != newer.Origin:
		return fmt.Errorf("checkpoints of two ledgers, %q and %q", older.Origin, newer.Origin)
	case older.Size > newer.Size:
		return fmt.Errorf("the ledger shrank from %d to %d entries", older.Size, newer.Size)
	case older.Size == 0:
		return nil
	}
	if err := tlog.CheckTree(proof, newer.Size, newer.Root, older.Size, older.Root); err != nil {
		return fmt.Errorf("the ledger of %d entries is not the beginning of that of %d: %w", older.Size, newer.Size, err)
	}
	return nil
}
