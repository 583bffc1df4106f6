package tsp

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

func embeddedTokens(der []byte) (out [][]byte) {
	s := cryptobyte.String(der)
	for !s.Empty() {
		var e, body cryptobyte.String
		var tag cbasn1.Tag
		if !s.ReadAnyASN1Element(&e, &tag) || tag&0x20 == 0 {
			continue
		}
		if isContentInfo(e) {
			out = append(out, e)
			continue
		}
		inner := e
		if inner.ReadAnyASN1(&body, &tag) {
			out = append(out, embeddedTokens(body)...)
		}
	}
	return out
}

func isContentInfo(e cryptobyte.String) bool {
	var body cryptobyte.String
	var id = oidSignedData
	return e.ReadASN1(&body, cbasn1.SEQUENCE) && body.ReadASN1ObjectIdentifier(&id) && id.Equal(oidSignedData)
}

func TestExplore(t *testing.T) {
	files, _ := filepath.Glob("../../../shared/ers/*.*r*")
	for _, f := range files {
		b, _ := os.ReadFile(f)
		for i, tok := range embeddedTokens(b) {
			os.WriteFile(fmt.Sprintf("/tmp/tok-%s-%d.der", filepath.Base(f), i), tok, 0o644)
			tk, err := Parse(tok)
			fmt.Println("==", filepath.Base(f), i, len(tok), err)
			if err != nil {
				continue
			}
			fmt.Println(tk.Time, tk.Accuracy, tk.Policy, tk.Hash, len(tk.Certificates), len(tk.CRLs), len(tk.OCSP), tk.opaque)
			for _, c := range tk.Verify(Expect{Hash: tk.Hash, Imprint: tk.Imprint}) {
				fmt.Println("  ", c.Name, "|", c.Status, "|", c.Detail)
			}
		}
	}
}
