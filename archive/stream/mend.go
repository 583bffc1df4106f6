package stream

import (
	"crypto/cipher"
	"io"
)

// File is where a stream lies that is mended.
type File interface {
	io.ReaderAt
	io.WriterAt
}

// Mend ends a stream that a crash may have left without its end: of the first size bytes of f it keeps
// the whole segments that are authentic, and seals the last of them anew as the last one. It gives the
// length of the stream then, and that of its content; both are zero when nothing of it is left. What
// lies behind is the caller's to cut off. A stream that is whole stays as it is.
//
// No nonce serves for two contents: that of a last segment is used for the same bytes that the segment
// had, and nothing is ever appended to a stream.
func Mend(f File, size int64, key [32]byte, ad []byte) (length, plain int64, err error) {
	header := make([]byte, headerSize)
	if size < headerSize+tagSize {
		return 0, 0, nil
	}
	if _, err := readFullAt(f, header, 0); err != nil {
		return 0, 0, err
	}
	if header[0] != headerSize {
		return 0, 0, nil
	}
	a, err := aead(key, header[1:1+saltSize], ad)
	if err != nil {
		return 0, 0, err
	}
	m := mender{f: f, size: size, aead: a}
	copy(m.nonce[:], header[1+saltSize:])
	return m.mend()
}

type mender struct {
	f     File
	size  int64
	aead  cipher.AEAD
	nonce nonce
	plain []byte // of the last segment that is authentic
}

func (m *mender) mend() (length, plain int64, err error) {
	b, open := make([]byte, segmentSize), make([]byte, 0, segmentSize)
	for i := int64(0); i < maxSegments; i++ {
		start, end := segmentAt(i), min((i+1)*segmentSize, m.size)
		if end-start < tagSize {
			return m.cut(i)
		}
		b = b[:end-start]
		if _, err := readFullAt(m.f, b, start); err != nil {
			return 0, 0, err
		}
		m.nonce.set(i, true)
		if _, err := m.aead.Open(open, m.nonce[:], b, nil); err == nil {
			plain, err = PlaintextSize(end)
			return end, plain, err
		}
		m.nonce.set(i, false)
		got, err := m.aead.Open(open, m.nonce[:], b, nil)
		if err != nil || end != (i+1)*segmentSize {
			return m.cut(i)
		}
		m.plain = append(m.plain[:0], got...)
	}
	return m.cut(maxSegments)
}

// cut makes the segment before i the last one.
func (m *mender) cut(i int64) (length, plain int64, err error) {
	if i == 0 {
		return 0, 0, nil
	}
	m.nonce.set(i-1, true)
	// A crash here tears this segment: the next mending ends with the one before.
	if _, err := m.f.WriteAt(m.aead.Seal(nil, m.nonce[:], m.plain, nil), segmentAt(i-1)); err != nil {
		return 0, 0, err
	}
	plain, err = PlaintextSize(i * segmentSize)
	return i * segmentSize, plain, err
}

// segmentAt is where a segment begins.
func segmentAt(i int64) int64 {
	if i == 0 {
		return headerSize
	}
	return i * segmentSize
}
