package archive

import (
	"context"
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
