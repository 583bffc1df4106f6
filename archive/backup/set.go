package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Folders in a backup.
const (
	generationsDir = "generations"
	piecesDir      = "pieces"
	blobsDir       = "blobs"
	newDir         = "new"
)

// Set is the backup in a folder.
type Set struct {
	Mark   Mark
	folder Folder
}

// Open opens the backup in a folder; it is an error when there is none, or it is not of the archive, when
// that is not "".
func Open(folder Folder, archive string) (*Set, error) {
	s := &Set{folder: folder}
	b, err := s.read(MarkName, maxHead)
	if err != nil {
		return nil, fmt.Errorf("there is no backup: %w", err)
	}
	if err := json.Unmarshal(b, &s.Mark); err != nil || s.Mark.Format != 1 || s.Mark.Archive == "" || string(b) != string(s.Mark.bytes()) {
		return nil, fmt.Errorf("%s is damaged, or of a later program", MarkName)
	}
	if archive != "" && s.Mark.Archive != archive {
		return nil, fmt.Errorf("it is a backup of archive %s, not of %s", s.Mark.Archive, archive)
	}
	return s, nil
}

// Create opens the backup of an archive in a folder, or begins one there when the folder is empty.
func Create(folder Folder, archive string) (*Set, error) {
	s, err := Open(folder, archive)
	if !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	there, err := folder.ReadDir(".")
	if err != nil {
		return nil, err
	}
	there = slices.DeleteFunc(there, func(e fs.DirEntry) bool { return e.Name() == newDir || e.Name() == "lost+found" })
	if len(there) > 0 {
		return nil, fmt.Errorf("the folder holds %s and no %s: give an empty folder, or that of a backup of this archive", there[0].Name(), MarkName)
	}
	s = &Set{Mark: Mark{1, archive}, folder: folder}
	w := &Writer{s: s}
	if err := w.clean(); err != nil {
		return nil, err
	}
	return s, w.put(MarkName, s.Mark.bytes())
}

// read reads a small file whole.
func (s *Set) read(name string, most int64) ([]byte, error) {
	f, err := s.folder.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("%s: more than %d bytes", name, most)
	}
	return b, err
}

func generationFile(n int64, ending string) string {
	return path.Join(generationsDir, fmt.Sprintf("%010d.%s", n, ending))
}

// Generations are the numbers of those that have a head, the last last.
func (s *Set) Generations() (out []int64, err error) {
	names, err := s.folder.ReadDir(generationsDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range names {
		number, ok := strings.CutSuffix(e.Name(), ".head")
		if n, err := strconv.ParseInt(number, 10, 64); ok && err == nil && n > 0 {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, err
}

// Head reads the head of a generation, which must say that it is that one, of this archive.
func (s *Set) Head(n int64) (*Head, error) {
	name := generationFile(n, "head")
	b, err := s.read(name, maxHead)
	if err != nil {
		return nil, err
	}
	h, err := ParseHead(b)
	if err == nil && (h.Generation != n || h.Archive != s.Mark.Archive) {
		err = fmt.Errorf("it is the head of generation %d of archive %s", h.Generation, h.Archive)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return h, nil
}

// Files calls f for each file of a generation, in order. The index is held against the head, before f is
// called for the first.
func (s *Set) Files(h *Head, f func(File) error) error {
	name := generationFile(h.Generation, "index")
	if err := s.Check(File{name, h.Index}); err != nil {
		return err
	}
	r, err := s.folder.Open(name)
	if err != nil {
		return err
	}
	defer r.Close()
	var files, bytes, lacking int64
	err = ReadIndex(r, func(file File) error {
		if file.Length < 0 {
			lacking++
		} else {
			files, bytes = files+1, bytes+file.Length
		}
		return f(file)
	})
	if err == nil && (files != h.Files || bytes != h.Bytes || lacking != h.Lacking) {
		err = errors.New("it does not name as many files as its head says")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Check reads a file and holds it against its length and SHA-256.
func (s *Set) Check(f File) error {
	return s.Copy(io.Discard, f)
}

// Copy writes a file to w, held against its length and SHA-256: what w took is good when it returns nil.
func (s *Set) Copy(w io.Writer, f File) error {
	r, err := s.folder.Open(f.Name)
	if err != nil {
		return err
	}
	defer r.Close()
	sum := sha256.New()
	n, err := io.CopyBuffer(io.MultiWriter(w, sum), onlyReader{io.LimitReader(r, f.Length+1)}, make([]byte, 256<<10))
	switch {
	case err != nil:
		return fmt.Errorf("%s: %w", f.Name, err)
	case n > f.Length:
		return fmt.Errorf("%s has more than %d bytes", f.Name, f.Length)
	case n < f.Length:
		return fmt.Errorf("%s has %d bytes instead of %d", f.Name, n, f.Length)
	case hex.EncodeToString(sum.Sum(nil)) != f.SHA256:
		return fmt.Errorf("%s is not what was written", f.Name)
	}
	return nil
}

type onlyReader struct{ io.Reader }

// IsPiece reports whether a file is a piece of a catalogue.
func (f *File) IsPiece() bool { return strings.HasPrefix(f.Name, piecesDir+"/") }

// Piece reads a piece of a catalogue.
func (s *Set) Piece(f File) ([]byte, error) {
	if f.Length > MaxPiece {
		return nil, fmt.Errorf("%s: %d bytes, more than %d", f.Name, f.Length, MaxPiece)
	}
	var b bytes.Buffer
	err := s.Copy(&b, f)
	return b.Bytes(), err
}

// MaxPiece bounds a piece, in bytes.
const MaxPiece = 256 << 20

// Root reads the sealed copy of the root key of a generation; the error matches fs.ErrNotExist when there
// is none.
func (s *Set) Root(n int64) ([]byte, error) { return s.read(generationFile(n, "root"), 1<<20) }

// RemoveRoot removes it.
func (s *Set) RemoveRoot(n int64) error {
	err := s.folder.Remove(generationFile(n, "root"))
	if err == nil {
		err = s.folder.Sync()
	}
	return err
}
