package bundle

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sae/integrity"
	"sae/integrity/ers"
)

// documents finds the member that holds the content of each data object, by
// identifier: "" when there are several.
func documents(members []string) map[string]string {
	out := map[string]string{}
	for _, name := range members {
		id, ok := between(name, "units/", ".json")
		if rest, isDocument := strings.CutPrefix(name, "documents/"); isDocument {
			id, _, ok = strings.Cut(rest, "/")
		}
		if _, twice := out[id]; ok && twice {
			out[id] = ""
		} else if ok {
			out[id] = name
		}
	}
	return out
}

// proof verifies one data object: content, salt, evidence record, ledger.
func (v *verifier) proof(id string) error {
	itemName, receiptName := "ledger/"+id+".item", "ledger/"+id+".tlog-proof"
	doc := v.documents[id]
	if doc == "" || !isWord(id) {
		return &ContainerError{itemName, "the document it is about is missing, or there are several"}
	}
	v.expect(doc)
	var parts [4][]byte
	for i, name := range []string{saltName(id), itemName, receiptName, recordName(id)} {
		var err error
		if parts[i], err = v.take(name); err != nil {
			return err
		}
	}
	salt, item, receiptText, der := parts[0], parts[1], parts[2], parts[3]
	if len(salt) != 32 {
		return &ContainerError{saltName(id), fmt.Sprintf("%d bytes instead of 32", len(salt))}
	}
	digest, saltDigest := v.sums[doc], v.sums[saltName(id)]
	record, at := v.record(der, id, []string{doc, saltName(id)}, digest[:], saltDigest[:])
	v.manifest(id, dataObject{doc, digest[:]}, dataObject{saltName(id), saltDigest[:]})
	v.report.Documents = append(v.report.Documents, Document{Member: doc, ID: id, SHA256: hex.EncodeToString(digest[:]), Stamped: at})
	p := Proof{ID: id}
	p.Filename, _ = strings.CutPrefix(doc, "documents/"+id+"/")
	if doc == p.Filename { // a description
		p.Filename = ""
	}
	leaf := integrity.Hash(ers.GroupHash(crypto.SHA256, digest[:], saltDigest[:]))
	parsed := v.item(&p, item, leaf)
	entry := v.ledger(&p, receiptText, record)
	reportProof(&v.text.proofs, &p, parsed, entry)
	return nil
}

// item verifies that the ledger's item speaks of the same commitment as the
// evidence record.
func (v *verifier) item(p *Proof, text []byte, leaf integrity.Hash) (item integrity.Item) {
	var err error
	if p.Item, err = parseItemProof(text); err == nil {
		item, err = integrity.ParseItem(p.Item.Item)
	}
	if err == nil {
		err = itemIsOf(item, p, leaf)
	}
	v.add("salted commitment", "ledger/"+p.ID+".item", err)
	v.report.Documents[len(v.report.Documents)-1].Unit = item.Unit
	return item
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

// receipt is a receipt as it was read, or the error.
type receipt struct {
	text  []byte
	read  integrity.Receipt
	entry integrity.Entry
	err   error
}

// receipt reads a receipt. The items of one operation all have the same.
func (v *verifier) receipt(text []byte) *receipt {
	r := &v.lastReceipt
	if r.text != nil && bytes.Equal(r.text, text) {
		return r
	}
	*r = receipt{text: text}
	if r.read, r.err = integrity.ParseReceipt(text); r.err == nil {
		r.entry, r.err = integrity.ParseEntry(r.read.Entry)
	}
	return r
}

// ledger verifies that the item is in the entry, the entry in the ledger of a
// checkpoint that is sealed in this bundle, and the time-stamp behind both.
func (v *verifier) ledger(p *Proof, text []byte, record *ers.EvidenceRecord) integrity.Entry {
	target := "ledger/" + p.ID + ".tlog-proof"
	r := v.receipt(text)
	p.Receipt = r.read
	if v.add("ledger entry", target, r.err) {
		cp, err := v.sealedBy(r.read.Checkpoint, record)
		if v.add("sealed checkpoint", target, err) {
			v.add("ledger inclusion", target, integrity.CheckInclusion(cp, r.read.Index, r.read.Entry, r.read.Proof))
		}
	}
	v.add("item inclusion", "ledger/"+p.ID+".item", integrity.CheckItem(r.entry.Items, p.Item.Index, p.Item.Item, p.Item.Proof))
	d := &v.report.Documents[len(v.report.Documents)-1]
	d.Archived, d.Operation, d.Index = r.entry.Time, r.entry.Operation, r.read.Index
	v.add("time order", target, timeOrder(d.Archived, d.Stamped))
	return r.entry
}

// clockSkew is how far the archive's clock may run ahead of the authority's.
const clockSkew = 5 * time.Minute

func timeOrder(archived, stamped time.Time) error {
	if stamped.IsZero() || archived.After(stamped.Add(clockSkew)) {
		return fmt.Errorf("archived at %s, time-stamped at %s: the time-stamp must come after", archived.Format(time.RFC3339), stamped.UTC().Format(time.RFC3339))
	}
	return nil
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
