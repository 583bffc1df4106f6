// Package certificate writes and verifies destruction certificates: one JSON file which proves,
// without the archive, that each unit of an elimination existed, since when it was sealed, when it
// was destroyed, and under which visa.
//
// It is an object of the members form, head, entries and list, in this order. All proofs are of
// many leaves at once (integrity.ProveMany), so that units that came or went together share them.
// It names no person: agents are pseudonyms, what units were about is gone with them.
//
// Invariants:
//   - all that Verify says rests on the ledger's signature, the time-stamps and the hashes below
//     them; what else stands in the head tells it nothing;
//   - memory of a verification grows with the number of units, entries and objects, by some
//     hundred bytes each, not with their text.
package certificate

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"sae/integrity"
)

// Form is the first member of a certificate.
const Form = "sae-destruction-certificate/1"

// Head is what stands once.
type Head struct {
	Elimination string           `json:"elimination"`
	Authority   string           `json:"archivalAgency"`
	At          string           `json:"at"`        // day for which retentions were looked at
	Units       int64            `json:"units"`     // of the list
	Destroyed   int64            `json:"destroyed"` // of them
	Made        time.Time        `json:"made"`
	Exports     []Export         `json:"exports,omitempty"` // that handed destroyed units out before: copies that others may hold
	Copies      Copies           `json:"copies"`
	Effective   *time.Time       `json:"effectiveFrom,omitempty"` // when no sealed root key from before the destructions may be left
	LedgerKey   string           `json:"ledgerKey"`               // note verifier key
	Checkpoint  string           `json:"checkpoint"`              // signed
	Ledger      []integrity.Hash `json:"ledger"`                  // proof of the entries under the checkpoint
	Batches     []Batch          `json:"batches"`
}

// Export is an export that handed out units of the list.
type Export struct {
	Operation string    `json:"operation"`
	Entry     int64     `json:"ledgerEntry"`
	Time      time.Time `json:"time"`
	Message   string    `json:"message"`
	Units     int64     `json:"units"` // of the list
}

// Copies says what became of the copies of objects. Those that wait are ciphertext of which no
// key exists any more, kept by a lock or by an offer that is down.
type Copies struct {
	Deleted int64 `json:"deleted"`
	Waiting int64 `json:"waiting"`
}

// Batch is a batch of leaves under one time-stamp (RFC 4998 section 4.2).
type Batch struct {
	First  uint64           `json:"first"`  // number of its first leaf
	Leaves int64            `json:"leaves"` // the checkpoint, which is the last, included
	Token  []byte           `json:"token"`  // RFC 3161
	Proof  []integrity.Hash `json:"proof"`  // of the leaves that stand here
}

// Entry is a ledger entry.
type Entry struct {
	Index int64            `json:"index"`
	Entry []byte           `json:"entry"`           // as it stands in the ledger
	Items []integrity.Hash `json:"items,omitempty"` // proof of the items that stand here
}

// Place is where a commitment stands.
type Place struct {
	Entry int64  `json:"entry"` // of the ledger
	Item  int64  `json:"item"`  // of the entry
	Leaf  uint64 `json:"leaf"`
}

// Listed is a unit of the list: destroyed, when it has a tombstone.
type Listed struct {
	Number  int64  `json:"number"`
	Unit    string `json:"unit"`
	Version int    `json:"version"`
	// Kept says why it was not destroyed: a code.
	Kept      string          `json:"kept,omitempty"`
	Tombstone json.RawMessage `json:"tombstone,omitempty"` // the bytes that were committed to
	Salt      []byte          `json:"salt,omitempty"`
	Destroyed *Place          `json:"destroyed,omitempty"`
	Archived  []Commitment    `json:"archived,omitempty"`
}

// Commitment is what the ledger holds of a version of a unit or, when Object is set, of an
// object. What it committed to is gone.
type Commitment struct {
	Place
	Version int            `json:"version"`
	Object  string         `json:"object,omitempty"`
	Hash    integrity.Hash `json:"commitment"`
}

// Writer writes a certificate: entries in the order of their indexes, then the list in the
// order of its numbers, then Close.
type Writer struct {
	w     *bufio.Writer
	list  bool
	comma bool
}

// NewWriter begins a certificate.
func NewWriter(w io.Writer, h Head) (*Writer, error) {
	b, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	out := &Writer{w: bufio.NewWriter(w)}
	_, err = fmt.Fprintf(out.w, "{\"form\":%q,\n\"head\":%s,\n\"entries\":[", Form, b)
	return out, err
}

// Entry writes one.
func (w *Writer) Entry(e Entry) error {
	if w.list {
		return errors.New("an entry behind the list")
	}
	return w.element(e)
}

// Listed writes one unit of the list.
func (w *Writer) Listed(u Listed) error {
	if !w.list {
		w.list, w.comma = true, false
		if _, err := w.w.WriteString("],\n\"list\":["); err != nil {
			return err
		}
	}
	return w.element(u)
}

func (w *Writer) element(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if w.comma {
		w.w.WriteByte(',')
	}
	w.comma = true
	w.w.WriteByte('\n')
	_, err = w.w.Write(b)
	return err
}

// Close ends the certificate.
func (w *Writer) Close() error {
	if !w.list {
		return errors.New("no list")
	}
	w.w.WriteString("]}\n")
	return w.w.Flush()
}

// FormError says that a file is not a certificate.
type FormError struct {
	Where, Why string
}

func (e *FormError) Error() string { return "not a destruction certificate: " + e.Where + ": " + e.Why }

// reader reads what a Writer wrote, an element at a time.
type reader struct {
	d     *json.Decoder
	limit *io.LimitedReader
}

// maxElement bounds one element, and the head: a token has its certificates and revocation
// lists, and there is one for each batch.
const maxElement = 256 << 20

func newReader(r io.Reader) *reader {
	limit := &io.LimitedReader{R: r, N: maxElement}
	d := json.NewDecoder(limit)
	d.DisallowUnknownFields()
	return &reader{d, limit}
}

func (r *reader) token(want any, where string) error {
	r.limit.N = maxElement
	got, err := r.d.Token()
	if err != nil || got != want {
		return &FormError{where, fmt.Sprintf("want %v", want)}
	}
	return nil
}

func (r *reader) value(v any, where string) error {
	r.limit.N = maxElement
	if err := r.d.Decode(v); err != nil {
		return &FormError{where, "not JSON of its form"} // the cause could quote it
	}
	return nil
}

// array calls f for each element of the array that is the next member.
func array[T any](r *reader, name string, f func(T) error) error {
	if err := r.token(name, name); err != nil {
		return err
	}
	if err := r.token(json.Delim('['), name); err != nil {
		return err
	}
	for n := 0; r.d.More(); n++ {
		var v T
		if err := r.value(&v, fmt.Sprintf("%s, element %d", name, n)); err != nil {
			return err
		}
		if err := f(v); err != nil {
			return err
		}
		r.limit.N = maxElement
	}
	return r.token(json.Delim(']'), name)
}

// read reads a certificate.
func read(src io.Reader, head func(Head) error, entry func(Entry) error, listed func(Listed) error) error {
	r := newReader(src)
	var form string
	var h Head
	for _, step := range []func() error{
		func() error { return r.token(json.Delim('{'), "its beginning") },
		func() error { return r.token("form", "its first member") },
		func() error { return r.value(&form, "form") },
		func() error {
			if form != Form {
				return &FormError{"form", "this program knows " + Form}
			}
			return r.token("head", "its second member")
		},
		func() error { return r.value(&h, "head") },
		func() error { return head(h) },
		func() error { return array(r, "entries", entry) },
		func() error { return array(r, "list", listed) },
		func() error { return r.token(json.Delim('}'), "its end") },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	r.limit.N = maxElement
	if _, err := r.d.Token(); err != io.EOF {
		return &FormError{"its end", "something stands behind it"}
	}
	return nil
}
