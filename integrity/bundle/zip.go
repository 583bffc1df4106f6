package bundle

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"
)

// The zip of a bundle has exactly one form for given members and one time: no
// data descriptor, no comment, no gap, and extra fields only where a size or an
// offset needs zip64. A reader writes each header again from what it says and
// compares, so that no byte of it can say something else to another program.
// Sections are those of the ZIP File Format Specification (APPNOTE 6.3).

// header is what the two headers of a member say.
type header struct {
	name string
	size int64
	at   int64 // offset of the local header
	crc  uint32
	when stamp
}

// stamp is a time in the two fields that every zip has (section 4.4.6); seconds
// are even there.
type stamp struct{ date, clock uint16 }

func stampOf(t time.Time) stamp {
	t = t.UTC()
	return stamp{uint16(t.Day() + int(t.Month())<<5 + (t.Year()-1980)<<9), uint16(t.Second()/2 + t.Minute()<<5 + t.Hour()<<11)}
}

const (
	localSignature   = 0x04034b50
	centralSignature = 0x02014b50
	endSignature     = 0x06054b50
	end64Signature   = 0x06064b50
	locatorSignature = 0x07064b50

	localSize   = 30
	centralSize = 46
	endSize     = 22
	end64Size   = 56 + 20 // with its locator

	plainVersion = 20      // needed to read stored members
	zip64Version = 45      // needed to read zip64 fields
	unix         = 3 << 8  // made by, in whose terms the mode is meant
	flagUTF8     = 1 << 11 // the name is UTF-8 (section 4.4.4)
	plainFile    = 0o100644 << 16
	zip64Tag     = 1

	max16 = 1<<16 - 1
	max32 = 1<<32 - 1
)

var le = binary.LittleEndian

// local is the header before the content (section 4.3.7).
func (h *header) local() []byte {
	var extra []byte
	if h.size >= max32 {
		extra = zip64Extra(h.size, h.size)
	}
	b := le.AppendUint32(make([]byte, 0, localSize+len(h.name)+len(extra)), localSignature)
	b = h.appendShared(b, extra)
	b = append(b, h.name...)
	return append(b, extra...)
}

// central is the header in the directory (section 4.3.12).
func (h *header) central() []byte {
	var big []int64
	if h.size >= max32 {
		big = append(big, h.size, h.size)
	}
	if h.at >= max32 {
		big = append(big, h.at)
	}
	extra := zip64Extra(big...)
	b := le.AppendUint32(make([]byte, 0, centralSize+len(h.name)+len(extra)), centralSignature)
	b = le.AppendUint16(b, unix|needed(extra))
	b = h.appendShared(b, extra)
	b = append(b, make([]byte, 6)...) // no comment, first disk, no internal attributes
	b = le.AppendUint32(b, plainFile)
	b = le.AppendUint32(b, uint32(min(h.at, max32)))
	b = append(b, h.name...)
	return append(b, extra...)
}

// appendShared appends the fields that both headers have, in the same order.
func (h *header) appendShared(b, extra []byte) []byte {
	size := uint32(min(h.size, max32))
	b = le.AppendUint16(b, needed(extra))
	b = le.AppendUint16(b, flagsOf(h.name))
	b = le.AppendUint16(b, 0) // stored
	b = le.AppendUint16(b, h.when.clock)
	b = le.AppendUint16(b, h.when.date)
	b = le.AppendUint32(b, h.crc)
	b = le.AppendUint32(b, size)
	b = le.AppendUint32(b, size)
	b = le.AppendUint16(b, uint16(len(h.name)))
	return le.AppendUint16(b, uint16(len(extra)))
}

func needed(extra []byte) uint16 {
	if len(extra) > 0 {
		return zip64Version
	}
	return plainVersion
}

func flagsOf(name string) uint16 {
	for i := range len(name) {
		if name[i] >= 0x80 {
			return flagUTF8
		}
	}
	return 0
}

// zip64Extra holds the values that do not fit in 32 bits (section 4.5.3).
func zip64Extra(values ...int64) []byte {
	if len(values) == 0 {
		return nil
	}
	b := le.AppendUint16(nil, zip64Tag)
	b = le.AppendUint16(b, uint16(8*len(values)))
	for _, v := range values {
		b = le.AppendUint64(b, uint64(v))
	}
	return b
}

// end is what the end of a zip says of its directory.
type end struct{ members, start, size int64 }

// bytes are the end records (sections 4.3.14 to 4.3.16).
func (e end) bytes() (b []byte) {
	members, start, size := e.members, e.start, e.size
	if members >= max16 || start >= max32 || size >= max32 {
		b = e.append64(b)
		members, start, size = max16, max32, max32
	}
	b = le.AppendUint32(b, endSignature)
	b = le.AppendUint32(b, 0) // first disk
	b = le.AppendUint16(b, uint16(members))
	b = le.AppendUint16(b, uint16(members))
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint32(b, uint32(start))
	return le.AppendUint16(b, 0) // no comment
}

func (e end) append64(b []byte) []byte {
	b = le.AppendUint32(b, end64Signature)
	b = le.AppendUint64(b, 56-12) // what follows
	b = le.AppendUint16(b, zip64Version)
	b = le.AppendUint16(b, zip64Version)
	b = le.AppendUint64(b, 0) // first disk
	for _, v := range []int64{e.members, e.members, e.size, e.start} {
		b = le.AppendUint64(b, uint64(v))
	}
	b = le.AppendUint32(b, locatorSignature)
	b = le.AppendUint32(b, 0)
	b = le.AppendUint64(b, uint64(e.start+e.size))
	return le.AppendUint32(b, 1) // one disk
}

// parseEnd reads the end of a file of the given size from its last bytes.
func parseEnd(tail []byte, size int64) (e end, err error) {
	if len(tail) < endSize {
		return e, errors.New("too short for a zip")
	}
	last := tail[len(tail)-endSize:]
	if le.Uint32(last) != endSignature {
		return e, errors.New("no zip, or bytes behind its end")
	}
	e = end{int64(le.Uint16(last[10:])), int64(le.Uint32(last[16:])), int64(le.Uint32(last[12:]))}
	if before := tail[:len(tail)-endSize]; e == (end{max16, max32, max32}) && len(before) == end64Size {
		e = end{int64(le.Uint64(before[32:])), int64(le.Uint64(before[48:])), int64(le.Uint64(before[40:]))}
	}
	if e.start < 0 || e.size < 0 || e.start > size || e.size > size-e.start {
		return e, errors.New("its directory is not inside it")
	}
	want := e.bytes()
	if e.start+e.size+int64(len(want)) != size || !bytes.HasSuffix(tail, want) {
		return e, errors.New("bytes behind its directory, or end records not in their one form")
	}
	return e, nil
}

// parseHeader reads the first header of a directory and gives what is behind it.
func parseHeader(dir []byte) (h *header, rest []byte, err error) {
	if len(dir) < centralSize || le.Uint32(dir) != centralSignature {
		return nil, nil, errors.New("its directory is cut or holds something else")
	}
	name, extra := int(le.Uint16(dir[28:])), int(le.Uint16(dir[30:]))
	if len(dir) < centralSize+name+extra {
		return nil, nil, errors.New("its directory is cut")
	}
	h = &header{name: string(dir[centralSize : centralSize+name]), crc: le.Uint32(dir[16:]),
		size: int64(le.Uint32(dir[24:])), at: int64(le.Uint32(dir[42:])), when: stamp{le.Uint16(dir[14:]), le.Uint16(dir[12:])}}
	big := dir[centralSize+name : centralSize+name+extra]
	big = big[min(4, len(big)):]
	if h.size == max32 && len(big) >= 16 {
		h.size, big = int64(le.Uint64(big)), big[16:]
	}
	if h.at == max32 && len(big) >= 8 {
		h.at = int64(le.Uint64(big))
	}
	if h.size < 0 || h.at < 0 {
		return h, nil, errors.New("impossible size or offset")
	}
	want := h.central()
	if !bytes.HasPrefix(dir, want) {
		return h, nil, departure(dir)
	}
	return h, dir[len(want):], nil
}

// departure says how a header in a directory is not of the one form.
func departure(central []byte) error {
	flags := le.Uint16(central[8:])
	switch {
	case flags&1 != 0:
		return errors.New("enciphered")
	case flags&8 != 0:
		return errors.New("its sizes stand behind it (data descriptor)")
	case le.Uint16(central[10:]) != 0 || le.Uint32(central[20:]) != le.Uint32(central[24:]):
		return errors.New("compressed, not stored as it is")
	case le.Uint16(central[32:]) != 0:
		return errors.New("has a comment")
	case le.Uint32(central[38:]) != plainFile:
		return errors.New("not a plain file")
	case le.Uint16(central[30:]) != 0:
		return errors.New("has extra fields")
	}
	return errors.New("its header in the directory is not in its one form")
}
