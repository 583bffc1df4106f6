package vault

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
)

const (
	nonceSize = 12
	tagSize   = 16
)

// Seal enciphers a small record: a nonce of 12 bytes drawn at random, then
// AES-256-GCM with the associated data. A key is to seal few records only: with
// random nonces at most 2^32 (NIST SP 800-38D, 8.3).
func Seal(key [keySize]byte, ad, plain []byte) []byte {
	nonce := make([]byte, nonceSize, nonceSize+len(plain)+tagSize)
	rand.Read(nonce)
	return gcm(key).Seal(nonce, nonce, plain, ad)
}

// ErrSealed says that a sealed record was changed, or is under another key.
var ErrSealed = errors.New("it was changed, or is under another key")

// Open opens what Seal made. The error is ErrSealed.
func Open(key [keySize]byte, ad, sealed []byte) ([]byte, error) {
	if len(sealed) < nonceSize+tagSize {
		return nil, ErrSealed
	}
	plain, err := gcm(key).Open(nil, sealed[:nonceSize], sealed[nonceSize:], ad)
	if err != nil {
		return nil, ErrSealed
	}
	return plain, nil
}

func gcm(key [keySize]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // 32 bytes are always a key
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // AES always has the block size of GCM
	}
	return a
}

// Derive gives a key for one purpose from a data key (HKDF-SHA256, RFC 5869, no
// salt, the purpose as info).
func Derive(key [keySize]byte, purpose string) (derived [keySize]byte) {
	k, err := hkdf.Key(sha256.New, key[:], nil, purpose, keySize)
	if err != nil {
		panic(err) // 32 bytes are always within HKDF's reach
	}
	defer clear(k)
	return [keySize]byte(k)
}
