package bundle

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/url"
	"strings"
)

// dataObject is a member that an evidence record covers, with its SHA-256.
type dataObject struct {
	name   string
	digest []byte
}

// manifest is the ASiCEvidenceRecordManifest (ETSI EN 319 162-1 annex A.4) that
// ties an evidence record to the members it covers.
func manifest(record string, objects ...dataObject) []byte {
	var b bytes.Buffer
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<asic:ASiCManifest xmlns:asic="http://uri.etsi.org/02918/v1.2.1#" xmlns:ds="http://www.w3.org/2000/09/xmldsig#">` + "\n")
	fmt.Fprintf(&b, `  <asic:SigReference URI="%s" MimeType="application/octet-stream"/>`+"\n", uri(record))
	for _, o := range objects {
		fmt.Fprintf(&b, `  <asic:DataObjectReference URI="%s">`+"\n", uri(o.name))
		b.WriteString(`    <ds:DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/>` + "\n")
		fmt.Fprintf(&b, "    <ds:DigestValue>%s</ds:DigestValue>\n", base64.StdEncoding.EncodeToString(o.digest))
		b.WriteString("  </asic:DataObjectReference>\n")
	}
	b.WriteString("</asic:ASiCManifest>\n")
	return b.Bytes()
}

// uri is a member's name as a relative reference, escaped for an XML attribute.
func uri(name string) string {
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(strings.Join(parts, "/"))); err != nil {
		panic(err) // a strings.Builder takes every byte
	}
	return b.String()
}
