package search

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Groups is how many groups of units a file has, each with its block.
const Groups = 256

// IDSize is the size of an identifier of a unit.
const IDSize = 27

// Unit is a version of a unit that a block was made of.
type Unit struct {
	ID      [IDSize]byte
	Version uint32
}

// Group is the units of a group and their block, enciphered: of no unit it is empty.
type Group struct {
	Units []Unit
	Block []byte
	sum   uint32 // of the block, as the head has it
}

// File is one file of the index: all units before leaf number Next are in it.
//
// It begins with the form, Next (8 bytes), for each group the number of its units (2), the size
// of its block (4) and the CRC-32C of that (4), and for each unit its identifier and its version (4);
// HMAC-SHA256 of all this ends the head. The blocks follow in the order of the groups.
type File struct {
	Next   uint64
	Groups [Groups]Group
	MAC    [sha256.Size]byte // of the head: names the file as it is; set by Parse and Bytes
}

const (
	form      = "sae search 1\n"
	fixedSize = len(form) + 8
	groupSize = 2 + 4 + 4
	unitSize  = IDSize + 4
	tableSize = fixedSize + Groups*groupSize
	maxBlock  = 1<<32 - 1
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// MAC is HMAC-SHA256.
func MAC(key [32]byte, b []byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, key[:])
	h.Write(b)
	h.Sum(sum[:0])
	return sum
}

// AppendUnits writes units down as they stand in the head.
func AppendUnits(b []byte, units []Unit) []byte {
	for _, u := range units {
		b = binary.BigEndian.AppendUint32(append(b, u.ID[:]...), u.Version)
	}
	return b
}

// Bytes is the file as it is stored.
func (f *File) Bytes(key [32]byte) ([]byte, error) {
	b := binary.BigEndian.AppendUint64([]byte(form), f.Next)
	for i := range f.Groups {
		g := &f.Groups[i]
		if uint64(len(g.Block)) > maxBlock {
			return nil, fmt.Errorf("a block of %d bytes", len(g.Block))
		}
		g.sum = crc32.Checksum(g.Block, castagnoli)
		b = binary.BigEndian.AppendUint16(b, uint16(len(g.Units)))
		b = binary.BigEndian.AppendUint32(b, uint32(len(g.Block)))
		b = binary.BigEndian.AppendUint32(b, g.sum)
	}
	for _, g := range f.Groups {
		b = AppendUnits(b, g.Units)
	}
	f.MAC = MAC(key, b)
	b = append(b, f.MAC[:]...)
	for _, g := range f.Groups {
		b = append(b, g.Block...)
	}
	return b, nil
}

// Parse reads a file, whose head is under the key. Blocks may be damaged, and are parts of b.
func Parse(b []byte, key [32]byte) (*File, error) {
	if len(b) < tableSize || string(b[:len(form)]) != form {
		return nil, errors.New("it is no file of the search index")
	}
	f := &File{Next: binary.BigEndian.Uint64(b[len(form):])}
	head, end := tableSize, uint64(sha256.Size)
	var units, sizes [Groups]int
	for i := range Groups {
		row := b[fixedSize+i*groupSize:]
		units[i], sizes[i] = int(binary.BigEndian.Uint16(row)), int(binary.BigEndian.Uint32(row[2:]))
		f.Groups[i].sum = binary.BigEndian.Uint32(row[6:])
		if units[i] > MaxUnits {
			return nil, errors.New("its head is damaged")
		}
		head += units[i] * unitSize
		end += uint64(sizes[i])
	}
	if end += uint64(head); uint64(len(b)) != end {
		return nil, fmt.Errorf("it has %d bytes, not the %d that its head says", len(b), end)
	}
	f.MAC = MAC(key, b[:head])
	if !hmac.Equal(f.MAC[:], b[head:head+sha256.Size]) {
		return nil, errors.New("its head is damaged")
	}
	rows, blocks := b[tableSize:head], b[head+sha256.Size:]
	for i := range Groups {
		g := &f.Groups[i]
		g.Units = make([]Unit, units[i])
		for j := range g.Units {
			g.Units[j] = Unit{[IDSize]byte(rows), binary.BigEndian.Uint32(rows[IDSize:])}
			rows = rows[unitSize:]
		}
		g.Block, blocks = blocks[:sizes[i]:sizes[i]], blocks[sizes[i]:]
	}
	return f, nil
}

// Check says which block is not as it was written, without any key of it.
func (f *File) Check() error {
	for i, g := range f.Groups {
		if crc32.Checksum(g.Block, castagnoli) != g.sum {
			return fmt.Errorf("block %d is damaged", i)
		}
	}
	return nil
}
