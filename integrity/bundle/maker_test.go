package bundle

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"sae/integrity"
	"sae/integrity/ers"
	"sae/integrity/tsp"
)

// maker is a small archive: a ledger, batches, and an authority. What it archives
// goes into its bundle.
type maker struct {
	t       testing.TB
	now     time.Time // moves on by a minute with every entry
	tsa     *tsp.Local
	vkey    string
	signer  note.Signer
	entries [][]byte
	hashes  stored
	waiting []waiting // for the next batch
	bundle  Bundle

	// What a test makes otherwise than an archive would.
	description string      // instead of the true one of a unit
	count       int64       // instead of the true number of items
	witness     note.Signer // signs checkpoints too
}

// waiting is a proof that lacks its record and its receipt.
type waiting struct {
	proof   Proof
	entry   int64
	members [][]byte // digests
}

type stored []tlog.Hash

func (s stored) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, s[i])
	}
	return out, nil
}

// file is an object of a unit.
type file struct{ id, name, content string }

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func newMaker(t testing.TB) *maker {
	t.Helper()
	tsa, err := tsp.NewLocal("tests", start)
	check(t, err)
	m := &maker{t: t, now: start, tsa: tsa}
	tsa.Now = func() time.Time { return m.now }
	skey, vkey, err := note.GenerateKey(rand.Reader, "ledger.example/tests")
	check(t, err)
	m.signer, err = note.NewSigner(skey)
	check(t, err)
	m.vkey, m.bundle.LedgerKey = vkey, vkey
	return m
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// append adds an entry to the ledger.
func (m *maker) append(kind integrity.Kind, items *integrity.Items) int64 {
	m.t.Helper()
	m.now = m.now.Add(time.Minute)
	n := int64(len(m.entries))
	b, err := integrity.Entry{Version: 1, Kind: kind, Time: m.now, Tenant: "archives",
		Operation: fmt.Sprintf("p%d", n), Agent: "a1", Items: items}.Marshal()
	check(m.t, err)
	hashes, err := tlog.StoredHashes(n, b, m.hashes)
	check(m.t, err)
	m.hashes, m.entries = append(m.hashes, hashes...), append(m.entries, b)
	return n
}

// fill appends entries that are in no proof.
func (m *maker) fill(n int) {
	for range n {
		m.append(integrity.Audit, nil)
	}
}

// deposit archives a unit and its files in one operation of as many items, with
// others more before and behind.
func (m *maker) deposit(unit string, others int, files ...file) {
	m.t.Helper()
	contents := []file{{id: unit, content: describe(m.t, unit, files...)}}
	if m.description != "" {
		contents[0].content = m.description
	}
	contents = append(contents, files...)
	var tree integrity.ItemTree
	for i := range others / 2 {
		tree.Add(fmt.Appendf(nil, "other item %d", i))
	}
	first := len(m.waiting)
	for i, f := range contents {
		w := waiting{proof: Proof{ID: f.id, Filename: f.name, Size: int64(len(f.content)), Salt: sha256.Sum256([]byte("salt" + f.id)),
			Open: content(f.content)}}
		digest, salt := sha256.Sum256([]byte(f.content)), sha256.Sum256(w.proof.Salt[:])
		w.members = [][]byte{digest[:], salt[:]}
		item := integrity.Item{Unit: unit, Version: 1, Leaf: tlog.Hash(ers.GroupHash(crypto.SHA256, w.members...))}
		if f.name != "" {
			item.Object = f.id
		}
		w.proof.Item = ItemProof{Item: item.Marshal(), Index: int64(others/2 + i)}
		tree.Add(w.proof.Item.Item)
		m.waiting = append(m.waiting, w)
	}
	for i := others / 2; i < others; i++ {
		tree.Add(fmt.Appendf(nil, "other item %d", i))
	}
	items := tree.Items()
	if m.count != 0 {
		items.Count = m.count
	}
	entry := m.append(integrity.Deposit, items)
	for i := range m.waiting[first:] {
		w := &m.waiting[first+i]
		w.entry = entry
		var err error
		w.proof.Item.Proof, err = tree.Prove(w.proof.Item.Index)
		check(m.t, err)
	}
}

func content(text string) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(text))), nil }
}

// describe gives the JSON that describes a unit.
func describe(t testing.TB, unit string, files ...file) string {
	t.Helper()
	d := description{Unit: unit}
	for _, f := range files {
		original := f.name
		if f.name == SafeName(hostileName) {
			original = hostileName
		}
		d.Objects = append(d.Objects, described{ID: f.id, Filename: original, SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(f.content)))})
	}
	b, err := json.Marshal(d)
	check(t, err)
	return string(b)
}

// hostileName is a file name as no file should have.
const hostileName = "..\\dé \"$(reboot)\" & `x`*[a]\n.pdf"

// checkpoint signs the present state of the ledger.
func (m *maker) checkpoint() (integrity.Checkpoint, []byte) {
	m.t.Helper()
	n := int64(len(m.entries))
	root, err := tlog.TreeHash(n, m.hashes)
	check(m.t, err)
	cp := integrity.Checkpoint{Origin: m.signer.Name(), Size: n, Root: root}
	signed, err := cp.Sign(m.signer)
	check(m.t, err)
	if m.witness != nil {
		n, err := note.Open(signed, note.VerifierList(m.verifier()))
		check(m.t, err)
		signed, err = note.Sign(n, m.witness)
		check(m.t, err)
	}
	return cp, signed
}

// seal puts what waits and other leaves into a batch, whose last leaf is the
// checkpoint, and completes the proofs.
func (m *maker) seal(others int) {
	m.t.Helper()
	cp, signed := m.checkpoint()
	digest := sha256.Sum256(signed)
	groups := [][][]byte{}
	for _, w := range m.waiting {
		groups = append(groups, w.members)
	}
	for i := range others {
		other := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		groups = append(groups, [][]byte{other[:]})
	}
	groups = append(groups, [][]byte{digest[:]})
	records, token := m.stamp(groups)
	for i, w := range m.waiting {
		w.proof.Record = records[i]
		w.proof.Receipt = m.receipt(w.entry, cp.Size, signed)
		m.bundle.Proofs = append(m.bundle.Proofs, w.proof)
	}
	m.waiting = nil
	m.bundle.Checkpoints = append(m.bundle.Checkpoints, Checkpoint{signed, cp.Size, records[len(records)-1], token})
}

func (m *maker) verifier() note.Verifier {
	m.t.Helper()
	v, err := note.NewVerifier(m.vkey)
	check(m.t, err)
	return v
}

func (m *maker) receipt(entry, size int64, signed []byte) integrity.Receipt {
	m.t.Helper()
	proof, err := tlog.ProveRecord(size, entry, m.hashes)
	check(m.t, err)
	return integrity.Receipt{Index: entry, Entry: m.entries[entry], Proof: proof, Checkpoint: signed}
}

// stamp makes the evidence records of groups, as leaves of one batch.
func (m *maker) stamp(groups [][][]byte) (records [][]byte, token []byte) {
	m.t.Helper()
	n := int64(len(groups))
	type place struct {
		level int
		index int64
	}
	tiles := map[place][]byte{}
	leaf := func(i int64) ([]byte, error) { return ers.GroupHash(crypto.SHA256, groups[i]...), nil }
	for i := range n {
		h, _ := leaf(i)
		tiles[place{0, i / 256}] = append(tiles[place{0, i / 256}], h...)
	}
	root, err := ers.Build(crypto.SHA256, n, leaf, func(level int, index int64, hashes []byte) error {
		tiles[place{level, index}] = hashes
		return nil
	})
	check(m.t, err)
	m.now = m.now.Add(time.Minute)
	stamped, err := m.tsa.Timestamp(m.t.Context(), crypto.SHA256, root)
	check(m.t, err)
	for i := range n {
		siblings, err := ers.Path(crypto.SHA256, n, i, func(level int, index int64) ([]byte, error) { return tiles[place{level, index}], nil })
		check(m.t, err)
		der, err := ers.New(ers.ArchiveTimeStamp{Hash: crypto.SHA256, ReducedHashtree: ers.Reduced(groups[i], siblings), Token: stamped.Raw}).Marshal()
		check(m.t, err)
		records = append(records, der)
	}
	return records, stamped.Raw
}

// zip writes the bundle.
func (m *maker) zip() []byte {
	m.t.Helper()
	return write(m.t, m.bundle)
}

func write(t testing.TB, b Bundle) []byte {
	t.Helper()
	var w bytes.Buffer
	check(t, Write(&w, b))
	return w.Bytes()
}

// roots are those of the maker's authority.
func (m *maker) roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(m.tsa.Root)
	return p
}

func (m *maker) rootsPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.tsa.Root.Raw})
}

// one is the smallest bundle of a document.
func one(t testing.TB) *maker {
	t.Helper()
	m := newMaker(t)
	m.deposit("u1", 0, file{"o1", "lettre.txt", "Bonjour.\n"})
	m.seal(0)
	return m
}

// verify gives the report, or fails the test when there is none.
func verify(t testing.TB, zip []byte, o Options) *Report {
	t.Helper()
	r, err := Verify(bytes.NewReader(zip), int64(len(zip)), o)
	check(t, err)
	return r
}

// problems lists the checks with a status other than OK.
func problems(r *Report) (out []string) {
	for _, c := range r.Checks {
		if c.Status != integrity.OK {
			out = append(out, fmt.Sprintf("%s: %s of %s: %s", c.Status, c.Name, c.Target, c.Detail))
		}
	}
	return out
}
