package bundle

import (
	"bytes"
	"testing"
)

// FuzzVerify: whatever the bytes, Verify ends without a panic, and what it does not
// refuse is a bundle that was seeded.
func FuzzVerify(f *testing.F) {
	m := one(f)
	known := map[string]bool{}
	for _, zip := range [][]byte{m.zip(), samples["two batches"](f).zip(), samples["names"](f).zip()} {
		f.Add(zip)
		known[string(zip)] = true
	}
	f.Add(assemble(pieces(plainMembers...)))
	f.Add(unaskedZip64(assemble(pieces(plainMembers...))))
	f.Add(prefixed())
	f.Add(deflated())
	f.Fuzz(func(t *testing.T, zip []byte) {
		r, err := Verify(bytes.NewReader(zip), int64(len(zip)), Options{Roots: m.roots()})
		if err == nil && r.Verdict != NotTrusted && !known[string(zip)] {
			t.Errorf("another bundle is %s", r.Verdict)
		}
	})
}

// FuzzMember goes behind the checksums: members are put into a right container
// with a right SHA256SUMS.
func FuzzMember(f *testing.F) {
	m := one(f)
	members := unzip(f, m.zip())
	for i, mem := range members {
		f.Add(i, mem.data)
	}
	f.Fuzz(func(t *testing.T, i int, data []byte) {
		if i < 0 || i >= len(members) || len(data) > 1<<20 {
			return
		}
		same := bytes.Equal(members[i].data, data)
		edited := append([]member(nil), members...)
		edited[i].data = data
		r, err := verifyMembers(t, m, edited)
		if err == nil && r.Verdict != NotTrusted && !same && !isText(members[i].name) {
			t.Errorf("with another %s: %s", members[i].name, r.Verdict)
		}
	})
}

func FuzzParseItemProof(f *testing.F) {
	for _, p := range samples["unit of three"](f).bundle.Proofs {
		f.Add(p.Item.marshal())
	}
	f.Add([]byte("sae-item-proof/1\nitem \nindex 0\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parseItemProof(text)
		if err == nil && !bytes.Equal(p.marshal(), text) {
			t.Errorf("taken, but written as %q", p.marshal())
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	for _, p := range pieces(plainMembers...) {
		f.Add(p.central)
	}
	f.Add((&header{name: "documents/o1/film", size: 5 << 30, at: 6 << 30}).central())
	f.Fuzz(func(t *testing.T, dir []byte) {
		h, rest, err := parseHeader(dir)
		if err == nil && !bytes.Equal(append(h.central(), rest...), dir) {
			t.Errorf("taken, but written as %x", h.central())
		}
	})
}
