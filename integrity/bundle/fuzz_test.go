package bundle

import (
	"bytes"
	"os"
	"slices"
	"testing"
)

// storedBundle gives a bundle of testdata and its roots: the same in every process that
// takes part in fuzzing.
func storedBundle(f *testing.F) ([]byte, Options) {
	f.Helper()
	zip, err := os.ReadFile("testdata/1.asice")
	check(f, err)
	roots, err := readRoots("testdata/1.roots.pem")
	check(f, err)
	return zip, Options{Roots: roots}
}

// FuzzVerify: whatever the bytes, Verify ends without a panic, and what it does not
// refuse is the seed.
func FuzzVerify(f *testing.F) {
	good, o := storedBundle(f)
	f.Add(good)
	f.Fuzz(func(t *testing.T, zip []byte) {
		r, err := Verify(bytes.NewReader(zip), int64(len(zip)), o)
		if err == nil && r.Verdict != NotTrusted && !bytes.Equal(zip, good) {
			t.Errorf("another bundle is %s", r.Verdict)
		}
	})
}

// FuzzOpenContainer: what is taken has the one form of a container, byte for byte.
func FuzzOpenContainer(f *testing.F) {
	f.Add(assemble(pieces(plainMembers...)))
	f.Add(unaskedZip64(assemble(pieces(plainMembers...))))
	f.Add(prefixed())
	f.Add(gap())
	f.Add(overlap())
	f.Add(deflated())
	f.Add(extra(zip64Tag)())
	f.Fuzz(func(t *testing.T, zip []byte) {
		c, err := openContainer(bytes.NewReader(zip), int64(len(zip)))
		if err != nil {
			return
		}
		var list []piece
		for _, name := range c.order {
			h := c.members[name]
			b, err := c.small(name)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, piece{h.local(), b, h.central()})
		}
		if !bytes.Equal(assemble(list), zip) {
			t.Error("taken, but written otherwise")
		}
	})
}

// FuzzMember goes behind the checksums: members are put into a right container
// with a right SHA256SUMS.
func FuzzMember(f *testing.F) {
	good, o := storedBundle(f)
	members := unzip(f, good)
	for i, mem := range members {
		f.Add(i, mem.data)
	}
	c, err := openContainer(bytes.NewReader(good), int64(len(good)))
	check(f, err)
	f.Fuzz(func(t *testing.T, i int, data []byte) {
		if i < 0 || i >= len(members) {
			return
		}
		edited := slices.Clone(members)
		edited[i].data = data
		zip := pack(t, c.when, edited)
		r, err := Verify(bytes.NewReader(zip), int64(len(zip)), o)
		switch {
		case err != nil || r.Verdict == NotTrusted:
			if bytes.Equal(zip, good) {
				t.Errorf("the seed: %v", err)
			}
		case !bytes.Equal(data, members[i].data) && !isText(members[i].name):
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
