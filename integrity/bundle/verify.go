package bundle

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"sae/integrity"
	"sae/integrity/ers"
	"sae/integrity/tsp"
)

// Options say whom a verifier trusts.
type Options struct {
	// Roots are the roots of the time-stamping authorities. nil: the bundle is
	// verified against the roots that it carries itself, and the report says that
	// the time then rests on the bundle's own word.
	Roots *x509.CertPool
	// LedgerKey, when not empty, is the ledger's note verifier key as the verifier
	// knows it. Empty: the key in the bundle, which the time-stamps do not cover.
	LedgerKey string
}

// Verdict is the outcome of a verification.
type Verdict string

// The verdicts.
const (
	Verified   Verdict = "verified"                                        // every check passed, under roots the verifier gave
	OwnRoots   Verdict = "verified, but only under the bundle's own roots" // whoever made the bundle could have made the time-stamps
	NotTrusted Verdict = "failed"
)

// Document is what a bundle proves about one data object.
type Document struct {
	Member    string    `json:"member"`
	ID        string    `json:"id"`
	Unit      string    `json:"unit"`
	SHA256    string    `json:"sha256"`
	Archived  time.Time `json:"archived"`  // time of the ledger entry
	Stamped   time.Time `json:"stamped"`   // proof of existence: genTime of the first token
	Operation string    `json:"operation"` // of the deposit
	Index     int64     `json:"ledgerIndex"`
}

// Report is the outcome of Verify: every check that was made, and the verdict.
type Report struct {
	Verdict   Verdict           `json:"verdict"`
	Documents []Document        `json:"documents"`
	Checks    []integrity.Check `json:"checks"`
}

// Verify verifies a bundle. The error is a *ContainerError, or of reading r: then
// there is no report. All else is in the report.
func Verify(r io.ReaderAt, size int64, o Options) (*Report, error) {
	c, err := openContainer(r, size)
	if err != nil {
		return nil, err
	}
	v := &verifier{c: c, options: o, report: &Report{Documents: []Document{}}, expected: map[string]bool{"SHA256SUMS": true},
		sums: map[string][sha256.Size]byte{}, tokens: map[string]stamped{}, bundle: Bundle{}}
	if err := v.run(); err != nil {
		return nil, err
	}
	v.conclude()
	return v.report, nil
}

type verifier struct {
	c        *opened
	options  Options
	key      note.Verifier
	report   *Report
	bundle   Bundle // as read back, to write its texts again
	parsed   []*tsp.Token
	expected map[string]bool // members that were accounted for
	sums     map[string][sha256.Size]byte
	tokens   map[string]stamped // verified, by token and imprint
}

// stamped is a verified token.
type stamped struct {
	time    time.Time
	expires time.Time // end of validity of the certificate that signed it
	checks  []integrity.Check
}

// expiry is the end of the first certificate for time-stamping that a token
// carries to end: its signer's, when it carries one, as is usual.
func expiry(t *tsp.Token) (end time.Time) {
	for _, c := range t.Certificates {
		if slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageTimeStamping) && (end.IsZero() || c.NotAfter.Before(end)) {
			end = c.NotAfter
		}
	}
	return end
}

func (v *verifier) add(name, target string, err error) bool {
	c := integrity.Check{Name: name, Target: target, Status: integrity.OK}
	if err != nil {
		c.Status, c.Detail = integrity.Failed, err.Error()
	}
	v.report.Checks = append(v.report.Checks, c)
	return err == nil
}

// run does every check; its error is for what cannot be read at all.
func (v *verifier) run() error {
	if err := v.checkSums(); err != nil {
		return err
	}
	if b, err := v.c.small("mimetype"); err != nil || string(b) != mediaType {
		return &ContainerError{"mimetype", "not " + mediaType}
	}
	v.expected["mimetype"] = true
	if err := v.readKey(); err != nil {
		return err
	}
	for _, name := range v.c.order {
		if id, ok := between(name, "ledger/checkpoint-", ".txt"); ok {
			if err := v.checkpoint(id); err != nil {
				return err
			}
		}
	}
	for _, name := range v.c.order {
		if id, ok := between(name, "ledger/", ".item"); ok {
			if err := v.proof(id); err != nil {
				return err
			}
		}
	}
	v.descriptions()
	v.texts()
	return v.nothingElse()
}

func between(name, prefix, suffix string) (string, bool) {
	s, ok := strings.CutPrefix(name, prefix)
	s, ok2 := strings.CutSuffix(s, suffix)
	return s, ok && ok2 && s != "" && !strings.Contains(s, "/")
}

// checkSums hashes every member, once, and holds it against SHA256SUMS, which
// must list exactly the others in their order.
func (v *verifier) checkSums() error {
	list, err := v.c.small("SHA256SUMS")
	if err != nil {
		return err
	}
	var want bytes.Buffer
	for _, name := range v.c.order {
		if name == "SHA256SUMS" {
			continue
		}
		if v.sums[name], err = v.c.sum(name); err != nil {
			return err
		}
		fmt.Fprintf(&want, "%x  %s\n", v.sums[name], name)
	}
	if !bytes.Equal(list, want.Bytes()) {
		err = fmt.Errorf("SHA256SUMS does not list the members as they are: %s", firstDifference(list, want.Bytes()))
	}
	v.add("member digests", "SHA256SUMS", err)
	return nil
}

func firstDifference(have, want []byte) string {
	h, w := strings.Split(string(have), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(h), len(w)) {
		if h[i] != w[i] {
			_, name, _ := strings.Cut(w[i], "  ")
			return fmt.Sprintf("line %d, member %q", i+1, name)
		}
	}
	return "number of lines"
}

// same compares a member with what it must be, byte for byte.
func (v *verifier) same(name string, want []byte) error {
	v.expected[name] = true
	have, err := v.c.small(name)
	if err == nil && !bytes.Equal(have, want) {
		err = fmt.Errorf("%s is not what the other members make it", name)
	}
	return err
}

func (v *verifier) take(name string) ([]byte, error) {
	v.expected[name] = true
	return v.c.small(name)
}

func (v *verifier) readKey() error {
	b, err := v.take("ledger/key.txt")
	if err != nil {
		return err
	}
	vkey := strings.TrimSuffix(string(b), "\n")
	if v.key, err = note.NewVerifier(vkey); err != nil {
		return &ContainerError{"ledger/key.txt", err.Error()}
	}
	keyPEM, err := integrity.LedgerKeyPEM(vkey)
	if err == nil {
		err = v.same("ledger/key.pem", keyPEM)
	}
	v.add("ledger key", "ledger/key.pem", err)
	v.bundle.LedgerKey = vkey
	if known := v.options.LedgerKey; known != "" {
		if known != vkey {
			err = fmt.Errorf("the bundle carries %s, the verifier knows %s", vkey, known)
		}
		v.add("ledger key known", "ledger/key.txt", err)
		return nil
	}
	v.report.Checks = append(v.report.Checks, integrity.Check{Name: "ledger key known", Target: "ledger/key.txt", Status: integrity.NotCheckable,
		Detail: "no ledger key was given: the checkpoint's signature is verified with the key in the bundle"})
	return nil
}

// checkpoint verifies a checkpoint, its evidence record and its token.
func (v *verifier) checkpoint(id string) error {
	size, err := strconv.ParseInt(id, 10, 64)
	name := checkpointName(size)
	target := "ledger/" + name + ".txt"
	if err != nil || "checkpoint-"+id != name {
		return &ContainerError{"ledger/checkpoint-" + id + ".txt", "no ledger size in its name"}
	}
	signed, err := v.take(target)
	if err != nil {
		return err
	}
	cp, err := integrity.ParseCheckpoint(signed, v.key)
	if err == nil && cp.Size != size {
		err = fmt.Errorf("it stands for %d entries", cp.Size)
	}
	v.add("checkpoint signature", target, err)
	der, err := v.take(recordName(name))
	if err != nil {
		return err
	}
	digest := v.sums[target]
	record := v.record(der, name, digest[:])
	v.add("manifest", manifestName(name), v.same(manifestName(name), manifest(recordName(name), dataObject{target, digest[:]})))
	b := Checkpoint{Signed: signed, Size: size, Record: der}
	if record != nil {
		if token := v.tokenFiles(name, record); token != nil {
			b.Token = token.Raw
			v.parsed = append(v.parsed, token)
			v.bundle.Checkpoints = append(v.bundle.Checkpoints, b)
		}
	}
	return nil
}

// record parses and verifies an evidence record over the given digests; nil when
// it does not parse.
func (v *verifier) record(der []byte, target string, digests ...[]byte) *ers.EvidenceRecord {
	r, err := ers.Parse(der)
	if !v.add("evidence record form", target, err) {
		return nil
	}
	checks, at := ers.Verify(r, func(h crypto.Hash) ([][]byte, error) { return v.digests(h, target, digests) }, v.token)
	for _, c := range checks {
		c.Target = target + ", " + c.Target
		v.report.Checks = append(v.report.Checks, c)
	}
	if len(v.report.Documents) > 0 {
		if d := &v.report.Documents[len(v.report.Documents)-1]; d.ID == target {
			d.Stamped = at
		}
	}
	return r
}

// digests gives the group's digests under the first algorithm, or hashes its
// members again under another (RFC 4998 section 5.3).
func (v *verifier) digests(h crypto.Hash, id string, known [][]byte) ([][]byte, error) {
	if h == crypto.SHA256 {
		return known, nil
	}
	names := []string{"ledger/" + id + ".txt"}
	if len(known) == 2 {
		names = []string{v.document(id), saltName(id)}
	}
	var out [][]byte
	for _, name := range names {
		f := v.c.members[name]
		if f == nil || !h.Available() {
			return nil, fmt.Errorf("%s cannot be hashed with %v", name, h)
		}
		sum := h.New()
		if _, err := readAll(sum, f.Open); err != nil {
			return nil, err
		}
		out = append(out, sum.Sum(nil))
	}
	return out, nil
}

// token verifies a token once for each imprint: a bundle holds it many times. A
// token that was renewed must have been renewed while its certificate was valid
// (RFC 4998 section 5.3): until is when.
func (v *verifier) token(der []byte, h crypto.Hash, imprint []byte, target string, until time.Time) (time.Time, []integrity.Check) {
	id := string(der) + h.String() + string(imprint)
	s, ok := v.tokens[id]
	if !ok {
		t, err := tsp.Parse(der)
		if err != nil {
			s.checks = []integrity.Check{{Name: "token form", Status: integrity.Failed, Detail: err.Error()}}
		} else {
			s.time, s.checks = t.Time, t.Verify(tsp.Expect{Hash: h, Imprint: imprint, Roots: v.options.Roots})
			s.expires = expiry(t)
		}
		v.tokens[id] = s
	}
	out := slices.Clone(s.checks)
	if !until.IsZero() {
		c := integrity.Check{Name: "renewed in time", Status: integrity.OK}
		if s.expires.Before(until) {
			c.Status = integrity.Failed
			c.Detail = fmt.Sprintf("its certificate expired on %s, it was renewed on %s", s.expires.Format(time.DateOnly), until.Format(time.DateOnly))
		}
		out = append(out, c)
	}
	for i := range out {
		out[i].Target = target
	}
	return s.time, out
}

// tokenFiles holds the members under tsa/ against the token in the record.
func (v *verifier) tokenFiles(name string, r *ers.EvidenceRecord) *tsp.Token {
	token, err := tsp.Parse(r.Chains[0][0].Token)
	if err != nil {
		v.add("token files", "tsa/"+name, err)
		return nil
	}
	for _, m := range tokenMembers(name, token) {
		v.add("token files", m.name, v.same(m.name, m.data))
	}
	return token
}

// document finds the member that holds the content of an object or unit; "" when
// there is not exactly one.
func (v *verifier) document(id string) string {
	found := ""
	for _, name := range v.c.order {
		if name == "units/"+id+".json" || strings.HasPrefix(name, "documents/"+id+"/") {
			if found != "" {
				return ""
			}
			found = name
		}
	}
	return found
}

// proof verifies one data object: content, salt, evidence record, ledger.
func (v *verifier) proof(id string) error {
	doc := v.document(id)
	if doc == "" {
		return &ContainerError{"ledger/" + id + ".item", "the document it is about is missing, or there are several"}
	}
	v.expected[doc] = true
	salt, err := v.take(saltName(id))
	if err != nil {
		return err
	}
	if len(salt) != 32 {
		return &ContainerError{saltName(id), fmt.Sprintf("%d bytes instead of 32", len(salt))}
	}
	der, err := v.take(recordName(id))
	if err != nil {
		return err
	}
	digest, saltDigest := v.sums[doc], v.sums[saltName(id)]
	v.report.Documents = append(v.report.Documents, Document{Member: doc, ID: id, SHA256: hex.EncodeToString(digest[:])})
	v.record(der, id, digest[:], saltDigest[:])
	v.add("manifest", manifestName(id), v.same(manifestName(id),
		manifest(recordName(id), dataObject{doc, digest[:]}, dataObject{saltName(id), saltDigest[:]})))
	p := Proof{ID: id, Salt: [32]byte(salt), Record: der}
	if name, ok := strings.CutPrefix(doc, "documents/"+id+"/"); ok {
		p.Filename = name
	}
	if err := v.ledger(id, &p, integrity.Hash(ers.GroupHash(crypto.SHA256, digest[:], saltDigest[:]))); err != nil {
		return err
	}
	v.bundle.Proofs = append(v.bundle.Proofs, p)
	return nil
}

// ledger verifies that the ledger speaks of the same commitment as the evidence
// record, and that its checkpoint is one that is sealed in this bundle.
func (v *verifier) ledger(id string, p *Proof, leaf integrity.Hash) error {
	itemText, err := v.take("ledger/" + id + ".item")
	if err != nil {
		return err
	}
	receiptText, err := v.take("ledger/" + id + ".tlog-proof")
	if err != nil {
		return err
	}
	p.Item, err = parseItemProof(itemText)
	var item integrity.Item
	if err == nil {
		item, err = integrity.ParseItem(p.Item.Item)
	}
	if err == nil {
		err = itemIsOf(item, p, leaf)
	}
	v.add("salted commitment", "ledger/"+id+".item", err)
	p.Receipt, err = integrity.ParseReceipt(receiptText)
	var entry integrity.Entry
	if err == nil {
		entry, _, err = p.Receipt.Check(v.key)
	}
	v.add("ledger inclusion", "ledger/"+id+".tlog-proof", err)
	v.add("item inclusion", "ledger/"+id+".item", integrity.CheckItem(entry.Items, p.Item.Index, p.Item.Item, p.Item.Proof))
	v.add("sealed checkpoint", "ledger/"+id+".tlog-proof", v.sealedCheckpoint(p.Receipt.Checkpoint))
	d := &v.report.Documents[len(v.report.Documents)-1]
	d.Unit, d.Archived, d.Operation, d.Index = item.Unit, entry.Time, entry.Operation, p.Receipt.Index
	v.add("time order", "ledger/"+id+".tlog-proof", timeOrder(d.Archived, d.Stamped))
	return nil
}

// itemIsOf says whether an item speaks of the data object it lies beside.
func itemIsOf(item integrity.Item, p *Proof, leaf integrity.Hash) error {
	switch {
	case item.Leaf != leaf:
		return fmt.Errorf("the ledger commits to %s, the document and its salt give %s", item.Leaf, leaf)
	case p.Filename == "" && (item.Unit != p.ID || item.Object != ""), p.Filename != "" && item.Object != p.ID:
		return fmt.Errorf("the ledger's item is of unit %q, object %q", item.Unit, item.Object)
	}
	return nil
}

// clockSkew is how far the archive's clock may run ahead of the authority's.
const clockSkew = 5 * time.Minute

func timeOrder(archived, stamped time.Time) error {
	if stamped.IsZero() || archived.After(stamped.Add(clockSkew)) {
		return fmt.Errorf("archived at %s, time-stamped at %s: the time-stamp must come after", archived.Format(time.RFC3339), stamped.UTC().Format(time.RFC3339))
	}
	return nil
}

// sealedCheckpoint wants the checkpoint of a receipt among those with evidence.
func (v *verifier) sealedCheckpoint(signed []byte) error {
	for _, cp := range v.bundle.Checkpoints {
		if bytes.Equal(cp.Signed, signed) {
			return nil
		}
	}
	return fmt.Errorf("its checkpoint is not one that this bundle proves to be sealed")
}

// sizeOf is the size a signed checkpoint stands for, unverified.
func sizeOf(signed []byte) (int64, bool) {
	lines := strings.SplitN(string(signed), "\n", 3)
	if len(lines) < 3 {
		return 0, false
	}
	n, err := strconv.ParseInt(lines[1], 10, 64)
	return n, err == nil
}

// descriptions holds what the units' descriptions say of their objects against
// the documents.
func (v *verifier) descriptions() {
	for _, p := range v.bundle.Proofs {
		if p.Filename != "" {
			continue
		}
		b, err := v.c.small(p.member())
		if err != nil {
			v.add("description", p.member(), err)
			continue
		}
		v.add("description", p.member(), v.describes(p.ID, b))
	}
}

// describes wants the description to be of this unit, and each of the bundle's
// documents of this unit to be an object it lists, with this digest.
func (v *verifier) describes(unit string, b []byte) error {
	var d struct {
		Unit    string `json:"unit"`
		Objects []struct {
			ID     string `json:"id"`
			SHA256 string `json:"sha256"`
		} `json:"objects"`
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return fmt.Errorf("not JSON: %w", err)
	}
	if d.Unit != unit {
		return fmt.Errorf("it describes unit %q", d.Unit)
	}
	for _, doc := range v.report.Documents {
		if doc.Unit != unit || doc.ID == unit {
			continue
		}
		listed := false
		for _, o := range d.Objects {
			listed = listed || o.ID == doc.ID && o.SHA256 == doc.SHA256
		}
		if !listed {
			return fmt.Errorf("it does not list object %s with the digest of its document", doc.ID)
		}
	}
	return nil
}

// texts compares the members that are for people with what this program would
// write. They prove nothing, so a difference is not a failure: it is said, since
// another version's texts differ, and a forged script must not be run blindly.
func (v *verifier) texts() {
	for _, m := range []member{
		{"report.txt", reportText(v.bundle, v.parsed)}, {"README.txt", readme}, {"LISEZMOI.txt", lisezmoi}, {"verify.sh", verifyScript},
	} {
		c := integrity.Check{Name: "text for people", Target: m.name, Status: integrity.OK}
		if err := v.same(m.name, m.data); err != nil {
			c.Status, c.Detail = integrity.NotCheckable, "it is not the one this version writes; read it as nobody's word"
		}
		v.report.Checks = append(v.report.Checks, c)
	}
}

// nothingElse refuses members that no check accounted for.
func (v *verifier) nothingElse() error {
	for _, name := range v.c.order {
		if !v.expected[name] {
			return &ContainerError{name, "does not belong in a proof bundle"}
		}
	}
	for name := range v.expected {
		if v.c.members[name] == nil {
			return &ContainerError{name, "missing"}
		}
	}
	return nil
}

// conclude draws the verdict. A check that could not be made leaves the verdict
// to the others, save for the trust anchor.
func (v *verifier) conclude() {
	r := v.report
	r.Verdict = Verified
	if len(r.Documents) == 0 {
		v.add("documents", "", fmt.Errorf("the bundle proves nothing: it holds no document"))
	}
	for _, c := range r.Checks {
		switch {
		case c.Status == integrity.Failed:
			r.Verdict = NotTrusted
			return
		case c.Status == integrity.NotCheckable && c.Name == "trust anchor":
			r.Verdict = OwnRoots
		}
	}
}
