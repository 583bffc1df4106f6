package durable

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"sync"
	"syscall"
)

// Slot is one small value in a file with two fixed places, written in turn: a
// write that is torn by a crash spoils the older place only, and nothing is
// renamed. A place is 4096 bytes:
//
//	8 bytes   "SAESLOT1"
//	8 bytes   generation, big-endian, from 1 to 1<<63 - 1
//	4 bytes   length of the value, big-endian
//	value, then zeros
//	32 bytes  SHA-256 of all bytes before, at the end of the place
//
// The valid place with the higher generation holds the value. A place of zeros
// only is empty. A value whose place was damaged later, and not by a write of its
// own, looks like a torn write: Load then gives the value before and names the
// place, and its caller must know whether the value before will do.
//
// A slot may be used by several goroutines of one process; other processes are
// kept away by a Lock.
type Slot struct {
	file *os.File
	fs   FS
	path string
	mu   sync.Mutex // held from the reading of the places to the writing of one
}

const (
	placeSize = 4096
	slotMagic = "SAESLOT1"
	headSize  = 20

	// MaxSlot is the longest value of a slot, in bytes.
	MaxSlot = 2048
)

var (
	// ErrSlot says that neither place of a slot holds a value.
	ErrSlot = errors.New("neither of the slot's two places is valid")
	// ErrStale says that a slot holds another generation than the one expected.
	ErrStale = errors.New("the slot was changed by another")

	errPlace = errors.New("damaged place")
)

// CreateSlot makes a slot with its first value, durably; a file that exists gives
// an error matching fs.ErrExist. A crash in it leaves no file, or one that Load
// refuses until it is removed, or the slot.
func CreateSlot(f FS, path string, perm os.FileMode, value []byte) error {
	p, err := place(1, value)
	if err != nil {
		return fmt.Errorf("creating slot %s: %w", path, err)
	}
	file, err := f.Create(path, perm)
	if err != nil {
		return fmt.Errorf("creating slot: %w", err)
	}
	if _, err = file.Write(append(p, make([]byte, placeSize)...)); err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		f.Remove(path)
		return fmt.Errorf("creating slot: %w", err)
	}
	return nil
}

// OpenSlot opens a slot, for writing if the file allows it.
func OpenSlot(fs FS, path string) (*Slot, error) {
	f, err := os.OpenFile(path, os.O_RDWR|syncWrites, 0)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) {
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, err
	}
	return &Slot{file: f, fs: fs, path: path}, nil
}

// Close closes the file.
func (s *Slot) Close() error { return s.file.Close() }

// Load gives the value and its generation, and the places (0, 1) that are
// neither empty nor valid. ErrSlot when no place is valid.
func (s *Slot) Load() (value []byte, gen uint64, damaged []int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, gen, _, damaged = s.newest()
	if gen == 0 {
		return nil, 0, damaged, ErrSlot
	}
	return value, gen, damaged, nil
}

// newest gives what Load does, and the place where the value lies; generation 0
// when no place is valid.
func (s *Slot) newest() (value []byte, gen uint64, at int, damaged []int) {
	for i := range 2 {
		v, g, err := s.read(i)
		switch {
		case err != nil:
			damaged = append(damaged, i)
		case g > gen:
			value, gen, at = v, g, i
		}
	}
	return value, gen, at, damaged
}

// read gives what a place holds; generation 0 when it is empty.
func (s *Slot) read(i int) (value []byte, gen uint64, err error) {
	b := make([]byte, placeSize)
	if _, err := s.file.ReadAt(b, int64(i)*placeSize); err != nil {
		return nil, 0, err
	}
	return parsePlace(b)
}

func parsePlace(b []byte) (value []byte, gen uint64, err error) {
	if bytes.Equal(b, make([]byte, placeSize)) {
		return nil, 0, nil
	}
	sum := sha256.Sum256(b[:placeSize-sha256.Size])
	if string(b[:8]) != slotMagic || !bytes.Equal(sum[:], b[placeSize-sha256.Size:]) {
		return nil, 0, errPlace
	}
	gen = binary.BigEndian.Uint64(b[8:])
	n := binary.BigEndian.Uint32(b[16:])
	if gen == 0 || gen > math.MaxInt64 || n > MaxSlot {
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
// generation; ErrStale when the slot holds another, ErrSlot when it holds none.
// When it returns nil the new value is durable (O_DSYNC); after another error, or
// a crash, the old value or the new one is there, and the slot is to be opened and
// loaded anew.
func (s *Slot) CompareAndSwap(old uint64, value []byte) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, gen, at, _ := s.newest()
	switch {
	case gen == 0:
		return 0, ErrSlot
	case gen != old:
		return gen, ErrStale
	}
	b, err := place(gen+1, value)
	if err != nil {
		return gen, err
	}
	// A crash in the write spoils the place that is not the newest.
	if err := s.write(1-at, b); err != nil {
		return gen, err
	}
	return gen + 1, nil
}

// Alone reports whether the place that is not the newest holds nothing at all, or is not there.
func (s *Slot) Alone() (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, gen, at, _ := s.newest()
	if gen == 0 {
		return false, ErrSlot
	}
	b := make([]byte, placeSize)
	if _, err := s.file.ReadAt(b, int64(1-at)*placeSize); err != nil && err != io.EOF { // a file that was cut short
		return false, err
	}
	return bytes.Equal(b, make([]byte, placeSize)), nil
}

// WipeOther overwrites the place that is not the newest with zeros, durably: the
// value before the last swap is no longer in the file. Where a disk keeps
// overwritten blocks (copy-on-write, wear levelling, snapshots) that is beyond it.
// A crash in it leaves the newest value, and it is to be done again. ErrSlot when
// the slot holds no value.
func (s *Slot) WipeOther() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, gen, at, _ := s.newest()
	if gen == 0 {
		return ErrSlot
	}
	return s.write(1-at, make([]byte, placeSize))
}

func (s *Slot) write(i int, b []byte) error {
	off := int64(i) * placeSize
	if err := s.fs.fault(OpWrite, s.path); err != nil {
		_, werr := s.file.WriteAt(b[:placeSize/2], off)
		return errors.Join(err, werr)
	}
	if _, err := s.file.WriteAt(b, off); err != nil {
		return err
	}
	return s.fs.fault(OpSync, s.path) // O_DSYNC: the write was the sync
}
