package bundle

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"testing"

	"sae/integrity/tsp"
)

// BenchmarkVerify measures Verify against its floor: the signature checks that a
// bundle cannot do without, each once: the token's, its certificate's, its CRL's and
// the checkpoint's. A second token has its own.
func BenchmarkVerify(b *testing.B) {
	for _, name := range []string{"one document", "unit of three", "two batches", "hundred leaves"} {
		m := samples[name](b)
		zip, o := m.zip(), Options{Roots: m.roots()}
		b.Run(fmt.Sprintf("%s/verify", name), func(b *testing.B) {
			for b.Loop() {
				if r := verify(b, zip, o); r.Verdict != Verified {
					b.Fatal(r.Verdict)
				}
			}
		})
		b.Run(fmt.Sprintf("%s/floor", name), func(b *testing.B) {
			check := floor(b, m)
			for b.Loop() {
				for range m.bundle.Checkpoints {
					check()
				}
			}
		})
	}
}

// BenchmarkVerifyLarge is a unit of many documents, where no signature hides what
// each document costs.
func BenchmarkVerifyLarge(b *testing.B) {
	m := newMaker(b)
	var files []file
	for i := range 1000 {
		files = append(files, file{fmt.Sprint("o", i), "a.txt", fmt.Sprint(i)})
	}
	m.deposit("u1", 0, files...)
	m.seal(0)
	zip := m.zip()
	b.SetBytes(int64(len(zip)))
	for b.Loop() {
		if r := verify(b, zip, Options{Roots: m.roots()}); r.Verdict != Verified {
			b.Fatal(problems(r))
		}
	}
}

// floor gives the signature checks of one batch.
func floor(b *testing.B, m *maker) func() {
	b.Helper()
	token, err := tsp.Parse(m.bundle.Checkpoints[0].Token)
	check(b, err)
	digest := sha256.Sum256([]byte("signed attributes"))
	leafKey, err := ecdsa.GenerateKey(m.tsa.Certificate.PublicKey.(*ecdsa.PublicKey).Curve, rand.Reader)
	check(b, err)
	signature, err := ecdsa.SignASN1(rand.Reader, leafKey, digest[:])
	check(b, err)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	check(b, err)
	text := bytes.Repeat([]byte("x"), 100)
	noted := ed25519.Sign(private, text)
	return func() {
		ok := ecdsa.VerifyASN1(&leafKey.PublicKey, digest[:], signature) &&
			m.tsa.Certificate.CheckSignatureFrom(m.tsa.Root) == nil &&
			token.CRLs[0].CheckSignatureFrom(m.tsa.Root) == nil &&
			ed25519.Verify(public, text, noted)
		if !ok {
			b.Fatal("a signature is not good")
		}
	}
}
