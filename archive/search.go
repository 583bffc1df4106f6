package archive

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"html"
	"maps"
	"regexp"
	"slices"
	"strings"

	"sae/archive/search"
)

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

// tenantTerm is a term that all units of a tenant have, before all words.
func tenantTerm(tenant string) string { return "\x00" + tenant }

// hit is a unit that holds all words, with its number of terms.
type hit struct {
	id    [search.IDSize]byte
	terms int
}

// Search gives the units that hold all the words, best first, after bringing the
// index up to date with the catalogue. The best are those that hold the fewest other
// words: all have all that are asked for, and a term counts once.
func (a *Archive) Search(tenant, words string, limit int) ([]*Unit, error) {
	return a.search(tenant, words, limit, func(units []*Unit) ([]*Unit, error) { return units, nil })
}

// search is Search among the units that choose leaves; limit counts those.
func (a *Archive) search(tenant, words string, limit int, choose func([]*Unit) ([]*Unit, error)) ([]*Unit, error) {
	t, err := a.tenant(tenant)
	if err != nil {
		return nil, err
	}
	an, err := search.NewAnalyser()
	if err != nil {
		return nil, err
	}
	terms := an.Terms(words)
	if len(terms) == 0 {
		return nil, &Refusal{Problems: []string{fmt.Sprintf("%q holds no word to search for", words)}}
	}
	hits, err := a.searchIndex(an, append([]string{tenantTerm(t.ID)}, terms...))
	if err != nil {
		return nil, fmt.Errorf("searching: %w", err)
	}
	slices.SortFunc(hits, func(x, y hit) int {
		return cmp.Or(cmp.Compare(x.terms, y.terms), bytes.Compare(x.id[:], y.id[:]))
	})
	units, err := a.chosen(hits, limit, choose)
	if err != nil {
		return nil, fmt.Errorf("searching: %w", err)
	}
	return units, nil
}

// chosen are the first units among hits that choose leaves.
func (a *Archive) chosen(hits []hit, limit int, choose func([]*Unit) ([]*Unit, error)) ([]*Unit, error) {
	out := []*Unit{}
	for n := limit; len(out) < limit && len(hits) > 0; n *= 2 {
		n = min(n, len(hits))
		var units []*Unit
		for _, h := range hits[:n] {
			u, err := a.Unit(string(h.id[:]))
			if errors.Is(err, ErrNotFound) { // destroyed meanwhile
				continue
			}
			if err != nil {
				return nil, err
			}
			units = append(units, u)
		}
		units, err := choose(units)
		if err != nil {
			return nil, err
		}
		out, hits = append(out, units...), hits[n:]
	}
	return out[:min(limit, len(out))], nil
}
