package archive

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
)

// BenchmarkSubject finds the units of one subject among many. Its floor is a page of one unit, which
// no value names. Run it with -retention.units 1000000 for a large archive.
func BenchmarkSubject(b *testing.B) {
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
	for i := range units {
		units[i] = NewUnit{Parent: -1, Title: fmt.Sprint("file ", i), Subject: fmt.Sprint("subject ", i)}
	}
	if _, err := a.Deposit(context.Background(), "bench", Deposit{Units: units}); err != nil {
		b.Fatal(err)
	}
	for name, f := range map[string]Filter{"floor=any-unit": {Limit: 1}, "one-subject": {Subject: fmt.Sprint("subject ", len(units)/2)}} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if page, err := a.List(f); err != nil || len(page.Units) != 1 {
					b.Fatal(len(page.Units), err)
				}
			}
			b.ReportMetric(float64(len(units)), "units")
		})
	}
}
