package backup

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"sync"

	"golang.org/x/mod/sumdb/note"
)

// Writer writes a generation. Its methods may be called at the same time.
type Writer struct {
	s          *Set
	Generation int64

	mu      sync.Mutex
	begun   int64             // files in new/
	waiting map[string]string // whole files, by name: where they lie in new/
	bytes   int64             // of them
	dir     string            // whose files are
	there   map[string]int64  // these, with their lengths
	Made    int64             // files that were written
	Written int64             // bytes of them
}

// As many files, or bytes, are made durable together.
const (
	syncFiles = 1000
	syncBytes = 256 << 20
)

// Begin begins the next generation, and removes what one that was interrupted left half-done.
func (s *Set) Begin() (*Writer, error) {
	all, err := s.Generations()
	if err != nil {
		return nil, err
	}
	w := &Writer{s: s, Generation: 1, waiting: map[string]string{}}
	if len(all) > 0 {
		w.Generation = all[len(all)-1] + 1
	}
	return w, w.clean()
}

// clean removes what is being written by nobody any more.
func (w *Writer) clean() error {
	names, err := w.s.folder.ReadDir(newDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range names {
		if err == nil {
			err = w.s.folder.Remove(path.Join(newDir, e.Name()))
		}
	}
	return err
}

// put writes a small file, durable on return: whole, or not at all.
func (w *Writer) put(name string, b []byte) error {
	tmp := path.Join(newDir, path.Base(name))
	f, err := w.s.folder.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err == nil {
		err = w.s.folder.Sync()
	}
	if err == nil {
		err = w.s.folder.Rename(tmp, name)
	}
	if err != nil {
		w.s.folder.Remove(tmp) // the error says more; the next run removes it, too
		return err
	}
	return w.s.folder.Sync()
}

// Has reports whether the backup has a file of this name and length. It asks for the files of one folder
// at a time: ask in the order of names.
func (w *Writer) Has(name string, length int64) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, waits := w.waiting[name]; waits {
		return true, nil
	}
	if dir := path.Dir(name); dir != w.dir {
		w.dir, w.there = dir, map[string]int64{}
		names, err := w.s.folder.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			w.dir = ""
			return false, err
		}
		for _, e := range names {
			if fi, err := e.Info(); err == nil && fi.Mode().IsRegular() {
				w.there[e.Name()] = fi.Size()
			}
		}
	}
	size, ok := w.there[path.Base(name)]
	return ok && size == length, nil
}

// BlobName is where a blob lies, of which session and number are known.
func BlobName(name, session string, number uint64) string {
	return path.Join(blobsDir, session, fmt.Sprintf("%09d", number/1000), name)
}

// PieceName is where a piece of a catalogue lies.
func PieceName(sha string) string { return path.Join(piecesDir, sha[:2], sha) }

// Piece keeps a piece of a catalogue.
func (w *Writer) Piece(b []byte) (File, error) {
	sum := sha256.Sum256(b)
	sha := hex.EncodeToString(sum[:])
	f := File{PieceName(sha), Sum{sha, int64(len(b))}}
	have, err := w.Has(f.Name, f.Length)
	if err != nil || have {
		return f, err
	}
	err = w.Add(f, func(to io.Writer) error {
		_, err := to.Write(b)
		return err
	})
	return f, err
}

// ErrSum says that a file was not what it should be.
var ErrSum = errors.New("its bytes are not those that were written once")

// Add writes a file by f, and holds it against its length and SHA-256. It has its name after the next
// flush, or Finish. After an error nothing of it is left.
func (w *Writer) Add(file File, f func(io.Writer) error) error {
	w.mu.Lock()
	w.begun++
	tmp := path.Join(newDir, fmt.Sprint(w.begun))
	w.mu.Unlock()
	to, err := w.s.folder.Create(tmp)
	if err != nil {
		return err
	}
	c := &counted{w: to, sum: sha256.New()}
	err = errors.Join(f(c), to.Close())
	if err == nil && (c.n != file.Length || hex.EncodeToString(c.sum.Sum(nil)) != file.SHA256) {
		err = ErrSum
	}
	if err != nil {
		w.s.folder.Remove(tmp)
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting[file.Name] = tmp
	w.bytes += c.n
	w.Made, w.Written = w.Made+1, w.Written+c.n
	if len(w.waiting) < syncFiles && w.bytes < syncBytes {
		return nil
	}
	return w.flush()
}

type counted struct {
	w   io.Writer
	sum hash.Hash
	n   int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.sum.Write(p[:n])
	c.n += int64(n)
	return n, err
}

// Flush makes durable what was added, and gives it its names. A crash in it leaves some of them.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flush()
}

func (w *Writer) flush() error {
	if len(w.waiting) == 0 {
		return nil
	}
	if err := w.s.folder.Sync(); err != nil {
		return err
	}
	for name, tmp := range w.waiting {
		if err := w.s.folder.Rename(tmp, name); err != nil {
			return err
		}
		delete(w.waiting, name)
	}
	w.bytes, w.dir = 0, ""
	return nil
}

// PutRoot keeps a sealed copy of the root key with the generation.
func (w *Writer) PutRoot(sealed []byte) error {
	return w.put(generationFile(w.Generation, "root"), sealed)
}

// Finish ends the generation, which is there, durable and whole, when it returns nil. It fills in what is
// to be told of the files, and signs the head.
func (w *Writer) Finish(h *Head, files []File, by note.Signer) error {
	if err := w.Flush(); err != nil {
		return err
	}
	h.Generation, h.Archive = w.Generation, w.s.Mark.Archive
	h.Files, h.Bytes, h.Lacking = 0, 0, 0
	name := generationFile(w.Generation, "index")
	sum, err := w.index(name, files, h)
	if err != nil {
		return err
	}
	h.Index = sum
	head, err := h.sign(by)
	if err != nil {
		return err
	}
	return w.put(generationFile(w.Generation, "head"), head) // it syncs before, too: the index is durable
}

func (w *Writer) index(name string, files []File, h *Head) (Sum, error) {
	tmp := path.Join(newDir, path.Base(name))
	to, err := w.s.folder.Create(tmp)
	if err != nil {
		return Sum{}, err
	}
	c := &counted{w: to, sum: sha256.New()}
	out := bufio.NewWriterSize(c, 1<<20)
	for _, f := range files {
		if f.Length < 0 {
			h.Lacking++
		} else {
			h.Files, h.Bytes = h.Files+1, h.Bytes+f.Length
		}
		if _, err = out.WriteString(f.line()); err != nil {
			break
		}
	}
	if err = errors.Join(err, out.Flush(), to.Close()); err == nil {
		err = w.s.folder.Sync()
	}
	if err == nil {
		err = w.s.folder.Rename(tmp, name)
	}
	if err != nil {
		w.s.folder.Remove(tmp)
	}
	return Sum{hex.EncodeToString(c.sum.Sum(nil)), c.n}, err
}
