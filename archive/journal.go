package archive

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"sae/archive/blobs"
	"sae/archive/stream"
	"sae/archive/vault"
)

// The journal makes every offer enough to rebuild the catalogue from. Each transaction of
// the catalogue is first written to the offers as a blob: all rows that it puts and
// deletes. It is made durable by the sync that makes the content of the same operations
// durable, and before the transaction is; a journal blob whose transaction did not take
// place is litter like any other blob that the catalogue does not know.
//
// A journal blob is
//
//	sae-journal 1 LF
//	a line of JSON: journalHeader
//	ciphertext (archive/stream) of the rows, deflated, under the journal key
//
// with the first two lines as associated data. Blobs are chained: each names the SHA-256 of
// the one before. One that is whole begins anew: it has every row of the catalogue, and those
// before it are not needed any more. docs/storage.md says how to read them without this program.

// journalHeader is the clear part of a journal blob: it tells nothing about what is archived.
type journalHeader struct {
	Archive  string    `json:"archive"`
	Sequence uint64    `json:"sequence"`           // from 1
	Made     time.Time `json:"made"`               // of two with one sequence, the later took place
	Previous string    `json:"previous,omitempty"` // SHA-256 of the blob before, hex; "" when there is none
	Whole    bool      `json:"whole,omitempty"`    // it holds every row, and needs none before
	Keys     [][]byte  `json:"keys"`               // wrapped keys from level 3 down to data key 0, from which the journal key is derived
}

const journalMagic = "sae-journal 1\n"

// maxJournalHeader bounds the header, in bytes.
const maxJournalHeader = 4096

// metaJournal is the row of the last journal blob, a journalState.
var metaJournal = []byte("journal")

// journalState is where the journal stands.
type journalState struct {
	Sequence uint64 `json:"sequence"` // of the last blob
	SHA256   string `json:"sha256"`   // of it, hex; "" when there is none to go on from
	Whole    int64  `json:"whole"`    // bytes of the last whole blob
	Since    int64  `json:"since"`    // bytes of those behind it
	Blobs    int    `json:"blobs"`    // how many there are behind it
}

// due reports whether the journal is to begin anew: it has no beginning, or reading all that
// stands behind the last whole blob would take longer than reading a new one.
func (s *journalState) due() bool {
	return s.SHA256 == "" || s.Since > 2*s.Whole && s.Since > journalSlack || s.Blobs > maxJournalBlobs && s.Since > s.Whole/8
}

// branch makes the journal begin anew, far behind whatever blobs the offers may hold of a
// catalogue that was given up: the highest sequence is what a rebuilding goes by.
func (s *journalState) branch() {
	s.Sequence += 1 << 32
	s.SHA256 = ""
}

// Behind these, a new whole blob is worth its writing.
const (
	journalSlack    = 64 << 20 // bytes
	maxJournalBlobs = 4096
)

// journalSession is the session under which journal blobs are named: those of objects begin
// with another letter.
func journalSession(session string) string { return "j" + session[1:] }

// journalBlob marks, in the bucket of blobs, one that is a journal's.
const journalBlob = "journal "

// journalKey is the key of all journal blobs of an archive.
func journalKey(indexKey [32]byte) [32]byte { return vault.Derive(indexKey, "sae journal") }

// Operations in a journal blob. A row is the operation, the bucket's name, the key and, for
// a put, the value, each behind its length as a uvarint.
const (
	journalEnd    = 0
	journalPut    = 1
	journalDelete = 2
)

// journal gathers the rows of a transaction.
type journal struct{ rows bytes.Buffer }

func (j *journal) put(b bucket, key, value []byte) {
	j.rows.WriteByte(journalPut)
	writeRow(&j.rows, []byte(b), key, value)
}

func (j *journal) delete(b bucket, key []byte) {
	j.rows.WriteByte(journalDelete)
	writeRow(&j.rows, []byte(b), key)
}

func writeRow(w io.Writer, parts ...[]byte) error {
	var n [binary.MaxVarintLen64]byte
	for _, p := range parts {
		if _, err := w.Write(n[:binary.PutUvarint(n[:], uint64(len(p)))]); err != nil {
			return err
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// refusedOps says that a transaction is given up, and made anew of those operations that may
// still take place: copies which it relies on were lost while it was made durable, or a unit that an
// operation needs was destroyed.
type refusedOps struct{ refused map[*operation]error }

func (e *refusedOps) Error() string { return "some operations of the transaction cannot take place" }

// update changes the catalogue, after the same was written to the offers. ops are the
// operations whose content the transaction relies on.
func (a *Archive) update(ops []*operation, f func(*tx) error) error {
	var c *copies
	err := a.beginJournal()
	if err != nil {
		return err
	}
	err = a.cat.update(func(t *tx) (err error) {
		t.log = &journal{}
		if err := f(t); err != nil {
			return err
		}
		log := t.log
		t.log = nil
		c, err = a.writeJournal(t, ops, log)
		return err
	})
	return a.settleJournal(c, err)
}

// settleJournal removes the journal blob of a transaction that did not take place. Of one
// whose outcome is not known it is left, and nothing more is written: reopening tells.
func (a *Archive) settleJournal(c *copies, err error) error {
	var uncertain *commitError
	switch {
	case errors.As(err, &uncertain):
		a.fail(err)
	case err != nil && c != nil:
		a.removeBlob(c.name())
	}
	return err
}

// writeJournal writes what a transaction does to the offers, syncs them, and registers the
// blob in the transaction.
func (a *Archive) writeJournal(t *tx, ops []*operation, log *journal) (*copies, error) {
	s, err := t.journalState()
	if err != nil {
		return nil, err
	}
	if s.SHA256 == "" && !bringContent(ops) {
		return nil, nil // it waits for an offer
	}
	if s.SHA256 == "" {
		return nil, errors.New("the catalogue could not be written to the offers: see sae status")
	}
	c, err := a.journalCopies(t, ops, journalHeader{Sequence: s.Sequence + 1, Previous: s.SHA256}, func(w io.Writer) error {
		_, err := w.Write(log.rows.Bytes())
		return err
	})
	switch {
	case err != nil:
		return c, err
	case c == nil: // no offer took it: the next one is whole
		s.SHA256 = ""
		return nil, t.put(bktMeta, metaJournal, mustJSON(s))
	}
	s.Since, s.Blobs = s.Since+c.size, s.Blobs+1
	return c, a.registerJournal(t, c, s)
}

// bringContent reports whether operations want the storage policy's copies of the journal: those
// that bring content, and those that replace the root key, which opens no journal from before.
func bringContent(ops []*operation) bool {
	return slices.ContainsFunc(ops, func(op *operation) bool { return len(op.landed) > 0 || op.last != nil })
}

// journalCopies writes a journal blob and makes it durable, together with the content of
// the operations. It gives nil when no offer took it and no content depends on it.
func (a *Archive) journalCopies(t *tx, ops []*operation, h journalHeader, rows func(io.Writer) error) (*copies, error) {
	ctx := context.Background()
	h.Archive, h.Made = a.config.Archive, time.Now().UTC()
	var err error
	if h.Keys, err = vault.Path(keyStore{t}, indexKeyNumber); err != nil {
		return nil, err
	}
	deposits := bringContent(ops)
	c, err := a.createCopies(ctx, journalSession(a.session), a.policy(""), !deposits)
	if err != nil {
		if deposits {
			return nil, err
		}
		return nil, nil
	}
	if err := writeJournalBlob(c, journalKey(a.indexKey), h, rows); err != nil {
		if !deposits && c.left() == 0 { // it is the offers that failed
			return nil, nil
		}
		c.abort()
		return nil, err
	}
	if err := c.close(); err != nil {
		if deposits {
			return c, err
		}
		return nil, nil
	}
	landed := []*landing{c.at}
	for _, op := range ops {
		landed = append(landed, op.landed...)
	}
	notSynced := a.syncLanded(landed)
	lost := &refusedOps{refused: map[*operation]error{}}
	again := false
	for _, op := range ops {
		changed, err := a.settle(op.landed, notSynced)
		if err != nil {
			lost.refused[op] = err
		}
		again = again || changed || err != nil
	}
	if again {
		return c, lost
	}
	if _, err := a.settle([]*landing{c.at}, notSynced); err != nil && (deposits || len(c.at.in) == 0) {
		if deposits {
			return c, err
		}
		return nil, nil
	}
	return c, nil
}

func writeJournalBlob(w io.Writer, key [32]byte, h journalHeader, rows func(io.Writer) error) error {
	head := append(append([]byte(journalMagic), mustJSON(h)...), '\n')
	if _, err := w.Write(head); err != nil {
		return err
	}
	buffered := bufio.NewWriterSize(w, behindSize)
	s, err := stream.NewWriter(buffered, key, head)
	if err != nil {
		return err
	}
	z, err := flate.NewWriter(s, flate.BestSpeed)
	if err != nil {
		return err
	}
	if err := rows(z); err != nil {
		return err
	}
	if _, err := z.Write([]byte{journalEnd}); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	return buffered.Flush()
}

// registerJournal puts into the transaction what its own journal blob cannot tell.
func (a *Archive) registerJournal(t *tx, c *copies, s journalState) error {
	sum := c.sum.Sum(nil)
	s.Sequence, s.SHA256 = s.Sequence+1, hex.EncodeToString(sum)
	if err := t.put(bktMeta, metaJournal, mustJSON(s)); err != nil {
		return err
	}
	if err := t.put(bktBlob, []byte(c.name()), append([]byte(journalBlob), sum...)); err != nil {
		return err
	}
	return a.putDebts(t, c.at, c.name())
}

func (a *Archive) putDebts(t *tx, l *landing, blob string) error {
	return t.putAll(a.debtsOf(l, blob, now()))
}

// debtsOf gives the rows of the copies of a blob that are still to be made.
func (a *Archive) debtsOf(l *landing, blob string, since time.Time) (out []record) {
	owe := func(i int, why string) {
		out = append(out, record{bktDebt, debtKey(a.offers[i].name, blob), mustJSON(debtRecord{Since: since, Why: why})})
	}
	for i, why := range l.failed {
		owe(i, why.Error())
	}
	for i, later := range l.policy.later {
		if later {
			owe(i, "the storage policy wants it copied afterwards")
		}
	}
	return out
}

// journalState gives where the journal stands.
func (t *tx) journalState() (s journalState, err error) {
	v, err := t.get(bktMeta, metaJournal)
	if err == nil && v != nil {
		err = json.Unmarshal(v, &s)
	}
	return s, err
}

// beginJournal writes the whole catalogue to the offers when there is no journal to go on
// with, or it has grown long; then the blobs before are not needed any more.
func (a *Archive) beginJournal() error {
	var s journalState
	err := a.cat.view(func(t *tx) (err error) {
		s, err = t.journalState()
		return err
	})
	if err != nil || !s.due() {
		return err
	}
	return a.renewJournal()
}

// renewJournal writes the whole catalogue to the offers, and removes the blobs before. They are
// known as unused from the transaction on that gives them up until they are gone: who is killed
// in between leaves nothing that nobody knows.
func (a *Archive) renewJournal() error {
	var old []string
	err := a.cat.view(func(t *tx) (err error) {
		old, err = t.journalBlobs()
		return err
	})
	if err != nil {
		return err
	}
	begun, err := a.wholeJournal()
	if err != nil || !begun || len(old) == 0 {
		return err
	}
	when := now()
	err = a.cat.update(func(t *tx) error {
		for _, name := range old {
			if err := a.unuse(t, name, when); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = a.dropJournal(old, when)
	}
	if err != nil {
		return fmt.Errorf("beginning a new journal: %w", err)
	}
	return nil
}

// dropJournal deletes blobs that a journal had. Copies that cannot be deleted now wait among the
// unused ones. It writes to no journal: who rebuilds the catalogue finds the blobs, or not.
func (a *Archive) dropJournal(names []string, when time.Time) error {
	waits, err := a.owing()
	if err != nil {
		return err
	}
	var batch []unused
	for _, name := range names {
		for _, o := range a.offers {
			batch = append(batch, unused{o.name, name, unusedRecord{Since: when}})
		}
	}
	d := deletion{}
	err = a.deleteBatch(context.Background(), a.cat.update, batch, waits, &d)
	for _, u := range d.left {
		a.log.Warn("a blob of an earlier journal waits for its deletion", "offer", u.offer, "blob", u.blob, "reason", u.Why)
	}
	return err
}

// journalBlobs gives the names of all journal blobs.
func (t *tx) journalBlobs() (names []string, err error) {
	err = t.scan(bktBlob, []byte("j"), []byte("k"), func(k, _ []byte) (bool, error) {
		names = append(names, string(k))
		return true, nil
	})
	return names, err
}

// wholeJournal writes a journal blob with every row. When no offer takes it, there is still
// none; a transaction that brings content will then be refused for the same reason.
func (a *Archive) wholeJournal() (done bool, err error) {
	var c *copies
	err = a.cat.update(func(t *tx) error {
		s, err := t.journalState()
		if err != nil {
			return err
		}
		h := journalHeader{Sequence: s.Sequence + 1, Previous: s.SHA256, Whole: true}
		c, err = a.journalCopies(t, nil, h, func(w io.Writer) error {
			return t.eachRow(func(b bucket, k, v []byte) error {
				if b == bktBlob && bytes.HasPrefix(v, []byte(journalBlob)) || b == bktMeta && string(k) == string(metaJournal) {
					return nil // who reads the journal knows its blobs
				}
				if _, err := w.Write([]byte{journalPut}); err != nil {
					return err
				}
				return writeRow(w, []byte(b), k, v)
			})
		})
		if err != nil || c == nil {
			return err
		}
		s.Whole, s.Since, s.Blobs = c.size, 0, 0
		return a.registerJournal(t, c, s)
	})
	if err = a.settleJournal(c, err); err != nil {
		return false, fmt.Errorf("writing the catalogue to the offers: %w", err)
	}
	return c != nil, nil
}

// eachRow calls f for every row of the catalogue.
func (t *tx) eachRow(f func(b bucket, key, value []byte) error) error {
	for _, b := range allBuckets {
		err := t.scan(b, nil, nil, func(k, v []byte) (bool, error) {
			err := f(b, k, v)
			return err == nil, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// readHeader reads the header of a journal blob and gives its length.
func readHeader(b io.ReaderAt) (h journalHeader, head []byte, err error) {
	r := bufio.NewReader(io.NewSectionReader(b, 0, maxJournalHeader))
	magic := make([]byte, len(journalMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != journalMagic {
		return h, nil, errors.New("not a journal blob")
	}
	line, err := r.ReadBytes('\n')
	if err != nil {
		return h, nil, errors.New("its header does not end")
	}
	if err := json.Unmarshal(line, &h); err != nil {
		return h, nil, fmt.Errorf("its header: %w", err)
	}
	return h, append(magic, line...), nil
}

// Bounds of a row of a journal blob, in bytes.
const (
	maxJournalKey   = 1 << 15
	maxJournalValue = 64 << 20
)

// readJournal calls f for each row of a journal blob, in order; value is nil for a row that
// was deleted. Slices are valid only inside f.
func readJournal(b blobs.Blob, key [32]byte, head []byte, f func(b bucket, key, value []byte) error) error {
	size := b.Size() - int64(len(head))
	s, err := stream.NewReader(key, head, stream.Source{Name: "journal", ReaderAt: io.NewSectionReader(b, int64(len(head)), size), Size: size})
	if err != nil {
		return err
	}
	return readRows(bufio.NewReaderSize(flate.NewReader(onlyReader{s}), 1<<16), f)
}

// readRows reads rows up to the mark of their end, behind which nothing may stand.
func readRows(r *bufio.Reader, f func(b bucket, key, value []byte) error) error {
	var buf [3][]byte
	part := func(i, most int) ([]byte, error) {
		n, err := binary.ReadUvarint(r)
		if err == nil && n > uint64(most) {
			err = fmt.Errorf("a part of %d bytes, more than %d", n, most)
		}
		if err != nil {
			return nil, err
		}
		if uint64(cap(buf[i])) < n {
			buf[i] = make([]byte, n)
		}
		buf[i] = buf[i][:n]
		_, err = io.ReadFull(r, buf[i])
		return buf[i], err
	}
	for {
		op, err := r.ReadByte()
		if err != nil {
			return fmt.Errorf("the rows end too early: %w", err)
		}
		if op == journalEnd {
			if _, err := r.ReadByte(); err != io.EOF {
				return errors.New("bytes behind the last row")
			}
			return nil
		}
		if op > journalDelete {
			return fmt.Errorf("operation %d is not known", op)
		}
		name, err := part(0, 64)
		if err != nil {
			return err
		}
		k, err := part(1, maxJournalKey)
		if err != nil {
			return err
		}
		var v []byte
		if op == journalPut {
			if v, err = part(2, maxJournalValue); err != nil {
				return err
			}
			if v == nil {
				v = []byte{}
			}
		}
		if err := f(bucket(name), k, v); err != nil {
			return err
		}
	}
}
