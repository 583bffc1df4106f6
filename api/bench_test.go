package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sae/archive"
	"sae/archive/serving"
)

const benchClients = 64

// largeUpload is how much a large upload of the benchmarks brings, in MiB.
var largeUpload = flag.Int64("bench.large", 256, "MiB of a large upload in benchmarks")

func benchServed(b *testing.B) (*served, *http.Client) {
	s := serve(b, func(c *serving.Config) { c.Limits.Rate = 1 << 30 })
	t := s.c.Transport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost, t.ForceAttemptHTTP2 = benchClients, false
	t.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	return s, &http.Client{Transport: t}
}

// compared does the same thing within the process and over TLS in turn, so that both have the same disk
// and the same neighbours, and tells how fast each is and the ratio of the medians.
func compared(b *testing.B, unit string, amount float64, inProcess, overTLS func() error) {
	b.Helper()
	var took [2][]float64
	for b.Loop() {
		for i, do := range []func() error{inProcess, overTLS} {
			began := time.Now()
			if err := do(); err != nil {
				b.Fatal(err)
			}
			took[i] = append(took[i], time.Since(began).Seconds())
		}
	}
	var median [2]float64
	for i := range took {
		slices.Sort(took[i])
		median[i] = took[i][len(took[i])/2]
	}
	b.ReportMetric(amount/median[0], "in-process-"+unit)
	b.ReportMetric(amount/median[1], "tls-"+unit)
	b.ReportMetric(100*median[0]/median[1], "%ratio")
}

// small10KB has clients deposit 10 KB each, this many in all.
const small10KB = 1500

// together does something for each of the clients at the same time, so often in all.
func together(n int64, one func(n int64) error) error {
	var next atomic.Int64
	errs := make(chan error, benchClients)
	var wg sync.WaitGroup
	for range benchClients {
		wg.Go(func() {
			for i := next.Add(1); i <= n; i = next.Add(1) {
				if err := one(i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// BenchmarkDeposit10KB compares deposits of 64 clients.
func BenchmarkDeposit10KB(b *testing.B) {
	s, c := benchServed(b)
	key := s.key("cd99", archive.Depositor)
	content := noise[:10<<10]
	ct, body := form(part{"metadata", oneFile, nil}, part{"f", string(content), nil})
	var once atomic.Int64
	compared(b, "deposits/s", small10KB, func() error {
		return together(small10KB, func(int64) error {
			_, err := s.a.Deposit(context.Background(), "depositor", archive.Deposit{Tenant: "cd99", Units: []archive.NewUnit{{Parent: -1, Title: "Demande", Channel: archive.Digital,
				Content: &archive.Content{Filename: "f.bin", Size: int64(len(content)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}}}})
			return err
		})
	}, func() error {
		return together(small10KB, func(int64) error { return uploadBody(s, c, key, ct, bytes.NewReader(body.Bytes()), once.Add(1)) })
	})
}

// upload deposits a form.
func uploadBody(s *served, c *http.Client, key, contentType string, body io.Reader, once int64) error {
	r, err := http.NewRequest("POST", s.ts.URL+"/v1/deposits", body)
	if err != nil {
		return err
	}
	r.Header = http.Header{"Authorization": {"Bearer " + key}, "Content-Type": {contentType}, "Idempotency-Key": {fmt.Sprint("bench", once)}}
	resp, err := c.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if io.Copy(io.Discard, resp.Body); resp.StatusCode != http.StatusCreated {
		return errors.New(resp.Status)
	}
	return nil
}

// random gives bytes that are different each megabyte.
type random struct{ left int64 }

var noise = func() []byte { b := make([]byte, 1<<20); rand.Read(b); return b }()

func (r *random) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), r.left)], noise[r.left%(1<<19):])
	r.left -= int64(n)
	return n, nil
}

// BenchmarkLarge compares one large upload.
func BenchmarkLarge(b *testing.B) {
	s, c := benchServed(b)
	key := s.key("cd99", archive.Depositor)
	size := *largeUpload << 20
	ct, body := form(part{"metadata", oneFile, nil}, part{"f", "", nil})
	end := bytes.LastIndex(body.Bytes(), []byte("\r\n--"))
	n := int64(0)
	compared(b, "MB/s", float64(size)/1e6, func() error {
		_, err := s.a.Deposit(context.Background(), "depositor", archive.Deposit{Tenant: "cd99", Units: []archive.NewUnit{{Parent: -1, Title: "Film", Channel: archive.Digital,
			Content: &archive.Content{Filename: "f.bin", Size: -1, Open: func() (io.ReadCloser, error) { return io.NopCloser(&random{size}), nil }}}}})
		return err
	}, func() error {
		n++
		return uploadBody(s, c, key, ct, io.MultiReader(bytes.NewReader(body.Bytes()[:end]), &random{size}, bytes.NewReader(body.Bytes()[end:])), n)
	})
}

// BenchmarkReadUnderLoad reads a unit while clients deposit, and tells how long half, and 99 of 100, took.
func BenchmarkReadUnderLoad(b *testing.B) {
	s, c := benchServed(b)
	dep, aud := s.key("cd99", archive.Depositor), s.key("cd99", archive.Auditor)
	unit := s.deposited(dep, "read", "x").Units[0].ID
	ct, body := form(part{"metadata", oneFile, nil}, part{"f", string(noise[:10<<10]), nil})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var n atomic.Int64
	for range benchClients - 1 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, _ := http.NewRequest("POST", s.ts.URL+"/v1/deposits", bytes.NewReader(body.Bytes()))
				r.Header = http.Header{"Authorization": {"Bearer " + dep}, "Content-Type": {ct}, "Idempotency-Key": {fmt.Sprint("load", n.Add(1))}}
				resp, err := c.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		if r := s.ask(aud, "GET", "/v1/units/"+unit, nil); r.StatusCode != 200 {
			b.Fatal(r.Status)
		}
		took = append(took, time.Since(began))
	}
	close(stop)
	wg.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// hugeUpload is what is uploaded by tus.
const hugeUpload = 1 << 30

// BenchmarkUploadInProcess archives as much as BenchmarkUploadOverTLS uploads.
func BenchmarkUploadInProcess(b *testing.B) {
	s, _ := benchServed(b)
	b.SetBytes(hugeUpload)
	for b.Loop() {
		_, err := s.a.Deposit(context.Background(), "depositor", archive.Deposit{Tenant: "cd99", Units: []archive.NewUnit{{Parent: -1, Title: "Film", Channel: archive.Digital,
			Content: &archive.Content{Filename: "f.bin", Size: -1, Open: func() (io.ReadCloser, error) { return io.NopCloser(&random{hugeUpload}), nil }}}}})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUploadOverTLS uploads by tus, in one request, until all of it is durable. Working it off is
// not its time, but is waited for.
func BenchmarkUploadOverTLS(b *testing.B) {
	s, c := benchServed(b)
	key := s.key("cd99", archive.Depositor)
	ct, body := form(part{"metadata", oneFile, nil}, part{"f", "", nil})
	end := bytes.LastIndex(body.Bytes(), []byte("\r\n--"))
	size := hugeUpload + int64(body.Len())
	n := 0
	b.SetBytes(hugeUpload)
	for b.Loop() {
		n++
		created := s.createUpload(key, fmt.Sprint(n), int(size), asDeposit(ct))
		whole := io.MultiReader(bytes.NewReader(body.Bytes()[:end]), &random{hugeUpload}, bytes.NewReader(body.Bytes()[end:]))
		r, err := http.NewRequest("PATCH", s.ts.URL+created.Header.Get("Location"), whole)
		if err != nil {
			b.Fatal(err)
		}
		r.ContentLength = size
		r.Header = http.Header{"Authorization": {"Bearer " + key}, "Tus-Resumable": {tusVersion}, "Content-Type": {tusMedia}, "Upload-Offset": {"0"}}
		resp, err := c.Do(r)
		if err != nil {
			b.Fatal(err)
		}
		if io.Copy(io.Discard, resp.Body); resp.StatusCode != 204 {
			b.Fatal(resp.Status)
		}
		resp.Body.Close()
		b.StopTimer()
		if o := s.ended(key, resp.Header.Get("Operation-Location")); o.Status != archive.JobArchived {
			b.Fatalf("%+v", o)
		}
		b.StartTimer()
	}
}
