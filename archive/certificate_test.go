package archive

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sae/integrity/bundle"
	"sae/integrity/certificate"
	"sae/seda"
)

func noPDF(*Elimination, certificate.Head) ([]byte, error) { return []byte("%PDF-"), nil }

// certified executes an elimination of units of several deposits and batches, some of them
// refused or kept, and gives its certificate.
func certified(t *testing.T) (*Archive, *Elimination, []byte) {
	t.Helper()
	ctx := context.Background()
	a, converted := eliminating(t, 5)
	mustSeal(t, a)
	convert(t, a, converted.Units[0], "Dissemination", pdf("in another format"))
	deposit(t, a, NewUnit{Parent: -1, Title: "folder", Rule: "EXAMPLE-5Y", RuleStart: "2010-01-01"}, func() NewUnit { u := digital("below", "b"); u.Parent = 0; return u }())
	mustSeal(t, a)
	stays := `<ArchiveUnit id="stays"><Content><DescriptionLevel>Item</DescriptionLevel><Title>Reste</Title></Content></ArchiveUnit>`
	if in, err := a.DepositTransfer(ctx, "test", Transfer{Package: packageOf(t, strings.Replace(simple(zRule, "abc"), "</DescriptiveMetadata>", stays+"</DescriptiveMetadata>", 1))}); err != nil {
		t.Fatal(err, in.Findings.List) // its manifest goes with its unit
	}
	young := digital("young", "y")
	young.Rule, young.RuleStart = "EXAMPLE-5Y", "2025-01-01"
	deposit(t, a, young)
	for i := range 4 {
		u := digital(fmt.Sprint("single ", i), fmt.Sprint(i))
		u.Rule, u.RuleStart = "EXAMPLE-5Y", "2010-01-01"
		deposit(t, a, u, young)
	}
	mustSeal(t, a)
	e := propose(t, a)
	var refused int64 // one that stands below nothing
	if err := a.EachListed(ctx, e.ID, func(u ListedUnit) error {
		if u.Title == "unit 3" {
			refused = u.Number
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.StepElimination(ctx, "bob", e.ID, Agreed, StepText{Refused: []RefusedUnits{{Numbers: []int64{refused}, Reason: "no"}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.StepElimination(ctx, "carol", e.ID, Visaed, StepText{}); err != nil {
		t.Fatal(err)
	}
	var first ListedUnit
	err := a.EachListed(ctx, e.ID, func(u ListedUnit) error {
		if u.Title == "unit 1" {
			first = u
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	exportTo(t, a, ExportRequest{Message: "ArchiveDeliveryRequestReply", Version: seda.V22, IDs: []string{first.Unit}, Exact: true})
	if _, err := a.Certify(ctx, "dave", e.ID, noPDF); err == nil {
		t.Error("what was not executed was certified")
	}
	x, err := a.ExecuteElimination(ctx, "dave", e.ID, "", nil)
	if err != nil || x.Destroyed != e.Units-1 || len(x.Exports) != 1 || x.Exports[0].Units != 1 {
		t.Fatalf("%+v %v", x, err)
	}
	if _, err := a.Certify(ctx, "dave", e.ID, noPDF); !errors.Is(err, ErrNotSealed) {
		t.Error("certified before its end was sealed:", err)
	}
	mustSeal(t, a)
	if _, err := a.Certify(ctx, "bob", e.ID, noPDF); err == nil {
		t.Error("certified by who is no archivist")
	}
	c, err := a.Certify(ctx, "dave", e.ID, noPDF)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, _, err := a.Get(ctx, c.JSON, &out); err != nil {
		t.Fatal(err)
	}
	return a, e, out.Bytes()
}

// TestCertificate: a certificate proves of every unit what became of it, and of nothing else.
func TestCertificate(t *testing.T) {
	a, e, cert := certified(t)
	defer a.Close()
	r, err := certificate.Verify(bytes.NewReader(cert), bundle.Options{LedgerKey: a.LedgerKey()})
	if err != nil || !r.Accepted(true) {
		t.Fatalf("%+v %v", r, err)
	}
	if r.Listed != e.Units || int64(len(r.Units)) != e.Units-1 || r.Elimination != e.ID || r.VisaEntry == 0 {
		t.Fatalf("%+v", r)
	}
	var last time.Time
	for _, u := range r.Units {
		last = later(last, u.Destroyed)
		stone, entry, err := a.Tombstone(u.Unit)
		if err != nil || entry != u.Under || stone.Entry != u.Entry || len(stone.Objects) != u.Objects || !stone.Deposited.Equal(u.Archived) {
			t.Errorf("%+v %+v %v", u, stone, err)
		}
		if u.Sealed.Before(u.Archived.Truncate(1e9)) || u.Destroyed.Before(u.Sealed) || u.Attested.Before(u.Destroyed.Truncate(1e9)) {
			t.Errorf("%+v: not in the order of its life", u)
		}
	}
	if _, err := a.Certify(context.Background(), "dave", e.ID, noPDF); err == nil {
		t.Error("certified twice")
	}
	mustSeal(t, a)
	var proof bytes.Buffer
	c, err := a.CertificateOf(e.ID)
	if err == nil {
		err = a.Proof(context.Background(), c.Record, &proof)
	}
	if err != nil {
		t.Fatal(err)
	}
	if r, err := a.Audit(context.Background(), "test", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
		t.Errorf("%+v %v", r.List, err)
	}
	mustFsck(t, a)
	for _, word := range []string{"single", "folder", "below"} {
		if bytes.Contains(cert, []byte(word)) {
			t.Errorf("the certificate says %q", word)
		}
	}
	var told struct{ Head certificate.Head }
	effective, err := a.EffectiveFrom(last)
	if err == nil {
		err = json.Unmarshal(cert, &told)
	}
	if err != nil || told.Head.Effective == nil || !told.Head.Effective.Equal(effective) {
		t.Errorf("effective from %v, want %s: %v", told.Head.Effective, effective, err)
	}
}

// informational are the members that prove nothing, and are not said to.
var informational = []string{"/head/archivalAgency", "/head/at", "/head/made", "/head/exports", "/head/copies", "/head/effectiveFrom", "/kept"}

// TestCertificateAttack changes every value of a certificate, one at a time: none of the
// certificates that come of it is accepted.
func TestCertificateAttack(t *testing.T) {
	t.Parallel()
	a, _, cert := certified(t)
	defer a.Close()
	attackCertificate(t, cert, bundle.Options{LedgerKey: a.LedgerKey()})
}

func attackCertificate(t *testing.T, cert []byte, o bundle.Options) {
	t.Helper()
	every := 1
	if raced {
		every = 16
	}
	tried := rand.IntN(every)
	var walk func(path string, v any, set func(any))
	attack := func(path, what string, root any) {
		if tried++; tried%every != 0 {
			return
		}
		// The tombstone is bytes: it must stay as it stands but for the change.
		b, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		b = inOrder(t, b)
		if r, err := certificate.Verify(bytes.NewReader(b), o); err == nil && r.Accepted(true) {
			t.Errorf("%s: %s is accepted", path, what)
		}
	}
	var root any
	d := json.NewDecoder(bytes.NewReader(cert))
	d.UseNumber()
	if err := d.Decode(&root); err != nil {
		t.Fatal(err)
	}
	if r, err := certificate.Verify(bytes.NewReader(inOrder(t, mustJSON(root))), o); err != nil || !r.Accepted(true) {
		t.Fatal("unchanged, it is not accepted any more:", r, err)
	}
	walk = func(path string, v any, set func(any)) {
		if slices.ContainsFunc(informational, func(s string) bool { return strings.Contains(path, s) }) {
			return
		}
		change := func(what string, to any) {
			if fmt.Sprint(to) == fmt.Sprint(v) {
				return
			}
			set(to)
			attack(path, what, root)
			set(v)
		}
		switch x := v.(type) {
		case map[string]any:
			for k := range x {
				walk(path+"/"+k, x[k], func(to any) { x[k] = to })
			}
		case []any:
			for i := range x {
				walk(fmt.Sprintf("%s/%d", path, i), x[i], func(to any) { x[i] = to })
			}
			if len(x) > 0 {
				change("without its first", slices.Clone(x[1:]))
				change("with its last twice", append(slices.Clone(x), x[len(x)-1]))
			}
			if len(x) > 1 && !strings.HasSuffix(path, "/archived") { // in any order
				y := slices.Clone(x)
				y[0], y[1] = y[1], y[0]
				change("with two exchanged", y)
			}
		case string:
			b := []byte(x)
			i := len(b) / 2
			b[i] = map[bool]byte{true: 'B', false: 'A'}[b[i] == 'A']
			change("a character changed", string(b))
			change("empty", "")
		case json.Number:
			change("another number", json.Number("7777"))
			change("zero", json.Number("0"))
		}
	}
	walk("", root, func(any) {})
	if tried < 200 {
		t.Error("only", tried)
	}
	for i := 0; i < len(cert); i += 997 {
		if r, err := certificate.Verify(bytes.NewReader(cert[:i]), o); err == nil && r.Accepted(true) {
			t.Error("cut at", i, "it is accepted")
		}
	}
}

// inOrder writes the members of JSON objects in the order of a certificate: those of a
// tombstone are bytes that were committed to.
func inOrder(t *testing.T, b []byte) []byte {
	t.Helper()
	var c struct {
		Form    json.RawMessage `json:"form"`
		Head    json.RawMessage `json:"head"`
		Entries json.RawMessage `json:"entries"`
		List    []struct {
			Number    json.RawMessage `json:"number"`
			Unit      json.RawMessage `json:"unit"`
			Version   json.RawMessage `json:"version"`
			Kept      json.RawMessage `json:"kept,omitempty"`
			Tombstone json.RawMessage `json:"tombstone,omitempty"`
			Salt      json.RawMessage `json:"salt,omitempty"`
			Destroyed json.RawMessage `json:"destroyed,omitempty"`
			Archived  json.RawMessage `json:"archived,omitempty"`
		} `json:"list"`
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return b
	}
	for i := range c.List {
		if len(c.List[i].Tombstone) == 0 {
			continue
		}
		var stone Tombstone
		if err := json.Unmarshal(c.List[i].Tombstone, &stone); err == nil {
			c.List[i].Tombstone = mustJSON(stone)
		}
	}
	return mustJSON(c)
}

func FuzzCertificate(f *testing.F) {
	f.Add([]byte(`{"form":"sae-destruction-certificate/1","head":{"batches":[{"first":1,"leaves":2}]},"entries":[],"list":[{"number":1,"unit":"u","version":1}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := certificate.Verify(bytes.NewReader(b), bundle.Options{}); err == nil && r.Accepted(true) {
			t.Error("accepted")
		}
	})
}
