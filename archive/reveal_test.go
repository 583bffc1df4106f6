package archive

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/golang/snappy"
)

// Bounds of what is decompressed from one byte on: a probe first, more when it looks like text of
// somebody's.
const (
	probe    = 64
	maxProbe = 64 << 10
)

// revealed decompresses from every byte of a file on, as deflate (which zlib, gzip and zip hold) and
// as snappy, and calls f for what comes out, many at a time.
func revealed(b []byte, f func(out []byte)) {
	var all bytes.Buffer
	flush := func() {
		if all.Len() > 0 {
			f(all.Bytes())
			all.Reset()
		}
	}
	src := bytes.NewReader(nil)
	z := flate.NewReader(src)
	buf := make([]byte, maxProbe)
	for i := range b {
		rest := b[i:min(len(b), i+maxProbe)]
		if len(rest) < 8 || isZero(rest[:8]) {
			continue
		}
		if couldDeflate(rest) {
			src.Reset(rest)
			z.(flate.Resetter).Reset(src, nil)
			n, err := io.ReadFull(z, buf[:probe])
			if err == nil { // it goes on: this is one
				more, _ := io.ReadFull(z, buf[probe:])
				n += more
			}
			if n >= 8 {
				all.Write(buf[:n])
				all.WriteByte(0)
			}
		}
		if n := unsnappy(rest, buf); n >= 8 {
			all.Write(buf[:n])
			all.WriteByte(0)
		}
		if all.Len() > 4<<20 {
			flush()
		}
	}
	flush()
}

func isZero(b []byte) bool { return binary.LittleEndian.Uint64(b) == 0 }

// couldDeflate says by its first bits whether a deflate stream (RFC 1951 section 3.2.3) may begin here.
func couldDeflate(b []byte) bool {
	switch b[0] >> 1 & 3 {
	case 0: // stored: a length and its complement follow
		return len(b) > 4 && b[1] == ^b[3] && b[2] == ^b[4]
	case 3:
		return false
	case 2: // at most 286 codes of lengths, at most 30 of distances
		return b[0]>>3 <= 29 && b[1]&0x1f <= 29
	}
	return true
}

// unsnappy decodes a snappy block that begins with its length, up to the end of it or of what there is.
func unsnappy(b, out []byte) (n int) {
	size, i := binary.Uvarint(b)
	if i <= 0 || size < 8 || size > 1<<24 {
		return 0
	}
	size = min(size, uint64(len(out)))
	for uint64(n) < size && i < len(b) {
		tag := b[i]
		i++
		length, offset, extra := 0, 0, 0
		switch tag & 3 {
		case 0:
			length = int(tag>>2) + 1
			if length > 60 {
				extra = length - 60
				if i+extra > len(b) {
					return 0
				}
				var le [8]byte
				copy(le[:], b[i:i+extra])
				length = int(binary.LittleEndian.Uint64(le[:])) + 1
			}
			i += extra
			end := min(i+length, len(b))
			n += copy(out[n:], b[i:end])
			i += length
			continue
		case 1:
			length, extra = int(tag>>2&7)+4, 1
			if i < len(b) {
				offset = int(tag>>5)<<8 | int(b[i])
			}
		case 2:
			length, extra = int(tag>>2)+1, 2
			if i+1 < len(b) {
				offset = int(binary.LittleEndian.Uint16(b[i:]))
			}
		case 3:
			length, extra = int(tag>>2)+1, 4
			if i+3 < len(b) {
				offset = int(binary.LittleEndian.Uint32(b[i:]))
			}
		}
		if i += extra; i > len(b) || offset == 0 || offset > n {
			return 0
		}
		for ; length > 0 && n < len(out); length-- {
			out[n] = out[n-offset]
			n++
		}
	}
	return n
}

// formsOf is a text in every form that the search must find.
func formsOf(t *testing.T, text, digest []byte) map[string][]byte {
	t.Helper()
	out := map[string][]byte{"clear": text, "UTF-16LE": utf16le(string(text)), "digest": digest, "digest hex": fmt.Appendf(nil, "%x", digest), "upper case": bytes.ToUpper(text)}
	be := utf16le(string(text))
	for i := 0; i < len(be); i += 2 {
		be[i], be[i+1] = be[i+1], be[i]
	}
	out["UTF-16BE"] = be
	for name, b := range map[string][]byte{"UTF-8": text, "UTF-16LE": utf16le(string(text)), "digest": digest} {
		out[name+" hex"], out[name+" HEX"] = []byte(hex.EncodeToString(b)), []byte(strings.ToUpper(hex.EncodeToString(b)))
		for shift := range 3 {
			moved := append(bytes.Repeat([]byte("x"), shift), b...)
			out[fmt.Sprint(name, " base64+", shift)] = []byte(base64.StdEncoding.EncodeToString(moved))
			out[fmt.Sprint(name, " base64url+", shift)] = []byte(base64.URLEncoding.EncodeToString(moved))
		}
		long := bytes.Repeat(append([]byte("avant "), b...), 20)
		pack := func(what string, w io.WriteCloser, to *bytes.Buffer) {
			if _, err := w.Write(long); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			out[name+" "+what] = bytes.Clone(to.Bytes())
			to.Reset()
		}
		var to bytes.Buffer
		for _, level := range []int{flate.HuffmanOnly, flate.NoCompression, flate.BestSpeed, flate.BestCompression} {
			w, err := flate.NewWriter(&to, level)
			if err != nil {
				t.Fatal(err)
			}
			pack(fmt.Sprint("deflate ", level), w, &to)
		}
		pack("zlib", zlib.NewWriter(&to), &to)
		pack("gzip", gzip.NewWriter(&to), &to)
		pack("snappy stream", snappy.NewBufferedWriter(&to), &to)
		out[name+" snappy block"] = snappy.Encode(nil, long)
		out[name+" zip"] = []byte(deflated(t, string(b)))
	}
	return out
}
