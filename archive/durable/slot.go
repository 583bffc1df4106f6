package durable

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Slot is one small value in a file with two fixed places, written in turn: a
// write that is torn by a crash spoils the older place only, and nothing is
// renamed. A place is 4096 bytes:
//
//	8 bytes   "SAESLOT1"
//	8 bytes   generation, big-endian; 0 is never used
//	4 bytes   length of the value, big-endian
//	value, then zeros
//	32 bytes  SHA-256 of all bytes before, at the end of the place
//
// The valid place with the higher generation holds the value. A place of zeros
// only is empty.
type Slot struct {
	file *os.File
	fs   FS
	path string
}

const (
	placeSize = 4096
	slotMagic = "SAESLOT1"
	headSize  = 20

	// MaxSlot is the longest value of a slot, in bytes.
	MaxSlot = 2048
)

// ErrSlot says that neither place of a slot holds a value.
var ErrSlot = errors.New("neither of the slot's two places is valid")

// ErrStale says that a slot holds another generation than the one expected.
var ErrStale = errors.New("the slot was changed by another")

// CreateSlot makes a slot with its first value; an existing file is refused.
func CreateSlot(fs FS, path string, perm os.FileMode, value []byte) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("creating slot %s: %w", path, os.ErrExist)
	}
	p, err := place(1, value)
	if err != nil {
		return err
	}
	return fs.WriteFile(path, append(p, make([]byte, placeSize)...), perm)
}

// OpenSlot opens a slot, for writing if the file allows it.
func OpenSlot(fs FS, path string) (*Slot, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_DSYNC, 0)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EROFS) {
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, err
	}
	return &Slot{f, fs, path}, nil
}

// Close closes the file.
func (s *Slot) Close() error { return s.file.Close() }

// Load gives the value and its generation, and the places (0, 1) that are
// neither empty nor valid. ErrSlot when no place is valid.
func (s *Slot) Load() (value []byte, gen uint64, damaged []int, err error) {
	for i := range 2 {
		v, g, err := s.read(i)
		switch {
		case err != nil:
			damaged = append(damaged, i)
		case g > gen:
			value, gen = v, g
		}
	}
	if gen == 0 {
		return nil, 0, damaged, ErrSlot
	}
	return value, gen, damaged, nil
}

var errPlace = errors.New("damaged place")

// read gives what a place holds; generation 0 when it is empty.
func (s *Slot) read(i int) (value []byte, gen uint64, err error) {
	b := make([]byte, placeSize)
	if _, err := s.file.ReadAt(b, int64(i)*placeSize); err != nil {
		return nil, 0, err
	}
	if bytes.Equal(b, make([]byte, placeSize)) {
		return nil, 0, nil
	}
	sum := sha256.Sum256(b[:placeSize-sha256.Size])
	n := binary.BigEndian.Uint32(b[16:])
	gen = binary.BigEndian.Uint64(b[8:])
	if string(b[:8]) != slotMagic || !bytes.Equal(sum[:], b[placeSize-sha256.Size:]) || n > MaxSlot || gen == 0 {
		return nil, 0, errPlace
	}
	return bytes.Clone(b[headSize : headSize+n]), gen, nil
}

func place(gen uint64, value []byte) ([]byte, error) {
	if len(value) > MaxSlot {
		return nil, fmt.Errorf("a slot's value has at most %d bytes, not %d", MaxSlot, len(value))
	}
	b := make([]byte, placeSize)
	copy(b, slotMagic)
	binary.BigEndian.PutUint64(b[8:], gen)
	binary.BigEndian.PutUint32(b[16:], uint32(len(value)))
	copy(b[headSize:], value)
	sum := sha256.Sum256(b[:placeSize-sha256.Size])
	copy(b[placeSize-sha256.Size:], sum[:])
	return b, nil
}

// CompareAndSwap replaces the value of generation old and gives the new
// generation; ErrStale when the slot holds another. When it returns nil the new
// value is durable (O_DSYNC); after an error, or a crash, either is there.
func (s *Slot) CompareAndSwap(old uint64, value []byte) (uint64, error) {
	keep, gen := 0, uint64(0)
	for i := range 2 {
		if _, g, err := s.read(i); err == nil && g > gen {
			keep, gen = i, g
		}
	}
	if gen != old {
		return gen, ErrStale
	}
	b, err := place(gen+1, value)
	if err != nil {
		return gen, err
	}
	if err := s.write(1-keep, b); err != nil {
		return gen, err
	}
	return gen + 1, nil
}

// WipeOther overwrites the older place with zeros, durably: the value before the
// last swap is gone from the file.
func (s *Slot) WipeOther() error {
	keep, gen := 0, uint64(0)
	for i := range 2 {
		if _, g, err := s.read(i); err == nil && g > gen {
			keep, gen = i, g
		}
	}
	if gen == 0 {
		return ErrSlot
	}
	return s.write(1-keep, make([]byte, placeSize))
}

func (s *Slot) write(i int, b []byte) error {
	if err := s.fs.fault(OpWrite, s.path); err != nil {
		s.file.WriteAt(b[:placeSize/2], int64(i)*placeSize)
		return err
	}
	if _, err := s.file.WriteAt(b, int64(i)*placeSize); err != nil {
		return err
	}
	return s.fs.fault(OpSync, s.path) // O_DSYNC: the write was the sync
}
