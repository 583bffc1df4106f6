package bundle

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestEveryChangedByte changes every byte of a bundle in two ways: none may be
// verified. With -short, every 17th.
func TestEveryChangedByte(t *testing.T) {
	m := one(t)
	original := m.zip()
	if len(original) > 40<<10 {
		t.Errorf("%d bytes: too long for this test", len(original))
	}
	step := 1
	if testing.Short() {
		step = 17
	}
	o := Options{Roots: m.roots()}
	for _, bits := range []byte{1, 0x80} {
		t.Run(fmt.Sprintf("xor %#x", bits), func(t *testing.T) {
			t.Parallel()
			zip := bytes.Clone(original)
			for i := 0; i < len(zip); i += step {
				zip[i] ^= bits
				if r, err := Verify(bytes.NewReader(zip), int64(len(zip)), o); err == nil && r.Verdict != NotTrusted {
					t.Errorf("offset %d: %s", i, r.Verdict)
				}
				zip[i] ^= bits
			}
			if r := verify(t, zip, o); r.Verdict != Verified {
				t.Errorf("in the end: %s", r.Verdict)
			}
		})
	}
}

// TestEveryTruncation cuts the bundle, and puts bytes around it.
func TestEveryTruncation(t *testing.T) {
	m := one(t)
	zip := m.zip()
	for n := 0; n < len(zip); n += 7 {
		refused(t, zip[:n], m, fmt.Sprintf("cut to %d", n))
		refused(t, zip[n+1:], m, fmt.Sprintf("without the first %d", n+1))
	}
}

func refused(t *testing.T, zip []byte, m *maker, what string) {
	t.Helper()
	if r, err := Verify(bytes.NewReader(zip), int64(len(zip)), Options{Roots: m.roots()}); err == nil && r.Verdict != NotTrusted {
		t.Errorf("%s: %s", what, r.Verdict)
	}
}

// TestFlippedContentInAGoodZip changes members and puts the zip and SHA256SUMS
// right again: the evidence itself must notice. Texts for people prove nothing and
// are only said to be others.
func TestFlippedContentInAGoodZip(t *testing.T) {
	t.Parallel()
	m := one(t)
	members := unzip(t, m.zip())
	places := 20
	if testing.Short() {
		places = 3
	}
	for k, mem := range members {
		for i := 0; i < len(mem.data); i += 1 + len(mem.data)/places {
			edited := slices.Clone(members)
			edited[k].data = bytes.Clone(mem.data)
			edited[k].data[i] ^= 1 << (i % 8)
			r, err := verifyMembers(t, m, edited)
			switch {
			case err != nil:
			case isText(mem.name):
				if r.Verdict != Verified || len(problems(r)) < 2 || strings.Contains(problems(r)[1], "failed") {
					t.Errorf("%s, byte %d: %s, %v", mem.name, i, r.Verdict, problems(r))
				}
			case r.Verdict != NotTrusted:
				t.Errorf("%s, byte %d: %s", mem.name, i, r.Verdict)
			}
		}
	}
}

func isText(name string) bool {
	return slices.ContainsFunc(textMembers(nil), func(m member) bool { return m.name == name })
}

// unzip gives the members of a bundle but SHA256SUMS.
func unzip(t testing.TB, zip []byte) (out []member) {
	t.Helper()
	c, err := openContainer(bytes.NewReader(zip), int64(len(zip)))
	check(t, err)
	for _, name := range c.order {
		b, err := c.small(name)
		check(t, err)
		if name != sumsName {
			out = append(out, member{name, b})
		}
	}
	return out
}

// rezip makes a container of members, with a right SHA256SUMS.
func rezip(t testing.TB, m *maker, members []member) []byte {
	t.Helper()
	return pack(t, stampOf(m.now), members)
}

func pack(t testing.TB, when stamp, members []member) []byte {
	t.Helper()
	var w bytes.Buffer
	c := newContainer(&w, start)
	c.when = when
	for _, mem := range members {
		check(t, c.addBytes(mem.name, mem.data))
	}
	check(t, c.close())
	return w.Bytes()
}

func verifyMembers(t testing.TB, m *maker, members []member) (*Report, error) {
	t.Helper()
	zip := rezip(t, m, members)
	return Verify(bytes.NewReader(zip), int64(len(zip)), Options{Roots: m.roots()})
}
