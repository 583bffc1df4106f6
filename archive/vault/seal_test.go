package vault

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestSealOpen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, bs := newKey(), rapid.SliceOfN(rapid.Byte(), 0, 300)
		ad, plain := bs.Draw(t, "ad"), bs.Draw(t, "plain")
		sealed := Seal(key, ad, plain)
		if len(sealed) != nonceSize+len(plain)+tagSize {
			t.Fatalf("%d bytes for %d", len(sealed), len(plain))
		}
		if got, err := Open(key, ad, sealed); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%x, %v", got, err)
		}
		if bytes.Equal(Seal(key, ad, plain), sealed) {
			t.Fatal("the same nonce twice")
		}
		flipped := bytes.Clone(sealed)
		bit := rapid.IntRange(0, 8*len(sealed)-1).Draw(t, "bit")
		flipped[bit/8] ^= 1 << (bit % 8)
		other := key
		other[bit%keySize] ^= 1
		for name, try := range map[string]func() ([]byte, error){
			"a bit changed": func() ([]byte, error) { return Open(key, ad, flipped) },
			"another key":   func() ([]byte, error) { return Open(other, ad, sealed) },
			"other data":    func() ([]byte, error) { return Open(key, append(bytes.Clone(ad), 0), sealed) },
			"cut":           func() ([]byte, error) { return Open(key, ad, sealed[:bit/8]) },
			"longer":        func() ([]byte, error) { return Open(key, ad, append(bytes.Clone(sealed), 0)) },
		} {
			if got, err := try(); err != ErrSealed || got != nil {
				t.Fatalf("%s: %x, %v", name, got, err)
			}
		}
	})
}

func TestDerive(t *testing.T) {
	key := newKey()
	seen := map[[keySize]byte]bool{key: true}
	for _, purpose := range []string{"", "sae record", "sae index"} {
		d := Derive(key, purpose)
		if seen[d] || d != Derive(key, purpose) {
			t.Errorf("purpose %q gives no key of its own", purpose)
		}
		seen[d] = true
	}
}

func FuzzOpen(f *testing.F) {
	key := [keySize]byte([]byte("a key of 32 bytes, for tests now"))
	f.Add([]byte{}, Seal(key, nil, nil))
	f.Add([]byte("ad"), Seal(key, []byte("ad"), []byte("plain")))
	f.Add([]byte("ad"), []byte("short"))
	f.Fuzz(func(t *testing.T, ad, sealed []byte) {
		plain, err := Open(key, ad, sealed)
		if err == nil && len(plain) != len(sealed)-nonceSize-tagSize || err != nil && !errors.Is(err, ErrSealed) {
			t.Errorf("%x, %v", plain, err)
		}
	})
}
