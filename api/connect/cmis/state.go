package cmis

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"sae/archive/durable"
)

// State is what a connector remembers, in a folder: a file for each object that it pulled, and since
// when the repository is to be looked through. It is written before what depends on it is done.
type State struct {
	path string
	disk durable.FS
	lock *durable.Lock
}

// OpenState opens a state, for one program at a time.
func OpenState(path string) (*State, error) {
	s := &State{path: path}
	if err := s.disk.MkdirAll(filepath.Join(path, "objects"), 0o700); err != nil {
		return nil, fmt.Errorf("making the state: %w", err)
	}
	lock, err := durable.LockExclusive(filepath.Join(path, "lock"), "sae connect cmis")
	if err != nil {
		return nil, fmt.Errorf("state %s: %w", path, err)
	}
	s.lock = lock
	return s, nil
}

// Close lets another program have the state.
func (s *State) Close() error { return s.lock.Unlock() }

// pulled is what was done for an object. It names nobody.
type pulled struct {
	Repository  string     `json:"repository"`
	ID          string     `json:"id"`
	Fingerprint string     `json:"fingerprint"` // of the state that was deposited, or is
	Asked       *time.Time `json:"asked,omitempty"`
	Operation   string     `json:"operation,omitempty"`
	Entry       int64      `json:"ledgerEntry,omitempty"`
	Archived    time.Time  `json:"archived,omitzero"`
	Units       []string   `json:"units,omitempty"`   // until they are marked; then the first alone
	Marks       []mark     `json:"marks,omitempty"`   // to be made
	Broken      bool       `json:"broken,omitempty"`  // its mark did not hold
	Earlier     []string   `json:"earlier,omitempty"` // operations of earlier states of it, or their keys when no answer came
}

func (s *State) objectPath(repository, id string) string {
	sum := sha256.Sum256([]byte(repository + "\x00" + id))
	return filepath.Join(s.path, "objects", hex.EncodeToString(sum[:16])+".json")
}

// load gives what is known of an object; an empty one when nothing is.
func (s *State) load(repository, id string) (*pulled, error) {
	p := &pulled{Repository: repository, ID: id}
	return p, s.read(s.objectPath(repository, id), p)
}

func (s *State) read(path string, into any) error {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		return fmt.Errorf("reading the state: %w", err)
	}
	return nil
}

func (s *State) write(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding the state: %w", err)
	}
	if err := s.disk.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	return nil
}

func (s *State) save(p *pulled) error { return s.write(s.objectPath(p.Repository, p.ID), p) }

// unmarked gives what was deposited and is still to be marked.
func (s *State) unmarked(repository string) (out []*pulled, err error) {
	entries, err := os.ReadDir(filepath.Join(s.path, "objects"))
	if err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".json" {
			continue
		}
		p := &pulled{}
		if err := s.read(filepath.Join(s.path, "objects", e.Name()), p); err != nil {
			return nil, err
		}
		if p.Repository == repository && p.Operation != "" && len(p.Marks) > 0 {
			out = append(out, p)
		}
	}
	return out, nil
}

// cursor is since when a repository is to be looked through.
type cursor struct {
	Since map[string]time.Time `json:"since"` // by repository
}

func (s *State) since(repository string) (time.Time, error) {
	var c cursor
	err := s.read(filepath.Join(s.path, "cursor.json"), &c)
	return c.Since[repository], err
}

func (s *State) setSince(repository string, t time.Time) error {
	path := filepath.Join(s.path, "cursor.json")
	c := cursor{}
	if err := s.read(path, &c); err != nil {
		return err
	}
	if c.Since == nil {
		c.Since = map[string]time.Time{}
	}
	c.Since[repository] = t
	return s.write(path, c)
}
