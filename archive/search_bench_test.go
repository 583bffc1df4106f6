package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BenchmarkSearch fills the index, searches it, destroys a unit and searches again, with units of
// 12 words and no object: -retention.units 1000000 for a large archive. The floor is to read every
// unit and cut its words.
func BenchmarkSearch(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "archive")
	if _, err := Create(dir, New{}); err != nil {
		b.Fatal(err)
	}
	a, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer a.Close()
	units := make([]NewUnit, *benchUnits)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range units {
		var words []string
		for range 10 {
			words = append(words, fmt.Sprint("mot", int(r.ExpFloat64()*2000)))
		}
		units[i] = NewUnit{Parent: -1, Title: strings.Join(words, " "), Subject: fmt.Sprint("subject ", i)}
	}
	d, err := a.Deposit(context.Background(), "bench", Deposit{Units: units})
	if err != nil {
		b.Fatal(err)
	}
	search := func(words string) time.Duration {
		start := time.Now()
		if _, err := a.Search("", words, 20); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	for b.Loop() {
		b.ReportMetric(search("mot17").Seconds(), "first-s")
		b.ReportMetric(search("mot17").Seconds(), "common-word-s")
		b.ReportMetric(search("mot17 mot18").Seconds(), "two-words-s")
		b.ReportMetric(search(fmt.Sprint("subject ", len(units)/2)).Seconds(), "rare-word-s")
		if err := benchDestroy(a, d.Units[len(units)/2].ID); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(search("mot17").Seconds(), "after-destroying-one-s")
		b.ReportMetric(search("mot17").Seconds(), "then-s")
	}
	var size int64
	if err := filepath.WalkDir(filepath.Join(dir, searchDir), func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			i, infoErr := e.Info()
			size, err = size+i.Size(), infoErr
		}
		return err
	}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(size)/1e6, "MB")
	b.ReportMetric(float64(len(units)), "units")
}

func benchDestroy(a *Archive, id string) error {
	var gone *doomed
	err := a.cat.view(func(t *tx) (err error) { gone, err = a.doom(t, id, "bench", 1, nil); return err })
	if err == nil {
		err = a.destroy(context.Background(), "bench", "archives", "bench", nil, []*doomed{gone}, func(*tx) error { return nil })
	}
	return errors.Join(err, a.purgeSearch())
}
