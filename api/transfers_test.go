package api

import (
	"archive/zip"
	"bytes"
	"fmt"
	"strings"
	"testing"

	"sae/archive"
)

// sip is a SEDA transfer of one unit with one file.
func sip(t *testing.T, agreement string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	write := func(name, content string) {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write([]byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("content/a.txt", "abc")
	write("manifest.xml", `<?xml version="1.0"?><ArchiveTransfer xmlns="fr:gouv:culture:archivesdefrance:seda:v2.2"><Date>2026-01-01T00:00:00Z</Date><MessageIdentifier>m</MessageIdentifier>
<ArchivalAgreement>`+agreement+`</ArchivalAgreement><CodeListVersions/><DataObjectPackage><BinaryDataObject id="o"><Uri>content/a.txt</Uri><MessageDigest algorithm="SHA-256">ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad</MessageDigest><Size>3</Size></BinaryDataObject><DescriptiveMetadata>
<ArchiveUnit id="u"><Content><Title>Dossier de Mme Martin</Title></Content>
<DataObjectReference><DataObjectReferenceId>o</DataObjectReferenceId></DataObjectReference></ArchiveUnit></DescriptiveMetadata><ManagementMetadata><OriginatingAgencyIdentifier>MDPH</OriginatingAgencyIdentifier></ManagementMetadata></DataObjectPackage>
<ArchivalAgency><Identifier>cd99</Identifier></ArchivalAgency><TransferringAgency><Identifier>T</Identifier></TransferringAgency></ArchiveTransfer>`)
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func TestTransfer(t *testing.T) {
	s := serve(t, nil)
	key := s.key("cd99", archive.Depositor)
	body := sip(t, "default").Bytes()
	put := func(once string, body []byte, headers ...string) *reply {
		return s.ask(key, "PUT", "/v1/transfers/sip.zip", bytes.NewReader(body), append([]string{"Content-Type", "application/zip", "Idempotency-Key", once}, headers...)...)
	}
	if r := put("0", body, "Repr-Digest", digestOf([]byte("x"))); r.StatusCode != 400 || r.problem(t).Code != "digest-mismatch" {
		t.Errorf("%s %s", r.Status, r.body)
	}
	first := put("1", body, "Repr-Digest", digestOf(body))
	if first.StatusCode != 201 || !bytes.Contains(first.body, []byte("<SystemId>u")) || first.Header.Get("Content-Type") != "application/xml" || first.Header.Get("Repr-Digest") != digestOf(first.body) {
		t.Fatalf("%s %s\n%s", first.Status, first.body, s.log)
	}
	again := put("1", body)
	if again.StatusCode != 201 || !bytes.Equal(again.body, first.body) || again.Header.Get("Idempotency-Replayed") != "true" || again.Header.Get("Location") != first.Header.Get("Location") {
		t.Errorf("%s %v %s", again.Status, again.Header, again.body)
	}
	if p := put("1", sip(t, "other").Bytes()).problem(t); p.Code != "key-reused" {
		t.Errorf("%+v", p)
	}
	d := decode[Deposited](t, s.ask(key, "GET", first.Header.Get("Location"), nil).body)
	if len(d.Units) != 1 || d.Units[0].Title != "Dossier de Mme Martin" {
		t.Errorf("%+v", d)
	}
	if n := s.units("cd99"); n != 1 {
		t.Errorf("%d units", n)
	}
	bad := put("2", sip(t, "nowhere").Bytes())
	if bad.StatusCode != 422 || !strings.Contains(string(bad.body), "<ReplyCode>KO</ReplyCode>") || !strings.Contains(string(bad.body), "AGREEMENT_UNKNOWN") {
		t.Errorf("%s %s", bad.Status, bad.body)
	}
	for i, b := range [][]byte{nil, []byte("x"), body[:len(body)/2], []byte("PK\x03\x04")} {
		if r := put(fmt.Sprint("b", i), b); r.StatusCode != 422 {
			t.Errorf("%q: %s %s", b, r.Status, r.body)
		}
	}
	if n := s.units("cd99"); n != 1 {
		t.Errorf("%d units after refusals", n)
	}
}
