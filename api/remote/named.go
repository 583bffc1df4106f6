package remote

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Named are the paths that a command names. Nothing else is given to the other end, or written for it:
// the service is not trusted with the rest of the user's files.
type Named struct {
	Files  []string // read
	Trees  []string // read, with what lies below
	New    []string // made: a file, or a folder with what is written into it
	Follow bool     // the user wants links in trees to be followed, wherever they lead
}

// NotNamedError is of a path for which the service asked, and that the command does not name.
type NotNamedError struct{ Path string }

func (e *NotNamedError) Error() string {
	return fmt.Sprintf("the service asked for %q, which the command does not name: nothing of it was given", e.Path)
}

// guarded is what Named allows of the files of this machine.
type guarded struct {
	Disk
	named Named
}

// tree finds the tree that a path lies below; rel is where in it. What a command names itself has none.
func (g guarded) tree(path string) (root, rel string, err error) {
	clean := filepath.Clean(path)
	for _, named := range slices.Concat(g.named.Files, g.named.Trees) {
		if filepath.Clean(named) == clean {
			return "", named, nil // as the user wrote it: "a/../b" may be elsewhere than "b"
		}
	}
	for _, t := range g.named.Trees {
		if rel, err := filepath.Rel(filepath.Clean(t), clean); err == nil && filepath.IsLocal(rel) {
			if g.named.Follow {
				return "", clean, nil
			}
			return t, rel, nil
		}
	}
	return "", "", &NotNamedError{path}
}

// within does something to a path: by the name alone when the command names it, and else by the tree it
// lies in, out of which no link leads.
func within[T any](g guarded, op, path string, named func(string) (T, error), below func(*os.Root, string) (T, error)) (out T, err error) {
	root, rel, err := g.tree(path)
	if err != nil {
		return out, err
	}
	if root == "" {
		return named(rel)
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return out, err
	}
	defer r.Close()
	out, err = below(r, rel)
	return out, renamed(err, op, path)
}

// renamed makes an error say what was asked for, as it would of a path by its name.
func renamed(err error, op, path string) error {
	if p, ok := err.(*fs.PathError); ok {
		return &fs.PathError{Op: op, Path: path, Err: p.Err}
	}
	return err
}

func (g guarded) Open(path string) (fs.File, error) {
	return within(g, "open", path, g.Disk.Open, func(r *os.Root, rel string) (fs.File, error) { return r.Open(rel) })
}

func (g guarded) Stat(path string) (fs.FileInfo, error) {
	return within(g, "stat", path, g.Disk.Stat, (*os.Root).Stat)
}

// Lstat is also of what is to be made: whether it is there.
func (g guarded) Lstat(path string) (fs.FileInfo, error) {
	if g.mayMake(path) == nil {
		return g.Disk.Lstat(path)
	}
	return within(g, "lstat", path, g.Disk.Lstat, (*os.Root).Lstat)
}

func (g guarded) ReadLink(path string) (string, error) {
	return within(g, "readlink", path, g.Disk.ReadLink, (*os.Root).Readlink)
}

func (g guarded) ReadDir(path string) ([]fs.DirEntry, error) {
	return within(g, "open", path, g.Disk.ReadDir, func(r *os.Root, rel string) ([]fs.DirEntry, error) {
		d, err := r.Open(rel)
		if err != nil {
			return nil, err
		}
		defer d.Close()
		names, err := d.Readdirnames(-1)
		slices.Sort(names)
		var out []fs.DirEntry
		for _, name := range names { // an entry's own Info goes by names from outside the root
			i, err := r.Lstat(filepath.Join(rel, name))
			if err != nil {
				continue // gone meanwhile
			}
			out = append(out, fs.FileInfoToDirEntry(i))
		}
		return out, err
	})
}

func (g guarded) Readable(path string) error {
	_, err := within(g, "access", path, func(p string) (struct{}, error) { return struct{}{}, g.Disk.Readable(p) }, func(r *os.Root, rel string) (struct{}, error) {
		f, err := r.Open(rel)
		if err != nil {
			if p, ok := err.(*fs.PathError); ok {
				err = p.Err
			}
			return struct{}{}, err
		}
		return struct{}{}, f.Close()
	})
	return err
}

// Base is of what is named alone: of "..", it tells the name of a folder.
func (g guarded) Base(path string) string {
	if _, _, err := g.tree(path); err != nil {
		return filepath.Base(path)
	}
	return g.Disk.Base(path)
}

func (g guarded) mayMake(path string) error {
	if !slices.ContainsFunc(g.named.New, func(n string) bool { return filepath.Clean(n) == filepath.Clean(path) }) {
		return &NotNamedError{path}
	}
	return nil
}

func (g guarded) Create(path string) (New, error) {
	if err := g.mayMake(path); err != nil {
		return nil, err
	}
	return g.Disk.Create(path)
}

func (g guarded) CreateFolder(path string) (NewFolder, error) {
	if err := g.mayMake(path); err != nil {
		return nil, err
	}
	return g.Disk.CreateFolder(path)
}
