package seda

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"
)

// Bounds of packages.
const (
	maxEntries  = 4_000_000
	maxNameSize = 4096
	// A package may unpack to bombBase, and to bombRatio bytes for each of its own:
	// far above what XML and documents are packed to, far below a bomb.
	bombBase  = 1 << 30
	bombRatio = 300
)

// File is a file in a package.
type File struct {
	Name string // clean, with slashes
	Size int64
}

// Package is what carries a message and its files: a zip, a tar, a tar.gz, a folder, or
// a manifest alone.
type Package struct {
	Manifest   string // its name in the package
	Files      []File // all, the manifest too, in the order in which they lie
	Sequential bool   // files are opened fast only in their order, one at a time

	byName map[string]int
	open   func(i int) (io.ReadCloser, error)
	close  func() error
}

// Close releases what the package holds.
func (p *Package) Close() error {
	if p.close == nil {
		return nil
	}
	return p.close()
}

// Open opens a file of the package.
func (p *Package) Open(name string) (io.ReadCloser, error) {
	i, ok := p.byName[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return p.open(i)
}

// File gives what is known of a file.
func (p *Package) File(name string) (File, bool) {
	i, ok := p.byName[name]
	if !ok {
		return File{}, false
	}
	return p.Files[i], true
}

// Resolve finds the file that the Uri of a data object names: as it stands, or with its
// escapes replaced (RFC 3986 section 2.1).
func (p *Package) Resolve(uri string) (string, bool) {
	for _, s := range []string{uri, unescape(uri)} {
		if name, ok := cleanName(s); ok {
			if _, ok := p.byName[name]; ok {
				return name, true
			}
		}
	}
	return "", false
}

func unescape(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			hi, ok1 := hexDigit(s[i+1])
			lo, ok2 := hexDigit(s[i+2])
			if ok1 && ok2 {
				out = append(out, hi<<4|lo)
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

func hexDigit(b byte) (byte, bool) {
	switch {
	case b >= '0' && b <= '9':
		return b - '0', true
	case b|0x20 >= 'a' && b|0x20 <= 'f':
		return b | 0x20 - 'a' + 10, true
	}
	return 0, false
}

// OpenPackage opens what path is. What is wrong with the package itself is in findings,
// and then there is no Package; the error is of the operating system.
func OpenPackage(path string, findings *Findings) (*Package, error) {
	return OpenPackageIn(disk{}, path, findings)
}

// OpenPackageIn is OpenPackage of files that may lie elsewhere. Names are as in the system's own calls; a
// regular file that fsys opens is an io.ReaderAt.
func OpenPackageIn(fsys fs.FS, path string, findings *Findings) (*Package, error) {
	info, err := fs.Stat(fsys, path)
	if err != nil {
		return nil, err
	}
	b := &packager{fsys: fsys, p: &Package{byName: map[string]int{}}, findings: findings}
	switch {
	case info.IsDir():
		err = b.folder(path)
	case info.Mode().IsRegular():
		err = b.file(path)
	default: // opening a pipe would wait for who writes to it
		err = &packageError{"neither a file nor a folder: " + info.Mode().Type().String()}
	}
	return b.finish(filepath.Base(path), err)
}

// disk is the files of this machine.
type disk struct{}

func (disk) Open(path string) (fs.File, error)          { return os.Open(path) }
func (disk) Stat(path string) (fs.FileInfo, error)      { return os.Stat(path) }
func (disk) Lstat(path string) (fs.FileInfo, error)     { return os.Lstat(path) }
func (disk) ReadLink(path string) (string, error)       { return os.Readlink(path) }
func (disk) ReadDir(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }

// ReadPackage is OpenPackage of a package that is one file, wherever it lies. Closing it closes nothing.
func ReadPackage(name string, r io.ReaderAt, size int64, findings *Findings) (*Package, error) {
	b := &packager{p: &Package{byName: map[string]int{}}, findings: findings}
	return b.finish(name, b.content(name, io.NewSectionReader(r, 0, size)))
}

// finish finds the manifest of a package whose files are known; err is what came of that.
func (b *packager) finish(name string, err error) (*Package, error) {
	findings := b.findings
	var bad *packageError
	if errors.As(err, &bad) {
		findings.Add(Finding{Code: PackageUnreadable, Severity: Error, File: name, Found: bad.why})
		err = nil
	}
	if err == nil && !findings.Refused() {
		b.manifest()
	}
	if err != nil || findings.Refused() {
		return nil, errors.Join(err, b.p.Close())
	}
	return b.p, nil
}

// packageError is of a package that is not what it should be.
type packageError struct{ why string }

func (e *packageError) Error() string { return e.why }

type packager struct {
	fsys     fs.FS // where it lies, unless it is read at random
	p        *Package
	findings *Findings
	total    int64 // bytes of all files
}

func (b *packager) find(code Code, file, expected, found string) {
	b.findings.Add(Finding{Code: code, Severity: Error, File: clipped([]byte(file)), Expected: expected, Found: found})
}

// add takes an entry: its name must be that of a file inside the package, and there
// once.
func (b *packager) add(name string, size int64) bool {
	clean, ok := cleanName(name)
	switch {
	case !utf8.ValidString(name):
		b.find(PackageName, strings.ToValidUTF8(name, "\uFFFD"), "UTF-8", fmt.Sprintf("%q", name))
	case len(name) > maxNameSize:
		b.find(PackageName, name, "fewer bytes", fmt.Sprintf("%.60q", name))
	case !ok:
		b.find(PackageName, name, "a relative path with slashes, without ..", fmt.Sprintf("%q", clipped([]byte(name))))
	case b.has(clean):
		b.find(PackageEntry, name, "", "it is there twice")
	case len(b.p.Files) == maxEntries:
		b.find(PackageTooLarge, name, fmt.Sprint(maxEntries), "number of files")
	default:
		b.p.byName[clean] = len(b.p.Files)
		b.p.Files = append(b.p.Files, File{clean, size})
		b.total += size
		return true
	}
	return false
}

func (b *packager) has(name string) bool {
	_, ok := b.p.byName[name]
	return ok
}

// file opens a package that is one file.
func (b *packager) file(path string) error {
	f, err := b.fsys.Open(path)
	if err != nil {
		return err
	}
	b.p.close = f.Close
	info, err := f.Stat()
	if err != nil {
		return err
	}
	at, ok := f.(io.ReaderAt)
	if !ok {
		return &packageError{"it cannot be read at random"}
	}
	return b.content(filepath.Base(path), io.NewSectionReader(at, 0, info.Size()))
}

// content reads a package that is one file, by what it begins with.
func (b *packager) content(name string, f *io.SectionReader) error {
	head := make([]byte, 512)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return err
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")) || bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return b.zip(f)
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return b.tarGz(f)
	case len(head) > 262 && string(head[257:262]) == "ustar":
		return b.tar(f)
	}
	b.add(name, f.Size())
	b.p.Manifest = name
	b.p.open = func(int) (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(f, 0, f.Size())), nil }
	return nil
}

func (b *packager) folder(root string) error {
	var paths []string
	if info, err := fs.Lstat(b.fsys, root); err == nil && info.Mode()&fs.ModeSymlink != 0 { // fs.WalkDir would follow it
		b.find(PackageEntry, ".", "", "neither a file nor a folder: "+info.Mode().Type().String())
		return nil
	}
	err := fs.WalkDir(b.fsys, root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if !d.Type().IsRegular() {
			b.find(PackageEntry, rel, "", "neither a file nor a folder: "+d.Type().String())
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if b.add(filepath.ToSlash(rel), info.Size()) {
			paths = append(paths, path)
		}
		return nil
	})
	b.p.open = func(i int) (io.ReadCloser, error) { return b.fsys.Open(paths[i]) }
	return err
}

func (b *packager) zip(f *io.SectionReader) error {
	size := f.Size()
	z, err := zip.NewReader(f, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return &packageError{err.Error()}
	}
	if len(z.File) > maxEntries {
		return &packageError{fmt.Sprintf("%d entries, at most %d", len(z.File), maxEntries)}
	}
	var members []*zip.File
	for _, m := range z.File {
		if strings.HasSuffix(m.Name, "/") && m.UncompressedSize64 == 0 {
			if _, ok := cleanName(m.Name + "x"); !ok {
				b.find(PackageName, m.Name, "a relative path with slashes, without ..", fmt.Sprintf("%q", clipped([]byte(m.Name))))
			}
			continue
		}
		switch {
		case m.Flags&1 != 0:
			b.find(PackageEntry, m.Name, "", "it is encrypted")
		case m.Method != zip.Store && m.Method != zip.Deflate:
			b.find(PackageEntry, m.Name, "", fmt.Sprintf("compression method %d; stored and deflated can be read", m.Method))
		case !m.Mode().IsRegular():
			b.find(PackageEntry, m.Name, "", "neither a file nor a folder: "+m.Mode().Type().String())
		case m.UncompressedSize64 > 1<<62:
			b.find(PackageEntry, m.Name, "", "its size cannot be")
		case b.add(m.Name, int64(m.UncompressedSize64)):
			members = append(members, m)
		}
	}
	if b.total > bombBase+bombRatio*size {
		return &packageError{fmt.Sprintf("it unpacks to %d bytes, more than %d times its size", b.total, bombRatio)}
	}
	if err := noOverlap(members); err != nil {
		return err
	}
	b.p.open = func(i int) (io.ReadCloser, error) {
		r, err := members[i].Open()
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", members[i].Name, err)
		}
		return r, nil
	}
	return nil
}

// noOverlap refuses members that share bytes: a bomb can be made so.
func noOverlap(members []*zip.File) error {
	type span struct{ from, to int64 }
	spans := make([]span, 0, len(members))
	for _, m := range members {
		at, err := m.DataOffset()
		if err != nil {
			return &packageError{fmt.Sprintf("member %q: %v", clipped([]byte(m.Name)), err)}
		}
		spans = append(spans, span{at, at + int64(m.CompressedSize64)})
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(spans); i++ {
		if spans[i].from < spans[i-1].to {
			return &packageError{"members overlap"}
		}
	}
	return nil
}

// entries adds the members of a tar; at gives where the data of the current one lies.
func (b *packager) entries(t *tar.Reader, limit int64, each func()) error {
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return &packageError{err.Error()}
		}
		switch h.Typeflag {
		case tar.TypeDir, tar.TypeXGlobalHeader:
			continue
		case tar.TypeReg:
		default:
			b.find(PackageEntry, h.Name, "", fmt.Sprintf("neither a file nor a folder (type %q)", h.Typeflag))
			continue
		}
		if b.add(h.Name, h.Size) {
			each()
		}
		if b.total > limit {
			return &packageError{fmt.Sprintf("it unpacks to more than %d bytes", limit)}
		}
		if b.findings.Full {
			return nil
		}
	}
}

func (b *packager) tar(f *io.SectionReader) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var at []int64
	var failed error
	err := b.entries(tar.NewReader(f), 1<<62, func() {
		n, err := f.Seek(0, io.SeekCurrent) // tar reads no further than the header
		at, failed = append(at, n), errors.Join(failed, err)
	})
	b.p.open = func(i int) (io.ReadCloser, error) {
		return io.NopCloser(io.NewSectionReader(f, at[i], b.p.Files[i].Size)), nil
	}
	return errors.Join(err, failed)
}

// tarGz reads a compressed tar, which has no random access: once for the names, then
// again as often as a file is asked for that lies before the last.
func (b *packager) tarGz(f *io.SectionReader) error {
	t, err := rewind(f)
	if err != nil {
		return err
	}
	var order []int // position in the tar of each file
	n := 0
	limit := int64(bombBase) + bombRatio*f.Size()
	counted := tar.NewReader(&bounded{r: t, left: limit + limit/8 + 1<<20})
	err = b.entries(counted, limit, func() { order = append(order, n); n++ })
	b.p.Sequential = true
	var now *tar.Reader
	next := 0
	b.p.open = func(i int) (io.ReadCloser, error) {
		if now == nil || next > i {
			r, err := rewind(f)
			if err != nil {
				return nil, err
			}
			now, next = tar.NewReader(r), 0
		}
		for ; ; next++ {
			h, err := now.Next()
			for err == nil && h.Typeflag != tar.TypeReg {
				h, err = now.Next()
			}
			if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
				return nil, fmt.Errorf("reading %s: %w", b.p.Files[i].Name, err)
			}
			if next == i {
				next++
				return io.NopCloser(now), nil
			}
		}
	}
	return err
}

// bounded gives an error where a stream is longer than it may be.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, &packageError{"it unpacks to more than it may"}
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func rewind(f *io.SectionReader) (io.Reader, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(bufio.NewReaderSize(f, 1<<20))
	if err != nil {
		return nil, &packageError{err.Error()}
	}
	return z, nil
}

// manifest finds the manifest among the files at the root: the only XML file, or the
// only one whose name ends with manifest.xml.
func (b *packager) manifest() {
	if b.p.Manifest != "" {
		return
	}
	var all, named []string
	for _, f := range b.p.Files {
		if strings.Contains(f.Name, "/") || !strings.EqualFold(filepath.Ext(f.Name), ".xml") {
			continue
		}
		all = append(all, f.Name)
		if strings.HasSuffix(strings.ToLower(f.Name), "manifest.xml") {
			named = append(named, f.Name)
		}
	}
	switch {
	case len(named) == 1:
		b.p.Manifest = named[0]
	case len(all) == 1:
		b.p.Manifest = all[0]
	default:
		found := "none"
		if len(all) > 0 {
			found = strings.Join(all, ", ")
		}
		b.find(PackageManifest, "", "", found)
	}
}
