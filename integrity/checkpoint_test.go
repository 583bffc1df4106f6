package integrity_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"sae/integrity"
)

// key is a ledger's key, of a given name, the same in every run.
type key struct {
	note.Signer
	verifier note.Verifier
	vkey     string
}

func newKey(t testing.TB, name string, seed byte) key {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.NewChaCha8([32]byte{seed}), name)
	if err != nil {
		t.Fatal(err)
	}
	var k key
	k.vkey = vkey
	if k.Signer, err = note.NewSigner(skey); err != nil {
		t.Fatal(err)
	}
	if k.verifier, err = note.NewVerifier(vkey); err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t testing.TB, text string, signers ...note.Signer) []byte {
	t.Helper()
	b, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const origin = "ledger.example/tests"

func TestCheckpointBytes(t *testing.T) {
	k := newKey(t, origin, 1)
	cp := integrity.Checkpoint{Origin: origin, Size: 1234, Root: integrity.Hash{1, 2, 3}}
	signed, err := cp.Sign(k)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "checkpoint.txt", signed)
	if back, err := integrity.ParseCheckpoint(signed, k.verifier); err != nil || back != cp {
		t.Errorf("%+v, %v", back, err)
	}
	with := sign(t, fmt.Sprintf("%s\n1234\n%s\n", origin, cp.Root), k, newKey(t, "witness.example", 2))
	if back, err := integrity.ParseCheckpoint(with, k.verifier); err != nil || back != cp {
		t.Errorf("with a witness: %+v, %v", back, err)
	}
}

// TestEveryFlippedCheckpoint: no bit of a checkpoint is free.
func TestEveryFlippedCheckpoint(t *testing.T) {
	k := newKey(t, origin, 1)
	signed, err := integrity.Checkpoint{Origin: origin, Size: 7}.Sign(k)
	if err != nil {
		t.Fatal(err)
	}
	for i := range signed {
		for bit := range 8 {
			signed[i] ^= 1 << bit
			if cp, err := integrity.ParseCheckpoint(signed, k.verifier); err == nil {
				t.Errorf("byte %d, bit %d: taken as %+v", i, bit, cp)
			}
			signed[i] ^= 1 << bit
		}
	}
}

func TestCheckpointRefusals(t *testing.T) {
	k, twin, stranger := newKey(t, origin, 1), newKey(t, origin, 2), newKey(t, "other.example", 3)
	root := integrity.Hash{}.String()
	text := origin + "\n7\n" + root + "\n"
	for name, signed := range map[string][]byte{
		"empty":                  nil,
		"not signed":             []byte(text + "\n"),
		"another's key":          sign(t, text, stranger),
		"a key of the same name": sign(t, text, twin),
		"another ledger":         sign(t, "other.example\n7\n"+root+"\n", k),
		"extension line":         sign(t, text+"extension\n", k),
		"empty line":             sign(t, text+"\n", k),
		"no root":                sign(t, origin+"\n7\n", k),
		"short root":             sign(t, origin+"\n7\nAAAA\n", k),
		"stray bits in the root": sign(t, origin+"\n7\n"+strings.Replace(root, "A=", "B=", 1)+"\n", k),
		"negative":               sign(t, origin+"\n-7\n"+root+"\n", k),
		"zeros":                  sign(t, origin+"\n007\n"+root+"\n", k),
		"plus":                   sign(t, origin+"\n+7\n"+root+"\n", k),
		"too great":              sign(t, fmt.Sprintf("%s\n%d\n%s\n", origin, uint64(1<<62+1), root), k),
		"greatest":               sign(t, fmt.Sprintf("%s\n%d\n%s\n", origin, uint64(1<<64-1), root), k),
		"too long":               append(sign(t, text, k), bytes.Repeat([]byte("x"), 64<<10)...),
	} {
		if cp, err := integrity.ParseCheckpoint(signed, k.verifier); err == nil {
			t.Errorf("%s: taken as %+v", name, cp)
		}
	}
	if cp, err := integrity.ParseCheckpoint(sign(t, text, k), k.verifier); err != nil || cp.Size != 7 {
		t.Errorf("the good one: %+v, %v", cp, err)
	}
}

func TestLedgerKeyPEM(t *testing.T) {
	k := newKey(t, origin, 1)
	text, err := integrity.LedgerKeyPEM(k.vkey)
	if err != nil {
		t.Fatal(err)
	}
	block, rest := pem.Decode(text)
	if block == nil || len(rest) != 0 {
		t.Fatalf("%s", text)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := integrity.Checkpoint{Origin: origin, Size: 7}.Sign(k)
	if err != nil {
		t.Fatal(err)
	}
	n, err := note.Open(cp, note.VerifierList(k.verifier))
	if err != nil {
		t.Fatal(err)
	}
	if !ed25519.Verify(public.(ed25519.PublicKey), []byte(n.Text), rawSignature(t, n.Sigs[0])) {
		t.Error("the key in PEM does not verify what the key signed")
	}
	parts := strings.SplitN(k.vkey, "+", 3)
	body := parts[0] + "+" + parts[1] + "+"
	for name, vkey := range map[string]string{
		"empty": "", "no key": origin, "no hash": origin + "+AQID", "not base64": body + "!", "too short": body + "AQID",
		"another algorithm": body + "Ag" + k.vkey[len(body)+2:], "line's end": k.vkey + "\n", "nothing": body,
		"another hash": parts[0] + "+00000000+" + parts[2], "capitals": parts[0] + "+" + strings.ToUpper(parts[1]) + "+" + parts[2],
	} {
		if text, err := integrity.LedgerKeyPEM(vkey); err == nil {
			t.Errorf("%s: %s", name, text)
		}
	}
}
