package archive

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkSearch fills the index, searches it, destroys a unit and searches again, with units of
// 12 words and no object: -retention.units 1000000 for a large archive.
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
	search := func(b *testing.B, what, words string) {
		start, cpu := time.Now(), processorTime()
		if _, err := a.Search("", words, 20); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(start).Seconds(), what+"-s")
		b.ReportMetric((processorTime() - cpu).Seconds(), what+"-cpu-s")
	}
	gone := len(units) / 2
	for b.Loop() {
		if err := os.RemoveAll(filepath.Join(dir, searchDir)); err != nil {
			b.Fatal(err)
		}
		search(b, "first", "mot17")
		search(b, "common-word", "mot17")
		search(b, "rare-word", fmt.Sprint("subject ", gone))
		if gone++; benchDestroy(a, d.Units[gone].ID) != nil {
			b.Fatal("not destroyed")
		}
		search(b, "after-destroying-one", "mot17")
		if _, err := a.Deposit(context.Background(), "bench", Deposit{Units: units[:10]}); err != nil {
			b.Fatal(err)
		}
		search(b, "after-ten-new", "mot17")
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(u.Maxrss)/1e3, "MB-resident-at-most")
	b.ReportMetric(searchSize(b, dir)/1e6, "MB")
}

// processorTime is what the process took of all processors: on a machine that others use, too, it tells
// more than the time that passed.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func searchSize(b *testing.B, dir string) float64 {
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
	return float64(size)
}

func benchDestroy(a *Archive, id string) error {
	var gone *doomed
	err := a.cat.view(func(t *tx) (err error) { gone, err = a.doom(t, id, "bench", 1, nil); return err })
	if err == nil {
		err = a.destroy(context.Background(), "bench", "archives", "bench", nil, []*doomed{gone}, func(*tx) error { return nil })
	}
	return err
}
