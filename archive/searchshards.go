package archive

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/blevesearch/bleve/v2"

	"sae/archive/vault"
	"sae/integrity"
)

// The search index lies in shards. A unit stands, with its last version, in the shard of the
// data key of its first: a shard is what a range of data keys brought, those below one node
// of the key tree, and its words are hashed under a key of that range. When a data key is
// destroyed the node is drawn anew, and the shard is thrown away and made anew under the key
// of the new one: an old copy of it does not even tell whether a word that somebody guesses
// was in it. All other shards stay as they are.
//
// A shard is a folder of its own: the files of bleve; shardFile, which names its key and
// says up to which leaf it is complete; and, written last, the sums of both. One that a crash
// left without sums that hold is made anew, alone. Beside the shards markFile says up to which
// leaf all of them are up to date, so that not each must be touched to say so.

// shardLevel is the level of the nodes whose data keys make a shard: 2 for 65,536 keys. With
// 256, level 1, a million units would be thousands of indexes to open for each search; with
// all, level 3, a destruction would cost the whole again. Tests have small ones.
const shardLevel = 2

const (
	shardFile = "shard"
	markFile  = "next-leaf"
	indexDir  = "index"
)

// shardState is shardFile.
type shardState struct {
	Generation []byte `json:"generation"` // names the key
	Next       uint64 `json:"next"`       // all leaves before it were looked at
}

// shard is one of the search index.
type shard struct {
	number uint64
	dir    string
	key    [32]byte // of the hashes of its words
	next   uint64   // as in its state
}

// searchIndex is the search index, held by one process at a time. No shard is kept open.
type searchIndex struct {
	a      *Archive
	dir    string
	unlock func()
	shards []shard // by number
	end    uint64  // number of the next leaf to come
}

func shardDir(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%05d", number))
}

// openSearch opens the index up to date with the catalogue: shards that are not there, of
// which something was destroyed since, or that are damaged, are made anew. It is held by one
// process at a time; others wait for it briefly.
func (a *Archive) openSearch() (*searchIndex, error) {
	s := &searchIndex{a: a, dir: filepath.Join(a.dir, searchDir)}
	if err := a.fs.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening search: %w", err)
	}
	var err error
	if s.unlock, err = waitLock(filepath.Join(s.dir, lockFile)); err != nil {
		return nil, fmt.Errorf("opening search: %w", err)
	}
	if err = a.cat.view(s.load); err == nil {
		err = s.each(s.ensure)
	}
	if err == nil {
		err = s.follow()
	}
	if err != nil {
		s.unlock()
		return nil, fmt.Errorf("bringing search up to date: %w", err)
	}
	return s, nil
}

// load finds which shards there are to be.
func (s *searchIndex) load(t *tx) error {
	end, keys, err := t.counters()
	if err != nil {
		return err
	}
	s.end = end
	for n := uint64(0); keys > 0 && n <= vault.RangeOf(s.a.shardLevel, keys-1); n++ {
		key, err := s.a.vault.Range(keyStore{t}, s.a.shardLevel, n)
		if err != nil {
			return err
		}
		s.shards = append(s.shards, shard{number: n, dir: shardDir(s.dir, n), key: key})
	}
	return nil
}

// each calls f for the number of every shard, as many at a time as there are processors.
func (s *searchIndex) each(f func(number int) error) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, min(runtime.GOMAXPROCS(0), len(s.shards)))
	for worker := range errs {
		wg.Go(func() {
			for errs[worker] == nil {
				n := int(next.Add(1)) - 1
				if n >= len(s.shards) {
					return
				}
				errs[worker] = f(n)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// ensure makes a shard anew unless it is as it was left.
func (s *searchIndex) ensure(number int) error {
	sh := &s.shards[number]
	err := sh.check(s.end)
	if err == nil {
		return nil
	}
	s.a.log.Info("making a shard of the search index anew", "shard", sh.number, "reason", err)
	return s.make(sh)
}

// check says why a shard is to be made anew; else it reads how far it is.
func (sh *shard) check(end uint64) error {
	if err := checkSums(sh.dir); err != nil {
		return err
	}
	b, err := os.ReadFile(filepath.Join(sh.dir, shardFile))
	if err != nil {
		return err
	}
	var state shardState
	switch err := json.Unmarshal(b, &state); {
	case err != nil:
		return err
	case !bytes.Equal(state.Generation, sh.generation()):
		return errors.New("data keys of its range were destroyed since it was made")
	case state.Next > end:
		return errors.New("it is of a later catalogue")
	}
	sh.next = state.Next
	return nil
}

// generation names the key of a shard, and tells nothing of it.
func (sh *shard) generation() []byte {
	name := vault.Derive(sh.key, "name")
	return name[:8]
}

// settle writes down how far a shard is, and then the sums by which the next use tells that
// it is whole.
func (s *searchIndex) settle(sh *shard) error {
	sh.next = s.end
	if err := os.WriteFile(filepath.Join(sh.dir, shardFile), mustJSON(shardState{sh.generation(), sh.next}), 0o600); err != nil {
		return err
	}
	return s.a.writeSums(sh.dir)
}

// searchBatch is how many units are indexed at a time: all their words are in memory. mergeMax is how
// many of these batches are merged at a time when a shard is made: one merge for a full one.
const (
	searchBatch = 1000
	mergeMax    = 66
)

// make makes a shard anew from the leaves of its range.
func (s *searchIndex) make(sh *shard) error {
	if err := os.RemoveAll(sh.dir); err != nil {
		return err
	}
	if err := s.a.fs.MkdirAll(sh.dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(sh.dir, indexDir)
	b, err := bleve.NewBuilder(path, searchMapping(), map[string]any{"buildPathPrefix": sh.dir, "batchSize": searchBatch, "mergeMax": mergeMax})
	if err != nil {
		return err
	}
	n, err := s.build(sh, b)
	if err != nil {
		return err
	}
	if n > 0 {
		err = b.Close()
	} else if err = os.RemoveAll(sh.dir); err == nil { // a builder makes no index of nothing
		err = makeEmpty(path)
	}
	if err != nil {
		return err
	}
	return s.settle(sh)
}

func makeEmpty(path string) error {
	index, err := bleve.New(path, searchMapping())
	if err != nil {
		return err
	}
	return index.Close()
}

// build gives a builder the units of a shard, and tells how many these are. Each processor reads a
// part of the leaves: that, and enciphering words, is half of the work.
func (s *searchIndex) build(sh *shard, b bleve.Builder) (n int64, err error) {
	var from, to uint64
	err = s.a.cat.view(func(t *tx) (err error) {
		if from, err = s.firstLeaf(t, sh.number); err == nil {
			to, err = s.firstLeaf(t, sh.number+1)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	var count atomic.Int64
	parts := uint64(runtime.GOMAXPROCS(0))
	errs := make([]error, parts)
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			errs[i] = s.buildPart(sh, b, from+(to-from)*i/parts, from+(to-from)*(i+1)/parts, &count)
		})
	}
	wg.Wait()
	return count.Load(), errors.Join(errs...)
}

func (s *searchIndex) buildPart(sh *shard, b bleve.Builder, from, to uint64, count *atomic.Int64) error {
	an, err := newAnalyser()
	if err != nil {
		return err
	}
	for from < to {
		docs := map[string]any{}
		from, err = s.read(from, to, func(t *tx, _ uint64, r *unitRecord) (more bool, err error) {
			if r.First == nil && vault.RangeOf(s.a.shardLevel, r.Key) == sh.number {
				docs[r.Unit], err = s.document(t, an, sh, r.Unit)
			}
			return len(docs) < searchBatch, err
		})
		if err != nil {
			return err
		}
		for id, doc := range docs {
			if err := b.Index(id, doc); err != nil {
				return err
			}
		}
		count.Add(int64(len(docs)))
	}
	return nil
}

// document is the last version of a unit as its shard indexes it.
func (s *searchIndex) document(t *tx, an *analyser, sh *shard, unit string) (map[string]any, error) {
	u, err := s.a.unit(t, unit, 0)
	if err != nil {
		return nil, err
	}
	return an.document(sh.key, u), nil
}

// read calls f for the unit versions of the leaves from one on and before another, until it
// returns false, and gives the leaf after the last one. Objects, and what was destroyed, are
// passed over. All is of one transaction, which is to be short.
func (s *searchIndex) read(from, to uint64, f func(t *tx, leaf uint64, r *unitRecord) (bool, error)) (next uint64, err error) {
	next = to
	err = s.a.cat.view(func(t *tx) error {
		return t.scan(bktLeaf, be64(from), be64(to), func(k, row []byte) (bool, error) {
			leaf := binary.BigEndian.Uint64(k)
			it, err := t.leafItem(row)
			if err != nil || it.Object != "" {
				return true, err
			}
			var r unitRecord
			if ok, err := t.clear(bktUnit, unitKey(it.Unit, it.Version), &r); err != nil || !ok {
				return true, err
			}
			more, err := f(t, leaf, &r)
			if !more {
				next = leaf + 1
			}
			return more, err
		})
	})
	return next, err
}

// leafItem gives what the ledger says of a leaf.
func (t *tx) leafItem(row []byte) (integrity.Item, error) {
	_, entry, number, err := parseLeafRow(row)
	if err != nil {
		return integrity.Item{}, err
	}
	return t.item(entry, number)
}

// clear reads the clear part of a record, if it is there.
func (t *tx) clear(b bucket, key []byte, record any) (ok bool, err error) {
	v, err := t.get(b, key)
	if err != nil || v == nil {
		return false, err
	}
	return true, decodeClear(v, record)
}

// firstLeaf is the first leaf whose data key is in a shard or in one after it. Data keys and
// leaves are numbered in the same order, so it is searched for by halves; those of which
// everything was destroyed have no key any more, and count as the next that has one.
func (s *searchIndex) firstLeaf(t *tx, number uint64) (leaf uint64, err error) {
	return uint64(sort.Search(int(s.end), func(from int) bool {
		in := true // when none is left after it
		e := t.scan(bktLeaf, be64(uint64(from)), be64(s.end), func(_, row []byte) (bool, error) {
			it, err := t.leafItem(row)
			if err != nil {
				return false, err
			}
			var r struct{ Key uint64 }
			bucket, key := bktUnit, unitKey(it.Unit, it.Version)
			if it.Object != "" {
				bucket, key = bktObject, []byte(it.Object)
			}
			ok, err := t.clear(bucket, key, &r)
			in = !ok || vault.RangeOf(s.a.shardLevel, r.Key) >= number
			return !ok, err
		})
		err = errors.Join(err, e)
		return in
	})), err
}

// follow brings the shards up to date with the leaves that came since: a unit that is new, or
// has another version, is put into its shard. A crash leaves shards that are made anew, or
// leaves to be looked at again.
func (s *searchIndex) follow() error {
	from, ok := s.mark()
	if ok && from == s.end {
		return nil
	}
	if !ok {
		from = s.end
		for _, sh := range s.shards {
			from = min(from, sh.next)
		}
	}
	an, err := newAnalyser()
	if err != nil {
		return err
	}
	touched := map[uint64]bool{}
	for from < s.end {
		docs := map[uint64]map[string]any{}
		n := 0
		from, err = s.read(from, s.end, func(t *tx, leaf uint64, r *unitRecord) (_ bool, err error) {
			number := vault.RangeOf(s.a.shardLevel, r.deposited().Key)
			if sh := &s.shards[number]; leaf >= sh.next {
				if docs[number] == nil {
					docs[number] = map[string]any{}
				}
				docs[number][r.Unit], err = s.document(t, an, sh, r.Unit)
				n++
			}
			return n < searchBatch, err
		})
		if err != nil {
			return err
		}
		for number, units := range docs {
			touched[number] = true
			if err := s.shards[number].put(units); err != nil {
				return err
			}
		}
	}
	for number := range touched {
		if err := s.settle(&s.shards[number]); err != nil {
			return err
		}
	}
	return s.setMark()
}

// put indexes units.
func (sh *shard) put(units map[string]any) error {
	index, err := bleve.Open(filepath.Join(sh.dir, indexDir))
	if err != nil {
		return err
	}
	batch := index.NewBatch()
	for id, doc := range units {
		if err := batch.Index(id, doc); err != nil {
			return errors.Join(err, index.Close())
		}
	}
	return errors.Join(index.Batch(batch), index.Close())
}

// mark reads up to which leaf all shards are up to date: a number of 8 bytes and its checksum.
// Without one that can be the shards tell, and what came since the first of them is looked at again.
func (s *searchIndex) mark() (next uint64, ok bool) {
	b, err := os.ReadFile(filepath.Join(s.dir, markFile))
	if err != nil || len(b) != 8+crcSize {
		return 0, false
	}
	next = binary.BigEndian.Uint64(b)
	return next, bytes.Equal(b, markBytes(next)) && next <= s.end
}

func markBytes(next uint64) []byte {
	return binary.BigEndian.AppendUint32(be64(next), checksum(searchDir, []byte(markFile), be64(next)))
}

func (s *searchIndex) setMark() error {
	return s.a.fs.WriteFile(filepath.Join(s.dir, markFile), markBytes(s.end), 0o600)
}

// openReading opens a shard so that nothing of it is written.
func (sh *shard) openReading() (bleve.Index, error) {
	return bleve.OpenUsing(filepath.Join(sh.dir, indexDir), map[string]any{"read_only": true})
}

// checkSearch names a shard that is there and not as it was left.
func (a *Archive) checkSearch() (where string, err error) {
	dir := filepath.Join(a.dir, searchDir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return dir, err
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		where := filepath.Join(dir, e.Name())
		if err := checkSums(where); err != nil {
			return where, err
		}
	}
	return "", nil
}

// repairSearch makes the shards anew that are not as they were left.
func (a *Archive) repairSearch() error {
	s, err := a.openSearch()
	if err == nil {
		s.unlock()
	}
	return err
}
