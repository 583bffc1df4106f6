package integrity_test

import (
	"bytes"
	"testing"

	"sae/integrity"
)

// What a parser takes is written back as the same bytes, or two readers could
// understand two things.

func FuzzParseEntry(f *testing.F) {
	for kind := range entries {
		b, err := entryOf(f, kind).Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"v":1,"kind":"x","time":"2026-03-04T05:06:07Z","tenant":"","operation":"","agent":"","detail":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := integrity.ParseEntry(b)
		if err != nil {
			return
		}
		if again, err := e.Marshal(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q is written as %q, %v", b, again, err)
		}
	})
}

func FuzzParseItem(f *testing.F) {
	f.Add(integrity.Item{Unit: "u1", Version: 1, Object: "o1"}.Marshal())
	f.Add(integrity.Item{Unit: "u1", Version: 2}.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		if it, err := integrity.ParseItem(b); err == nil && !bytes.Equal(it.Marshal(), b) {
			t.Errorf("%q is written as %q", b, it.Marshal())
		}
	})
}

func FuzzParseCheckpoint(f *testing.F) {
	k := newKey(f, origin, 1)
	cp := integrity.Checkpoint{Origin: origin, Size: 7}
	signed, err := cp.Sign(k)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add(append(bytes.Clone(signed), "— witness.example AAAAAAAA\n"...))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := integrity.ParseCheckpoint(b, k.verifier); err == nil && got != cp {
			t.Errorf("%+v was never signed", got)
		}
	})
}

func FuzzParseReceipt(f *testing.F) {
	k := newKey(f, origin, 1)
	r := receiptOf(f, k, 5, 11)
	f.Add(r.Marshal())
	f.Add(integrity.Receipt{Entry: []byte{}}.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := integrity.ParseReceipt(b)
		if err != nil {
			return
		}
		if !bytes.Equal(got.Marshal(), b) {
			t.Errorf("%q is written as %q", b, got.Marshal())
		}
		if _, _, err := got.Check(k.verifier); err == nil && (got.Index != r.Index || !bytes.Equal(got.Entry, r.Entry)) {
			t.Errorf("%+v was never given", got)
		}
	})
}
