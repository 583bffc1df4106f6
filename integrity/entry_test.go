package integrity_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sae/integrity"
)

var update = flag.Bool("update", false, "write golden files that are not there yet")

var when = time.Date(2026, 3, 4, 5, 6, 7, 890e6, time.UTC)

// entries is one entry of every kind, with every field set somewhere.
var entries = map[integrity.Kind]any{
	integrity.Created: integrity.CreatedDetail{LedgerKey: "archives.example+c0ffee00+AQIDBA=="},
	integrity.Deposit: nil,
	integrity.Seal: integrity.SealDetail{Batch: "b1", Leaves: 3, Root: integrity.Hash{1}, Token: integrity.Hash{2},
		Stamped: when.Add(time.Second), Authority: "tsa", Checkpoint: 4},
	integrity.Audit:            integrity.AuditDetail{Sample: 0.1, Objects: 2, Copies: 4, Bytes: 1 << 40, Findings: 1, Repaired: 1, Lost: 0},
	integrity.Repair:           integrity.RepairDetail{Offer: "disk", Copies: 1},
	integrity.APIKeyCreated:    integrity.APIKeyDetail{Key: "k1", Roles: []string{"depositor"}, Operations: []string{"createDeposit"}, Expires: when, Name: integrity.Hash{6}},
	integrity.WebhookChanged:   integrity.WebhookDetail{Webhook: "w1", Types: []string{"sae.deposit"}, Disabled: true, Secrets: 2, Address: integrity.Hash{7}},
	integrity.RollbackAccepted: integrity.RollbackDetail{LostSize: 9, LostRoot: integrity.Hash{3}, Reason: integrity.Hash{4}},
}

func entryOf(t testing.TB, kind integrity.Kind) integrity.Entry {
	t.Helper()
	e := integrity.Entry{Version: 1, Kind: kind, Time: when, Tenant: "archives", Operation: "p1", Agent: "a1"}
	if detail := entries[kind]; detail != nil {
		var err error
		if e.Detail, err = json.Marshal(detail); err != nil {
			t.Fatal(err)
		}
	} else {
		e.Agreement = "général & <co>"
		e.Items = &integrity.Items{Count: 2, Root: integrity.Hash{5}}
	}
	return e
}

// golden compares with a stored file, which is never rewritten: a ledger holds
// these bytes for good.
func golden(t *testing.T, name string, have []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	want, err := os.ReadFile(path)
	if os.IsNotExist(err) && *update {
		if err = os.MkdirAll("testdata", 0o755); err == nil {
			err = os.WriteFile(path, have, 0o644)
		}
		want = have
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want) {
		t.Errorf("%s: written as\n%s, want\n%s", name, have, want)
	}
}

func TestEntryBytes(t *testing.T) {
	for kind := range entries {
		e := entryOf(t, kind)
		b, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "entry-"+string(kind)+".json", b)
		back, err := integrity.ParseEntry(b)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		if again, _ := back.Marshal(); !bytes.Equal(again, b) || !back.Time.Equal(when) || back.Kind != kind {
			t.Errorf("%s: read back as %+v", kind, back)
		}
	}
}

func TestItemBytes(t *testing.T) {
	for name, it := range map[string]integrity.Item{
		"item-unit.json":   {Unit: "u1", Version: 2, Leaf: integrity.Hash{1, 2, 3}},
		"item-object.json": {Unit: "u1", Version: 1, Object: "o1", Leaf: integrity.Hash{4, 5, 6}},
	} {
		b := it.Marshal()
		golden(t, name, b)
		if back, err := integrity.ParseItem(b); err != nil || back != it {
			t.Errorf("%s: read back as %+v, %v", name, back, err)
		}
	}
}

// TestDetails: each kind's detail is read as its own type and as no other.
func TestDetails(t *testing.T) {
	var seal integrity.SealDetail
	if err := entryOf(t, integrity.Seal).ReadDetail(integrity.Seal, &seal); err != nil || seal != entries[integrity.Seal] {
		t.Errorf("%+v, %v", seal, err)
	}
	var audit integrity.AuditDetail
	if err := entryOf(t, integrity.Audit).ReadDetail(integrity.Audit, &audit); err != nil || audit != entries[integrity.Audit] {
		t.Errorf("%+v, %v", audit, err)
	}
	var created integrity.CreatedDetail
	if err := entryOf(t, integrity.Created).ReadDetail(integrity.Created, &created); err != nil || created != entries[integrity.Created] {
		t.Errorf("%+v, %v", created, err)
	}
	var repair integrity.RepairDetail
	if err := entryOf(t, integrity.Repair).ReadDetail(integrity.Repair, &repair); err != nil || repair != entries[integrity.Repair] {
		t.Errorf("%+v, %v", repair, err)
	}
	var rollback integrity.RollbackDetail
	if err := entryOf(t, integrity.RollbackAccepted).ReadDetail(integrity.RollbackAccepted, &rollback); err != nil || rollback != entries[integrity.RollbackAccepted] {
		t.Errorf("%+v, %v", rollback, err)
	}
	if err := entryOf(t, integrity.Seal).ReadDetail(integrity.Audit, &audit); err == nil {
		t.Error("the detail of a seal was read as that of an audit")
	}
	if err := entryOf(t, integrity.Deposit).ReadDetail(integrity.Deposit, &seal); err == nil {
		t.Error("a detail was read that is not there")
	}
	e := entryOf(t, integrity.Seal)
	e.Kind = integrity.Audit
	if err := e.ReadDetail(integrity.Audit, &audit); err == nil {
		t.Error("the fields of a seal were read as those of an audit")
	}
}

// TestEntryRefusals edits a good entry.
func TestEntryRefusals(t *testing.T) {
	good, err := entryOf(t, integrity.Deposit).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	text := string(good)
	for name, bad := range map[string]string{
		"empty":            "",
		"null":             "null",
		"list":             "[]",
		"not JSON":         text[1:],
		"cut":              text[:len(text)-1],
		"bytes behind":     text + " ",
		"line's end":       text + "\n",
		"value behind":     text + "{}",
		"space":            strings.Replace(text, ":", ": ", 1),
		"version 2":        strings.Replace(text, `"v":1`, `"v":2`, 1),
		"no version":       strings.Replace(text, `"v":1,`, ``, 1),
		"version as 1.0":   strings.Replace(text, `"v":1`, `"v":1.0`, 1),
		"unknown field":    strings.Replace(text, `{"v"`, `{"x":1,"v"`, 1),
		"field twice":      strings.Replace(text, `{"v":1`, `{"v":1,"v":1`, 1),
		"field twice, VAT": strings.Replace(text, `{"v":1`, `{"V":2,"v":1`, 1),
		"other case":       strings.Replace(text, `"kind"`, `"Kind"`, 1),
		"other order":      strings.Replace(text, `"v":1,"kind":"deposit"`, `"kind":"deposit","v":1`, 1),
		"no kind":          strings.Replace(text, `"deposit"`, `""`, 1),
		"escaped":          strings.Replace(text, `"deposit"`, `"\u0064eposit"`, 1),
		"no time":          strings.Replace(text, "2026-03-04T05:06:07.89Z", "0001-01-01T00:00:00Z", 1),
		"local time":       strings.Replace(text, "2026-03-04T05:06:07.89Z", "2026-03-04T05:06:07.89+02:00", 1),
		"time to zeros":    strings.Replace(text, ".89Z", ".890Z", 1),
		"short root":       strings.Replace(text, `"root":"BQ`, `"root":"`, 1),
		"items as null":    strings.Replace(text, `"items":{`, `"items":null,"x":{`, 1),
		"kind as number":   strings.Replace(text, `"deposit"`, `1`, 1),
		"not UTF-8":        strings.Replace(text, "archives", "archi\xffves", 1),
		"too long":         strings.Replace(text, "archives", strings.Repeat("x", integrity.MaxEntry), 1),
		"deep":             strings.Repeat(`{"items":`, 9000),
	} {
		if bad == text {
			t.Fatalf("%s: nothing was changed", name)
		}
		if e, err := integrity.ParseEntry([]byte(bad)); err == nil {
			t.Errorf("%s: taken as %+v", name, e)
		} else if strings.Contains(err.Error(), "archives") {
			t.Errorf("%s: the error quotes the entry: %v", name, err)
		}
	}
	if e, err := integrity.ParseEntry(good); err != nil {
		t.Errorf("the good one: %+v, %v", e, err)
	}
}

func TestItemRefusals(t *testing.T) {
	text := string(integrity.Item{Unit: "u1", Version: 1, Object: "o1"}.Marshal())
	for name, bad := range map[string]string{
		"empty":            "",
		"null":             "null",
		"bytes behind":     text + "\n",
		"no unit":          strings.Replace(text, `"u1"`, `""`, 1),
		"version 0":        strings.Replace(text, `"version":1`, `"version":0`, 1),
		"version below 0":  strings.Replace(text, `"version":1`, `"version":-1`, 1),
		"unknown field":    strings.Replace(text, `{`, `{"x":1,`, 1),
		"leaf twice":       strings.Replace(text, `{`, `{"leaf":"`+integrity.Hash{1}.String()+`",`, 1),
		"empty object":     strings.Replace(text, `"o1"`, `""`, 1),
		"short leaf":       strings.Replace(text, `"leaf":"AAAA`, `"leaf":"`, 1),
		"entry":            `{"v":1}`,
		"huge version":     strings.Replace(text, `"version":1`, `"version":99999999999999999999`, 1),
		"one field's name": strings.Replace(text, `"unit"`, `"Unit"`, 1),
	} {
		if it, err := integrity.ParseItem([]byte(bad)); err == nil {
			t.Errorf("%s: taken as %+v", name, it)
		}
	}
}

func TestEntryBound(t *testing.T) {
	e := entryOf(t, integrity.Deposit)
	b, err := e.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	e.Tenant += strings.Repeat("x", integrity.MaxEntry-len(b))
	if b, err = e.Marshal(); err != nil || len(b) != integrity.MaxEntry {
		t.Fatalf("%d bytes: %v", len(b), err)
	}
	if _, err := integrity.ParseEntry(b); err != nil {
		t.Error(err)
	}
	e.Tenant += "x"
	if _, err := e.Marshal(); err == nil {
		t.Error("an entry was written that is too long for an entry bundle")
	}
}

// TestEntriesRoundTrip: whatever is written is read back, and as the same bytes.
func TestEntriesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 100, 1000)
		e := integrity.Entry{Version: 1, Kind: integrity.Kind(rapid.StringN(1, 20, -1).Draw(t, "kind")), Tenant: text.Draw(t, "tenant"),
			Operation: text.Draw(t, "operation"), Agent: text.Draw(t, "agent"), Agreement: text.Draw(t, "agreement"),
			Time: time.UnixMilli(rapid.Int64Range(0, 4e12).Draw(t, "time")).UTC()}
		if rapid.Bool().Draw(t, "with items") {
			e.Items = &integrity.Items{Count: rapid.Int64Min(0).Draw(t, "count")}
		}
		if rapid.Bool().Draw(t, "with detail") {
			e.Detail, _ = json.Marshal(map[string]string{text.Draw(t, "key"): text.Draw(t, "value")})
		}
		b, err := e.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		back, err := integrity.ParseEntry(b)
		if err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if again, _ := back.Marshal(); !bytes.Equal(again, b) {
			t.Errorf("%s became %s", b, again)
		}
	})
}
