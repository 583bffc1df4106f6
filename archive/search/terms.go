// Package search is what the full-text index is made of: the terms of a text, the block that says
// which of 256 units hold which terms, and the file that keeps enciphered blocks. It reads and
// writes nothing, and enciphers nothing.
package search

import (
	"fmt"
	"slices"
	"strings"
	unicodes "unicode"
	"unicode/utf8"

	"github.com/blevesearch/bleve/v2/analysis"
	"github.com/blevesearch/bleve/v2/analysis/lang/fr"
	"github.com/blevesearch/bleve/v2/analysis/token/lowercase"
	"github.com/blevesearch/bleve/v2/analysis/tokenizer/unicode"
	"github.com/blevesearch/bleve/v2/registry"
	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"
)

// Analyser gives the terms of texts: words are cut, elided, stemmed (French) and folded. It may be
// used at the same time.
type Analyser struct {
	tokenizer analysis.Tokenizer
	filters   []analysis.TokenFilter
}

// NewAnalyser sets it up.
func NewAnalyser() (*Analyser, error) {
	cache := registry.NewCache()
	tokenizer, err := cache.TokenizerNamed(unicode.Name)
	if err != nil {
		return nil, fmt.Errorf("setting up search: %w", err)
	}
	an := &Analyser{tokenizer: tokenizer}
	for _, name := range []string{lowercase.Name, fr.ElisionName, fr.StopName, fr.LightStemmerName} {
		f, err := cache.TokenFilterNamed(name)
		if err != nil {
			return nil, fmt.Errorf("setting up search: %w", err)
		}
		an.filters = append(an.filters, f)
	}
	return an, nil
}

// Terms are the distinct terms of a text in order, without accents.
func (an *Analyser) Terms(text string) []string {
	stream := an.tokenizer.Tokenize([]byte(asWords.Replace(text)))
	for _, f := range an.filters {
		stream = f.Filter(stream)
	}
	var out []string
	for _, t := range stream {
		out = append(out, FoldAccents(string(t.Term)))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// asWords lets the words of a file name, or of a reference, be found each alone.
var asWords = strings.NewReplacer("_", " ", "-", " ", ".", " ", "/", " ")

// FoldAccents lets a word be found however its accents were typed.
func FoldAccents(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) { // most words: it takes a third of the time to index
		return s
	}
	out, _, err := transform.String(transform.Chain(norm.NFD, runes.Remove(runes.In(unicodes.Mn)), norm.NFC), s)
	if err != nil {
		return s
	}
	return out
}
