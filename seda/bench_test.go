package seda

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// manifestOf writes the manifest of a transfer of n units in folders of 100, every
// other with a data object, as a business application would write it.
func manifestOf(w io.Writer, v Version, n int) {
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?>
<ArchiveTransfer xmlns=%q xmlns:xlink="http://www.w3.org/1999/xlink">
  <Date>2026-03-01T12:00:00Z</Date>
  <MessageIdentifier>bench</MessageIdentifier>
  <ArchivalAgreement>general</ArchivalAgreement>
  <CodeListVersions/>
  <DataObjectPackage>
`, v.Namespace())
	for i := 0; i < n; i += 2 {
		if i%100 == 0 {
			continue // a folder
		}
		fmt.Fprintf(w, `    <DataObjectGroup id="GOT%d">
      <BinaryDataObject id="BDO%d">
        <DataObjectVersion>BinaryMaster_1</DataObjectVersion>
        <Uri>Content/%d.txt</Uri>
        <MessageDigest algorithm="SHA-256">e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855</MessageDigest>
        <Size>1</Size>
        <FormatIdentification>
          <MimeType>text/plain</MimeType>
          <FormatId>x-fmt/111</FormatId>
        </FormatIdentification>
        <FileInfo>
          <Filename>Pièce n° %d.txt</Filename>
          <LastModified>2026-02-03T10:00:00Z</LastModified>
        </FileInfo>
      </BinaryDataObject>
    </DataObjectGroup>
`, i, i, i, i)
	}
	io.WriteString(w, "    <DescriptiveMetadata>\n")
	for i := range n {
		if i%100 == 0 {
			fmt.Fprintf(w, "      <ArchiveUnit id=\"AU%d\">\n        <Management>\n          <AppraisalRule>\n            <Rule>APP-%d</Rule>\n            <StartDate>2026-01-01</StartDate>\n            <FinalAction>Destroy</FinalAction>\n          </AppraisalRule>\n        </Management>\n        <Content>\n          <DescriptionLevel>RecordGrp</DescriptionLevel>\n          <Title>Dossier %d</Title>\n        </Content>\n", i, i%7, i)
			continue
		}
		fmt.Fprintf(w, `        <ArchiveUnit id="AU%d">
          <Content>
            <DescriptionLevel>Item</DescriptionLevel>
            <Title>Notification de décision n° %d</Title>
            <OriginatingAgencyArchiveUnitIdentifier>MDPH-2026-%d</OriginatingAgencyArchiveUnitIdentifier>
            <Description>Décision de la commission des droits et de l'autonomie, envoyée à l'usager &amp; à son représentant</Description>
            <DocumentType>Décision</DocumentType>
            <StartDate>2026-02-03</StartDate>
            <EndDate>2026-02-04</EndDate>
          </Content>
`, i, i, i)
		if i%2 == 0 {
			fmt.Fprintf(w, "          <DataObjectReference>\n            <DataObjectGroupReferenceId>GOT%d</DataObjectGroupReferenceId>\n          </DataObjectReference>\n", i)
		}
		io.WriteString(w, "        </ArchiveUnit>\n")
		if i%100 == 99 || i == n-1 {
			io.WriteString(w, "      </ArchiveUnit>\n")
		}
	}
	io.WriteString(w, `    </DescriptiveMetadata>
    <ManagementMetadata>
      <OriginatingAgencyIdentifier>MDPH</OriginatingAgencyIdentifier>
    </ManagementMetadata>
  </DataObjectPackage>
  <ArchivalAgency>
    <Identifier>AD99</Identifier>
  </ArchivalAgency>
  <TransferringAgency>
    <Identifier>DSI</Identifier>
  </TransferringAgency>
</ArchiveTransfer>
`)
}

// xmlTransfer is what a program without a model of its own would decode a manifest into.
type xmlTransfer struct {
	Identifier string `xml:"MessageIdentifier"`
	Groups     []struct {
		ID      string `xml:"id,attr"`
		Objects []struct {
			ID       string `xml:"id,attr"`
			Usage    string `xml:"DataObjectVersion"`
			URI      string `xml:"Uri"`
			Digest   string `xml:"MessageDigest"`
			Size     int64  `xml:"Size"`
			Format   string `xml:"FormatIdentification>FormatId"`
			Filename string `xml:"FileInfo>Filename"`
		} `xml:"BinaryDataObject"`
	} `xml:"DataObjectPackage>DataObjectGroup"`
	Units []xmlUnit `xml:"DataObjectPackage>DescriptiveMetadata>ArchiveUnit"`
}

type xmlUnit struct {
	ID          string    `xml:"id,attr"`
	Rules       []string  `xml:"Management>AppraisalRule>Rule"`
	Level       string    `xml:"Content>DescriptionLevel"`
	Title       string    `xml:"Content>Title"`
	Identifier  string    `xml:"Content>OriginatingAgencyArchiveUnitIdentifier"`
	Description string    `xml:"Content>Description"`
	Type        string    `xml:"Content>DocumentType"`
	Start       string    `xml:"Content>StartDate"`
	End         string    `xml:"Content>EndDate"`
	Group       string    `xml:"DataObjectReference>DataObjectGroupReferenceId"`
	Units       []xmlUnit `xml:"ArchiveUnit"`
}

// BenchmarkCheck reads, validates and checks manifests, and in turn decodes the same bytes
// by encoding/xml: the floor. ns/unit and B/unit are to be flat.
func BenchmarkCheck(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000, 300_000} {
		b.Run(fmt.Sprintf("units=%d", n), func(b *testing.B) {
			var doc bytes.Buffer
			manifestOf(&doc, V22, n)
			b.SetBytes(int64(doc.Len()))
			var ours, theirs time.Duration
			var heap uint64
			for b.Loop() {
				runtime.GC()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := time.Now()
				var fs Findings
				c, err := checkManifest(bytes.NewReader(doc.Bytes()), Options{}, &fs)
				ours += time.Since(start)
				if err != nil || fs.Refused() || c.counts.Units != n {
					b.Fatal(err, fs.Errors, c.counts)
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				heap = after.HeapAlloc - min(before.HeapAlloc, after.HeapAlloc)
				runtime.KeepAlive(c)
				b.StopTimer()
				start = time.Now()
				var x xmlTransfer
				if err := xml.Unmarshal(doc.Bytes(), &x); err != nil {
					b.Fatal(err)
				}
				theirs += time.Since(start)
				b.StartTimer()
			}
			b.ReportMetric(float64(ours.Nanoseconds())/float64(b.N*n), "ns/unit")
			b.ReportMetric(float64(heap)/float64(n), "B-kept/unit")
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "x-encoding/xml")
		})
	}
}

// BenchmarkXmllint holds the same against libxml2 with the official schema, whole
// processes both: xmllint --schema, xmllint --stream --schema, and sae seda check's work.
func BenchmarkXmllint(b *testing.B) {
	needSamples(b)
	lint, err := exec.LookPath("xmllint")
	if err != nil {
		b.Skip("xmllint is missing: install libxml2-utils")
	}
	file := filepath.Join(b.TempDir(), "manifest.xml")
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	manifestOf(f, V22, 100_000)
	f.Close()
	schemas, _ := filepath.Abs(filepath.Join(samples, "xsd"))
	for name, args := range map[string][]string{
		"tree":   {"--noout", "--nonet", "--huge", "--schema", filepath.Join(schemas, "2.2", "seda-2.2-main.xsd"), file},
		"stream": {"--stream", "--noout", "--nonet", "--huge", "--schema", filepath.Join(schemas, "2.2", "seda-2.2-main.xsd"), file},
	} {
		b.Run(name, func(b *testing.B) {
			var ours, theirs time.Duration
			for b.Loop() {
				start := time.Now()
				cmd := exec.Command(lint, args...)
				cmd.Env = append(os.Environ(), "XML_CATALOG_FILES="+filepath.Join(schemas, "catalog.xml"))
				if out, err := cmd.CombinedOutput(); err != nil {
					b.Fatalf("%v: %s", err, out)
				}
				theirs += time.Since(start)
				start = time.Now()
				r, err := os.Open(file)
				if err != nil {
					b.Fatal(err)
				}
				var fs Findings
				if _, err := checkManifest(r, Options{}, &fs); err != nil || fs.Refused() {
					b.Fatal(err, fs.Errors)
				}
				r.Close()
				ours += time.Since(start)
			}
			b.ReportMetric(theirs.Seconds()/ours.Seconds(), "x-xmllint")
		})
	}
}
