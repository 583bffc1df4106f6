package integrity_test

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"pgregory.net/rapid"

	"sae/integrity"
)

func rawSignature(t testing.TB, s note.Signature) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s.Base64)
	if err != nil {
		t.Fatal(err)
	}
	return b[4:] // behind the key's hash
}

// receiptOf is the receipt of entry i of a ledger of n, of which it is a deposit.
func receiptOf(t testing.TB, k key, i, n int) integrity.Receipt {
	t.Helper()
	var l log
	entry, err := entryOf(t, integrity.Deposit).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for j := range n {
		if j == i {
			l.add(t, entry)
		} else {
			l.add(t, []byte{byte(j)})
		}
	}
	signed, err := integrity.Checkpoint{Origin: k.Name(), Size: int64(n), Root: l.root(t, int64(n))}.Sign(k)
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := tlog.ProveRecord(int64(n), int64(i), &l)
	if err != nil {
		t.Fatal(err)
	}
	return integrity.Receipt{Index: int64(i), Entry: entry, Proof: hashes, Checkpoint: signed}
}

func TestReceiptBytes(t *testing.T) {
	k := newKey(t, origin, 1)
	text := receiptOf(t, k, 5, 11).Marshal()
	golden(t, "receipt.txt", text)
	r, err := integrity.ParseReceipt(text)
	if err != nil {
		t.Fatal(err)
	}
	e, cp, err := r.Check(k.verifier)
	if err != nil || e.Kind != integrity.Deposit || cp.Size != 11 || r.Index != 5 {
		t.Errorf("%+v, %+v, %v", e, cp, err)
	}
	var other proof.TLogProof
	if err := other.Unmarshal(text); err != nil || other.Index != 5 || !bytes.Equal(other.ExtraData, r.Entry) || len(other.Hashes) != len(r.Proof) {
		t.Errorf("another reader of the format: %+v, %v", other, err)
	}
}

func TestReceiptsOfEveryPlace(t *testing.T) {
	k := newKey(t, origin, 1)
	for n := 1; n <= 20; n++ {
		for i := range n {
			r, err := integrity.ParseReceipt(receiptOf(t, k, i, n).Marshal())
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := r.Check(k.verifier); err != nil {
				t.Errorf("%d of %d: %v", i, n, err)
			}
		}
	}
}

// TestLongestReceipt: whatever entry can be written, its receipt can be read.
func TestLongestReceipt(t *testing.T) {
	r := receiptOf(t, newKey(t, origin, 1), 0, 1)
	r.Entry = bytes.Repeat([]byte("x"), integrity.MaxEntry)
	r.Proof = make([]integrity.Hash, 63)
	back, err := integrity.ParseReceipt(r.Marshal())
	if err != nil || !bytes.Equal(back.Entry, r.Entry) || len(back.Proof) != 63 {
		t.Errorf("%d bytes, %d hashes: %v", len(back.Entry), len(back.Proof), err)
	}
}

func TestReceiptRefusals(t *testing.T) {
	text := string(receiptOf(t, newKey(t, origin, 1), 5, 11).Marshal())
	hash := integrity.Hash{}.String() + "\n"
	extra := strings.SplitN(text, "\n", 3)[1]
	for name, bad := range map[string]string{
		"empty":             "",
		"other header":      strings.Replace(text, "@v1", "@v2", 1),
		"no entry":          strings.Replace(text, extra+"\n", "", 1),
		"two entries":       strings.Replace(text, extra, extra+"\n"+extra, 1),
		"no index":          strings.Replace(text, "index 5\n", "", 1),
		"negative":          strings.Replace(text, "index 5", "index -5", 1),
		"zeros":             strings.Replace(text, "index 5", "index 05", 1),
		"plus":              strings.Replace(text, "index 5", "index +5", 1),
		"too great":         strings.Replace(text, "index 5", "index 9223372036854775808", 1),
		"no number":         strings.Replace(text, "index 5", "index five", 1),
		"carriage returns":  strings.ReplaceAll(text, "\n", "\r\n"),
		"one of them":       strings.Replace(text, "\n", "\r\n", 1),
		"short hash":        strings.Replace(text, "index 5\n", "index 5\nAAAA\n", 1),
		"stray bits":        strings.Replace(text, "index 5\n", "index 5\n"+strings.Replace(hash, "A=", "B=", 1), 1),
		"stray entry bits":  strings.Replace(text, "extra ", "extra \r", 1),
		"too many hashes":   strings.Replace(text, "index 5\n", "index 5\n"+strings.Repeat(hash, 63), 1),
		"space":             strings.Replace(text, "index 5", "index 5 ", 1),
		"byte order mark":   "\ufeff" + text,
		"no checkpoint":     text[:strings.Index(text, "\n\n")],
		"no empty line":     strings.Replace(text, "\n\n", "\n", 1),
		"too long":          text + strings.Repeat("x", 256<<10),
		"too many lines":    strings.Replace(text, "index 5\n", "index 5\n"+strings.Repeat("\n", 100), 1),
		"index and no name": strings.Replace(text, "index 5", "5", 1),
		"entry and no name": strings.Replace(text, "extra ", "", 1),
	} {
		if bad == text {
			t.Fatalf("%s: nothing was changed", name)
		}
		r, err := integrity.ParseReceipt([]byte(bad))
		if err == nil && name != "no empty line" && name != "too many lines" {
			t.Errorf("%s: taken as %+v", name, r)
		}
		if err == nil {
			if _, _, err = r.Check(newKey(t, origin, 1).verifier); err == nil {
				t.Errorf("%s: checked", name)
			}
		}
	}
}

func TestReceiptChecks(t *testing.T) {
	k := newKey(t, origin, 1)
	other := receiptOf(t, k, 4, 11)
	for name, edit := range map[string]func(r *integrity.Receipt){
		"index":            func(r *integrity.Receipt) { r.Index-- },
		"index below zero": func(r *integrity.Receipt) { r.Index = -1 },
		"index beyond":     func(r *integrity.Receipt) { r.Index = 11 },
		"entry":            func(r *integrity.Receipt) { r.Entry = append(slices.Clone(r.Entry), ' ') },
		"no entry":         func(r *integrity.Receipt) { r.Entry = nil },
		"entry of others":  func(r *integrity.Receipt) { r.Index, r.Entry, r.Proof = 5, []byte("{}"), other.Proof },
		"proof of others":  func(r *integrity.Receipt) { r.Proof = other.Proof },
		"shorter proof":    func(r *integrity.Receipt) { r.Proof = r.Proof[1:] },
		"longer proof":     func(r *integrity.Receipt) { r.Proof = append(r.Proof, integrity.Hash{}) },
		"other checkpoint": func(r *integrity.Receipt) { r.Checkpoint = other.Checkpoint },
		"checkpoint's name": func(r *integrity.Receipt) {
			r.Checkpoint = bytes.Replace(r.Checkpoint, []byte("tests"), []byte("toast"), 1)
		},
		"no checkpoint": func(r *integrity.Receipt) { r.Checkpoint = nil },
	} {
		r := receiptOf(t, k, 5, 11)
		edit(&r)
		if e, _, err := r.Check(k.verifier); err == nil {
			t.Errorf("%s: checked: %+v", name, e)
		}
	}
	if _, _, err := receiptOf(t, k, 5, 11).Check(newKey(t, origin, 2).verifier); err == nil {
		t.Error("checked with another key of the same name")
	}
}

// TestReceiptOfStrangeEntry: an entry that is in the ledger but is none of ours is not taken.
func TestReceiptOfStrangeEntry(t *testing.T) {
	k := newKey(t, origin, 1)
	l := logOf(t, 1)
	signed, err := integrity.Checkpoint{Origin: origin, Size: 1, Root: l.root(t, 1)}.Sign(k)
	if err != nil {
		t.Fatal(err)
	}
	r := integrity.Receipt{Entry: l.entries[0], Checkpoint: signed}
	if _, _, err := r.Check(k.verifier); err == nil || !strings.Contains(err.Error(), "parsing ledger entry") {
		t.Errorf("%v", err)
	}
}

func TestConsistency(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 60).Draw(t, "newer")
		m := rapid.Int64Range(0, n).Draw(t, "older")
		l := logOf(t, int(n))
		older := integrity.Checkpoint{Origin: origin, Size: m, Root: l.root(t, m)}
		newer := integrity.Checkpoint{Origin: origin, Size: n, Root: l.root(t, n)}
		var p []integrity.Hash
		if m > 0 {
			var err error
			if p, err = tlog.ProveTree(n, m, l); err != nil {
				t.Fatal(err)
			}
		}
		if err := integrity.CheckConsistency(older, newer, p); err != nil {
			t.Fatal(err)
		}
		forked := older
		forked.Root[0] ^= 1
		if m > 0 && integrity.CheckConsistency(forked, newer, p) == nil {
			t.Error("a fork was taken")
		}
		renamed := older
		renamed.Origin = "other.example"
		if integrity.CheckConsistency(renamed, newer, p) == nil {
			t.Error("another ledger was taken")
		}
		if m < n && integrity.CheckConsistency(newer, older, p) == nil {
			t.Error("a ledger that shrank was taken")
		}
		if m > 0 && integrity.CheckConsistency(older, newer, append(slices.Clone(p), integrity.Hash{})) == nil {
			t.Error("a longer proof was taken")
		}
		if integrity.CheckConsistency(integrity.Checkpoint{Origin: origin, Size: -1}, newer, nil) == nil {
			t.Error("a negative size was taken")
		}
	})
}
