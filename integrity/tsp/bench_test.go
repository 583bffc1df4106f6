package tsp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"testing"
)

// Compare BenchmarkVerify with the floor: the signatures that it has to check,
// those of the token, of the path and of the CRLs.

func BenchmarkVerify(b *testing.B) {
	l := newLocal(b)
	token := must[*Token](b)(l.Timestamp(b.Context(), crypto.SHA256, testImprint[:]))
	e := Expect{Hash: crypto.SHA256, Imprint: testImprint[:], Roots: poolOf(l.Root)}
	b.Run("local", func(b *testing.B) { benchVerify(b, token, e) })
	b.Run("P-256 path of three, two CRLs", func(b *testing.B) {
		f := newForgery(newPKI(b, nil)).revocable(b)
		benchVerify(b, must[*Token](b)(Parse(f.build(b))), f.expect())
	})
}

func benchVerify(b *testing.B, token *Token, e Expect) {
	if bad := notOK(token.Verify(e)); bad != nil {
		b.Fatalf("not OK: %q", bad)
	}
	for b.Loop() {
		token.Verify(e)
	}
}

func BenchmarkParse(b *testing.B) {
	der := newForgery(newPKI(b, nil)).revocable(b).build(b)
	for b.Loop() {
		if _, err := Parse(der); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTimestamp(b *testing.B) {
	l := newLocal(b)
	for b.Loop() {
		if _, err := l.Timestamp(b.Context(), crypto.SHA256, testImprint[:]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFloor(b *testing.B) {
	for name, curve := range map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384()} {
		key := must[*ecdsa.PrivateKey](b)(ecdsa.GenerateKey(curve, rand.Reader))
		signature := must[[]byte](b)(ecdsa.SignASN1(rand.Reader, key, testImprint[:]))
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				ecdsa.VerifyASN1(&key.PublicKey, testImprint[:], signature)
			}
		})
	}
	key := must[*rsa.PrivateKey](b)(rsa.GenerateKey(rand.Reader, 2048))
	signature := must[[]byte](b)(rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, testImprint[:]))
	b.Run("RSA-2048", func(b *testing.B) {
		for b.Loop() {
			if rsa.VerifyPKCS1v15(&key.PublicKey, crypto.SHA256, testImprint[:], signature) != nil {
				b.Fatal("bad signature")
			}
		}
	})
}
