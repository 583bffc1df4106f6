package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sae/archive/durable"
	"sae/archive/search"
	"sae/archive/vault"
	"sae/integrity"
)

// Full-text search is a projection: it can be thrown away and is made again from the catalogue.
//
// A unit stands, with its last version, in the block of the group of 256 data keys in which that of
// its first version is. The block has its terms in clear, and is enciphered under a key of the
// group. When a data key is destroyed its group has another key: the block does not open any more,
// neither here nor in any copy, and is made anew of the units that are left. So nothing is to be
// done when units are destroyed.
//
// A file has the blocks of 256 groups, and says up to which leaf it is complete. markFile names the
// files that are complete up to a later one, so that not each must be written to say so. A
// crash leaves each file as it was or as it is to be, and what it says of itself is true.

const (
	markFile    = "next-leaf"
	markForm    = "sae search mark 1\n"
	searchLabel = "sae search 1"
)

// searchIndex is the search index, held by one process at a time.
type searchIndex struct {
	a     *Archive
	an    *search.Analyser
	dir   string
	key   [32]byte // of the heads of files, and the mark
	end   uint64   // number of the next leaf to come
	files uint64   // how many there are to be

	marked map[[32]byte]bool // files that are complete before leaf next
	next   uint64

	// What leaves from a number on changed, as far as they were looked at.
	from    uint64
	changed map[uint64]uint64    // group -> last leaf of a version of a unit of it
	spans   map[uint64][2]uint64 // file -> first and last leaf that brought a unit of it
}

// searchIndex brings the index up to date with the catalogue, and gives the units that hold all
// terms. Blocks that do not open, and files that are not whole, are made anew. One process does so
// at a time; others wait for it briefly.
func (a *Archive) searchIndex(an *search.Analyser, terms []string) (hits []hit, err error) {
	s := &searchIndex{a: a, an: an, dir: filepath.Join(a.dir, searchDir), key: vault.Derive(a.indexKey, searchLabel),
		changed: map[uint64]uint64{}, spans: map[uint64][2]uint64{}}
	if err := a.fs.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	unlock, err := waitLock(filepath.Join(s.dir, lockFile))
	if err != nil {
		return nil, err
	}
	defer unlock()
	err = a.cat.view(func(t *tx) error {
		end, keys, err := t.counters()
		s.end, s.files = end, (keys+a.fileKeys()-1)/a.fileKeys()
		return err
	})
	if err != nil {
		return nil, err
	}
	s.from = s.end
	s.loadMark()
	old, mark := len(s.marked), s.mark()
	for number := range s.files {
		found, mac, err := s.file(number, terms)
		if err != nil {
			return nil, err
		}
		hits = append(hits, found...)
		mark = append(mark, mac[:]...)
		if !s.marked[mac] {
			old = -1
		}
	}
	if s.next == s.end && old == int(s.files) {
		return hits, nil
	}
	mac := search.MAC(s.key, mark)
	return hits, a.fs.WriteFile(filepath.Join(s.dir, markFile), append(mark, mac[:]...), 0o600)
}

// fileKeys is how many data keys a file is of.
func (a *Archive) fileKeys() uint64 { return uint64(a.fileGroups) << 8 }

// mark is the beginning of markFile.
func (s *searchIndex) mark() []byte { return append([]byte(markForm), be64(s.end)...) }

// loadMark reads markFile. Without one that can be the files tell for themselves.
func (s *searchIndex) loadMark() {
	b, err := os.ReadFile(filepath.Join(s.dir, markFile))
	n, head := len(b)-32, len(markForm)+8
	if err != nil || n < head || (n-head)%32 != 0 || string(b[:len(markForm)]) != markForm || search.MAC(s.key, b[:n]) != [32]byte(b[n:]) {
		return
	}
	next := binary.BigEndian.Uint64(b[len(markForm):])
	if next > s.end { // of a later catalogue
		return
	}
	s.next, s.marked = next, map[[32]byte]bool{}
	for ; head < n; head += 32 {
		s.marked[[32]byte(b[head:])] = true
	}
}

func (s *searchIndex) path(number uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%05d", number))
}

// load reads a file, and tells from which leaf on it is to follow. One that cannot be is empty.
func (s *searchIndex) load(number uint64) (f *search.File, from uint64, err error) {
	b, err := os.ReadFile(s.path(number))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return &search.File{}, 0, nil
	case errors.Is(err, syscall.EISDIR): // of an earlier program
		return &search.File{}, 0, os.RemoveAll(s.path(number))
	case err != nil:
		return nil, 0, err
	}
	if f, err = search.Parse(b, s.key); err == nil && f.Next > s.end {
		err = errors.New("it is of a later catalogue")
	}
	if err != nil {
		s.a.log.Info("making a file of the search index anew", "file", number, "reason", err)
		return &search.File{}, 0, nil
	}
	if s.marked[f.MAC] {
		return f, max(f.Next, s.next), nil
	}
	return f, f.Next, nil
}

// file brings a file up to date, and gives the units in it that hold all terms.
func (s *searchIndex) file(number uint64, terms []string) (hits []hit, mac [32]byte, err error) {
	f, from, err := s.load(number)
	if err != nil {
		return nil, mac, err
	}
	units, err := s.follow(number, from)
	if err != nil {
		return nil, mac, err
	}
	var made atomic.Bool
	found := make([][]hit, s.a.fileGroups)
	err = atOnce(s.a.fileGroups, func(i int) error {
		group, g := number*uint64(s.a.fileGroups)+uint64(i), &f.Groups[i]
		fresh, changed := units[group]
		var block []byte
		err := s.a.cat.view(func(t *tx) (err error) {
			if !changed && len(g.Units) > 0 {
				block, err = s.open(t, group, g)
			}
			if (changed || len(g.Units) > 0) && block == nil && err == nil {
				made.Store(true)
				block, err = s.make(t, group, g, fresh)
			}
			return err
		})
		if err != nil || block == nil {
			return err
		}
		return search.Match(block, terms, func(unit, terms int) { found[i] = append(found[i], hit{g.Units[unit].ID, terms}) })
	})
	if err == nil && (made.Load() || f.MAC == [32]byte{}) {
		f.Next = s.end
		var b []byte
		if b, err = f.Bytes(s.key); err == nil {
			err = s.a.fs.WriteFile(s.path(number), b, 0o600)
		}
	}
	return slices.Concat(found...), f.MAC, err
}

// atOnce calls f for the numbers before n, as many at a time as there are processors.
func atOnce(n int, f func(i int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for worker := range errs {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[worker] == nil; i = int(next.Add(1)) - 1 {
				errs[worker] = f(i)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// blockKey is the key of the block of a group.
func (s *searchIndex) blockKey(t *tx, group uint64) ([32]byte, error) {
	key, err := s.a.vault.Group(keyStore{t}, group)
	return vault.Derive(key, searchLabel), err
}

// blockAD holds a block to its place, and to the units that it was made of.
func blockAD(group uint64, units []search.Unit) []byte {
	return search.AppendUnits(append([]byte(searchLabel), be64(group)...), units)
}

// open deciphers a block; one that does not open is nil.
func (s *searchIndex) open(t *tx, group uint64, g *search.Group) ([]byte, error) {
	key, err := s.blockKey(t, group)
	if err != nil {
		return nil, err
	}
	block, err := vault.Open(key, blockAD(group, g.Units), g.Block)
	if err != nil {
		s.a.log.Debug("making a block of the search index anew", "group", group)
	}
	return block, nil
}

// make makes a group's block anew, of the last versions of its units that are left and of fresh ones.
func (s *searchIndex) make(t *tx, group uint64, g *search.Group, fresh []string) ([]byte, error) {
	for _, u := range g.Units {
		fresh = append(fresh, string(u.ID[:]))
	}
	slices.Sort(fresh)
	*g = search.Group{}
	var terms [][]string
	for _, id := range slices.Compact(fresh) {
		u, err := s.a.unit(t, id, 0)
		if errors.Is(err, ErrNotFound) { // destroyed
			continue
		}
		if err != nil {
			return nil, err
		}
		g.Units = append(g.Units, search.Unit{ID: [search.IDSize]byte([]byte(id)), Version: uint32(u.Version)})
		terms = append(terms, append(s.an.Terms(searchText(&u.Description)), tenantTerm(u.Tenant)))
	}
	if len(terms) == 0 {
		return nil, nil
	}
	key, err := s.blockKey(t, group)
	if err != nil {
		return nil, err
	}
	block := search.Encode(terms)
	g.Block = vault.Seal(key, blockAD(group, g.Units), block)
	return block, nil
}

// follow gives the groups of a file of which units changed from a leaf on, each with the units that
// are new.
func (s *searchIndex) follow(number, from uint64) (map[uint64][]string, error) {
	if err := s.look(from); err != nil {
		return nil, err
	}
	groups, out := uint64(s.a.fileGroups), map[uint64][]string{}
	for group := number * groups; group < (number+1)*groups; group++ {
		if last, ok := s.changed[group]; ok && last >= from {
			out[group] = nil
		}
	}
	span, ok := s.spans[number]
	if !ok {
		return out, nil
	}
	return out, s.read(max(from, span[0]), span[1]+1, func(_ uint64, r *unitRecord) {
		if group := vault.GroupOf(r.Key); r.First == nil && group/groups == number {
			out[group] = append(out[group], r.Unit)
		}
	})
}

// look notes what the leaves from one on changed; of those that were looked at it knows.
func (s *searchIndex) look(from uint64) error {
	if from >= s.from {
		return nil
	}
	to := s.from
	s.from = from
	return s.read(from, to, func(leaf uint64, r *unitRecord) {
		group := vault.GroupOf(r.deposited().Key)
		s.changed[group] = max(s.changed[group], leaf)
		if r.First != nil {
			return
		}
		number := group / uint64(s.a.fileGroups)
		span, ok := s.spans[number]
		if !ok {
			span = [2]uint64{leaf, leaf}
		}
		s.spans[number] = [2]uint64{min(span[0], leaf), max(span[1], leaf)}
	})
}

// searchScan is how many leaves are read in a transaction.
const searchScan = 10_000

// read calls f for the versions of units of the leaves from one on and before another. What was
// destroyed is passed over.
func (s *searchIndex) read(from, to uint64, f func(leaf uint64, r *unitRecord)) error {
	for ; from < to; from += searchScan {
		err := s.a.cat.view(func(t *tx) error {
			return t.scan(bktLeaf, be64(from), be64(min(to, from+searchScan)), func(k, row []byte) (bool, error) {
				it, err := t.leafItem(row)
				if err != nil || it.Object != "" || !isUnit(it.Unit) {
					return err == nil, err
				}
				v, err := t.get(bktUnit, unitKey(it.Unit, it.Version))
				if err != nil || v == nil {
					return err == nil, err
				}
				var r unitRecord
				if err := decodeClear(v, &r); err != nil {
					return false, damaged("unit record", it.Unit, err)
				}
				f(binary.BigEndian.Uint64(k), &r)
				return true, nil
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// leafItem gives what the ledger says of a leaf.
func (t *tx) leafItem(row []byte) (integrity.Item, error) {
	_, entry, number, err := parseLeafRow(row)
	if err != nil {
		return integrity.Item{}, err
	}
	return t.item(entry, number)
}

// searchName is the name of a file of the index.
var searchName = regexp.MustCompile(`^[0-9]{5,}$`)

// checkSearch names a file of the index that is not as it was left.
func (a *Archive) checkSearch() (where string, err error) {
	dir := filepath.Join(a.dir, searchDir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return dir, err
	}
	for _, e := range entries {
		if e.IsDir() || !searchName.MatchString(e.Name()) {
			continue
		}
		where := filepath.Join(dir, e.Name())
		b, err := os.ReadFile(where)
		if err != nil {
			return where, err
		}
		f, err := search.Parse(b, vault.Derive(a.indexKey, searchLabel))
		if err == nil {
			err = f.Check()
		}
		if err != nil {
			return where, err
		}
	}
	return "", nil
}

// repairSearch makes anew what is not as it was left.
func (a *Archive) repairSearch() error {
	an, err := search.NewAnalyser()
	if err == nil {
		_, err = a.searchIndex(an, []string{tenantTerm("")})
	}
	return err
}

// waitLock takes the lock of the search index, waiting up to ten seconds.
func waitLock(path string) (unlock func(), err error) {
	for range 100 {
		l, err := durable.LockExclusive(path, "search")
		if err == nil {
			return func() { l.Unlock() }, nil
		}
		var held *durable.HeldError
		if !errors.As(err, &held) {
			return nil, err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil, fmt.Errorf("another search holds %s: %w", path, ErrLocked)
}
