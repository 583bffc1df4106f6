package archive

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// writeTransfer writes a package of a transfer of n units in folders of 100, every tenth
// with a file, as a business application would make it.
func writeTransfer(t testing.TB, path string, n int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	hasFile := func(i int) bool { return i%10 == 1 }
	content := func(i int) string { return fmt.Sprintf("Pièce numéro %d\n", i) }
	for i := range n {
		if hasFile(i) {
			w, _ := z.Create(fmt.Sprintf("Content/%d.txt", i))
			io.WriteString(w, content(i))
		}
	}
	w, _ := z.Create("manifest.xml")
	io.WriteString(w, `<?xml version="1.0" encoding="UTF-8"?>
<ArchiveTransfer xmlns="fr:gouv:culture:archivesdefrance:seda:v2.2"><Date>2026-03-01T12:00:00Z</Date><MessageIdentifier>large</MessageIdentifier><ArchivalAgreement>general</ArchivalAgreement><CodeListVersions/><DataObjectPackage>
`)
	for i := range n {
		if hasFile(i) {
			c := content(i)
			fmt.Fprintf(w, `<DataObjectGroup id="GOT%d"><BinaryDataObject id="BDO%d"><DataObjectVersion>BinaryMaster_1</DataObjectVersion><Uri>Content/%d.txt</Uri><MessageDigest algorithm="SHA-256">%x</MessageDigest><Size>%d</Size><FormatIdentification><FormatId>x-fmt/111</FormatId></FormatIdentification><FileInfo><Filename>Pièce n° %d.txt</Filename></FileInfo></BinaryDataObject></DataObjectGroup>
`, i, i, i, sha256.Sum256([]byte(c)), len(c), i)
		}
	}
	io.WriteString(w, "<DescriptiveMetadata>\n")
	for i := range n {
		if i%100 == 0 {
			fmt.Fprintf(w, `<ArchiveUnit id="AU%d"><Content><DescriptionLevel>RecordGrp</DescriptionLevel><Title>Dossier %d</Title></Content>
`, i, i)
			continue
		}
		fmt.Fprintf(w, `<ArchiveUnit id="AU%d"><Content><DescriptionLevel>Item</DescriptionLevel><Title>Notification de décision n° %d</Title><OriginatingAgencyArchiveUnitIdentifier>MDPH-2026-%d</OriginatingAgencyArchiveUnitIdentifier><Description>Décision de la commission des droits et de l'autonomie, envoyée à l'usager &amp; à son représentant</Description><DocumentType>Décision</DocumentType><StartDate>2026-02-03</StartDate></Content>`, i, i, i)
		if hasFile(i) {
			fmt.Fprintf(w, "<DataObjectReference><DataObjectGroupReferenceId>GOT%d</DataObjectGroupReferenceId></DataObjectReference>", i)
		}
		io.WriteString(w, "</ArchiveUnit>\n")
		if i%100 == 99 || i == n-1 {
			io.WriteString(w, "</ArchiveUnit>\n")
		}
	}
	io.WriteString(w, `</DescriptiveMetadata><ManagementMetadata><OriginatingAgencyIdentifier>MDPH</OriginatingAgencyIdentifier></ManagementMetadata></DataObjectPackage><ArchivalAgency><Identifier>AD99</Identifier></ArchivalAgency><TransferringAgency><Identifier>DSI</Identifier></TransferringAgency></ArchiveTransfer>
`)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkTransfer deposits transfers: time and memory per unit are to be flat, and the
// memory of the largest bounded.
func BenchmarkTransfer(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000, 300_000} {
		b.Run(fmt.Sprintf("units=%d", n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "sip.zip")
			writeTransfer(b, path, n)
			var most uint64
			for b.Loop() {
				b.StopTimer()
				a := accepting(b)
				p := openTransfer(b, path)
				if _, err := a.Deposit(context.Background(), "bench", Deposit{Units: []NewUnit{smallUnit()}}); err != nil { // loads PRONOM
					b.Fatal(err)
				}
				stop := peak(&most)
				b.StartTimer()
				out, err := a.DepositTransfer(context.Background(), "bench", Transfer{Package: p})
				if err != nil || out.Counts.Units != n {
					b.Fatal(err)
				}
				stop()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/unit")
			b.ReportMetric(float64(most)/(1<<20), "MiB-heap")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// peak watches the heap until stop is called.
func peak(most *uint64) (stop func()) {
	var done atomic.Bool
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !done.Load() {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			*most = max(*most, m.HeapInuse)
			time.Sleep(50 * time.Millisecond)
		}
	}()
	return func() { done.Store(true); <-ended }
}

// BenchmarkRebuild makes a catalogue again from an offer; ms/1000-units is to be flat.
func BenchmarkRebuild(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("units=%d", n), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "sip.zip")
			writeTransfer(b, path, n)
			a := accepting(b)
			if _, err := a.DepositTransfer(context.Background(), "bench", Transfer{Package: openTransfer(b, path)}); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				from := RebuildFrom{Dir: filepath.Join(b.TempDir(), "new"), Path: a.config.Offers[0].Path, Root: a.config.Slots.Root}
				if r, err := Rebuild(context.Background(), from); err != nil || r.Units != int64(n) {
					b.Fatal(err)
				}
				b.StopTimer()
				os.RemoveAll(from.Dir)
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N)/float64(n)*1000, "ms/1000-units")
			b.ReportMetric(0, "ns/op")
		})
	}
}
