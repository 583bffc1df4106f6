package bundle

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/pem"
	"fmt"
	"io"
	"time"

	"sae/integrity"
	"sae/integrity/tsp"
)

//go:embed verify.sh
var verifyScript []byte

//go:embed README.txt
var readme []byte

//go:embed LISEZMOI.txt
var lisezmoi []byte

// Write writes a bundle. Its bytes depend on nothing but b: the times in the zip
// are that of the last token. It refuses what Verify would not read: names, sizes
// and numbers out of bounds. What the proofs say is the caller's: Write does not
// verify them.
func Write(w io.Writer, b Bundle) error {
	when := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	tokens := make([]*tsp.Token, len(b.Checkpoints))
	for i, cp := range b.Checkpoints {
		t, err := tsp.Parse(cp.Token)
		if err != nil {
			return fmt.Errorf("writing bundle: checkpoint %d: %w", cp.Size, err)
		}
		if tokens[i] = t; t.Time.After(when) {
			when = t.Time
		}
	}
	c := newContainer(w, when)
	steps := []func() error{
		func() error { return c.addBytes("mimetype", []byte(mediaType)) },
		func() error { return writeKey(c, b.LedgerKey) },
		func() error {
			for i := range b.Checkpoints {
				if err := writeCheckpoint(c, &b.Checkpoints[i], tokens[i]); err != nil {
					return err
				}
			}
			return nil
		},
		func() error {
			for i := range b.Proofs {
				if err := writeProof(c, &b.Proofs[i]); err != nil {
					return err
				}
			}
			return nil
		},
		func() error { return writeTexts(c, b, tokens) },
		c.close,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("writing bundle: %w", err)
		}
	}
	return nil
}

func writeKey(c *container, vkey string) error {
	keyPEM, err := integrity.LedgerKeyPEM(vkey)
	if err != nil {
		return err
	}
	if err := c.addBytes("ledger/key.txt", []byte(vkey+"\n")); err != nil {
		return err
	}
	return c.addBytes("ledger/key.pem", keyPEM)
}

func writeCheckpoint(c *container, cp *Checkpoint, token *tsp.Token) error {
	name := checkpointName(cp.Size)
	text := "ledger/" + name + ".txt"
	sum := sha256.Sum256(cp.Signed)
	for _, m := range append([]member{
		{text, cp.Signed},
		{recordName(name), cp.Record},
		{manifestName(name), manifest(recordName(name), dataObject{text, sum[:]})},
	}, tokenMembers(name, token)...) {
		if err := c.addBytes(m.name, m.data); err != nil {
			return err
		}
	}
	return nil
}

type member struct {
	name string
	data []byte
}

// tokenMembers are the token and what it carries, in the forms that openssl reads.
func tokenMembers(name string, token *tsp.Token) []member {
	var certs, crls bytes.Buffer
	for _, cert := range token.Certificates {
		pem.Encode(&certs, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	}
	for _, crl := range token.CRLs {
		pem.Encode(&crls, &pem.Block{Type: "X509 CRL", Bytes: crl.Raw})
	}
	out := []member{{"tsa/" + name + ".tst", token.Raw}, {"tsa/" + name + ".pem", certs.Bytes()}}
	if crls.Len() > 0 {
		out = append(out, member{"tsa/" + name + ".crl.pem", crls.Bytes()})
	}
	return out
}

func writeProof(c *container, p *Proof) error {
	if !isWord(p.ID) {
		return fmt.Errorf("identifier %q: %w", p.ID, errName)
	}
	sum, err := c.add(p.member(), p.Size, p.Open)
	if err != nil {
		return err
	}
	saltSum := sha256.Sum256(p.Salt[:])
	for _, m := range []member{
		{saltName(p.ID), p.Salt[:]},
		{"ledger/" + p.ID + ".item", p.Item.marshal()},
		{"ledger/" + p.ID + ".tlog-proof", p.Receipt.Marshal()},
		{recordName(p.ID), p.Record},
		{manifestName(p.ID), manifest(recordName(p.ID), dataObject{p.member(), sum}, dataObject{saltName(p.ID), saltSum[:]})},
	} {
		if err := c.addBytes(m.name, m.data); err != nil {
			return err
		}
	}
	return nil
}

func saltName(id string) string     { return "salts/" + id + ".bin" }
func recordName(id string) string   { return "META-INF/evidencerecord-" + id + ".ers" }
func manifestName(id string) string { return "META-INF/ASiCEvidenceRecordManifest-" + id + ".xml" }

func writeTexts(c *container, b Bundle, tokens []*tsp.Token) error {
	for _, m := range textMembers(reportText(b, tokens)) {
		if err := c.addBytes(m.name, m.data); err != nil {
			return err
		}
	}
	return nil
}

// textMembers are the members for people.
func textMembers(report []byte) []member {
	return []member{{"report.txt", report}, {"README.txt", readme}, {"LISEZMOI.txt", lisezmoi}, {"verify.sh", verifyScript}}
}
