package integrity

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

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

var errReceipt = errors.New("parsing receipt: not in the one form that a C2SP tlog-proof has here")

// ParseReceipt reads a receipt; it verifies nothing, Check does. The text must
// be exactly what Marshal writes.
func ParseReceipt(text []byte) (Receipt, error) {
	if len(text) > maxReceipt {
		return Receipt{}, fmt.Errorf("parsing receipt: %d bytes, more than %d", len(text), maxReceipt)
	}
	head, checkpoint, _ := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if len(lines) < 3 || len(lines) > 3+63 {
		return Receipt{}, errReceipt
	}
	r := Receipt{Checkpoint: []byte(checkpoint)}
	var err error
	if r.Entry, err = base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra ")); err != nil {
		return Receipt{}, errReceipt
	}
	if r.Index, err = strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64); err != nil || r.Index < 0 {
		return Receipt{}, errReceipt
	}
	for _, l := range lines[3:] {
		h, err := tlog.ParseHash(l)
		if err != nil {
			return Receipt{}, errReceipt
		}
		r.Proof = append(r.Proof, h)
	}
	if !bytes.Equal(r.Marshal(), text) {
		return Receipt{}, errReceipt
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
	if i < 0 || i >= cp.Size || cp.Size > maxTree {
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
	case older.Size < 0 || newer.Size > maxTree:
		return fmt.Errorf("a ledger of %d or %d entries", older.Size, newer.Size)
	case older.Size == 0:
		return nil
	}
	if err := tlog.CheckTree(proof, newer.Size, newer.Root, older.Size, older.Root); err != nil {
		return fmt.Errorf("the ledger of %d entries is not the beginning of that of %d: %w", older.Size, newer.Size, err)
	}
	return nil
}
