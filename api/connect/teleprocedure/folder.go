package teleprocedure

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sae/archive/durable"
)

// Folder is a drop folder:
//
//	in/       submissions: folders, and zips that were renamed into place
//	done/     those that were deposited, each with its answer beside it
//	refused/  those that were not, each with a report of all that is wrong
//	state/    what was done for each submission, by its reference; kept, so that none is deposited twice
//
// One program at a time works in it.
type Folder struct {
	path string
	disk durable.FS
	lock *durable.Lock
}

const (
	in      = "in"
	done    = "done"
	refused = "refused"
	state   = "state"
)

// OpenFolder opens a drop folder, and makes what is missing of it.
func OpenFolder(path string) (*Folder, error) {
	f := &Folder{path: path}
	for _, sub := range []string{in, done, refused, state} {
		if err := f.disk.MkdirAll(filepath.Join(path, sub), 0o700); err != nil {
			return nil, fmt.Errorf("making the drop folder: %w", err)
		}
	}
	lock, err := durable.LockExclusive(filepath.Join(path, "lock"), "sae connect teleprocedure")
	if err != nil {
		return nil, fmt.Errorf("drop folder %s: %w", path, err)
	}
	f.lock = lock
	if err := f.sweep(); err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return f, nil
}

// sweep removes what a crash left of submissions that were being pushed: nobody was told that they were
// taken.
func (f *Folder) sweep() error {
	entries, err := os.ReadDir(filepath.Join(f.path, in))
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), pushing) {
			err = errors.Join(err, os.RemoveAll(filepath.Join(f.path, in, e.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("removing what a crash left: %w", err)
	}
	return nil
}

// pushing begins the name of a folder in in/ into which a submission is received.
const pushing = ".push-"

// Close lets another program have the folder.
func (f *Folder) Close() error { return f.lock.Unlock() }

// item is something that lies in in/.
type item struct {
	name  string
	files fs.FS
	close func() error
}

// settled is how long a manifest or zip that cannot be read may still be being written.
const settled = time.Minute

// errIncomplete: it is still being written.
var errIncomplete = errors.New("not complete yet")

// names are what lies in in/, apart from what is still being written.
func (f *Folder) names() (out []string, err error) {
	entries, err := os.ReadDir(filepath.Join(f.path, in))
	if err != nil {
		return nil, fmt.Errorf("reading the drop folder: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".part") || strings.HasSuffix(name, ".tmp") || !e.IsDir() && !(e.Type().IsRegular() && strings.EqualFold(filepath.Ext(name), ".zip")) {
			continue
		}
		out = append(out, name)
	}
	return out, nil
}

// Waiting is how many submissions lie in in/, complete or not.
func (f *Folder) Waiting() (int, error) {
	names, err := f.names()
	return len(names), err
}

// open opens what lies in in/ under a name. Links do not lead out of it.
func (f *Folder) open(name string) (*item, error) {
	path := filepath.Join(f.path, in, name)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, fmt.Errorf("opening a submission: %w", err)
	}
	if info.IsDir() {
		root, err := os.OpenRoot(path)
		if err != nil {
			return nil, fmt.Errorf("opening a submission: %w", err)
		}
		return &item{name, root.FS(), root.Close}, nil
	}
	z, err := zip.OpenReader(path)
	if err != nil {
		if time.Since(info.ModTime()) < settled {
			return nil, errIncomplete
		}
		return nil, Problems{"the zip cannot be read"}
	}
	return &item{name, &z.Reader, z.Close}, nil
}

// read reads the manifest of an item; errIncomplete while there is none.
func (it *item) read() (s *Submission, digest [32]byte, err error) {
	file, err := it.files.Open(ManifestName)
	if errors.Is(err, fs.ErrNotExist) {
		if strings.EqualFold(filepath.Ext(it.name), ".zip") {
			return nil, digest, Problems{"the zip has no " + ManifestName}
		}
		return nil, digest, errIncomplete
	}
	if err != nil {
		return nil, digest, Problems{ManifestName + " cannot be opened"}
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, digest, Problems{ManifestName + " is not a file"}
	}
	sum := sha256.New()
	s, err = ParseManifest(io.TeeReader(file, sum))
	if err != nil && time.Since(info.ModTime()) < settled && strings.Contains(err.Error(), io.ErrUnexpectedEOF.Error()) {
		return nil, digest, errIncomplete
	}
	return s, [32]byte(sum.Sum(nil)), err
}

// hold holds the files of an item against its manifest: all are there, with their digests, and no other.
func (it *item) hold(s *Submission) error {
	var bad Problems
	named, total := map[string]bool{ManifestName: true}, int64(0)
	for i, f := range s.files() {
		named[f.Name] = true
		n, why := it.digest(f)
		if total += n; total > maxTotal {
			return Problems{fmt.Sprintf("the files have more than %d bytes", int64(maxTotal))}
		}
		if why != "" {
			bad.addf("%s: %s", where(i), why)
		}
	}
	entries, err := fs.ReadDir(it.files, ".")
	if err != nil {
		return fmt.Errorf("reading a submission: %w", err)
	}
	for _, e := range entries {
		if !named[e.Name()] && !strings.HasPrefix(e.Name(), ".") {
			bad.addf("%q lies there, and %s does not name it", e.Name(), ManifestName)
		}
	}
	if len(bad) > 0 {
		return bad
	}
	return nil
}

// digest says what is wrong with a file, and how much of it was read.
func (it *item) digest(f File) (n int64, why string) {
	file, err := it.files.Open(f.Name)
	if err != nil {
		return 0, "the file is missing, or cannot be opened"
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil || !info.Mode().IsRegular():
		return 0, "it is not a file"
	case info.Size() > maxFile:
		return info.Size(), fmt.Sprintf("%d bytes: a file has at most %d", info.Size(), int64(maxFile))
	}
	sum := sha256.New()
	n, err = io.Copy(sum, io.LimitReader(file, maxFile+1))
	switch {
	case err != nil:
		return n, "it cannot be read"
	case n != info.Size():
		return n, "its size is not what the folder says"
	case !strings.EqualFold(hex.EncodeToString(sum.Sum(nil)), f.SHA256):
		return n, "its SHA-256 is not the one in " + ManifestName
	}
	return n, ""
}

// finish moves an item to done/ or refused/, with a text beside it. The text is durable before the item
// moves: a crash between leaves both, and the item is moved by the next pass.
func (f *Folder) finish(name, to string, said any) error {
	b, err := json.MarshalIndent(said, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	word := map[string]string{done: ".answer.json", refused: ".report.json"}[to]
	target := name
	for n := 2; ; n++ { // one that came under the same name before stays
		if _, err := os.Lstat(filepath.Join(f.path, to, target)); errors.Is(err, fs.ErrNotExist) {
			break
		}
		target = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, filepath.Ext(name)), n, filepath.Ext(name))
	}
	if err := f.disk.WriteFile(filepath.Join(f.path, to, target+word), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing the answer: %w", err)
	}
	if err := os.Rename(filepath.Join(f.path, in, name), filepath.Join(f.path, to, target)); err != nil {
		return fmt.Errorf("moving a submission: %w", err)
	}
	if err := errors.Join(f.disk.SyncDir(filepath.Join(f.path, to)), f.disk.SyncDir(filepath.Join(f.path, in))); err != nil {
		return fmt.Errorf("moving a submission: %w", err)
	}
	return nil
}
