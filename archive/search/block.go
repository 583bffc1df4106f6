package search

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
)

// MaxUnits is how many units a block holds: they are numbered by a byte.
const MaxUnits = 256

// A block is the number of its units, the number of terms of each, and then each term in order: its
// length, its bytes, how many units hold it less one (1 byte), and their numbers (1 byte each).
// Numbers and lengths are unsigned varints.

var errBlock = errors.New("a block of the search index is malformed")

// Encode makes the block of units, of which each has distinct terms.
func Encode(units [][]string) []byte {
	if len(units) > MaxUnits {
		panic("search: a block of more than 256 units")
	}
	out := binary.AppendUvarint(nil, uint64(len(units)))
	holders := map[string][]byte{}
	for i, terms := range units {
		out = binary.AppendUvarint(out, uint64(len(terms)))
		for _, t := range terms {
			holders[t] = append(holders[t], byte(i))
		}
	}
	for _, t := range slices.Sorted(maps.Keys(holders)) {
		out = append(binary.AppendUvarint(out, uint64(len(t))), t...)
		out = append(append(out, byte(len(holders[t])-1)), holders[t]...)
	}
	return out
}

// Match calls found for the units of a block that hold all words, which are distinct and in order,
// with their numbers of terms.
func Match(block []byte, words []string, found func(unit, terms int)) error {
	r := reader{left: block}
	var count, held [MaxUnits]int
	n := r.number()
	if n > MaxUnits {
		return errBlock
	}
	for i := range n {
		count[i] = r.number()
	}
	for want := 0; want < len(words); {
		if r.bad || len(r.left) == 0 { // nor is any word after this one
			return r.err()
		}
		term := r.take(r.number())
		holders := r.take(1)
		if !r.bad {
			holders = r.take(int(holders[0]) + 1)
		}
		switch {
		case r.bad || string(term) > words[want]:
			return r.err()
		case string(term) < words[want]:
			continue
		}
		for _, unit := range holders {
			held[unit]++
		}
		want++
	}
	for i := range n {
		if held[i] == len(words) {
			found(i, count[i])
		}
	}
	return r.err()
}

// reader reads a block as far as it goes.
type reader struct {
	left []byte
	bad  bool
}

func (r *reader) err() error {
	if r.bad {
		return errBlock
	}
	return nil
}

// number reads one that is no larger than a block may be.
func (r *reader) number() int {
	n, size := binary.Uvarint(r.left)
	if size <= 0 || n > maxBlock {
		r.bad, n, size = true, 0, 0
	}
	r.left = r.left[size:]
	return int(n)
}

func (r *reader) take(n int) []byte {
	if n > len(r.left) {
		r.bad = true
	}
	if r.bad {
		return nil
	}
	b := r.left[:n]
	r.left = r.left[n:]
	return b
}
