package retention

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Sampling says which units are kept of those that a rule wants sorted (échantillonnage).
// Exactly one method is set; what is picked by hand comes on top of it.
type Sampling struct {
	Every   int      `yaml:"every,omitempty" json:"every,omitempty"`     // every Nth, in the order of dates and identifiers
	Letters []string `yaml:"letters,omitempty" json:"letters,omitempty"` // initial letters of the name, without accents
	Days    []int    `yaml:"days,omitempty" json:"days,omitempty"`       // days of the month of the birthday
	Years   []int    `yaml:"years,omitempty" json:"years,omitempty"`     // years, or last digits of them: 3 is 1993, 2003, ...
	Largest int      `yaml:"largest,omitempty" json:"largest,omitempty"` // so many percent, the largest by bytes
	Random  int      `yaml:"random,omitempty" json:"random,omitempty"`   // so many percent, drawn by a seed
}

// Check says what is wrong with a method.
func (s *Sampling) Check() error {
	set := 0
	for _, is := range []bool{s.Every != 0, len(s.Letters) > 0, len(s.Days) > 0, len(s.Years) > 0, s.Largest != 0, s.Random != 0} {
		if is {
			set++
		}
	}
	switch {
	case set != 1:
		return errors.New("sampling: want one of every, letters, days, years, largest, random")
	case s.Every < 0 || s.Every == 1:
		return fmt.Errorf("sampling: every %d: want 2 or more", s.Every)
	case s.Largest < 0 || s.Largest > 99 || s.Random < 0 || s.Random > 99:
		return errors.New("sampling: a share is 1 to 99 percent")
	}
	for _, l := range s.Letters {
		if r := []rune(l); len(r) != 1 || initial(l) != r[0] {
			return fmt.Errorf("sampling: letter %q: want a capital letter without accent", l)
		}
	}
	for _, d := range s.Days {
		if d < 1 || d > 31 {
			return fmt.Errorf("sampling: day %d is not one of a month", d)
		}
	}
	for _, y := range s.Years {
		if y < 0 || y > 9999 {
			return fmt.Errorf("sampling: %d is not a year, nor a last digit", y)
		}
	}
	return nil
}

// Candidate is a unit that may be kept.
type Candidate struct {
	ID       string
	Name     string    // of the person, or the title
	Birthday time.Time // zero when it is not known
	Date     time.Time // of the file
	Bytes    int64
}

// Choose gives the indexes of those to keep, in order. A candidate that lacks what the method
// looks at is kept: it cannot be said to be outside the sample. The same candidates, in any
// order, and the same seed give the same sample; the seed is for Random alone.
func (s *Sampling) Choose(all []Candidate, seed [32]byte) (keep []int) {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	by := func(f func(x, y *Candidate) int) {
		slices.SortFunc(order, func(x, y int) int { return cmp.Or(f(&all[x], &all[y]), cmp.Compare(all[x].ID, all[y].ID)) })
	}
	switch {
	case s.Every > 0:
		by(func(x, y *Candidate) int { return x.Date.Compare(y.Date) })
		for i := 0; i < len(order); i += s.Every {
			keep = append(keep, order[i])
		}
	case s.Largest > 0:
		by(func(x, y *Candidate) int { return cmp.Compare(y.Bytes, x.Bytes) })
		keep = order[:share(len(all), s.Largest)]
	case s.Random > 0:
		lots := make(map[string][]byte, len(all))
		for i := range all {
			h := hmac.New(sha256.New, seed[:])
			h.Write([]byte(all[i].ID))
			lots[all[i].ID] = h.Sum(nil)
		}
		by(func(x, y *Candidate) int { return slices.Compare(lots[x.ID], lots[y.ID]) })
		keep = order[:share(len(all), s.Random)]
	default:
		for i := range all {
			if s.matches(&all[i]) {
				keep = append(keep, i)
			}
		}
	}
	slices.Sort(keep)
	return keep
}

// share is so many percent of n, rounded up.
func share(n, percent int) int { return (n*percent + 99) / 100 }

func (s *Sampling) matches(c *Candidate) bool {
	switch {
	case len(s.Letters) > 0:
		l := initial(c.Name)
		return l == 0 || slices.Contains(s.Letters, string(l))
	case len(s.Days) > 0:
		return c.Birthday.IsZero() || slices.Contains(s.Days, c.Birthday.Day())
	}
	year := c.Date.Year()
	return c.Date.IsZero() || slices.ContainsFunc(s.Years, func(y int) bool { return y == year || y < 10 && y == year%10 })
}

// initial is the first letter of a name, capital and without accent; 0 when it has none.
func initial(name string) rune {
	for _, r := range norm.NFD.String(strings.TrimSpace(name)) {
		if unicode.IsLetter(r) {
			return unicode.ToUpper(r)
		}
	}
	return 0
}
