package archive

import (
	"bytes"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"html"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/analysis"
	"github.com/blevesearch/bleve/v2/analysis/analyzer/keyword"
	"github.com/blevesearch/bleve/v2/analysis/lang/fr"
	"github.com/blevesearch/bleve/v2/analysis/token/lowercase"
	"github.com/blevesearch/bleve/v2/analysis/tokenizer/unicode"
	"github.com/blevesearch/bleve/v2/mapping"
	"github.com/blevesearch/bleve/v2/registry"
	"github.com/blevesearch/bleve/v2/search/query"

	"sae/archive/vault"
)

// Full-text search is a projection: it can be thrown away and is made again from
// the catalogue. Words are cut, elided, stemmed (French) and folded here, then
// replaced by keyed hashes: the index holds no word, and bleve sees none. The key
// is another whenever something was destroyed, and the index is made anew then: an
// old copy of it does not even tell whether a word that somebody guesses was in it.

// searchMark is the internal key under which the index keeps how far it is: the
// number of the next leaf to look at.
var searchMark = []byte("next-leaf")

// searchGeneration is the internal key under which the index names its hash key.
var searchGeneration = []byte("generation")

// analyse gives the terms of a text.
type analyser struct {
	tokenizer analysis.Tokenizer
	filters   []analysis.TokenFilter
}

func newAnalyser() (*analyser, error) {
	cache := registry.NewCache()
	tokenizer, err := cache.TokenizerNamed(unicode.Name)
	if err != nil {
		return nil, fmt.Errorf("setting up search: %w", err)
	}
	an := &analyser{tokenizer: tokenizer}
	for _, name := range []string{lowercase.Name, fr.ElisionName, fr.StopName, fr.LightStemmerName} {
		f, err := cache.TokenFilterNamed(name)
		if err != nil {
			return nil, fmt.Errorf("setting up search: %w", err)
		}
		an.filters = append(an.filters, f)
	}
	return an, nil
}

// terms are the distinct terms of a text, without accents.
func (an *analyser) terms(text string) []string {
	stream := an.tokenizer.Tokenize([]byte(asWords.Replace(text)))
	for _, f := range an.filters {
		stream = f.Filter(stream)
	}
	var out []string
	for _, t := range stream {
		out = append(out, foldAccents(string(t.Term)))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// searchIndex is an open index with its hash key.
type searchIndex struct {
	bleve.Index
	key [32]byte
}

// hashed replaces terms by what the index holds.
func (x *searchIndex) hashed(tenant string, terms []string) []string {
	out := make([]string, len(terms))
	for i, t := range terms {
		out[i] = strings.ToLower(base32.StdEncoding.EncodeToString(keyedHash(x.key, "word", tenant, t)[:15]))
	}
	return out
}

// searchText is what of a unit can be searched.
func searchText(d *Description) string {
	parts := []string{d.Title, d.Description, d.Subject}
	for _, o := range d.Objects {
		parts = append(parts, o.Filename)
	}
	if d.SEDA != nil {
		parts = append(parts, html.UnescapeString(tags.ReplaceAllString(d.SEDA.Content, " ")))
	}
	for _, k := range slices.Sorted(maps.Keys(d.Custom)) {
		parts = append(parts, d.Custom[k])
	}
	return strings.Join(parts, "\n")
}

// tags are what is not text in XML that was checked when it was archived.
var tags = regexp.MustCompile(`<[^>]*>`)

// asWords lets the words of a file name, or of a reference, be found each alone.
var asWords = strings.NewReplacer("_", " ", "-", " ", ".", " ", "/", " ")

func searchMapping() *mapping.IndexMappingImpl {
	field := bleve.NewKeywordFieldMapping()
	field.Store, field.IncludeTermVectors, field.IncludeInAll, field.DocValues = false, false, false, false
	doc := bleve.NewDocumentStaticMapping()
	doc.AddFieldMappingsAt("w", field)
	m := bleve.NewIndexMapping()
	m.DefaultMapping, m.DefaultAnalyzer = doc, keyword.Name
	m.StoreDynamic, m.IndexDynamic, m.DocValuesDynamic = false, false, false
	return m
}

// Search gives the units that hold all the words, best first, after bringing the
// index up to date with the catalogue.
func (a *Archive) Search(tenant, words string, limit int) ([]*Unit, error) {
	return a.search(tenant, words, limit, func(units []*Unit) ([]*Unit, error) { return units, nil })
}

// search is Search among the units that choose leaves; limit counts those.
func (a *Archive) search(tenant, words string, limit int, choose func([]*Unit) ([]*Unit, error)) ([]*Unit, error) {
	t, err := a.config.tenant(tenant)
	if err != nil {
		return nil, err
	}
	an, err := newAnalyser()
	if err != nil {
		return nil, err
	}
	terms := an.terms(words)
	if len(terms) == 0 {
		return nil, &Refusal{Problems: []string{fmt.Sprintf("%q holds no word to search for", words)}}
	}
	index, unlock, err := a.openSearch()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := a.updateSearch(index, an); err != nil {
		return nil, errors.Join(err, index.Close())
	}
	units, err := a.found(index, index.hashed(t.ID, terms), limit, choose)
	if err := errors.Join(err, a.closeSearch(index)); err != nil {
		return nil, fmt.Errorf("searching: %w", err)
	}
	return units, nil
}

// found are the first units of the index with all the terms that choose leaves.
func (a *Archive) found(index *searchIndex, terms []string, limit int, choose func([]*Unit) ([]*Unit, error)) ([]*Unit, error) {
	out := []*Unit{}
	for from, n := 0, limit; ; from, n = from+n, 2*n { // each page asks the index anew for all before it
		ids, err := queryIndex(index, terms, from, n)
		if err != nil {
			return nil, err
		}
		var units []*Unit
		for _, id := range ids {
			u, err := a.Unit(id)
			if errors.Is(err, ErrNotFound) { // destroyed: the index is not purged yet
				continue
			}
			if err != nil {
				return nil, err
			}
			units = append(units, u)
		}
		if units, err = choose(units); err != nil {
			return nil, err
		}
		if out = append(out, units...); len(out) >= limit || len(ids) < n {
			return out[:min(limit, len(out))], nil
		}
	}
}

func queryIndex(index *searchIndex, terms []string, from, limit int) (ids []string, err error) {
	var all []query.Query
	for _, t := range terms {
		q := bleve.NewTermQuery(t)
		q.SetField("w")
		all = append(all, q)
	}
	req := bleve.NewSearchRequestOptions(bleve.NewConjunctionQuery(all...), limit, from, false)
	req.SortBy([]string{"-_score", "_id"})
	res, err := index.Search(req)
	if err != nil {
		return nil, err
	}
	for _, hit := range res.Hits {
		ids = append(ids, hit.ID)
	}
	return ids, nil
}

// updateSearch adds the units archived since the index was last used.
func (a *Archive) updateSearch(index *searchIndex, an *analyser) error {
	next := uint64(0)
	if b, err := index.GetInternal(searchMark); err == nil && len(b) == 8 {
		next = binary.BigEndian.Uint64(b)
	}
	for {
		batch := index.NewBatch()
		more, err := a.fillBatch(index, batch, an, &next)
		if err != nil {
			return fmt.Errorf("bringing search up to date: %w", err)
		}
		if batch.Size() > 0 {
			batch.SetInternal(searchMark, be64(next))
			if err := index.Batch(batch); err != nil {
				return fmt.Errorf("bringing search up to date: %w", err)
			}
		}
		if !more {
			return nil
		}
	}
}

// fillBatch takes up to a thousand leaves from number next on; leaves of objects
// are passed over.
func (a *Archive) fillBatch(index *searchIndex, batch *bleve.Batch, an *analyser, next *uint64) (more bool, err error) {
	err = a.cat.view(func(t *tx) error {
		end, err := t.end()
		if err != nil {
			return err
		}
		return t.scan(bktLeaf, be64(*next), be64(end), func(k, row []byte) (bool, error) {
			_, entry, item, err := parseLeafRow(row)
			if err != nil {
				return false, err
			}
			it, err := t.item(entry, item)
			if err != nil {
				return false, err
			}
			stone, err := t.tomb(it.Unit)
			if err != nil {
				return false, err
			}
			if *next = binary.BigEndian.Uint64(k) + 1; it.Object == "" && stone == nil {
				u, err := a.unit(t, it.Unit, it.Version)
				if err != nil {
					return false, err
				}
				doc := map[string]any{"w": index.hashed(u.Tenant, an.terms(searchText(&u.Description)))}
				if err := batch.Index(it.Unit, doc); err != nil {
					return false, err
				}
			}
			more = batch.Size() >= 1000
			return !more, nil
		})
	})
	return more, err
}

// openSearch opens the index, or makes a new one when there is none, something was
// destroyed since, or it is damaged. It is held by one process at a time; others
// wait for it briefly.
func (a *Archive) openSearch() (*searchIndex, func(), error) {
	key, err := a.vault.Generation()
	if err != nil {
		return nil, nil, fmt.Errorf("opening search: %w", err)
	}
	name := vault.Derive(key, "name")
	dir := filepath.Join(a.dir, searchDir)
	if err := a.fs.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("opening search: %w", err)
	}
	unlock, err := waitLock(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, nil, fmt.Errorf("opening search: %w", err)
	}
	path := filepath.Join(dir, "index")
	index, err := openIndex(dir, path, name[:8])
	if err != nil {
		a.log.Info("making the search index anew", "reason", err)
		if err = os.RemoveAll(path); err == nil {
			index, err = newIndex(path, name[:8])
		}
	}
	if err != nil {
		unlock()
		return nil, nil, fmt.Errorf("opening search: %w", err)
	}
	return &searchIndex{index, key}, unlock, nil
}

func newIndex(path string, generation []byte) (bleve.Index, error) {
	index, err := bleve.New(path, searchMapping())
	if err != nil {
		return nil, err
	}
	if err := index.SetInternal(searchGeneration, generation); err != nil {
		return nil, errors.Join(err, index.Close())
	}
	return index, nil
}

func openIndex(dir, path string, generation []byte) (bleve.Index, error) {
	if err := checkSums(dir); err != nil {
		return nil, err
	}
	index, err := bleve.Open(path)
	if err != nil {
		return nil, err
	}
	is, err := index.GetInternal(searchGeneration)
	if err == nil && !bytes.Equal(is, generation) {
		err = errors.New("something was destroyed since it was made")
	}
	if err != nil {
		return nil, errors.Join(err, index.Close())
	}
	return index, nil
}

// closeSearch closes the index and writes down the sums of its files, by which
// the next use tells that they are whole.
func (a *Archive) closeSearch(index *searchIndex) error {
	if err := index.Close(); err != nil {
		return err
	}
	return a.writeSums(filepath.Join(a.dir, searchDir))
}

// rebuildSearch throws the index away and makes it anew; with repair false it
// does nothing.
func (a *Archive) rebuildSearch(repair bool) (done bool, err error) {
	if !repair {
		return false, nil
	}
	an, err := newAnalyser()
	if err != nil {
		return false, err
	}
	index, unlock, err := a.openSearch() // makes it anew: its sums do not hold
	if err != nil {
		return false, err
	}
	defer unlock()
	if err := a.updateSearch(index, an); err != nil {
		return false, errors.Join(err, index.Close())
	}
	return true, a.closeSearch(index)
}
