package backup

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Pruned is what was removed from a backup.
type Pruned struct {
	Generations []int64 `json:"generations"`
	Files       int64   `json:"files"`
	Bytes       int64   `json:"bytes"`
}

// Prune keeps the last generations, as many as keep says, gives up those before, and removes the files
// that no kept one names. When a kept one cannot be read nothing is removed: what it needs is not known.
// Stopped at any point, it goes on when it is called again.
func (s *Set) Prune(keep int) (*Pruned, error) {
	out := &Pruned{}
	all, err := s.Generations()
	if err != nil {
		return out, err
	}
	kept, gone := all, []int64(nil)
	if len(all) > keep {
		gone, kept = all[:len(all)-keep], all[len(all)-keep:]
	}
	needed := map[string]struct{}{}
	for _, n := range kept {
		h, err := s.Head(n)
		if err == nil {
			err = s.Files(h, func(f File) error { needed[f.Name] = struct{}{}; return nil })
		}
		if err != nil {
			return out, fmt.Errorf("nothing is removed, generation %d cannot be read: %w", n, err)
		}
	}
	if err := s.giveUp(gone, kept); err != nil {
		return out, err
	}
	out.Generations = gone
	for _, dir := range []string{piecesDir, blobsDir} {
		if err := s.removeUnneeded(dir, needed, out); err != nil {
			return out, err
		}
	}
	return out, s.folder.Sync()
}

// giveUp removes the heads of generations, durably, then what else is theirs.
func (s *Set) giveUp(gone, kept []int64) error {
	for _, n := range gone {
		if err := s.folder.Remove(generationFile(n, "head")); err != nil {
			return err
		}
	}
	if err := s.folder.Sync(); err != nil {
		return err
	}
	names, err := s.folder.ReadDir(generationsDir)
	if err != nil {
		return err
	}
	stay := map[string]bool{}
	for _, n := range kept {
		for _, ending := range []string{"head", "index", "root"} {
			stay[path.Base(generationFile(n, ending))] = true
		}
	}
	for _, e := range names { // also of a generation that was never finished
		if !stay[e.Name()] {
			if err := s.folder.Remove(path.Join(generationsDir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeUnneeded removes the files below a folder that are not needed.
func (s *Set) removeUnneeded(dir string, needed map[string]struct{}, out *Pruned) error {
	return s.walk(dir, func(name string, size int64) error {
		if _, ok := needed[name]; ok {
			return nil
		}
		if err := s.folder.Remove(name); err != nil {
			return err
		}
		out.Files, out.Bytes = out.Files+1, out.Bytes+size
		return nil
	})
}

// maxDepth is how deep folders lie in a backup.
const maxDepth = 4

// walk calls f for the files below a folder.
func (s *Set) walk(dir string, f func(name string, size int64) error) error {
	names, err := s.folder.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || strings.Count(dir, "/") >= maxDepth {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range names {
		name := path.Join(dir, e.Name())
		if e.IsDir() {
			if err := s.walk(name, f); err != nil {
				return err
			}
			continue
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		if err := f(name, fi.Size()); err != nil {
			return err
		}
	}
	return nil
}
