package retention

import (
	"fmt"
	"math/rand"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func candidates(n int) (out []Candidate) {
	for i := range n {
		out = append(out, Candidate{ID: fmt.Sprintf("u%03d", i), Name: string(rune('A'+i%26)) + "x", Birthday: day("1980-01-01").AddDate(0, 0, i), Date: day("1990-06-01").AddDate(i%30, 0, 0), Bytes: int64(i * i % 101)})
	}
	return out
}

func TestSampling(t *testing.T) {
	all := candidates(100)
	all = append(all, Candidate{ID: "unknown", Date: day("1990-06-01")})
	for _, c := range []struct {
		s    Sampling
		want int
	}{
		{Sampling{Every: 10}, 11}, {Sampling{Largest: 5}, 6}, {Sampling{Random: 10}, 11},
		{Sampling{Letters: []string{"A", "E"}}, 9}, {Sampling{Days: []int{1}}, 5}, {Sampling{Years: []int{0}}, 11}, {Sampling{Years: []int{1993}}, 4},
	} {
		if err := c.s.Check(); err != nil {
			t.Error(err)
		}
		if got := c.s.Choose(all, [32]byte{1}); len(got) != c.want || !slices.IsSorted(got) {
			t.Errorf("%+v keeps %d: %v, want %d", c.s, len(got), got, c.want)
		}
	}
	accents := []Candidate{{ID: "a", Name: "Émile"}, {ID: "b", Name: " d'Arc"}, {ID: "c", Name: "Ça"}}
	if got := (&Sampling{Letters: []string{"E", "D"}}).Choose(accents, [32]byte{}); !slices.Equal(got, []int{0, 1}) {
		t.Error(got)
	}
}

// TestSamplingIsOfTheSet: the order in which candidates are given does not matter; another seed
// draws another sample.
func TestSamplingIsOfTheSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := candidates(rapid.IntRange(0, 200).Draw(t, "n"))
		s := rapid.SampledFrom([]Sampling{{Every: 7}, {Largest: 13}, {Random: 20}, {Letters: []string{"B"}}, {Years: []int{3, 8}}}).Draw(t, "s")
		ids := func(in []Candidate, keep []int) (out []string) {
			for _, i := range keep {
				out = append(out, in[i].ID)
			}
			slices.Sort(out)
			return out
		}
		want := ids(all, s.Choose(all, [32]byte{7}))
		mixed := slices.Clone(all)
		rand.New(rand.NewSource(int64(len(all)))).Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		if got := ids(mixed, s.Choose(mixed, [32]byte{7})); !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
	all := candidates(100)
	s := Sampling{Random: 20}
	if slices.Equal(s.Choose(all, [32]byte{1}), s.Choose(all, [32]byte{2})) {
		t.Error("two seeds draw the same")
	}
}

func TestSamplingRefuses(t *testing.T) {
	for _, s := range []Sampling{{}, {Every: 1}, {Every: -2}, {Largest: 100}, {Random: -1}, {Letters: []string{"é"}}, {Letters: []string{"AB"}}, {Days: []int{32}}, {Years: []int{-1}}, {Every: 2, Largest: 3}} {
		if s.Check() == nil {
			t.Errorf("%+v is accepted", s)
		}
	}
}
