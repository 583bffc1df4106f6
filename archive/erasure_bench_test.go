package archive

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

var (
	erasureUnits = flag.Int("erasure.units", 100_000, "units of BenchmarkErasure")
	erasureBatch = flag.Int("erasure.batch", 10_000, "units that BenchmarkErasure erases at once")
)

// singles is how many units are erased alone for each figure.
const singles = 30

// BenchmarkErasure erases one unit of many, and a batch, scattered and of one deposit, all without the
// deletes of copies. Its floors are an empty commit of bbolt, which two fdatasync make durable, and
// what the key tree wraps anew: three nodes of 256 keys.
func BenchmarkErasure(b *testing.B) {
	ctx := context.Background()
	a := erasingBench(b)
	var ids []string
	for first := 0; first < *erasureUnits; first += 50_000 {
		n := min(50_000, *erasureUnits-first)
		units := make([]NewUnit, n)
		for i := range units {
			units[i] = NewUnit{Parent: -1, Title: fmt.Sprintf("unit %d", first+i), Subject: fmt.Sprintf("S-%d", first+i)}
		}
		d, err := a.Deposit(ctx, "bench", Deposit{Units: units})
		if err != nil {
			b.Fatal(err)
		}
		for _, u := range d.Units {
			ids = append(ids, u.ID)
		}
	}
	total := len(ids)
	floor := emptyCommits(b)
	erased := 0
	// scattered gives n units that are still there, evenly from all.
	next := 0
	scattered := func(n int) (out []string) {
		for i := 0; len(out) < n && i < total; i++ {
			at := next * 7919 % total // prime: it comes round after all of them
			next++
			if ids[at] != "" {
				out, ids[at] = append(out, ids[at]), ""
			}
		}
		return out
	}
	erase := func(units []string, size int) {
		x := benchErasure(b, a, units)
		for first := 0; first < len(units); first += size {
			if err := x.chunk(ctx, units[first:min(first+size, len(units))]); err != nil {
				b.Fatal(err)
			}
		}
		if int(x.out.Destroyed) != len(units) || len(x.out.Kept) > 0 {
			b.Fatalf("%+v", x.out)
		}
		erased += len(units)
	}
	b.Run("one", func(b *testing.B) {
		var tCommit, tWrap, tErase, most time.Duration
		n := 0
		for b.Loop() {
			for range singles {
				one := scattered(1)
				x := benchErasure(b, a, one)
				began := time.Now()
				floor()
				committed := time.Now()
				rewraps(b)
				wrapped := time.Now()
				if err := x.chunk(ctx, one); err != nil {
					b.Fatal(err)
				}
				took := time.Since(wrapped)
				tCommit, tWrap, tErase, most = tCommit+committed.Sub(began), tWrap+wrapped.Sub(committed), tErase+took, max(most, took)
				n++
			}
		}
		ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
		b.ReportMetric(ms(tCommit)/float64(n), "ms-commit-floor")
		b.ReportMetric(ms(tWrap)/float64(n), "ms-wrap-floor")
		b.ReportMetric(ms(tErase)/float64(n), "ms-erasure")
		b.ReportMetric(ms(most), "ms-most")
		b.ReportMetric(0, "ns/op")
	})
	for _, size := range []int{executeChunk, erasureChunk} {
		b.Run(fmt.Sprintf("scattered/chunk=%d", size), func(b *testing.B) {
			for b.Loop() {
				units := scattered(*erasureBatch)
				if len(units) < *erasureBatch {
					b.Skip("too few are left")
				}
				var most uint64
				stop := peak(&most)
				began := time.Now()
				erase(units, size)
				took := time.Since(began)
				stop()
				b.ReportMetric(float64(len(units))/took.Seconds(), "units/s")
				b.ReportMetric(float64(most)/(1<<20), "MiB-heap")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
	b.Run("together", func(b *testing.B) {
		for b.Loop() {
			var units []string
			for i := range ids {
				if ids[i] != "" && len(units) < *erasureBatch {
					units, ids[i] = append(units, ids[i]), ""
				}
			}
			if len(units) < *erasureBatch {
				b.Skip("too few are left")
			}
			began := time.Now()
			erase(units, erasureChunk)
			b.ReportMetric(float64(len(units))/time.Since(began).Seconds(), "units/s")
		}
		b.ReportMetric(0, "ns/op")
	})
}

func erasingBench(b *testing.B) *Archive {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "archive")
	if _, err := Create(dir, New{}); err != nil {
		b.Fatal(err)
	}
	file := filepath.Join(dir, "sae.yaml")
	config, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, []byte(strings.Replace(string(config), "    accept-unknown:", gdprRoles, 1)), 0o600)
	}
	if err != nil {
		b.Fatal(err)
	}
	a, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { a.Close() })
	return a
}

// benchErasure is the execution of a decided erasure of units.
func benchErasure(b *testing.B, a *Archive, units []string) *execution {
	b.Helper()
	q := &Request{ID: newID(requestID), Tenant: a.config.Tenants[0].ID, Article: 17}
	list := make([]frozen, len(units))
	for i, id := range units {
		list[i] = frozen{unit: id, version: 1}
	}
	if err := a.freezeErasure(context.Background(), "dora", q, list); err != nil {
		b.Fatal(err)
	}
	e, err := a.Elimination(q.Erasure)
	if err != nil {
		b.Fatal(err)
	}
	x := a.execution("dave", e)
	err = a.cat.view(func(t *tx) error {
		_, err := x.find(t, func(string) (bool, error) { return false, nil })
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return x
}

// emptyCommits gives what commits a page to a database of its own.
func emptyCommits(b *testing.B) func() {
	b.Helper()
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "floor.db"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return func() {
		if err := db.Update(func(*bbolt.Tx) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// rewraps opens and wraps three times 256 keys.
func rewraps(b *testing.B) {
	b.Helper()
	var key, nonce [32]byte
	for range 3 {
		block, err := aes.NewCipher(key[:])
		if err != nil {
			b.Fatal(err)
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			b.Fatal(err)
		}
		for range 256 {
			sealed := gcm.Seal(nil, nonce[:12], key[:], nil)
			if _, err := gcm.Open(nil, nonce[:12], sealed, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
}
