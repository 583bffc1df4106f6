package bundle

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// Bounds of a container.
const (
	maxMembers = 100_000
	maxSmall   = 16 << 20 // any member but a document
)

// ContainerError says that a file is not a container this package would write:
// nothing in it was believed.
type ContainerError struct {
	Member string // "" for the whole
	Why    string
}

func (e *ContainerError) Error() string {
	if e.Member == "" {
		return "not a proof bundle: " + e.Why
	}
	return fmt.Sprintf("not a proof bundle: member %q: %s", e.Member, e.Why)
}

// container writes stored members one after the other, with their checksums in
// the local headers: no data descriptor, no extra field, so that the simplest
// reader reads it.
type container struct {
	zip  *zip.Writer
	sums bytes.Buffer // SHA256SUMS
	when time.Time
}

func newContainer(w io.Writer, when time.Time) *container {
	return &container{zip: zip.NewWriter(w), when: when}
}

// add writes a member from content that can be opened twice, and gives its SHA-256.
func (c *container) add(name string, size int64, open func() (io.ReadCloser, error)) ([]byte, error) {
	crc, sum := crc32.NewIEEE(), sha256.New()
	n, err := readAll(io.MultiWriter(crc, sum), open)
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes instead of %d", n, size)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	h := &zip.FileHeader{Name: name, Method: zip.Store, CRC32: crc.Sum32(),
		CompressedSize64: uint64(size), UncompressedSize64: uint64(size)}
	if !isASCII(name) {
		h.Flags = flagUTF8
	}
	h.SetMode(0o644)
	//lint:ignore SA1019 Modified would add an extra field, which a reader could read otherwise.
	h.ModifiedDate, h.ModifiedTime = dosTime(c.when)
	w, err := c.zip.CreateRaw(h)
	if err == nil {
		_, err = readAll(w, open)
	}
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", name, err)
	}
	digest := sum.Sum(nil)
	fmt.Fprintf(&c.sums, "%x  %s\n", digest, name)
	return digest, nil
}

func (c *container) addBytes(name string, b []byte) error {
	_, err := c.add(name, int64(len(b)), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil })
	return err
}

// flagUTF8 says that a name is UTF-8 (APPNOTE 4.4.4, bit 11).
const flagUTF8 = 0x800

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// close writes SHA256SUMS and the directory.
func (c *container) close() error {
	if err := c.addBytes("SHA256SUMS", bytes.Clone(c.sums.Bytes())); err != nil {
		return err
	}
	return c.zip.Close()
}

func readAll(w io.Writer, open func() (io.ReadCloser, error)) (int64, error) {
	r, err := open()
	if err != nil {
		return 0, err
	}
	n, err := io.CopyBuffer(w, struct{ io.Reader }{r}, make([]byte, 128<<10))
	return n, errors.Join(err, r.Close())
}

// dosTime is a time in the two fields that every zip has; seconds are even there.
func dosTime(t time.Time) (date, clock uint16) {
	t = t.UTC()
	return uint16(t.Day() + int(t.Month())<<5 + (t.Year()-1980)<<9), uint16(t.Second()/2 + t.Minute()<<5 + t.Hour()<<11)
}

// opened is a container whose form was found to be that which container writes.
type opened struct {
	members map[string]*zip.File
	order   []string
}

// openContainer reads the directory of a zip and refuses all that could be read
// in two ways: members twice, deflated, enciphered, linked or with extra fields,
// bytes before, between or behind them, local headers that say something else.
func openContainer(r io.ReaderAt, size int64) (*opened, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, &ContainerError{Why: err.Error()}
	}
	if len(z.File) < 2 || len(z.File) > maxMembers || z.Comment != "" {
		return nil, &ContainerError{Why: fmt.Sprintf("%d members (2 to %d are read), comment of %d bytes", len(z.File), maxMembers, len(z.Comment))}
	}
	c := &opened{members: map[string]*zip.File{}}
	var end int64
	for _, f := range z.File {
		if err := checkName(f.Name); err != nil {
			return nil, &ContainerError{f.Name, err.Error()}
		}
		if c.members[f.Name] != nil {
			return nil, &ContainerError{f.Name, "twice"}
		}
		if end, err = checkHeader(r, f, end); err != nil {
			return nil, &ContainerError{f.Name, err.Error()}
		}
		c.members[f.Name] = f
		c.order = append(c.order, f.Name)
	}
	if c.order[0] != "mimetype" {
		return nil, &ContainerError{Why: "its first member is not mimetype"}
	}
	return c, checkDirectory(r, size, end, len(z.File))
}

const (
	localHeaderSize = 30
	endRecordSize   = 22
)

// checkHeader holds a member's local header, which must start at offset at,
// against the directory, and gives the offset behind the member.
func checkHeader(r io.ReaderAt, f *zip.File, at int64) (int64, error) {
	switch {
	case f.Method != zip.Store || f.CompressedSize64 != f.UncompressedSize64:
		return 0, errors.New("not stored as it is")
	case f.Flags != 0 && (f.Flags != flagUTF8 || isASCII(f.Name)):
		return 0, fmt.Errorf("flags %#x", f.Flags)
	case !f.Mode().IsRegular():
		return 0, errors.New("not a plain file")
	case f.Comment != "":
		return 0, errors.New("has a comment")
	case len(f.Extra) > 0 && f.UncompressedSize64 < 1<<32-1:
		return 0, errors.New("has extra fields")
	}
	head := make([]byte, localHeaderSize+len(f.Name))
	if _, err := r.ReadAt(head, at); err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	small := uint32(min(f.UncompressedSize64, 1<<32-1))
	if le.Uint32(head) != 0x04034b50 || le.Uint16(head[6:]) != f.Flags || le.Uint16(head[8:]) != f.Method ||
		le.Uint16(head[10:]) != f.ModifiedTime || le.Uint16(head[12:]) != f.ModifiedDate ||
		le.Uint32(head[14:]) != f.CRC32 || le.Uint32(head[18:]) != small || le.Uint32(head[22:]) != small ||
		int(le.Uint16(head[26:])) != len(f.Name) || le.Uint16(head[28:]) != 0 || string(head[localHeaderSize:]) != f.Name {
		return 0, errors.New("its local header does not say what the directory says, or bytes lie before it")
	}
	if f.UncompressedSize64 > 1<<62 {
		return 0, errors.New("impossible size")
	}
	return at + int64(len(head)) + int64(f.CompressedSize64), nil
}

// checkDirectory refuses bytes between the last member, the directory and the end
// of the file.
func checkDirectory(r io.ReaderAt, size, end int64, members int) error {
	rec := make([]byte, endRecordSize)
	if _, err := r.ReadAt(rec, size-endRecordSize); err != nil {
		return &ContainerError{Why: err.Error()}
	}
	le := binary.LittleEndian
	if le.Uint32(rec) != 0x06054b50 {
		return &ContainerError{Why: "bytes behind its end"}
	}
	if le.Uint32(rec[16:]) == 1<<32-1 || le.Uint16(rec[10:]) == 1<<16-1 {
		return nil // zip64: archive/zip has followed its records, which lie before the end
	}
	if int64(le.Uint32(rec[16:])) != end || end+int64(le.Uint32(rec[12:])) != size-endRecordSize || int(le.Uint16(rec[10:])) != members {
		return &ContainerError{Why: "bytes before or behind its directory"}
	}
	return nil
}

// small reads a member whole.
func (c *opened) small(name string) ([]byte, error) {
	f := c.members[name]
	if f == nil {
		return nil, &ContainerError{name, "missing"}
	}
	if f.UncompressedSize64 > maxSmall {
		return nil, &ContainerError{name, fmt.Sprintf("%d bytes, more than %d", f.UncompressedSize64, maxSmall)}
	}
	r, err := f.Open()
	if err != nil {
		return nil, &ContainerError{name, err.Error()}
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, &ContainerError{name, err.Error()}
	}
	return b, nil
}

// sum is the SHA-256 of a member.
func (c *opened) sum(name string) (sum [sha256.Size]byte, err error) {
	f := c.members[name]
	if f == nil {
		return sum, &ContainerError{name, "missing"}
	}
	h := sha256.New()
	if _, err := readAll(h, f.Open); err != nil {
		return sum, &ContainerError{name, err.Error()}
	}
	return [sha256.Size]byte(h.Sum(nil)), nil
}
