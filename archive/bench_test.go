package archive

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"sae/archive/durable"
	"sae/archive/stream"
	"sae/integrity"
)

// Every benchmark measures its floor in the same run, in turn with what it
// measures, and reports the ratio: on another machine the ratio holds, the
// seconds do not.

// versus runs floor and work in turn for every iteration and reports the time of
// each and their ratio.
func versus(b *testing.B, units float64, unit string, floor, work func()) {
	var tFloor, tWork time.Duration
	for b.Loop() {
		start := time.Now()
		floor()
		middle := time.Now()
		work()
		tFloor += middle.Sub(start)
		tWork += time.Since(middle)
	}
	n := float64(b.N) * units
	b.ReportMetric(n/tFloor.Seconds(), unit+"/s-floor")
	b.ReportMetric(n/tWork.Seconds(), unit+"/s")
	b.ReportMetric(tWork.Seconds()/tFloor.Seconds(), "x-floor")
	b.ReportMetric(0, "ns/op")
}

func benchArchive(b *testing.B, offers int) *Archive {
	b.Helper()
	dir := filepath.Join(b.TempDir(), "archive")
	if _, err := Create(dir, New{}); err != nil {
		b.Fatal(err)
	}
	if offers == 1 {
		path := filepath.Join(dir, ConfigName)
		text, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		s := strings.Replace(string(text), "  - name: second\n    path: offers/second\n", "", 1)
		s = strings.Replace(s, "copies: 2", "copies: 1", 1)
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	a, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { a.Close() })
	return a
}

// BenchmarkLedgerCommit: 64 clients add entries, against a bare bbolt group commit
// of the same bytes into one bucket.
func BenchmarkLedgerCommit(b *testing.B) {
	const clients, each = 64, 50
	a := benchArchive(b, 1)
	entry := integrity.Entry{Kind: integrity.Deposit, Tenant: "archives", Agent: agentID(a.indexKey, "bench"), Agreement: "general"}
	floor := newBareLog(b)
	size := 300 // bytes that one entry puts into the catalogue: itself, two hashes, their keys
	versus(b, clients*each, "entries", func() {
		floor.run(clients, each, size)
	}, func() {
		concurrently(clients, func(int) {
			for range each {
				if _, _, err := a.commit(context.Background(), &operation{id: newID(opID), entry: entry}); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func concurrently(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// bareLog is a group commit with nothing but bbolt: what is queued shares a
// transaction.
type bareLog struct {
	b     *testing.B
	db    *bbolt.DB
	queue chan bareAdd
	next  uint64
}

type bareAdd struct {
	data []byte
	done chan error
}

func newBareLog(b *testing.B) *bareLog {
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "bare.db"), 0o600, &bbolt.Options{FreelistType: bbolt.FreelistMapType, NoStatistics: true})
	if err != nil {
		b.Fatal(err)
	}
	l := &bareLog{b: b, db: db, queue: make(chan bareAdd, maxGroup)}
	if err := db.Update(func(t *bbolt.Tx) error { _, err := t.CreateBucket([]byte("log")); return err }); err != nil {
		b.Fatal(err)
	}
	go l.committer()
	b.Cleanup(func() { close(l.queue); db.Close() })
	return l
}

func (l *bareLog) committer() {
	for first := range l.queue {
		group := []bareAdd{first}
	gather:
		for len(group) < maxGroup {
			select {
			case add, ok := <-l.queue:
				if !ok {
					break gather
				}
				group = append(group, add)
			default:
				break gather
			}
		}
		err := l.db.Update(func(t *bbolt.Tx) error {
			bk := t.Bucket([]byte("log"))
			bk.FillPercent = 1
			for _, add := range group {
				l.next++
				if err := bk.Put(be64(l.next), add.data); err != nil {
					return err
				}
			}
			return nil
		})
		for _, add := range group {
			add.done <- err
		}
	}
}

func (l *bareLog) run(clients, each, size int) {
	concurrently(clients, func(int) {
		data := make([]byte, size)
		rand.Read(data)
		for range each {
			add := bareAdd{data, make(chan error, 1)}
			l.queue <- add
			if err := <-add.done; err != nil {
				l.b.Error(err)
			}
		}
	})
}

const smallSize = 10_000

// BenchmarkDepositBatch: one deposit of 1,000 documents of 10 KB, against writing
// the same bytes to as many files with one syncfs.
func BenchmarkDepositBatch(b *testing.B) {
	const batch = 1000
	for _, offers := range []int{1, 2} {
		b.Run(fmt.Sprintf("offers=%d", offers), func(b *testing.B) {
			a := benchArchive(b, offers)
			floor := &fileFloor{b: b, dir: b.TempDir()}
			versus(b, batch, "docs", func() { floor.write(batch, offers) }, func() {
				d := Deposit{}
				for range batch {
					d.Units = append(d.Units, smallUnit())
				}
				if _, err := a.Deposit(context.Background(), "bench", d); err != nil {
					b.Fatal(err)
				}
			})
		})
	}
}

// BenchmarkDepositConcurrent: 16 clients deposit one document of 10 KB at a time,
// against writing the same bytes to as many files with one syncfs for every 16.
func BenchmarkDepositConcurrent(b *testing.B) {
	const clients, each = 16, 20
	for _, offers := range []int{1, 2} {
		b.Run(fmt.Sprintf("offers=%d", offers), func(b *testing.B) {
			a := benchArchive(b, offers)
			floor := &fileFloor{b: b, dir: b.TempDir()}
			versus(b, clients*each, "docs", func() {
				for range each {
					floor.write(clients, offers)
				}
			}, func() {
				concurrently(clients, func(int) {
					for range each {
						if _, err := a.Deposit(context.Background(), "bench", Deposit{Units: []NewUnit{smallUnit()}}); err != nil {
							b.Error(err)
						}
					}
				})
			})
		})
	}
}

// smallUnit is a text document, as most are: bytes that PRONOM has to look at.
func smallUnit() NewUnit {
	content := smallContent()
	return NewUnit{Parent: -1, Title: "Courrier", Subject: "MDPH-2026-00001", Channel: Digital, Content: &Content{
		Filename: "courrier.pdf", Size: int64(len(content)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}}
}

func smallContent() []byte {
	content := append([]byte("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"), make([]byte, smallSize)...)
	rand.Read(content[15:])
	return append(content[:smallSize-6], "%%EOF\n"...)
}

// fileFloor writes files and does nothing else.
type fileFloor struct {
	b   *testing.B
	dir string
	n   int
}

func (f *fileFloor) write(files, copies int) {
	for range files {
		content := smallContent()
		for range copies {
			f.n++
			dir := filepath.Join(f.dir, fmt.Sprint(f.n/1000))
			if _, err := os.Lstat(dir); err != nil {
				if err := os.MkdirAll(dir, 0o700); err != nil {
					f.b.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(f.n)), content, 0o600); err != nil {
				f.b.Fatal(err)
			}
		}
	}
	if err := (durable.FS{}).SyncFS(f.dir); err != nil {
		f.b.Fatal(err)
	}
}

const bigSize = 1 << 30

// zeroes is content of any length without a source to wait for.
type pattern struct {
	left  int64
	block []byte
}

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := int64(copy(b, p.block))
	n = min(n, p.left)
	p.left -= n
	return int(n), nil
}

func newPattern(size int64) *pattern {
	block := make([]byte, 256<<10)
	rand.Read(block)
	return &pattern{size, block}
}

// BenchmarkDepositBig: one file of 1 GiB on disk, against one pass of SHA-256 and
// the same encipherment over it in memory, on one core. Peak resident memory is
// reported for the whole process.
func BenchmarkDepositBig(b *testing.B) {
	for _, offers := range []int{1, 2} {
		b.Run(fmt.Sprintf("offers=%d", offers), func(b *testing.B) {
			file := filepath.Join(b.TempDir(), "big.bin")
			f, err := os.Create(file)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(f, newPattern(bigSize)); err != nil {
				b.Fatal(err)
			}
			if err := f.Close(); err != nil {
				b.Fatal(err)
			}
			a := benchArchive(b, offers)
			versus(b, bigSize/1e6, "MB", func() { hashAndEncipher(b, bigSize) }, func() {
				open := func() (io.ReadCloser, error) { return os.Open(file) }
				d := Deposit{Units: []NewUnit{{Parent: -1, Title: "Grand fichier", Channel: Digital,
					Content: &Content{Filename: "big.bin", Size: bigSize, Open: open}}}}
				if _, err := a.Deposit(context.Background(), "bench", d); err != nil {
					b.Fatal(err)
				}
			})
			var u unix.Rusage
			if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err == nil {
				b.ReportMetric(float64(u.Maxrss)/1024, "MiB-peak")
			}
		})
	}
}

func hashAndEncipher(b *testing.B, size int64) {
	sum := sha256.New()
	w, err := stream.NewWriter(io.Discard, newKey(), streamAD)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.CopyBuffer(io.MultiWriter(sum, w), newPattern(size), make([]byte, 256<<10)); err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkAudit: all copies of an archive re-read, against deciphering and hashing
// as many bytes in memory on all cores.
func BenchmarkAudit(b *testing.B) {
	const files, size = 64, 4 << 20
	a := benchArchive(b, 1)
	d := Deposit{}
	for range files {
		d.Units = append(d.Units, NewUnit{Parent: -1, Title: "x", Channel: Digital, Content: &Content{Filename: "x.bin", Size: size,
			Open: func() (io.ReadCloser, error) { return io.NopCloser(newPattern(size)), nil }}})
	}
	if _, err := a.Deposit(context.Background(), "bench", d); err != nil {
		b.Fatal(err)
	}
	if _, err := a.Seal(context.Background(), "bench"); err != nil {
		b.Fatal(err)
	}
	key := newKey()
	var cipher bytes.Buffer
	if err := encipher(&cipher, key, newPattern(size)); err != nil {
		b.Fatal(err)
	}
	versus(b, files*size/1e6, "MB", func() {
		work := make(chan int, files)
		for i := range files {
			work <- i
		}
		close(work)
		concurrently(runtime.GOMAXPROCS(0), func(int) {
			for range work {
				decipherAndHash(b, key, cipher.Bytes())
			}
		})
	}, func() {
		r, err := a.Audit(context.Background(), "bench", AuditOptions{Sample: 1})
		if err != nil || !r.Sound() {
			b.Fatal(err, r)
		}
	})
}

func decipherAndHash(b *testing.B, key [32]byte, cipher []byte) {
	r, err := stream.NewReader(key, streamAD, stream.Source{ReaderAt: bytes.NewReader(cipher), Size: int64(len(cipher))})
	if err != nil {
		b.Error(err)
		return
	}
	if _, err := io.CopyBuffer(sha256.New(), onlyReader{r}, make([]byte, 256<<10)); err != nil {
		b.Error(err)
	}
}

// BenchmarkOpen: opening recomputes the whole ledger; this is what an entry costs.
func BenchmarkOpen(b *testing.B) {
	a := benchArchive(b, 1)
	entry := integrity.Entry{Kind: integrity.Deposit, Tenant: "archives", Agent: agentID(a.indexKey, "bench"), Agreement: "general"}
	const entries = 20_000
	concurrently(512, func(int) {
		for range entries / 512 {
			if _, _, err := a.commit(context.Background(), &operation{id: newID(opID), entry: entry}); err != nil {
				b.Error(err)
			}
		}
	})
	b.ResetTimer()
	for b.Loop() {
		if _, err := a.VerifyLedger(false); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(entries)*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
