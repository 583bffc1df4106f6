package search

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestMatchIsAScan holds a block against its units.
func TestMatchIsAScan(t *testing.T) {
	term := rapid.SampledFrom([]string{"", "a", "ab", "abc", "b", "\x00t", "é", "zz"})
	rapid.Check(t, func(t *rapid.T) {
		units := rapid.SliceOfN(rapid.SliceOfDistinct(term, rapid.ID), 0, MaxUnits).Draw(t, "units")
		words := rapid.SliceOfNDistinct(term, 0, 3, rapid.ID).Draw(t, "words")
		slices.Sort(words)
		var want, got []string
		for i, terms := range units {
			if !slices.ContainsFunc(words, func(w string) bool { return !slices.Contains(terms, w) }) {
				want = append(want, fmt.Sprint(i, len(terms)))
			}
		}
		block := Encode(units)
		if err := Match(block, words, func(unit, terms int) { got = append(got, fmt.Sprint(unit, terms)) }); err != nil || !slices.Equal(got, want) {
			t.Fatalf("%v, want %v, %v", got, want, err)
		}
		if len(block) > 0 && Match(block[:len(block)-1], []string{"\xff"}, func(_, _ int) {}) == nil {
			t.Fatal("a block cut short matches")
		}
	})
}

func FuzzMatch(f *testing.F) {
	f.Add(Encode([][]string{{"a", "b"}, {"b"}}), "b")
	f.Add(Encode(nil), "")
	f.Add([]byte{1, 1, 0xff, 0xff, 0xff, 0xff, 0x0f}, "a")
	f.Fuzz(func(t *testing.T, block []byte, word string) {
		Match(block, []string{word}, func(unit, terms int) {
			if unit < 0 || unit >= MaxUnits || terms < 0 {
				t.Errorf("unit %d with %d terms", unit, terms)
			}
		})
	})
}

func sample() *File {
	f := &File{Next: 77}
	f.Groups[0] = Group{Units: []Unit{{[IDSize]byte{1}, 1}, {[IDSize]byte{2}, 3}}, Block: []byte("first")}
	f.Groups[255] = Group{Units: []Unit{{[IDSize]byte{3}, 1}}, Block: []byte("last")}
	return f
}

func mustBytes(t testing.TB, f *File, key [32]byte) []byte {
	b, err := f.Bytes(key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFile: a file comes back as it was; one of which a byte is changed, or cut, is refused or its
// block is named.
func TestFile(t *testing.T) {
	key := [32]byte{1}
	b := mustBytes(t, sample(), key)
	f, err := Parse(b, key)
	if err != nil || f.Check() != nil || f.Next != 77 || !bytes.Equal(mustBytes(t, f, key), b) {
		t.Fatal(f, err)
	}
	if want := sample(); !reflect.DeepEqual(f.Groups[0].Units, want.Groups[0].Units) || string(f.Groups[255].Block) != "last" {
		t.Error("other units or blocks")
	}
	if _, err := Parse(b, [32]byte{2}); err == nil {
		t.Error("it is read under another key")
	}
	for i := range b {
		if _, err := Parse(b[:i], key); err == nil {
			t.Fatalf("cut to %d bytes it is read", i)
		}
		bad := bytes.Clone(b)
		bad[i] ^= 1
		if f, err := Parse(bad, key); err == nil && f.Check() == nil {
			t.Fatalf("byte %d may change", i)
		}
	}
}

func FuzzParse(f *testing.F) {
	key := [32]byte{1}
	f.Add(mustBytes(f, sample(), key))
	f.Add(mustBytes(f, &File{}, key))
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		size := tableSize // of a head whose MAC is then made to hold
		for i := 0; i < Groups && len(b) >= tableSize; i++ {
			size += unitSize * int(binary.BigEndian.Uint16(b[fixedSize+i*groupSize:]))
		}
		if size+len(key) > len(b) {
			return
		}
		mac := MAC(key, b[:size])
		copy(b[size:], mac[:])
		if file, err := Parse(b, key); err == nil && file.Check() == nil && !bytes.Equal(mustBytes(t, file, key), b) {
			t.Error("it is written otherwise than it was read")
		}
	})
}
