package archive

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sae/archive/s3"
	"sae/archive/s3/s3test"
)

// bucketArchive is an archive with one offer, a bucket.
func bucketArchive(b *testing.B) (*Archive, *s3test.Running, s3.Config) {
	b.Helper()
	r := s3test.Start(b, s3test.MinIO)
	bucket := r.Bucket(b, "")
	dir := filepath.Join(b.TempDir(), "archive")
	if _, err := Create(dir, New{}); err != nil {
		b.Fatal(err)
	}
	if err := AddOffer(context.Background(), dir, OfferConfig{Name: "cloud", S3: &bucket}, Options{}); err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(dir, ConfigName)
	text, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	s := strings.Replace(string(text), "  - name: first\n    path: offers/first\n  - name: second\n    path: offers/second\n", "", 1)
	if err := os.WriteFile(path, []byte(strings.Replace(s, "copies: 2", "copies: 1", 1)), 0o600); err != nil {
		b.Fatal(err)
	}
	a, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { a.Close() })
	return a, r, bucket
}

// BenchmarkPacks: deposits and audits of small documents in packs, against the same with a
// blob for each.
func BenchmarkPacks(b *testing.B) {
	places := map[string]func(*testing.B) *Archive{
		"folder":  func(b *testing.B) *Archive { return benchArchive(b, 1) },
		"folders": func(b *testing.B) *Archive { return benchArchive(b, 2) },
		"bucket":  func(b *testing.B) *Archive { a, _, _ := bucketArchive(b); return a },
	}
	const batch = 1000
	for _, place := range []string{"folder", "folders", "bucket"} {
		deposit := func(b *testing.B, a *Archive, from int) {
			a.packFrom = from
			d := Deposit{}
			for range batch {
				d.Units = append(d.Units, smallUnit())
			}
			if _, err := a.Deposit(context.Background(), "bench", d); err != nil {
				b.Fatal(err)
			}
		}
		const never = batch + 1
		b.Run("deposit/"+place, func(b *testing.B) {
			alone, packed := places[place](b), places[place](b)
			versus(b, batch, "docs", func() { deposit(b, alone, never) }, func() { deposit(b, packed, packFrom) })
		})
		b.Run("audit/"+place, func(b *testing.B) {
			alone, packed := places[place](b), places[place](b)
			for range 5 {
				deposit(b, alone, never)
				deposit(b, packed, packFrom)
			}
			audit := func(a *Archive) {
				if r, err := a.Audit(context.Background(), "bench", AuditOptions{Sample: 1}); err != nil || !r.Sound() {
					b.Fatal(r, err)
				}
			}
			versus(b, 5*batch, "docs", func() { audit(alone) }, func() { audit(packed) })
		})
	}
}

// BenchmarkDestroy: one unit of many, and 500 at a time, against a commit of one entry.
func BenchmarkDestroy(b *testing.B) {
	const many, step = 100_000, 500
	a := benchArchive(b, 1)
	d := Deposit{}
	for i := range many {
		d.Units = append(d.Units, NewUnit{Parent: -1, Title: fmt.Sprint(i)})
	}
	out, err := a.Deposit(context.Background(), "bench", d)
	if err != nil {
		b.Fatal(err)
	}
	next := 0
	destroy := func(n int) {
		if next+n > many {
			b.Fatal("no units are left")
		}
		var all []*doomed
		if err := a.cat.view(func(t *tx) error {
			for range n {
				x, err := a.doom(t, out.Units[(next*7919)%many].ID, "bench", 1, nil) // far apart
				if err != nil {
					return err
				}
				all = append(all, x)
				next++
			}
			return nil
		}); err != nil {
			b.Fatal(err)
		}
		if err := a.destroy(context.Background(), "bench", "archives", "bench", nil, all, func(*tx) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	entry := func() {
		if _, _, err := a.commit(context.Background(), a.offerOperation("bench", "first", "bench")); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("one", func(b *testing.B) { versus(b, 1, "units", entry, func() { destroy(1) }) })
	b.Run("500", func(b *testing.B) { versus(b, step, "units", entry, func() { destroy(step) }) })
}
