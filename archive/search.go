package archive

import (
	"encoding/base32"
	"errors"
	"fmt"
	"html"
	"maps"
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
	"github.com/blevesearch/bleve/v2/search"
	"github.com/blevesearch/bleve/v2/search/query"
)

// Full-text search is a projection: it can be thrown away and is made again from
// the catalogue. Words are cut, elided, stemmed (French) and folded here, then
// replaced by keyed hashes: the index holds no word, and bleve sees none. It lies in
// shards (searchshards.go), each under a key that is another when something in it was
// destroyed.

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

// hashed replaces terms by what a shard holds under its key.
func hashed(key [32]byte, tenant string, terms []string) []string {
	out := make([]string, len(terms))
	for i, t := range terms {
		out[i] = strings.ToLower(base32.StdEncoding.EncodeToString(keyedHash(key, "word", tenant, t)[:15]))
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

// Fields of a unit in the index.
const (
	wordsField = "w" // keyed hashes of its terms
	countField = "n" // how many these are: what it is sorted by
)

func searchMapping() *mapping.IndexMappingImpl {
	doc := bleve.NewDocumentStaticMapping()
	for _, name := range []string{wordsField, countField} {
		field := bleve.NewKeywordFieldMapping()
		field.Store, field.IncludeTermVectors, field.IncludeInAll, field.DocValues = false, false, false, name == countField
		doc.AddFieldMappingsAt(name, field)
	}
	m := bleve.NewIndexMapping()
	m.DefaultMapping, m.DefaultAnalyzer = doc, keyword.Name
	m.StoreDynamic, m.IndexDynamic, m.DocValuesDynamic = false, false, false
	return m
}

// document is a unit as a shard with this key indexes it.
func (an *analyser) document(key [32]byte, u *Unit) map[string]any {
	terms := an.terms(searchText(&u.Description))
	return map[string]any{wordsField: hashed(key, u.Tenant, terms), countField: fmt.Sprintf("%08x", len(terms))}
}

// Search gives the units that hold all the words, best first, after bringing the
// index up to date with the catalogue. The best are those that hold the fewest other
// words: all have all that are asked for, and a term counts once.
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
	s, err := a.openSearch()
	if err != nil {
		return nil, err
	}
	defer s.unlock()
	units, err := s.found(t.ID, terms, limit, choose)
	if err != nil {
		return nil, fmt.Errorf("searching: %w", err)
	}
	return units, nil
}

// found are the first units with all the terms that choose leaves.
func (s *searchIndex) found(tenant string, terms []string, limit int, choose func([]*Unit) ([]*Unit, error)) ([]*Unit, error) {
	out := []*Unit{}
	for from, n := 0, limit; ; from, n = from+n, 2*n { // each page asks the index anew for all before it
		ids, err := s.query(tenant, terms, from, n)
		if err != nil {
			return nil, err
		}
		var units []*Unit
		for _, id := range ids {
			u, err := s.a.Unit(id)
			if errors.Is(err, ErrNotFound) { // destroyed meanwhile
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

// query asks all shards, and gives up to n units after the first from ones.
func (s *searchIndex) query(tenant string, terms []string, from, n int) (ids []string, err error) {
	byShard := make([]search.DocumentMatchCollection, len(s.shards))
	err = s.each(func(number int) (err error) {
		index, err := s.shards[number].openReading()
		if err != nil {
			return err
		}
		byShard[number], err = queryIndex(index, hashed(s.shards[number].key, tenant, terms), from+n)
		return errors.Join(err, index.Close())
	})
	if err != nil {
		return nil, err
	}
	all := slices.Concat(byShard...)
	slices.SortFunc(all, func(x, y *search.DocumentMatch) int { return slices.Compare(x.Sort, y.Sort) })
	for _, hit := range all[min(from, len(all)):min(from+n, len(all))] {
		ids = append(ids, hit.ID)
	}
	return ids, nil
}

// queryIndex gives the first units of a shard with all the hashed terms, those of the fewest terms
// first, then in the order of their identifiers.
func queryIndex(index bleve.Index, terms []string, limit int) (search.DocumentMatchCollection, error) {
	var all []query.Query
	for _, t := range terms {
		q := bleve.NewTermQuery(t)
		q.SetField(wordsField)
		all = append(all, q)
	}
	req := bleve.NewSearchRequestOptions(bleve.NewConjunctionQuery(all...), limit, 0, false)
	req.SortBy([]string{countField, "_id"})
	req.Score = "none"
	res, err := index.Search(req)
	if err != nil {
		return nil, err
	}
	return res.Hits, nil
}
