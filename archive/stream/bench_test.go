package stream

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"io"
	"testing"
)

const benchSize = 64 << 20

func BenchmarkWrite(b *testing.B) {
	plain := content(benchSize)
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		w, err := NewWriter(io.Discard, testKey, testAD)
		if err != nil {
			b.Fatal(err)
		}
		w.Write(plain)
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// onlyWriter hides io.ReaderFrom.
type onlyWriter struct{ io.Writer }

func BenchmarkRead(b *testing.B) {
	sealed := seal(b, testHeader, content(benchSize))
	b.SetBytes(benchSize)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := newReader(b, source1(sealed)).WriteTo(onlyWriter{io.Discard}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReadAt reads 4 KiB at places far apart: each costs a segment.
func BenchmarkReadAt(b *testing.B) {
	r := newReader(b, source1(seal(b, testHeader, content(benchSize))))
	p := make([]byte, 4096)
	b.SetBytes(int64(len(p)))
	for off := int64(0); b.Loop(); off = (off + 12345678) % (benchSize - 4096) {
		if _, err := r.ReadAt(p, off); err != nil {
			b.Fatal(err)
		}
	}
}

// The floors: AES-256-GCM of 64 KiB alone.

func floor(b *testing.B) cipher.AEAD {
	block, err := aes.NewCipher(testKey[:])
	if err != nil {
		b.Fatal(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	return a
}

func BenchmarkFloorSeal(b *testing.B) {
	a := floor(b)
	plain, out, n := content(segmentSize), make([]byte, 0, segmentSize+tagSize), make([]byte, 12)
	b.SetBytes(segmentSize)
	for b.Loop() {
		a.Seal(out, n, plain, nil)
	}
}

func BenchmarkFloorOpen(b *testing.B) {
	a := floor(b)
	n := make([]byte, 12)
	sealed, out := a.Seal(nil, n, content(segmentSize), nil), bytes.Repeat([]byte{0}, segmentSize)
	b.SetBytes(segmentSize)
	for b.Loop() {
		if _, err := a.Open(out[:0], n, sealed, nil); err != nil {
			b.Fatal(err)
		}
	}
}
